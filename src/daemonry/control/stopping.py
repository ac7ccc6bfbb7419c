"""The end of some processes by a schedule: each gets every signal, and what joins them meanwhile gets the last one."""

from __future__ import annotations

import errno
import time

from ..errors import ControlError, StillRunning
from ..system import bare, process
from .schedule import Send, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Union

    from ..system.process import Process
    from .schedule import Item, Schedule

    Deliver = Callable[[Process, int], object]
    Text = Union[str, float, Schedule]


class Others:
    """What is to be ended beside a daemon: nothing. A subclass says what."""

    def remaining(self) -> list[Process]:
        """Return what is left of it and is to be ended by now; asked until that is nothing."""
        return []

    def deliver(self, to: Process, signum: int) -> None:
        """Send one of them a signal."""
        deliver(to, signum)


def end(others: Others, schedule: Text, told: Callable[[Item], object], pidfile: str) -> None:
    """End what a daemon has left, as :meth:`~daemonry.control.Daemon.stop` ends the daemon with it."""
    Stopping(others.remaining, others.deliver, pidfile).follow(parse(schedule), told)


def deliver(to: Process, signum: int) -> None:
    """Send a process a signal, which can't reach another one, and let it go on if it is stopped."""

    def is_meant() -> bool:
        return process.birth_of(to.pid) == to.born

    if process.send_signal(to.pid, signum, is_meant):
        go_on(to)


def go_on(stopped: Process | None) -> None:
    """Let a process go on if it is stopped: no other signal but SIGKILL would be delivered to it."""
    now = process.look(stopped.pid) if stopped is not None else None
    if stopped is not None and now is not None and now.born == stopped.born and now.state in "Tt":
        process.send_signal(now.pid, bare.SIGCONT, lambda: process.birth_of(now.pid) == now.born)


class Stopping:
    """Ends processes.

    :param remaining: returns which of them are alive, and what has joined them; the first is waited for first.
    :param send: sends one of them a signal.
    """

    def __init__(self, remaining: Callable[[], list[Process]], send: Deliver, pidfile: str) -> None:
        self._remaining = remaining
        self._send = send
        self._pidfile = pidfile
        self._signum = 0
        self._told: set[tuple[int, int]] = set()
        self._refused: set[tuple[int, int]] = set()

    def follow(self, schedule: Schedule, told: Callable[[Item], object]) -> None:
        """Do what the schedule says, until none is left.

        :param told: called with each item as it is begun.
        :raises StillRunning: when some are left at its end.
        :raises ControlError: when there are some to whom this user may send no signal; all others have ended.
        """
        left = self._left()
        for item in schedule.items():
            if not left:
                break
            told(item)
            if isinstance(item, Send):
                self._signum = item.signum
                self._told.clear()
                left = self._tell(left)
            else:
                left = self._wait(left, item.seconds)
        self._require_none(left, schedule)

    def _left(self) -> list[Process]:
        return [each for each in self._remaining() if not self._has_refused(each)]

    def _wait(self, left: list[Process], seconds: float) -> list[Process]:
        deadline = time.monotonic() + seconds
        in_time = True
        while left and in_time:
            in_time = process.wait_for_exit(left[0].pid, max(0.0, deadline - time.monotonic()), left[0].born)
            left = self._tell(self._left())
        return left

    def _tell(self, left: list[Process]) -> list[Process]:
        """Send the signal to those who have not had it; return those who could be sent one."""
        for each in left:
            key = (each.pid, each.born)
            if self._signum and key not in self._told:
                self._told.add(key)
                try:
                    self._send(each, self._signum)
                except PermissionError:
                    self._refused.add(key)
        return [each for each in left if not self._has_refused(each)]

    def _require_none(self, left: list[Process], schedule: Schedule) -> None:
        if left:
            runs = "still runs" if len(left) == 1 else "still run"
            message = f"{', '.join(map(str, left))} {runs} after {schedule}"
            raise StillRunning(errno.ETIMEDOUT, message, self._pidfile, left[0].pid)
        refused = [each for each in (self._remaining() if self._refused else ()) if self._has_refused(each)]
        if refused:
            message = f"cannot end {', '.join(map(str, refused))}: another user's; ask as that user, or as root"
            raise ControlError(errno.EPERM, message, self._pidfile, refused[0].pid)

    def _has_refused(self, each: Process) -> bool:
        return (each.pid, each.born) in self._refused
