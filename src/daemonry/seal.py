"""The seal of a pidfile: the part of its time stamp below the second says which process wrote it.

The lock alone can't tell who holds it, and the number in the file can be another's by now. Not a second line, which
``kill $(cat web.pid)`` would take for a process; not a second file, which can be left behind; not an extended
attribute, which the file systems of many /run don't have.
"""

from __future__ import annotations

import os
import time
import zlib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .process import Process

_SECOND = 10**9
# Nanoseconds. Some file systems keep no finer time.
_UNIT = 100


def put_on(fd: int, process: Process, name: str = "") -> None:
    """Seal the file, which will have this name, as written by this process now, or less than a second ago."""
    now = time.time_ns()
    sealed = now - now % _SECOND + _mark(fd, process, name)
    # Never later than now: a process that is given this one's number next must be younger than the file.
    os.utime(fd, ns=(now, sealed if sealed <= now else sealed - _SECOND))
    if is_lost(fd):
        # Then its age has to do: cut to a whole second, the file would be older than a process that has just started.
        os.utime(fd, ns=(now, now - now % _SECOND + _SECOND))


def fits(fd: int, process: Process, name: str = "") -> bool:
    """Whether the file of this name bears the seal of this process.

    No copy of the file does, nor what was written to since, nor another daemon's that was put in its place.
    """
    return os.fstat(fd).st_mtime_ns % _SECOND == _mark(fd, process, name)


def is_lost(fd: int) -> bool:
    """Whether the file system keeps whole seconds only, so that no seal can be on its files."""
    found = os.fstat(fd)
    # The time of change as well, which nobody can set: whole seconds in the other may be somebody's, or an archive's.
    return found.st_mtime_ns % _SECOND == 0 == found.st_ctime_ns % _SECOND


def _mark(fd: int, process: Process, name: str) -> int:
    found = os.fstat(fd)
    born = process.born - _offset()
    text = b"%d %d %d %d %s%s" % (process.pid, born, found.st_dev, found.st_ino, _boot(), os.fsencode(name))
    return (1 + zlib.crc32(text) % (_SECOND // _UNIT - 1)) * _UNIT


def _offset() -> int:
    # In ticks. The kernel shows a process's start by the reader's own clock, and each time namespace may have another.
    try:
        with open("/proc/self/timens_offsets", "rb") as file:
            words = file.read().partition(b"boottime")[2].split()
    except OSError:  # a kernel without such namespaces
        return 0
    return int(words[0]) * os.sysconf("SC_CLK_TCK") if words else 0


def _boot() -> bytes:
    # Of a directory that outlives the system's start, where numbers and ticks begin anew; see random(4).
    try:
        with open("/proc/sys/kernel/random/boot_id", "rb") as file:
            return file.read()
    except OSError:
        return b""
