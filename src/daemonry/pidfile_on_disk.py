"""The pidfile on disk: published whole, judged when it is left over, taken away.

Whoever has the kernel's lock on the file that bears the name is its owner; all here keep to that.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from contextlib import contextmanager

from . import kernel_lock, process
from .pidfile_errors import PIDFileError, refuse
from .record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_MODE = 0o644
_MOST_DIGITS = 10
_LONGEST_LINE = 64
# Seconds that two readings of the clock may differ for other reasons than that somebody has set it.
_CLOCK_SLACK = 1.0
_EXISTING = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class Held(Record):
    """The lock as this process has it."""

    fd: int
    pid: int
    device: int
    inode: int

    def is_file(self, found: os.stat_result) -> bool:
        """Whether this is the file that was locked."""
        return (found.st_dev, found.st_ino) == (self.device, self.inode)

    def has_descriptor(self) -> bool:
        """Whether the number still is the lock's: the program may have closed it, and opened another file there."""
        try:
            return self.is_file(os.fstat(self.fd))
        except OSError:
            return False

    def close(self) -> None:
        """Close the descriptor, which lets the lock go unless somebody else has a copy."""
        if self.has_descriptor():
            os.close(self.fd)


class Holder(Record):
    """Who is in the way; the file may not tell.

    Not ``seen``: no living process has written the file that is locked. It may be out of sight, or somebody has the
    file of a dead one for a moment, to take it away.
    """

    pid: int | None
    seen: bool


