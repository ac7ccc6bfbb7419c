"""The clock is set while a daemon starts, waits or stops, by years forward or back: nothing is cut or endless.

The library libfaketime shows the programs another clock, which the test sets by a file. The machine's own is not set.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from control_programs import DEAF

from daemonry.control import daemon as control
from daemonry.pidfile import PIDLockFile
from harness.waiting import wait_for, wait_for_exit
from pidfile_programs import HOLD, TRY, hold, said, unshared

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.daemons import Daemons

pytestmark = pytest.mark.reliability("Full and broken places")

LIBRARIES = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
LEAPS = ("+10y", "-10y")
# libfaketime 0.9.10 answers EINVAL to the call by which Python 3.11 sleeps.
PRELUDE = """
    import os, select, sys, time
    time.sleep = lambda seconds: select.select([], [], [], seconds)
    clock = os.path.abspath("clock")
    def leap(by):
        with open(clock + ".new", "w") as file:
            file.write(by)
        os.replace(file.name, clock)
"""


@pytest.fixture
def faked(daemons: Daemons) -> Iterator[dict[str, str | None]]:
    """Return the environment of programs that see the test's clock; those without it see the machine's."""
    if not LIBRARIES:
        pytest.skip("libfaketime (Debian's package faketime), which shows programs another clock, is not installed")
    set_clock(daemons, "+0")
    yield {
        "LD_PRELOAD": str(LIBRARIES[0]),
        "FAKETIME_TIMESTAMP_FILE": str(daemons.directory / "clock"),
        "FAKETIME_NO_CACHE": "1",
        # A clock that is set leaves alone what only counts, and the stamps of files.
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
    }
    for running in daemons._running:
        # Left by programs that end without the exit of the C library, as launchers do.
        for name in ("faketime_shm", "sem.faketime_sem"):
            Path(f"/dev/shm/{name}_{running.pid}").unlink(missing_ok=True)


def set_clock(daemons: Daemons, by: str) -> None:
    new = daemons.directory / "clock.new"
    new.write_text(by)
    new.replace(daemons.directory / "clock")


def test_the_programs_see_the_clock_that_is_set_and_no_other_changes(
    daemons: Daemons, faked: dict[str, str | None]
) -> None:
    """Else nothing that follows would say anything."""
    daemons.launch(
        PRELUDE
        + """
    before = time.time()
    for by, years in (("+10y", 10), ("-10y", -10), ("+0", 0)):
        counted = time.monotonic()
        leap(by)
        assert time.monotonic() - counted < 60
        assert abs(time.time() - before - years * 365 * 86400) < 10 * 86400, by
""",
        env=faked,
    ).check()


STEPPING = (
    PRELUDE
    + """
    import daemonry
    step, by = sys.argv[1:]
    class Context(daemonry.DaemonContext):
        pass
    def step_after_a_leap(self):
        leap(by)
        getattr(daemonry.DaemonContext, step)(self)
    setattr(Context, step, step_after_a_leap)
    with Context(pidfile=daemonry.PIDLockFile("pid"), start_timeout=30, ready="manual", stderr="log") as context:
        if step == "body":
            leap(by)
        context.ready()
        while not context.wait(60):
            pass
"""
)


@pytest.mark.parametrize("by", LEAPS)
@pytest.mark.parametrize("step", ["detach", "reset_signals", "lock_pidfile", "change_root", "body"])
def test_a_clock_that_leaps_within_a_start_neither_ends_it_nor_hides_the_daemon(
    daemons: Daemons, faked: dict[str, str | None], step: str, by: str
) -> None:
    path = daemons.directory / "pid"
    daemons.launch(STEPPING, step, by, env=faked).check()
    pid = daemons.survivor()
    found = control.find(path)
    assert found is not None
    assert found.pid == pid
    with pytest.raises(BlockingIOError):
        PIDLockFile(path).acquire()
    found.stop()
    assert not path.exists()
    assert (daemons.directory / "log").read_text() == ""


ASK = (
    PRELUDE
    + """
    from daemonry.control import daemon as control
    found = control.find("pid")
    print(found and found.pid)
