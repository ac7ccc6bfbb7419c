"""The pidfile as a lock: who wrote it holds it.

A start by a path takes it as it is here, without the package lockfile, which with all that it brings along takes as
much as half a start. That is loaded where its class is asked for, and where an error of its kind is to be raised.
"""

from __future__ import annotations

import os
import time

from ..system import process
from ..system.forks import give_up_in_children
from ..system.undisturbed import signals_held_off
from .on_disk import Held, clear, directory_of, is_own, prepare_for_change, publish, withdraw
from .reading import Holder, Place, holder_of, opened, pid_in

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from os import PathLike
    from typing import Any, TypeVar, Union

    from .errors import PIDFileLocked

    Self = TypeVar("Self", bound="PidfileLock")
    AnyPath = Union[str, bytes, PathLike[str], PathLike[bytes]]

# How long a waiting starter sleeps at most: the exit of the holder wakes it, a release without an exit does not.
_PAUSE = 0.05
# How long a starter that takes away what a crash has left may have that file: half a second is plenty for one that has
# to share its processor with a hundred others, and all that a start loses whose holder can't be seen from here.
_CLEARING = 0.5
# How long a holder that the kernel is about to end may take for that: its memory may be large.
_ENDING = 30.0
# How long another's turn may take.
_TURN = 0.001
# How often one attempt finds no file, and then can't make one because there is one: no daemon comes and goes so fast,
# and signals are held off meanwhile.
_MOST_ROUNDS = 100
# The files that locks of this process hold, by device and inode: what else bears its seal was left by a program that
# has become this one.
_held: dict[tuple[int, int], Held] = {}


