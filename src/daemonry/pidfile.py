"""The pidfile, a lockfile lock over a kernel lock: the lock decides, the text informs."""

from __future__ import annotations

import errno
import os
import stat
import time
from contextlib import contextmanager
from math import isnan

from lockfile import AlreadyLocked, LockBase, LockFailed, LockTimeout, NotLocked, NotMyLock

from . import kernel_lock, process
from .errors import DaemonError, DaemonStartError
from .forks import give_up_in_children
from .hold import signals_held_off
from .record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from os import PathLike
    from typing import NoReturn, Union

    AnyPath = Union[str, bytes, PathLike[str], PathLike[bytes]]

_MODE = 0o644
_MOST_DIGITS = 10
_LONGEST_LINE = 64
# How long a waiting starter sleeps at most: the exit of the holder wakes it, a release without an exit does not.
_PAUSE = 0.05
# How long a starter that takes away what a crash has left may have that file: half a second is plenty for one that has
# to share its processor with a hundred others, and all that a start loses whose holder can't be seen from here.
_CLEARING = 0.5
# Thirty years: any longer wait, an endless one too, is cut to what the clock can be asked to add.
_FOR_EVER = 1e9
_EXISTING = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class PIDFileError(DaemonError, LockFailed, OSError):
    """The pidfile can't be used, for another reason than that somebody holds it.

    :ivar path: ``str``, the pidfile.
    :ivar errno: ``int``, the system's error number, or ``None``.
    """

    def __init__(self, path: str, reason: str, errno: int | None = None) -> None:
        super().__init__(errno, f"cannot lock {path}: {reason}")
        self.path = path

    def __str__(self) -> str:
        return str(self.strerror)

    def __reduce__(self) -> tuple[object, ...]:
        return _remake, (type(self), self.args), self.__dict__


class PIDFileLocked(DaemonError, AlreadyLocked, BlockingIOError):
    """Another process holds the pidfile.

    :ivar path: ``str``, the pidfile.
    :ivar pid: ``int``, the holder's process, or ``None`` when the file doesn't tell.
    """

    def __init__(self, path: str, pid: int | None, advice: str = "") -> None:
        super().__init__(errno.EAGAIN, f"cannot lock {path}: held by {_describe(pid)}{advice}")
        self.path = path
        self.pid = pid

    def __str__(self) -> str:
        return str(self.strerror)

    def __reduce__(self) -> tuple[object, ...]:
        return _remake, (type(self), self.args), self.__dict__


class PIDFileLockTimeout(PIDFileLocked, LockTimeout):
    """Another process held the pidfile for as long as the caller would wait."""


class DaemonAlreadyRunning(DaemonStartError, AlreadyLocked):
    """A daemon could not be started because another process holds its pidfile.

    :ivar pid: ``int``, that process, or ``None`` when the lock doesn't tell.
    """


class DaemonLockTimeout(DaemonAlreadyRunning, LockTimeout):
    """A daemon could not be started because its pidfile stayed held for as long as the start would wait."""


def _remake(kind: type[OSError], arguments: tuple[object, ...]) -> OSError:
    error = kind.__new__(kind)
    OSError.__init__(error, *arguments)
    error.args = arguments
    return error


def _describe(pid: int | None) -> str:
    if pid is None:
        return "another process"
    found = process.look(pid)
    return f"process {pid}" if found is None else str(found)


class _Held(Record):
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


