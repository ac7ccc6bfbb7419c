"""What `status` and `list` show: the program below a supervisor, what has failed and how, and tables that fit."""

from __future__ import annotations

import json
import os
import pwd
import re
import signal
import stat
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemonry.cli import sight
from daemonry.cli.tables import fitted, width_of
from harness.jails import bring_in
from harness.probe import facts_of
from harness.waiting import wait_for, wait_for_exit
from pidfile_programs import unshared

if TYPE_CHECKING:
    from harness.commands import Daemonry

SLEEP = ("--settle", "0", "--", "sleep", "60")
# A program that fails as soon as it finds a file, whose name is its status.
FAILS = """\
echo started
while :; do
    for each in 3 7; do [ ! -e $each ] || { rm $each; exit $each; }; done
    sleep 0.02
done
"""
# One that runs, and whose command line has more to say.
RUNS = "while :; do sleep 0.02; done; : "
SINCE = r"since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d \(\d+ s\)"
AGO = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \(\d+ s ago\)"


def facts(daemonry: Daemonry, *words: object, status: int = 0) -> dict[str, Any]:
    """Return what `status --json` says of the test's daemon."""
    told: dict[str, Any] = json.loads(daemonry("status", "--json", *words or [daemonry.name]).check(status).stdout)
    return told


def supervised(daemonry: Daemonry, *options: object) -> int:
    """Start the program that fails; return the number of its supervisor."""
    where = ("--settle", "0", "--chdir", daemonry.directory)
    return daemonry.start("--restart", *options, *where, "--", "sh", "-c", FAILS)


def fail(daemonry: Daemonry, status: int) -> None:
    """Let the program fail that runs."""
    (daemonry.directory / str(status)).touch()


# A supervisor's program


def test_status_tells_of_the_program_and_of_its_supervisor(daemonry: Daemonry) -> None:
    """Its own number, command line, user, memory, starts and last end, and beside them the supervisor's."""
    supervisor = supervised(daemonry, "--restart-pause", "0.01")
    fail(daemonry, 3)
    told = wait_for(lambda: (found := facts(daemonry))["starts"] == 2 and found["pid"] and found, what="its new start")
    pid, user = told["pid"], pwd.getpwuid(os.geteuid()).pw_name
    assert facts_of(pid).comm == "sh"
    assert (told["state"], told["program"], told["user"]) == ("running", "sh", user)
    assert told["command"].startswith("sh -c echo started\\nwhile ")
    assert told["memory"] > 100_000
    assert told["last_end"]["how"] == "exited with status 3"
    assert told["supervisor"]["pid"] == supervisor == daemonry.pid()
    assert told["started"] >= told["supervisor"]["started"]
    lines = daemonry("status", daemonry.name).check().stdout.splitlines()
    assert re.fullmatch(rf"{daemonry.name}: running, process {pid} \(sh\), {SINCE}", lines[0])
    shown = dict(re.split(r"  +", line.strip(), maxsplit=1) for line in lines[1:])
    assert re.fullmatch(rf"{AGO}: exited with status 3", shown.pop("last end"))
    assert re.fullmatch(rf"process {supervisor} \(.*\), {SINCE}", shown.pop("supervisor"))
    assert re.fullmatch(r"\d+\.\d MB", shown.pop("memory"))
    assert shown == {"command": told["command"], "user": user, "started": "2 times"}
    daemonry.stop()


@pytest.mark.root_only("chroot")
def test_a_program_inside_another_root_is_told_of_as_well(daemonry: Daemonry) -> None:
    """Also where its supervisor has neither /proc, by which to see when it began, nor /dev/null."""
    jail = daemonry.daemons.jail()
    supervisor = daemonry.start("--restart", "--settle", "0", "--chroot", jail, "--", bring_in(jail, "sleep"), "60")
    told = facts(daemonry)
    assert (told["state"], told["program"], told["starts"]) == ("running", "sleep", 1)
    assert told["supervisor"]["pid"] == supervisor != told["pid"]
    assert facts_of(told["pid"]).root == str(jail)
    daemonry.stop()


