"""The commands of a Python program for its own daemon."""

from __future__ import annotations

import os
import sys

from ..body import Onlooker, show_the_program_only
from ..context import DaemonContext
from ..control.daemon import find_surely
from ..errors import DaemonStartError, DaemonTraceback, InvalidOption
from ..steps import telling_once
from ..steps.pidfile import lock_of
from . import steering
from .commands import carry_out
from .own_completion import complete, print_script
from .own_words import COMMANDS, Words
from .places import Target
from .refusal import Refusal
from .start_notes import StartNotes
from .statuses import DONE, FAILED, INTERRUPTED, status_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable
    from typing import Any, Union

    from .screen import Screen

    Wanted = Union[DaemonContext, Callable[[argparse.Namespace], DaemonContext]]


def perform_own(
    context: Wanted, main: Callable[..., Any], words: list[str], parser: argparse.ArgumentParser | None
) -> int:
    """Do what the words ask of the program's own daemon; return the exit status."""
    own = Words(parser.prog if parser is not None else _name(), parser)
    if words[:1] == ["complete"]:
        return complete(words[1:], own.candidates)
    command, told, options = own.parse(words)
    if command == "completion":
        return carry_out(print_script, told, own.name)
    found = context if isinstance(context, DaemonContext) else context(options)
    return _Own(own.name, found, main if parser is None else lambda: main(options)).perform(command, told)


def _name() -> str:
    """Return what the program is called: as its file, or as its package where python -m runs that."""
    directory, name = os.path.split(sys.argv[0])
    return os.path.basename(directory) if name == "__main__.py" else name


class _Own:
    """A program's context and its body."""

    def __init__(self, name: str, context: DaemonContext, main: Callable[[], Any]) -> None:
        path = getattr(lock_of(context.pidfile), "path", None)
        if not isinstance(path, str):
            raise InvalidOption("pidfile", "a service is found by its pidfile: give the context one, such as its path")
        log = context.stdout or context.stderr
        log = os.fspath(log) if isinstance(log, os.PathLike) else log
        self._context = context
        self._main = main
        self.target = Target(title=name, pidfile=path, log=log if isinstance(log, str) else None)

    def perform(self, command: str, options: argparse.Namespace) -> int:
        """Do a command; return the exit status."""
        opening = {"start": self._start, "run": self._run, "restart": self._restart}
        options.target = self.target
        status = carry_out(COMMANDS[command].function or opening[command], options, self.target.title)
        if self._context.is_open and status == DONE:
            return self._keep()
        if self._context.is_open:  # by a command that Ctrl-C has ended
            self._context.close()
        return status

    def _keep(self) -> int:
        """Call the body in the context that is open; what it raises is the program's own, and is put in no line."""
        with self._context:
            try:
                self._main()
            except BaseException as error:
                if telling_once.is_mere_interrupt(error):  # how one ends what runs in the foreground
                    return INTERRUPTED
                show_the_program_only(error)  # before it is logged
                raise
        return DONE

    def _start(self, options: argparse.Namespace, screen: Screen) -> int:
        # The lock decides; this one only says it in the words of the command.
        daemon = find_surely(self.target.pidfile)
        if daemon is not None:
            raise Refusal(f"{self.target.title} is running already: {daemon.process}", FAILED)
        teller = _Teller(self.target.title, screen)
        self._context._onlooker = teller
        try:
            self._context.open()
        except DaemonStartError as error:
            teller.tell_failure(error, self._context)
            return status_of(error)
        return DONE

    def _run(self, options: argparse.Namespace, screen: Screen) -> int:
        self._context.detach_process = False
        # Whoever looks on sees what it writes.
        self._context.stdout = self._context.stderr = None
        status = self._start(options, screen)
        if status == DONE:
            screen.say(f"{self.target.title}: running in the foreground, process {os.getpid()}")
        return status

    def _restart(self, options: argparse.Namespace, screen: Screen) -> int:
        # Refused before the old one is stopped: a mistake in the options must not cost a service.
        self._context.plan()
        steering.stop_target(self.target, options.schedule, screen)
        return self._start(options, screen)


class _Teller(Onlooker):
    """Tells the user how the start of a daemon went."""

    def __init__(self, title: str, screen: Screen) -> None:
        self._title = title
        self._screen = screen
        self._notes = StartNotes()
        self._redirects = False

    def has_begun(self, step: str) -> None:
        """Note for the launcher what the daemon's streams are, once they are what they shall be."""
        if self._redirects:
            self._notes.note()
        self._redirects = step == "redirect_streams"

    def has_launched(self) -> None:
        """Say that it is up."""
        number = f", process {self._notes.pid}" if self._notes.pid else ""
        self._screen.say(f"{self._title}: started{number}")

    def tell_failure(self, error: DaemonStartError, context: DaemonContext) -> None:
        """Say why it isn't: in a line, then where the program's own code has failed, and what it has written last."""
        self._screen.complain(str(error))
        trace = _trace_of(error)
        for line in (*trace, *self._notes.last_words(context.stdout, context.stderr, besides=trace)):
            self._screen.say(f"  {line}")


def _trace_of(error: DaemonStartError) -> list[str]:
    """Return the traceback of the program's own code, if it was that which has failed."""
    cause = error.__cause__
    if isinstance(cause, DaemonTraceback):
        return (error.traceback or "").splitlines()
    from ..system import frames

    text, is_of_program = frames.text_of(cause) if cause is not None else ("", False)
    return text.splitlines() if is_of_program else []
