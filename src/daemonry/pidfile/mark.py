"""The mark beside a pidfile: its daemon has ended in order, though it could not take the pidfile away any more.

It is made while the daemon still may, and empty; the daemon keeps a descriptor of it and writes the pidfile's identity
into it at its end. It can claim nothing else, and is not looked at while the pidfile's process lives, so it does no
harm in whose hands it comes with the daemon's.
"""

from __future__ import annotations

import os

from ..errors import ignored
from ..system.closing import close

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .reading import Place

_MODE = 0o644


def make(place: Place) -> int:
    """Make the mark, without a claim; return its descriptor."""
    remove(place)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(_name(place), flags, _MODE, dir_fd=place.directory)
    try:
        os.fchmod(fd, _MODE)
    except BaseException:
        close(fd)
        remove(place)
        raise
    return fd


def write(fd: int, pidfile: os.stat_result) -> None:
    """Claim that the daemon of this very file has ended in order."""
    os.pwrite(fd, _claim(pidfile), 0)


def is_set(place: Place, pidfile: os.stat_result) -> bool:
    """Whether there is a mark that claims the end of this pidfile, made by the same user as the pidfile."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        fd = os.open(_name(place), flags, dir_fd=place.directory)
    except OSError:  # there is none, or none that may be read
        return False
    try:
        found, claim = os.fstat(fd), _claim(pidfile)
        return found.st_uid == pidfile.st_uid and os.read(fd, len(claim) + 1) == claim
    except OSError:  # no file
        return False
    finally:
        close(fd)


def remove(place: Place) -> None:
    """Take the mark away."""
    with ignored(FileNotFoundError):
        os.unlink(_name(place), dir_fd=place.directory)


def _name(place: Place) -> str:
    return f".{place.name}.ended"


def _claim(pidfile: os.stat_result) -> bytes:
    return b"%d %d %d\n" % (pidfile.st_dev, pidfile.st_ino, pidfile.st_mtime_ns)
