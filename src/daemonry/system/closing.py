"""Descriptors closed, copied and put in place so that no signal, and no device, makes it fail."""

from __future__ import annotations

import errno
import os

from . import bare

# The first number that is none of the three streams'.
FIRST = 3
# What objects of the program's may still take for theirs: the first and the last number of each run that was closed.
_left_behind: set[tuple[int, int]] = set()


def close(*descriptors: int) -> None:
    """Close each of the descriptors.

    :raises OSError: with EBADF alone, which is a mistake of the caller's, or of who closed it before.

    Source: close(2), "Dealing with error returns from close()".
    """
    for fd in descriptors:
        try:
            bare.close(fd)
        except OSError as error:
            # Interrupted or not, it is gone, and must not be closed again. What EIO, ENOSPC or EDQUOT say of earlier
            # writes is no business of a start: none of what is closed here are files that hold what was written.
            if error.errno == errno.EBADF:
                raise


def put(source: int, target: int, inheritable: bool) -> None:
    """Make ``target`` a copy of the descriptor ``source``; dup2(2)."""
    while True:
        try:
            bare.dup2(source, target, inheritable=inheritable)
            return
        except InterruptedError:  # os.dup2 is one of the few that PEP 475 left out
            continue
        except OSError as error:
            # Linux: another thread is just opening a file of that number; dup2(2), "Errors".
            if error.errno != errno.EBUSY:
                raise


def close_run(first: int, last: int) -> None:
    """Close all descriptors from ``first`` to ``last``: behind the back of the program, whose objects may have them."""
    # By close_range(2) where Python has it. A descriptor is gone also after an error, as with EIO of a network file
    # system, and one that was not open is the one by which they were listed.
    os.closerange(first, last + 1)
    _left_behind.add((first, last))


def above_two(fd: int) -> int:
    """Return a copy of the descriptor, close-on-exec, with a number that is no stream's, and was nobody's.

    Such as the program's objects may still have, since :func:`close_run`, is left to what the program opens.

    :raises OSError: when no more may be open.
    """
    least = FIRST
    while True:
        copy = _copy(fd, least)
        least = max((last + 1 for first, last in _left_behind if first <= copy <= last), default=0)
        if not least:
            return copy
        close(copy)


def out_of_reach(fd: int) -> int:
    """Return the descriptor, or in its place a copy as of :func:`above_two`, when its number was somebody's."""
    if not any(first <= fd <= last for first, last in _left_behind):
        return fd
    try:
        return above_two(fd)
    finally:
        close(fd)


def _copy(fd: int, least: int) -> int:
    import fcntl

    try:
        return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, least)
    except OSError as error:
        # So fcntl(2) says it where the limit is lower: it takes what was asked for to be wrong.
        if error.errno == errno.EINVAL:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE)) from None
        raise
