"""What a supervisor has seen of its program, kept beside the pidfile for who asks, also when both have ended.

A text of lines, and not JSON, whose module costs who asks in a loop more than all else. The supervisor may have become
another user by then, who could write anything there: nothing in it is believed that matters to others than that user.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress

from ..system import process
from ..system.record import Record
from ..system.safe_path import at_directory
from . import trusted
from .homes import history_beside
from .screen import one_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .homes import Target

# Stages of a supervisor.
STARTING = "starting"
UP = "up"
GIVEN_UP = "given up"
OVER = "over"
_FIRST = "stage "
_WRITING = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Past(Record):
    """What is known of a supervisor and its program.

    :ivar stage: ``str``, one of :data:`STARTING`, :data:`UP`, :data:`GIVEN_UP`, :data:`OVER`.
    :ivar supervisor: ``int``, its number, and ``supervisor_born``, as
        :class:`~daemonry.system.process.Process` says it.
    :ivar program: ``int``, the number of the program that runs, ``0`` for none, and ``program_born``; ``0`` where the
        supervisor could not see it, as from inside another root that has no ``/proc``.
    :ivar starts: ``int``, how often the program was started.
    :ivar ended: ``float``, when it has last ended, in seconds since the epoch, ``0.0`` for never, and ``ending``, how.
    """

    stage: str = STARTING
    supervisor: int = 0
    supervisor_born: int = 0
    program: int = 0
    program_born: int = 0
    starts: int = 0
    ended: float = 0.0
    ending: str = ""

    def is_of(self, holder: process.Process) -> bool:
        """Whether it is that of the process that holds the pidfile."""
        return (self.supervisor, self.supervisor_born) == (holder.pid, holder.born)

    @property
    def was_given_up(self) -> bool:
        """Whether the supervisor has ended because the program failed too often."""
        return self.stage == GIVEN_UP

    @property
    def is_supervised(self) -> bool:
        """Whether the supervisor runs."""
        found = process.look(self.supervisor)
        return found is not None and found.alive and self.is_of(found)

    def running_program(self) -> process.Process | None:
        """Return the program, if it runs below the supervisor, and not whatever has its number."""
        found = process.look(self.program) if self.program else None
        if found is None or not found.alive or self.program_born not in (0, found.born):
            return None
        above = process.look(found.parent)  # the guard
        return found if above is not None and self.supervisor in (above.pid, above.parent) else None


class History:
    """The supervisor's half: it writes. What has no pidfile has no history either."""

    def __init__(self) -> None:
        self._fd: int | None = None
        self._past = Past()
        self._longest = 0

    def open(self, path: str) -> None:
        """Begin a new one, in the place of the last, for this process.

        :raises OSError: when that can't be, or another file lies there.
        """
        _remove(path, of_whomever=True)
        above, name = os.path.split(path)
        with at_directory(above) as directory:
            self._fd = os.open(name, _WRITING, 0o644, dir_fd=directory)
        os.fchmod(self._fd, 0o644)
        own = process.look(os.getpid())
        self.note(supervisor=os.getpid(), supervisor_born=own.born if own is not None else 0)

    def note(self, **known: object) -> None:
        """Write what is known by now. A full disk must not end a supervisor: it is written the next time."""
        self._past = Past(**{**self._past.fields(), **known})
        text = "".join(f"{name} {value}\n" for name, value in self._past.fields().items())
        data = text.encode()
        self._longest = max(self._longest, len(data))
        with suppress(OSError):
            if self._fd is not None:
                # As one piece over all that was there, so that who reads finds no rest of it.
                os.pwrite(self._fd, data.ljust(self._longest, b"\n"), 0)

    def note_start(self, pid: int) -> None:
        """Write that the program has been started."""
        found = process.look(pid)
        self.note(program=pid, program_born=found.born if found is not None else 0, starts=self._past.starts + 1)

    def note_end(self, ending: str) -> None:
        """Write that the program has ended, and how."""
        self.note(program=0, ended=round(time.time(), 2), ending=ending)

    def note_over(self) -> None:
        """Write that the supervisor ends as it was asked to, or as its program has; what was given up stays that."""
        if self._past.stage == UP:
            self.note(stage=OVER)


def forget(target: Target) -> None:
    """Take the history away, of one that has been stopped or is started anew."""
    _remove(history_beside(target.pidfile))


def _remove(path: str, of_whomever: bool = False) -> None:
    """Remove what a supervisor has written that has ended, and nothing else that has this name."""
    with suppress(OSError, ValueError):
        past = _past_in((trusted.bytes_of(path, directory_counts=False) or b"").decode())
        if past is not None and (of_whomever or not past.is_supervised):
            above, name = os.path.split(path)
            with at_directory(above) as directory:
                os.unlink(name, dir_fd=directory)


def recall(target: Target) -> Past | None:
    """Return what the last supervisor has written; ``None`` when that is nothing, or is not to be believed."""
    try:
        data = trusted.bytes_of(history_beside(target.pidfile), directory_counts=False)
        return _past_in((data or b"").decode())
    except (OSError, ValueError):
        return None


def _past_in(text: str) -> Past | None:
    if not text.startswith(_FIRST):
        return None
    lines = dict(line.partition(" ")[::2] for line in text.splitlines() if line)
    kinds: dict[str, Callable[[str], Any]] = {"stage": str, "ending": one_line, "ended": _moment}
    return Past(**{name: kinds.get(name, int)(lines[name]) for name in Past().fields() if name in lines})


def _moment(text: str) -> float:
    if not 0 <= float(text) <= time.time() + 1:
        raise ValueError(text)
    return float(text)