class PIDLockFile(LockBase):
    """A pidfile that is locked for exactly as long as its process lives.

    The kernel's lock on the open file is the truth, the pid in it is information. The file exists, whole, from
    :meth:`acquire` to :meth:`release`; after a crash it is left over but not locked, and the next one takes it away.
    When somebody else has deleted or replaced the file, this lock still holds what it has locked, but a second start
    becomes possible; a successor's file is never removed.

    Forked children don't have the lock, whatever they do. Signals are held off while the file is published and while
    it is released, not while waiting.

    :param path: the pidfile, made absolute at once.
    :param threaded: there for the interface of ``lockfile``; the lock belongs to the process.
    :param timeout: the default of :meth:`acquire`, in seconds.
    :param inherit: whether a program that this process becomes by exec keeps the lock.
    """

    def __init__(
        self, path: AnyPath, threaded: bool = False, timeout: float | None = None, *, inherit: bool = False
    ) -> None:
        _require_seconds(timeout)
        super().__init__(os.path.abspath(os.fsdecode(path)), False, timeout)
        self.unique_name = self.path
        self.inherit = inherit
        self._held: _Held | None = None
        self._was_held = False

    def acquire(self, timeout: float | None = None) -> None:
        """Take the lock and publish the file.

        :param timeout: seconds to wait for a holder; ``None`` for the default given to the constructor, and if that is
            ``None`` too, or either is zero or negative, not to wait. (``lockfile`` documents that ``None`` waits for
            ever; its own PIDLockFile doesn't either.)
        :raises PIDFileLocked: when another process, or this one, holds it. Also a ``lockfile.AlreadyLocked``.
        :raises PIDFileLockTimeout: when it is still held after ``timeout`` seconds. Also a ``lockfile.LockTimeout``.
        :raises PIDFileError: when the file can't be used. Also a ``lockfile.LockFailed``.
        """
        _require_seconds(timeout)
        patience = min(max(0.0, (self.timeout if timeout is None else timeout) or 0.0), _FOR_EVER)
        holder = _persist(self._take, patience)
        if holder is not None:
            raise (PIDFileLockTimeout if patience else PIDFileLocked)(self.path, holder.pid)

    def release(self) -> None:
        """Take the file away and let the lock go; a second time does nothing.

        Where the file can't be taken away any more (privileges dropped, root changed) it is emptied.

        :raises lockfile.NotMyLock: when another process holds it.
        :raises lockfile.NotLocked: when nobody does and this object never did.
        """
        with signals_held_off():
            held = self._mine()
            if held is not None:
                self._held, self._was_held = None, True
                try:
                    _withdraw(self.path, held)
                finally:
                    held.close()
                return
        if self._was_held:
            return
        if self.is_locked():
            raise NotMyLock(f"{self.path} is held by {_describe(self.read_pid())}, not by this lock")
        raise NotLocked(f"{self.path} is not locked")

    def is_locked(self) -> bool:
        """Whether a living process holds the lock; asking takes nothing and hinders nobody.

        :raises PIDFileError: when the file can't be read, or is no regular file.
        """
        if self._mine() is not None:
            return True
        with _opened(self.path, os.O_RDONLY) as fd:
            return fd is not None and (kernel_lock.is_locked(fd) or _writer(fd) is not None)

    def i_am_locking(self) -> bool:
        """Whether this process holds the lock by this object, and nobody has deleted the file meanwhile."""
        held = self._mine()
        return held is not None and held.has_descriptor() and os.fstat(held.fd).st_nlink > 0

    def break_lock(self) -> None:
        """Take away a file that a crash has left; there is no need to, for :meth:`acquire` does.

        :raises PIDFileLocked: when a living process holds it.
        :raises PIDFileError: when the file can't be used.
        """
        if self._mine() is not None:
            raise PIDFileLocked(self.path, os.getpid(), "; it is this process's own")
        holder = _persist(self._clear, 0.0)
        if holder is not None:
            raise PIDFileLocked(self.path, holder.pid, "; stop that process, the lock goes with it")

    def read_pid(self) -> int | None:
        """Answer the pid that the file tells, ``None`` when it tells none. It is information only: see the class."""
        try:
            with _opened(self.path, os.O_RDONLY) as fd:
                return None if fd is None else _pid_in(fd)
        except PIDFileError:
            return None

    def give_up(self) -> None:
        """Close this process's copy of the lock without releasing it; called in forked children."""
        held, self._held = self._held, None
        self._was_held = False
        if held is not None:
            held.close()

    def __exit__(self, *_exc_info: object) -> None:
        # A forked child leaves the with-block as well, and has nothing to release.
        if self._mine() is not None:
            self.release()

    def _mine(self) -> _Held | None:
        return self._held if self._held is not None and self._held.pid == os.getpid() else None

    def _take(self) -> _Holder | None:
        if self._mine() is not None:
            return _Holder(pid=os.getpid(), seen=True)
        try:
            with signals_held_off(), _directory_of(self.path) as directory:
                return self._take_in(directory)
        except BaseException:
            # A signal that was held off until the file was there: an acquire that raises has not acquired.
            self.__exit__()
            raise

    def _take_in(self, directory: int) -> _Holder | None:
        while True:
            holder = _clear(self.path, directory)
            if holder is not None:
                return holder
            fd = _publish(self.path, directory)
            if fd is not None:
                self._hold(fd)
                return None

    def _clear(self) -> _Holder | None:
        with signals_held_off(), _directory_of(self.path) as directory:
            return _clear(self.path, directory)

    def _hold(self, fd: int) -> None:
        os.set_inheritable(fd, self.inherit)
        found = os.fstat(fd)
        self._held = _Held(fd=fd, pid=os.getpid(), device=found.st_dev, inode=found.st_ino)
        self._was_held = False
        give_up_in_children(self)


