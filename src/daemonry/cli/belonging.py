"""What belongs to a daemon: the processes of its cgroup; where it has none, those that bear its mark, those of its
session and their descendants.

The mark is a variable of the environment, and says whose number, birth and session it is. It is believed of a daemon
that has ended where the pidfile's seal says the same, so it is never another daemon's that had this number.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress

from .. import control, libc, process, stopping
from . import cgroup

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..control import Daemon
    from ..process import Process

MARK = "DAEMONRY_DAEMON"
_VARIABLE = f"\0{MARK}=".encode()


def mark_of_this_process() -> str | None:
    """Return the mark for all that is started from here, ``None`` where there is no /proc to find it by."""
    if not os.path.exists("/proc/self/stat"):
        return None
    pid = os.getpid()
    return f"{pid}.{process.birth_of(pid)}.{os.getsid(0)}"


def disown() -> None:
    """Let this process, and what it forks, not be taken for a part of the daemon that has started it, if one has."""
    if MARK in os.environ:
        libc.blank_variable(MARK)
        del os.environ[MARK]


class Belonging(stopping.Others):
    """What belongs to one daemon.

    :param mark: its mark, and ``directory``, that of its cgroup.
    """

    def __init__(self, mark: str, directory: str | None) -> None:
        self.pid, self._born, self._session = (int(each) for each in mark.split("."))
        self._mark = mark.encode()
        self._directory = directory
        self._known: set[tuple[int, int]] = set()

    def members(self) -> list[Process]:
        """Return those that are alive, without the daemon itself."""
        found = self._marked() if self._directory is None else self._in_cgroup(self._directory)
        return [each for each in found if (each.pid, each.born) != (self.pid, self._born)]

    def _in_cgroup(self, directory: str) -> list[Process]:
        looked = map(process.look, cgroup.members(directory))
        return [each for each in looked if each is not None and each.alive]

    def _marked(self) -> list[Process]:
        everything = {each.pid: each for each in process.everything()}
        # Those that were seen to belong to it go on to, whoever their parent is by now.
        sure = {
            each.pid
            for each in everything.values()
            if (each.pid, each.born) in self._known or _mark_on(each.pid) == self._mark
        }
        # A session's number is nobody else's as long as one of it is left.
        has_session = any(everything[pid].session == self._session for pid in sure)

        def belongs(pid: int) -> bool:
            seen = everything.get(pid)
            while seen is not None and seen.pid not in sure and not (has_session and seen.session == self._session):
                seen = everything.get(seen.parent)
            return seen is not None

        found = [each for each in everything.values() if each.alive and belongs(each.pid)]
        self._known.update((each.pid, each.born) for each in found)
        return found

    def remaining(self) -> list[Process]:
        """Return those that are to be ended by now: what a supervisor keeps, the supervisor ends."""
        return [] if self._is_supervised() else self.members()

    def _is_supervised(self) -> bool:
        # A supervisor has started what bears its mark, and bears none itself.
        now = process.look(self.pid)
        return now is not None and now.alive and now.born == self._born and _mark_on(self.pid) != self._mark

    def deliver(self, to: Process, signum: int) -> None:
        """Send one of them a signal."""
        if signum != signal.SIGKILL or self._directory is None or not cgroup.kill(self._directory):
            stopping.deliver(to, signum)

    def clear_up(self) -> None:
        """Take away the cgroup that has no members any more, and those that others have left beside it."""
        if self._directory is not None:
            cgroup.remove_empty(os.path.dirname(self._directory))


def of_running(daemon: Daemon) -> Belonging:
    """Return what belongs to a daemon that runs."""
    found = daemon.process
    mark = f"{found.pid}.{found.born}.{found.session}"
    return Belonging(mark, cgroup.of_daemon(found.pid, mark))


def left_by(pidfile: str) -> Belonging | None:
    """Return what the daemon has left that has ended without taking its pidfile away; ``None`` for nothing."""
    number = control.number_left(pidfile)
    if number is None:
        return None
    refuted: set[str] = set()
    for pid in (each.pid for each in process.everything() if each.alive):
        for mark in {*_marks_on(pid, number)} - refuted:
            if control.was_written_by(pidfile, number, int(mark.split(".")[1])):
                return Belonging(mark, cgroup.of_daemon(pid, mark))
            refuted.add(mark)
    return None


def _marks_on(pid: int, number: int) -> Iterator[str]:
    """Yield the marks of daemons with this number by which a process is known as theirs."""
    for mark in ((_mark_on(pid) or b"").decode("ascii", "replace"), *cgroup.marks_of(pid)):
        words = mark.split(".")
        if len(words) == 3 and words[0] == str(number) and all(each.isascii() and each.isdigit() for each in words):
            yield mark


def _mark_on(pid: int) -> bytes | None:
    data = b""
    with suppress(OSError), open(f"/proc/{pid}/environ", "rb", buffering=0) as file:
        data = b"\0" + file.read()
    _, found, after = data.partition(_VARIABLE)
    return after.partition(b"\0")[0] if found else None
