"""Every piece of code in the documents is run: by a test here, or by one that this table names."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from harness.waiting import wait_for

if TYPE_CHECKING:
    from harness.daemons import Daemons

PROJECT = Path(__file__).parent.parent
PAGES = (PROJECT / "README.rst", *sorted((PROJECT / "docs").glob("*.rst")))
_BLOCK = re.compile(
    r"^( *)\.\. code-block:: (python|pycon|text|sh)\n((?:\1 +:.*\n)*)\n((?:\1   .*\n|\n)+)", re.MULTILINE
)
_LITERAL = re.compile(r"::\n\n((?:    .*\n|\n)+)")


class Snippet(NamedTuple):
    """A piece of code, and where it stands."""

    page: str
    number: int
    language: str
    caption: str
    code: str

    def __str__(self) -> str:
        return f"{self.page}-{self.number}"


def snippets() -> list[Snippet]:
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        blocks = [
            (match.start(), match[2], match[3].partition(":caption: ")[2].partition("\n")[0], match[4])
            for match in _BLOCK.finditer(text)
        ]
        if page.name == "README.rst":
            blocks += [(m.start(), "python", "", m[1]) for m in _LITERAL.finditer(text) if "import " in m[1]]
        for number, (_, language, caption, code) in enumerate(sorted(blocks), 1):
            found.append(Snippet(page.stem, number, language, caption, textwrap.dedent(code)))
    return found


SNIPPETS = snippets()

# Pages whose programs other tests take out, and run where they belong.
ELSEWHERE = {"systemd": "manager/test_systemd_types.py", "managers": "test_everywhere.py"}

_PRELUDE = """\
import os, signal, socket, sys, time, logging
from daemonry import DaemonContext, DaemonStartError, PIDLockFile, default_signal_map
from lockfile import AlreadyLocked
def serve_forever():
    while True:
        time.sleep(60)
def beat():
    logging.info("beat")
def one_round_of_work():
    pass
"""
# They start a daemon, which stays until it is told to end.
DAEMONS = {
    "README-1",
    "index-1",
    "reference-3",
    "reference-5",
    "tutorial-2",
    "tutorial-4",
    "tutorial-5",
    "tutorial-6",
    "tutorial-11",
}
# They make a context, or name options of one: what is run behind them.
CONTEXTS = {
    "reference-1": "{code}\nassert EchoDaemon().plan()[-1].name == 'bind_socket'",
    "reference-2": "assert {code}.plan()",
    "tutorial-7": "assert DaemonContext({code}).plan()",
    "tutorial-9": "{code}\nassert context.plan()",
    "tutorial-12": "{code}\nassert context.plan()",
}
# They are run to their end, and may say nothing: no daemon is there.
CALMLY = {"control-2", "control-3"}
# Sessions in Python, whose answers are those of the day: each statement is run.
SESSIONS = {"control-1", "reference-4", "tutorial-13"}
# And those whose answers are ever the same.
DOCTESTS = {"concepts-4", "tutorial-10"}
ONE_BY_ONE = {
    "command-1",
    "command-2",
    "command-3",
    "command-4",
    "concepts-1",
    "concepts-2",
    "concepts-3",
    "tutorial-1",
    "tutorial-3",
    "tutorial-8",
}


def code_of(name: str, place: Path) -> str:
    """Return a snippet whose files are all in one place, and whose port is free."""
    code = next(each.code for each in SNIPPETS if str(each) == name)
    with socket.create_server(("127.0.0.1", 0)) as free:
        code = code.replace("8765", str(free.getsockname()[1]))
    return re.sub(r"/(tmp|run|var/log/heartbeat|var/log)/(?=\w)", f"{place}/", code)


def test_every_snippet_is_run_by_somebody() -> None:
    here = DAEMONS | set(CONTEXTS) | CALMLY | SESSIONS | DOCTESTS | ONE_BY_ONE
    assert {str(each) for each in SNIPPETS if each.page not in ELSEWHERE} == here
    for page, file in ELSEWHERE.items():
        assert page in (PROJECT / "tests" / file).read_text() + (PROJECT / "tests" / "conftest.py").read_text()


@pytest.mark.parametrize("name", sorted(DAEMONS))
def test_a_program_of_the_documents_starts_and_stops(daemons: Daemons, name: str) -> None:
    daemons.launch(_PRELUDE + code_of(name, daemons.directory)).check()
    daemons.stop(daemons.survivor())
    assert list(daemons.directory.glob("*.pid")) == []
    assert "Traceback" not in "".join(log.read_text() for log in daemons.directory.glob("*.log"))


@pytest.mark.parametrize("name", sorted(CONTEXTS))
def test_options_of_the_documents_have_a_plan(daemons: Daemons, name: str) -> None:
    code = code_of(name, daemons.directory).strip()
    assert daemons.launch(_PRELUDE + CONTEXTS[name].format(code=code)).check().stderr == ""


@pytest.mark.parametrize("name", sorted(CALMLY))
def test_where_no_daemon_is_nothing_is_said(daemons: Daemons, name: str) -> None:
    launched = daemons.launch(code_of(name, daemons.directory)).check()
    assert (launched.stdout, launched.stderr) == ("", "")


SLEEPER = """
import daemonry
with daemonry.DaemonContext(pidfile={path!r}, umask=0o022) as context:
    context.wait()
