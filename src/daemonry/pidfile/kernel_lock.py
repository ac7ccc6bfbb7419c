"""Locks of the kernel that only who may write to a file can have.

A reader's lock counts for nothing here: who may but read a file must not be able to keep it from others. So none of
flock(2), which a reader can take too; those of fcntl(2) for writing need a descriptor open for writing.
"""

from __future__ import annotations

import errno
import fcntl
import sys

_BUSY = (errno.EAGAIN, errno.EACCES)
# struct flock where off_t has 64 bits, as Python is built everywhere: where its type and the process are. All else of a
# lock of the whole file is zero. Written by hand, for the module struct would be loaded for nothing else.
_IS_LINUX = sys.platform.startswith("linux")
_TYPE = slice(0, 2) if _IS_LINUX else slice(20, 22)
_PID = slice(24, 28) if _IS_LINUX else slice(16, 20)
_SIZE = 32


# Of the opening of the file where there is such a lock, so that two threads keep each other out.
def try_lock(fd: int) -> bool:
    """Take the whole file's lock for as long as the descriptor is open, without waiting; return whether it was free.

    :raises OSError: when the file system has no locks (ENOLCK, EOPNOTSUPP).
    """
    try:
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _asked(fcntl.F_WRLCK))
    except AttributeError:  # only Linux has them
        return hold(fd)
    except OSError as error:
        if error.errno == errno.EINVAL:  # the kernel doesn't know them
            return hold(fd)
        if error.errno not in _BUSY:
            raise
        return False
    return True


def hold(fd: int) -> bool:
    """Take the lock for this process alone: nothing that it forks has it, in whatever language; return whether it was
    free.

    It goes with the process, and when the process closes any descriptor of the file.

    :raises OSError: when the file system has no locks (ENOLCK, EOPNOTSUPP).
    """
    try:
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in _BUSY:
            raise
        return False
    return True


def holder(fd: int) -> int | None:
    """Return the process, other than this one, that has a lock for writing; ``None`` when none has.

    0 or below when the kernel doesn't tell: the process is in another PID namespace, or it is a lock of an opening.
    Asking takes nothing, and needs no more than a descriptor open for reading.

    Source: fcntl(2), F_GETLK.
    """
    try:
        # As if to read: locks of others who read are not in the way of that.
        answer = fcntl.fcntl(fd, fcntl.F_GETLK, _asked(fcntl.F_RDLCK))
    except OSError as error:
        if error.errno in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL):
            return None  # where there are no locks nobody has one
        raise
    pid = int.from_bytes(answer[_PID], sys.byteorder, signed=True)
    return None if int.from_bytes(answer[_TYPE], sys.byteorder) == fcntl.F_UNLCK else pid


def _asked(kind: int) -> bytes:
    text = bytearray(_SIZE)
    text[_TYPE] = kind.to_bytes(2, sys.byteorder)
    return bytes(text)