class TimeoutPIDLockFile(PIDLockFile):
    """A :class:`PIDLockFile` whose default timeout is its second argument, as in python-daemon.

    :param acquire_timeout: seconds to wait for a holder; ``None`` not to wait.
    """

    def __init__(
        self,
        path: AnyPath,
        acquire_timeout: float | None = None,
        threaded: bool = False,
        timeout: float | None = None,
        *,
        inherit: bool = False,
    ) -> None:
        super().__init__(path, threaded, timeout if acquire_timeout is None else acquire_timeout, inherit=inherit)

    @property
    def acquire_timeout(self) -> float | None:
        """The default of :meth:`acquire`, in seconds."""
        seconds: float | None = self.timeout
        return seconds

    @acquire_timeout.setter
    def acquire_timeout(self, seconds: float | None) -> None:
        _require_seconds(seconds)
        self.timeout = seconds


class _Holder(Record):
    """Who is in the way; the file may not tell.

    Not ``seen``: no living process has written the file that is locked. It may be out of sight, or somebody has the
    file of a dead one for a moment, to take it away.
    """

    pid: int | None
    seen: bool


def _require_seconds(timeout: object) -> None:
    is_number = isinstance(timeout, (int, float)) and not isinstance(timeout, bool)
    if timeout is None or (is_number and not (isinstance(timeout, float) and isnan(timeout))):
        return
    raise ValueError(f"timeout: must be seconds or None, not {timeout!r}")


def _persist(attempt: Callable[[], _Holder | None], patience: float) -> _Holder | None:
    """Try until nobody is in the way; answer who still is when the patience, in seconds, is at its end."""
    start = time.monotonic()
    while True:
        holder = attempt()
        if holder is None:
            return None
        left = start + max(patience, 0.0 if holder.seen else _CLEARING) - time.monotonic()
        if left <= 0:
            return holder
        _await_change(holder, min(left, _PAUSE))


def _await_change(holder: _Holder, seconds: float) -> None:
    if holder.pid is None or holder.pid == os.getpid() or process.wait_for_exit(holder.pid, seconds):
        # Ended but still locked: a program that it became or forked keeps the lock, or the number is of another pid
        # namespace. There is no exit to wait for then.
        time.sleep(min(seconds, 0.001 if holder.pid else _PAUSE))


