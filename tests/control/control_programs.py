"""Daemons and strangers that the tests of the control start, and how they ask after them."""

from __future__ import annotations

import os
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from daemonry.control import daemon as control
from daemonry.pidfile import kernel_lock
from harness.probe import facts_of, status_of
from harness.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from harness.daemons import Daemons

# Runs with the pidfile of its first argument until SIGTERM.
DAEMON = """
    import sys
    from daemonry import DaemonContext
    from daemonry.pidfile import PIDLockFile
    with DaemonContext(pidfile=PIDLockFile(sys.argv[1])) as context:
        while not context.wait(60):
            pass
"""

# The same, deaf to SIGTERM.
DEAF = DAEMON.replace("sys.argv[1])", 'sys.argv[1]), signal_map={"TERM": None}')

# Writes the names of the signals that it gets to its second file; SIGTERM ends it.
TELLING = """
    import signal, sys
    from daemonry import DaemonContext
    from daemonry.pidfile import PIDLockFile
    def tell(number, frame):
        with open(sys.argv[1] + ".told", "a") as file:
            file.write(signal.Signals(number).name + " ")
    signal_map = {name: tell for name in ("HUP", "USR1", "USR2", "INT")}
    signal_map["TERM"] = "terminate"
    with DaemonContext(pidfile=PIDLockFile(sys.argv[1]), signal_map=signal_map) as context:
        while not context.wait(60):
            pass
"""

# Takes the pidfile of its first argument, and becomes the program of its other arguments.
BECOME = """
    import os, sys
    from daemonry.pidfile import PIDLockFile
    PIDLockFile(sys.argv[1]).acquire()
    os.execv(sys.argv[2], sys.argv[2:])
"""

# What a program is preceded by on a system without pidfds.
WAYS = {"pidfd": "", "portable": "import os; del os.pidfd_open"}


def started(daemons: Daemons, path: object, program: str = DAEMON) -> control.Daemon:
    """Start a daemon with a pidfile, and answer it as it is found."""
    daemons.launch(program, path).check()
    found = control.find(str(path))
    assert found is not None
    return found


def told(path: Path) -> str:
    """Return the signals that ``TELLING`` has got by now."""
    file = path.with_name(f"{path.name}.told")
    return file.read_text() if file.exists() else ""


# Fixtures; a test file gets them by importing them.


@pytest.fixture(name="path")
def path_of_pidfile(tmp_path: Path) -> Path:
    """Where a test has its pidfile."""
    return tmp_path / "test.pid"


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that says two things is looked at again for half a second: too long for some hundred that won't change."""
    monkeypatch.setattr(control, "_CHANGING", 0.01)
    monkeypatch.setattr(control, "_MOST_DOUBTS", 2)


@pytest.fixture(name="stranger")
def sleeping_stranger() -> Iterator[int]:
    """A process that any signal would end; after the test it is still there, and runs."""
    with sleeping() as pid:
        yield pid


@contextmanager
def sleeping() -> Iterator[int]:
    """A process that any signal would end; in the end it is still there, and runs."""
    with subprocess.Popen(["/bin/sleep", "1000"], start_new_session=True) as running:
        wait_for(lambda: facts_of(running.pid).comm == "sleep", what="it is the program")
        yield running.pid
        # It may not yet have come to sleep when a short test is over.
        state = wait_for(lambda: status_of(running.pid)["State"][0].strip("RD"), what="it sleeps or has ended")
        running.kill()
    assert state == "S"


def stop_by(path: object) -> control.Daemon | None:
    """Do what a program does that stops a daemon by its pidfile, with all that it can be stopped by."""
    found = control.find(path)
    if found is not None:
        assert found.pid not in (1, os.getpid(), os.getppid()), "this would end the tests, or more"
        found.stop("TERM/0.1/KILL/5")
    return found


def refused(path: Path, reason: str) -> control.ControlError:
    """Expect that the daemon is not told, with the path, the reason and what to do."""
    begun = time.monotonic()
    with pytest.raises(control.ControlError, match=f"^cannot tell by {path}: .*{reason}") as caught:
        stop_by(path)
    assert time.monotonic() - begun < 5
    assert caught.value.pidfile == str(path)
    assert caught.value.pid is None
    assert any(advice in str(caught.value) for advice in ("remove it", "lslocks(8)", "the right path"))
    return caught.value


def locked(path: Path) -> int:
    """Lock the file as somebody who is not named in it."""
    fd = os.open(path, os.O_RDWR)
    assert kernel_lock.try_lock(fd)
    return fd