class PidfileLock:
    """What :class:`~daemonry.pidfile.PIDLockFile` is but for the package lockfile."""

    def __init__(self, path: AnyPath, timeout: float | None = None) -> None:
        require_seconds(timeout)
        self.path = os.path.abspath(os.fsdecode(path))
        self.timeout = timeout
        self._held: Held | None = None
        self._was_held = False
        self._former: tuple[int, int] | None = None

    def acquire(self, timeout: float | None = None) -> None:
        """Take the lock and publish the file.

        :param timeout: seconds to wait for a holder; ``None`` for the default given to the constructor, and if that is
            ``None`` too, or either is zero or negative, not to wait. (``lockfile`` documents that ``None`` waits for
            ever; its own PIDLockFile doesn't either.)
        :raises PIDFileLocked: when another process, or this one, holds it. Also a ``lockfile.AlreadyLocked``.
        :raises PIDFileLockTimeout: when it is still held after ``timeout`` seconds. Also a ``lockfile.LockTimeout``.
        :raises PIDFileError: when the file can't be used. Also a ``lockfile.LockFailed``.
        """
        require_seconds(timeout)
        patience = max(0.0, (self.timeout if timeout is None else timeout) or 0.0)
        holder = _persist(self._take, patience)
        if holder is not None:
            from .errors import PIDFileLocked, PIDFileLockTimeout

            raise (PIDFileLockTimeout if patience else PIDFileLocked)(self.path, holder.pid, holder=str(holder))

    def release(self) -> None:
        """Take the file away; a second time does nothing.

        Where it can't be taken away any more (privileges dropped, root changed) a mark beside it says that its daemon
        has ended in order; see :meth:`prepare_for_change`. Then it is left over as soon as the process has ended.

        :raises PIDFileError: when neither can be done, nor the file emptied.
        :raises lockfile.NotMyLock: when another process holds it.
        :raises lockfile.NotLocked: when nobody does and this object never did.
        """
        with signals_held_off():
            held = self._mine()
            if held is not None:
                self._held, self._was_held = None, True
                _forget(held)
                try:
                    withdraw(self.path, held)
                finally:
                    held.let_go()
                return
        if self._was_held:
            return
        from lockfile import NotLocked, NotMyLock

        holder = self._holder()
        if holder is not None:
            raise NotMyLock(f"{self.path} is held by {holder}, not by this lock")
        raise NotLocked(f"{self.path} is not locked")

    def is_locked(self) -> bool:
        """Whether a living process holds the lock; asking takes nothing and hinders nobody.

        :raises PIDFileError: when the file can't be read, or is no regular file.
        """
        return self._mine() is not None or self._holder() is not None

    def i_am_locking(self) -> bool:
        """Whether this process holds the lock by this object, and nobody has deleted the file meanwhile."""
        held = self._mine()
        if held is None or held.mark is not None:  # after the change it may well be out of sight
            return held is not None
        try:
            with Place(self.path) as place:
                return is_own(place, held)
        except OSError:
            return False

    def break_lock(self) -> None:
        """Take away a file that a crash has left; there is no need to, for :meth:`acquire` does.

        :raises PIDFileLocked: when a living process holds it.
        :raises PIDFileError: when the file can't be used.
        """
        from .errors import PIDFileLocked

        if self._mine() is not None:
            raise PIDFileLocked(self.path, os.getpid(), "; it is this process's own")
        holder = _persist(self._clear, 0.0)
        if holder is not None:
            advice = "; stop that process, the lock goes with it"
            raise PIDFileLocked(self.path, holder.pid, advice, holder=str(holder))

    def read_pid(self) -> int | None:
        """Return the pid that the file tells, ``None`` when it tells none. It is information only: see the class."""
        held = self._mine()
        if held is not None and held.lock is not None and self.i_am_locking():
            return pid_in(held.lock.fd)  # not opened anew: closing that again would lose the lock
        try:
            with opened(self.path) as found:
                return None if found is None else pid_in(found[1])
        except OSError:
            return None

    def prepare_for_change(self) -> None:
        """Be ready for the loss of rights, or of the root directory, in which the file can't be removed any more.

        The context calls it before; so does a program that changes its user or its root itself. From now on no
        descriptor is open by which the file could be written. :meth:`release` then says by a mark beside the file that
        the daemon has ended in order.

        :raises PIDFileError: when the mark can't be made.
        """
        held = self._mine()
        if held is not None:
            from . import errors  # noqa: F401  # which release() could not load any more

            prepare_for_change(self.path, held)

    def take_over(self) -> None:
        """Let a process that this one will fork have the file that this very process has left by an exec.

        A daemon that executes itself anew becomes the launcher of the next one.
        """
        holder = None if self._mine() is not None else self._holder_in_sight()
        if holder is not None and holder.process is not None and holder.pid == os.getpid() and holder.certain:
            self._former = None if self._is_held_here() else (os.getpid(), holder.process.born)

    def refusal(self) -> PIDFileLocked | None:
        """Return the error that :meth:`acquire` is sure to raise now, ``None`` where nothing is sure; it takes nothing.

        The context asks before it forks. Nothing is sure where there is time to wait, or where a subclass acquires in a
        way of its own.
        """
        kind = type(self)
        if kind.acquire is not PidfileLock.acquire or kind.__enter__ is not PidfileLock.__enter__:
            return None
        holder = None if (self.timeout or 0) > 0 else self._holder_in_sight()
        if holder is None or not holder.certain or self._is_left_by_us(holder) or _least_patience(holder):
            return None
        from .errors import PIDFileLocked

        return PIDFileLocked(self.path, holder.pid, holder=str(holder))

    @property
    def descriptors(self) -> list[int]:
        """The descriptors that are open for the lock, if this process holds it by this object: most often none."""
        held = self._mine()
        return held.descriptors if held is not None else []

    def give_up(self) -> None:
        """Close this process's copy of the lock without releasing it; called in forked children."""
        held, self._held = self._held, None
        self._was_held = False
        if held is not None:
            held.let_go()

    def __enter__(self: Self) -> Self:
        self.acquire()
        return self

    def __exit__(self, *_exc_info: object) -> None:
        # A forked child leaves the with-block as well, and has nothing to release.
        if self._mine() is not None:
            self.release()

    def _mine(self) -> Held | None:
        return self._held if self._held is not None and self._held.pid == os.getpid() else None

    def _holder(self) -> Holder | None:
        # Asked first: where this process has a lock of the kernel's, closing another descriptor would lose it.
        if self._is_held_here():
            return _this_process()
        with opened(self.path) as found:
            return None if found is None else holder_of(found[1], found[0])

    def _holder_in_sight(self) -> Holder | None:
        """The same before anything is done: most often by one call, and whoever takes it says what is wrong with it."""
        try:
            return self._holder() if os.path.exists(self.path) else None
        except OSError:
            return None

    def _is_held_here(self) -> bool:
        """Whether any object of this process holds the file."""
        if not _held:
            return False
        try:
            with Place(self.path) as place:
                return _is_held(place)
        except OSError:
            return False

    def _take(self) -> Holder | None:
        if self._mine() is not None:
            return _this_process()
        try:
            with signals_held_off(), directory_of(self.path) as place:
                return self._take_in(place)
        except BaseException:
            # A signal that was held off until the file was there: an acquire that raises has not acquired.
            if self._mine() is not None:
                self.release()
            raise

    def _take_in(self, place: Place) -> Holder | None:
        is_free = not place.is_taken()
        for _ in range(_MOST_ROUNDS):
            held = publish(place) if is_free else None
            if held is not None:
                self._hold(held)
                return None
            holder = self._clear_in(place)
            if holder is not None:
                return holder
            is_free = True
        return Holder(process=None)

    def _clear(self) -> Holder | None:
        with signals_held_off(), directory_of(self.path) as place:
            return self._clear_in(place)

    def _clear_in(self, place: Place) -> Holder | None:
        return _this_process() if _is_held(place) else clear(place, self._is_left_by_us)

    def _is_left_by_us(self, holder: Holder) -> bool:
        """Whether it is this very process, that no object holds the file for, or that which this one was forked by."""
        found = holder.process
        return found is not None and (found.pid == os.getpid() or (found.pid, found.born) == self._former)

    def _hold(self, held: Held) -> None:
        self._held = held
        self._was_held = False
        _held[held.found.st_dev, held.found.st_ino] = held
        give_up_in_children(self)