"""


@pytest.mark.parametrize("name", sorted(SESSIONS))
def test_the_statements_of_a_session_can_be_typed(daemons: Daemons, name: str) -> None:
    path = daemons.directory / "web.pid"
    daemons.launch(SLEEPER.format(path=str(path))).check()
    pid = daemons.survivor()
    lines = code_of(name, daemons.directory).replace("4242", str(pid)).splitlines()
    code = "\n".join(line[4:].replace("...  ", "   ") for line in lines if line.startswith((">>>", "...")))
    daemons.launch(code + "\n").check()
    if name == "control-1":
        assert not path.exists()
    else:
        daemons.stop(pid)


@pytest.mark.root_only("one of them gives up root's rights")
@pytest.mark.parametrize("name", sorted(DOCTESTS))
def test_a_session_has_the_answers_that_are_shown(daemons: Daemons, name: str) -> None:
    (daemons.directory / "session.txt").write_text(code_of(name, daemons.directory))
    launched = daemons.launch("import doctest, sys; sys.exit(doctest.testfile('session.txt', False)[0])")
    assert launched.status == 0, launched.stdout


def test_the_loop_in_the_foreground_beats_until_it_is_interrupted(daemons: Daemons) -> None:
    running = daemons.start(code_of("tutorial-1", daemons.directory))
    wait_for(lambda: "beat" in running.stderr, what="a beat")
    running.signal(signal.SIGINT)
    assert running.wait().status == -signal.SIGINT


def test_a_log_in_no_directory_is_refused_as_it_is_shown(daemons: Daemons) -> None:
    said = daemons.launch(_PRELUDE + code_of("tutorial-3", daemons.directory)).check(1).stderr
    assert said.splitlines()[-1] in (PROJECT / "docs" / "tutorial.rst").read_text()


def test_who_has_sent_a_hang_up_is_written_down(daemons: Daemons) -> None:
    program = daemons.directory / "hup.py"
    program.write_text(code_of("concepts-1", daemons.directory).replace("caught", "open('held-off', 'w')\ncaught", 1))
    running = daemons.start(program, "job")
    wait_for((daemons.directory / "held-off").exists, what="it is held off")
    running.signal(signal.SIGHUP)
    running.wait().check()
    assert (daemons.directory / "hangup.log").read_text() == f"job: SIGHUP from process {os.getpid()}\n"


def test_who_can_get_a_terminal_is_shown(daemons: Daemons) -> None:
    said = daemons.launch(code_of("concepts-2", daemons.directory)).check().stdout
    shown = "second child: no controlling terminal (No such device or address)"
    assert said.splitlines() == [shown, "session leader: has a controlling terminal now"]


def test_the_slow_start_ends_well(daemons: Daemons) -> None:
    daemons.launch(code_of("concepts-3", daemons.directory).replace("sleep(10)", "sleep(0.1)")).check()
    wait_for(lambda: not daemons.alive(), what="the daemon ends")


def test_a_programs_own_commands_are_what_they_are_shown_to_be(daemons: Daemons) -> None:
    program = daemons.directory / "heartbeat.py"
    program.write_text(code_of("command-2", daemons.directory))
    started = daemons.launch(program, "start").check().stderr
    pid = daemons.survivor()
    assert started == f"heartbeat.py: started, process {pid}\n"
    again = daemons.launch(program, "start").check(1).stderr
    assert again.startswith(f"heartbeat.py is running already: process {pid} (")
    assert f"heartbeat.py: running, process {pid} (" in daemons.launch(program, "status").check().stdout
    assert f"heartbeat.py: stopped, process {pid}" in daemons.launch(program, "stop").check().stderr


@pytest.mark.parametrize(
    ("name", "first", "second"),
    [
        ("command-3", ("start", "--every", "1", "world"), ("restart", "--every", "10", "moon")),
        ("command-4", ("start", "--every", "1"), ("--name", "moon", "restart", "--every", "10")),
    ],
)
def test_a_programs_own_arguments_stand_where_they_are_shown(
    daemons: Daemons, name: str, first: tuple[str, ...], second: tuple[str, ...]
) -> None:
    program, log = daemons.directory / "greet.py", daemons.directory / "greet.log"
    program.write_text(code_of(name, daemons.directory))
    started = daemons.launch(program, *first).check().stderr
    assert started == f"greet.py: started, process {daemons.survivor()}\n"
    wait_for(lambda: log.read_text().startswith("hello world\n"), what="the first greeting")
    restarted = daemons.launch(program, *second).check().stderr
    assert restarted.splitlines()[-1] == f"greet.py: started, process {daemons.survivor()}"
    wait_for(lambda: log.read_text().endswith("hello moon\n"), what="the second greeting")
    assert daemons.launch(program, "logs", "-n", 1).check().stdout == "hello moon\n"
    assert "greet.py: stopped" in daemons.launch(program, "stop").check().stderr


def in_shell(daemons: Daemons, script: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a script of the documents by the system's shell, which finds the command, with a home of its own."""
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    homes = dict.fromkeys(("HOME", "XDG_RUNTIME_DIR", "XDG_STATE_HOME", "DAEMONRY_HOME"), str(daemons.directory))
    return subprocess.run(
        ["/bin/sh", "-c", script.replace("/usr/local/sbin:", f"{path}:"), "sh", *words],
        check=False,
        env={**os.environ, **homes, "PATH": path},
        capture_output=True,
        text=True,
    )


