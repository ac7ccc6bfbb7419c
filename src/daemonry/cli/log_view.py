"""A log from its end: its last lines, and what is added to it, read in pieces however long it is."""

from __future__ import annotations

import os
import time

from ..system.closing import close

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

# O_NONBLOCK, O_NOCTTY: what lies there may have become a FIFO or a terminal.
READING = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_PIECE = 65_536
# Seconds between two looks at the file, and at whether it is still the one.
_ROUND = 0.1
_LOOK = 0.5


def start_of_last(fd: int, lines: int, least: int = 0) -> int:
    """Return where the last lines of a file begin, as an offset in bytes.

    :param least: where they begin at the earliest.
    """
    end = at = os.fstat(fd).st_size
    while at > least and lines > 0:
        begin = max(least, at - _PIECE)
        data = os.pread(fd, at - begin, begin)
        # The newline at the very end ends the last line, and begins none.
        stop = len(data) - (at == end and data.endswith(b"\n"))
        while lines > 0 and (found := data.rfind(b"\n", 0, stop)) >= 0:
            lines, stop = lines - 1, found
            if lines == 0:
                return begin + found + 1
        at = begin
    return end if lines == 0 else at


def copy(fd: int, offset: int, write: Callable[[bytes], object]) -> int:
    """Pass on what the file has from the offset on; return the offset of its end."""
    while data := os.pread(fd, _PIECE, offset):
        write(data)
        offset += len(data)
    return offset


def follow(fd: int, offset: int, write: Callable[[bytes], object], look: Callable[[], int | None]) -> None:
    """Pass on what is added to a file, and to the one that takes its place, until an exception ends it.

    :param look: opens what is the log now, and returns its descriptor; ``None`` when there is none for the moment.
    """
    looked = time.monotonic()
    while True:
        offset = copy(fd, offset, write)
        time.sleep(_ROUND)
        if os.fstat(fd).st_size < offset:  # emptied, as logrotate's copytruncate does
            offset = 0
        if time.monotonic() - looked >= _LOOK:
            looked = time.monotonic()
            other = look()
            if other is not None and os.path.sameopenfile(fd, other):
                close(other)
            elif other is not None:
                copy(fd, offset, write)  # what came before it was moved away
                close(fd)
                fd, offset = other, 0


def last_words(fd: int, lines: int, least: int) -> list[str]:
    """Return the last lines of a file as text, of a few kilobytes at most.

    :param least: the offset from which on they are meant.
    """
    end = os.fstat(fd).st_size
    begin = start_of_last(fd, lines, max(least, end - _PIECE))
    return os.pread(fd, end - begin, begin).decode("utf-8", "backslashreplace").splitlines()
