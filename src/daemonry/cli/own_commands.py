"""The commands of a Python program for its own daemon."""

from __future__ import annotations

import os
import sys

from ..errors import InvalidOption
from ..plan import lock_of
from . import asking, steering
from .commands import carry_out
from .places import Target
from .statuses import DONE

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable
    from typing import Any

    from ..context import DaemonContext
    from .screen import Screen


def perform_own(context: DaemonContext, main: Callable[[], Any], words: list[str]) -> int:
    """Do what the words ask of the program's own daemon; answer the exit status."""
    own = _Own(context, main)
    options = own.parser().parse_args(words)
    options.target = own.target
    status = carry_out(options.function, options, own.name)
    return own.keep() if context.is_open else status


class _Own:
    """A program's context and its body."""

    def __init__(self, context: DaemonContext, main: Callable[[], Any]) -> None:
        path = getattr(lock_of(context.pidfile), "path", None)
        if not isinstance(path, str):
            raise InvalidOption("pidfile", "a service is found by its pidfile: give the context one, such as its path")
        log = context.stdout or context.stderr
        log = os.fspath(log) if isinstance(log, os.PathLike) else log
        self._context = context
        self._main = main
        self.name = os.path.basename(sys.argv[0])
        self.target = Target(title=self.name, pidfile=path, log=log if isinstance(log, str) else None)

    def parser(self) -> argparse.ArgumentParser:
        """Make the parser of the commands."""
        import argparse

        parser = argparse.ArgumentParser(prog=self.name, epilog=f"example: {self.name} start")
        commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
        for name, function, adds, summary in (
            ("start", self._start, None, "start it as a daemon"),
            ("run", self._run, None, "run it in the foreground"),
            ("stop", steering.stop, steering.add_schedule, "stop it"),
            ("restart", self._restart, steering.add_schedule, "stop it, and start it again"),
            ("reload", steering.reload, None, "let it read its configuration again (SIGHUP)"),
            ("status", asking.status, asking.add_json, "tell whether it runs"),
            ("logs", asking.logs, asking.add_logs, "show what it has written"),
            ("doctor", asking.doctor, asking.add_json, "tell which properties of a well-behaved daemon it has"),
        ):
            command = commands.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
            command.add_argument("-q", "--quiet", action="store_true", help="say nothing but errors and answers")
            command.set_defaults(function=function)
            if adds is not None:
                adds(command)
        return parser

    def _start(self, options: argparse.Namespace, screen: Screen) -> int:
        self._context.open()
        return DONE

    def keep(self) -> int:
        """Call the body in the context that is open; what it raises is the program's own, and is put in no line."""
        with self._context:
            try:
                self._main()
            except KeyboardInterrupt:  # how one ends what runs in the foreground
                return 130
        return DONE

    def _run(self, options: argparse.Namespace, screen: Screen) -> int:
        self._context.detach_process = False
        return self._start(options, screen)

    def _restart(self, options: argparse.Namespace, screen: Screen) -> int:
        # Refused before the old one is stopped: a mistake in the options must not cost a service.
        self._context.plan()
        steering.stop_target(self.target, options.schedule, screen)
        return self._start(options, screen)
