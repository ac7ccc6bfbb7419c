"""Which descriptors stay open, and how all the others are closed."""

from __future__ import annotations

import errno
import os
import stat

from ..errors import InvalidOption, ignored
from ..system.closing import FIRST, close, close_run
from ..system.forks import owned_descriptors
from ..system.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    # A number, the path or the kind of what it leads to, whether it stays open, and why.
    Fate = tuple[int, str, bool, str]

PROC = "/proc/self/fd"
DEV = "/dev/fd"
# Where neither of the two is there, only numbers below this one are asked for.
ASKED = 4096

NAMED = "in files_preserve"
OF_LOGGING = "of a logging handler"
OWN = "the program's own"
OURS = "daemonry's own, for as long as it needs it"


class Closing(Record):
    """Which descriptors above 2 stay open: those ``given``, each with the reason, and perhaps the program's own."""

    given: tuple[tuple[int, str], ...]
    leaves_own: bool
    reason: str
    keeps_logging: bool

    @property
    def kept(self) -> tuple[int, ...]:
        """The numbers that stay open, whoever has opened them."""
        return tuple(sorted(number for number, _ in self.given))

    def _given(self) -> dict[int, str]:
        return {**dict(self.given), **dict.fromkeys(owned_descriptors(), OURS)}

    def __str__(self) -> str:
        rule = "close what was inherited, leave what is the program's own" if self.leaves_own else "close all not named"
        return "".join((f"{rule}: {self.reason}", *map(_line, self.fates())))

    def fates(self) -> Iterator[Fate]:
        """Yield of each descriptor above 2 that is open in the process that asks what would become of it, and why."""
        given = self._given()
        for number in _open_numbers():
            inheritable = _is_inheritable(number)
            if inheritable is None:
                continue
            stays = number in given or (self.leaves_own and not inheritable)
            closed_for = _INHERITED if self.leaves_own else _UNNAMED
            yield number, _what(number), stays, given.get(number) or (OWN if stays else closed_for)


def _line(fate: Fate) -> str:
    number, what, stays, why = fate
    return f"\n    {number} {what} {'stays' if stays else 'is closed'}: {why}"


_INHERITED = "inherited, or made to be"
_UNNAMED = "not named"
_GIVEN_BY_MANAGER = "given by the service manager"
_OF_A_STREAM = "what a stream will lead to"


class _OwnFile(int):
    """A number that :func:`own_files` has answered: in ``files_preserve`` it stays what it is, the program's own."""


def resolve(
    preserved: Iterable[object] | None,
    given: Iterable[int],
    of_streams: Iterable[int],
    of_logging: Iterable[int] | None,
    handler_files: Callable[[object], object],
    forked: str,
) -> Closing:
    """Return which descriptors stay open.

    :param preserved: ints, objects with a ``fileno()``, logging handlers and loggers, in any iterable; ``None`` for all
        that the program has opened itself.
    :param given: the numbers that a service manager has given.
    :param of_streams: the numbers that the three streams will lead to, or write to.
    :param of_logging: the numbers of logging's handlers; ``None`` when these are not to be preserved.
    :param handler_files: returns the descriptors of a logging handler or logger, and ``None`` for anything else.
    :param forked: why the program's own can't be told from what its parent has left it; ``""`` when it can.
    :raises InvalidOption: when an item is none of these, or is not open, other than the numbers of a ``range``.
    """
    found = dict.fromkeys(of_logging or (), OF_LOGGING)
    for item in _items(preserved):
        for number in _numbers_of(item, handler_files):
            if not isinstance(preserved, range):  # of which those are meant that are open
                _require_open(item, number)
            found[number] = OWN if isinstance(item, _OwnFile) else NAMED
    found.update(dict.fromkeys(of_streams, _OF_A_STREAM))
    found.update(dict.fromkeys(given, _GIVEN_BY_MANAGER))
    return Closing(
        given=tuple(found.items()),
        leaves_own=preserved is None and not forked,
        reason=_reason(preserved is not None, forked),
        keeps_logging=of_logging is not None,
    )


def _reason(named: bool, forked: str) -> str:
    if named:
        return "files_preserve is given"
    if forked:
        return f"{forked}, and its own files can't be told from that one's"
    return "files_preserve is not given"


def _items(preserved: Any) -> list[object]:
    if preserved is None:
        return []
    # A text is an iterable too, and so is a file: of its lines, which reading would use up.
    if isinstance(preserved, (str, bytes)) or hasattr(preserved, "fileno"):
        raise InvalidOption("files_preserve", f"must be an iterable of files, such as [file], not {preserved!r}")
    try:
        return list(preserved)
    except TypeError as error:
        raise InvalidOption("files_preserve", f"must be an iterable of files, not {preserved!r}") from error


def _numbers_of(item: object, handler_files: Callable[[object], object]) -> Iterable[int]:
    files = handler_files(item)
    if files is not None:
        return files  # type: ignore[return-value]
    return (number_of(item, "files_preserve"),)


