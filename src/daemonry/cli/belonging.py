"""What belongs to a daemon: the processes of its cgroup; where it has none, those that bear its mark, those of its
session and their descendants.
"""

from __future__ import annotations

import os
import signal

from ..control import daemon as control
from ..control import stopping
from ..system import process
from . import cgroup, mark

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..control.daemon import Daemon
    from ..system.process import Process


class Belonging(stopping.Others):
    """What belongs to one daemon.

    :param text: its mark, and ``directory``, that of its cgroup.
    """

    def __init__(self, text: str, directory: str | None) -> None:
        self._mark = text
        self._pid, self._born, self._session = mark.read(text) or (0, 0, 0)
        self._directory = directory
        self._known: set[tuple[int, int]] = set()

    @property
    def has_ended(self) -> bool:
        """Whether the daemon itself has."""
        now = process.look(self._pid)
        return now is None or not now.alive or now.born != self._born

    @property
    def is_supervised(self) -> bool:
        """Whether the daemon is a supervisor, which ends by itself what belongs to it."""
        # It has started what bears its mark, and bears none itself.
        return not self.has_ended and mark.on(self._pid) != self._mark

    @property
    def is_here(self) -> bool:
        """Whether this process belongs to it."""
        in_group = self._directory is not None and cgroup.of_daemon(os.getpid(), self._mark) is not None
        return in_group or os.environ.get(mark.VARIABLE) == self._mark

    def members(self) -> list[Process]:
        """Return those that are alive, without the daemon itself, and without this process if it is one of them."""
        found = self._marked() if self._directory is None else self._in_cgroup(self._directory)
        return [each for each in found if each.pid not in (self._pid, os.getpid())]

    def _in_cgroup(self, directory: str) -> list[Process]:
        looked = map(process.look, cgroup.members(directory))
        return [each for each in looked if each is not None and each.alive]

    def _marked(self) -> list[Process]:
        everything = {each.pid: each for each in process.everything()}
        # Those that were seen to belong to it go on to, whoever their parent is by now.
        sure = {
            each.pid
            for each in everything.values()
            if (each.pid, each.born) in self._known or mark.on(each.pid) == self._mark
        }
        # A session's number is nobody else's as long as one of it is left.
        has_session = any(everything[pid].session == self._session for pid in sure)

        def belongs(seen: Process | None) -> bool:
            while seen is not None and seen.pid not in sure and not (has_session and seen.session == self._session):
                seen = everything.get(seen.parent)
            return seen is not None

        found = [each for each in everything.values() if each.alive and belongs(each)]
        self._known.update((each.pid, each.born) for each in found)
        return found

    def remaining(self) -> list[Process]:
        """Return those that are to be ended by now: what a supervisor keeps, the supervisor ends."""
        return [] if self.is_supervised else self.members()

    def deliver(self, to: Process, signum: int) -> None:
        """Send one of them a signal."""
        at_once = signum == signal.SIGKILL and self._directory is not None and not self.is_here
        if not (at_once and cgroup.kill(self._directory or "")):
            stopping.deliver(to, signum)

    def clear_up(self) -> None:
        """Take away the cgroup that has no members any more, and those that others have left beside it."""
        if self._directory is not None:
            cgroup.remove_empty(os.path.dirname(self._directory))


def of_running(daemon: Daemon) -> Belonging:
    """Return what belongs to a daemon that runs."""
    found = daemon.process
    text = mark.written(found.pid, found.born, found.session)
    return Belonging(text, cgroup.of_daemon(found.pid, text))


def left_by(pidfile: str) -> Belonging | None:
    """Return what the daemon has left that has ended without taking its pidfile away; ``None`` for nothing."""
    number = control.number_left(pidfile)
    if number is None:
        return None
    refuted: set[str] = set()
    for pid in (each.pid for each in process.everything() if each.alive):
        for text, born in _marks_of(pid, number):
            if text not in refuted and control.was_written_by(pidfile, number, born):
                left = Belonging(text, cgroup.of_daemon(pid, text))
                # Somebody may have started it this very moment.
                return left if left.has_ended and left.members() else None
            refuted.add(text)
    return None


def _marks_of(pid: int, number: int) -> Iterator[tuple[str, int]]:
    """Yield the marks, each with its birth, by which a process is known to belong to daemons of this number."""
    for text in (mark.on(pid) or "", *cgroup.marks_of(pid)):
        said = mark.read(text)
        if said is not None and said[0] == number:
            yield text, said[1]
