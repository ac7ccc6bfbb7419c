"""The commands about what is kept of a daemon's start: show, forget."""

from __future__ import annotations

import os
from contextlib import suppress

from ..control.daemon import find_surely, remove_left_over
from . import history, memory, places
from .homes import history_beside
from .refusal import Refusal
from .screen import paint
from .statuses import DONE, FAILED
from .tables import aligned

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from typing import Any

    from .places import Target
    from .screen import Screen


def add_show(parser: argparse.ArgumentParser) -> None:
    """Add what ``show`` takes."""
    parser.add_argument("--json", action="store_true", help="answer in JSON")


def show(options: argparse.Namespace, screen: Screen) -> int:
    """Show how a daemon was started: the command as one can type it again, what its flags mean, and its files."""
    target = places.target_of(options.target)
    started = Started(target, memory.recall(target, "only what was started by name is kept"))
    if options.json:
        screen.answer_json(started.facts())
        return DONE
    screen.answer(paint(started.command(), "strong"))
    for rows in (started.files(), started.flags()):
        for line in aligned([*rows]):
            screen.answer(f"  {line}")
    return DONE


class Started:
    """One start, from the words that are kept of it."""

    def __init__(self, target: Target, kept: dict[str, Any]) -> None:
        self._target = target
        self._words: list[str] = kept["words"]
        self._directory: str = kept["directory"]

    def command(self) -> str:
        """Return what does it once more, in a shell."""
        # `restart` with a program is a start as well, and what it was told for the stop before is no flag of a start.
        verb = "start" if self._given().keys() <= _flags_of("start") else "restart"
        return f"cd {_quoted(self._directory)} && {' '.join(map(_quoted, ['daemonry', verb, *self._words]))}"

    def files(self) -> Iterator[tuple[str, str]]:
        """Yield its places, each behind what it is."""
        yield "pidfile", self._path("--pidfile") or self._target.pidfile
        usual = self._path("--output") or self._target.log or os.devnull
        for log in dict.fromkeys(self._path(stream) or usual for stream in ("--stdout", "--stderr")):
            yield "log", log
        yield "kept in", self._target.memory or ""

    def _path(self, flag: str) -> str | None:
        given = self._given().get(flag)
        return os.path.join(self._directory, given[0]) if given else None

    def flags(self) -> Iterator[tuple[str, str, str]]:
        """Yield the flags that were given, each with its value and what it says."""
        helps = {flag: action.help or "" for action in self._parser()._actions for flag in action.option_strings}
        for flag, values in self._given().items():
            for value in values or [""]:
                yield flag, value, helps[flag].partition(" (default")[0].rstrip(":")

    def facts(self) -> dict[str, Any]:
        """Return the same for a program."""
        return {
            "name": self._target.title,
            "command": self.command(),
            "words": self._words,
            "directory": self._directory,
            "program": self._split()[1],
            "flags": self._given(),
            "files": [{"kind": kind, "path": path} for kind, path in self.files()],
        }

    def _split(self) -> tuple[list[str], list[str]]:
        at = self._words.index("--") if "--" in self._words else len(self._words)
        return self._words[:at], self._words[at + 1 :]

    def _given(self) -> dict[str, list[str]]:
        """Return the flags as they were written, each with its values; it has several when it was given so often."""
        parser = self._parser()
        for action in parser._actions:
            action.type = None  # a descriptor that was preserved then need not be open here
        parsed = vars(parser.parse_args(self._split()[0]))
        return {
            action.option_strings[-1]: _values_of(parsed[action.dest])
            for action in parser._actions
            if action.option_strings and parsed.get(action.dest, action.default) != action.default
        }

    def _parser(self) -> argparse.ArgumentParser:
        from .commands import parser_of

        return parser_of("restart")  # which takes what `start` takes, and what may be kept of a restart


def _quoted(word: str) -> str:
    """Return a word as one types it into a shell, without what would steer the terminal or end a paste."""
    import shlex

    if all(each.isprintable() or each in "\t\n" for each in word):  # and so without what is no text
        return shlex.quote(word)
    # As bash, zsh, ksh and POSIX of 2024 read it.
    escaped = (chr(each) if 32 <= each < 127 and each not in b"'\\" else f"\\{each:03o}" for each in os.fsencode(word))
    return f"$'{''.join(escaped)}'"


def _flags_of(command: str) -> set[str]:
    from .commands import parser_of

    return {flag for action in parser_of(command)._actions for flag in action.option_strings}


def _values_of(value: object) -> list[str]:
    if isinstance(value, bool):
        return []
    return [str(each) for each in value] if isinstance(value, list) else [str(value)]


def forget(options: argparse.Namespace, screen: Screen) -> int:
    """Take away what is kept of a daemon that does not run; its log stays."""
    target = places.target_of(options.target)
    daemon = find_surely(target.pidfile)
    if daemon is not None:
        raise Refusal(f"{target.title} runs: {daemon.process}; stop it first", FAILED)
    _refuse_left_overs(target)
    kept = (target.pidfile, history_beside(target.pidfile), target.memory)
    # Drafts have the words of starts that were killed, and passwords may be among them.
    dropped = target.memory is not None and memory.drop_dead_drafts(target.memory)
    if not dropped and not any(path is not None and os.path.lexists(path) for path in kept):
        raise Refusal(f"nothing is kept of {target.title}", FAILED)
    remove_left_over(target.pidfile)
    history.forget(target)
    if target.memory is not None:
        with suppress(FileNotFoundError):
            os.unlink(target.memory)
    log = f"; its log stays: {target.log}" if target.log is not None and os.path.lexists(target.log) else ""
    screen.say(f"{target.title}: forgotten{log}")
    return DONE


def _refuse_left_overs(target: Target) -> None:
    """Refuse to take away by what it is known whose they are."""
    from . import belonging

    left = belonging.left_by(target) if os.path.lexists(target.pidfile) else None
    if left is not None:
        named = ", ".join(map(str, left.members()))
        advice = f"end it first, by `daemonry stop {target.title}`"
        raise Refusal(f"{target.title} has ended, but what it started runs on: {named}; {advice}", FAILED)
