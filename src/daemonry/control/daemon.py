"""Control of daemons: is it running? Stop it, reload it, wait for it, by its pidfile and never by a number alone."""

from __future__ import annotations

import errno
import os
import time

from ..errors import ControlError, NotRunning, StillRunning
from ..pidfile import seal
from ..pidfile.reading import Holder, fault_of, has_ended_in_order, holder_of, is_number_alone, opened, pid_in
from ..system import bare, expected, process
from ..system.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from os import PathLike
    from typing import Any, Union

    from ..pidfile.reading import Place
    from .schedule import Item, Schedule
    from .stopping import Others

    AnyPath = Union[str, bytes, PathLike[str], PathLike[bytes]]

__all__ = [
    "ControlError",
    "Daemon",
    "NotRunning",
    "StillRunning",
    "find",
    "find_or_left_over",
    "find_surely",
    "number_left",
    "remove_left_over",
    "was_written_by",
]

DEFAULT_SCHEDULE = "TERM/30/KILL/5"
# Seconds for which a file that says two things is asked again: a starter takes a dead daemon's file away, or publishes
# its own by a second name.
_CHANGING = 0.5
_MOST_DOUBTS = 20
_PAUSE = 0.005


def find(pidfile: AnyPath | Any) -> Daemon | None:
    """Return the running daemon whose pidfile this is, or ``None`` when none runs.

    It is the one whose seal the file bears, or that has both its number in the file and the kernel's lock for writing
    on it; the number alone is anybody's. Asking takes nothing: it never makes a daemon that starts fail.

    :param pidfile: a path, or a lock that has a ``path``.
    :raises ControlError: when the file does not tell: a stranger may have written it (a link, another owner, others may
        write to it), it is no regular file, it can't be read, or its holder can't be seen from here, or is not the one
        that it names.

    Source: the FHS, 3.15 (/run); systemd.service(5), PIDFile=; start-stop-daemon(8), ``--pidfile``.
    """
    return _looked_at(_path_of(pidfile)).daemon


class _Look(Record):
    """What one look at a pidfile has shown.

    ``lasting`` is whether another look can't change the doubt, ``supposed`` who may have written it, ``left`` whether
    it is there, and nobody holds it, and its daemon has not ended in order.
    """

    daemon: Daemon | None = None
    doubt: str | None = None
    lasting: bool = False
    supposed: process.Process | None = None
    left: bool = False


def _looked_at(path: str) -> _Look:
    doubts = 0
    begun = time.monotonic()
    while True:
        found = _look(path)
        if found.doubt is None:
            return found
        doubts += 1
        # Counted as well as timed: one who asks on a loaded machine may have slept between two looks.
        if found.lasting or (doubts >= _MOST_DOUBTS and time.monotonic() - begun > _CHANGING):
            raise _refusal(path, found.doubt)
        time.sleep(_PAUSE)


def _refusal(path: str, reason: str, number: int | None = errno.EPERM, pid: int | None = None) -> ControlError:
    return ControlError(number, f"cannot tell by {path}: {reason}", path, pid)


def _path_of(pidfile: AnyPath | Any) -> str:
    path = os.fsdecode(getattr(pidfile, "path", pidfile))
    try:
        return os.path.abspath(path)
    except OSError as error:
        reason = f"the working directory, where it would lie, can't be found: {error.strerror}; give the whole path"
        raise _refusal(path, reason, error.errno) from error


def _look(path: str) -> _Look:
    try:
        with opened(path) as found:
            return _Look() if found is None else _look_at(*found)
    except OSError as error:
        # What keeps anybody from reading it keeps them from telling. The pidfile's own error has a reason, with advice.
        raise _refusal(path, getattr(error, "reason", str(error.strerror)), error.errno) from error


def _look_at(place: Place, fd: int) -> _Look:
    fault = fault_of(fd, "ask as its owner, or look at it and remove it")
    if fault:
        return _Look(doubt=fault, lasting=os.fstat(fd).st_nlink == 1)
    holder = holder_of(fd, place)
    if holder is None:
        return _Look(left=not has_ended_in_order(fd, place))
    if holder.process is not None and holder.certain:
        return _Look(daemon=Daemon(pidfile=place.path, process=holder.process))
    if holder.locker is not None or holder.process is None:
        return _Look(doubt=_doubt_of(holder))
    return _Look(supposed=holder.process, left=True)


def _doubt_of(holder: Holder) -> str:
    if holder.is_unseen:
        return f"it is held by {holder}; ask where that one can be seen"
    named = None if holder.number is None else process.look(holder.number) or holder.number
    return f"it is locked, but not by {named or 'a process that it names'}; see lslocks(8), lsof(8)"