def test_a_command_line_steers_no_terminal(daemonry: Daemonry) -> None:
    daemonry.start("--restart", "--settle", "0", "--", "sh", "-c", f"{RUNS}\x1b[31m\nred")
    told = facts(daemonry)
    assert told["command"] == f"sh -c {RUNS}\\x1b[31m\\nred"
    daemonry.stop()


def test_what_is_shown_of_a_process_is_the_same_without_proc(daemonry: Daemonry) -> None:
    """By ps(1), where there is no /proc."""
    pid = daemonry.start(*SLEEP)
    found, by_ps = sight._details_from_proc(pid), sight._details_from_ps(pid)
    assert (found.command, found.user) == (by_ps.command, by_ps.user)
    assert found.memory == by_ps.memory
    daemonry.stop()
    assert sight._details_from_ps(2**30) == sight.Details()


def test_a_program_between_two_starts_is_restarting(daemonry: Daemonry) -> None:
    """The daemon runs, status 0, and no number is told that may be another's by now."""
    supervised(daemonry, "--restart-pause", "3600")
    fail(daemonry, 3)
    told = wait_for(lambda: (found := facts(daemonry))["state"] == "restarting" and found, what="the pause")
    assert (told["pid"], told["starts"]) == (None, 1)
    shown = daemonry("status", daemonry.name).check().stdout
    assert shown.startswith(f"{daemonry.name}: restarting: the program exited with status 3\n")
    daemonry.stop()


@pytest.mark.parametrize(
    "lie", ["program 1\nprogram_born 0", "supervisor 0", "ended nan", "starts many", "ending \x1b[31m"]
)
def test_a_history_that_lies_shows_nobody_elses_process(daemonry: Daemonry, lie: str) -> None:
    """A program that runs as its supervisor's user could write there: what it says is shown or left, and no more."""
    supervisor = daemonry.start("--restart", *SLEEP)
    program, history = facts(daemonry)["pid"], daemonry.history()
    history.write_text(f"{history.read_text()}ended 1\n{lie}\n")
    assert facts(daemonry)["pid"] in (None, supervisor, program)
    for words in (["list"], ["status", daemonry.name]):
        assert "\x1b" not in daemonry(*words).check().stdout
    daemonry.stop()


# What has failed


def test_what_was_given_up_has_failed(daemonry: Daemonry) -> None:
    """Status 3, for no pidfile is left: when, with which status, how often it was started, and its last lines."""
    supervisor = supervised(daemonry, "--restart-limit", "0/60")
    fail(daemonry, 7)
    wait_for_exit(supervisor)
    lines = daemonry("status", daemonry.name).check(3).stdout.splitlines()
    assert lines[0] == f"{daemonry.name}: failed: the program exited with status 7, and was given up"
    assert re.fullmatch(r"  started +1 time", lines[1])
    assert re.fullmatch(rf"  last end +{AGO}: exited with status 7", lines[2])
    assert re.fullmatch(rf"  last lines +of {AGO}:", lines[3])
    assert lines[4] == "    started"
    assert "given up, for it was started again 0 times in 60 s" in lines[5]
    told = facts(daemonry, status=3)
    assert (told["state"], told["pid"], told["starts"]) == ("failed", None, 1)
    assert told["last_end"]["how"] == "exited with status 7"
    assert f"{daemonry.name}  failed" in daemonry("list").check().stdout


def test_a_signal_by_which_it_was_killed_is_named(daemonry: Daemonry) -> None:
    supervisor = supervised(daemonry, "--restart-limit", "0/60")
    daemonry.daemons.stop(facts(daemonry)["pid"], signal.SIGKILL)
    wait_for_exit(supervisor)
    told = daemonry("status", daemonry.name).check(3).stdout
    assert "failed: the program was killed by SIGKILL, and was given up" in told


