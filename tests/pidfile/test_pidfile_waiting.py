"""Waiting for the holder of a pidfile: how long, what ends it, and what it leaves alone."""

from __future__ import annotations

import signal
import statistics
import threading
import time
from typing import TYPE_CHECKING

import lockfile
import pytest

from daemonry.control import find
from daemonry.pidfile import PIDFileLocked, PIDFileLockTimeout, PIDLockFile, TimeoutPIDLockFile
from harness.probe import facts_of
from harness.waiting import read_json, wait_for
from pidfile_programs import HOLD, TRY, hold, said, unshared

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from harness.daemons import Daemons

# No machine is so slow that "at once" takes this long, and no wait that a test gives up is shorter.
AT_ONCE = 5.0
FOR_EVER = 30

# Waits for the pidfile of its first argument, with a handler that raises for SIGUSR1 and one that returns for SIGUSR2.
WAIT = """
    import os, signal, sys, time
    from daemonry.pidfile import PIDLockFile
    from harness.probe import publish
    class Interrupted(Exception): pass
    def interrupt(*_): raise Interrupted
    signal.signal(signal.SIGUSR1, interrupt)
    signal.signal(signal.SIGUSR2, lambda *_: print("heard", flush=True))
    lock = PIDLockFile(sys.argv[1], timeout=1000)
    print("waiting", flush=True)
    try:
        lock.acquire()
    except Interrupted:
        assert not lock.i_am_locking()
        print("interrupted")
    else:
        taken = time.monotonic()
        publish(sys.argv[2], taken)
        lock.release()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "test.pid"


@pytest.fixture
def held(daemons: Daemons, path: Path) -> Iterator[int]:
    holder = hold(daemons, path)
    yield holder.pid
    daemons.stop(holder.pid)


def pidfds(pid: int) -> list[int]:
    """Return the processes for whose end a process waits."""
    found = []
    for descriptor in facts_of(pid).descriptors:
        if "pidfd" in descriptor.target:
            with open(f"/proc/{pid}/fdinfo/{descriptor.number}") as info:
                found += [int(line.split()[1]) for line in info if line.startswith("Pid:")]
    return found


def waiter(daemons: Daemons, path: Path, holder: int) -> tuple[int, Path]:
    """Start a program that waits for the pidfile, and answer when it does."""
    published = daemons.directory / f"taken-{time.monotonic_ns()}"
    running = daemons.start(WAIT, path, published)
    said(running, "waiting")
    wait_for(lambda: holder in pidfds_if_there(running.pid), what="it watches the holder")
    return running.pid, published


def pidfds_if_there(pid: int) -> list[int]:
    try:
        return pidfds(pid)
    except OSError:  # closed between two looks
        return []


@pytest.mark.parametrize("seconds", [None, 0, 0.0, -1, -0.001, float("-inf")])
def test_no_positive_timeout_means_not_to_wait(held: int, path: Path, seconds: float | None) -> None:
    locks = (PIDLockFile(path, False, seconds), TimeoutPIDLockFile(path, seconds), PIDLockFile(path, timeout=seconds))
    for lock in locks:
        start = time.monotonic()
        with pytest.raises(PIDFileLocked) as caught:
            lock.acquire()
        assert time.monotonic() - start < AT_ONCE
        assert not isinstance(caught.value, lockfile.LockTimeout)
        assert caught.value.pid == held


@pytest.mark.parametrize("seconds", [0, -1, -1000])
def test_a_negative_argument_overrides_a_default_that_would_wait(held: int, path: Path, seconds: float) -> None:
    for lock in (PIDLockFile(path, False, FOR_EVER), TimeoutPIDLockFile(path, FOR_EVER)):
        start = time.monotonic()
        with pytest.raises(PIDFileLocked) as caught:
            lock.acquire(seconds)
        assert not isinstance(caught.value, lockfile.LockTimeout)
        assert time.monotonic() - start < AT_ONCE
    assert held


def test_a_timeout_is_waited_for_and_then_told_as_one(held: int, path: Path) -> None:
    waits = (
        PIDLockFile(path, False, 0.1).acquire,
        PIDLockFile(path, timeout=0.1).acquire,
        TimeoutPIDLockFile(path, 0.1).acquire,
        TimeoutPIDLockFile(path, acquire_timeout=0.1).acquire,
        TimeoutPIDLockFile(path, timeout=0.1).acquire,
        lambda: PIDLockFile(path).acquire(0.1),
        lambda: TimeoutPIDLockFile(path, FOR_EVER).acquire(timeout=0.1),
        PIDLockFile(path, False, 0.1).__enter__,
    )
    for wait in waits:
        start = time.monotonic()
        with pytest.raises(PIDFileLockTimeout) as caught:
            wait()
        assert 0.1 <= time.monotonic() - start < AT_ONCE
        assert isinstance(caught.value, (lockfile.LockTimeout, lockfile.AlreadyLocked))
        assert caught.value.pid == held


def test_the_default_of_a_timeout_lock_can_be_changed_as_in_python_daemon(held: int, path: Path) -> None:
    lock = TimeoutPIDLockFile(path, FOR_EVER)
    assert lock.acquire_timeout == FOR_EVER
    lock.acquire_timeout = 0.01
    with pytest.raises(lockfile.LockTimeout):
        lock.acquire()
    lock.acquire_timeout = None
    with pytest.raises(PIDFileLocked) as caught:
        lock.acquire()
    assert not isinstance(caught.value, lockfile.LockTimeout)
    assert held


def test_a_timeout_of_a_free_lock_costs_nothing(path: Path) -> None:
    for seconds in (FOR_EVER, float("inf"), -1, 10**400):
        start = time.monotonic()
        lock = PIDLockFile(path, False, seconds)
        lock.acquire()
        lock.release()
        assert time.monotonic() - start < AT_ONCE


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "ended"])
def test_waiting_watches_the_holder_and_goes_on_with_its_end(daemons: Daemons, path: Path, number: int) -> None:
    delays = []
    for _ in range(3):
        holder = hold(daemons, path)
        _, published = waiter(daemons, path, holder.pid)
        end = time.monotonic()
        daemons.stop(holder.pid, number)
        delays.append(read_json(published) - end)
    assert statistics.median(delays) < AT_ONCE
    assert not PIDLockFile(path).is_locked()


def test_a_release_without_an_exit_ends_the_wait_too(path: Path) -> None:
    lock, other = PIDLockFile(path), PIDLockFile(path, False, FOR_EVER)
    with lock:
        waiting = threading.Thread(target=other.acquire)
        waiting.start()
    waiting.join(AT_ONCE)
    assert not waiting.is_alive()
    assert other.i_am_locking()
    other.release()


def test_a_release_by_a_living_process_ends_the_wait_too(daemons: Daemons, path: Path) -> None:
    holder = daemons.start(
        """
        import signal, sys
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1, signal.SIGTERM])
        from daemonry.pidfile import PIDLockFile
        with PIDLockFile(sys.argv[1]):
            print("held", flush=True)
            signal.sigwait([signal.SIGUSR1])
        signal.sigwait([signal.SIGTERM])
        """,
        path,
    )
    said(holder, "held")
    _, published = waiter(daemons, path, holder.pid)
    holder.signal(signal.SIGUSR1)
    read_json(published, AT_ONCE)
    assert holder.process.poll() is None
    daemons.stop(holder.pid)


def test_a_signal_whose_handler_raises_ends_the_wait(daemons: Daemons, held: int, path: Path) -> None:
    pid, _ = waiter(daemons, path, held)
    daemons.stop(pid, signal.SIGUSR1, AT_ONCE)
    assert PIDLockFile(path).read_pid() == held
    assert PIDLockFile(path).is_locked()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_that_ends_the_program_does_so_while_it_waits(
    daemons: Daemons, held: int, path: Path, number: int
) -> None:
    running = daemons.start(WAIT, path, "unused")
    said(running, "waiting")
    wait_for(lambda: held in pidfds_if_there(running.pid), what="it watches the holder")
    blocked = facts_of(running.pid).blocked
    running.signal(number)
    assert running.wait(AT_ONCE).status == -number
    assert number not in blocked
    assert PIDLockFile(path).read_pid() == held
    assert [each.name for each in path.parent.iterdir()] == ["test.pid"]


def test_a_signal_whose_handler_returns_is_heard_and_the_wait_goes_on(daemons: Daemons, path: Path) -> None:
    holder = hold(daemons, path)
    running = daemons.start(WAIT, path, daemons.directory / "taken")
    said(running, "waiting")
    wait_for(lambda: holder.pid in pidfds_if_there(running.pid), what="it watches the holder")
    running.signal(signal.SIGUSR2)
    said(running, "heard")
    daemons.stop(holder.pid)
    running.wait(AT_ONCE).check()
    assert (daemons.directory / "taken").exists()


@pytest.mark.parametrize("event", ["os.link", "os.open"])
def test_a_signal_during_the_publication_ends_acquire_without_a_lock(daemons: Daemons, path: Path, event: str) -> None:
    """What raises has not acquired: the caller's with-block never begins, so nobody would release."""
    if event == "os.open":
        event = "open"
    daemons.launch(
        f"""
        import os, signal, sys
        from daemonry.pidfile import PIDLockFile
        class Interrupted(Exception): pass
        def interrupt(*_): raise Interrupted
        signal.signal(signal.SIGUSR1, interrupt)
        armed = []
        def strike(event, arguments):
            if armed and event == {event!r}:
                armed.clear()
                os.kill(os.getpid(), signal.SIGUSR1)
        sys.addaudithook(strike)
        lock = PIDLockFile(sys.argv[1])
        armed.append(True)
        try:
            with lock:
                print("entered")
        except Interrupted:
            print("interrupted")
        assert not armed
        assert not lock.i_am_locking(), "it has raised and holds the lock"
        assert os.listdir(os.path.dirname(sys.argv[1])) == []
        with lock:
            pass
        """,
        path,
    ).check()
    daemons.launch(TRY, path).check()


