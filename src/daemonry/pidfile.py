"""The pidfile, a lockfile lock over a kernel lock: the lock decides, the text informs."""

from __future__ import annotations

import os
import time
from math import isnan

from lockfile import LockBase, NotLocked, NotMyLock

from . import kernel_lock, process
from .forks import give_up_in_children
from .hold import signals_held_off
from .pidfile_errors import (
    DaemonAlreadyRunning,
    DaemonLockTimeout,
    PIDFileError,
    PIDFileLocked,
    PIDFileLockTimeout,
    describe,
)
from .pidfile_on_disk import Held, Holder, clear, directory_of, publish, withdraw
from .pidfile_reading import opened, pid_in, writer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from os import PathLike
    from typing import Union

    AnyPath = Union[str, bytes, PathLike[str], PathLike[bytes]]

__all__ = [
    "DaemonAlreadyRunning",
    "DaemonLockTimeout",
    "PIDFileError",
    "PIDFileLockTimeout",
    "PIDFileLocked",
    "PIDLockFile",
    "TimeoutPIDLockFile",
]

# How long a waiting starter sleeps at most: the exit of the holder wakes it, a release without an exit does not.
_PAUSE = 0.05
# How long a starter that takes away what a crash has left may have that file: half a second is plenty for one that has
# to share its processor with a hundred others, and all that a start loses whose holder can't be seen from here.
_CLEARING = 0.5
# How often one attempt finds no file, and then can't make one because there is one: no daemon comes and goes so fast,
# and signals are held off meanwhile.
_MOST_ROUNDS = 100
# Thirty years: any longer wait, an endless one too, is cut to what the clock can be asked to add.
_FOR_EVER = 1e9


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
    :param inherit: whether a program that this process becomes by exec keeps the lock, and the programs that it starts
        don't. Such a lock is lost when the process closes any descriptor of the file; what counts then is the seal that
        :func:`daemonry.control.find` and the next starter look at.
    """

    def __init__(
        self, path: AnyPath, threaded: bool = False, timeout: float | None = None, *, inherit: bool = False
    ) -> None:
        _require_seconds(timeout)
        super().__init__(os.path.abspath(os.fsdecode(path)), False, timeout)
        self.unique_name = self.path
        self.inherit = inherit
        self._held: Held | None = None
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

        :raises PIDFileError: when it can't even be emptied. The lock is gone all the same, and hinders nobody.
        :raises lockfile.NotMyLock: when another process holds it.
        :raises lockfile.NotLocked: when nobody does and this object never did.
        """
        with signals_held_off():
            held = self._mine()
            if held is not None:
                self._held, self._was_held = None, True
                try:
                    withdraw(self.path, held)
                finally:
                    held.close()
                return
        if self._was_held:
            return
        if self.is_locked():
            raise NotMyLock(f"{self.path} is held by {describe(self.read_pid())}, not by this lock")
        raise NotLocked(f"{self.path} is not locked")

    def is_locked(self) -> bool:
        """Whether a living process holds the lock; asking takes nothing and hinders nobody.

        :raises PIDFileError: when the file can't be read, or is no regular file.
        """
        if self._mine() is not None:
            return True
        with opened(self.path, os.O_RDONLY) as fd:
            return fd is not None and (kernel_lock.is_locked(fd) or writer(fd, os.path.basename(self.path)) is not None)

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
        held = self._mine()
        if held is not None and self.i_am_locking():
            return pid_in(held.fd)  # not opened anew: closing that again would lose the lock of ``inherit``
        try:
            with opened(self.path, os.O_RDONLY) as fd:
                return None if fd is None else pid_in(fd)
        except PIDFileError:
            return None

    @property
    def descriptors(self) -> list[int]:
        """The descriptor of the lock, if this process holds it by this object."""
        held = self._mine()
        return [held.fd] if held is not None and held.has_descriptor() else []

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

    def _mine(self) -> Held | None:
        return self._held if self._held is not None and self._held.pid == os.getpid() else None

    def _take(self) -> Holder | None:
        if self._mine() is not None:
            return Holder(pid=os.getpid(), seen=True)
        try:
            with signals_held_off(), directory_of(self.path) as directory:
                return self._take_in(directory)
        except BaseException:
            # A signal that was held off until the file was there: an acquire that raises has not acquired.
            if self._mine() is not None:
                self.release()
            raise

    def _take_in(self, directory: int) -> Holder | None:
        for _ in range(_MOST_ROUNDS):
            holder = clear(self.path, directory)
            if holder is not None:
                return holder
            held = publish(self.path, directory, self._lock)
            if held is not None:
                self._hold(held)
                return None
        return Holder(pid=None, seen=False)

    def _lock(self, fd: int) -> bool:
        if not self.inherit:
            return kernel_lock.try_lock(fd)
        os.set_inheritable(fd, True)
        return kernel_lock.try_lock_for_process(fd)

    def _clear(self) -> Holder | None:
        with signals_held_off(), directory_of(self.path) as directory:
            return clear(self.path, directory)

    def _hold(self, held: Held) -> None:
        self._held = held
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


def _require_seconds(timeout: object) -> None:
    is_number = isinstance(timeout, (int, float)) and not isinstance(timeout, bool)
    if timeout is None or (is_number and not (isinstance(timeout, float) and isnan(timeout))):
        return
    raise ValueError(f"timeout: must be seconds or None, not {timeout!r}")


def _persist(attempt: Callable[[], Holder | None], patience: float) -> Holder | None:
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


def _await_change(holder: Holder, seconds: float) -> None:
    if holder.pid is None or holder.pid == os.getpid() or process.wait_for_exit(holder.pid, seconds):
        # Ended but still locked: a program that it became or forked keeps the lock, or the number is of another pid
        # namespace. There is no exit to wait for then.
        time.sleep(min(seconds, 0.001 if holder.pid else _PAUSE))
