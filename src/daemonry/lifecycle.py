"""Opening and closing: the steps are run, and whoever waits is told how it went."""

from __future__ import annotations

import atexit
import os
import sys
from contextlib import ExitStack, suppress
from functools import partial
from weakref import WeakSet

from . import failures, logs, report, sd_listen, signals, streams
from .detach import Tie
from .errors import Terminated
from .options import Options
from .plan import Plan
from .sd_notify import Manager

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from types import TracebackType
    from typing import Any, NoReturn, TypeVar

    from .plan import PlannedStep

    Self = TypeVar("Self", bound="Lifecycle")


_FORKING = ("leave_init", "detach")
_opened: WeakSet[Lifecycle] = WeakSet()


class Ready(str):
    """What ``context.ready`` is: the option's value and, called, the word that the daemon is ready."""

    declare: Callable[[], None]

    def __call__(self) -> None:
        """Say that the daemon is ready."""
        self.declare()


class Lifecycle(Options):
    """Runs the :attr:`steps` of a subclass by name, and undoes them."""

    #: The names of the methods that :meth:`open` calls, in this order.
    steps: tuple[str, ...] = ()

    __slots__ = (
        "__weakref__",
        "_closing",
        "_ended_by",
        "_exit_stack",
        "_forgotten_when_open",
        "_leaving",
        "_opener",
        "_opening",
        "_pidfile_entered",
        "_plan",
        "_ready_said",
        "_step",
        "_stop_wish",
        "_suppressed",
        "_terminated",
        "_tie",
        "_told",
    )

    # Not an __init__ of its own: its signature, which tools show and check, would have to repeat every option.
    def _set_up(self) -> None:
        self._stop_wish = signals.StopWish()
        self._exit_stack = ExitStack()
        self._leaving = False
        self._start_over()

    def _start_over(self) -> None:
        self._plan: Plan | None = None
        self._tie: Tie | None = None
        self._forgotten_when_open = ExitStack()
        self._step = ""
        self._opener: int | None = None
        self._opening: int | None = None
        self._leaving = self._pidfile_entered = self._ready_said = self._terminated = False
        self._closing = self._suppressed = False
        self._ended_by: Any = (None, None, None)
        self._told: BaseException | None = None

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

        The launcher then exits, and a service manager that waits for it is told. The second time does nothing, and nor
        does a process that the daemon has forked: only the daemon itself can say it.
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

    def __enter__(self: Self) -> Self:
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
        if name in _FORKING:  # whoever did it, and however: the process that came out of it is the one that opens
            self._opens_here()

    def _opens_here(self) -> None:
        self._opening = os.getpid()

    def _take_over(self, tie: Tie) -> None:
        """Go on with the start in the daemon, which the launcher waits for."""
        self._opens_here()
        self._tie = tie
        # What was taken before the fork is given back once: by the launcher when the start fails, else by the daemon.
        inherited = self._exit_stack.pop_all()
        self._exit_stack.push(lambda *exc_info: not self._is_waited_for and inherited.__exit__(*exc_info))

    def _begin_body(self) -> None:
        if self._ready_said:
            self._announce_ready()
        elif not self._values.readiness.manual:
            # notify_ready is left out or overridden: nobody else would let the launcher go.
            self._release_launcher()
        elif self._tie is not None:
            self._tie.reporter.step("body")
        self._forgotten_when_open.close()
        # First, for it shall be the last to run: after all that may write something at the exit.
        atexit.register(self._drop_unwritten)
        atexit.register(self._close_at_exit)
        self._opener, self._opening = os.getpid(), None
        _opened.add(self)

    def _fail(self, error: BaseException) -> NoReturn:
        try:
            self._leave_with(error)
        finally:
            # Whatever kept it from telling, want of memory for one: a daemon whose start has failed does not go on.
            if self._is_waited_for:
                os._exit(1)

    def _leave_with(self, error: BaseException) -> NoReturn:
        """Undo the steps, and leave with the error in the way that this process can."""
        if not self._is_opening:  # a worker that a step has forked: there is nothing that it could give back
            raise error
        self._leaving = True
        self._tell_manager_of(error, is_of_step=True)
        then = self._unwind(error)
        if self._is_waited_for:
            self._leave_unready(partial(failures.failed, self._step, error, then), error)
        if not isinstance(error, Exception):
            if then is not None:
                logs.tell(f"cannot undo a start: {failures.message_of(then)}", then, self._values.stderr_discarded)
            raise error
        if self._tie is not None:
            # The launcher has left with the word that all is well: whoever reads the log is to know better.
            logs.tell(failures.message_of(error), error, self._values.stderr_discarded)
        raised = failures.start_error(self._step, error, then)
        # An error of our own says all in its message; the frames that it came through would push that off the screen.
        raise raised.with_traceback(None) from (raised.__cause__ if raised is error else error)

    def _unwind(self, error: BaseException) -> BaseException | None:
        """Unwind the exit stack; answer the error that this met itself."""
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
        """Give back what the steps took, in reverse; on a closed context, or in a forked child, do nothing.

        The end of the with-block calls it, and the program's exit, so that a subclass may extend it.
        """
        self._close()

    def _close_at_exit(self) -> None:
        try:
            self._end(None, None, None)
        finally:
            # What else is cleaned up at the exit must not be cut short by SIGTERM: the process is ending anyway.
            self._leaving = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        """Log the exception that ends the body, if one does, and :meth:`close`; an exception goes on from here."""
        return self._end(kind, error, trace)

    def _end(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> bool:
        """Close by the method that a subclass may have extended: whatever it does, what the steps took goes back."""
        if not self.is_open or self._leaving:
            return False
        self._leaving, self._ended_by, failure = True, (kind, error, trace), None
        try:
            self.close()
        except BaseException as another:
            if self._closing:
                self._tell_of_close(another)
                raise
            failure = another
        self._close(failure)
        return self._suppressed

    def _close(self, failure: BaseException | None = None) -> None:
        if not self.is_open or self._closing:
            return
        self._leaving = self._closing = True
        kind, error, trace = self._ended_by
        logged = False
        try:
            try:
                logged = self._log_end(error)
                self._tell_manager_of_stop(error)
            finally:
                self._suppressed = bool(self._exit_stack.__exit__(kind, error, trace))
            if failure is not None:
                raise failure
        except BaseException as another:
            self._tell_of_close(another)
            error, logged = error or another, True
            raise
        finally:
            self._opener = None
            self._ended_by = None, None, None
            wished = self._stop_wish.made
            self._stop_wish.forget()
            atexit.unregister(self._close_at_exit)
            # A second SIGTERM must not cut short what follows a first one, up to the exit.
            self._leaving = wished or isinstance(error, Terminated)
            # Who was asked to stop has stopped: that its log is full is no failure of the stop. A program that ends of
            # itself gets the status by which Python tells of what it could not write.
            if not (wished or self._terminated):
                atexit.unregister(self._drop_unwritten)
            if self._is_waited_for:
                self._leave_unready(partial(failures.of_body, error), error, logged)

    def _tell_of_close(self, error: BaseException) -> None:
        if error is not self._told:
            self._told = error
            message = f"cannot close the daemon: {failures.message_of(error)}"
            logs.tell(message, error, self._values.stderr_discarded)

    def _drop_unwritten(self) -> None:
        streams.drop_unwritten(self._values.streams.streams)

    def _tell_manager_of_stop(self, error: BaseException | None) -> None:
        self._values.manager.tell(STOPPING=1)
        if error is None or isinstance(error, Terminated):
            self._values.manager.wait_until_heard()
        else:
            self._tell_manager_of(error)

    def _tell_manager_of(self, error: BaseException, is_of_step: bool = False) -> None:
        # Whatever goes wrong in this: the error itself is on its way, and nothing may take its place.
        with suppress(Exception):
            manager = (self._plan or Plan(self, self.steps)).manager
            if manager.address is None:
                return
            told = failures.failed(self._step, error)
            where = f"step {told.step}: " if is_of_step else ""
            manager.tell(STATUS=f"{where}{told.message}", **({} if told.errno is None else {"ERRNO": told.errno}))
            manager.wait_until_heard()

    def _log_end(self, error: BaseException | None) -> bool:
        return error is not None and logs.tell_of_end(error, failures.message_of(error), self._values.stderr_discarded)

    @property
    def _is_waited_for(self) -> bool:
        return self._tie is not None and self._tie.waited_for

    @property
    def _is_up(self) -> bool:
        return self._ready_said or not self._values.readiness.manual

    @property
    def _is_inside_another(self) -> bool:
        return any(other.is_open for other in _opened if other is not self)

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

    def _undo_on_failure(self, put_back: Callable[[], object], forget: Callable[[], object] = bool) -> None:
        """Undo a change if a later step fails; a daemon that has forked takes its changes with it.

        ``forget`` is called instead when all steps are done.
        """
        if self._tie is None:
            self._exit_stack.callback(lambda: put_back() if self._is_opening else None)
            self._forgotten_when_open.callback(forget)

    def _declare_ready(self) -> None:
        if self._ready_said or not (self.is_open or self._is_opening):
            return
        self._ready_said = True
        # Said by a step, it waits for the steps that a subclass has put behind: one of them may still fail.
        if self.is_open:
            self._announce_ready()

    def _announce_ready(self) -> None:
        self._release_launcher()
        # To a manager outside of a container our number is another process's.
        main = {} if self._values.facts.pid == 1 else {"MAINPID": os.getpid()}
        error = self._values.manager.tell(READY=1, **main)
        if error is not None:
            # The daemon is up all the same, but he may end it for being late: then its log is to say why.
            message = f"cannot tell the service manager that the daemon is ready: {failures.message_of(error)}"
            logs.tell_and_go_on(message, error, self._values.stderr_discarded)

    def _release_launcher(self) -> None:
        if self._tie is not None and self._tie.waited_for:
            self._tie.release()

    @property
    def service_manager(self) -> Manager:
        """The manager of an open context, to be told that the daemon is well, reloads, or has something to be kept.

        Without a manager, and in a process that the daemon has forked, telling does nothing.
        """
        return self._values.manager if self.is_open else Manager(None)

    def listen_fds(self) -> list[tuple[str, socket.socket]]:
        """Answer the sockets that a service manager opened for this daemon, each with its name; see sd_listen_fds(3).

        They stay open across the steps, whatever becomes of the environment. From now on they are the caller's, and
        close-on-exec; a second call answers nothing, and so does a context that is not open.
        """
        return sd_listen.sockets(self._take_given(sd_listen.is_socket))

    def listen_files(self) -> list[tuple[str, int]]:
        """Answer what else he gave, as descriptors: fifos, or what ``service_manager.store`` had him keep."""
        return sd_listen.files(self._take_given(lambda fd: not sd_listen.is_socket(fd)))

    def _take_given(self, is_wanted: Callable[[int], bool]) -> sd_listen.Given:
        if not (self.is_open or self._is_opening):
            return ()
        sd_listen.forget(os.environ)
        taken = tuple(each for each in self._values.given if is_wanted(each[1]))
        self._values.given = tuple(each for each in self._values.given if each not in taken)
        return taken

    def progress(self, text: str, seconds: float | None = None) -> None:
        """Tell how far the start has come: on the launcher's stderr, and to the service manager as its STATUS.

        :param seconds: how much longer it may take from now on, for a manager that would lose his patience before;
            ``None`` to leave that as it is.
        """
        if self._is_waited_for:
            assert self._tie is not None
            self._tie.reporter.progress(text)
        elif self._tie is None and not self._ready_said:
            self.show_progress(text)
        self._values.manager.tell(STATUS=text)
        if seconds is not None:
            self._values.manager.extend(seconds)

    def show_progress(self, text: str) -> None:
        """Show a text of :meth:`progress`; called in the launcher. On stderr, where the user is who started it."""
        with suppress(AttributeError, ValueError, OSError):  # no stderr, or nobody who reads it: the start goes on
            sys.stderr.write(f"{text}\n")
            sys.stderr.flush()