class Daemon(Record):
    """A running daemon, as :func:`find` found it.

    :ivar pidfile: ``str``, the pidfile that it was found by.
    :ivar process: :class:`~daemonry.system.process.Process`, what the system said of it then: ``pid``, ``name``,
        ``state``, ``parent``, ``group``, ``session``, ``started``.
    """

    pidfile: str
    process: process.Process

    @property
    def pid(self) -> int:
        """Its number."""
        return self.process.pid

    @property
    def started(self) -> float:
        """When it was started, in seconds since the epoch."""
        return self.process.started

    @property
    def is_running(self) -> bool:
        """Whether it still runs, be it without its pidfile."""
        now = process.look(self.pid)
        return now is not None and now.alive and now.born == self.process.born

    def signal(self, signum: int) -> None:
        """Send it a signal, if the pidfile still is its own; the signal can't reach another process.

        :raises NotRunning: when it has ended, or another one has its pidfile by now.
        :raises ControlError: when this user may not.
        """
        if not self._send(signum, by_pidfile=True):
            state = f"runs, but {self.pidfile} is not its own any more" if self.is_running else "has ended"
            raise NotRunning(errno.ESRCH, f"{self.process} {state}", self.pidfile, self.pid)

    def reload(self) -> None:
        """Send it SIGHUP, on which a daemon reads its configuration again, and reopens its logs; see daemon(7).

        :raises NotRunning: as :meth:`signal` does.
        :raises ControlError: also when it has no handler for SIGHUP, which would end it; nothing is sent then.
        """
        if expected.expects(self.pid, bare.SIGNALS["SIGHUP"]) is False and self._is_still_found():
            message = (
                f"{self.process} has no handler for SIGHUP, which would end it or do nothing; give it one, send it the "
                "signal on which it does read its configuration again, or restart it"
            )
            raise ControlError(None, message, self.pidfile, self.pid)
        self.signal(bare.SIGNALS["SIGHUP"])

    def stop(
        self,
        schedule: str | float | Schedule = DEFAULT_SCHEDULE,
        told: Callable[[Item], object] | None = None,
        others: Others | None = None,
    ) -> None:
        """End it, and return as soon as it has ended; at once when it has ended before.

        :param schedule: the signals to send, and the seconds to wait after each, as start-stop-daemon(8) writes them; a
            number of seconds means ``TERM``, that time, ``KILL``, that time.
        :param told: called with each item of the schedule as it is begun.
        :param others: what is to be ended with it, by the same schedule.
        :raises ValueError: for a schedule that says nothing.
        :raises StillRunning: when it, or one of the others, runs at the schedule's end.
        :raises ControlError: when this user may not.
        """
        from .schedule import parse
        from .stopping import Others, Stopping, go_on

        whole = others or Others()
        told_once = False

        def send(to: process.Process, signum: int) -> None:
            nonlocal told_once
            if to is not self.process:
                whole.deliver(to, signum)
                return
            self._send(signum, by_pidfile=not told_once)
            # It may have given its pidfile back by now, and hang in what it does after that.
            told_once = True
            go_on(to)

        def remaining() -> list[process.Process]:
            return [*([self.process] if self.is_running else ()), *whole.remaining()]

        Stopping(remaining, send, self.pidfile).follow(parse(schedule), told or bool)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it has ended; return whether it has. Wakes at its exit.

        :param timeout: seconds to wait; ``None`` for ever.
        """
        return process.wait_for_exit(self.pid, timeout, self.process.born)

    def _send(self, signum: int, by_pidfile: bool) -> bool:
        try:
            return process.send_signal(
                self.pid, signum, lambda: self._is_still_found() if by_pidfile else self.is_running
            )
        except PermissionError as error:
            from ..steps.signals import name_of

            message = (
                f"cannot send {name_of(signum)} to {self.process}: it is another user's; ask as that user, or as root"
            )
            raise ControlError(error.errno, message, self.pidfile, self.pid) from error

    def _is_still_found(self) -> bool:
        found = find(self.pidfile)
        return found is not None and (found.pid, found.process.born) == (self.pid, self.process.born)


def find_surely(pidfile: AnyPath | Any) -> Daemon | None:
    """Return what :func:`find` answers, but refuse to say that none runs when there is a doubt of it.

    :raises ControlError: also when the file names a living process, and neither lock nor seal shows that it is the
        daemon: it may be a daemon of another make, or a stranger who has got its number.
    """
    return _surely(_path_of(pidfile)).daemon


def find_or_left_over(pidfile: AnyPath | Any) -> tuple[Daemon | None, bool]:
    """Return what :func:`find_surely` returns, and whether a pidfile is left of a daemon that has not ended in order.

    :raises ControlError: as :func:`find_surely`.
    """
    found = _surely(_path_of(pidfile))
    return found.daemon, found.left


def _surely(path: str) -> _Look:
    found = _looked_at(path)
    if found.supposed is not None:
        # Whoever it is may begin to write it just now.
        found = _looked_at(path)
    if found.supposed is not None:
        reason = f"it names {found.supposed}, and nothing shows that this is the daemon; if it is not, remove the file"
        raise _refusal(path, reason, pid=found.supposed.pid)
    return found


def number_left(pidfile: AnyPath | Any) -> int | None:
    """Return which number is in the pidfile, be its process alive or not; ``None`` for none, or where there is no file.

    :raises OSError: when it can't be read.
    """
    with opened(_path_of(pidfile)) as found:
        return None if found is None or fault_of(found[1], "") else pid_in(found[1])


def was_written_by(pidfile: AnyPath | Any, pid: int, born: int) -> bool:
    """Whether the pidfile bears the seal of this process, which may have ended.

    :param born: what :class:`~daemonry.system.process.Process` says of its birth.
    :raises OSError: when it can't be read.
    """
    with opened(_path_of(pidfile)) as found:
        writer = process.Process(**{**process.unseen(pid).fields(), "born": born})
        return found is not None and seal.fits(os.fstat(found[1]), writer, found[0].sealed_as)


def remove_left_over(pidfile: AnyPath | Any) -> bool:
    """Take away the pidfile of a daemon that has ended; return whether there is none any more.

    A file that holds anything but the number of a process stays: it may be the wrong path.

    :param pidfile: a path, or a lock that has a ``path``.
    :raises lockfile.LockFailed: when the file can't be used.
    """
    from ..pidfile import on_disk

    path = _path_of(pidfile)
    with opened(path) as found:
        if found is not None and not is_number_alone(found[1]):
            return False
    with on_disk.directory_of(path) as place:
        return on_disk.clear(place, lambda holder: False) is None
