"""A pidfile as anybody may read it: opened without a trap, its number, and whether a stranger may have written it.

It takes nothing, and needs neither the package lockfile nor what that brings along: monitors ask in a loop.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from contextlib import contextmanager

from . import process, seal
from .closing import close
from .walk import at_directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import NoReturn

_NOT_REGULAR = "it is not a regular file; remove it, or choose another path"
_MOST_DIGITS = 10
_LONGEST_LINE = 64
# Seconds that two readings of the clock may differ for other reasons than that somebody has set it.
_CLOCK_SLACK = 1.0
_EXISTING = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


@contextmanager
def opened(path: str, mode: int, directory: int | None = None) -> Iterator[int | None]:
    """Open the file that is there, never making one and never following a link; ``None`` when there is none."""
    try:
        fd = _open(path, mode | _EXISTING, directory)
    except FileNotFoundError:
        yield None
        return
    except OSError as error:
        if error.errno == errno.ELOOP:
            its_own = error.strerror == os.strerror(errno.ELOOP)
            refuse(path, error, "it is a symbolic link, which can lead anywhere; remove it" if its_own else None)
        if error.errno in (errno.EISDIR, errno.ENXIO, errno.ENODEV):
            refuse(path, error, _NOT_REGULAR)
        if error.errno == errno.EACCES:
            refuse(path, error, f"{error.strerror}; this user may not open the file that is there")
        refuse(path, error)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            refuse(path, OSError(errno.EINVAL, ""), _NOT_REGULAR)
        yield fd
    finally:
        close(fd)


def _open(path: str, flags: int, directory: int | None) -> int:
    if directory is not None:
        return os.open(os.path.basename(path), flags, dir_fd=directory)
    if os.geteuid() != 0:
        return os.open(path, flags)
    with at_directory(os.path.dirname(path)) as found:
        return os.open(os.path.basename(path), flags, dir_fd=found)


def refuse(path: str, error: OSError, reason: str | None = None) -> NoReturn:
    """Raise the pidfile's own error for one of the system."""
    from . import pidfile_errors

    pidfile_errors.refuse(path, error, reason)


def fault_of(fd: int, advice: str) -> str | None:
    """Say why the file is not to be trusted, with the advice what to do about it; ``None`` when it is."""
    fault = _strangeness_of(fd)
    if fault:
        return f"{fault}, so it may not be a daemon's own; {advice}"
    return "it holds something else than the number of a process; is this the right path?" if _is_other(fd) else None


def _strangeness_of(fd: int) -> str | None:
    found = os.fstat(fd)
    if found.st_uid not in (0, os.geteuid()):
        return f"it belongs to user {found.st_uid}"
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return f"others may write to it (mode {stat.S_IMODE(found.st_mode):#o})"
    if found.st_nlink > 1:
        return f"it has {found.st_nlink} names (hard links)"
    return None


def _is_other(fd: int) -> bool:
    """Whether the file holds more than a pidfile can: then somebody has given the path of another file.

    Also when it begins with a number, as a table may. Short nonsense is what a broken program, or a power failure, has
    left of a pidfile.
    """
    return os.fstat(fd).st_size > _LONGEST_LINE and not is_number_alone(fd)


def is_number_alone(fd: int) -> bool:
    """Whether the file holds one number and nothing else, or nothing."""
    content = os.pread(fd, _LONGEST_LINE + 1, 0).strip(b"\0 \t\r\n")
    return content == b"" or (content.isdigit() and pid_in(fd) is not None)


def writer(fd: int, name: str) -> int | None:
    """Answer the living process that wrote the file, though it has no lock on it any more; ``None`` when it is gone.

    A program that closes every descriptor that it doesn't know loses its lock.
    """
    pid = pid_in(fd)
    # Our own number: this very program, started anew by exec, or a predecessor's number that we were given.
    if pid is None or pid == os.getpid():
        return None
    return pid if can_have_written(pid, fd, name) else None


def can_have_written(pid: int, fd: int, name: str) -> bool:
    """Whether the process with the file's number lives and is its writer by the seal, or may be, being older.

    If it is younger, the number was given out again. Enough to keep from starting beside it, never to signal it.
    """
    found = process.look(pid)
    if found is None or not found.alive:
        return False
    # A file of the future was written by another clock, and its age says nothing.
    written = os.fstat(fd).st_mtime
    return seal.fits(fd, found, name) or found.started <= written <= time.time() + _CLOCK_SLACK


def pid_in(fd: int) -> int | None:
    """Answer the number on the first line, tolerant as the FHS (3.15) asks: white space, zeros in front, more lines."""
    line = os.pread(fd, _LONGEST_LINE + 1, 0).partition(b"\n")[0]
    if len(line) > _LONGEST_LINE:  # and may go on: a number that is cut off would be another process's
        return None
    digits = line.strip(b" \t\r\v\f").lstrip(b"0")
    if not digits.isdigit() or len(digits) > _MOST_DIGITS:
        return None
    number = int(digits)
    return number if number < 2**31 else None
