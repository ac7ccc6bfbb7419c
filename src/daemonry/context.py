"""DaemonContext: the steps in their order, and what the body may ask for."""

from __future__ import annotations

import os
import sys

from .body import Body, show_the_program_only
from .errors import InvalidOption, Terminated, ignored
from .launch.detach import detach
from .launch.forkable import require_forkable
from .opening import CLOSED, OPEN, OPENING, Opening
from .steps import core_limit, descriptors, environment, filesystem, signals, streams, uncaught
from .system import forks
from .system.undisturbed import signals_held_off

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType, TracebackType
    from typing import Any, TypeVar

    Self = TypeVar("Self", bound="DaemonContext")


class DaemonContext(Body):
    """Turns the program into a daemon for the length of a with-block.

    Its options are those of :class:`~daemonry.options.Options`, each given by keyword or assigned any time before
    :meth:`open`.

    Source: PEP 3143, "Interface"; the steps are those of daemon(7), "SysV Daemons".
    """

    #: The names of the methods that :meth:`open` calls, in this order.
    steps: tuple[str, ...] = (
        "check_options",
        "flush_streams",
        "leave_init",
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

    __slots__ = ()

    def __enter__(self: Self) -> Self:
        """Open the context; see :meth:`open`."""
        try:
            self.open()
        except BaseException as error:
            show_the_program_only(error)
            raise
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
        self._opening = Opening(self, self._opening.leave_stack_to_the_next())
        try:
            self._opening.run()
        except BaseException as error:
            show_the_program_only(error)
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        """Log the exception that ends the body, if one does, and :meth:`close`; an exception goes on from here."""
        if self._opening.process is None:  # a subclass's open() has done without ours: it closes what it has opened
            self.close()
        return self._opening.end(kind, error, trace)

    def check_options(self) -> None:
        """Resolve every option that a step uses, and refuse what can't be meant; nothing has been changed yet."""
        values = self._opening.values
        if values.detaching.detach and self._opening.is_inside_another:
            raise InvalidOption(
                "detach_process",
                "another context of this process is open, and would end with the fork without giving its pidfile back; "
                "close it first, or stay in its process by detach_process=False",
            )
        require_forkable(values.detaching.detach or values.leaving_init.leave)
        # What another thread is just importing would be waited for in the daemon for good.
        if values.leaves_its_files or forks.threads_are_running():
            with ignored(ImportError):  # the program has left its files before, and nothing more can be found
                _load_what_failing_takes(values.stderr_discarded)

    def flush_streams(self) -> None:
        """Write out what stdout, stderr, the logging handlers and the files to preserve hold: once, by the launcher."""
        streams.flush()
        if "ctypes" in sys.modules:  # to load it would take longer than all the rest
            from .system import libc

            libc.flush_stdout()
        if "logging" in sys.modules:
            from .steps import logs

            logs.flush_queues()
            logs.flush()
        descriptors.flush(self.files_preserve)

    def leave_init(self) -> None:
        """As process 1 of a container: fork, and go on in the child; process 1 stays, reaps, and passes signals on."""
        if self._opening.values.leaving_init.leave:
            from .launch import init

            with signals_held_off():
                init.leave_init(descriptors.close_all_except)
                self._opening.goes_on_here()
            self._opening.values.address_sockets_to_this_process()

    def detach(self) -> None:
        """Fork, lead a session, fork again; go on in the daemon only. daemon(7), steps 5 to 8, 14 and 15."""
        if not self._opening.values.detaching.detach:
            return
        self._require_free_pidfile()
        outcome = detach(
            self._opening.values.detaching.start_timeout,
            self.show_progress,
            descriptors.close_all_except,
            self._opening.take_over,
            self._has_launched,
            self._say_what_it_waits_for,
        )
        if outcome is not None:
            from .launch import failures

            raise failures.error_of(outcome)
        self._opening.values.address_sockets_to_this_process()

    def _require_free_pidfile(self) -> None:
        """Refuse before the fork what the daemon is sure to be refused."""
        lock = self._opening.values.pidfile.lock
        if lock is not None:
            from .system import exit_stack  # noqa: F401  # the daemon will need it, and has better to do
        # Not where a step of the program's own may see to it that the pidfile is free by then, or take another.
        if hasattr(type(lock), "refusal") and "lock_pidfile" in self.steps and not self._opening.foreign:
            refusal = lock.refusal()
            if refusal is not None:
                from .launch import failures

                raise failures.refused("lock_pidfile", refusal)

    def reset_signals(self) -> None:
        """Empty the signal mask, and ignore no signal because the launcher did. daemon(7), steps 2 and 3."""
        if self._opening.tie is None:
            self._opening.undo_on_failure(signals.mask_to_put_back())
        self._opening.undo_on_failure(signals.reset(self._opening.values.reset, self.terminate))

    def close_descriptors(self) -> None:
        """Close what was inherited above 2, or all but the files to preserve, if such are given. daemon(7), step 1."""
        closing = self._opening.values.closing
        if not closing.keeps_logging and "logging" in sys.modules:
            from .steps import logs

            logs.let_go({*closing.kept, *forks.owned_descriptors()})
        if not closing.leaves_own and "syslog" in sys.modules:
            # The C library keeps the connection to itself. Closed behind its back, it would notice at the next message,
            # and close the number once more: by then another file's.
            sys.modules["syslog"].closelog()
        left = descriptors.close_unkept(closing)
        # Whoever waits for a program that stays in its process waits for its end, whatever it has open.
        if left and self._opening.values.detaching.detach:
            from .steps import copies

            self._opening.values.copies = copies.of_streams(left)

    def redirect_streams(self) -> None:
        """Point descriptors 0, 1 and 2, and their copies, where they shall point. daemon(7), step 9."""
        plan = self._opening.values.streams
        if self._opening.tie is None:
            from .steps.saved_streams import Saved

            saved = Saved(plan.streams)
            self._opening.undo_on_failure(saved.put_back, saved.forget)
        replaced = streams.redirect(plan.streams, plan.owner)
        if forks.threads_are_lost():
            from .steps import logs

            logs.renew_files(replaced)
        if self._opening.values.copies:
            from .steps import copies

            copies.follow(self._opening.values.copies, [each.number for each in plan.streams if each.discarded])
        if self._opening.values.stderr_discarded:
            self._opening.stop_watching = uncaught.watch()

    def prevent_core_dump(self) -> None:
        """Set the limit for core files to zero. core(5)."""
        self._opening.undo_on_failure(core_limit.prevent_core_dump(self._opening.values.core_limit))

    def lock_pidfile(self) -> None:
        """Enter the pidfile, while the program is still privileged and in its old root. daemon(7), step 12."""
        lock = self._opening.values.pidfile.lock
        if lock is not None:
            # Pushed before it is entered: a signal that ends the start may arrive between the two. And once more for
            # what a signal has kept the first from: else nothing is left to be done.
            self.exit_stack.push(self._exit_pidfile)
            self.exit_stack.push(self._exit_pidfile)
            type(lock).__enter__(lock)
            self._opening.is_pidfile_entered = True

    def _exit_pidfile(self, *exc_info: Any) -> bool:
        lock = self._opening.values.pidfile.lock
        if not (self._opening.is_pidfile_entered or getattr(lock, "i_am_locking", bool)()):
            return False
        self._opening.is_pidfile_entered = False
        return bool(type(lock).__exit__(lock, *exc_info))

    def change_root(self) -> None:
        """Make ``chroot_directory`` the root. chroot(2)."""
        if self._opening.values.root.path is not None:
            from .steps import logs, telling

            self._opening.undo_on_failure(filesystem.pin_module_search_path())
            forks.prepare_for_change()
            self._reach_manager()
            telling.connect(self._opening.values.stderr_discarded)
            self._reach_terminal()
            filesystem.change_root(self._opening.values.root)
            logs.follow_root(self._opening.values.root.path)

    def _reach_manager(self) -> None:
        manager = self._opening.values.manager
        if manager is not None:
            manager.connect()
            self.exit_stack.callback(manager.close)

    def change_working_directory(self) -> None:
        """Go to ``working_directory``; modules still come from where they came from. daemon(7), step 11."""
        self._opening.undo_on_failure(filesystem.pin_module_search_path())
        if self._opening.tie is None:
            with ignored(OSError):  # it has been deleted: then nobody can go back to it
                before = os.getcwd()
                self._opening.undo_on_failure(lambda: os.chdir(before))
        filesystem.change_working_directory(self._opening.values.working_directory)

    def set_umask(self) -> None:
        """Set the umask. daemon(7), step 10."""
        before = filesystem.set_umask(self._opening.values.umask)
        self._opening.undo_on_failure(lambda: os.umask(before))

    def clean_environment(self) -> None:
        """Replace the environment, if another is given, or what in it tells whose it is. daemon(7), step 4."""
        change = self._opening.values.environment
        if change.changes:
            before = dict(os.environ)
            self._opening.undo_on_failure(lambda: environment.replace(before))
            environment.replace(change.of(before))

    def drop_privileges(self) -> None:
        """Take on the groups, the group and the user, for good, and leave root's terminal. daemon(7), step 13."""
        rights = self._opening.values.rights
        # Asked again where a step of the program's own may have changed them.
        if not ((rights.does_nothing and not self._opening.foreign) or rights.are_taken_on):
            from .steps import privileges  # loaded already, if anything was to be given up

            if rights.uid != os.geteuid():
                forks.prepare_for_change()
            self._reach_terminal()
            privileges.drop(rights)
        if self._opening.values.terminal is not None:
            self._opening.values.terminal.leave()

    def _reach_terminal(self) -> None:
        terminal = self._opening.values.terminal
        if terminal is not None:
            terminal.reach()
            self.exit_stack.callback(terminal.give_up)

    def install_signal_handlers(self) -> None:
        """Install the handlers of the signal map."""
        self._opening.undo_on_failure(signals.install(self._opening.values.signals))

    def notify_ready(self) -> None:
        """Let the launcher go and tell the service manager, unless the body does. daemon(7), step 14."""
        if not self._opening.values.readiness.manual:
            self._opening.declare_ready()

    def terminate(self, signum: int, frame: FrameType | None = None) -> None:
        """End the with-block, as a handler of a signal; uncaught, the program then ends with status 0.

        Does nothing while the block is ending already, so that no clean-up is cut short.

        :raises Terminated: which is a ``SystemExit``.
        """
        if not self._opening.is_leaving and not _is_being_handled(Terminated):
            self._opening.is_terminated = True
            raise Terminated(signum)

    def request_stop(self, signum: int | None = None, frame: FrameType | None = None) -> None:
        """Only mark the wish to stop, which :meth:`wait` then answers; from a handler or from anywhere.

        A signal before the daemon is ready ends the start, as :meth:`terminate` does: nobody asks for the wish yet.
        """
        if signum is not None and self._opening.stage in (OPENING, OPEN, CLOSED):
            self.terminate(signum, frame)
        self._stop_wish.make()

    def reopen_streams(self, signum: int | None = None, frame: FrameType | None = None) -> None:
        """Open again the files of stdout, stderr and the logging handlers that a log rotation has moved away.

        Fit to be SIGHUP's handler: what can't be reopened is logged, and goes on as it was.
        """
        errors = streams.reopen(self._opening.values.streams.streams)
        if "logging" in sys.modules:
            from .steps import logs

            errors += logs.reopen()
        for error in errors:
            uncaught.tell(f"cannot reopen: {error}", error, self._opening.values.stderr_discarded, survived=True)


def _load_what_failing_takes(stderr_discarded: bool) -> None:
    from .launch import failures, witness  # noqa: F401
    from .steps import logs, telling
    from .system import exit_stack  # noqa: F401

    failures.prepare()
    telling.prepare(stderr_discarded)
    logs.prepare()


def _is_being_handled(kind: type[BaseException]) -> bool:
    """Whether an exception of this kind is on its way through the frames below, or caused one that is."""
    error = sys.exc_info()[1]
    while error is not None and not isinstance(error, kind):
        error = error.__context__
    return error is not None
