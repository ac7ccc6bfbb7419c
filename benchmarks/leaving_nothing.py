"""Nothing outlives a run: every process that comes of it is below this one, and ends with it.

Daemons are made to escape from their parents. Here they become this process's children when they do
(PR_SET_CHILD_SUBREAPER), and their bodies wait for an end of file that comes with this process's end, should it be
killed itself.
"""

from __future__ import annotations

import ctypes
import os
import signal
from contextlib import suppress
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36


def adopt_daemons() -> None:
    """Become the parent of every process below that loses its own. prctl(2)."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def end_by_signals() -> None:
    """Let SIGTERM and SIGHUP end this program as SIGINT does: by an exception."""

    def end(signum: int, _frame: object) -> None:
        raise SystemExit(128 + signum)

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGHUP, end)


def end_all() -> None:
    """Kill every process below this one, and wait for it."""
    while reap():
        for pid in descendants():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def wait_for_all() -> None:
    """Wait until every process below this one has ended by itself."""
    with suppress(ChildProcessError):
        while True:
            os.wait()


def wait_for(child: int) -> int:
    """Wait for a child, and as init would for whoever else ends meanwhile: a command that stops it must see it gone.

    Return the child's exit status; negative for a signal.
    """
    while True:
        pid, status = os.wait()
        if pid == child:
            return os.waitstatus_to_exitcode(status)


def reap() -> bool:
    """Wait for what has ended; return whether any child is left."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return True


def descendants() -> list[int]:
    """Return the numbers of all processes below this one, zombies too."""
    parents = dict(filter(None, map(_parent_of, Path("/proc").iterdir())))
    own = os.getpid()

    def is_below(pid: int) -> bool:
        while pid in parents and pid != own:
            pid = parents[pid]
        return pid == own

    return [pid for pid in parents if pid != own and is_below(pid)]


def _parent_of(entry: Path) -> tuple[int, int] | None:
    if not entry.name.isdigit():
        return None
    try:
        fields = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:  # it has ended
        return None
    return int(entry.name), int(fields[1])
