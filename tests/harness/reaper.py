"""How a detached daemon ended: a program's parent that inherits its daemon too, as init would.

``through(...)`` stands before the command of ``Daemons.start``; ``Running.wait`` then waits for the daemon as well,
and answers the status of whichever process ended last.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_CHILD_SUBREAPER = 36


def through(*more: str) -> tuple[str, ...]:
    """Answer the words that put this program before a command, and what else shall stand between the two."""
    return (sys.executable, "-I", "-S", os.path.abspath(__file__), *more)


def last_status(command: list[str]) -> int:
    """Run a command and answer the wait status of the last process to end of all that it has left."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    if os.fork() == 0:
        os.execvp(command[0], command)
    status = 0
    while True:
        try:
            status = os.wait()[1]
        except ChildProcessError:
            return status


def _end_like(status: int) -> None:
    if os.WIFSIGNALED(status):
        if os.WTERMSIG(status) != signal.SIGKILL:
            signal.signal(os.WTERMSIG(status), signal.SIG_DFL)
        os.kill(os.getpid(), os.WTERMSIG(status))
    os._exit(os.WEXITSTATUS(status))


if __name__ == "__main__":
    _end_like(last_status(sys.argv[1:]))
