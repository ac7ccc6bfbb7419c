"""Programs that the tests of the pidfile start, and what they are started through."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from harness.probe import facts_of
from harness.waiting import wait_for

if TYPE_CHECKING:
    from harness.daemons import Daemons, Running
    from harness.probe import Descriptor

# Holds the pidfile of its first argument until SIGTERM, which it leaves the block by.
HOLD = """
    import os, signal, sys
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    from daemonry.pidfile import PIDLockFile
    with PIDLockFile(sys.argv[1]):
        print("held", flush=True)
        signal.sigwait([signal.SIGTERM])
"""

# Takes and releases the pidfile of its first argument, and prints whether it could.
TRY = """
    import sys
    from daemonry.pidfile import PIDLockFile
    with PIDLockFile(sys.argv[1]) as lock:
        assert lock.i_am_locking() and lock.read_pid() is not None
    print("taken")
"""


def said(running: Running, text: str) -> None:
    """Wait until a program has said a text; fail with what it has said instead when it ends before."""

    def it_has() -> bool:
        if text not in running.stdout and running.process.poll() is not None:
            raise AssertionError(f"it has ended and not said {text!r}\n{running.stdout}{running.stderr}")
        return text in running.stdout

    wait_for(it_has, what=f"the program says {text!r}")


def hold(daemons: Daemons, path: object, program: str = HOLD, **options: Any) -> Running:
    """Start a program that takes the pidfile; return it when it holds it."""
    running = daemons.start(program, path, **options)
    said(running, "held")
    return running


def unshared(*kinds: str) -> tuple[str, ...]:
    """Return the command by which a program gets namespaces of its own; skip where even root may not make them."""
    command = ("unshare", *kinds)
    tried = subprocess.run([*command, "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"no such namespace can be made here: {tried.stderr.strip()}")
    return command


def openings(pid: int, path: str | os.PathLike[str]) -> list[Descriptor]:
    """Return the descriptors by which a process has a file open.

    By the file's identity: one that got its name after it was opened is shown without it in /proc/PID/fd.
    """
    return [each for each in facts_of(pid).descriptors if _is_at(f"/proc/{pid}/fd/{each.number}", path)]


def _is_at(descriptor: str, path: str | os.PathLike[str]) -> bool:
    try:
        return os.path.samestat(os.stat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False
