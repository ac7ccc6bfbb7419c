"""What is known of a daemon at one moment: whether it runs, what runs, and how it ended."""

from __future__ import annotations

import os

from ..control.daemon import find_or_left_over
from ..errors import ControlError
from ..system import process
from ..system.process import Process, content_of
from ..system.record import Record
from .homes import history_beside
from .screen import one_line
from .statuses import IS_DEAD_WITH_PIDFILE, IS_NOT_RUNNING, IS_RUNNING, IS_UNKNOWN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..control.daemon import Daemon
    from .history import Past
    from .homes import Target

RUNNING, RESTARTING, FAILED, STOPPED, UNKNOWN = "running", "restarting", "failed", "stopped", "unknown"
_LAST_LINES = 5
_MOST = 65_536


class Sight(Record):
    """A daemon at one moment.

    :ivar status: ``int``, of ``daemonry status``.
    :ivar word: ``str``, its state.
    :ivar daemon: who holds the pidfile: the program itself, or its supervisor.
    :ivar program: the program that runs.
    :ivar past: what its supervisor has seen; ``None`` without one.
    :ivar reason: ``str``, why it has failed, or can't be told of.
    """

    target: Target
    status: int
    word: str
    daemon: Daemon | None = None
    program: Process | None = None
    past: Past | None = None
    reason: str | None = None

    @property
    def supervisor(self) -> Process | None:
        """The supervisor, if one holds the pidfile."""
        return self.daemon.process if self.daemon is not None and self.past is not None else None


def look_at(target: Target) -> Sight:
    """Return what is known of a daemon now."""
    try:
        daemon, has_left_it = find_or_left_over(target.pidfile)
    except ControlError as error:
        return Sight(target=target, status=IS_UNKNOWN, word=UNKNOWN, reason=str(error))
    past = _past_of(target)
    if daemon is not None:
        return _of_running(target, daemon, past)
    if has_left_it:
        reason = _reason_of_crash(target, past)
        return Sight(target=target, status=IS_DEAD_WITH_PIDFILE, word=FAILED, past=past, reason=reason)
    if past is not None and past.was_given_up:
        reason = f"the program {past.ending}, and was given up"
        return Sight(target=target, status=IS_NOT_RUNNING, word=FAILED, past=past, reason=reason)
    return Sight(target=target, status=IS_NOT_RUNNING, word=STOPPED)


def _past_of(target: Target) -> Past | None:
    if not os.path.lexists(history_beside(target.pidfile)):
        return None
    from . import history

    return history.recall(target)


def _of_running(target: Target, daemon: Daemon, past: Past | None) -> Sight:
    if past is None or not past.is_of(daemon.process):
        return Sight(target=target, status=IS_RUNNING, word=RUNNING, daemon=daemon, program=daemon.process)
    program = past.running_program()
    word = RUNNING if program is not None else RESTARTING
    return Sight(target=target, status=IS_RUNNING, word=word, daemon=daemon, program=program, past=past)


def _reason_of_crash(target: Target, past: Past | None) -> str:
    who = "its supervisor" if past is not None else "it"
    left = "and its pidfile is left"
    if _was_made_before(target.pidfile, process.start_of_system()):
        return f"{who} ended with the system, {left}"
    return f"{who} ended without being stopped, {left}"


def _was_made_before(path: str, moment: float) -> bool:
    try:
        return os.lstat(path).st_ctime < moment
    except OSError:
        return False


def facts_of(sight: Sight) -> dict[str, Any]:
    """Return what is known of a daemon, for programs."""
    program, past, supervisor = sight.program, sight.past, sight.supervisor
    details = details_of(program) if program is not None else Details()
    return {
        "name": sight.target.title,
        "state": sight.word,
        "pid": program.pid if program else None,
        "started": program.started if program else None,
        "program": program.name if program else None,
        "command": details.command or None,
        "user": details.user or None,
        "memory": details.memory,
        "starts": past.starts if past else None,
        "last_end": {"time": past.ended, "how": past.ending} if past and past.ended else None,
        "supervisor": {"pid": supervisor.pid, "started": supervisor.started} if supervisor else None,
        "pidfile": sight.target.pidfile,
        "log": _log_of(sight.target),
        "reason": sight.reason,
    }


def _log_of(target: Target) -> str | None:
    if target.memory is None:
        return target.log
    from . import memory

    return memory.log_of(target)


class Details(Record):
    """What is asked about a running process by who looks at it: ``memory`` in bytes, ``None`` when it isn't known."""

    command: str = ""
    user: str = ""
    memory: int | None = None


def details_of(found: Process) -> Details:
    """Return the command line, the user and the memory in use of a process, as far as they can be seen.

    Source: proc_pid_cmdline(5), proc_pid_status(5); else ps(1).
    """
    try:
        return _details_from_proc(found.pid)
    except OSError:  # no /proc, or it has just ended
        return _details_from_ps(found.pid)


def _details_from_proc(pid: int) -> Details:
    words = os.fsdecode(content_of(f"/proc/{pid}/cmdline", _MOST)).rstrip("\0").split("\0")
    lines = (line.partition(b":") for line in content_of(f"/proc/{pid}/status", _MOST).splitlines())
    fields = {name: value.split() for name, _, value in lines}
    memory = fields.get(b"VmRSS")  # a process that is being ended has none
    return Details(
        command=one_line(" ".join(words)),
        user=_name_of(int(fields[b"Uid"][1])),
        memory=int(memory[0]) * 1024 if memory else None,
    )


def _details_from_ps(pid: int) -> Details:
    import subprocess

    command = ["ps", "-p", str(pid), "-o", "user=", "-o", "rss=", "-o", "args="]
    try:
        answer = subprocess.run(command, capture_output=True, encoding="utf-8", errors="backslashreplace", check=False)
        user, memory, words = answer.stdout.strip().split(None, 2)
    except (OSError, ValueError):  # there is no ps either, or the process has ended
        return Details()
    return Details(command=one_line(words), user=user, memory=int(memory) * 1024)


def _name_of(uid: int) -> str:
    from ..steps import accounts

    return accounts.user_name(uid).partition(" (")[0]
