"""The processes of a run as their reaper sees them."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
from pathlib import Path

from faults.fork_server import ForkServer
from harness.waiting import describe, ends, is_alive, wait_for

_PR_SET_CHILD_SUBREAPER = 36

_server: ForkServer | None = None
"""One for as long as this process works."""


def become_reaper() -> None:
    """Become the parent of every daemon that this process starts: else each would stay a zombie until init looks."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def fork_server() -> ForkServer:
    """Return the process that forks subjects for this one."""
    global _server  # noqa: PLW0603
    if _server is None:
        _server = ForkServer()
    return _server


class Child:
    """A child that is waited for."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.status: int | None = None
        """Its exit status, negative: the signal that ended it; ``None`` as long as it runs."""
        self._pidfd = os.pidfd_open(pid)

    def poll(self) -> int | None:
        """Return its status, without waiting."""
        return self.status if self.status is not None else self._reap(os.WNOHANG)

    def wait(self, seconds: float) -> int | None:
        """Wait for its end; return its status, ``None`` when it runs on."""
        # What strace looks into has ended a moment before it can be waited for.
        return self._reap(0) if ends(self._pidfd, seconds) else None

    def _reap(self, flags: int) -> int | None:
        pid, status = os.waitpid(self.pid, flags)
        if pid:
            self.status = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
        return self.status

    def close(self) -> None:
        """Give back what the object holds."""
        os.close(self._pidfd)


def are_gone() -> bool:
    """Wait for every child that has ended; return whether none is left but the one that forks."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    return not _pids()


def kill_rest() -> tuple[str, ...]:
    """Kill what is left; answer a line on each."""
    left = []
    while not are_gone():
        for pid in _pids():
            left.append(describe(pid))
            os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not any(map(is_alive, _pids())), 40)
    return tuple(left)


def _pids() -> list[int]:
    # Not waited for only: waitpid(2) can't leave out the process that forks, which stays.
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            parent = Path("/proc", name, "stat").read_bytes().rpartition(b")")[2].split()[1]
            if int(parent) == os.getpid() and (_server is None or int(name) != _server.pid):
                found.append(int(name))
    return found
