"""A holder that ends without a release, closes what it doesn't know, forks, or becomes another program."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

import lockfile
import pytest

from daemonry.pidfile import PIDFileLocked, PIDLockFile
from harness.probe import facts_of
from harness.waiting import read_json, wait_for
from pidfile_programs import HOLD, TRY, hold, openings, said, unshared

if TYPE_CHECKING:
    from pathlib import Path

    from harness.daemons import Daemons


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "test.pid"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGHUP])
def test_after_a_crash_the_file_is_left_and_the_next_start_works_at_once(
    daemons: Daemons, path: Path, number: int
) -> None:
    for _ in range(2):
        holder = hold(daemons, path)
        daemons.stop(holder.pid, number)
        lock = PIDLockFile(path)
        assert path.exists()
        # It is still a zombie, whose parent has not asked: that counts as gone.
        assert not lock.is_locked()
        assert lock.read_pid() == holder.pid
        lock.acquire()
        assert path.read_text() == f"{os.getpid()}\n"
        lock.release()
        assert list(path.parent.iterdir()) == []


def test_a_program_that_ends_without_a_release_leaves_a_file_that_hinders_nobody(daemons: Daemons, path: Path) -> None:
    daemons.launch(
        "import sys; from daemonry.pidfile import PIDLockFile; PIDLockFile(sys.argv[1]).acquire()", path
    ).check()
    assert path.exists()
    daemons.launch(TRY, path).check()
    assert not path.exists()


# In a pid namespace of its own: its first holder is killed, and a stranger gets the number.
RECYCLED = """
    import os, signal, sys, threading, time
    from daemonry.pidfile import PIDFileLocked
    from daemonry.pidfile import PIDLockFile
    from harness.pids import next_is
    from harness.waiting import wait_for
    path, stranger = sys.argv[1:]

    def child(work):
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            work()
            os.write(writing, b"up")
            signal.pause()
        os.close(writing)
        assert os.read(reading, 2) == b"up"
        os.close(reading)
        return pid

    first = child(lambda: PIDLockFile(path).acquire())
    assert PIDLockFile(path).is_locked()
    os.kill(first, signal.SIGKILL)
    os.waitpid(first, 0)
    assert open(path).read() == f"{first}\\n"
    next_is(first)
    if stranger == "process":
        assert child(lambda: None) == first
    elif stranger == "starter":
        def start():
            assert os.getpid() == first
            with PIDLockFile(path):
                pass
        assert child(start) == first
        print("taken")
        sys.exit()
    else:
        numbers = []
        def run():
            numbers.append(threading.get_native_id())
            threading.Event().wait()
        threading.Thread(target=run, daemon=True).start()
        wait_for(lambda: numbers == [first], what="a thread has the number")
    lock = PIDLockFile(path)
    assert not lock.is_locked()
    start = time.monotonic()
    with lock:
        assert lock.read_pid() == os.getpid()
    assert time.monotonic() - start < 5
    print("taken")
"""


@pytest.mark.root_only("it makes a pid namespace, in which it says what the next pid is")
@pytest.mark.parametrize("stranger", ["process", "thread", "starter"])
def test_after_a_crash_the_next_start_works_though_its_pid_lives_again(
    daemons: Daemons, path: Path, stranger: str
) -> None:
    through = (*unshared("--pid", "--fork", "--mount-proc", "--kill-child"),)
    launched = daemons.launch(RECYCLED, path, stranger, through=through).check()
    assert launched.stdout == "taken\n"


def test_the_pid_of_a_younger_process_in_an_older_file_hinders_nobody(daemons: Daemons, path: Path) -> None:
    path.write_text(f"{os.getpid()}\n")
    before = facts_started(os.getpid())
    os.utime(path, (before - 60, before - 60))
    launched = daemons.launch(TRY, path).check()
    assert launched.stdout == "taken\n"


def test_the_pid_of_an_older_process_in_a_younger_file_is_believed(daemons: Daemons, path: Path) -> None:
    """A daemon of another make, which takes no lock of the kernel's, is not started twice."""
    path.write_text(f"  00{os.getpid()}  \nmore\n")
    launched = daemons.launch(TRY, path)
    assert launched.status == 1
    assert f"held by process {os.getpid()}" in launched.stderr
    assert path.exists()


def facts_started(pid: int) -> float:
    from daemonry.system import process

    found = process.look(pid)
    assert found is not None
    return found.started


# Holds the pidfile and closes every descriptor that it doesn't know, as many programs do.
CLOSER = HOLD.replace('print("held"', 'os.closerange(3, 256); print("held"')


