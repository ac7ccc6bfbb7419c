"""Machines that lack what every other has: a /dev, a /proc, the null device, or a terminal that takes a word."""

from __future__ import annotations

import errno
import os
import signal
from typing import TYPE_CHECKING

import pytest
from place_programs import SUBJECT, is_detached  # noqa: F401 - one is a fixture

from daemonry.control import find_or_left_over
from harness.reaper import through
from harness.waiting import read_json
from pidfile_programs import unshared

if TYPE_CHECKING:
    from harness.daemons import Daemons

pytestmark = pytest.mark.reliability("Full and broken places")
root_only = pytest.mark.root_only("it mounts")


def lives(daemons: Daemons, *mount: str, detach: bool, log: str = "") -> None:
    """Start the subject where something was mounted, see its pidfile, and stop it with the status of any stop."""
    path = daemons.directory / "pid"
    words = ("stderr" if log else "", log, path, "", detach)
    running = daemons.start(SUBJECT, *words, through=(*through(), *mount))
    pid = read_json(daemons.directory / "up")
    assert path.read_text() == f"{pid}\n"
    os.kill(pid, signal.SIGTERM)
    running.wait().check(0)
    assert not path.exists()


def mounted(script: str) -> tuple[str, ...]:
    return (*unshared("--mount"), "sh", "-c", f'{script} && exec "$@"', "sh")


@root_only
def test_a_machine_without_the_null_device_refuses_a_start_that_needs_it_naming_it(daemons: Daemons) -> None:
    without = mounted("mount -t tmpfs none /dev")
    lives(daemons, *without, detach=False)  # its streams stay where they are
    words = ("", "", daemons.directory / "pid", "", True)
    launched = daemons.launch(SUBJECT, *words, through=without).check(1)
    step, number, message = launched.stdout.splitlines()
    # Whoever of witness and daemon is the first.
    assert step in ("detach", "reset_signals", "close_descriptors", "redirect_streams")
    assert int(number) == errno.ENOENT
    assert "No such file or directory: /dev/null" in message
    assert not (daemons.directory / "pid").exists()
    assert daemons.alive() == []


@root_only
@pytest.mark.parametrize(
    "hiding", ["mount -t tmpfs none /proc", "mount -t proc -o hidepid=2 proc /proc"], ids=["none", "hidepid"]
)
def test_without_a_proc_or_with_one_that_hides_processes_a_daemon_lives_as_ever(
    daemons: Daemons, detach: bool, hiding: str
) -> None:
    lives(daemons, *mounted(hiding), detach=detach, log=str(daemons.directory / "log"))
    assert (daemons.directory / "log").read_text() == ""


ASKED = """
    import sys
    from daemonry.control import daemon as control
    from daemonry.pidfile import PIDFileLocked
    from daemonry.pidfile import PIDLockFile
    try:
        PIDLockFile(sys.argv[1]).acquire()
    except PIDFileLocked as error:
        print(error.pid, error)
    try:
        print("found", getattr(control.find(sys.argv[1]), "pid", None))
    except control.ControlError as error:
        print("refused", error)
"""


@root_only
def test_who_may_not_see_the_daemons_process_is_told_that_it_holds_its_pidfile(daemons: Daemons) -> None:
    """That none runs is never said where it can't be seen, and nobody is named who can't be looked at."""
    path = daemons.directory / "pid"
    daemons.start(SUBJECT, "", "", path, "", True).wait().check()
    pid = daemons.survivor()
    hidden = mounted("mount -t proc -o hidepid=2 proc /proc")
    told = daemons.launch(ASKED, path, through=hidden, user="nobody").check().stdout.splitlines()
    unseen = "a process that can't be seen from here (another PID namespace, a container, or hidepid)"
    assert told[0] == f"None cannot lock {path}: held by {unseen}; its file says {pid}"
    assert told[1].startswith(f"refused cannot tell by {path}: it is held by {unseen}; its file says {pid}; ")
    daemons.stop(pid)


@root_only
def test_a_root_directory_with_nothing_in_it_is_enough(daemons: Daemons, detach: bool) -> None:
    """No /dev and no /proc there: all that is needed of them was opened before."""
    jail = daemons.jail()
    path = daemons.directory / "pid"
    running = daemons.start(
        """
        import os, sys
        from daemonry import DaemonContext, PIDLockFile
        from harness.probe import publish
        jail, path, detach = sys.argv[1:]
        with DaemonContext(
            chroot_directory=jail, pidfile=PIDLockFile(path), detach_process=detach == "True", ready="manual",
            signal_map={"TERM": "terminate", "HUP": "reopen_streams"}, umask=0o022,
        ) as context:
            assert not os.path.exists("/dev/null") and not os.path.exists("/proc")
            print("seen by nobody", flush=True)
            context.ready()
            context.reopen_streams()
            publish("/up", os.getpid())
            while True:
                context.wait()
        """,
        jail,
        path,
        detach,
        through=through(),
    )
    pid = read_json(jail / "up")
    assert path.read_text() == f"{pid}\n"
    os.kill(pid, signal.SIGTERM)
    running.wait().check(0)
    assert find_or_left_over(path) == (None, False)  # out of reach from the new root, and marked


@pytest.mark.parametrize(
    ("stream", "status"), [("2>/dev/full", 120), ("2>&-", 1), ("2>&1 | true", 120), ("2</dev/null", 120)]
)
def test_a_start_that_fails_ends_with_a_status_that_says_so_though_nobody_can_be_told(
    daemons: Daemons, stream: str, status: int
) -> None:
    """Standard error is full, closed, a pipe that nobody reads, or only to be read; 120 is Python's word for that."""
    path = daemons.directory / "none" / "pid"
    program = """
        import sys
        from daemonry import DaemonContext, PIDLockFile
        with DaemonContext(pidfile=PIDLockFile(sys.argv[1]), detach_process=True):
            pass
        """
    script = f'{{ "$@"; echo $? >status; }} {stream}'
    daemons.launch(program, path, through=("sh", "-c", script, "sh"), env={"PYTHONUNBUFFERED": None})
    assert (daemons.directory / "status").read_text() == f"{status}\n"
    assert daemons.alive() == []
