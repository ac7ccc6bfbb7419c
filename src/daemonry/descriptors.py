"""Which descriptors stay open, and how all the others are closed."""

from __future__ import annotations

import os
from contextlib import suppress

from .errors import InvalidOption
from .libc import close_range
from .record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

FIRST_CLOSED = 3
_LAST = 0x7FFFFFFF


class Closing(Record):
    """Close every descriptor above 2 but ``kept``."""

    kept: tuple[int, ...]
    method: str

    def __str__(self) -> str:
        kept = ", ".join(str(number) for number in self.kept if number >= FIRST_CLOSED) or "none"
        return f"above 2 keep {kept}, by {self.method}"


def resolve(
    preserved: Iterable[object] | None, also: Iterable[int], handler_files: Callable[[object], object]
) -> Closing:
    """Answer which descriptors stay open: those of ``preserved`` and the numbers ``also``.

    :param preserved: ints, objects with a ``fileno()``, logging handlers and loggers, in any iterable; ``None`` for
        nothing.
    :param handler_files: answers the descriptors of a logging handler or logger, and ``None`` for anything else.
    :raises InvalidOption: when an item is none of these, or a file that is closed.
    """
    try:
        items = [] if preserved is None else list(preserved)
    except TypeError as error:
        raise InvalidOption("files_preserve", f"must be an iterable of files, not {preserved!r}") from error
    kept = set(also)
    for item in items:
        kept.update(_numbers_of(item, handler_files))
    method = "close_range(2)" if close_range() is not None else f"listing {_listing()}"
    return Closing(kept=tuple(sorted(kept)), method=method)


def _numbers_of(item: object, handler_files: Callable[[object], object]) -> Iterable[int]:
    files = handler_files(item)
    if files is not None:
        return files  # type: ignore[return-value]
    return (number_of(item, "files_preserve"),)


def number_of(file: object, option: str) -> int:
    """Answer the descriptor that an int or a file object stands for.

    :raises InvalidOption: when it stands for none.
    """
    if isinstance(file, bool) or not (isinstance(file, int) or hasattr(file, "fileno")):
        raise InvalidOption(option, f"{file!r} is neither a descriptor nor a file")
    try:
        number = file if isinstance(file, int) else file.fileno()
    except (OSError, ValueError) as error:  # io.UnsupportedOperation is both
        raise InvalidOption(option, f"{file!r} has no descriptor: {error}") from error
    if not isinstance(number, int) or number < 0:
        raise InvalidOption(option, f"{file!r} is not open: its descriptor is {number}")
    return number


def _listing() -> str | None:
    # /dev/fd without fdescfs shows 0 to 2 (FreeBSD) or fixed nodes (OpenBSD), which have close_range or closefrom
    # instead; so it counts only when it shows the descriptor that reads it.
    for directory in ("/proc/self/fd", "/dev/fd"):
        try:
            probe = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            if str(probe) in os.listdir(directory):
                return directory
        finally:
            os.close(probe)
    return None


def close_all_except(kept: Iterable[int]) -> None:
    """Close every descriptor above 2 that is not in ``kept``.

    The time grows with the descriptors that are open, whatever RLIMIT_NOFILE is or was: a limit that was lowered since
    hides descriptors above it.

    :raises OSError: when there is no way to know which ones are open.
    """
    gaps = _gaps(sorted({number for number in kept if number >= FIRST_CLOSED}))
    close = close_range()
    if close is not None:
        for first, last in gaps:
            close(first, last)
        return
    _close_listed(gaps)


def _gaps(kept: Sequence[int]) -> list[tuple[int, int]]:
    edges = [FIRST_CLOSED - 1, *kept, _LAST + 1]
    return [(low + 1, high - 1) for low, high in zip(edges, edges[1:]) if low + 1 <= high - 1]


def _close_listed(gaps: Sequence[tuple[int, int]]) -> None:
    directory = _listing()
    if directory is None:
        raise OSError(
            "cannot tell which descriptors are open: no close_range(2), and neither /proc nor /dev/fd is mounted here"
        )
    numbers = [int(name) for name in os.listdir(directory)]
    for number in numbers:
        if any(first <= number <= last for first, last in gaps):
            _close(number)


def _close(number: int) -> None:
    # The listing's own descriptor is in the list and closed by now. A descriptor is gone also after an error of
    # close(2), as with EIO of a network file system, so going on is all there is to do.
    with suppress(OSError):
        os.close(number)