"""
)
WITHOUT_ITS_LOCK = HOLD.replace("        print(", "        os.closerange(3, 256)\n        print(")


@pytest.mark.parametrize("keeps", [True, False], ids=["locked", "without its lock"])
@pytest.mark.parametrize("written", [*LEAPS, "+0"])
def test_a_holder_is_known_and_a_dead_one_hinders_nobody_whatever_the_clock_was_when_the_file_was_written(
    daemons: Daemons, faked: dict[str, str | None], written: str, keeps: bool
) -> None:
    """Asked and started by a clock of the past, of the present and of the future."""
    path = daemons.directory / "pid"
    set_clock(daemons, written)
    holder = hold(daemons, path, PRELUDE + (HOLD if keeps else WITHOUT_ITS_LOCK), env=faked)
    daemons.leave(holder.pid)
    for now in (*LEAPS, "+0"):
        set_clock(daemons, now)
        assert daemons.launch(ASK, env=faked).check().stdout == f"{holder.pid}\n"
        assert f"held by process {holder.pid}" in daemons.launch(PRELUDE + TRY, path, env=faked).check(1).stderr
    os.kill(holder.pid, signal.SIGKILL)
    wait_for_exit(holder.pid)
    left = path.read_bytes(), path.stat().st_mtime_ns
    for now in (*LEAPS, "+0"):
        path.write_bytes(left[0])
        os.utime(path, ns=(left[1], left[1]))
        set_clock(daemons, now)
        assert daemons.launch(ASK, env=faked).check().stdout == "None\n"
        assert daemons.launch(PRELUDE + TRY, path, env=faked).check().stdout == "taken\n"


def took(daemons: Daemons, faked: dict[str, str | None], by: str, program: str, *words: object) -> float:
    """Start a program that says when it begins to wait, set its clock then, and answer how long it has waited."""
    running = daemons.start(PRELUDE + program, *words, env=faked)
    said(running, "waiting")
    begun = time.monotonic()
    set_clock(daemons, by)
    running.wait().check()
    return time.monotonic() - begun


@pytest.mark.parametrize("by", LEAPS)
def test_a_start_that_waits_for_the_pidfile_waits_as_long_as_it_may_whatever_the_clock_does(
    daemons: Daemons, faked: dict[str, str | None], by: str
) -> None:
    path = daemons.directory / "pid"
    holder = hold(daemons, path)
    program = """
    import lockfile
    from daemonry.pidfile import PIDLockFile
    lock = PIDLockFile(sys.argv[1])
    begun = time.monotonic()
    print("waiting", flush=True)
    try:
        lock.acquire(timeout=0.7)
    except lockfile.LockTimeout:
        assert 0.7 <= time.monotonic() - begun
    else:
        sys.exit(1)
    """
    assert took(daemons, faked, by, program, path) < 5
    daemons.stop(holder.pid)


@pytest.mark.parametrize("by", LEAPS)
def test_a_wait_is_as_long_as_asked_whatever_the_clock_does(
    daemons: Daemons, faked: dict[str, str | None], by: str
) -> None:
    program = """
    from daemonry import DaemonContext
    begun = time.monotonic()
    print("waiting", flush=True)
    assert DaemonContext().wait(0.7) is False
    assert 0.7 <= time.monotonic() - begun
    """
    assert took(daemons, faked, by, program) < 5


@pytest.mark.parametrize("by", LEAPS)
def test_a_start_that_hangs_is_given_up_in_its_time_whatever_the_clock_does(
    daemons: Daemons, faked: dict[str, str | None], by: str
) -> None:
    program = """
    import daemonry, errno
    begun = time.monotonic()
    try:
        with daemonry.DaemonContext(ready="manual", start_timeout=1.5, stdout=1) as context:
            print("waiting", flush=True)
            context.wait()
    except daemonry.DaemonStartError as error:
        assert error.errno == errno.ETIMEDOUT
        assert 1.5 <= time.monotonic() - begun
    else:
        sys.exit(1)
    """
    assert took(daemons, faked, by, program) < 6


@pytest.mark.parametrize("by", LEAPS)
def test_a_stop_keeps_to_its_schedule_whatever_the_clock_does(
    daemons: Daemons, faked: dict[str, str | None], by: str
) -> None:
    path = daemons.directory / "pid"
    daemons.launch(DEAF, path).check()
    pid = daemons.survivor()
    program = """
    import runpy
    begun = time.monotonic()
    print("waiting", flush=True)
    sys.argv[0] = "daemonry"
    try:
        runpy.run_module("daemonry", run_name="__main__", alter_sys=True)
    finally:
        assert 0.7 <= time.monotonic() - begun
    """
    assert took(daemons, faked, by, program, "stop", "--schedule", "TERM/0.7/KILL/5", path) < 6
    wait_for_exit(pid)


@pytest.mark.root_only("it makes a namespace with another time since the start")
@pytest.mark.parametrize("inside", ["the daemon", "the one who asks"])
@pytest.mark.parametrize("keeps", [True, False], ids=["locked", "without its lock"])
def test_a_daemon_is_found_across_time_namespaces(daemons: Daemons, inside: str, keeps: bool) -> None:
    """The kernel shows each reader another start of the same process: by the clock of the reader's own namespace."""
    path = daemons.directory / "pid"
    elsewhere = unshared("--time", "--boottime", "1000000", "--monotonic", "1000000", "--fork", "--kill-child")
    of_daemon, of_asker = (elsewhere, ()) if inside == "the daemon" else ((), elsewhere)
    hold(daemons, path, HOLD if keeps else WITHOUT_ITS_LOCK, through=of_daemon)
    pid = int(path.read_text())
    assert daemons.launch(ASK, through=of_asker).check().stdout == f"{pid}\n"
    assert f"held by process {pid}" in daemons.launch(TRY, path, through=of_asker).check(1).stderr
    daemons.leave(pid)
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: control.find(path) is None, what="it has ended")
    assert daemons.launch(TRY, path, through=of_asker).check().stdout == "taken\n"