@pytest.mark.parametrize("ends", ["stop", "start", "run"])
def test_a_failure_is_over_with_the_next_stop_or_start(daemonry: Daemonry, ends: str) -> None:
    """A daemon that is stopped by whatever command, or starts anew, has not failed."""
    supervisor = supervised(daemonry, "--restart-limit", "0/60")
    fail(daemonry, 3)
    wait_for_exit(supervisor)
    if ends == "start":
        daemonry.start(*SLEEP)
        assert facts(daemonry)["starts"] is None
    if ends == "run":
        daemonry("run", "--name", daemonry.name, "--", "true").check()
        assert not daemonry.history().exists()
    daemonry("stop", daemonry.name).check()
    assert daemonry("status", daemonry.name).check(3).stdout == f"{daemonry.name}: not running\n"
    assert not daemonry.history().exists()


@pytest.mark.parametrize("how", ["SIGTERM", "its end"])
def test_a_supervisor_that_ends_in_order_has_not_failed(daemonry: Daemonry, how: str) -> None:
    """By whomever it is told to, or because its program is done."""
    if how == "SIGTERM":
        daemonry.daemons.stop(daemonry.start("--restart", *SLEEP))
    else:
        pid = daemonry.start("--restart=on-failure", "--settle", "0", "--", "sleep", "0.2")
        wait_for_exit(pid)
    assert daemonry("status", daemonry.name).check(3).stdout == f"{daemonry.name}: not running\n"


def test_a_killed_supervisor_has_failed(daemonry: Daemonry) -> None:
    daemonry.daemons.stop(daemonry.start("--restart", *SLEEP), signal.SIGKILL)
    wait_for(lambda: not daemonry.daemons.alive(), what="its program ends with it")
    told = daemonry("status", daemonry.name).check(1).stdout
    assert told.startswith(f"{daemonry.name}: failed: its supervisor ended without being stopped, and its pidfile")


def test_what_ended_with_the_system_is_told_apart(daemonry: Daemonry) -> None:
    """Its pidfile is older than the system's start, which lies here where the offset of a time namespace puts it."""
    daemonry.daemons.stop(daemonry.start(*SLEEP), signal.SIGKILL)
    ended = time.clock_gettime(time.CLOCK_BOOTTIME)
    now = wait_for(lambda: (now := int(time.clock_gettime(time.CLOCK_BOOTTIME))) > ended and now, what="a whole second")
    reboot = unshared("--time", "--boottime", str(-now), "--fork", "--kill-child")
    told = daemonry("status", daemonry.name, through=reboot).check(1).stdout
    assert told.startswith(f"{daemonry.name}: failed: it ended with the system, and its pidfile is left\n")


def test_the_last_lines_are_those_of_its_own_log(daemonry: Daemonry) -> None:
    """Wherever --output has put it, of a daemon that was killed; also for `logs`."""
    output = ("--output", "some.log", "--settle", "0.2")
    daemonry.daemons.stop(daemonry.start(*output, "--", "sh", "-c", "seq 9; exec sleep 60"), signal.SIGKILL)
    shown = daemonry("status", daemonry.name, cwd="/").check(1).stdout.splitlines()
    assert shown[2:] == [f"    {number}" for number in range(5, 10)]
    assert daemonry("logs", "-n", 1, daemonry.name, cwd="/").check().stdout == "9\n"
    assert facts(daemonry, status=1)["log"] == str(daemonry.directory / "some.log")


def test_a_start_that_fails_leaves_no_history(daemonry: Daemonry) -> None:
    words = ("--restart", "--name", daemonry.name, "--settle", "0.3", "--", "sh", "-c", "exit 3")
    daemonry("start", *words).check(1)
    assert not daemonry.history().exists()
    daemonry("status", daemonry.name).check(3)


def test_a_file_of_the_name_that_is_no_history_stays(daemonry: Daemonry) -> None:
    """It is the user's: a start says so, and neither stop nor start takes it away."""
    other = daemonry.directory / "job.pid.history"
    other.write_text("my notes\n")
    told = daemonry("start", "--restart", "--pidfile", "job.pid", *SLEEP).check(1).stderr
    assert "job.pid.history" in told
    assert "File exists" in told
    daemonry("stop", "./job.pid").check()
    assert other.read_text() == "my notes\n"


