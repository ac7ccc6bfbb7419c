"""The pidfile on disk: published whole and sealed, judged when it is left over, taken away.

Nothing is kept open: the seal says whose the file is. Where that is not enough, its process holds a lock on it as well.
"""

from __future__ import annotations

import errno
import os
import stat
import time

from ..errors import DaemonError, advice_on
from ..system.closing import close, out_of_reach
from ..system.record import remembered
from . import mark as pidfile_mark
from . import seal
from .drafts import link_draft, link_unnamed, remove_drafts
from .reading import Holder, Place, fault_of, holder_of, open_at, opened_at, pid_in, refuse
from .turn import turn_at

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

# What says at the end that the file is gone with its directory, or out of sight.
_NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
# The PID namespace of the system itself; see PROC_PID_INIT_INO in the kernel's proc_ns.h.
_MOST_WAITS = 200
_WAIT = 0.001
_OF_THE_SYSTEM = "pid:[4026531836]"


class Held:
    """A pidfile as this process has it."""

    def __init__(self, found: os.stat_result, pid: int) -> None:
        self.pid = pid
        self.found = found
        self.lock: Kept | None = None
        """Has the kernel's lock, where one is held."""
        self.mark: Kept | None = None
        """Leads to the mark, where the file itself may be out of reach at the end."""

    @property
    def descriptors(self) -> list[int]:
        """Those that are open for it."""
        return [kept.fd for kept in (self.lock, self.mark) if kept is not None and kept.is_open]

    def let_go(self) -> None:
        """Close what is open for it."""
        if self.lock is not None or self.mark is not None:
            fds, self.lock, self.mark = self.descriptors, None, None
            close(*fds)


class Kept:
    """A descriptor that stays open, unless the program closes what it doesn't know."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._found = os.fstat(fd)

    @property
    def is_open(self) -> bool:
        """Whether the number still leads there, and not to what the program has opened since."""
        try:
            return os.path.samestat(os.fstat(self.fd), self._found)
        except OSError:
            return False


def directory_of(path: str) -> Place:
    """Return the pidfile's place, to be held in a with-block.

    :raises PIDFileError: when its directory is not there, or not to be reached.
    """
    try:
        return Place(path)
    except OSError as error:
        refuse(path, error, f"{error.strerror}: directory {os.path.dirname(path)}{advice_on(error)}")


def clear(place: Place, is_ours: Callable[[Holder], bool]) -> Holder | None:
    """Take away a file that nobody holds; return who holds it when somebody does.

    :param is_ours: whether a holder stands for whoever asks, so that the file is left over all the same.
    """
    fd = open_at(place)
    if fd is None:
        return None
    try:
        holder = holder_of(fd, place)
    finally:
        close(fd)
    if holder is not None and not is_ours(holder):
        return holder
    try:
        with turn_at(place) as is_mine:
            return _take_away(place, is_ours) if is_mine else Holder(process=None)
    except OSError as error:
        if isinstance(error, DaemonError):
            raise
        refuse(place.path, error)


def _take_away(place: Place, is_ours: Callable[[Holder], bool]) -> Holder | None:
    # Looked at once more, for another may have had the turn since. From now on nobody takes the name from the file but
    # who has put it there, and is gone.
    with opened_at(place) as fd:
        if fd is None:
            return None
        holder = holder_of(fd, place)
        if holder is not None and not is_ours(holder):
            return holder
        if os.fstat(fd).st_nlink > 1:
            remove_drafts(place, os.fstat(fd))
        fault = fault_of(fd, "look at it and remove it")
        if fault:
            from .errors import PIDFileError

            raise PIDFileError(place.path, fault, errno.EPERM)
        found = place.look()
        if found is not None and os.path.samestat(found, os.fstat(fd)):
            _unlink_left_over(place, found)
    return None


def _unlink_left_over(place: Place, found: os.stat_result) -> None:
    try:
        pidfile_mark.remove(place)
        os.unlink(place.name, dir_fd=place.directory)
    except PermissionError as error:  # a sticky directory, in which each may take away his own
        reason = f"{error.strerror}; this user may not take away the file that is there, which is user {found.st_uid}'s"
        refuse(place.path, error, reason)


def publish(place: Place) -> Held | None:
    """Make the file, whole and sealed before it has its name; return ``None`` when there is one."""
    pid = os.getpid()
    try:
        found = link_unnamed(pid, place) if hasattr(os, "O_TMPFILE") and hasattr(os, "link") else None
        found = found or link_draft(pid, place)
        if found is None:
            return None
        held = Held(found, pid)
        if not (seal.is_on(found) and _is_seen_by_all(pid)):
            _lock_for_life(place, held)
        return held
    except FileExistsError:
        return None
    except OSError as error:
        refuse(place.path, error)


@remembered
def _is_seen_by_all(_pid: int) -> bool:
    """Whether this process has its number for everybody, so that the seal can be tried on it."""
    try:
        return os.readlink("/proc/self/ns/pid") == _OF_THE_SYSTEM
    except FileNotFoundError:  # a system without such namespaces
        return True
    except OSError:
        return False


def _lock_for_life(place: Place, held: Held) -> None:
    """Lock the published file as well, for those who can't try the seal on this process.

    By another opening than it was written by: FUSE and NFS keep the other name of a file that is open.
    """
    from . import kernel_lock

    try:
        with _own_turn(place):
            with opened_at(place, os.O_RDWR) as fd:
                if fd is None or not os.path.samestat(os.fstat(fd), held.found):
                    raise OSError(errno.EBUSY, "it was taken away at once, by somebody who can't see this process")
                held.lock = Kept(out_of_reach(os.dup(fd)))
            if not kernel_lock.hold(held.lock.fd):
                raise OSError(errno.EBUSY, "somebody else has locked it at once")
    except BaseException:
        held.let_go()
        withdraw(place.path, held)
        raise


class _own_turn(turn_at):
    """Wait for our turn, so that who has just found the file without a lock can't take it away any more."""

    def __enter__(self) -> bool:
        for _ in range(_MOST_WAITS):
            if super().__enter__():
                return True
            self.__exit__()
            time.sleep(_WAIT)
        raise OSError(errno.EBUSY, "other starts are in the way")


