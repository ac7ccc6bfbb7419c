"""A daemon is stopped by a schedule and waited for, and its end is seen at once."""

from __future__ import annotations

import errno
import os
import signal
import statistics
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from control_programs import DAEMON, DEAF, TELLING, started, told

from daemonry.control import daemon as control
from daemonry.control.schedule import parse
from daemonry.errors import DaemonError
from harness.probe import status_of
from harness.size import times
from harness.waiting import is_alive, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.daemons import Daemons


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "test.pid"


# Stopping


def test_stop_ends_a_daemon_and_a_second_one_does_nothing(daemons: Daemons, path: Path) -> None:
    found = started(daemons, path)
    items: list[str] = []
    found.stop(told=lambda item: items.append(str(item)))
    assert items == ["TERM", "30"]
    assert not is_alive(found.pid)
    assert not path.exists()
    begun = time.monotonic()
    for schedule in ("TERM/30/KILL/5", 30, "forever/TERM/30"):
        found.stop(schedule)
    assert time.monotonic() - begun < 5


def test_what_is_deaf_to_sigterm_is_killed_after_the_time_it_is_given(daemons: Daemons, path: Path) -> None:
    found = started(daemons, path, DEAF)
    items: list[tuple[str, bool]] = []
    begun = time.monotonic()
    found.stop("TERM/0.2/KILL/5", lambda item: items.append((str(item), found.is_running)))
    assert 0.2 <= time.monotonic() - begun < 5
    assert items == [("TERM", True), ("0.2", True), ("KILL", True), ("5", items[3][1])]
    assert not is_alive(found.pid)
    assert control.find(path) is None
    assert control.remove_left_over(path)


def test_what_runs_at_the_schedule_s_end_is_told_and_left_alive(daemons: Daemons, path: Path) -> None:
    found = started(daemons, path, DEAF)
    begun = time.monotonic()
    with pytest.raises(control.StillRunning) as caught:
        found.stop("TERM/0.1")
    assert time.monotonic() - begun >= 0.1
    assert str(caught.value) == f"{found.process} still runs after TERM/0.1"
    assert isinstance(caught.value, TimeoutError)
    assert isinstance(caught.value, DaemonError)
    assert (caught.value.errno, caught.value.pid, caught.value.pidfile) == (errno.ETIMEDOUT, found.pid, str(path))
    assert found.is_running
    assert control.find(path) is not None
    found.stop(0.05)
    assert not found.is_running


def test_what_is_stopped_by_a_signal_goes_on_so_that_it_can_end_in_order(daemons: Daemons, path: Path) -> None:
    """Its pidfile is gone by its own doing: it was not killed."""
    found = started(daemons, path)
    os.kill(found.pid, signal.SIGSTOP)
    wait_for(lambda: status_of(found.pid)["State"].startswith("T"), what="it is stopped")
    items: list[str] = []
    found.stop("TERM/10/KILL/5", told=lambda item: items.append(str(item)))
    assert items == ["TERM", "10"]
    assert not path.exists()


FIRST_THREAD_ENDS = """
    import ctypes, os, sys, threading, time
    from daemonry import DaemonContext, PIDLockFile
    number = {"x86_64": 60, "aarch64": 93}[os.uname().machine]
    with DaemonContext(pidfile=PIDLockFile(sys.argv[1])):
        threading.Thread(target=time.sleep, args=(60,)).start()
        ctypes.CDLL(None).syscall(number, 0)  # exit(2), of this thread alone
"""


@pytest.mark.skipif(os.uname().machine not in ("x86_64", "aarch64"), reason="the number of exit(2) is not known here")
def test_what_runs_on_when_its_first_thread_has_ended_is_alive(daemons: Daemons, path: Path) -> None:
    """The kernel calls it a zombie, and its other threads work on."""
    daemons.launch(FIRST_THREAD_ENDS, path).check()
    pid = int(path.read_text())
    wait_for(lambda: status_of(pid)["State"].startswith("Z"), what="its first thread has ended")
    found = control.find(path)
    assert found is not None
    assert found.pid == pid
    again = daemons.launch(DAEMON, path)
    assert f"held by process {pid}" in again.stderr
    found.stop("KILL/5")
    assert control.find(path) is None
    assert control.remove_left_over(path)


