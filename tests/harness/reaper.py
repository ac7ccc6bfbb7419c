"""How a detached daemon ended: a program's parent that inherits its daemon too, as init would.

``through(...)`` stands before the command of ``Daemons.start``; ``Running.wait`` then waits for the daemon as well,
and answers its status, or the program's own when it leaves nothing behind.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_CHILD_SUBREAPER = 36


def through(*more: str) -> tuple[str, ...]:
    """Return the words that put this program before a command, and what else shall stand between the two."""
    return (sys.executable, "-I", "-S", os.path.abspath(__file__), *more)


def run(command: list[str]) -> int:
    """Run a command and answer the wait status of the last process to end of those that it left, or its own."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    first = os.fork()
    if first == 0:
        os.execvp(command[0], command)
    ended: dict[bool, int] = {}
    while True:
        try:
            pid, status = os.wait()
        except ChildProcessError:
            return ended.get(False, ended[True])
        # A short-lived daemon may end before its launcher does.
        ended[pid == first] = status


def _end_like(status: int) -> None:
    if os.WIFSIGNALED(status):
        if os.WTERMSIG(status) != signal.SIGKILL:
            signal.signal(os.WTERMSIG(status), signal.SIG_DFL)
        os.kill(os.getpid(), os.WTERMSIG(status))
    os._exit(os.WEXITSTATUS(status))


if __name__ == "__main__":
    _end_like(run(sys.argv[1:]))