def test_a_program_that_closes_all_descriptors_keeps_its_pidfile(daemons: Daemons, path: Path) -> None:
    assert CLOSER != HOLD
    holder = hold(daemons, path, CLOSER)
    assert openings(holder.pid, path) == []
    lock = PIDLockFile(path)
    assert lock.is_locked()
    for refused in (lock.acquire, lock.break_lock):
        with pytest.raises(PIDFileLocked) as caught:
            refused()
        assert caught.value.pid == holder.pid
    with pytest.raises(lockfile.LockTimeout):
        lock.acquire(0.01)
    with pytest.raises(lockfile.NotMyLock):
        lock.release()
    assert path.read_text() == f"{holder.pid}\n"
    daemons.stop(holder.pid)
    assert not path.exists()


def test_a_program_that_has_closed_all_descriptors_and_is_killed_hinders_nobody(daemons: Daemons, path: Path) -> None:
    holder = hold(daemons, path, CLOSER)
    daemons.stop(holder.pid, signal.SIGKILL)
    assert not PIDLockFile(path).is_locked()
    daemons.launch(TRY, path).check()


def test_forked_children_give_it_up_and_never_remove_the_file(daemons: Daemons, path: Path) -> None:
    holder = daemons.start(
        """
        import multiprocessing, os, signal, sys
        from daemonry.pidfile import PIDFileLocked
        from daemonry.pidfile import PIDLockFile
        from lockfile import NotMyLock
        from harness.probe import publish
        from pidfile_programs import openings
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        path = sys.argv[1]

        def look(lock):
            assert not lock.i_am_locking() and lock.is_locked()
            assert openings(os.getpid(), path) == []
            lock.__exit__(None, None, None)
            for refused in (lock.release, lock.acquire, lock.break_lock):
                try:
                    refused()
                except (NotMyLock, PIDFileLocked):
                    pass
                else:
                    os._exit(9)
            assert os.path.exists(path)

        with PIDLockFile(path) as lock:
            assert openings(os.getpid(), path) == []
            child = multiprocessing.get_context("fork").Process(target=look, args=(lock,))
            child.start()
            child.join()
            assert child.exitcode == 0, child.exitcode
            pid = os.fork()
            if pid == 0:
                look(lock)
                sys.exit(7)  # by way of the with-block and of everything that Python does at its exit
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
            assert lock.i_am_locking() and lock.read_pid() == os.getpid()
            if os.fork() == 0:  # one that outlives it
                publish("child", os.getpid())
                signal.sigwait([signal.SIGTERM])
                sys.exit()
            print("held", flush=True)
            signal.sigwait([signal.SIGUSR1])
        """,
        path,
        env={"PYTHONWARNINGS": "ignore"},
    )
    said(holder, "held")
    child = read_json(daemons.directory / "child")
    assert PIDLockFile(path).read_pid() == holder.pid
    daemons.stop(holder.pid, signal.SIGKILL)
    assert PIDLockFile(path).is_locked() is False
    with PIDLockFile(path) as lock:
        daemons.stop(child)
        assert lock.i_am_locking()
        assert path.read_text() == f"{os.getpid()}\n"


def test_a_lock_that_was_released_before_the_fork_can_be_taken_in_the_child(daemons: Daemons, path: Path) -> None:
    daemons.launch(
        """
        import os, sys
        from daemonry.pidfile import PIDLockFile
        lock = PIDLockFile(sys.argv[1])
        with lock:
            pass
        if os.fork() == 0:
            with lock:
                assert lock.i_am_locking() and lock.read_pid() == os.getpid()
            os._exit(0)
        assert os.wait()[1] == 0
        with lock:
            pass
        """,
        path,
    ).check()


# Becomes another program while it holds the pidfile.
BECOME = """
    import os, sys
    from daemonry.pidfile import PIDLockFile
    PIDLockFile(sys.argv[1]).acquire()
    os.execv(sys.argv[2], sys.argv[2:])
"""


def test_a_program_that_the_holder_becomes_holds_it_and_has_no_descriptor_of_it(daemons: Daemons, path: Path) -> None:
    running = daemons.start(BECOME, path, "/bin/sleep", "1000")
    wait_for(lambda: facts_of(running.pid).comm == "sleep", what="it has become the other program")
    assert openings(running.pid, path) == []
    lock = PIDLockFile(path)
    assert lock.is_locked()
    with pytest.raises(PIDFileLocked) as caught:
        lock.acquire()
    assert caught.value.pid == running.pid
    daemons.stop(running.pid, signal.SIGKILL)
    assert not lock.is_locked()
    daemons.launch(TRY, path).check()


