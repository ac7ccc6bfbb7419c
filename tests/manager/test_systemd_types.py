"""The units of the documents under a real systemd: they start, tell their status, reload, fail and stop."""

from __future__ import annotations

import re
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.waiting import wait_for

if TYPE_CHECKING:
    from harness.units import Units

KINDS = ("notify", "exec", "simple", "forking")
SERVICES = {"notify": "answer.service", **{kind: f"beat-{kind}.service" for kind in KINDS[1:]}}
STATUS = {"notify": r"process \d+ answers", **dict.fromkeys(KINDS[1:], "beating")}
# What systemd says of a process or of a pidfile that is not as it should be.
SUSPICIONS = re.compile(
    r".*(PID file|PID number|not our child|not owned|Supervising|belong|left-over|Failed|Killing|timed out|refus).*"
)


def pidfile_of(units: Units, kind: str) -> Path:
    return units.systemd.path(f"/run/beat-{kind}/beat.pid")


@pytest.mark.parametrize("kind", KINDS)
def test_it_starts_and_stops_within_a_second_and_systemd_suspects_nothing(units: Units, kind: str) -> None:
    unit = SERVICES[kind]
    units.start(unit)
    wait_for(lambda: re.fullmatch(STATUS[kind], units.of(unit, "StatusText")), what="the status is told")
    found = units.systemd.show(unit, "Type", "ActiveState", "SubState")
    assert found == {"Type": kind, "ActiveState": "active", "SubState": "running"}
    assert f'Status: "{units.of(unit, "StatusText")}"' in units.status(unit)
    if kind != "notify":
        # It is whole inside when the unit is up, or soon after where nobody waits.
        wait_for(lambda: pidfile_of(units, kind).read_text() == f"{units.main(unit)}\n", what="the pidfile names it")
    begun = time.monotonic()
    units.stop(unit)
    assert time.monotonic() - begun < 1
    assert units.systemd.show(unit, "ActiveState", "Result") == {"ActiveState": "inactive", "Result": "success"}
    assert not pidfile_of(units, kind).exists()
    assert not SUSPICIONS.findall(units.systemd.journal(unit))


def test_the_main_process_of_a_unit_that_forks_is_the_daemon(units: Units) -> None:
    """When the launcher ends the pidfile is there, and its process is systemd's child: each time, so it is no race."""
    unit = SERVICES["forking"]
    for _ in range(10):
        units.start(unit)
        assert pidfile_of(units, "forking").read_text() == f"{units.main(unit)}\n"
        status = units.systemd.path(f"/proc/{units.main(unit)}/status").read_text()
        assert re.search(r"^PPid:\s+1$", status, re.MULTILINE)
        assert units.of(unit, "NRestarts") == "0"
        units.stop(unit)
        assert not pidfile_of(units, "forking").exists()
    assert not SUSPICIONS.findall(units.systemd.journal(unit))


def test_a_daemon_that_has_forked_and_dies_is_noticed(units: Units) -> None:
    unit = SERVICES["forking"]
    units.start(unit)
    units.signal(unit, "KILL")
    wait_for(lambda: units.of(unit, "ActiveState") == "failed", what="systemd notices")
    assert units.of(unit, "Result") == "signal"


@pytest.mark.parametrize("kind", KINDS)
def test_a_reload_leaves_the_process_as_it_is(units: Units, kind: str) -> None:
    unit = SERVICES[kind]
    units.start(unit)
    wait_for(lambda: units.of(unit, "StatusText"), what="it is up")
    pid = units.main(unit)
    units.systemd.check("systemctl", "reload", unit)
    if kind == "notify":
        wait_for(lambda: "the counter begins anew" in units.systemd.journal(unit), what="it reloads")
    wait_for(lambda: units.of(unit, "SubState") == "running", what="the reload is over")
    assert units.main(unit) == pid