def _require_open(item: object, number: int) -> None:
    # The three become streams, whether they were open or not; what own_files() has listed may have been closed since.
    if number < FIRST or isinstance(item, _OwnFile):
        return
    try:
        os.fstat(number)
    except (OSError, OverflowError) as error:
        advice = "it would be whatever is opened next; leave it out, or open it before"
        raise InvalidOption("files_preserve", f"{item!r} is not open: {advice}", errno.EBADF) from error


def number_of(file: object, option: str) -> int:
    """Return the descriptor that an int or a file object stands for.

    :raises InvalidOption: when it stands for none.
    """
    if isinstance(file, bool) or not (isinstance(file, int) or hasattr(file, "fileno")):
        raise InvalidOption(option, f"{file!r} is neither a descriptor nor a file")
    try:
        number = file if isinstance(file, int) else file.fileno()
    except (OSError, ValueError, TypeError, AttributeError) as error:  # io.UnsupportedOperation is the first two
        raise InvalidOption(option, f"{file!r} has no descriptor: {error}") from error
    if not isinstance(number, int) or number < 0:
        raise InvalidOption(option, f"{file!r} is not open: its descriptor is {number}")
    return number


def own_files() -> list[int]:
    """Return the descriptors of all that the program has opened itself, to be named in ``files_preserve`` with others.

    They are those above 2 that are close-on-exec: nothing of that kind comes through an exec. What another program that
    has forked this process had open can't be told from them.

    Source: PEP 446.
    """
    ours = owned_descriptors()
    return [_OwnFile(number) for number in _open_numbers() if is_own(number) and number not in ours]


def is_own(number: int) -> bool:
    """Whether the number is that of a file which the program has opened itself."""
    return _is_inheritable(number) is False


def flush(preserved: Iterable[object] | None) -> None:
    """Write out what the files to preserve hold, be it compressed."""
    for each in preserved or ():
        # Numbers and sockets hold nothing; what can't be written is the program's to find out, as without us.
        with ignored(Exception):
            each.flush()  # type: ignore[attr-defined]


def close_unkept(plan: Closing) -> list[int]:
    """Close every descriptor above 2 that is not to stay; return those that stay and may be copies of a stream.

    The time grows with the descriptors that are open, and with nothing else: not with RLIMIT_NOFILE, and not with what
    the program holds. A limit that was lowered since hides nothing.
    """
    given, doomed, left = plan._given(), [], []
    for number in _open_numbers():
        if number in given:
            if given[number] in (OWN, OF_LOGGING):
                left.append(number)
        elif not plan.leaves_own:
            doomed.append(number)
        elif (inheritable := _is_inheritable(number)) is not None:
            (doomed if inheritable else left).append(number)
    _close(doomed)
    return left


def close_all_except(kept: Iterable[int]) -> None:
    """Close every descriptor above 2 that is not in ``kept``."""
    numbers = set(kept)
    _close(number for number in _open_numbers() if number not in numbers)


def _close(numbers: Iterable[int]) -> None:
    for first, last in _runs(numbers):
        close_run(first, last)


def _runs(numbers: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Yield the first and the last of each run of numbers that follow one another."""
    first = last = -1
    for number in numbers:
        if number != last + 1:
            if last >= 0:
                yield first, last
            first = number
        last = number
    if last >= 0:
        yield first, last


def _is_inheritable(number: int) -> bool | None:
    """Whether a program that is executed gets it; ``None`` when it is not open."""
    try:
        return os.get_inheritable(number)
    except OSError:
        return None


def _open_numbers() -> Iterable[int]:
    """Return in their order the numbers above 2 that are open.

    :raises OSError: when no descriptor is left for listing them.
    """
    names = _listed_in(PROC) or _shown_in_dev()
    if names is None:
        return [number for number in range(FIRST, ASKED) if _is_inheritable(number) is not None]
    return sorted(number for number in map(int, names) if number >= FIRST)


def _listed_in(directory: str) -> list[str] | None:
    try:
        # By which it will be listed. To be told by an exception that it is not open any more would cost each daemon
        # half a megabyte of the C library, for the text of it.
        free = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
        close(free)
        return [name for name in os.listdir(directory) if name != str(free)]
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE):
            raise
        return None


def _shown_in_dev() -> list[str] | None:
    import fcntl

    # Without fdescfs it shows 0 to 2 (FreeBSD), or the same numbers always (OpenBSD): it counts only when it shows one
    # that nobody would have made beforehand.
    try:
        low = os.open(DEV, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        high = fcntl.fcntl(low, fcntl.F_DUPFD_CLOEXEC, 200)
    except OSError:  # the limit is lower than that
        return None
    finally:
        close(low)
    try:
        names = _listed_in(DEV)
        return names if names is not None and str(high) in names else None
    finally:
        close(high)


def _what(number: int) -> str:
    """Return the path of what a descriptor leads to, or its kind."""
    try:
        return os.readlink(f"{PROC}/{number}")
    except OSError:
        return stat.filemode(os.fstat(number).st_mode)