@pytest.mark.unprivileged_only("as root it would ask after a daemon of the system's")
@pytest.mark.parametrize(("word", "status"), [("status", 3), ("stop", 0)])
def test_the_init_script_of_what_is_not_running_tells_so(daemons: Daemons, word: str, status: int) -> None:
    assert in_shell(daemons, code_of("command-1", daemons.directory), word).returncode == status


LOGGING = """
import daemonry
handlers = {{"HUP": "reopen_streams", "TERM": "terminate"}}
with daemonry.DaemonContext(pidfile={path!r}, stderr={log!r}, umask=0o022, signal_map=handlers) as context:
    context.wait()
"""


@pytest.mark.parametrize("state", ["running", "stopped", "killed", "never started"])
def test_the_rotation_of_a_log_succeeds_whether_the_daemon_runs_or_not(daemons: Daemons, state: str) -> None:
    """logrotate runs it every day, and takes any other status than 0 for a failure of its own."""
    place = daemons.directory
    script = re.findall(r"postrotate\n(.*)\n    endscript", code_of("tutorial-8", place), re.DOTALL)[0]
    log = place / "heartbeat.log"
    if state != "never started":
        daemons.launch(LOGGING.format(path=str(place / "heartbeat.pid"), log=str(log))).check()
        pid = daemons.survivor()
        log.rename(place / "heartbeat.log.1")
        if state != "running":
            daemons.stop(pid, signal.SIGKILL if state == "killed" else signal.SIGTERM)
    done = in_shell(daemons, script)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    if state == "running":
        wait_for(log.exists, what="the log is opened anew")
        daemons.stop(pid)
