"""Forking, and what a forked child must not keep of its parent's: a lock, a pipe, a wake-up."""

from __future__ import annotations

import os
import sys
from _weakref import ref

from ..errors import ignored
from . import bare

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, Protocol

    class Owner(Protocol):
        """Something that belongs to one process."""

        @property
        def descriptors(self) -> Iterable[int]:
            """Its descriptors that are open."""

        def give_up(self) -> None:
            """Close what was inherited, in the child that inherited it, without undoing it for the parent."""


# One hook and weak references, for a hook can't be taken back: hooking in every owner by itself would keep each of them
# alive for good. Not a WeakSet, whose module is a tenth of an interpreter's own start.
_owners: dict[int, ref[Owner]] = {}


def give_up_in_children(owner: Owner) -> None:
    """From now on, call ``owner.give_up()`` first thing in every child that this process forks."""
    key = id(owner)
    _owners[key] = ref(owner, lambda _gone: _owners.pop(key, None))


def _living() -> list[Owner]:
    return [owner for each in list(_owners.values()) if (owner := each()) is not None]


def owned_descriptors() -> list[int]:
    """Return the descriptors of all owners: a context that closes what it does not know leaves another one's lock."""
    return [fd for owner in _living() for fd in owner.descriptors]


def origin(own: int) -> str:
    """Return how it shows that another program has forked this process, which has executed nothing since.

    ``""`` when it has executed its program, or a start of that program has gone on here; see :func:`go_on_here`.

    :param own: this process's number.
    """
    if own != _Origin.pid:
        _Origin.pid, _Origin.forked = own, "another process has forked it"
    if _Origin.forked:
        return _Origin.forked
    # Asked now: a process that multiprocessing spawns imports the program before it knows of its parent.
    processes: Any = sys.modules.get("multiprocessing.process")
    return "multiprocessing has started it" if processes is not None and processes.parent_process() is not None else ""


def go_on_here(pid: int) -> None:
    """Let this process, which a start has just forked, count as what the one before it was."""
    _Origin.pid = pid


_PF_FORKNOEXEC = 0x40


def _look_for_fork() -> str:
    """Look where a process tells it that was forked before it has imported this.

    Source: proc_pid_stat(5), ``flags``; PF_FORKNOEXEC in Linux, include/linux/sched.h.
    """
    try:
        text = bare.content_of("/proc/self/stat")
    except OSError:  # not Linux, or another root directory
        return ""
    # The name may hold spaces and parentheses of its own, so it ends at the last one.
    flags = int(text.rpartition(b")")[2].split()[6])
    return "another process has forked it" if flags & _PF_FORKNOEXEC else ""


class _Origin:
    """How the process of this number came to be: ``""`` when it has executed its program."""

    pid = bare.getpid()
    forked = _look_for_fork()


class _Threads:
    running = lost = False


def threads_are_running() -> bool:
    """Whether there are others than this one just now."""
    # Not threading.active_count(), which takes a lock that the thread with a fork may have interrupted.
    return len(sys._current_frames()) > 1


def threads_are_lost() -> bool:
    """Whether others were running when this process was forked, or one that it came of."""
    return _Threads.lost


def _look_for_threads() -> None:
    _Threads.running = threads_are_running()


def prepare_for_change() -> None:
    """Let every owner get ready for the loss of rights or of the root directory: here, while it still may."""
    for owner in _living():
        getattr(owner, "prepare_for_change", bool)()


def _give_up_all() -> None:
    _Threads.lost = _Threads.lost or _Threads.running
    for owner in _living():
        # One that can't (the program has closed its descriptor) must not keep the next, maybe a lock, from it.
        with ignored(OSError):
            owner.give_up()
    _owners.clear()


os.register_at_fork(before=_look_for_threads, after_in_child=_give_up_all)


def fork() -> int:
    """Fork, without Python's warning of threads; see fork(2)."""
    # They have been warned of by name before, with advice; Python's own warning names none, and under -W error it would
    # be raised in the parent when the child already runs. Older ones have none, and where nobody has loaded the module
    # Python's defaults hold, by which it is not shown.
    warnings: Any = sys.modules.get("warnings") if sys.version_info >= (3, 12) else None
    if warnings is None:
        return _fork()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _fork()


def _fork() -> int:
    try:
        return bare.fork()
    except BlockingIOError as error:
        reason = f"{error.strerror}: no more processes may run; see ulimit -u, and TasksMax= or pids.max"
        raise BlockingIOError(error.errno, reason) from None