def test_a_schedule_for_ever_goes_on_until_the_end(daemons: Daemons, path: Path) -> None:
    found = started(daemons, path, TELLING)
    items: list[str] = []

    def tell(item: object) -> None:
        items.append(str(item))
        if len(items) == 8:  # while it waits
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)

    pidfd = os.pidfd_open(found.pid)
    found.stop("USR1/0.05/forever/INT/0.05", tell)
    os.close(pidfd)
    assert items == ["USR1", "0.05", *["INT", "0.05"] * 3]
    assert not found.is_running
    assert set(told(path).split()) == {"SIGUSR1", "SIGINT"}
    assert told(path).split().count("SIGUSR1") == 1


def test_a_daemon_that_hangs_after_it_has_given_its_pidfile_back_is_killed_by_the_schedule(
    daemons: Daemons, path: Path
) -> None:
    hanging = DAEMON.replace(
        "        while not", "        open(sys.argv[1] + '.begun', 'w').close()\n        while not", 1
    )
    hanging += "    import time\n    while True:\n        time.sleep(60)\n"
    hanging = hanging.replace("with DaemonContext(", 'with DaemonContext(signal_map={"TERM": "request_stop"}, ')
    found = started(daemons, path, hanging)
    wait_for(path.with_name(f"{path.name}.begun").exists, what="its body has begun: before, SIGTERM ends it")
    items: list[tuple[str, bool]] = []
    with pytest.raises(control.StillRunning):
        found.stop("TERM/0.3", lambda item: items.append((str(item), path.exists())))
    wait_for(lambda: not path.exists(), what="it has given its pidfile back")
    assert found.is_running
    assert control.find(path) is None
    pid = found.pid
    found.stop("TERM/0.1/KILL/10")
    assert not is_alive(pid)


@pytest.mark.parametrize("schedule", ["", "5/5", "BOGUS/1", "forever", -5])
def test_a_schedule_that_says_nothing_is_refused_before_anything_is_sent(
    daemons: Daemons, path: Path, schedule: str | float
) -> None:
    found = started(daemons, path, TELLING)
    items: list[object] = []
    with pytest.raises(ValueError, match=r"^schedule "):
        found.stop(schedule, items.append)
    assert items == []
    assert found.is_running
    assert told(path) == ""
    found.stop(parse("TERM/10"))


def test_waiting_is_over_with_the_time_or_with_the_end(daemons: Daemons, path: Path) -> None:
    found = started(daemons, path)
    for seconds in (0, 0.05):
        begun = time.monotonic()
        assert found.wait(seconds) is False
        assert seconds <= time.monotonic() - begun < 5
    answers: list[bool] = []
    waiting = threading.Thread(target=lambda: answers.append(found.wait()))
    waiting.start()
    found.stop()
    waiting.join(10)
    assert answers == [True]
    assert found.wait(0) is True
    assert found.wait() is True


def test_a_daemon_that_is_stopped_by_two_at_once_ends_for_both(daemons: Daemons, path: Path) -> None:
    found = started(daemons, path)
    failures: list[BaseException] = []

    def stop() -> None:
        try:
            found.stop()
        except BaseException as error:
            failures.append(error)

    stopping = [threading.Thread(target=stop) for _ in range(5)]
    for thread in stopping:
        thread.start()
    for thread in stopping:
        thread.join(10)
    assert failures == []
    assert not is_alive(found.pid)


# How soon the end is seen

