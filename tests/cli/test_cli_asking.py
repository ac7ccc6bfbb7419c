"""What the command answers, says and paints: status, list, logs, doctor, signal, reload, stop, and mistakes."""

from __future__ import annotations

import json
import os
import pwd
import re
import signal
import socket
import sys
from typing import TYPE_CHECKING

import pytest

from harness.waiting import is_alive, wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from harness.commands import Daemonry
    from harness.daemons import Daemons

SLEEP = ("--settle", "0", "--", "sleep", "60")
# Up, and deaf to what would stop it.
DEAF = ("--", "sh", "-c", 'trap "" TERM; while :; do sleep 0.02; done')
COLOUR = "\x1b["
OVER_THE_LAST_LINE = "\x1b[A\x1b[2K"


# status


def test_status_tells_of_a_daemon_that_runs(daemonry: Daemonry) -> None:
    """Running: status 0, its number, its program and since when; the same in JSON."""
    pid = daemonry.start(*SLEEP)
    told = daemonry("status", daemonry.name).check()
    since = r"since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d \(\d+ s\)"
    assert re.fullmatch(rf"{daemonry.name}: running, process {pid} \(sleep\), {since}\n", told.stdout)
    assert told.stderr == ""
    fields = json.loads(daemonry("status", "--json", daemonry.name).check().stdout)
    assert {key: fields[key] for key in ("name", "state", "pid", "program", "reason")} == {
        "name": daemonry.name,
        "state": "running",
        "pid": pid,
        "program": "sleep",
        "reason": None,
    }
    assert (fields["pidfile"], fields["log"]) == (str(daemonry.pidfile()), str(daemonry.log()))
    daemonry.stop()


def test_status_tells_of_one_that_does_not_run(daemonry: Daemonry) -> None:
    """Never started or stopped: status 3, also in JSON, which has no number then."""
    assert daemonry("status", daemonry.name).check(3).stdout == f"{daemonry.name}: not running\n"
    fields = json.loads(daemonry("status", daemonry.name, "--json").check(3).stdout)
    assert (fields["state"], fields["pid"], fields["started"]) == ("stopped", None, None)


def test_status_tells_of_one_that_died(daemonry: Daemonry) -> None:
    """Killed, its pidfile left behind: status 1, also in JSON."""
    daemonry.daemons.stop(daemonry.start(*SLEEP), signal.SIGKILL)
    told = f"{daemonry.name}: failed: it ended without being stopped, and its pidfile is left\n"
    assert daemonry("status", daemonry.name).check(1).stdout == told
    facts = json.loads(daemonry("status", "--json", daemonry.name).check(1).stdout)
    assert (facts["state"], facts["reason"]) == ("failed", told.partition("failed: ")[2].rstrip())


def test_status_tells_when_it_can_not_be_known(daemonry: Daemonry) -> None:
    """A pidfile that anybody may have written proves nothing: status 4 and the reason, also in JSON."""
    pidfile = daemonry.directory / "open.pid"
    pidfile.write_text(f"{os.getpid()}\n")
    pidfile.chmod(0o666)
    told = daemonry("status", pidfile).check(4).stdout
    assert told.startswith(f"{pidfile}: unknown: cannot tell by {pidfile}: ")
    fields = json.loads(daemonry("status", "--json", pidfile).check(4).stdout)
    assert (fields["state"], fields["pid"]) == ("unknown", None)
    assert fields["reason"] in told


def test_a_path_is_taken_from_where_the_user_is(daemonry: Daemonry) -> None:
    """A target with a slash in it is a path, relative to the present directory."""
    daemonry("start", "--pidfile", "here.pid", *SLEEP).check()
    pid = int((daemonry.directory / "here.pid").read_text())
    assert f"running, process {pid} (" in daemonry("status", "./here.pid").check().stdout
    daemonry("stop", "./here.pid").check()