def test_a_reload_is_seen_while_it_lasts(units: Units) -> None:
    path = "/usr/local/lib/answer/asyncio_service.py"
    held = "        import time\n        while not os.path.exists('/run/go-on'):\n            time.sleep(0.01)\n"
    program = units.files[path].replace("        counter.lines = 0\n", f"{held}        counter.lines = 0\n")
    assert held in program
    units.write(path, program)
    units.start("answer.service")
    units.signal("answer.service", "HUP")
    wait_for(lambda: units.of("answer.service", "ActiveState") == "reloading", what="it tells of the reload")
    units.write("/run/go-on", "")
    wait_for(lambda: units.of("answer.service", "ActiveState") == "active", what="it tells of its end")


@pytest.fixture
def held_job(units: Units) -> Units:
    """Make the job wait for /run/go-on when it has removed two files."""
    path = "/usr/local/lib/tidy/tidy.py"
    held = "    while number == 1 and not Path('/run/go-on').exists():\n            pass\n"
    units.write(path, units.files[path].replace("        file.unlink()\n", f"        file.unlink()\n    {held}"))
    for name in ("a.tmp", "b.tmp", "c"):
        units.write(f"/var/spool/tidy/{name}", "")
    return units


def test_a_job_tells_how_far_it_is_and_counts_as_started_when_it_has_ended(held_job: Units) -> None:
    units = held_job
    units.call("start", "tidy.service", "--no-block")
    wait_for(lambda: units.of("tidy.service", "StatusText") == "1 files are gone", what="it tells how far it is")
    assert units.of("tidy.service", "ActiveState") == "activating"
    units.write("/run/go-on", "")
    wait_for(lambda: units.of("tidy.service", "ActiveState") == "inactive", what="it ends")
    assert units.of("tidy.service", "Result") == "success"
    assert [path.name for path in units.systemd.path("/var/spool/tidy").iterdir()] == ["c"]
    assert "tidy\n" in units.systemd.journal("tidy.service")
    assert not units.systemd.path("/run/tidy.pid").exists()


def test_a_job_is_stopped_within_a_second(held_job: Units) -> None:
    units = held_job
    units.call("start", "tidy.service", "--no-block")
    wait_for(lambda: units.of("tidy.service", "StatusText") == "1 files are gone", what="it is at work")
    begun = time.monotonic()
    units.stop("tidy.service")
    assert time.monotonic() - begun < 1
    assert not units.systemd.path("/run/tidy.pid").exists()


# A start that fails


def fail_to_start(units: Units, unit: str) -> tuple[str, str, str]:
    """Return the result, the status and the error number of a unit, whose start is to fail."""
    done = units.call("start", unit)
    wait_for(lambda: units.of(unit, "ActiveState") == "failed", what="it has failed")
    if units.of(unit, "Type") not in ("simple", "exec"):  # for those the start was over when it began
        assert done.returncode == 1
    found = units.systemd.show(unit, "Result", "StatusText", "StatusErrno")
    return found["Result"], found["StatusText"], found["StatusErrno"]


@pytest.mark.parametrize("kind", ["exec", "simple", "forking"])
def test_a_step_that_fails_is_named_by_the_unit_s_status(units: Units, kind: str) -> None:
    unit = SERVICES[kind]
    units.change(unit, "RuntimeDirectory=")
    result, text, number = fail_to_start(units, unit)
    assert result == "exit-code"
    assert text.startswith(f"step lock_pidfile: cannot lock /run/beat-{kind}/beat.pid")
    assert number == "2"
    status = units.status(unit)
    assert f'Status: "{text}"' in status
    assert "Error: 2 (No such file or directory)" in status
    assert "step lock_pidfile" in units.systemd.journal(unit, "-p", "info")


def test_a_body_that_fails_before_it_is_ready_is_told_with_its_number(units: Units) -> None:
    units.write(
        "/etc/systemd/system/taken.service", units.files["/etc/systemd/system/answer.service"].replace("notify", "exec")
    )
    units.start("taken.service")
    wait_for(lambda: "listening" in units.systemd.journal("taken.service"), what="the port is taken")
    units.change("answer.service", "Restart=no")
    result, text, number = fail_to_start(units, "answer.service")
    assert (result, number) == ("exit-code", "98")
    assert text.startswith("Address already in use")
    # In the foreground what ends the body is the program's own exception, and Python shows it.
    assert "OSError: [Errno 98] Address already in use" in units.status("answer.service")


