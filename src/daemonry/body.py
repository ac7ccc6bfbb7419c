"""What the body of a with-block, and a step of a subclass, may ask of their context."""

from __future__ import annotations

import os
import sys

from .errors import ignored
from .opening import Opening
from .options import Options
from .plan import Plan
from .steps import signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from typing import Any

    from .manager import listen
    from .manager.notify import Manager
    from .plan import PlannedStep
    from .system.exit_stack import ExitStack


class Ready(str):
    """What ``context.ready`` is: the option's value and, called, the word that the daemon is ready."""

    declare: Callable[[], None]

    def __call__(self) -> None:
        """Say that the daemon is ready."""
        self.declare()


class Onlooker:
    """Whoever has a context opened for a user, and tells of it; this one tells nothing."""

    def has_begun(self, step: str) -> None:
        """Be told of a step; called in the process that takes it."""

    def has_launched(self) -> None:
        """Be told, in the launcher, that the daemon is ready; it must not raise."""


class Body(Options):
    """The context as its body sees it."""

    #: The names of the methods that :meth:`open` calls, in this order.
    steps: tuple[str, ...] = ()

    __slots__ = ("__weakref__", "_onlooker", "_opening", "_stop_wish")

    # Not an __init__ of its own: its signature, which tools show and check, would have to repeat every option.
    def _set_up(self) -> None:
        self._stop_wish = signals.StopWish()
        self._onlooker: Onlooker | None = None
        self._opening = Opening(self)  # none yet, but a step or a stack may be asked for before

    @property
    def is_open(self) -> bool:
        """Whether this process has opened the context and not closed it yet."""
        return self._opening.is_open

    @property
    def exit_stack(self) -> ExitStack:
        """A stack of what is to be given back; ``close()``, or a start that fails, unwinds it in reverse.

        A step of a subclass pushes on it what undoes what it did.
        """
        return self._opening.stack

    @property
    def ready(self) -> Any:
        """The option ``ready``; called, ``context.ready()`` says that the daemon is ready.

        The launcher then exits, and a service manager that waits for it is told. The second time does nothing, and nor
        does a process that the daemon has forked: only the daemon itself can say it.
        """
        value = Ready(self._ready_when)
        value.declare = self._opening.declare_ready
        return value

    @ready.setter
    def ready(self, when: str) -> None:
        self._ready_when = when

    def close(self) -> None:
        """Give back what the steps took, in reverse; on a closed context, or in a forked child, do nothing.

        The end of the with-block calls it, and the program's exit, so that a subclass may extend it.
        """
        self._opening.close()

    def plan(self) -> tuple[PlannedStep, ...]:
        """Return the steps that :meth:`open` would take, each with the value it would use, and take none.

        Of an open context they are those that it has taken.

        :raises InvalidOption: when an option can't be meant as it stands.
        """
        return (self._opening.values if self.is_open else Plan(self, self.steps)).resolved()

    @property
    def service_manager(self) -> Manager:
        """The manager of an open context, to be told that the daemon is well, reloads, or has something to be kept.

        Without a manager, and in a process that the daemon has forked, telling does nothing.
        """
        from .manager.notify import Manager

        return (self._opening.values.manager if self.is_open else None) or Manager(None)

    def listen_fds(self) -> list[tuple[str, socket.socket]]:
        """Return the sockets that a service manager opened for this daemon, each with its name; see sd_listen_fds(3).

        They stay open across the steps, whatever becomes of the environment. From now on they are the caller's, and
        close-on-exec; a second call returns nothing, and so does a context that is not open.
        """
        from .manager import listen

        return listen.sockets(self._take_given(listen.is_socket))

    def listen_files(self) -> list[tuple[str, int]]:
        """Return what else it gave, as descriptors: fifos, or what ``service_manager.store`` had it keep."""
        from .manager import listen

        return listen.files(self._take_given(lambda fd: not listen.is_socket(fd)))

    def _take_given(self, is_wanted: Callable[[int], bool]) -> listen.Given:
        opening = self._opening
        if not (opening.is_open or opening.is_opening):
            return ()
        from .manager import listen

        listen.forget(os.environ)
        taken = tuple(each for each in opening.values.given if is_wanted(each[1]))
        opening.values.given = tuple(each for each in opening.values.given if each not in taken)
        return taken

    def progress(self, text: str, seconds: float | None = None) -> None:
        """Tell how far the start has come: on the launcher's stderr, and to the service manager as its STATUS.

        :param seconds: how much longer it may take from now on, for a manager that would lose its patience before;
            ``None`` to leave that as it is.
        """
        opening = self._opening
        if opening.tie is None:
            if not opening.is_ready_said:
                self.show_progress(text)
        elif opening.tie.waited_for:
            opening.tie.reporter.progress(text)
        manager = opening.values.manager
        if manager is not None:
            manager.tell(STATUS=text)
            if seconds is not None:
                manager.extend(seconds)

    def wait(self, seconds: float | None = None) -> bool:
        """Sleep between two rounds of work: ``while not context.wait(60): work()``.

        :param seconds: how long; ``None`` until a stop is requested.

        Return true, and at once, when a stop has been requested.
        """
        return self._stop_wish.wait(seconds)

    def show_progress(self, text: str) -> None:
        """Show a text of :meth:`progress`; called in the launcher. On stderr, where the user is who started it."""
        with ignored(AttributeError, ValueError, OSError):  # no stderr, or nobody who reads it: the start goes on
            sys.stderr.write(f"{text}\n")
            sys.stderr.flush()

    def _has_launched(self) -> None:
        """Called in the launcher when the daemon is ready, before it leaves. It must not raise."""
        if self._onlooker is not None:
            self._onlooker.has_launched()

    def _say_what_it_waits_for(self, step: str) -> None:
        """Say at a terminal, to whoever waits there, what is missing until the daemon is ready."""
        with ignored(AttributeError, ValueError, OSError):
            if sys.stderr.isatty():
                missing = "its body has yet to call ready()" if step == "body" else f"step {step} is not done yet"
                self.show_progress(f"waiting for the daemon: {missing}; Ctrl-C ends the start")


def show_the_program_only(error: BaseException) -> None:
    """Take our frames out of what is shown of an exception that leaves the library; called in its handler."""
    try:
        from .system import frames
    except Exception:  # no descriptor is left to read the module by: the error itself is told all the same
        return
    frames.hide(error)
