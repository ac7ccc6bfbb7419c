"""What belongs to a daemon: the processes of its cgroup; where it has none, its descendants, those of a session of its
own, and each that bears its mark.

Nobody with fewer rights can make another user's process count: only root, or this user, makes a cgroup that does;
parents and sessions are the kernel's word; and a mark, which anybody can set, is believed of its bearer alone.
"""

from __future__ import annotations

import os
import signal

from ..control import daemon as control
from ..control import stopping
from ..system import process
from . import cgroup, history, mark

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection
    from typing import Any

    from ..control.daemon import Daemon
    from ..system.process import Process
    from .homes import Target


class Belonging(stopping.Others):
    """What belongs to a daemon, or is left of it.

    :param daemons: number and birth of it, or of all that it may have been.
    :param directories: those of its cgroup.
    """

    def __init__(self, daemons: Collection[tuple[int, int]], directories: Collection[str]) -> None:
        self._daemons = daemons
        self._directories = directories
        self._marked: set[tuple[int, int]] = set()

    @property
    def is_here(self) -> bool:
        """Whether this process belongs to it."""
        return any(each.pid == os.getpid() for each in self._all())

    def members(self) -> list[Process]:
        """Return those that are alive, without the daemon itself, and without this process if it is one of them."""
        return [each for each in self._all() if _key(each) not in self._daemons and each.pid != os.getpid()]

    def _all(self) -> list[Process]:
        if not self._directories:
            return [each for each in self._found({each.pid: each for each in process.everything()}) if each.alive]
        looked = [process.look(pid) for directory in self._directories for pid in cgroup.members(directory)]
        return [each for each in looked if each is not None and each.alive]

    def _found(self, everything: dict[int, Process]) -> list[Process]:
        """Return those that bear its mark, and those that did: it can't be seen while a process becomes a program."""
        found = [each for each in everything.values() if _key(each) in self._marked or self._is_marked(each.pid)]
        self._marked.update(map(_key, found))
        return found

    def _is_marked(self, pid: int) -> bool:
        said = mark.read(mark.on(pid) or "")
        return said is not None and said[:2] in self._daemons

    def remaining(self) -> list[Process]:
        """Return those that are to be ended by now."""
        return self.members()

    def deliver(self, to: Process, signum: int) -> None:
        """Send one of them a signal."""
        at_once = signum == signal.SIGKILL and bool(self._directories) and not self.is_here
        if not (at_once and all(map(cgroup.kill, self._directories))):
            stopping.deliver(to, signum)

    def clear_up(self) -> None:
        """Take away the cgroup that has no members any more, and those that others have left beside it."""
        for directory in self._directories:
            cgroup.remove_empty(os.path.dirname(directory))


class BelongingToRunning(Belonging):
    """What belongs to a daemon that runs: that is known, so all that has come from it can be told.

    :param own_session: whether it is in a session of its own.
    :param is_supervisor: whether it ends by itself what belongs to it.
    """

    def __init__(self, daemon: Process, directories: Collection[str], own_session: bool, is_supervisor: bool) -> None:
        super().__init__([_key(daemon)], directories)
        self._session = daemon.session if own_session else None
        self._is_supervisor = is_supervisor
        # Those that were seen to have come from it go on to, whoever their parent is by now.
        self._family = {_key(daemon)}

    @property
    def is_supervised(self) -> bool:
        """Whether it is a supervisor that runs."""
        ((pid, born),) = self._daemons
        now = process.look(pid) if self._is_supervisor else None
        return now is not None and now.alive and now.born == born

    def remaining(self) -> list[Process]:
        """Return those that are to be ended by now: what a supervisor keeps, the supervisor ends."""
        return [] if self.is_supervised else self.members()

    def _found(self, everything: dict[int, Process]) -> list[Process]:
        family = {each.pid for each in everything.values() if _key(each) in self._family}
        # A session's number is nobody else's as long as one of it is left.
        has_session = any(everything[pid].session == self._session for pid in family)

        def belongs(seen: Process | None) -> bool:
            while seen is not None and seen.pid not in family and not (has_session and seen.session == self._session):
                seen = everything.get(seen.parent)
            return seen is not None

        found = {each.pid: each for each in everything.values() if belongs(each)}
        self._family.update(map(_key, found.values()))
        return [*found.values(), *(each for each in super()._found(everything) if each.pid not in found)]


def _key(seen: Process) -> tuple[int, int]:
    return seen.pid, seen.born


def of_running(daemon: Daemon, target: Target) -> BelongingToRunning:
    """Return what belongs to a daemon that runs."""
    found = daemon.process
    directories = [where for *named, where in cgroup.of_daemons(found.pid) if tuple(named) == _key(found)]
    # One in the foreground is in the session of whoever has typed it; what a start has made leads none, but has one.
    own_session = found.session == found.pid or (not directories and _start_of(target, *_key(found)) is not None)
    past = history.recall(target)
    return BelongingToRunning(found, directories, own_session, past is not None and past.is_of(found))


def _start_of(target: Target, pid: int, born: int) -> dict[str, Any] | None:
    from . import memory

    return memory.start_of(target, pid, born)


def left_by(target: Target) -> Belonging | None:
    """Return what the daemon has left that has ended without taking its pidfile away; ``None`` for nothing.

    Whoever has its session's number by now is not known, nor who has come from it: a process counts by itself.
    """
    pidfile = target.pidfile
    number = control.number_left(pidfile)
    if number is None:
        return None
    births: dict[int, bool] = {}

    def is_meant(pid: int, born: int) -> bool:
        if pid == number and born not in births:
            births[born] = control.was_written_by(pidfile, pid, born)
        return pid == number and births[born]

    now = process.look(number)
    if now is not None and now.alive and is_meant(number, now.born):  # somebody may have started it this very moment
        return None
    directories: set[str] = set()
    for pid in process.numbers():
        directories.update(where for *named, where in cgroup.of_daemons(pid) if is_meant(*named))
        said = mark.read(mark.on(pid) or "")
        if said is not None:
            is_meant(*said[:2])
    daemons = [(number, born) for born, fits in births.items() if fits]
    if not directories and any((_start_of(target, *each) or {}).get("cgroup") for each in daemons):
        return None  # it had one, so what is not there is none of its own
    left = Belonging(daemons, directories)
    return left if left.members() else None