def vanish() -> None:
    """Leave the process in a directory that is no more."""
    os.mkdir("vanished")
    os.chdir("vanished")
    os.rmdir("../vanished")


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["status", "./here.pid"], 4),
        (["status", "--json", "./here.pid"], 4),
        (["stop", "./here.pid"], 1),
        (["start", "--pidfile", "here.pid", "--", "true"], 1),
    ],
)
def test_a_path_from_a_directory_that_is_gone_is_not_known(daemonry: Daemonry, words: list[str], status: int) -> None:
    """It is no dead daemon, which status 1 of `daemonry status` would say."""
    told = daemonry(*words, preexec=vanish).check(status)
    assert "the working directory, where it would lie, can't be found: No such file" in told.stdout + told.stderr
    assert "here.pid" in told.stdout + told.stderr


# list


def test_list_shows_the_daemons_that_were_started_by_name(daemonry: Daemonry) -> None:
    """Those that run and those that have died, a line each, and an object each in JSON."""
    names = sorted((daemonry.name, daemonry.new_name()))
    pids = [daemonry.start(*SLEEP, name=name) for name in names]
    daemonry.daemons.stop(pids[1], signal.SIGKILL)
    lines = daemonry("list").check().stdout.splitlines()
    assert lines[0].split()[:6] == ["NAME", "STATE", "PID", "USER", "UP", "MEMORY"]
    shown = {line.split()[0]: re.split(r"  +", line) for line in lines[1:]}
    assert shown[names[0]][:4] == [names[0], "running", str(pids[0]), pwd.getpwuid(os.geteuid()).pw_name]
    assert shown[names[0]][-1] == "sleep 60"
    assert shown[names[1]] == [names[1], "failed"]
    fields = {each["name"]: each for each in json.loads(daemonry("list", "--json").check().stdout)}
    assert [(fields[name]["state"], fields[name]["pid"]) for name in names] == [("running", pids[0]), ("failed", None)]
    daemonry.stop(names[0])


@pytest.mark.unprivileged_only("root's places are the system's, and others' daemons may be there")
def test_list_of_nobody_says_nothing(daemonry: Daemonry) -> None:
    """Where no daemon has ever been started by name, the list is empty, and no error."""
    told = daemonry("list").check()
    assert (told.stdout, told.stderr.partition(":")[0]) == ("", "no daemon of this user was started by name")
    assert json.loads(daemonry("list", "--json").check().stdout) == []


@pytest.mark.parametrize("words", [["list"], ["--help"], ["start", "--help"]])
def test_a_reader_who_has_read_enough_is_no_error(daemonry: Daemonry, words: list[str]) -> None:
    """`daemonry list | head -1`: nothing is said of the pipe that is closed."""
    daemonry.start(*SLEEP)
    reading, writing = os.pipe()
    os.close(reading)
    running = daemonry.begin(*words, stdout=writing)
    os.close(writing)
    assert running.wait().stderr == ""
    daemonry.stop()


# logs


def test_logs_shows_the_last_lines(daemonry: Daemonry) -> None:
    """Ten lines, or as many as -n says, of a daemon that runs and of one that has ended."""
    daemonry.start("--", "sh", "-c", "seq 20; exec sleep 60")
    wait_for(lambda: "20\n" in daemonry.log().read_text(), what="it has written")
    assert daemonry("logs", daemonry.name).check().stdout.split() == [str(number) for number in range(11, 21)]
    assert daemonry("logs", "-n", 2, daemonry.name).check().stdout == "19\n20\n"
    daemonry.stop()
    assert daemonry("logs", "-n", 1, daemonry.name).check().stdout == "20\n"


def test_logs_finds_the_file_of_a_daemon_that_has_no_usual_one(daemonry: Daemonry) -> None:
    """Of a daemon known by its pidfile alone, the log is what its standard output points at."""
    output = ("--pidfile", "here.pid", "--output", daemonry.directory / "some.log")
    daemonry("start", *output, "--", "sh", "-c", "echo hello; exec sleep 60").check()
    assert daemonry("logs", "./here.pid").check().stdout == "hello\n"
    daemonry("stop", "./here.pid").check()


