"""A pidfile as anybody may read it: opened without a trap, who holds it, and whether a stranger may have written it.

It takes nothing, and needs neither the package lockfile nor what that brings along: monitors ask in a loop.
"""

from __future__ import annotations

import errno
import os
import stat
import time

from ..errors import DaemonError
from ..system import process
from ..system.closing import close
from ..system.process import Process
from ..system.record import Record
from ..system.safe_path import STANDING, opened_directory
from . import kernel_lock, seal
from . import mark as pidfile_mark

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

_NOT_REGULAR = "it is not a regular file; remove it, or choose another path"
_MOST_DIGITS = 10
_LONGEST_LINE = 64
# Seconds that two readings of the clock may differ for other reasons than that somebody has set it.
_CLOCK_SLACK = 1.0
_EXISTING = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class Place:
    """Where a pidfile lies, or shall: a name in a directory that is held open, so that all names mean files there.

    :param known: whether all that is done there is done to a file that is known; then it doesn't matter by which way
        root comes there.
    """

    def __init__(self, path: str, known: bool = False) -> None:
        directory, _, name = path.rpartition("/")
        self.path = path
        self.name = name or "."
        self.found: os.stat_result | None = None
        if known:
            self.directory = os.open(directory or "/", STANDING)
        else:
            self.directory, self.found = opened_directory(directory or "/")

    def __enter__(self) -> Place:
        return self

    def __exit__(self, *_exc_info: object) -> None:
        close(self.directory)

    @property
    def sealed_as(self) -> bytes:
        """What the seal says of it."""
        return seal.place_of(self.found or os.fstat(self.directory), self.name)

    def is_taken(self) -> bool:
        """Whether the name seems to be somebody's: a hint, by the cheapest call that tells."""
        return os.access(self.name, os.F_OK, dir_fd=self.directory, follow_symlinks=False)

    def look(self) -> os.stat_result | None:
        """Return what bears the name, a link itself; ``None`` when nothing does."""
        try:
            return os.stat(self.name, dir_fd=self.directory, follow_symlinks=False)
        except FileNotFoundError:
            return None


class Holder(Record):
    """Who holds a pidfile: ``process`` where that is certain, or the process that may have written it.

    :ivar certain: ``bool``, whether it is the one whose seal the file bears, or that it names and that has the kernel's
        lock on it.
    :ivar number: ``int``, what the file says.
    :ivar locker: ``int``, which process has the kernel's lock, as :func:`kernel_lock.holder` tells it.
    """

    process: Process | None
    certain: bool = False
    number: int | None = None
    locker: int | None = None

    @property
    def pid(self) -> int | None:
        """Its number, ``None`` when it can't be seen."""
        return self.process.pid if self.process is not None else None

    @property
    def is_unseen(self) -> bool:
        """Whether it lives, and nothing can be said of it here."""
        return self.process is None and (self.locker == 0 or (self.locker is None and self.number is not None))

    def __str__(self) -> str:
        if self.process is not None:
            return str(self.process)
        if not self.is_unseen:
            return "another process"
        says = "" if self.number is None else f"; its file says {self.number}"
        return f"a process that can't be seen from here (another PID namespace, a container, or hidepid){says}"


class opened_at:
    """Open the file of this place as :class:`opened` does; the block is given the descriptor, ``None`` without a file.

    :raises OSError: as there.
    """

    def __init__(self, place: Place, mode: int = os.O_RDONLY) -> None:
        self._place = place
        self._mode = mode

    def __enter__(self) -> int | None:
        self._fd = open_at(self._place, self._mode)
        return self._fd

    def __exit__(self, *_exc_info: object) -> None:
        if self._fd is not None:
            close(self._fd)


class opened:
    """Open the file that is there, never making one and never following a link.

    The block is given its place and the descriptor, or ``None`` when there is none.

    :raises OSError: a :class:`~daemonry.pidfile.PIDFileError`, when it can't be opened or is no regular file.
    """

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> tuple[Place, int] | None:
        self._open: tuple[int, ...] = ()
        try:
            place = Place(self._path)
        except FileNotFoundError:
            return None
        except OSError as error:
            refuse(self._path, error)
        self._open = (place.directory,)
        try:
            fd = open_at(place)
        except BaseException:
            close(place.directory)
            raise
        if fd is None:
            return None
        self._open = (fd, place.directory)
        return place, fd

    def __exit__(self, *_exc_info: object) -> None:
        close(*self._open)


