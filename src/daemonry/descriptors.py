"""Which descriptors stay open, and how all the others are closed."""

from __future__ import annotations

import errno
import gc
import io
import os
import sys
from contextlib import suppress

from . import bare_numbers
from .closing import close
from .errors import InvalidOption
from .libc import close_range
from .record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Iterator, Sequence
    from typing import Any, TypeVar

    Action = TypeVar("Action", bound=Callable[..., object])

FIRST_CLOSED = 3
_LAST = 0x7FFFFFFF
_LISTINGS = ("/proc/self/fd", "/dev/fd")


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
    :raises OSError: when there is no way to know which descriptors are open.
    """
    kept = set(also)
    for item in _items(preserved):
        kept.update(_numbers_of(item, handler_files))
    method = "close_range(2)" if close_range() is not None else f"listing {_listing()}"
    return Closing(kept=tuple(sorted(kept)), method=method)


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


def number_of(file: object, option: str) -> int:
    """Answer the descriptor that an int or a file object stands for.

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


def _listing() -> str:
    # /dev/fd without fdescfs shows 0 to 2 (FreeBSD) or fixed nodes (OpenBSD), which have close_range or closefrom
    # instead; so it counts only when it shows the descriptor that reads it.
    for directory in _LISTINGS:
        try:
            probe = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                raise
            continue
        try:
            if str(probe) in os.listdir(directory):
                return directory
        finally:
            close(probe)
    raise OSError(
        "cannot tell which descriptors are open: this system has no close_range(2), and neither /proc nor /dev/fd "
        "shows them; mount one of the two"
    )


def close_all_except(kept: Iterable[int]) -> None:
    """Close every descriptor above 2 that is not in ``kept``.

    The time grows with the descriptors that are open, whatever RLIMIT_NOFILE is or was: a limit that was lowered since
    hides descriptors above it.

    :raises OSError: when there is no way to know which ones are open.
    """
    numbers = {number for number in kept if FIRST_CLOSED <= number <= _LAST}
    close = close_range()
    directory = None if close is not None else _listing()
    _let_go(lambda number: number >= FIRST_CLOSED and number not in numbers)
    if close is not None:
        for first, last in _gaps(sorted(numbers)):
            close(first, last)
    elif directory is not None:
        _close_listed(directory, numbers)


def _let_go(doomed: Callable[[int], bool]) -> None:
    bare_numbers.forget(doomed)
    close_objects(doomed)


def flush_objects() -> None:
    """Write out what Python's files hold, where they can be found: with its descriptor a file loses that as well."""
    kinds = (io.TextIOWrapper, io.BufferedWriter, io.BufferedRandom)
    for each, flush in _objects_of([(kind, kind.flush) for kind in kinds]):
        # Closed, or it can't be written: then it is the program's to find out, as without us.
        with suppress(Exception):
            flush(each)


def close_objects(doomed: Callable[[int], bool]) -> None:
    """Close, as objects, the Python files and sockets whose descriptors are ``doomed``, where they can be found.

    Their numbers go to files that are opened later, and an object that doesn't know would close those when it is
    collected. What a file has not written yet is dropped, for the launcher may hold it too; :func:`flush_objects` comes
    before the fork.
    """
    for each, close_one in _objects_of(_kinds()):
        close_one(each, doomed)
    # Looking for these takes longer than all the rest, and hardly any program has one.
    for each in _untracked(_untracked_kinds()) if _may_have_untracked(doomed) else ():
        # An iterator of os.scandir tells no number, so nobody has preserved it.
        if not hasattr(each, "fileno") or doomed(-1 if each.closed else each.fileno()):
            each.close()


def _objects_of(actions: Sequence[tuple[type, Action]]) -> Iterator[tuple[Any, Action]]:
    """Yield the objects of these types, and of types derived from them, each with the action for its type."""
    found: dict[int, Action | None] = {}
    for each in _objects():
        # By type() and not by isinstance, which asks an object for its __class__ and wakes up proxies. By number, for a
        # metaclass can make a type's hash do anything.
        kind = type(each)
        if id(kind) not in found:
            found[id(kind)] = next((action for base, action in actions if issubclass(kind, base)), None)
        action = found[id(kind)]
        if action is not None:
            yield each, action


def _may_have_untracked(doomed: Callable[[int], bool]) -> bool:
    """Whether a descriptor is an epoll object's, or a directory's, as far as that can be seen."""
    numbers = _numbers_in_proc()
    return numbers is None or any(doomed(number) and _is_of_untracked(f"/proc/self/fd/{number}") for number in numbers)


def _numbers_in_proc() -> list[int] | None:
    try:
        return [int(name) for name in os.listdir("/proc/self/fd")]
    except OSError:
        return None