@contextmanager
def directory_of(path: str) -> Iterator[int]:
    """Hold the pidfile's directory open, so that all names of one attempt mean files in the same place."""
    directory = os.path.dirname(path)
    try:
        fd = os.open(directory, getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        refuse(path, error, f"{error.strerror}: directory {directory}")
    try:
        yield fd
    finally:
        os.close(fd)


@contextmanager
def opened(path: str, mode: int, directory: int | None = None) -> Iterator[int | None]:
    """Open the file that is there, never making one and never following a link; ``None`` when there is none."""
    name = path if directory is None else os.path.basename(path)
    try:
        fd = os.open(name, mode | _EXISTING, dir_fd=directory)
    except FileNotFoundError:
        yield None
        return
    except OSError as error:
        if error.errno == errno.ELOOP:
            refuse(path, error, "it is a symbolic link, which can lead anywhere; remove it")
        if error.errno in (errno.EISDIR, errno.ENXIO, errno.ENODEV):
            refuse(path, error, "it is not a regular file; remove it, or choose another path")
        if error.errno == errno.EACCES:
            refuse(path, error, f"{error.strerror}; this user may not open the file that is there")
        refuse(path, error)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise PIDFileError(path, "it is not a regular file; remove it, or choose another path", errno.EINVAL)
        yield fd
    finally:
        os.close(fd)


def clear(path: str, directory: int) -> Holder | None:
    """Take away a file that nobody holds; answer who holds it when somebody does."""
    try:
        with opened(path, os.O_RDWR, directory) as fd:
            return None if fd is None else _clear_opened(path, directory, fd)
    except PIDFileError as refusal:
        if refusal.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        with opened(path, os.O_RDONLY, directory) as fd:
            if fd is None:  # its holder has released it meanwhile
                return None
            if kernel_lock.is_locked(fd):
                return _holder_of(fd)
        raise


def _clear_opened(path: str, directory: int, fd: int) -> Holder | None:
    if not _lock(path, fd):
        return _holder_of(fd)
    # Locked by us now, so nobody who keeps to the rules takes it away or puts another in its place.
    pid = writer(fd)
    if pid is not None:
        return Holder(pid=pid, seen=True)
    name = os.path.basename(path)
    try:
        if os.path.samestat(os.stat(name, dir_fd=directory, follow_symlinks=False), os.fstat(fd)):
            _judge(path, directory, fd)
            os.unlink(name, dir_fd=directory)
    except FileNotFoundError:
        pass  # its holder has released it since we opened it
    except OSError as error:
        if isinstance(error, PIDFileError):
            raise
        refuse(path, error)
    return None


def _holder_of(fd: int) -> Holder:
    pid = pid_in(fd)
    return Holder(pid=pid, seen=pid is not None and _can_have_written(pid, fd))


def _lock(path: str, fd: int) -> bool:
    try:
        return kernel_lock.try_lock(fd)
    except OSError as error:
        refuse(path, error)


def _judge(path: str, directory: int, fd: int) -> None:
    """Refuse a left-over file that a stranger may have put there."""
    _remove_drafts(path, directory, fd)
    found = os.fstat(fd)
    fault = None
    if found.st_uid not in (0, os.geteuid()):
        fault = f"it belongs to user {found.st_uid}"
    elif found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        fault = f"others may write to it (mode {stat.S_IMODE(found.st_mode):#o})"
    elif found.st_nlink > 1:
        fault = f"it has {found.st_nlink} names (hard links)"
    if fault:
        raise PIDFileError(path, f"{fault}, so it may not be a daemon's own; look at it and remove it", errno.EPERM)


def writer(fd: int) -> int | None:
    """Answer the living process that wrote the file, though it has no lock on it any more; ``None`` when it is gone.

    A program that closes every descriptor that it doesn't know loses its lock.
    """
    pid = pid_in(fd)
    # Our own number: this very program, started anew by exec, or a predecessor's number that we were given.
    if pid is None or pid == os.getpid():
        return None
    return pid if _can_have_written(pid, fd) else None


def _can_have_written(pid: int, fd: int) -> bool:
    """Whether the process with the file's number lives and is older than the file: then it can only be its writer.

    If it is younger, the number was given out again.
    """
    found = process.look(pid)
    # A file of the future was written by another clock, and its age says nothing.
    written = os.fstat(fd).st_mtime
    return found is not None and found.alive and found.started <= written <= time.time() + _CLOCK_SLACK


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


def publish(path: str, directory: int) -> int | None:
    """Make the file, written and locked before it has its name; answer its descriptor, ``None`` when there is one."""
    name = os.path.basename(path)
    try:
        fd, draft = _draft(name, directory)
        try:
            os.fchmod(fd, _MODE)
            os.write(fd, b"%d\n" % os.getpid())
            # The kernel's own time stamp is that of the last tick, which may lie before the start of this process.
            os.utime(fd, ns=(now := time.time_ns(), now))
            kernel_lock.try_lock(fd)
            source = f"/proc/self/fd/{fd}" if draft is None else draft
            os.link(source, name, src_dir_fd=directory, dst_dir_fd=directory, follow_symlinks=draft is None)
        except BaseException:
            os.close(fd)
            raise
        finally:
            if draft is not None:
                os.unlink(draft, dir_fd=directory)
    except FileExistsError:
        return None
    except OSError as error:
        refuse(path, error)
    return fd


def _draft(name: str, directory: int) -> tuple[int, str | None]:
    """Open a new file that has no name yet, or, where there is no such thing, one with a name that nobody looks for."""
    flags = os.O_RDWR | os.O_CLOEXEC
    if hasattr(os, "O_TMPFILE") and os.path.isdir("/proc/self/fd"):
        try:
            return os.open(".", flags | os.O_TMPFILE, _MODE, dir_fd=directory), None
        except OSError as error:
            # EOPNOTSUPP: not in this file system; EISDIR and EINVAL: not in this kernel.
            if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL):
                raise
    draft = f".{name}.{os.getpid()}.{os.urandom(4).hex()}"
    return os.open(draft, flags | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, _MODE, dir_fd=directory), draft


def _remove_drafts(path: str, directory: int, fd: int) -> None:
    """Take away the second name of a left-over file whose maker was killed between link and unlink."""
    if os.fstat(fd).st_nlink == 1:
        return
    start = f".{os.path.basename(path)}."
    for name in os.listdir(os.path.dirname(path)):
        if name.startswith(start):
            found = os.stat(name, dir_fd=directory, follow_symlinks=False)
            if os.path.samestat(found, os.fstat(fd)):
                os.unlink(name, dir_fd=directory)


def withdraw(path: str, held: Held) -> None:
    """Unlink our own file, never another's; empty it where it can't be unlinked."""
    try:
        if held.is_file(os.stat(path, follow_symlinks=False)) and (held.has_descriptor() or _is_left_by_us(path)):
            os.unlink(path)
    except OSError:  # not to be seen or not to be touched from here: then what is left of it says nothing any more
        pass
    if held.has_descriptor() and os.fstat(held.fd).st_nlink:
        # Unlocked first: an empty file is never seen while it is held.
        kernel_lock.unlock(held.fd)
        os.ftruncate(held.fd, 0)


def _is_left_by_us(path: str) -> bool:
    """Whether the file is ours though our descriptor is closed: nothing keeps its inode's number from a successor's."""
    with opened(path, os.O_RDONLY) as fd:
        return fd is not None and pid_in(fd) == os.getpid() and not kernel_lock.is_locked(fd)
