"""A lock of the kernel on an open file: it goes when the last descriptor of that opening goes, whatever happens."""

from __future__ import annotations

import errno
import fcntl
import struct
import time

_BUSY = (errno.EAGAIN, errno.EACCES)
# Not there, or there with another layout of struct flock than ours: fcntl(2) answers EINVAL.
_UNKNOWN = (errno.EINVAL,)
# struct flock where off_t has 64 bits, as Python is built everywhere: type, whence, start, length, pid.
_FLOCK = "hhqqi"
_FLOCK_RETRIES = 10
_FLOCK_PAUSE = 0.005


# Open-file-description locks rather than flock(2): one can ask who holds them without taking them, so a reader never
# makes a starter fail. Not the older locks of POSIX: they belong to the process and are lost as soon as it closes any
# descriptor of the file, a reader's in a library for instance.
def try_lock(fd: int) -> bool:
    """Take the whole file's lock if it is free, without waiting; answer whether it was.

    :raises OSError: when the file system has no locks (ENOLCK, EOPNOTSUPP).
    """
    answer = _open_file_description("F_OFD_SETLK", fd, fcntl.F_WRLCK)
    return _flock(fd, fcntl.LOCK_EX, _FLOCK_RETRIES) if answer is None else answer != _HELD


def try_lock_for_process(fd: int) -> bool:
    """Take the lock for this very process, through an exec and without the children that it forks.

    Only for a program that becomes another one: this older lock goes as soon as the process closes any descriptor of
    the file.

    :raises OSError: when the file system has no locks (ENOLCK, EOPNOTSUPP).
    """
    try:
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in _BUSY:
            raise
        return False
    return True


def is_locked(fd: int) -> bool:
    """Whether another opening of the file has the lock."""
    answer = _open_file_description("F_OFD_GETLK", fd, fcntl.F_WRLCK)
    if answer is not None:
        return answer != fcntl.F_UNLCK
    # flock(2) can't be asked, only tried. Shared, so that two who ask don't hinder each other.
    if not _flock(fd, fcntl.LOCK_SH, 1):
        return True
    fcntl.flock(fd, fcntl.LOCK_UN)
    return False


def unlock(fd: int) -> None:
    """Let the lock go, of either kind, for every process that shares this opening of the file."""
    fcntl.lockf(fd, fcntl.LOCK_UN)
    if _open_file_description("F_OFD_SETLK", fd, fcntl.F_UNLCK) is None:
        fcntl.flock(fd, fcntl.LOCK_UN)


_HELD = -1


def _open_file_description(command: str, fd: int, kind: int) -> int | None:
    """Answer the kind of lock that the kernel tells, ``_HELD`` when another holds it, ``None`` without such locks."""
    number = getattr(fcntl, command, None)
    if number is None:
        return None
    try:
        answer = fcntl.fcntl(fd, number, _whole_file(kind))
    except OSError as error:
        if error.errno in _BUSY:
            return _HELD
        if error.errno in _UNKNOWN:
            return None
        raise
    told: int = struct.unpack_from(_FLOCK, answer)[0]
    return told


def _whole_file(kind: int) -> bytes:
    # Padded to the size of the C structure, which the kernel writes back whole.
    text = struct.pack(_FLOCK, kind, 0, 0, 0, 0)
    return text.ljust(-(-len(text) // 8) * 8, b"\0")


def _flock(fd: int, kind: int, tries: int) -> bool:
    # One who only asks holds the shared lock for a moment, so a starter that finds it busy looks again.
    for remaining in range(tries - 1, -1, -1):
        try:
            fcntl.flock(fd, kind | fcntl.LOCK_NB)
            return True
        except OSError as error:
            if error.errno not in _BUSY:
                raise
        if remaining:
            time.sleep(_FLOCK_PAUSE)
    return False
