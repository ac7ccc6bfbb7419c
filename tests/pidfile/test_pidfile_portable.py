"""The pidfile where the system lacks what it likes best; each program under test has taken it away from itself."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from daemonry.pidfile import PIDFileError, PIDLockFile
from pidfile_programs import HOLD, TRY, hold, unshared

if TYPE_CHECKING:
    from pathlib import Path

    from harness.daemons import Daemons

LACKING = {
    "nothing": "",
    "O_TMPFILE": "import os; del os.O_TMPFILE",
    "O_PATH": "import os; del os.O_PATH",
    "open file description locks": "import fcntl; del fcntl.F_OFD_SETLK, fcntl.F_OFD_GETLK",
    "pidfds": "import os; del os.pidfd_open",
    "pidfd_send_signal": "import signal; del signal.pidfd_send_signal",
    "CLOCK_BOOTTIME": "import time; del time.CLOCK_BOOTTIME",
    "all of it": "import fcntl, os, time; del os.O_TMPFILE, os.O_PATH, os.pidfd_open, time.CLOCK_BOOTTIME, "
    "fcntl.F_OFD_SETLK, fcntl.F_OFD_GETLK",
}

# All that a pidfile does, in one program whose children hold, crash, close, wait and ask.
ROUND = """
    import os, signal, sys, time
    import lockfile
    from daemonry.pidfile import PIDLockFile
    path = sys.argv[1]
    lock = PIDLockFile(path)

    def holder(*to_close):
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            PIDLockFile(path).acquire()
            os.write(writing, b"up")
            for fd in to_close:
                os.closerange(fd, 256)
            while True:
                signal.sigtimedwait([], 0.05)
        assert os.read(reading, 2) == b"up"
        os.close(reading)
        os.close(writing)
        return pid

    def kill(pid):
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)

    def refused(kind, act, *arguments):
        try:
            act(*arguments)
        except kind as error:
            return error
        raise AssertionError(f"{act} is not refused")

    for _ in range(2):
        with lock:
            assert open(path).read() == f"{os.getpid()}\\n" and os.listdir(os.path.dirname(path)) == ["test.pid"]
            assert lock.is_locked() and lock.i_am_locking() and PIDLockFile(path).is_locked()
            assert refused(lockfile.AlreadyLocked, PIDLockFile(path).acquire).pid == os.getpid()
        assert os.listdir(os.path.dirname(path)) == []
        for to_close in ((), (3,)):
            pid = holder(*to_close)
            assert lock.is_locked() and lock.read_pid() == pid
            assert refused(lockfile.AlreadyLocked, lock.acquire).pid == pid
            assert refused(lockfile.LockTimeout, lock.acquire, 0.02).pid == pid
            assert refused(lockfile.AlreadyLocked, lock.break_lock).pid == pid
            kill(pid)
            assert os.path.exists(path) and not lock.is_locked()
        # And one that waits for the end of the holder.
        pid = holder()
        if (waiter := os.fork()) == 0:
            with PIDLockFile(path, timeout=60) as other:
                assert other.read_pid() == os.getpid()
            os._exit(0)
        kill(pid)
        assert os.waitstatus_to_exitcode(os.waitpid(waiter, 0)[1]) == 0
        # A file of before, and one in which nothing stands.
        for text in ("4194305\\n", ""):
            with open(path, "w") as file:
                file.write(text)
            with lock:
                assert lock.read_pid() == os.getpid()
"""


def without(name: str, program: str) -> str:
    return f"    {LACKING[name]}\n{program}"


@pytest.mark.parametrize("lacking", LACKING)
def test_the_pidfile_does_all_that_it_does_without(daemons: Daemons, tmp_path: Path, lacking: str) -> None:
    daemons.launch(without(lacking, ROUND), tmp_path / "test.pid").check()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.reliability("Full and broken places")
@pytest.mark.root_only("it hides /proc in a mount namespace of its own")
def test_without_proc_the_kernels_lock_decides_alone(daemons: Daemons, tmp_path: Path) -> None:
    hide = 'mount -t tmpfs none /proc && exec "$@"'
    through = (*unshared("--mount"), "sh", "-c", hide, "sh")
    # Who has closed its descriptors can't be found without /proc.
    program = ROUND.replace("((), (3,))", "((),)").replace("range(2)", "range(1)")
    program += '    assert not os.path.exists("/proc/self")\n'
    daemons.launch(program, tmp_path / "test.pid", through=through).check()
    assert list(tmp_path.iterdir()) == []


# Is killed at the removal of the name under which its file was written: the file then has two.
KILLED = """
    import os, signal, sys
    from daemonry.pidfile import PIDLockFile
    def strike(event, arguments):
        if event == "os.remove" and arguments[0].startswith(".test.pid."):
            os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(strike)
    PIDLockFile(sys.argv[1]).acquire()
"""


def test_a_start_that_was_killed_between_two_names_hinders_no_other(daemons: Daemons, tmp_path: Path) -> None:
    path = tmp_path / "test.pid"
    for starter in (TRY, without("O_TMPFILE", TRY)):
        launched = daemons.launch(without("O_TMPFILE", KILLED), path)
        assert launched.status == -signal.SIGKILL
        assert path.stat().st_nlink == 2
        assert len(list(tmp_path.iterdir())) == 2
        assert not PIDLockFile(path).is_locked()
        daemons.launch(starter, path).check()
        assert list(tmp_path.iterdir()) == []


def test_the_second_name_of_a_killed_start_does_not_hide_a_third(daemons: Daemons, tmp_path: Path) -> None:
    path = tmp_path / "test.pid"
    daemons.launch(without("O_TMPFILE", KILLED), path)
    os.link(path, tmp_path / "third")
    with pytest.raises(PIDFileError, match=r"2 names \(hard links\)"):
        PIDLockFile(path).acquire()
    assert (tmp_path / "third").exists()
    assert path.exists()


def test_a_draft_of_another_living_starter_is_left_alone(daemons: Daemons, tmp_path: Path) -> None:
    path = tmp_path / "test.pid"
    daemons.launch(without("O_TMPFILE", KILLED), path)
    drafts = [each for each in tmp_path.iterdir() if each != path]
    other = tmp_path / ".test.pid.1.abcdef01"
    other.write_text("1\n")
    with PIDLockFile(path):
        assert not drafts[0].exists()
        assert other.exists()


@pytest.mark.parametrize("lacking", LACKING)
def test_a_holder_of_this_kind_is_seen_by_one_that_lacks_nothing_else(
    daemons: Daemons, tmp_path: Path, lacking: str
) -> None:
    """Two starters of one program need not run on one Python: the second witness bridges the two kinds of lock."""
    path = tmp_path / "test.pid"
    holder = hold(daemons, path, without(lacking, HOLD))
    assert PIDLockFile(path).is_locked()
    with pytest.raises(BlockingIOError):
        PIDLockFile(path).acquire()
    assert path.read_text() == f"{holder.pid}\n"
    daemons.stop(holder.pid)
    assert not path.exists()
