"""The errors of the pidfile, each also one of the package lockfile and of the system's."""

from __future__ import annotations

import errno
import os

from lockfile import AlreadyLocked, LockFailed, LockTimeout

from ..errors import DaemonError, DaemonStartError, advice_on
from ..system import process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn


class PIDFileError(DaemonError, LockFailed, OSError):
    """The pidfile can't be used, for another reason than that somebody holds it.

    :ivar path: ``str``, the pidfile.
    :ivar reason: ``str``, why.
    :ivar errno: ``int``, the system's error number, or ``None``.
    """

    __module__ = "daemonry.pidfile"

    def __init__(self, path: str, reason: str, errno: int | None = None, verb: str = "lock") -> None:
        super().__init__(errno, f"cannot {verb} {path}: {reason}")
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return str(self.strerror)

    def __reduce__(self) -> tuple[object, ...]:
        return _remake, (type(self), self.args), self.__dict__


class PIDFileLocked(DaemonError, AlreadyLocked, BlockingIOError):
    """Another process holds the pidfile.

    :ivar path: ``str``, the pidfile.
    :ivar pid: ``int``, the holder's process, or ``None`` when it can't be seen from here.
    """

    __module__ = "daemonry.pidfile"

    def __init__(self, path: str, pid: int | None, advice: str = "", holder: str | None = None) -> None:
        super().__init__(errno.EAGAIN, f"cannot lock {path}: held by {holder or describe(pid)}{advice}")
        self.path = path
        self.pid = pid

    def __str__(self) -> str:
        return str(self.strerror)

    def __reduce__(self) -> tuple[object, ...]:
        return _remake, (type(self), self.args), self.__dict__


class PIDFileLockTimeout(PIDFileLocked, LockTimeout):
    """Another process held the pidfile for as long as the caller would wait."""

    __module__ = "daemonry.pidfile"


class DaemonAlreadyRunning(DaemonStartError, AlreadyLocked):
    """A daemon could not be started because another process holds its pidfile.

    :ivar pid: ``int``, that process, or ``None`` when the lock doesn't tell.
    """

    __module__ = "daemonry.pidfile"


class DaemonLockTimeout(DaemonAlreadyRunning, LockTimeout):
    """A daemon could not be started because its pidfile stayed held for as long as the start would wait."""

    __module__ = "daemonry.pidfile"


def _remake(kind: type[OSError], arguments: tuple[object, ...]) -> OSError:
    error = kind.__new__(kind)
    OSError.__init__(error, *arguments)
    error.args = arguments
    return error


def describe(pid: int | None) -> str:
    """Say who a process is, ``None`` being one that nobody knows."""
    if pid is None:
        return "another process"
    found = process.look(pid)
    return f"process {pid}" if found is None else str(found)


def refuse(path: str, error: OSError, reason: str | None = None, verb: str = "lock") -> NoReturn:
    """Raise a :class:`PIDFileError` for an error of the system, with advice where there is some."""
    advice = {
        errno.EACCES: f"; this user may not write in {os.path.dirname(path)}",
        **dict.fromkeys((errno.ENOLCK, errno.EOPNOTSUPP), "; the file system offers no locks: choose one such as /run"),
        errno.EROFS: "; choose a place that can be written, such as /run",
        errno.ENOSPC: "; make room there",
        errno.EDQUOT: "; make room there, or choose a place without a quota, such as /run",
        errno.EFBIG: "; raise the limit of the size of files, see ulimit -f",
        errno.ESTALE: "; the directory is gone from its server: mount it anew, or choose a local one such as /run",
        errno.EIO: "; the disk or the network under it has failed: choose another, such as /run",
    }
    text = reason or f"{error.strerror}{advice.get(error.errno or 0) or advice_on(error)}"
    raise PIDFileError(path, text, error.errno, verb) from error