def is_own(place: Place, held: Held) -> bool:
    """Whether our own file still bears the name."""
    found = place.look()
    if found is None or not (os.path.samestat(found, held.found) and stat.S_ISREG(found.st_mode)):
        return False
    if found.st_mtime_ns == held.found.st_mtime_ns:
        return True
    # Written to since, or another file that has got its inode's number.
    with opened_at(place) as fd:
        return fd is not None and pid_in(fd) == held.pid


def withdraw(path: str, held: Held) -> None:
    """Take our own file away, never another's; say in another way that it is over where it can't be taken away.

    :raises PIDFileError: when that can't be done either.
    """
    trouble = None
    try:
        # Looked at and taken away in one directory, for its path may lead to another the second time.
        with Place(path, known=True) as place:
            if is_own(place, held):
                os.unlink(place.name, dir_fd=place.directory)
                if held.mark is not None:
                    pidfile_mark.remove(place)
                return
    except OSError as error:  # not to be seen or not to be touched from here
        trouble = error
    if held.mark is not None and held.mark.is_open:
        pidfile_mark.write(held.mark.fd, held.found)
    elif trouble is not None and trouble.errno not in _NOT_THERE:
        _empty(path, held, trouble)


def _empty(path: str, held: Held, trouble: OSError) -> None:
    try:
        with directory_of(path) as place, opened_at(place, os.O_WRONLY) as fd:
            if fd is not None and os.path.samestat(os.fstat(fd), held.found):
                os.ftruncate(fd, 0)
    except OSError:
        reason = getattr(trouble, "reason", trouble.strerror)
        refuse(path, trouble, f"{reason}; the next start takes it away, once this process has ended", "remove")


def _kept_mark(place: Place) -> Kept:
    fd = pidfile_mark.make(place)
    try:
        return Kept(out_of_reach(fd))
    except BaseException:
        pidfile_mark.remove(place)
        raise


def prepare_for_change(path: str, held: Held) -> None:
    """Keep a way to say that it is over, and none to write the pidfile: rights or the root directory are to change."""
    if held.mark is None:
        with directory_of(path) as place:
            held.mark = _kept_mark(place)
    if held.lock is not None and held.lock.is_open:
        close(held.lock.fd)
    held.lock = None
