"""Descriptors closed, copied and put in place so that no signal, and no device, makes it fail."""

from __future__ import annotations

import errno
import fcntl
import os


def close(*descriptors: int) -> None:
    """Close each of the descriptors.

    :raises OSError: with EBADF alone, which is a mistake of the caller's, or of who closed it before.

    Source: close(2), "Dealing with error returns from close()".
    """
    for fd in descriptors:
        try:
            os.close(fd)
        except OSError as error:
            # Interrupted or not, it is gone, and must not be closed again. What EIO, ENOSPC or EDQUOT say of earlier
            # writes is no business of a start: none of what is closed here are files that hold what was written.
            if error.errno == errno.EBADF:
                raise


def put(source: int, target: int, inheritable: bool) -> None:
    """Make ``target`` a copy of the descriptor ``source``; dup2(2)."""
    while True:
        try:
            os.dup2(source, target, inheritable=inheritable)
            return
        except InterruptedError:  # os.dup2 is one of the few that PEP 475 left out
            continue
        except OSError as error:
            # Linux: another thread is just opening a file of that number; dup2(2), "Errors".
            if error.errno != errno.EBUSY:
                raise


def above_two(fd: int) -> int:
    """Answer a copy of the descriptor, close-on-exec, that is none of the three streams.

    :raises OSError: when no more may be open.
    """
    try:
        return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)
    except OSError as error:
        # So fcntl(2) says it where the limit is 3: it takes what was asked for to be wrong.
        if error.errno == errno.EINVAL:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE)) from None
        raise