def _is_of_untracked(place: str) -> bool:
    try:
        return os.readlink(place) == "anon_inode:[eventpoll]" or os.path.isdir(place)
    except OSError:  # the one by which they were listed
        return False


def _untracked_kinds() -> list[Any]:
    epoll = getattr(sys.modules.get("select"), "epoll", None)
    kinds = [epoll] if epoll is not None else []
    # closedir(3) frees what another thread may be reading from just now.
    if len(sys._current_frames()) == 1:
        # The type has no name in any module.
        name = ("posix", "ScandirIterator")
        kinds += [kind for kind in type.__subclasses__(object) if (kind.__module__, kind.__name__) == name]
    return kinds


def _untracked(kinds: Sequence[Any]) -> Iterator[Any]:
    """Yield the objects of types that the collector does not track: those to which one that it tracks refers."""
    numbers = set(map(id, kinds))
    objects = _objects() if kinds else []
    for start in range(0, len(objects), 1000):  # not at once: a large program has millions of references
        for each in gc.get_referents(*objects[start : start + 1000]):
            if id(type(each)) in numbers:
                yield each


def _kinds() -> list[tuple[type, Callable[[Any, Callable[[int], bool]], None]]]:
    """Answer the types, of those that the program has imported, and what closes an object of each."""
    kinds: list[tuple[type, Callable[[Any, Callable[[int], bool]], None]]] = [(io.FileIO, _close_file)]
    for module, name, close_one in (
        ("_socket", "socket", _detach_socket),
        ("multiprocessing.connection", "_ConnectionBase", _forget_connection),
        ("multiprocessing.shared_memory", "SharedMemory", _forget_shared_memory),
    ):
        kind = getattr(sys.modules.get(module), name, None)
        if kind is not None:
            kinds.append((kind, close_one))
    return kinds


def _objects() -> list[Any]:
    """Answer the objects that the collector tracks, also those that the program has frozen."""
    objects = gc.get_objects()
    # Python 3.12 freezes a few hundred objects of its own. Frozen again with them would be all of a program that never
    # asked for it; if it did, the names of a module that is there from the beginning are frozen.
    if not gc.get_freeze_count() or any(each is vars(os) for each in objects):
        return objects
    gc.unfreeze()
    try:
        return gc.get_objects()
    finally:
        gc.freeze()


def _close_file(file: Any, doomed: Callable[[int], bool]) -> None:
    # The lowest layer, so that the buffers above it have nowhere to flush to.
    with suppress(OSError, ValueError):  # it is closed, as an object or only its descriptor
        if doomed(io.FileIO.fileno(file)) and file.closefd:
            io.FileIO.close(file)


def _detach_socket(socket: Any, doomed: Callable[[int], bool]) -> None:
    kind: Any = sys.modules["_socket"].socket
    if doomed(kind.fileno(socket)):
        kind.detach(socket)


def _forget_connection(connection: Any, doomed: Callable[[int], bool]) -> None:
    """Let an end of a pipe, or of a queue, of multiprocessing be what it is when it is closed."""
    number = vars(connection).get("_handle")
    if isinstance(number, int) and doomed(number):
        connection._handle = None


def _forget_shared_memory(memory: Any, doomed: Callable[[int], bool]) -> None:
    number = vars(memory).get("_fd", -1)
    if number >= 0 and doomed(number):
        memory._fd = -1
        # Its map has a descriptor of its own, which nobody is told, and would close that number when it is closed or
        # collected. What is mapped can still be used.
        _keep_for_good(memory._mmap)
        memory._mmap = None


_kept_for_good: list[object] = []


def _keep_for_good(item: object) -> None:
    """Have an object outlive the program's files, which are closed after the names of this module are gone."""
    try:
        from ctypes import py_object, pythonapi
    except ImportError:
        _kept_for_good.append(item)
    else:
        pythonapi.Py_IncRef(py_object(item))


def _gaps(kept: list[int]) -> list[tuple[int, int]]:
    edges = [FIRST_CLOSED - 1, *kept, _LAST + 1]
    return [(low + 1, high - 1) for low, high in zip(edges, edges[1:]) if low + 1 <= high - 1]


def _close_listed(directory: str, kept: Container[int]) -> None:
    for number in [int(name) for name in os.listdir(directory)]:
        if number >= FIRST_CLOSED and number not in kept:
            _close(number)


def _close(number: int) -> None:
    # The listing's own descriptor is in the list and closed by now. A descriptor is gone also after an error of
    # close(2), as with EIO of a network file system, so going on is all there is to do.
    with suppress(OSError):
        os.close(number)