def test_logs_follows_what_is_written_until_ctrl_c(daemonry: Daemonry) -> None:
    """-f shows a line that comes later, also in a file that has taken the first one's place, and ends by Ctrl-C."""
    script = "import time\nwhile True: print(time.time(), flush=True); time.sleep(0.02)"
    daemonry.start("--restart", "--", sys.executable, "-ISuc", script)
    terminal = daemonry.on_terminal("logs", "-f", "-n", 1, daemonry.name)
    seen = terminal.read_until("\n").count("\n")
    wait_for(lambda: terminal.output.count("\n") > seen + 3, what="new lines are shown")
    daemonry.log().rename(daemonry.directory / "moved.log")
    daemonry("reload", daemonry.name).check()
    wait_for(daemonry.log().exists, what="the log is written anew")
    first = wait_for(lambda: daemonry.log().read_text().partition("\n")[0], what="a first line")
    terminal.read_until(first)
    terminal.write("\x03")
    assert terminal.wait() == 130
    assert "Traceback" not in terminal.output
    daemonry.stop()


def test_logs_of_one_whose_log_nobody_knows_is_an_error(daemonry: Daemonry) -> None:
    """Without any file there is nothing to show, and the message says so."""
    told = daemonry("logs", daemonry.name).check(1).stderr
    assert told.startswith(f"daemonry: nobody knows where {daemonry.name} writes")


# doctor


def test_the_doctor_finds_a_daemon_of_daemonry_well(daemonry: Daemonry) -> None:
    """Every finding on a daemon that `daemonry start` has made is good, by name, by pid and in JSON."""
    pid = daemonry.start(*SLEEP)
    for target in (daemonry.name, daemonry.pidfile(), pid):
        lines = daemonry("doctor", target).check().stdout.splitlines()
        assert not [line for line in lines if line.startswith("not ok")]
        assert {line[8:].split("  ")[0] for line in lines} >= {"session", "umask", "ignored signals", "core limit"}
    findings = json.loads(daemonry("doctor", "--json", daemonry.name).check().stdout)
    assert [each for each in findings if each["ok"] is not True] == []
    assert {"name", "ok", "fact", "advice"} <= set(findings[0])
    daemonry.stop()


def test_the_doctor_finds_a_shells_child_ill(daemonry: Daemonry) -> None:
    """A process that is no daemon has findings that are not ok, each with an advice, and the status is 1."""
    child = daemonry.daemons.start("import signal; signal.pause()", stdin=None, through=("sh", "-c", '"$@"; :', "sh"))
    told = daemonry("doctor", child.pid).check(1).stdout
    assert re.search(r"^not ok  parent +process \d+ \(.*\n {8,}\S", told, re.MULTILINE)
    findings = json.loads(daemonry("doctor", "--json", child.pid).check(1).stdout)
    assert all(each["advice"] for each in findings if each["ok"] is False)
    for pid in daemonry.daemons.alive():
        if pid != child.pid:
            daemonry.daemons.stop(pid)
    child.wait()


def test_the_doctor_has_nobody_to_examine(daemonry: Daemonry) -> None:
    """A daemon that doesn't run, and a number that is no process's, are errors with status 7."""
    assert daemonry("doctor", daemonry.name).check(7).stderr == f"daemonry: {daemonry.name}: not running\n"
    assert daemonry("doctor", 2**30).check(7).stderr == f"daemonry: there is no process {2**30}: No such process\n"


# signal, reload, stop


def test_signal_and_reload_reach_the_daemon(daemonry: Daemonry) -> None:
    """The signal that is named arrives, and a message says what was sent to whom."""
    listens = "trap 'echo got-usr1' USR1; trap 'echo got-hup' HUP; echo up; while :; do sleep 0.02; done"
    pid = daemonry.start("--", "sh", "-c", listens)
    for word in ("USR1", "SIGUSR1", str(int(signal.SIGUSR1)), "usr1"):
        told = daemonry("signal", daemonry.name, word).check()
        assert (told.stdout, told.stderr) == ("", f"{daemonry.name}: sent SIGUSR1 to process {pid}\n")
    assert daemonry("reload", daemonry.name).check().stderr == f"{daemonry.name}: sent SIGHUP to process {pid}\n"
    wait_for(lambda: {"got-usr1", "got-hup"} <= set(daemonry.log().read_text().split()), what="both arrive")
    daemonry.stop()


