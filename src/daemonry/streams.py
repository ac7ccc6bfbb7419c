"""Where descriptors 0, 1 and 2 point, and what ``sys`` calls them."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import sys
from contextlib import ExitStack, suppress

from .errors import InvalidOption
from .record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import IO, Any

NAMES = ("stdin", "stdout", "stderr")
_OURS = {"stdin": os.O_RDONLY, "stdout": os.O_WRONLY | os.O_APPEND, "stderr": os.O_WRONLY | os.O_APPEND}


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
    def given(self) -> bool:
        """Whether the user said where it shall point."""
        return self.source is not None or self.stand_in is not None

    @property
    def discarded(self) -> bool:
        """Whether what is written to it is seen by nobody."""
        return not self.kept and not self.given

    def __str__(self) -> str:
        if self.kept:
            return f"{self.name} unchanged"
        if self.stand_in is not None:
            return f"{self.name} -> {self.stand_in!r}"
        source = f"descriptor {self.source}" if isinstance(self.source, int) else self.source or os.devnull
        return f"{self.name} -> {source}"


def resolve(name: str, target: object, root: str | None, keep: bool) -> Stream:
    """Answer where the stream ``name`` will point.

    :param target: ``None``, a path, an int, a file object, or an object without descriptor.
    :param root: the new root directory, or ``None``.
    :param keep: whether ``None`` leaves the stream as it is, and doesn't mean the null device.
    :raises InvalidOption: when the target can't be meant.
    """
    if target is None:
        return Stream(name=name, kept=keep)
    if isinstance(target, (str, bytes, os.PathLike)):
        path = os.path.abspath(os.fsdecode(target))
        _require_openable(name, path)
        return Stream(name=name, source=path, reopened_as=_inside(root, path))
    number = _number_of(name, target)
    return Stream(name=name, stand_in=target) if number is None else Stream(name=name, source=number)


def _require_openable(name: str, path: str) -> None:
    directory = os.path.dirname(path) if name != "stdin" else path
    if not os.path.exists(directory):
        raise InvalidOption(name, f"{directory} does not exist", errno.ENOENT)
    if os.path.isdir(path):
        raise InvalidOption(name, f"{path} is a directory", errno.EISDIR)


def _inside(root: str | None, path: str) -> str | None:
    if root is None:
        return path
    prefix = root.rstrip("/") + "/"
    return path[len(prefix) - 1 :] if path.startswith(prefix) else None


def _number_of(name: str, target: Any) -> int | None:
    if isinstance(target, bool):
        raise InvalidOption(name, f"must be None, a path, a descriptor or a file, not {target!r}")
    if getattr(target, "closed", False):
        raise InvalidOption(name, f"{target!r} is closed")
    try:
        number = target if isinstance(target, int) else target.fileno()
        os.fstat(number)
    except (AttributeError, ValueError) as error:
        if not hasattr(target, "readline" if name == "stdin" else "write"):
            raise InvalidOption(name, f"must be None, a path, a descriptor or a file, not {target!r}") from error
        return None
    except (OSError, OverflowError) as error:
        # io.UnsupportedOperation, which objects without descriptor raise, is a ValueError as well and went above.
        raise InvalidOption(name, f"{target!r} is not open", getattr(error, "errno", None)) from error
    return int(number)


def redirect(streams: Sequence[Stream], owner: tuple[int, int] | None) -> None:
    """Point the three descriptors where they shall point.

    The descriptors themselves are changed, and are inheritable; ``sys.stdout`` may be anything or nothing.

    :param owner: the user and the group to whom files that are opened by path are given, or ``None`` for nobody.
    :raises OSError: when one can't be opened; nothing has been changed then.
    """
    with ExitStack() as sources:
        # Every source is copied above 2 before the first one is put in its place, for one may stand in another's.
        pairs = []
        for stream in streams:
            source = _open_source(stream, owner)
            sources.callback(os.close, source)
            pairs.append((source, stream))
        for source, stream in pairs:
            _flush(getattr(sys, stream.name))
            os.dup2(source, stream.number, inheritable=True)
    for stream in streams:
        _name_in_sys(stream)


def _open_source(stream: Stream, owner: tuple[int, int] | None) -> int:
    if stream.kept:
        with suppress(OSError):  # it was closed when we were started: then it is discarded
            return _above_two(stream.number)
    if isinstance(stream.source, int):
        return _above_two(stream.source)
    number = open_file(stream, stream.source, owner) if stream.source else os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    try:
        return _above_two(number)
    finally:
        os.close(number)


def _above_two(number: int) -> int:
    return fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, 3)


def open_file(stream: Stream, path: str, owner: tuple[int, int] | None) -> int:
    """Open a stream's file, to append; one that is made here gets mode 0640, and belongs to ``owner``."""
    # O_NOCTTY: a terminal named as a log must not become the controlling terminal of a session leader.
    flags = _OURS[stream.name] | os.O_CLOEXEC | os.O_NOCTTY
    if stream.name == "stdin":
        return os.open(path, flags)
    try:
        number = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o640)
        made = True
    except FileExistsError:
        number = os.open(path, flags)
        made = False
    if owner is not None and (made or _safe_to_give(number, path)):
        os.fchown(number, *owner)
    return number