# Starts as many daemons as its second argument says, each of which writes last of all what the clock shows.
MANY = """
    import os, signal, sys, time
    from daemonry import DaemonContext
    from daemonry.pidfile import PIDLockFile
    for number in range(int(sys.argv[2])):
        pid = os.fork()
        if pid == 0:
            signal_map = {"TERM": "request_stop"}
            with DaemonContext(pidfile=PIDLockFile(f"{sys.argv[1]}.{number}"), signal_map=signal_map) as context:
                ended = os.open(f"{sys.argv[1]}.{number}.ended", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
                context.wait()
            os.write(ended, repr(time.monotonic()).encode())
            os.kill(os.getpid(), signal.SIGKILL)
        status = os.waitpid(pid, 0)[1]
        assert status == 0, status
"""


def measured(daemons: Daemons, path: Path, count: int, stop: Callable[[str], float]) -> list[float]:
    """Return how many milliseconds after each daemon's end ``stop`` had returned, in order."""
    daemons.launch(MANY, path, count, plain=True).check()
    delays = []
    for number in range(count):
        returned = stop(f"{path}.{number}")
        ended = float(Path(f"{path}.{number}.ended").read_text())
        delays.append((returned - ended) * 1000)
    return sorted(delays)


def test_stop_returns_within_20_ms_of_the_end(daemons: Daemons, path: Path) -> None:
    def stop(pidfile: str) -> float:
        found = control.find(pidfile)
        assert found is not None
        found.stop()
        return time.monotonic()

    delays = measured(daemons, path, times(50), stop)
    print(f"ms from the end to the return of stop: {delays[0]:.2f} {statistics.median(delays):.2f} {delays[-1]:.2f}")
    assert delays[0] >= 0, "it does not return before the end"
    assert statistics.median(delays) < 20


def test_without_pidfds_stop_and_wait_work_by_looking_again_and_again(daemons: Daemons, path: Path) -> None:
    found = started(daemons, path, TELLING)
    launched = daemons.launch(
        """
        import os, signal, subprocess, sys, threading, time
        del os.pidfd_open
        from daemonry.control import daemon as control
        found = control.find(sys.argv[1])
        assert found.is_running
        found.reload()
        for seconds in (0, 0.05):
            start = time.monotonic()
            assert found.wait(seconds) is False
            assert seconds <= time.monotonic() - start < 5
        try:
            found.stop("USR1/0.05")
        except control.StillRunning as error:
            print(error)
        items = []
        found.stop("USR2/0.05/TERM/20", lambda item: items.append(str(item)))
        assert items == ["USR2", "0.05", "TERM", "20"], items
        assert found.wait() and found.wait(0) and not found.is_running
        found.stop()
        try:
            found.signal(signal.SIGTERM)
        except control.NotRunning as error:
            print(error)
        """,
        path,
    ).check()
    assert launched.stdout == f"{found.process} still runs after USR1/0.05\n{found.process} has ended\n"
    assert set(told(path).split()) == {"SIGHUP", "SIGUSR1", "SIGUSR2"}


def test_a_child_that_is_a_zombie_has_ended(daemons: Daemons, path: Path) -> None:
    """A process whose parent has not asked for its status holds its number, and nothing else."""
    daemons.launch(
        """
        import os, signal, sys
        from daemonry.control import daemon as control
        from daemonry.pidfile import PIDLockFile
        up = os.pipe()
        pid = os.fork()
        if pid == 0:
            PIDLockFile(sys.argv[1]).acquire()
            os.write(up[1], b"up")
            signal.pause()
        os.read(up[0], 2)
        found = control.find(sys.argv[1])
        assert found.pid == pid
        found.stop("TERM/20")
        assert not found.is_running and found.wait() and control.find(sys.argv[1]) is None
        found.stop()
        try:
            found.reload()
        except control.NotRunning:
            assert os.waitpid(pid, 0)[1] == signal.SIGTERM
            print("ended")
        """,
        path,
    ).check()