def test_reload_ends_no_program_that_does_not_expect_it(daemonry: Daemonry) -> None:
    """Most end by SIGHUP: it is refused, with what to do."""
    pid = daemonry.start(*SLEEP)
    told = daemonry("reload", daemonry.name).check(1).stderr
    assert told.startswith(
        f"daemonry: process {pid} (sleep) has no handler for SIGHUP, which would end it or do nothing"
    )
    assert is_alive(pid)
    daemonry("signal", daemonry.name, "HUP").check()
    wait_for(lambda: not is_alive(pid), what="it ends by the signal that is asked for by its name")


@pytest.mark.parametrize("words", [["reload"], ["signal", "USR1"]])
def test_nobody_is_signalled_when_it_does_not_run(daemonry: Daemonry, words: list[str]) -> None:
    """Signal and reload of a daemon that doesn't run are status 7."""
    daemonry.start(*SLEEP)
    daemonry.stop()
    told = daemonry(words[0], daemonry.name, *words[1:]).check(7)
    assert told.stderr == f"daemonry: {daemonry.name}: not running\n"


def test_stop_of_one_that_does_not_run_is_no_error(daemonry: Daemonry) -> None:
    """What is not running is stopped already, be its directory missing or its pidfile left; that one is removed."""
    daemonry("stop", "nowhere/at/all.pid").check()
    daemonry.daemons.stop(daemonry.start(*SLEEP), signal.SIGKILL)
    assert daemonry("stop", daemonry.name).check().stderr == f"{daemonry.name}: not running\n"
    assert not daemonry.pidfile().exists()


def test_stop_says_whom_it_has_stopped(daemonry: Daemonry) -> None:
    """On a file no line moves: one message, with the number and the seconds."""
    pid = daemonry.start(*SLEEP)
    told = daemonry("stop", daemonry.name).check()
    assert re.fullmatch(rf"{daemonry.name}: stopped, process {pid}, after \d\.\d s\n", told.stderr)
    assert told.stdout == ""


def test_stop_that_fails_says_so(daemonry: Daemonry) -> None:
    """A daemon that outlives the schedule is an error that names it, and runs on."""
    pid = daemonry.start(*DEAF)
    told = daemonry("stop", "--schedule", "TERM/0.1", daemonry.name).check(1)
    assert re.match(rf"daemonry: process {pid} \(sh\).* still runs? after TERM/0.1\n", told.stderr)
    assert is_alive(pid)
    daemonry("stop", "--schedule", "KILL/5", daemonry.name).check()


@pytest.mark.parametrize("word", ["-q", "--quiet"])
def test_quiet_leaves_only_errors_and_answers(daemonry: Daemonry, word: str) -> None:
    """--quiet: no message of start, signal and stop, but the answer of status and every error."""
    started = daemonry("start", word, "--name", daemonry.name, *SLEEP).check()
    sent = daemonry("signal", word, daemonry.name, "CONT").check()
    assert "running" in daemonry("status", word, daemonry.name).check().stdout
    stopped = daemonry("stop", word, daemonry.name).check()
    assert [each.stdout + each.stderr for each in (started, sent, stopped)] == ["", "", ""]
    assert daemonry("reload", word, daemonry.name).check(7).stderr != ""


# Mistakes


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["stop"],
        ["status", "a", "b"],
        ["status", "--colour", "a"],
        ["list", "a"],
        ["list", "--json", "--watch"],
        ["logs", "-n", "many", "a"],
        ["signal", "a"],
        ["signal", "a", "NONSENSE"],
        ["stop", "--schedule", "SOON", "a"],
        ["start", "--umask", "9", "--", "true"],
        ["start", "--wait-port", "0", "--", "true"],
        ["start"],
        ["completion", "tcsh"],
        ["frobnicate"],
        ["--frobnicate"],
    ],
)
def test_words_that_mean_nothing_are_a_usage_error(daemonry: Daemonry, words: list[str]) -> None:
    """What can't be understood is status 2, with no traceback."""
    told = daemonry(*words).check(2)
    assert "Traceback" not in told.stderr
    assert "daemonry" in told.stdout + told.stderr


@pytest.mark.parametrize("name", ["", ".hidden", "-dash", "two words", "a/b", "é", "a\nb", "../up"])
def test_a_name_that_is_no_name_of_a_file_is_refused(daemonry: Daemonry, name: str) -> None:
    """--name takes letters, digits and _.@- and begins with a letter or a digit."""
    told = daemonry("start", f"--name={name}", *SLEEP).check(2)
    assert "invalid name (letters, digits and _.@-) value" in told.stderr
    assert daemonry.daemons.alive() == []