def _safe_to_give(number: int, path: str) -> bool:
    """Whether a file that was there already is surely the log, and not a secret that somebody linked in its place."""
    found = os.fstat(number)
    directory = os.stat(os.path.dirname(path))
    ours = (0, os.geteuid())
    return (
        stat.S_ISREG(found.st_mode)
        and found.st_nlink == 1
        and found.st_uid in ours
        and directory.st_uid in ours
        and not directory.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        and not os.path.islink(path)
    )


class Saved:
    """What :func:`redirect` changes, as it was before."""

    def __init__(self, streams: Sequence[Stream]) -> None:
        self._names = {stream.name: getattr(sys, stream.name) for stream in streams}
        self._copies: dict[int, int] = {}
        for stream in streams:
            with suppress(OSError):  # a descriptor that is closed can't be put back and needn't
                self._copies[stream.number] = _above_two(stream.number)

    def put_back(self) -> None:
        """Point everything where it pointed."""
        for name, stream in self._names.items():
            _flush(getattr(sys, name))
            setattr(sys, name, stream)
        for number, copy in self._copies.items():
            os.dup2(copy, number, inheritable=True)
        self.forget()

    def forget(self) -> None:
        """Close what putting it back takes."""
        while self._copies:
            os.close(self._copies.popitem()[1])


def reopen(streams: Sequence[Stream]) -> None:
    """Open again, by their paths, the files that were given by path: what a log rotation moved away is let go.

    :raises OSError: when one can't be opened; it stays as it was then.
    """
    for stream in streams:
        if not isinstance(stream.source, str) or stream.name == "stdin":
            continue
        if stream.reopened_as is None:
            raise OSError(
                errno.ENOENT, f"cannot reopen {stream.name}: it lies outside the root directory", stream.source
            )
        number = open_file(stream, stream.reopened_as, None)
        try:
            _flush(getattr(sys, stream.name))
            os.dup2(number, stream.number, inheritable=True)
        finally:
            os.close(number)


def flush() -> None:
    """Write out what Python still holds of ``sys.stdout`` and ``sys.stderr``."""
    for name in ("stdout", "stderr"):
        _flush(getattr(sys, name))


def _flush(stream: Any) -> None:
    # None, closed, or without a flush: then nothing is held. A write that fails now would have failed at exit, when
    # Python says so on a stream that still is the user's; a start must not fail by it.
    with suppress(AttributeError, ValueError, OSError):
        stream.flush()


# What a name in sys stood for is kept for good. Its descriptor may be closed by now and its number another file's, so
# the object must not be collected: it would close the number.
_replaced: list[object] = []


def _name_in_sys(stream: Stream) -> None:
    current = getattr(sys, stream.name)
    if stream.stand_in is not None:
        _rebind(stream.name, stream.stand_in)
    elif not _writes_to(current, stream):
        _rebind(stream.name, _fresh(stream, current))
    elif stream.name != "stdin" and hasattr(current, "reconfigure") and _descriptor_of(current) == stream.number:
        current.reconfigure(line_buffering=True, errors="backslashreplace")


def _writes_to(current: Any, stream: Stream) -> bool:
    if current is None or getattr(current, "closed", False):
        return False
    number = _descriptor_of(current)
    # Without a descriptor, it may be the program's own tee or logger: left alone unless the user said where to.
    return number == stream.number if number is not None else not stream.given


def _descriptor_of(stream: Any) -> int | None:
    try:
        return int(stream.fileno())
    except (AttributeError, ValueError, OSError, TypeError):
        return None


def _fresh(stream: Stream, current: Any) -> IO[str]:
    mode = "r" if stream.name == "stdin" else "w"
    encoding = getattr(current, "encoding", None) or "utf-8"
    errors = "surrogateescape" if stream.name == "stdin" else "backslashreplace"
    return open(stream.number, mode, buffering=1, encoding=encoding, errors=errors, closefd=False)


def _rebind(name: str, stream: object) -> None:
    _replaced.append(getattr(sys, name))
    setattr(sys, name, stream)
