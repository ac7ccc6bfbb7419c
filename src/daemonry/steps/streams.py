"""Where descriptors 0, 1 and 2 point."""

from __future__ import annotations

import errno
import os
import stat
import sys

from ..errors import InvalidOption
from ..system import forks
from ..system.closing import above_two, close, put
from ..system.record import Record
from .sys_streams import descriptor_of, made, name_in_sys, name_original

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

NAMES = ("stdin", "stdout", "stderr")
# Seconds that a flush may take of an object which may be locked for good.
_LONGEST_FLUSH = 2.0


class Stream(Record):
    """Where one of the three descriptors will point.

    ``source`` is a path, a descriptor, or ``None`` for the null device; ``stand_in`` is an object without a descriptor
    that takes the name in ``sys``; ``kept`` leaves the descriptor as it is. ``reopened_as`` is the path by which a
    path is reached inside the new root, ``None`` when it can't be.
    """

    name: str
    source: str | int | None = None
    stand_in: Any = None
    kept: bool = False
    reopened_as: str | None = None

    @property
    def number(self) -> int:
        """The descriptor."""
        return NAMES.index(self.name)

    @property
    def descriptors(self) -> list[int]:
        """The descriptors that it takes: its source, and what the name of a stream that is kept writes to."""
        if self.kept:
            number = descriptor_of(getattr(sys, self.name))
            return [] if number is None or number < len(NAMES) else [number]
        return [self.source] if isinstance(self.source, int) else []

    @property
    def given(self) -> bool:
        """Whether the user said where it shall point."""
        return self.source is not None or self.stand_in is not None

    @property
    def discarded(self) -> bool:
        """Whether what is written to it is seen by nobody."""
        return not self.kept and self.stand_in is None and _is_null(self.source)

    def __str__(self) -> str:
        if self.kept:
            return f"{self.name} unchanged"
        if self.stand_in is not None:
            return f"{self.name} -> {self.stand_in!r}"
        source = f"descriptor {self.source}" if isinstance(self.source, int) else self.source or os.devnull
        return f"{self.name} -> {source}"


def _is_null(source: str | int | None) -> bool:
    if source is None:
        return True
    try:
        found, null = os.stat(source), os.stat(os.devnull)
    except OSError:  # a log that isn't there yet
        return False
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == null.st_rdev


def resolve(name: str, target: object, root: str | None, keep: bool) -> Stream:
    """Return where the stream ``name`` will point.

    :param target: ``None``, a path, an int, a file object, or an object without descriptor.
    :param root: the new root directory, or ``None``.
    :param keep: whether ``None`` leaves the stream as it is, and doesn't mean the null device.
    :raises InvalidOption: when the target can't be meant.
    """
    if target is None:
        return Stream(name=name, kept=keep and is_open(NAMES.index(name)))
    if isinstance(target, (str, bytes, os.PathLike)):
        path = _absolute(name, target)
        _require_openable(name, path)
        from . import log_file  # noqa: F401 - inside another root directory it can't be found

        return Stream(name=name, source=path, reopened_as=_inside(root, path))
    number = _number_of(name, target)
    return Stream(name=name, stand_in=target) if number is None else Stream(name=name, source=number)


def is_open(number: int) -> bool:
    """Whether a file is open by this number."""
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def _absolute(name: str, target: Any) -> str:
    text = os.fsdecode(target)
    if not text or "\0" in text:
        raise InvalidOption(name, f"{text!r} can't be a path")
    return os.path.abspath(text)


def _require_openable(name: str, path: str) -> None:
    directory = os.path.dirname(path) if name != "stdin" else path
    try:
        found = os.stat(directory)
    except FileNotFoundError as error:
        raise InvalidOption(name, f"{directory} does not exist: make it before the start", error.errno) from error
    except OSError as error:
        from ..system.advice import on

        raise InvalidOption(name, f"{directory}: {error.strerror}{on(error)}", error.errno) from error
    if name != "stdin" and not stat.S_ISDIR(found.st_mode):
        raise InvalidOption(name, f"{directory} is not a directory, so no file can be in it", errno.ENOTDIR)
    if os.path.isdir(path):
        raise InvalidOption(name, f"{path} is a directory: name a file in it", errno.EISDIR)


def _inside(root: str | None, path: str) -> str | None:
    if root is None:
        return path
    prefix = root.rstrip("/") + "/"
    return path[len(prefix) - 1 :] if path.startswith(prefix) else None


def _number_of(name: str, target: Any) -> int | None:
    if isinstance(target, bool):
        raise InvalidOption(name, f"must be None, a path, a descriptor or a file, not {target!r}")
    if getattr(target, "closed", False):
        raise InvalidOption(name, f"{target!r} is closed: open it anew, or give its path")
    try:
        number = target if isinstance(target, int) else target.fileno()
        os.fstat(number)
    except (AttributeError, TypeError, ValueError) as error:
        if not hasattr(target, "readline" if name == "stdin" else "write"):
            raise InvalidOption(name, f"must be None, a path, a descriptor or a file, not {target!r}") from error
        return None
    except (OSError, OverflowError) as error:
        # io.UnsupportedOperation, which objects without descriptor raise, is a ValueError as well and went above.
        raise InvalidOption(name, f"{target!r} is not open", getattr(error, "errno", None)) from error
    _require_right_way(name, int(number))
    return int(number)


def _require_right_way(name: str, number: int) -> None:
    import fcntl

    wrong, way, what = (os.O_WRONLY, "writing", "read") if name == "stdin" else (os.O_RDONLY, "reading", "written")
    if fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE == wrong:
        raise InvalidOption(name, f"descriptor {number} is open for {way} only: it can't be {what}", errno.EBADF)