def test_a_program_that_starts_itself_anew_takes_the_lock_again(daemons: Daemons, path: Path) -> None:
    again = """
        import os, sys
        from daemonry.pidfile import PIDLockFile
        lock = PIDLockFile(sys.argv[1])
        lock.acquire()
        if len(sys.argv) == 2:
            os.execv(sys.executable, [sys.executable, sys.argv[0], sys.argv[1], "again"])
        print(lock.read_pid() == os.getpid())
        lock.release()
        """
    assert daemons.launch(again, path).check().stdout == "True\n"
    assert not path.exists()


# Executes itself anew inside the block, once, and detaches again, as it does below a subreaper.
ANEW = """
    import os, sys
    from daemonry import DaemonContext, PIDLockFile
    from harness.probe import publish
    lock = PIDLockFile(sys.argv[1])
    with DaemonContext(pidfile=lock, detach_process=True, working_directory=".", ready="manual") as context:
        context.ready()
        if len(sys.argv) == 2:
            os.execv(sys.executable, [sys.executable, sys.argv[0], sys.argv[1], "again"])
        publish("anew", os.getpid())
        context.wait()
"""


def test_a_daemon_that_executes_itself_anew_has_its_pidfile_again(daemons: Daemons, path: Path) -> None:
    """Also where it becomes the launcher of the next daemon, for nothing says that it is detached already."""
    daemons.launch(ANEW, path).check()
    pid = read_json(daemons.directory / "anew")
    wait_for(lambda: daemons.alive() == [pid], what="the former daemon has gone")
    assert PIDLockFile(path).is_locked()
    assert PIDLockFile(path).read_pid() == pid
    daemons.stop(pid)
    assert list(path.parent.iterdir()) == []


def test_programs_that_the_holder_starts_do_not_hold_it(daemons: Daemons, path: Path) -> None:
    """Not by subprocess, and not by fork and exec."""
    program = """
        import os, signal, subprocess, sys
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        from daemonry.pidfile import PIDLockFile
        from harness.probe import publish
        with PIDLockFile(sys.argv[1]):
            one = subprocess.Popen(["/bin/sleep", "1000"]).pid
            two = os.fork() or os.execv("/bin/sleep", ["sleep", "1000"])
            publish("pids", [one, two])
            print("held", flush=True)
            signal.sigwait([signal.SIGTERM])
        """
    holder = hold(daemons, path, program)
    pids = read_json(daemons.directory / "pids")
    for pid in pids:
        wait_for(lambda pid=pid: facts_of(pid).comm == "sleep", what="the program runs")  # type: ignore[misc]
        assert openings(pid, path) == []
        daemons.leave(pid)
    daemons.stop(holder.pid, signal.SIGKILL)
    wait_for(lambda: not PIDLockFile(path).is_locked(), what="the lock has gone with its holder")
    daemons.launch(TRY, path).check()


def test_a_holder_that_has_only_just_started_is_known_as_the_files_writer(daemons: Daemons, path: Path) -> None:
    """The kernel's stamps of time, on processes and on files, are too coarse for one that takes it in its first ms."""
    daemons.launch(
        """
        import os, signal, sys
        from daemonry.pidfile import PIDLockFile
        lock = PIDLockFile(sys.argv[1])
        for _ in range(60):
            reading, writing = os.pipe()
            pid = os.fork()
            if pid == 0:
                lock.acquire()
                os.closerange(3, writing)
                os.closerange(writing + 1, 64)
                os.write(writing, b"up")
                while True:
                    signal.sigtimedwait([], 0.05)
            assert os.read(reading, 2) == b"up"
            assert lock.is_locked(), "its writer is taken for a younger process"
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            os.close(reading)
            os.close(writing)
        """,
        path,
        plain=True,
    ).check()


@pytest.mark.reliability("Full and broken places")
def test_a_file_from_the_future_says_nothing_of_its_writer(daemons: Daemons) -> None:
    """A clock that was set back, or stood still without power: the kernel's lock decides, the age does not."""
    path = daemons.directory / "pid"
    path.write_text(f"{os.getppid()}\n")
    path.chmod(0o644)
    tomorrow = time.time() + 86_400
    os.utime(path, (tomorrow, tomorrow))
    lock = PIDLockFile(path)
    assert not lock.is_locked()
    with lock:
        assert lock.read_pid() == os.getpid()