def require_seconds(timeout: Any) -> None:
    """Refuse what is no time to wait.

    :raises ValueError: when it is neither a number nor ``None``.
    """
    if timeout is None:
        return
    is_number = isinstance(timeout, (int, float)) and not isinstance(timeout, bool)
    if is_number and (timeout > 0 or timeout <= 0):  # a float that is not a number is neither
        return
    raise ValueError(f"timeout: must be seconds or None, not {timeout!r}")


def _this_process() -> Holder:
    return Holder(process=process.look(os.getpid()) or process.unseen(os.getpid()), certain=True, number=os.getpid())


def _is_held(place: Place) -> bool:
    """Whether an object of this process holds the file of this place."""
    if not _held:
        return False
    found = place.look()
    held = None if found is None else _held.get((found.st_dev, found.st_ino))
    return held is not None and held.pid == os.getpid() and is_own(place, held)


def _forget(held: Held) -> None:
    _held.pop((held.found.st_dev, held.found.st_ino), None)


def _persist(attempt: Callable[[], Holder | None], patience: float) -> Holder | None:
    """Try until nobody is in the way; return who still is when the patience, in seconds, is at its end."""
    start = time.monotonic()
    while True:
        holder = attempt()
        if holder is None:
            return None
        left = start + max(patience, _least_patience(holder)) - time.monotonic()
        if left <= 0:
            return holder
        _await_change(holder, min(left, _PAUSE))


def _least_patience(holder: Holder) -> float:
    if holder.process is None:
        return _CLEARING
    # Whoever starts a daemon as soon as the one before has closed its files is not to be told that it runs.
    return _ENDING if holder.process.exiting else 0.0


def _await_change(holder: Holder, seconds: float) -> None:
    begun = time.monotonic()
    if holder.pid is not None and holder.pid != os.getpid() and not process.wait_for_exit(holder.pid, seconds):
        return
    # What has ended while it was waited for is out of the way. Else it is somebody whom nobody sees, or who has just
    # the turn to take the file away: there is no exit to wait for.
    if time.monotonic() - begun < _TURN:
        time.sleep(min(seconds, _TURN if holder.number is None else _PAUSE))
