"""The seal of a pidfile: its time of modification is a digest of the process that wrote it and of where it lies.

The number in the file can be another process's by now. Not a second line, which ``kill $(cat web.pid)`` would take for
a process; not a second file, which can be left behind; not an extended attribute, which many file systems don't have.

The date is one of the last century: writing to a file sets its date to now, and only its owner, or root, can set
another. So who can but write to the file can't seal it.
"""

from __future__ import annotations

import os
import time

from ..errors import ignored
from ..system import process
from ..system.record import remembered

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..system.process import Process

_SECOND = 10**9
# The seconds from 1980, where FAT begins to count, every other one, for it counts no finer: some 329 million, a prime.
_FIRST = 315_619_200
_STEP = 2
_SEALS = 330_999_959
# The part below the second tells starts of the system apart, in the microseconds that all file systems keep who keep
# more than whole seconds. None is zero.
_UNIT = 1000
_BOOTS = 999_983


# Of one's own process no more is asked than the seal needs, for a daemon that has just been forked copies each page of
# its memory that it comes to.
@remembered
def _own_birth(pid: int) -> int | None:
    return process.birth_of(pid)


def place_of(directory: os.stat_result, name: str) -> bytes:
    """Return what the seal says of the place: the same by every way to the directory, also from another root."""
    # Not its device: an overlay's directories can lie on another one than their files, whose own is in the seal.
    return b"%d %s" % (directory.st_ino, os.fsencode(name))


def put_on(fd: int, found: os.stat_result, pid: int, place: bytes) -> os.stat_result:
    """Seal the file, which will be at this place, as written by this process, ``pid``; return what it is then.

    It bears no seal where the system says nothing of this process, or the file system keeps another date.
    """
    born = _own_birth(pid)
    if born is None:
        return os.fstat(fd)
    stamp = _seconds(found, pid, born - _offset(pid), place) * _SECOND + _boot()
    with ignored(OSError):  # some FUSE file systems know no times
        os.utime(fd, ns=(time.time_ns(), stamp))
    return os.fstat(fd)


def fits(found: os.stat_result, writer: Process, place: bytes) -> bool:
    """Whether the file of this place bears the seal of this process.

    No copy of the file does, nor what was written to since, nor another daemon's that was put in its place.
    """
    second, part = divmod(found.st_mtime_ns, _SECOND)
    # Zero: of a writer, or on a reader's side, where /proc is cut so that the start of the system can't be told
    # (ProcSubset=pid, a container), and on file systems of whole seconds.
    born = writer.born - _offset(os.getpid())
    return second == _seconds(found, writer.pid, born, place) and (part == 0 or _boot() in (0, part))


def is_on(found: os.stat_result) -> bool:
    """Whether the file bears a seal, be it whose it may."""
    return _FIRST <= found.st_mtime < _FIRST + _STEP * _SEALS


def _seconds(found: os.stat_result, pid: int, born: int, place: bytes) -> int:
    text = b"%d %d %d %d %s" % (pid, born, found.st_dev, found.st_ino, place)
    # Against accidents alone, so the remainder of a division will do: who may set the date may write the number too.
    return _FIRST + _STEP * (int.from_bytes(text, "big") % _SEALS)


@remembered
def _offset(_pid: int) -> int:
    # In ticks. The kernel shows a process's start by the reader's own clock, and each time namespace may have another.
    try:
        words = process.content_of("/proc/self/timens_offsets").partition(b"boottime")[2].split()
    except OSError:  # a kernel without such namespaces
        return 0
    return int(words[0]) * process.TICKS if words else 0


@remembered
def _boot() -> int:
    # Of a directory that outlives the system's start, where numbers and ticks begin anew; see random(4).
    try:
        return _UNIT * (1 + int.from_bytes(process.content_of("/proc/sys/kernel/random/boot_id"), "big") % _BOOTS)
    except OSError:
        return 0
