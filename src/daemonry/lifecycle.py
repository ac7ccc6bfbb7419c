"""Opening: the steps are run, and whoever waits is told that the daemon is ready."""

from __future__ import annotations

import os
import sys

from . import forks
from .ending import Ending, opened
from .errors import ignored

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from typing import Any, TypeVar

    from . import sd_listen
    from .detach import Tie
    from .sd_notify import Manager

    Self = TypeVar("Self", bound="Lifecycle")


_FORKING = ("leave_init", "detach")
# The step that enters what may be any context manager of the program's.
_HAND_OVER = ("lock_pidfile",)


def _show_the_program_only(error: BaseException) -> None:
    """Take our frames out of what is shown of an exception that leaves the library; called in its handler."""
    try:
        from . import frames
    except Exception:  # no descriptor is left to read the module by: the error itself is told all the same
        return
    frames.hide(error)


class Ready(str):
    """What ``context.ready`` is: the option's value and, called, the word that the daemon is ready."""

    declare: Callable[[], None]

    def __call__(self) -> None:
        """Say that the daemon is ready."""
        self.declare()


class Lifecycle(Ending):
    """Runs the :attr:`steps` of a subclass by name."""

    __slots__ = ()

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

    def __enter__(self: Self) -> Self:
        """Open the context; see :meth:`open`."""
        try:
            self.open()
        except BaseException as error:
            _show_the_program_only(error)
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
        own = os.getpid()
        if {self._opener, self._opening} - {None, own}:
            self._exit_stack = None  # what was in it is another process's, whose child this is
        self._start_over()
        self._opening = own
        try:
            self._open()
        except BaseException as error:
            if self._tie is not None and self._tie.waited_for:
                # No memory is left to call what leaves: before Python 3.11 each call of a function takes some.
                os._exit(1)
            _show_the_program_only(error)
            raise

    def _open(self) -> None:
        try:
            try:
                self._take_steps()
            except BaseException as error:
                self._give_up(error)
        except BaseException as another:
            if self._is_opening or self.is_open:  # a signal was delivered before the error was in hand
                self._give_up(another.__context__ or another)
            raise

    def _take_steps(self) -> None:
        # Looked up here, for a daemon that touches little after its fork copies little.
        self._foreign = frozenset(name for name in self.steps if not self._is_ours(name))
        for name in self.steps:
            self._begin_step(name)
        self._begin_body()

    def _begin_step(self, name: str) -> None:
        self._step = name
        if self._onlooker is not None:
            self._onlooker.has_begun(name)
        if self._tie is not None:
            self._tell_of_step(self._tie, name)
        getattr(self, name)()
        if name in _FORKING and name in self._foreign:
            self._opens_here()  # however it was done: the process that came out of it is the one that opens

    def _is_ours(self, step: str) -> bool:
        """Whether a step's method is this library's, so that it runs none of the program's own code."""
        return getattr(getattr(type(self), step, None), "__module__", "").startswith(f"{__package__}.")

    def _tell_of_step(self, tie: Tie, name: str) -> None:
        if name in self._foreign:
            tie.look_closely()
        elif name in self._values.idle:
            return  # nobody can be killed in it
        elif name in _HAND_OVER:
            tie.look_closely()
        tie.reporter.step(name)

    def _opens_here(self) -> None:
        self._opening = os.getpid()
        forks.go_on_here(self._opening)

    def _take_over(self, tie: Tie) -> None:
        """Go on with the start in the daemon, which the launcher waits for."""
        self._opens_here()
        self._tie = tie
        # What was taken before the fork is given back once: by the launcher when the start fails, else by the daemon.
        if self._exit_stack is not None:
            inherited = self._exit_stack.pop_all()
            self._exit_stack.push(lambda *exc_info: not self._is_waited_for and inherited.__exit__(*exc_info))

    def _begin_body(self) -> None:
        if self._ready_said:
            self._announce_ready()
        elif not self._values.readiness.manual:
            # notify_ready is left out or overridden: nobody else would let the launcher go.
            self._release_launcher()
        elif self._tie is not None:
            self._tie.look_closely()
            self._tie.reporter.step("body")
        self._expect_exit()
        opened[id(self)] = self
        self._opener, self._opening = self._opening, None
        # Behind that: what is forgotten can't be put back, and is by a start that fails.
        self._forget()

    @property
    def _is_up(self) -> bool:
        return self._ready_said or not self._values.readiness.manual

    @property
    def _is_inside_another(self) -> bool:
        return any(other.is_open for other in list(opened.values()) if other is not self)

    def _declare_ready(self) -> None:
        if self._ready_said or not (self.is_open or self._is_opening):
            return
        self._ready_said = True
        # Said by a step, it waits for the steps that a subclass has put behind: one of them may still fail.
        if self.is_open:
            self._announce_ready()

    def _announce_ready(self) -> None:
        self._release_launcher()
        manager = self._values.manager
        if manager is None:
            return
        # To a manager outside of a container our number is another process's.
        main = {} if self._values.facts.pid == 1 else {"MAINPID": os.getpid()}
        error = manager.tell(READY=1, **main)
        if error is not None:
            # The daemon is up all the same, but he may end it for being late: then its log is to say why.
            from . import failures, telling

            message = f"cannot tell the service manager that the daemon is ready: {failures.message_of(error)}"
            telling.tell_and_go_on(message, error, self._values.stderr_discarded)

    def _release_launcher(self) -> None:
        if self._tie is not None and self._tie.waited_for:
            self._tie.release(until_adopted=self._values.manager is not None)

    @property
    def service_manager(self) -> Manager:
        """The manager of an open context, to be told that the daemon is well, reloads, or has something to be kept.

        Without a manager, and in a process that the daemon has forked, telling does nothing.
        """
        from .sd_notify import Manager

        return (self._values.manager if self.is_open else None) or Manager(None)

    def listen_fds(self) -> list[tuple[str, socket.socket]]:
        """Return the sockets that a service manager opened for this daemon, each with its name; see sd_listen_fds(3).

        They stay open across the steps, whatever becomes of the environment. From now on they are the caller's, and
        close-on-exec; a second call answers nothing, and so does a context that is not open.
        """
        from . import sd_listen

        return sd_listen.sockets(self._take_given(sd_listen.is_socket))

    def listen_files(self) -> list[tuple[str, int]]:
        """Return what else he gave, as descriptors: fifos, or what ``service_manager.store`` had him keep."""
        from . import sd_listen

        return sd_listen.files(self._take_given(lambda fd: not sd_listen.is_socket(fd)))

    def _take_given(self, is_wanted: Callable[[int], bool]) -> sd_listen.Given:
        if not (self.is_open or self._is_opening):
            return ()
        from . import sd_listen

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
        manager = self._values.manager
        if manager is not None:
            manager.tell(STATUS=text)
            if seconds is not None:
                manager.extend(seconds)

    def show_progress(self, text: str) -> None:
        """Show a text of :meth:`progress`; called in the launcher. On stderr, where the user is who started it."""
        with ignored(AttributeError, ValueError, OSError):  # no stderr, or nobody who reads it: the start goes on
            sys.stderr.write(f"{text}\n")
            sys.stderr.flush()

    def _say_what_it_waits_for(self, step: str) -> None:
        """Say at a terminal, to whoever waits there, what is missing until the daemon is ready."""
        with ignored(AttributeError, ValueError, OSError):
            if sys.stderr.isatty():
                missing = "its body has yet to call ready()" if step == "body" else f"step {step} is not done yet"
                self.show_progress(f"waiting for the daemon: {missing}; Ctrl-C ends the start")

    def _has_launched(self) -> None:
        """Called in the launcher when the daemon is ready, before it leaves. It must not raise."""
        if self._onlooker is not None:
            self._onlooker.has_launched()
