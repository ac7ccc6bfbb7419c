"""DaemonContext: the steps in their order, open and close, and what the body may ask for."""

from __future__ import annotations

import atexit
import os
import sys
from contextlib import ExitStack, suppress
from functools import partial

from . import descriptors, failures, filesystem, logs, privileges, report, signals, streams
from .detach import Tie, detach
from .errors import Terminated
from .options import Options
from .plan import Plan, require_forkable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType, TracebackType
    from typing import Any, NoReturn

    from .plan import PlannedStep


class Ready(str):
    """What ``context.ready`` is: the option's value and, called, the word that the daemon is ready."""

    declare: Callable[[], None]

    def __call__(self) -> None:
        """Say that the daemon is ready."""
        self.declare()


class DaemonContext(Options):
    """Turns the program into a daemon for the length of a with-block.

    Its options are those of :class:`~daemonry.options.Options`, each given by keyword or assigned any time before :meth:`open`.

    Source: PEP 3143, "Interface"; the steps are those of daemon(7), "SysV Daemons".
    """

    #: The names of the methods that :meth:`open` calls, in this order.
    steps: tuple[str, ...] = (
        "check_options",
        "flush_streams",
        "detach",
        "reset_signals",
        "close_descriptors",
        "redirect_streams",
        "prevent_core_dump",
        "lock_pidfile",
        "change_root",
        "change_working_directory",
        "set_umask",
        "clean_environment",
        "drop_privileges",
        "install_signal_handlers",
        "notify_ready",
    )

    __slots__ = (
        "__weakref__",
        "_exit_stack",
        "_leaving",
        "_opener",
        "_opening",
        "_pidfile_entered",
        "_plan",
        "_ready_said",
        "_saved_streams",
        "_step",
        "_stop_wish",
        "_tie",
    )

    # Not an __init__ of its own: its signature, which tools show and check, would have to repeat every option.
    def _set_up(self) -> None:
        self._stop_wish = signals.StopWish()
        self._leaving = False
        self._start_over()

    def _start_over(self) -> None:
        self._plan: Plan | None = None
        self._tie: Tie | None = None
        self._exit_stack = ExitStack()
        self._saved_streams: streams.Saved | None = None
        self._step = ""
        self._opener: int | None = None
        self._opening: int | None = None
        self._leaving = self._pidfile_entered = self._ready_said = False

    @property
    def is_open(self) -> bool:
        """Whether this process has opened the context and not closed it yet."""
        return self._opener == os.getpid()

    @property
    def exit_stack(self) -> ExitStack:
        """A stack of what is to be given back; :meth:`close`, or a start that fails, unwinds it in reverse.

        A step of a subclass pushes on it what undoes what it did.
        """
        return self._exit_stack

    @property
    def ready(self) -> Any:
        """The option ``ready``; called, ``context.ready()`` says that the daemon is ready.

        The launcher then exits, and a service manager that waits for it is told. The second time does nothing.
        """
        value = Ready(self._ready_when)
        value.declare = self._declare_ready
        return value

    @ready.setter
    def ready(self, when: str) -> None:
        self._ready_when = when

    def plan(self) -> tuple[PlannedStep, ...]:
        """Answer the steps that :meth:`open` would take, each with the value it would use, and take none.

        Of an open context they are those that it has taken.

        :raises InvalidOption: when an option can't be meant as it stands.
        """
        return (self._values if self.is_open else Plan(self, self.steps)).resolved()

    @property
    def _values(self) -> Plan:
        # Resolved as a whole when first asked for, before anything has changed: so also in a context that leaves out
        # check_options nothing is looked up inside the new root directory.
        if self._plan is None:
            plan = Plan(self, self.steps)
            plan.resolved()
            self._plan = plan
        return self._plan

    def __enter__(self) -> DaemonContext:
        """Open the context; see :meth:`open`."""
        self.open()
        return self

    def open(self) -> None:
        """Become a daemon: run the :attr:`steps` in their order; on an open context, do nothing.

        Returns in the daemon only. The launcher waits until the daemon is ready and leaves by ``os._exit(0)``.

        :raises DaemonStartError: in the launcher, when a step fails, or the daemon ends, is killed or is not ready in
            time. What was changed before is gone with the daemon, or put back if the program did not fork.
        :raises DaemonAlreadyRunning: when another process holds the pidfile; also a ``lockfile.AlreadyLocked``.
        """
        if self.is_open:
            return
        self._start_over()
        self._opening = os.getpid()
        try:
            for name in self.steps:
                self._begin_step(name)
            self._begin_body()
        except BaseException as error:
            self._fail(error)

    def _begin_step(self, name: str) -> None:
        self._step = name
        if self._tie is not None:
            self._tie.reporter.step(name)
        getattr(self, name)()
        if name == "detach":
            self._opening = os.getpid()

    def _begin_body(self) -> None:
        if self._ready_said:
            self._announce_ready()
        elif not self._values.readiness.manual:
            # notify_ready is left out or overridden: nobody else would let the launcher go.
            self._release_launcher()
        elif self._tie is not None:
            self._tie.reporter.step("body")
        if self._saved_streams is not None:
            self._saved_streams.forget()
        atexit.register(self._close_at_exit)
        self._opener, self._opening = os.getpid(), None

    def _fail(self, error: BaseException) -> NoReturn:
        """Undo the steps, and leave with the error in the way that this process can."""
        if not self._is_opening:  # a worker that a step has forked: there is nothing that it could give back
            raise error
        then = self._unwind(error)
        if self._is_waited_for:
            self._leave_unready(partial(failures.failed, self._step, error, then), error)
        if not isinstance(error, Exception):
            raise error
        if self._tie is not None:
            # The launcher has left with the word that all is well: whoever reads the log is to know better.
            logs.tell(failures.message_of(error), error, self._values.stderr_discarded)
        raised = failures.start_error(self._step, error, then)
        # An error of our own says all in its message; the frames that it came through would only push that off the screen.
        raise raised.with_traceback(None) from (raised.__cause__ if raised is error else error)

    def _unwind(self, error: BaseException) -> BaseException | None:
        """Unwind the exit stack; answer the error that this met itself."""
        self._leaving = True
        try:
            self._exit_stack.__exit__(type(error), error, error.__traceback__)
        except BaseException as another:
            return another if another is not error else None
        finally:
            self._opening = None
            # Where the launcher has yet to be told, a signal must not keep it from being told.
            self._leaving = self._is_waited_for
        return None

    def close(self) -> None:
        """Give back what the steps took, in reverse; on a closed context, or in a forked child, do nothing."""
        self._close(None, None, None)

    def _close_at_exit(self) -> None:
        self.close()
        # What else is cleaned up at the exit must not be cut short by SIGTERM: the process is ending anyway.
        self._leaving = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        """Log the exception that ends the body, if one does, and close; an exception goes on from here."""
        return self._close(kind, error, trace)

    def _close(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if not self.is_open or self._leaving:
            return False
        self._leaving = True
        logged = False
        try:
            try:
                logged = self._log_end(error)
                self._values.manager.tell(STOPPING=1)
            finally:
                suppressed = bool(self._exit_stack.__exit__(kind, error, trace))
        except BaseException as another:
            logs.tell(
                f"cannot close the daemon: {failures.message_of(another)}", another, self._values.stderr_discarded
            )
            error, logged = error or another, True
            raise
        finally:
            self._opener = None
            atexit.unregister(self._close_at_exit)
            # A second SIGTERM must not cut short what follows a first one, up to the exit.
            self._leaving = isinstance(error, Terminated)
            if self._is_waited_for:
                self._leave_unready(partial(failures.of_body, error), error, logged)
        return suppressed

    def _log_end(self, error: BaseException | None) -> bool:
        return error is not None and logs.tell_of_end(
            error, failures.message_of(error), self._values.stderr_discarded
        )

    @property
    def _is_waited_for(self) -> bool:
        return self._tie is not None and self._tie.waited_for

    @property
    def _is_opening(self) -> bool:
        return self._opening == os.getpid()

    def _leave_unready(
        self, tell: Callable[[], report.Failed], error: BaseException | None, logged: bool = False
    ) -> NoReturn:
        # By os._exit: the launcher raises the error, so what stands around the with-block runs there, and only there.
        try:
            assert self._tie is not None
            failure = tell()
            if not self._tie.failed(failure) and not logged:
                logs.tell(failure.message, error, self._values.stderr_discarded)
            logs.flush()
            streams.flush()
        finally:
            os._exit(1)

    def _undo_on_failure(self, put_back: Callable[[], object]) -> None:
        """Undo a change if a later step fails; a daemon that has forked takes its changes with it."""
        if self._tie is None:
            self._exit_stack.callback(lambda: put_back() if self._is_opening else None)

    def check_options(self) -> None:
        """Resolve every option that a step uses, and refuse what can't be meant; nothing has been changed yet."""
        values = self._values
        require_forkable(values.detaching.detach)
        logs.prepare(values.stderr_discarded)
        if values.leaves_its_files:
            failures.prepare()

    def flush_streams(self) -> None:
        """Write out what is held for stdout, stderr and the logging handlers, so that none is written twice."""
        streams.flush()
        logs.flush()

    def detach(self) -> None:
        """Fork, lead a session, fork again; go on in the daemon only. daemon(7), steps 5 to 8, 14 and 15."""
        if not self._values.detaching.detach:
            return
        result = detach(self._values.detaching.start_timeout, _show_progress, descriptors.close_all_except)
        if not isinstance(result, Tie):
            raise failures.error_of(result)
        self._tie = result
        # What was taken before the fork is given back once: by the launcher when the start fails, else by the daemon.
        inherited = self._exit_stack.pop_all()
        self._exit_stack.push(lambda *exc_info: not self._is_waited_for and inherited.__exit__(*exc_info))
        self._values.address_sockets_to_this_process()

    def reset_signals(self) -> None:
        """Empty the signal mask, and ignore no signal because the launcher did. daemon(7), steps 2 and 3."""
        self._undo_on_failure(signals.reset(self.terminate))

    def close_descriptors(self) -> None:
        """Close all descriptors above 2 but those to preserve. daemon(7), step 1."""
        ties = self._tie.descriptors if self._tie is not None else []
        kept = [*self._values.closing.kept, *ties, *self._stop_wish.descriptors]
        logs.let_go(kept)
        descriptors.close_all_except(kept)

    def redirect_streams(self) -> None:
        """Point descriptors 0, 1 and 2 where they shall point. daemon(7), step 9."""
        plan = self._values.streams
        if self._tie is None:
            self._saved_streams = streams.Saved(plan.streams)
            self._undo_on_failure(self._saved_streams.put_back)
        others = streams.taken_by_others(plan.streams)
        if others:
            descriptors.close_objects(others.__contains__)
        streams.redirect(plan.streams, plan.owner)
        if self._values.stderr_discarded:
            self._exit_stack.callback(logs.watch_stray_failures())

    def prevent_core_dump(self) -> None:
        """Set the limit for core files to zero. core(5)."""
        self._undo_on_failure(privileges.prevent_core_dump(self._values.core_limit))

    def lock_pidfile(self) -> None:
        """Enter the pidfile, while the program is still privileged and in its old root. daemon(7), step 12."""
        lock = self._values.pidfile.lock
        if lock is not None:
            # Pushed before it is entered: a signal that ends the start may arrive between the two.
            self._exit_stack.push(self._exit_pidfile)
            type(lock).__enter__(lock)
            self._pidfile_entered = True

    def _exit_pidfile(self, *exc_info: Any) -> bool:
        lock = self._values.pidfile.lock
        entered = self._pidfile_entered or getattr(lock, "i_am_locking", bool)()
        return bool(entered and type(lock).__exit__(lock, *exc_info))

    def change_root(self) -> None:
        """Make ``chroot_directory`` the root. chroot(2)."""
        if self._values.root.path is not None:
            self._values.manager.connect()
            logs.connect(self._values.stderr_discarded)
            filesystem.change_root(self._values.root)
            logs.follow_root(self._values.root.path)

    def change_working_directory(self) -> None:
        """Go to ``working_directory``. daemon(7), step 11."""
        with suppress(OSError):  # it has been deleted: then nobody can go back to it
            before = os.getcwd()
            self._undo_on_failure(lambda: os.chdir(before))
        filesystem.change_working_directory(self._values.working_directory)

    def set_umask(self) -> None:
        """Set the umask. daemon(7), step 10."""
        before = filesystem.set_umask(self._values.umask)
        self._undo_on_failure(lambda: os.umask(before))

    def clean_environment(self) -> None:
        """Replace the environment, if another is given. daemon(7), step 4."""
        variables = self._values.environment.variables
        if variables is not None:
            before = dict(os.environ)
            self._undo_on_failure(lambda: _replace_environment(before))
            _replace_environment(variables)

    def drop_privileges(self) -> None:
        """Take on the groups, the group and the user, for good. daemon(7), step 13."""
        privileges.drop(self._values.rights)

    def install_signal_handlers(self) -> None:
        """Install the handlers of the signal map."""
        self._undo_on_failure(signals.install(self._values.signals))

    def notify_ready(self) -> None:
        """Let the launcher go and tell the service manager, unless the body does. daemon(7), step 14."""
        if not self._values.readiness.manual:
            self._declare_ready()

    def _declare_ready(self) -> None:
        if self._ready_said or not (self.is_open or self._is_opening):
            return
        self._ready_said = True
        # Said by a step, it waits for the steps that a subclass has put behind: one of them may still fail.
        if self.is_open:
            self._announce_ready()

    def _announce_ready(self) -> None:
        self._release_launcher()
        self._values.manager.tell(READY=1, MAINPID=os.getpid())

    def _release_launcher(self) -> None:
        if self._tie is not None and self._tie.waited_for:
            self._tie.release()

    def progress(self, text: str) -> None:
        """Tell how far the start has come: on the launcher's stderr, and to the service manager as its STATUS."""
        if self._is_waited_for:
            assert self._tie is not None
            self._tie.reporter.progress(text)
        elif self._tie is None and not self._ready_said:
            _show_progress(text)
        self._values.manager.tell(STATUS=text)

    def terminate(self, signum: int, frame: FrameType | None = None) -> None:
        """End the with-block, as a handler of a signal; uncaught, the program then ends with status 0.

        Does nothing while the block is ending already, so that no clean-up is cut short.

        :raises Terminated: which is a ``SystemExit``.
        """
        if not self._leaving and not _is_being_handled(Terminated):
            raise Terminated(signum)

    def request_stop(self, signum: int | None = None, frame: FrameType | None = None) -> None:
        """Only mark the wish to stop, which :meth:`wait` then answers; from a handler or from anywhere."""
        self._stop_wish.make()

    def wait(self, seconds: float | None = None) -> bool:
        """Sleep between two rounds of work: ``while not context.wait(60): work()``.

        :param seconds: how long; ``None`` until a stop is requested.

        Answer true, and at once, when a stop has been requested.
        """
        return self._stop_wish.wait(seconds)

    def reopen_streams(self, signum: int | None = None, frame: FrameType | None = None) -> None:
        """Open again the files of stdout, stderr and the logging handlers that a log rotation has moved away.

        Fit to be SIGHUP's handler: what can't be reopened is logged, and goes on as it was.
        """
        for error in (*streams.reopen(self._values.streams.streams), *logs.reopen()):
            logs.tell(f"cannot reopen: {error}", error, self._values.stderr_discarded)


def _show_progress(text: str) -> None:
    with suppress(AttributeError, ValueError, OSError):  # no stderr, or nobody who reads it: the start goes on
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()


def _replace_environment(variables: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(variables)


def _is_being_handled(kind: type[BaseException]) -> bool:
    """Whether an exception of this kind is on its way through the frames below, or caused one that is."""
    error = sys.exc_info()[1]
    while error is not None and not isinstance(error, kind):
        error = error.__context__
    return error is not None