def open_at(place: Place, mode: int = os.O_RDONLY) -> int | None:
    """Open the file of this place as :class:`opened` does; return the descriptor."""
    try:
        fd = os.open(place.name, mode | _EXISTING, dir_fd=place.directory)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno == errno.ELOOP:
            refuse(place.path, error, "it is a symbolic link, which can lead anywhere; remove it")
        if error.errno in (errno.EISDIR, errno.ENXIO, errno.ENODEV):
            refuse(place.path, error, _NOT_REGULAR)
        if error.errno == errno.EACCES:
            refuse(place.path, error, f"{error.strerror}; this user may not open the file that is there")
        refuse(place.path, error)
    kind = os.fstat(fd).st_mode
    if not stat.S_ISREG(kind):
        close(fd)
        refuse(place.path, OSError(errno.EISDIR if stat.S_ISDIR(kind) else errno.EINVAL, ""), _NOT_REGULAR)
    return fd


class RefusedInBrief(DaemonError, OSError):
    """The pidfile can't be used, and nor can the package lockfile, of whose kind its own error is."""

    def __str__(self) -> str:
        return str(self.strerror)


def refuse(path: str, error: OSError, reason: str | None = None, verb: str = "lock") -> NoReturn:
    """Raise the pidfile's own error for one of the system."""
    try:
        from . import errors
    except Exception:  # no descriptor is left to read it by, or it has been removed
        raise RefusedInBrief(error.errno, f"cannot {verb} {path}: {reason or error.strerror}") from error
    errors.refuse(path, error, reason, verb)


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


def holder_of(fd: int, place: Place) -> Holder | None:
    """Return who holds the file of this place, ``None`` when nobody does: then it is left over.

    Its seal decides. What bears none is another program's: a lock for writing decides, or a living process that it
    names and that is older than it.
    """
    found, number = os.fstat(fd), pid_in(fd)
    named = process.look(number) if number is not None else None
    if named is not None and named.alive and seal.fits(found, named, place.sealed_as):
        return Holder(process=named, certain=True, number=number)
    return _locker_of(fd, found, number, place) or _supposed(found, number, named)


def _locker_of(fd: int, found: os.stat_result, number: int | None, place: Place) -> Holder | None:
    """Return who has the kernel's lock for writing, where the seal has said nothing."""
    pid = kernel_lock.holder(fd)
    if pid is None:
        return None
    locker = process.look(pid) if pid > 0 else None
    certain = locker is not None and (pid == number or _is_inner(locker, found, number, place))
    if locker is None and pid > 0:
        locker = process.unseen(pid)
    return Holder(process=locker, certain=certain, number=number, locker=pid)


def _is_inner(locker: Process, found: os.stat_result, number: int | None, place: Place) -> bool:
    """Whether it is the file's writer, who lives in a PID namespace below and has another number there."""
    if number is None:
        return False
    return seal.fits(found, Process(**{**locker.fields(), "pid": number}), place.sealed_as)


def _supposed(found: os.stat_result, number: int | None, named: Process | None) -> Holder | None:
    if number is None:
        return None
    if named is None:
        # Sealed by a process that may well be this one, only that nobody here can look at it.
        return Holder(process=None, number=number) if seal.is_on(found) and process.exists(number) else None
    # If it is younger than the file, the number was given out again; and a file of the future was written by another
    # clock, so that its age says nothing. Enough to keep from starting beside it, never to signal it.
    may_be = named.alive and not seal.is_on(found) and named.started <= found.st_mtime <= time.time() + _CLOCK_SLACK
    return Holder(process=named, number=number) if may_be else None


def has_ended_in_order(fd: int, place: Place) -> bool:
    """Whether the daemon of a file that nobody holds has ended in order: it has emptied it, or said so by its mark."""
    found = os.fstat(fd)
    return found.st_size == 0 or pidfile_mark.is_set(place, found)


def pid_in(fd: int) -> int | None:
    """Return the number on the first line, tolerant as the FHS (3.15) asks: white space, zeros in front, more lines."""
    line = os.pread(fd, _LONGEST_LINE + 1, 0).partition(b"\n")[0]
    if len(line) > _LONGEST_LINE:  # and may go on: a number that is cut off would be another process's
        return None
    digits = line.strip(b" \t\r\v\f").lstrip(b"0")
    if not digits.isdigit() or len(digits) > _MOST_DIGITS:
        return None
    number = int(digits)
    return number if number < 2**31 else None
