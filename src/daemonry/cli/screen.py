"""What the user sees: answers on stdout, messages on stderr, colour and a moving line on terminals only."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TextIO

_COLOURS = {"good": "32", "bad": "31", "doubtful": "33", "strong": "1"}
# ECMA-48: cursor up (CUU), erase in line (EL).
_OVER_THE_LAST_LINE = "\x1b[A\x1b[2K"


class Screen:
    """Where one command writes.

    :param quiet: whether messages are left out; errors and answers are not.
    :param program: who complains.
    """

    def __init__(self, quiet: bool = False, program: str = "daemonry") -> None:
        self.quiet = quiet
        self.program = program
        self.moves = not quiet and _is_terminal(sys.stderr)
        self._moving = False

    def answer(self, text: str) -> None:
        """Write what was asked for; what the locale has no letters for, as escapes."""
        encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
        print(text.encode(encoding, "backslashreplace").decode(encoding), flush=True)

    def pass_on(self, data: bytes) -> None:
        """Write what was asked for as it is."""
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()

    def answer_json(self, value: Any) -> None:
        """Write what was asked for, for a program."""
        import json

        self.answer(json.dumps(value, indent=2))

    def say(self, text: str) -> None:
        """Write a message, in the place of the moving line if there is one."""
        if not self.quiet:
            self._write(text)
        self._moving = False

    def move(self, text: str) -> None:
        """Write a message that the next one replaces; nothing but on a terminal."""
        if self.moves:
            self._write(text)
            self._moving = True

    def complain(self, text: str) -> None:
        """Write an error."""
        # A service complains of itself, and need not say so twice.
        is_told = text.startswith((f"{self.program}: ", f"{self.program} "))
        self._write(paint(text if is_told else f"{self.program}: {text}", "bad", sys.stderr))
        self._moving = False

    def _write(self, text: str) -> None:
        with suppress(AttributeError, ValueError, OSError):  # no stderr, or nobody who reads it: the status tells
            sys.stderr.write(f"{_OVER_THE_LAST_LINE if self._moving else ''}{text}\n")
            sys.stderr.flush()


def paint(text: str, how: str, stream: TextIO | None = None) -> str:
    """Return the text in colour, if the stream (stdout) is a terminal that is to show some; see no-color.org."""
    if not _is_terminal(stream or sys.stdout) or os.environ.get("NO_COLOR"):
        return text
    return f"\x1b[{_COLOURS[how]}m{text}\x1b[0m"


def _is_terminal(stream: TextIO | None) -> bool:
    try:
        return stream is not None and stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    except ValueError:  # it is closed
        return False


def one_line(text: str) -> str:
    """Return what others have written, with nothing in it that could steer a terminal."""
    return text if text.isprintable() else "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def width() -> int | None:
    """Return how many columns the terminal has where answers go, ``None`` where that is no terminal."""
    return _size()[0] or None


def height() -> int | None:
    """Return how many lines the terminal has where answers go, ``None`` where that is no terminal."""
    return _size()[1] or None


def _size() -> tuple[int, int]:
    try:
        return os.get_terminal_size(sys.stdout.fileno()) if sys.stdout is not None else (0, 0)
    except (OSError, ValueError):  # it is a file or a pipe, is closed, or has no number
        return 0, 0


def span(seconds: float) -> str:
    """Say a length of time in its two largest units."""
    units = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
    left, parts = max(0, int(seconds)), list[str]()
    for name, size in units:
        if left >= size or (name == "s" and not parts):
            parts.append(f"{left // size} {name}")
            left %= size
    return " ".join(parts[:2])
