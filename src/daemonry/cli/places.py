"""From what a user calls a daemon to its files: the FHS's places for root, the XDG's for others."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager

from ..errors import ControlError
from ..record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


class Target(Record):
    """A daemon as the user named it.

    :ivar title: ``str``, what it is called in messages.
    :ivar pidfile: ``str``.
    :ivar log: ``str``, where a start by name writes, or ``None``.
    :ivar memory: ``str``, the file that remembers how it was started, or ``None``.
    """

    title: str
    pidfile: str
    log: str | None = None
    memory: str | None = None


def is_name(text: str) -> bool:
    """Whether this can be the name of a daemon, and of files; what has a slash in it is a path, digits are a pid."""
    allowed = text[:1] in _LETTERS and all(letter in _LETTERS + "_.@-" for letter in text)
    return allowed and text != "" and not text.isdigit()


def named(name: str) -> Target:
    """Answer the daemon with this name."""
    runtime = runtime_directory()
    return Target(
        title=name,
        pidfile=os.path.join(runtime, f"{name}.pid"),
        log=os.path.join(_log_directory(), f"{name}.log"),
        memory=os.path.join(runtime, "daemonry", f"{name}.json"),
    )


def target_of(text: str | Target) -> Target:
    """Answer the daemon that the user calls so: by its name, or by the path of its pidfile."""
    if isinstance(text, Target):
        return text
    return named(text) if is_name(text) else Target(title=text, pidfile=absolute(text))


def absolute(path: str) -> str:
    """Answer the path from the root; as it is, where the working directory has gone: who asks for it is told that."""
    try:
        return os.path.abspath(path)
    except OSError:
        return path


def runtime_directory() -> str:
    """Answer where pidfiles are: the FHS, 3.15; the XDG Base Directory Specification."""
    if os.geteuid() == 0:
        return "/run" if os.path.isdir("/run") else "/var/run"
    return os.environ.get("XDG_RUNTIME_DIR") or _log_directory()


def _log_directory() -> str:
    if os.geteuid() == 0:
        return "/var/log"
    return os.environ.get("XDG_STATE_HOME") or os.path.join(os.path.expanduser("~"), ".local", "state")


def make_directories(target: Target) -> None:
    """Make what a start by name writes into, for its user alone.

    :raises OSError: when that can't be.
    """
    for path in (target.pidfile, target.log, target.memory):
        if path is not None:
            os.makedirs(os.path.dirname(path), mode=0o755 if os.geteuid() == 0 else 0o700, exist_ok=True)


@contextmanager
def remembered(target: Target | None, words: list[str]) -> Iterator[None]:
    """Keep how a daemon is started, from before it is; forget it when that fails.

    Who comes out of the block has failed: the launcher of a daemon that is up leaves by ``os._exit``, in the block.

    :param words: those behind ``daemonry start``.
    """
    import json

    if target is None or target.memory is None:
        yield
        return
    make_directories(target)
    before = _bytes_of(target.memory)
    _write(target.memory, json.dumps({"words": words, "directory": os.getcwd()}).encode())
    own = os.getpid()
    try:
        yield
    finally:
        if os.getpid() == own:  # and not the daemon, which has become another process
            _put_back(target.memory, before)


def _bytes_of(path: str) -> bytes | None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    with open(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file; remove it", path)
        return file.read()


def _write(path: str, data: bytes) -> None:
    draft = f"{path}.{os.getpid()}"
    with open(draft, "wb") as file:
        file.write(data)
    os.replace(draft, path)


def _put_back(path: str, data: bytes | None) -> None:
    if data is None:
        os.unlink(path)
    else:
        _write(path, data)


def recall(target: Target) -> dict[str, Any]:
    """Answer what was kept.

    :raises ControlError: when nothing was.
    """
    import json

    try:
        data = _bytes_of(target.memory) if target.memory is not None else None
        kept: Any = json.loads(data) if data is not None else None
    except (OSError, ValueError, RecursionError) as error:
        raise _is_unknown(target, f"{target.memory} can't be read") from error
    if data is None:
        raise _is_unknown(target)
    if not _is_memory(kept):
        raise _is_unknown(target, f"{target.memory} is not what `daemonry start` has written")
    known: dict[str, Any] = kept
    return known


def _is_unknown(target: Target, reason: str | None = None) -> ControlError:
    why = f": {reason}" if reason is not None else ""
    message = f"nobody knows how {target.title} was started{why}; say it again, after --"
    return ControlError(None, message, target.pidfile)


def _is_memory(kept: Any) -> bool:
    if not isinstance(kept, dict):
        return False
    words = kept.get("words")
    return isinstance(words, list) and all(isinstance(each, str) for each in [*words, kept.get("directory")])


def all_named() -> Iterator[Target]:
    """Yield the daemons of this user that were started by name."""
    try:
        names = os.listdir(os.path.join(runtime_directory(), "daemonry"))
    except OSError:  # none has ever been
        names = []
    for name in sorted(names):
        stem, dot, end = name.rpartition(".")
        if (dot, end) == (".", "json") and is_name(stem):
            yield named(stem)
