"""Whose turn it is among several starters to take a left-over pidfile away.

A lock on the pidfile itself would not do: who may but read it can have one for reading, and keep every starter from
locking it. So it is a file of its own beside it that nobody else can open; it is there for the length of the turn.
"""

from __future__ import annotations

import errno
import os
import stat

from ..system.closing import close
from . import kernel_lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .reading import Place

_MODE = 0o600


class turn_at:
    """Take the turn if nobody has it; the block is given whether it is ours.

    :raises OSError: when the directory can't be written, or its file system has no locks.
    """

    def __init__(self, place: Place) -> None:
        self._directory = place.directory
        self._name = f".{place.name}.turn"
        self._is_ours = False

    def __enter__(self) -> bool:
        self._fd = fd = _opened(self._name, self._directory)
        if fd is None:
            return False
        try:
            self._is_ours = _is_locked_by_us(fd, self._name, self._directory) and _is_named(
                fd, self._name, self._directory
            )
        except BaseException:
            close(fd)
            raise
        return self._is_ours

    def __exit__(self, *_exc_info: object) -> None:
        try:
            if self._is_ours:
                # While it is locked: who opens it before this finds, once it has the lock, that it has lost its name.
                os.unlink(self._name, dir_fd=self._directory)
        finally:
            if self._fd is not None:
                close(self._fd)


def _opened(name: str, directory: int) -> int | None:
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        fd = os.open(name, flags, _MODE, dir_fd=directory)
    except PermissionError:
        if _is_just_made(name, directory):
            return None
        raise
    found = os.fstat(fd)
    if found.st_uid != os.geteuid() or not stat.S_ISREG(found.st_mode):
        close(fd)
        raise OSError(errno.EPERM, f"{name} beside it is another user's, or no file; remove it")
    if stat.S_IMODE(found.st_mode) != _MODE:  # the umask
        os.fchmod(fd, _MODE)
    return fd


def _is_locked_by_us(fd: int, name: str, directory: int) -> bool:
    try:
        return kernel_lock.try_lock(fd)
    except OSError:
        os.unlink(name, dir_fd=directory)  # where there are no locks, nobody else can have it either
        raise


def _is_just_made(name: str, directory: int) -> bool:
    """Whether it is another starter's of ours, whose umask has left it without rights for a moment."""
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False).st_uid == os.geteuid()
    except OSError:
        return False


def _is_named(fd: int, name: str, directory: int) -> bool:
    try:
        return os.path.samestat(os.stat(name, dir_fd=directory, follow_symlinks=False), os.fstat(fd))
    except FileNotFoundError:
        return False