def test_a_signal_during_the_release_comes_when_it_is_done(daemons: Daemons, path: Path) -> None:
    launched = daemons.launch(
        """
        import os, signal, sys
        from daemonry.pidfile import PIDLockFile
        class Interrupted(Exception): pass
        def interrupt(*_):
            print("file there:", os.path.exists(sys.argv[1]), "locked:", PIDLockFile(sys.argv[1]).is_locked())
            raise Interrupted
        signal.signal(signal.SIGUSR1, interrupt)
        def strike(event, arguments):
            if event == "os.remove" and arguments[0] == os.path.basename(sys.argv[1]):
                os.kill(os.getpid(), signal.SIGUSR1)
        sys.addaudithook(strike)
        try:
            with PIDLockFile(sys.argv[1]) as lock:
                pass
        except Interrupted:
            print("interrupted", lock.is_locked(), lock.i_am_locking())
        lock.release()
        """,
        path,
    ).check()
    assert launched.stdout == "file there: False locked: False\ninterrupted False False\n"


@pytest.mark.root_only("it makes pid namespaces")
def test_a_holder_of_another_pid_namespace_is_held_for_one_and_nobody_else_is_named(
    daemons: Daemons, path: Path
) -> None:
    """By the number that it has for who asks; where it has none, what is known is said."""
    container = unshared("--pid", "--fork", "--mount-proc", "--kill-child")
    holder = daemons.start(HOLD, path, through=container)
    said(holder, "held")
    inside = int(path.read_text())
    outside = PIDLockFile(path)._holder()
    assert outside is not None
    assert outside.pid not in (None, inside)
    found = find(path)
    assert found is not None
    assert found.pid == outside.pid
    refused = daemons.launch(TRY, path)
    assert f"held by process {outside.pid} (" in refused.stderr
    beside = daemons.launch(TRY, path, through=container)
    assert "held by a process that can't be seen from here (another PID namespace" in beside.stderr
    assert f"its file says {inside}" in beside.stderr
    found.signal(signal.SIGKILL)
    holder.wait()
    daemons.launch(TRY, path).check()


SLEEPS = """
    import sys, time
    from daemonry.pidfile import PIDLockFile
    lock, sleeps = PIDLockFile(sys.argv[1], timeout=1000), 0
    def look(_frame, event, function):
        global sleeps
        sleeps += event == "c_call" and function is time.sleep
    print("waiting", flush=True)
    sys.setprofile(look)
    lock.acquire()
    sys.setprofile(None)
    lock.release()
    print(f"slept {sleeps}", flush=True)
"""


def test_the_end_of_the_holder_wakes_a_waiter_that_then_goes_on_without_a_pause(daemons: Daemons, path: Path) -> None:
    """Unless it ends between a look at the file and the wait for it, which doesn't happen three times."""
    said_at_end = []
    for _ in range(3):
        holder = hold(daemons, path)
        running = daemons.start(SLEEPS, path)
        said(running, "waiting")
        wait_for(
            lambda holder=holder, pid=running.pid: holder.pid in pidfds_if_there(pid), what="it watches the holder"
        )
        holder.signal(signal.SIGKILL)
        said_at_end.append(running.wait().check().stdout)
    assert any("slept 0" in text for text in said_at_end), said_at_end