@contextmanager
def _directory_of(path: str) -> Iterator[int]:
    """Hold the pidfile's directory open, so that all names of one attempt mean files in the same place."""
    directory = os.path.dirname(path)
    try:
        fd = os.open(directory, getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        _refuse(path, error, f"{error.strerror}: directory {directory}")
    try:
        yield fd
    finally:
        os.close(fd)


def _refuse(path: str, error: OSError, reason: str | None = None) -> NoReturn:
    advice = {
        errno.EACCES: f"; this user may not write in {os.path.dirname(path)}",
        errno.ENOLCK: "; the file system offers no locks: choose a local one such as /run",
        errno.EROFS: "; choose a place that can be written, such as /run",
        errno.ENOSPC: "; make room there",
    }
    text = reason or f"{error.strerror}{advice.get(error.errno or 0, '')}"
    raise PIDFileError(path, text, error.errno) from error


@contextmanager
def _opened(path: str, mode: int, directory: int | None = None) -> Iterator[int | None]:
    """Open the file that is there, never making one and never following a link; ``None`` when there is none."""
    name = path if directory is None else os.path.basename(path)
    try:
        fd = os.open(name, mode | _EXISTING, dir_fd=directory)
    except FileNotFoundError:
        yield None
        return
    except OSError as error:
        if error.errno == errno.ELOOP:
            _refuse(path, error, "it is a symbolic link, which can lead anywhere; remove it")
        if error.errno in (errno.EISDIR, errno.ENXIO, errno.ENODEV):
            _refuse(path, error, "it is not a regular file; remove it, or choose another path")
        if error.errno == errno.EACCES:
            _refuse(path, error, f"{error.strerror}; this user may not open the file that is there")
        _refuse(path, error)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise PIDFileError(path, "it is not a regular file; remove it, or choose another path", errno.EINVAL)
        yield fd
    finally:
        os.close(fd)


def _clear(path: str, directory: int) -> _Holder | None:
    """Take away a file that nobody holds; answer who holds it when somebody does."""
    try:
        with _opened(path, os.O_RDWR, directory) as fd:
            return None if fd is None else _clear_opened(path, directory, fd)
    except PIDFileError as refusal:
        if refusal.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        with _opened(path, os.O_RDONLY, directory) as fd:
            if fd is None:  # its holder has released it meanwhile
                return None
            if kernel_lock.is_locked(fd):
                return _holder_of(fd)
        raise


def _clear_opened(path: str, directory: int, fd: int) -> _Holder | None:
    if not _lock(path, fd):
        return _holder_of(fd)
    # Locked by us now, so nobody who keeps to the rules takes it away or puts another in its place.
    writer = _writer(fd)
    if writer is not None:
        return _Holder(pid=writer, seen=True)
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
        _refuse(path, error)
    return None


def _holder_of(fd: int) -> _Holder:
    pid = _pid_in(fd)
    return _Holder(pid=pid, seen=pid is not None and _can_have_written(pid, fd))


def _lock(path: str, fd: int) -> bool:
    try:
        return kernel_lock.try_lock(fd)
    except OSError as error:
        _refuse(path, error)


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


def _writer(fd: int) -> int | None:
    """Answer the living process that wrote the file, though it has no lock on it any more; ``None`` when it is gone.

    A program that closes every descriptor that it doesn't know loses its lock.
    """
    pid = _pid_in(fd)
    # Our own number: this very program, started anew by exec, or a predecessor's number that we were given.
    if pid is None or pid == os.getpid():
        return None
    return pid if _can_have_written(pid, fd) else None


def _can_have_written(pid: int, fd: int) -> bool:
    """Whether the process with the file's number lives and is older than the file: then it can only be its writer.

    If it is younger, the number was given out again.
    """
    found = process.look(pid)
    return found is not None and found.alive and found.started <= os.fstat(fd).st_mtime


def _pid_in(fd: int) -> int | None:
    """Answer the number on the first line, tolerant as the FHS (3.15) asks: white space, zeros in front, more lines."""
    line = os.pread(fd, _LONGEST_LINE + 1, 0).partition(b"\n")[0]
    if len(line) > _LONGEST_LINE:  # and may go on: a number that is cut off would be another process's
        return None
    digits = line.strip(b" \t\r\v\f").lstrip(b"0")
    if not digits.isdigit() or len(digits) > _MOST_DIGITS:
        return None
    number = int(digits)
    return number if number < 2**31 else None


def _publish(path: str, directory: int) -> int | None:
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
        _refuse(path, error)
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


def _withdraw(path: str, held: _Held) -> None:
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
    with _opened(path, os.O_RDONLY) as fd:
        return fd is not None and _pid_in(fd) == os.getpid() and not kernel_lock.is_locked(fd)