def test_an_unknown_command_is_named(daemonry: Daemonry) -> None:
    """The message names the word, and says where the right ones are."""
    assert (
        daemonry("frobnicate").check(2).stderr == "daemonry: there is no command 'frobnicate'; try: daemonry --help\n"
    )


# The terminal


@pytest.mark.parametrize(
    ("env", "is_painted"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False), ({"NO_COLOR": ""}, True)],
)
def test_colour_is_for_terminals_that_want_it(daemonry: Daemonry, env: dict[str, str | None], is_painted: bool) -> None:
    """Colour shows on a terminal, and not with NO_COLOR (no-color.org: set and not empty) nor TERM=dumb."""
    for words in (["status", daemonry.name], ["frobnicate"], ["--help"]):
        terminal = daemonry.on_terminal(*words, env=env)
        terminal.wait()
        assert (COLOUR in terminal.output) == is_painted, terminal.output


def test_colour_is_not_for_files(daemonry: Daemonry) -> None:
    """What goes to a file or a pipe is plain, whatever TERM says."""
    told = daemonry("status", daemonry.name, env={"TERM": "xterm"})
    assert COLOUR not in told.stdout
    assert COLOUR not in daemonry("--help", env={"TERM": "xterm"}).stdout


def test_a_line_moves_while_a_slow_daemon_is_stopped(daemonry: Daemonry) -> None:
    """On a terminal `stop` shows the last signal and the seconds in one line, which the result replaces."""
    pid = daemonry.start(*DEAF)
    terminal = daemonry.on_terminal("stop", "--schedule", "TERM/0.7/KILL/5", daemonry.name)
    terminal.read_until(f"{daemonry.name}: stopping process {pid}, TERM, 0.")
    assert terminal.wait() == 0
    *moved, last = terminal.output.split(OVER_THE_LAST_LINE)
    assert len(moved) >= 2
    assert last.startswith(f"{daemonry.name}: stopped, process {pid}, after ")
    assert all(each.count("\n") == 1 for each in (*moved, last))


@pytest.mark.parametrize("where", ["dumb", "quiet"])
def test_no_line_moves_where_none_is_wanted(daemonry: Daemonry, where: str) -> None:
    """A dumb terminal gets the result alone, --quiet nothing."""
    daemonry.start(*DEAF)
    words = ("stop", "--schedule", "TERM/0.5/KILL/5", daemonry.name, *(["-q"] if where == "quiet" else []))
    terminal = daemonry.on_terminal(*words, env={"TERM": "dumb"} if where == "dumb" else {})
    assert terminal.wait() == 0
    assert terminal.output.count("\n") == (1 if where == "dumb" else 0)
    assert COLOUR not in terminal.output


def test_a_line_moves_while_a_port_is_waited_for(daemonry: Daemonry, daemons: Daemons) -> None:
    """On a terminal `start --wait-port` counts the seconds, and says in their place that the daemon is started."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    opens = """
import os, socket, sys, time
while not os.path.exists("go"): time.sleep(0.01)
with socket.create_server(("127.0.0.1", int(sys.argv[1]))) as server:
    while True: server.accept()[0].close()
"""
    words = ("--chdir", daemons.directory, "--wait-port", port, "--", sys.executable, "-ISuc", opens, port)
    terminal = daemonry.on_terminal("start", "--name", daemonry.name, *words)
    terminal.read_until(f"waiting until port {port} accepts, 1 s")
    (daemons.directory / "go").touch()
    assert terminal.wait() == 0
    assert terminal.output.endswith(f"{OVER_THE_LAST_LINE}{daemonry.name}: started, process {daemonry.pid()}\r\n")
    daemonry.stop()


def test_stderr_that_is_closed_is_no_error(daemonry: Daemonry, tmp_path: Path) -> None:
    """Without a standard error the status tells, and nothing fails for the message that nobody reads."""
    daemonry("stop", daemonry.name, preexec=lambda: os.close(2)).check(5)
    daemonry("reload", daemonry.name, preexec=lambda: os.close(2)).check(7)