@pytest.mark.parametrize("kind", ["exec", "forking"])
def test_a_pidfile_that_is_held_is_told_with_its_holder(units: Units, kind: str) -> None:
    units.start("beat-simple.service")
    holder = units.main("beat-simple.service")
    wait_for(lambda: pidfile_of(units, "simple").exists(), what="the pidfile is held")
    command = units.files[f"/etc/systemd/system/{SERVICES[kind]}"].replace(f"/run/beat-{kind}", "/run/beat-simple")
    line = re.search(r"^ExecStart=.*$", command, re.MULTILINE)
    assert line is not None
    units.change(SERVICES[kind], "ExecStart=", line.group())
    result, text, _ = fail_to_start(units, SERVICES[kind])
    assert result == "exit-code"
    assert f"held by process {holder}" in text
    assert units.of("beat-simple.service", "ActiveState") == "active"


def test_an_option_that_is_wrong_is_told(units: Units) -> None:
    program = units.files["/usr/local/lib/beat/beat.py"].replace("pidfile=pidfile", 'pidfile=pidfile, uid="no such"')
    units.write("/usr/local/lib/beat/beat.py", program)
    result, text, _ = fail_to_start(units, "beat-exec.service")
    assert result == "exit-code"
    assert "uid" in text
    assert "no such" in text


# Time


def test_a_start_may_take_longer_than_its_timeout_as_long_as_it_moves_on(units: Units) -> None:
    begun = time.monotonic()
    units.start("model.service")
    assert time.monotonic() - begun > 2  # TimeoutStartSec=
    assert units.of("model.service", "ActiveState") == "active"


def test_a_start_that_hangs_is_ended(units: Units) -> None:
    path = "/usr/local/lib/model/model.py"
    units.write(path, units.files[path].replace("time.sleep(0.5)", "time.sleep(1000)"))
    units.change("model.service", "Restart=no")
    result, text, _ = fail_to_start(units, "model.service")
    assert (result, text) == ("timeout", "loading part 1 of 6")


def test_a_program_that_stops_feeding_is_killed_and_started_again(units: Units) -> None:
    """The thread that feeds lives; it is the work that hangs."""
    path = "/usr/local/lib/model/model.py"
    hang = "    import os\n    while os.path.exists('/run/hang'):\n        time.sleep(0.1)\n"
    program = (
        units.files[path].replace("time.sleep(0.5)", "time.sleep(0)").replace("def work():\n", f"def work():\n{hang}")
    )
    units.write(path, program)
    units.start("model.service")
    first = units.main("model.service")
    assert units.of("model.service", "WatchdogUSec") == "2s"
    units.write("/run/hang", "")
    wait_for(lambda: units.of("model.service", "NRestarts") == "1", what="it is started again")
    units.systemd.path("/run/hang").unlink()
    wait_for(lambda: units.of("model.service", "SubState") == "running", what="it is up again")
    assert units.main("model.service") != first
    assert "Watchdog timeout" in units.systemd.journal("model.service")
    assert f"status={signal.SIGABRT.value}/ABRT" in units.systemd.journal("model.service")


def test_an_event_loop_that_goes_round_feeds_the_watchdog(units: Units) -> None:
    units.start("answer.service")
    first = units.of("answer.service", "WatchdogTimestampMonotonic")
    wait_for(lambda: units.of("answer.service", "WatchdogTimestampMonotonic") != first, what="it is fed")


def test_an_event_loop_that_stands_still_is_killed(units: Units) -> None:
    units.start("answer.service")
    units.signal("answer.service", "STOP")
    wait_for(lambda: int(units.of("answer.service", "NRestarts")) > 0, what="it is started again")
    assert "Watchdog timeout" in units.systemd.journal("answer.service")