def redirect(streams: Sequence[Stream], owner: tuple[int, int] | None) -> dict[int, Any]:
    """Point the three descriptors where they shall point.

    The descriptors themselves are changed, and are inheritable; ``sys.stdout`` may be anything or nothing.

    :param owner: the user and the group to whom files that are opened by path are given, or ``None`` for nobody.

    Return where other threads are lost the objects that have new ones in their places in ``sys``, by their ids.

    :raises OSError: when one can't be opened; nothing has been changed then.
    """
    sources = _Sources(owner)
    try:
        # Each is there before the first one is put in its place, for one may stand in another's.
        pairs = [(sources.of(stream), stream) for stream in streams]
        for source, stream in pairs:
            _let_go(stream)
            put(source, stream.number, inheritable=True)
    finally:
        sources.close()
    if forks.threads_are_lost():
        return _name_all_anew(streams)
    for stream in streams:
        name_in_sys(stream)
    return {}


def _name_all_anew(streams: Sequence[Stream]) -> dict[int, Any]:
    names = [each for stream in streams for each in (stream.name, f"__{stream.name}__")]
    before = [(name, getattr(sys, name)) for name in names]
    for stream in streams:
        name_in_sys(stream)
        name_original(stream)
    return {id(old): getattr(sys, name) for name, old in before if old is not getattr(sys, name)}


def taken_by_others(streams: Sequence[Stream]) -> list[int]:
    """Return which of the three, closed when the program was started, are other files now, and will be streams."""
    return [
        stream.number
        for stream in streams
        if getattr(sys, f"__{stream.name}__") is None
        and descriptor_of(getattr(sys, stream.name)) != stream.number
        and not (stream.kept or stream.source == stream.number)
    ]


def _let_go(stream: Stream) -> None:
    """Write out what Python holds for the old place; drop it when that takes no more, for it isn't for the new one."""
    if forks.threads_are_lost():  # it gets a new object
        return
    if _flush_all(stream.name) or stream.kept or stream.source == stream.number:
        return
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    put(null, stream.number, inheritable=True)
    _flush_all(stream.name)
    if null != stream.number:
        close(null)


class _Sources:
    """What is put in the places of the streams, each opened above 2."""

    def __init__(self, owner: tuple[int, int] | None) -> None:
        self._owner = owner
        self._opened: list[int] = []
        self._null: int | None = None

    def of(self, stream: Stream) -> int:
        """Return a descriptor for a stream; that of the null device serves for several."""
        if stream.kept:
            return self._keep(above_two(stream.number))
        if isinstance(stream.source, int):
            return self._keep(above_two(stream.source))
        if stream.source is not None:
            return self._keep(_out_of_the_way(_open_path(stream, stream.source, self._owner)))
        if self._null is None:
            self._null = self._keep(_out_of_the_way(os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)))
        return self._null

    def _keep(self, number: int) -> int:
        self._opened.append(number)
        return number

    def close(self) -> None:
        """Close what has been opened."""
        close(*self._opened)


def _out_of_the_way(number: int) -> int:
    if number >= len(NAMES):
        return number
    try:
        return above_two(number)
    finally:
        close(number)


def _open_path(stream: Stream, path: str, owner: tuple[int, int] | None) -> int:
    from .log_file import open_input, open_log

    return open_input(path, owner) if stream.name == "stdin" else open_log(path, owner)


# What Python holds for them is not flushed, for it is the beginning of a line: it goes where the line's end will go.
# Nor could it be, in a signal handler that has interrupted the very write.
def reopen(streams: Sequence[Stream]) -> list[OSError]:
    """Open again, by their paths, the files that were given by path: what a log rotation moved away is let go.

    Return the errors of those that can't be opened; they stay as they were.
    """
    errors = []
    for stream in streams:
        if isinstance(stream.source, str) and stream.name != "stdin":
            try:
                _reopen(stream)
            except OSError as error:
                errors.append(error)
    return errors


def _reopen(stream: Stream) -> None:
    if stream.reopened_as is None:
        raise OSError(errno.ENOENT, f"cannot reopen {stream.name}: it lies outside the root directory", stream.source)
    from .log_file import open_log

    number = open_log(stream.reopened_as, None)
    try:
        put(number, stream.number, inheritable=True)
    finally:
        close(number)


def flush() -> None:
    """Write out what Python still holds of ``sys.stdout`` and ``sys.stderr``, also where the program replaced them."""
    for name in ("stdout", "stderr"):
        _flush_all(name)


def drop_unwritten(streams: Sequence[Stream], pid: int) -> None:
    """At the exit of a process, drop what Python holds for a stream of the daemon's that takes no more.

    A log on a full disk, for one: Python would end with status 120 for it, in the place of the program's own. In
    another process, a worker, this does nothing.
    """
    if os.getpid() != pid:
        return
    for stream in streams:
        if not (stream.kept or flush_one(getattr(sys, stream.name))):
            setattr(sys, stream.name, None)


def _flush_all(name: str) -> bool:
    current, original = getattr(sys, name), getattr(sys, f"__{name}__")
    if original is current:
        return flush_one(current)
    return all([flush_one(current), flush_one(original)])


def flush_one(stream: Any) -> bool:
    """Write out what one stream holds; return whether it could be, or nothing was held."""
    if forks.threads_are_lost() and not any(stream is each for each in made):
        # What is held before the streams are redirected is the launcher's, whose thread writes it.
        if made:
            from ..system import other_threads

            other_threads.within(_LONGEST_FLUSH, stream.flush)
        return True
    # A write that fails now would have failed at exit, when Python says so on a stream that still is the user's; a
    # start must not fail by it.
    try:
        stream.flush()
    except (AttributeError, ValueError):  # None, closed, or without a flush: then nothing is held
        return True
    except OSError:
        return False
    return True
