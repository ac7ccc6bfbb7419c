"""Copies of the three streams: whoever waits for the end of what a stream led to waits for the last of its copies."""

from __future__ import annotations

import fcntl
import os
import stat

from ..system.closing import put

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Iterable

    # The number of a copy, and the numbers of the streams that it may be a copy of.
    Copies = tuple[tuple[int, tuple[int, ...]], ...]
    Place = tuple[object, ...]


def of_streams(numbers: Iterable[int]) -> Copies:
    """Return which of these lead to the pipe, socket or terminal to which 0, 1 or 2 do, and to which of them."""
    found = [(number, place) for number in numbers if (place := _place(number)) is not None]
    streams = {number: _place(number) for number in (2, 1, 0)} if found else {}
    pairs = [(number, _streams_at(place, streams)) for number, place in found]
    return tuple((number, of[:: -1 if _access(number) == os.O_RDONLY else 1]) for number, of in pairs if of)


def _place(number: int) -> Place | None:
    """Return what tells where a descriptor leads; ``None`` for what nobody waits for."""
    try:
        found = os.fstat(number)
    except OSError:
        return None
    if stat.S_ISFIFO(found.st_mode):  # with the direction: who writes into a pipe of his own reads from it as well
        return found.st_dev, found.st_ino, _access(number)
    if stat.S_ISSOCK(found.st_mode) and found.st_ino:  # not every system numbers them
        return found.st_dev, found.st_ino
    return ("terminal", found.st_rdev) if stat.S_ISCHR(found.st_mode) and os.isatty(number) else None


def _access(number: int) -> int:
    return fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE


def _streams_at(place: Place, streams: dict[int, Place | None]) -> tuple[int, ...]:
    same = tuple(number for number, where in streams.items() if where == place)
    if same or place[0] != "terminal" or place[1] != os.stat("/dev/tty").st_rdev:
        return same
    # Opened by that name it is the terminal of the session, which the streams may have by another.
    return tuple(number for number, where in streams.items() if where and where[0] == "terminal") or tuple(streams)


def follow(copies: Copies, discarded: Container[int]) -> None:
    """Put each copy onto what its stream now is; of several, one that is not ``discarded``."""
    for number, streams in copies:
        source = next((each for each in streams if each not in discarded), streams[0])
        put(source, number, inheritable=os.get_inheritable(number))