def test_a_history_is_readable_and_its_users_alone_to_write(daemonry: Daemonry) -> None:
    daemonry.start("--restart", *SLEEP, preexec=lambda: os.umask(0))
    assert stat.S_IMODE(daemonry.history().stat().st_mode) == 0o644
    daemonry.stop()


# All of them


@pytest.mark.unprivileged_only("root's places are the system's, and others' daemons may be there")
def test_status_without_a_name_is_that_of_all(daemonry: Daemonry) -> None:
    """Status 0 when all run, 3 when there is none."""
    daemonry("status").check(3)
    daemonry.start(*SLEEP)
    assert daemonry.name in daemonry("status").check().stdout
    assert [each["name"] for each in json.loads(daemonry("status", "--json").check().stdout)] == [daemonry.name]
    daemonry.stop()
    daemonry("status").check(3)


def test_status_without_a_name_shows_the_same_as_list(daemonry: Daemonry) -> None:
    daemonry.start(*SLEEP)
    line = re.compile(rf"^{daemonry.name}  running .* sleep 60$", re.MULTILINE)
    assert line.search(daemonry("status").stdout)
    assert line.search(daemonry("list").check().stdout)
    daemonry.stop()


# Tables


COLUMNS = ("NAME", "STATE", "PID", "LAST END", "COMMAND")
TEXTS = st.text(alphabet=st.sampled_from("abc Ж漢e\u0301"), max_size=30)


@given(
    rows=st.lists(st.tuples(st.just("web"), TEXTS, TEXTS, TEXTS, TEXTS), min_size=1, max_size=4),
    most=st.integers(20, 150),
)
def test_a_table_is_never_wider_than_what_it_is_to_fit(rows: list[tuple[str, ...]], most: int) -> None:
    """Whatever letters take whatever room; and where it needs less, nothing is cut."""
    whole = fitted([COLUMNS, *rows], None)
    lines = fitted([COLUMNS, *rows], most, ("LAST END", "PID", "STATE"))
    assert max(map(width_of, lines)) <= most
    if max(map(width_of, whole)) <= most:
        assert lines == whole


@pytest.mark.parametrize("columns", [80, 120])
def test_a_table_fits_the_terminal(daemonry: Daemonry, columns: int) -> None:
    """The command is cut, and columns that `status NAME` shows as well are left out; nothing is when it is piped."""
    long = "x" * 200
    daemonry.start("--restart", "--settle", "0", "--", "sh", "-c", RUNS + long)
    whole = daemonry("list").check().stdout
    assert long in whole
    terminal = daemonry.on_terminal("list", through=("sh", "-c", f'stty cols {columns} rows 24; exec "$@"', "sh"))
    assert terminal.wait() == 0
    lines = terminal.output.splitlines()
    assert max(map(len, lines)) <= columns
    if "LAST END" not in whole:  # of another daemon of this user's, and wider
        assert ("SUPERVISOR" in lines[0]) == (columns == 120)
    (shown,) = [line for line in lines if line.startswith(daemonry.name)]
    assert re.search(r" running +\d+ .*sh -c wh.*\.\.\.$", shown)
    daemonry.stop()


@pytest.mark.parametrize("words", [["list"], ["status"]])
def test_watch_looks_again_until_ctrl_c(daemonry: Daemonry, words: list[str]) -> None:
    """On a terminal it paints over what was there."""
    daemonry.start(*SLEEP)
    name = [daemonry.name] if words == ["status"] else []
    terminal = daemonry.on_terminal(*words, "--watch", *name)
    terminal.read_until(f"{daemonry.name}")
    daemonry.stop()
    wait_for(
        lambda: re.search(rf"{daemonry.name}:? +\S*not running", terminal.output), what="it is seen that it is stopped"
    )
    terminal.write("\x03")
    assert terminal.wait() == 130
    assert "Traceback" not in terminal.output
