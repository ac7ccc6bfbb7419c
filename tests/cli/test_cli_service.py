"""daemonry.cli.service: a Python program has the commands over its own context."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness import reaper
from harness.probe import facts_of
from harness.waiting import is_alive, wait_for

if TYPE_CHECKING:
    from harness.commands import Daemonry
    from harness.daemons import Daemons, Launched

SERVICE = """
import os, sys
from pathlib import Path
from daemonry import DaemonContext, PIDLockFile
from daemonry.cli import service

context = DaemonContext(pidfile=PIDLockFile("svc.pid"), stdout=Path("svc.log"), stderr=Path("svc.log"), umask=0o022)
context.signal_map = {"TERM": "request_stop", "HUP": "reopen_streams"}
{settings}

def main():
    print("up", os.getpid())
    {body}

service(context, main)
print("service has returned")
"""
WAITS = "context.wait()"


class Service:
    """A program with a service's commands, and what is told by them."""

    def __init__(self, daemons: Daemons) -> None:
        self.daemons = daemons
        self.program = daemons.directory / "svc.py"
        self.log = daemons.directory / "svc.log"
        self.pidfile = daemons.directory / "svc.pid"
        self.write()

    def write(self, body: str = WAITS, settings: str = "") -> None:
        self.program.write_text(textwrap.dedent(SERVICE).replace("{body}", body).replace("{settings}", settings))

    def __call__(self, *words: object, status: int = 0, **options: object) -> Launched:
        launched = self.daemons.launch(self.program, *words, **options)
        assert "service has returned" not in launched.stdout
        return launched.check(status)

    def start(self) -> int:
        self("start")
        return self.daemons.survivor()


@pytest.fixture
def service(daemons: Daemons) -> Service:
    return Service(daemons)


def test_a_service_is_started_asked_after_and_stopped(service: Service) -> None:
    """Start, status, reload, doctor, logs and stop do for it what `daemonry` does for others, in its name."""
    pid = service.start()
    assert service("status").stdout.startswith(f"svc.py: running, process {pid} (")
    told = json.loads(service("status", "--json").stdout)
    assert (told["name"], told["state"], told["pid"]) == ("svc.py", "running", pid)
    assert told["pidfile"] == str(service.pidfile)
    assert service("reload").stderr == f"svc.py: sent SIGHUP to process {pid}\n"
    assert "not ok" not in service("doctor").stdout
    assert all(each["ok"] is not False for each in json.loads(service("doctor", "--json").stdout))
    assert service("logs", "-n", 1).stdout == f"up {pid}\n"
    assert service("stop").stderr.startswith(f"svc.py: stopped, process {pid}, after ")
    assert service.daemons.alive() == []
    assert not service.pidfile.exists()


def test_the_log_of_a_service_that_has_ended_is_shown(service: Service) -> None:
    """`logs` knows the file by the context when no process tells it, also when it is given as a Path."""
    pid = service.start()
    service("stop")
    assert service("logs").stdout == f"up {pid}\n"


def test_the_statuses_are_those_of_the_command(service: Service) -> None:
    """Not running: status 3, stop 0, reload and doctor 7; a pidfile left: 1; one that a stranger could write: 4."""
    assert service("status", status=3).stdout == "svc.py: not running\n"
    assert service("stop").stderr == "svc.py: not running\n"
    assert service("reload", status=7).stderr == "svc.py: not running\n"
    assert service("doctor", status=7).stderr == "svc.py: not running\n"
    pid = service.start()
    service.daemons.stop(pid, signal.SIGKILL)
    failed = "svc.py: failed: it ended without being stopped, and its pidfile is left\n"
    assert service("status", status=1).stdout.startswith(failed)
    service.pidfile.chmod(0o666)
    assert "svc.py: unknown: cannot tell by" in service("status", status=4).stdout


@pytest.mark.parametrize("words", [[], ["begin"], ["start", "now"], ["stop", "--schedule", "SOON"]])
def test_a_mistake_in_the_words_is_a_usage_error(service: Service, words: list[str]) -> None:
    """What can't be understood is status 2, and nothing is started."""
    assert "svc.py" in service(*words, status=2).stderr
    assert service.daemons.alive() == []


def test_help_names_the_commands(service: Service) -> None:
    """--help lists every command of a service."""
    told = service("--help").stdout
    for word in ("start", "run", "stop", "restart", "reload", "status", "logs", "doctor", "completion"):
        assert f"    {word}" in told
        assert f"usage: svc.py {word}" in service(word, "--help").stdout


def test_quiet_leaves_messages_out(service: Service) -> None:
    """--quiet says nothing where all went well."""
    service("start", "--quiet")
    assert service("stop", "--quiet").stderr == ""


def test_the_words_of_the_process_are_not_needed(service: Service) -> None:
    """service(context, main, words) takes the words that it is given."""
    text = service.program.read_text().replace("service(context, main)", "service(context, main, sys.argv[2:])")
    service.program.write_text(text)
    service("option", "status", status=3)


# The start


def test_a_start_says_that_it_is_up_in_the_words_of_the_command(service: Service, daemonry: Daemonry) -> None:
    """Each line of both is the same but for the name: a start, a second one, a restart, a stop; at a terminal too."""
    words = ("--", sys.executable, "-c", "import time; time.sleep(60)")

    def of_command(*words: object, status: int = 0) -> str:
        return daemonry(*words).check(status).stderr.replace("daemonry: ", "").replace(daemonry.name, "svc.py")

    for ours, theirs, status in (
        (["start"], ["start", "--name", daemonry.name, *words], 0),
        (["start"], ["start", "--name", daemonry.name, *words], 1),
        (["restart"], ["restart", daemonry.name], 0),
        (["stop"], ["stop", daemonry.name], 0),
    ):
        told = service(*ours, status=status).stderr
        assert _without_numbers(told) == _without_numbers(of_command(*theirs, status=status))


def _without_numbers(told: str) -> str:
    return re.sub(r"\d+(\.\d+)?|\(.*\)", "N", told)


def test_a_start_at_a_terminal_says_which_process_is_up(service: Service, daemons: Daemons) -> None:
    terminal = daemons.terminal(service.program, "start", env={"TERM": "xterm", "NO_COLOR": None})
    assert terminal.wait() == 0
    pid = daemons.survivor()
    assert terminal.output == f"svc.py: started, process {pid}\r\n"
    again = daemons.terminal(service.program, "start", env={"TERM": "xterm", "NO_COLOR": None})
    assert again.wait() == 1
    assert f"svc.py is running already: process {pid} (" in again.output
    service("stop")


def test_a_second_start_names_the_first(service: Service) -> None:
    """Started twice, the second says who runs, changes nothing, and is status 1."""
    pid = service.start()
    told = service("start", status=1).stderr
    assert told.startswith(f"svc.py is running already: process {pid} (")
    assert told.count("\n") == 1
    assert service.daemons.alive() == [pid]
    service("stop")


def test_a_start_beside_one_that_is_not_done_names_it(service: Service) -> None:
    """It holds the pidfile already; Ctrl-C ends it with status 130, and without a trace."""
    service.write("open('in', 'w')\n    context.wait()", "context.ready = 'manual'; context.working_directory = '.'")
    first = service.daemons.start(service.program, "start")
    wait_for((service.daemons.directory / "in").exists, what="the first holds the pidfile")
    assert service("start", status=1).stderr.startswith("svc.py is running already: process ")
    first.signal(signal.SIGINT)
    ended = first.wait()
    assert (ended.status, ended.stderr) == (130, "")


def test_a_body_that_fails_before_it_is_ready_fails_the_start(service: Service) -> None:
    """With ready="manual" what the body raises is told at the terminal: what, in which line, and the log's tail."""
    service.log.write_text("of an earlier start\n")
    service.write("raise RuntimeError('the model is broken')", "context.ready = 'manual'")
    first, *more = service("start", status=1).stderr.splitlines()
    assert first == "svc.py: cannot start the daemon: step body: RuntimeError: the model is broken"
    assert more[0] == "  Traceback (most recent call last):"
    assert "    raise RuntimeError('the model is broken')" in [line[2:] for line in more]
    assert re.fullmatch(r"  up \d+", more[-1])
    assert "earlier" not in "".join(more)
    assert "daemonry" not in "".join(more).replace("/daemonry-test-", "")
    assert service.daemons.alive() == []
    assert not service.pidfile.exists()


def test_a_failure_that_is_in_the_log_as_well_is_shown_once(service: Service) -> None:
    """A handler has written its traceback there, too, in which are the program's own lines alone."""
    logs = "import logging; logging.basicConfig(format='now %(message)s'); context.ready = 'manual'"
    service.write("logging.warning('almost'); raise RuntimeError('the model is broken')", logs)
    told = service("start", status=1).stderr
    assert told.count("Traceback") == told.count("  RuntimeError: the model is broken\n") == 1
    *_, up, almost, ends = told.splitlines()
    assert up.startswith("  up ")
    assert (almost, ends) == ("  now almost", "  now the daemon ends: RuntimeError: the model is broken")
    assert "own_commands" not in service.log.read_text()


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("sys.exit('no model')", "no model"),
        ("sys.exit(3)", "exited with status 3"),
        ("os.kill(os.getpid(), 9)", "the daemon was killed by SIGKILL"),
        ("os._exit(4)", "the daemon exited with status 4 before it was ready"),
    ],
)
def test_an_end_that_is_no_error_of_the_code_shows_the_log_and_no_traceback(
    service: Service, body: str, told: str
) -> None:
    service.write(f"sys.stdout.flush(); {body}", "context.ready = 'manual'")
    first, *more = service("start", status=1).stderr.splitlines()
    assert first.startswith("svc.py: cannot start the daemon: ")
    assert first.endswith(told)
    assert [line[:5] for line in more] == ["  up "]


def test_a_step_of_the_programs_own_that_fails_is_shown_with_its_line(service: Service) -> None:
    """In the foreground as well."""
    service.write()
    own = "class Own(DaemonContext):\n    def set_umask(self):\n        int('x')\ncontext = Own("
    service.program.write_text(service.program.read_text().replace("context = DaemonContext(", own))
    for word in ("start", "run"):
        first, *more = service(word, status=1).stderr.splitlines()
        assert first.startswith("svc.py: cannot start the daemon: step set_umask: ValueError: invalid literal")
        assert more[0] == "  Traceback (most recent call last):"
        assert "int('x')" in "".join(more)


@pytest.mark.root_only("a daemon that becomes another user takes it")
def test_a_log_that_its_user_has_replaced_is_not_shown_to_root(service: Service, ordinary_user: str) -> None:
    """Whatever lies there when the start has failed: root is shown what the daemon had open, or nothing."""
    secret = service.daemons.directory / "secret"
    secret.write_text("root's alone\n")
    secret.chmod(0o600)
    place = service.daemons.directory / "place"
    place.mkdir()
    shutil.chown(place, ordinary_user)
    log = place / "log"
    settings = f"context.uid = {ordinary_user!r}; context.ready = 'manual'; context.stdout = context.stderr = '{log}'"
    service.write(f"os.unlink('{log}'); os.symlink('{secret}', '{log}'); os._exit(1)", settings)
    told = service("start", status=1).stderr
    assert told.endswith("the daemon exited with status 1 before it was ready\n")


def test_what_the_system_refuses_the_body_keeps_its_traceback(service: Service) -> None:
    """An OSError of the body, once the daemon is up, is in its log as Python tells it, and its status is 1."""
    service.write("open('/nowhere/at/all')")
    assert service("start", through=reaper.through(), status=1).stderr.startswith("svc.py: started, process ")
    log = service.log.read_text()
    assert "Traceback (most recent call last):" in log
    assert "open('/nowhere/at/all')" in log
    assert "FileNotFoundError: [Errno 2] No such file or directory: '/nowhere/at/all'" in log


def test_the_status_of_the_body_is_that_of_the_daemon(service: Service) -> None:
    """sys.exit in the body ends the daemon with its status."""
    service.write("sys.exit(5)")
    service("start", through=reaper.through(), status=5)


def test_a_context_without_a_pidfile_is_refused(service: Service) -> None:
    """A service is found by its pidfile, so a context must have one; nothing else is done."""
    service.write(settings="context.pidfile = None")
    told = service("start", status=1).stderr
    assert "InvalidOption: " in told
    assert "pidfile: a service is found by its pidfile: give the context one, such as its path" in told
    assert service.daemons.alive() == []


def test_a_path_is_pidfile_enough(service: Service) -> None:
    service.write(settings="context.pidfile = Path('svc.pid')")
    pid = service.start()
    assert service.pidfile.read_text() == f"{pid}\n"
    service("stop")
    assert not service.pidfile.exists()


def test_an_option_that_can_not_be_meant_is_a_usage_error(service: Service) -> None:
    """An option that can't be is refused in a line, with status 2."""
    service.write(settings="context.working_directory = '/nowhere'")
    told = service("start", status=2).stderr
    assert told.startswith("svc.py: cannot start the daemon: step check_options: working_directory: ")
    assert told.count("\n") == 1


# Restart


def test_restart_takes_the_place_of_the_one_that_runs(service: Service) -> None:
    """After `restart` another process runs; it starts one that didn't run, too."""
    told = service("restart").stderr
    first = service.daemons.survivor()
    assert told == f"svc.py: not running\nsvc.py: started, process {first}\n"
    told = service("restart").stderr
    second = service.daemons.survivor()
    assert re.fullmatch(rf"svc.py: stopped, process {first}, after [\d.]+ s\nsvc.py: started, process {second}\n", told)
    assert second != first
    assert service.pidfile.read_text() == f"{second}\n"
    service("stop")


@pytest.mark.parametrize(
    ("words", "settings"),
    [(["restart"], "context.working_directory = '/nowhere'"), (["restart", "--schedule", "SOON"], "")],
)
def test_a_mistake_in_restart_costs_no_service(service: Service, words: list[str], settings: str) -> None:
    """What is wrong with the options or the schedule is found before the one that runs is stopped."""
    pid = service.start()
    service.write(settings=settings)
    told = service(*words, status=2).stderr
    assert told.startswith("svc.py: ")
    assert told.count("\n") == 1
    assert is_alive(pid)
    service.daemons.stop(pid)


def test_stop_and_restart_take_a_schedule(service: Service) -> None:
    """A service that ignores SIGTERM is ended by what --schedule says."""
    service.write("import signal\n    while True: signal.pause()", "context.signal_map = {'TERM': None}")
    service.start()
    service("restart", "--schedule", "TERM/0.1/KILL/5")
    assert "stopped" in service("stop", "--schedule", "KILL/5").stderr


# In the foreground


def test_run_is_the_service_itself_in_the_foreground(service: Service, daemons: Daemons) -> None:
    """`run` is not detached: the process that was started holds the pidfile, and a stop ends it with status 0.

    What it writes is seen there, and not in the log.
    """
    running = daemons.start(service.program, "run")
    wait_for(lambda: "up" in running.stdout, what="it is up")
    assert running.stderr == f"svc.py: running in the foreground, process {running.pid}\n"
    assert not service.log.exists()
    assert service.pidfile.read_text() == f"{running.pid}\n"
    assert facts_of(running.pid).ppid == os.getpid()
    assert service("status").stdout.startswith(f"svc.py: running, process {running.pid} (")
    service("stop")
    running.wait().check()


def test_ctrl_c_ends_what_runs_in_the_foreground_without_a_traceback(daemons: Daemons, service: Service) -> None:
    """Ctrl-C at the terminal of `run` ends it with status 130, and the pidfile is gone."""
    terminal = daemons.terminal(service.program, "run")
    terminal.read_until("up")
    terminal.write("\x03")
    assert terminal.wait() == 130
    told = f"svc.py: running in the foreground, process {terminal.pid}\r\nup {terminal.pid}\r\n"
    assert terminal.output.replace("^C", "") == told
    assert not service.pidfile.exists()


def test_ctrl_c_before_the_body_ends_what_runs_in_the_foreground(service: Service) -> None:
    """Whenever it comes: between the opening and the body nothing may swallow it."""
    service.write()
    own = "class Own(DaemonContext):\n    def open(self):\n        super().open()\n        os.kill(os.getpid(), 2)\n"
    service.program.write_text(service.program.read_text().replace("context = DaemonContext(", f"{own}context = Own("))
    assert service("run", status=130).stdout == ""
    assert not service.pidfile.exists()


def test_an_error_that_ctrl_c_displaces_in_a_service_is_shown(service: Service) -> None:
    service.write("try: int('x')\n    finally: raise KeyboardInterrupt")
    told = service("run", status=-signal.SIGINT).stderr
    assert "ValueError: " in told
    assert "own_commands" not in told


@pytest.mark.parametrize("logs", ["", "import logging; logging.basicConfig()"])
def test_what_ends_a_service_in_the_foreground_is_shown_once(service: Service, daemons: Daemons, logs: str) -> None:
    """By Python, with the program's own lines alone."""
    service.write("int('x')", logs)
    terminal = daemons.terminal(service.program, "run")
    assert terminal.wait() == 1
    assert terminal.output.count("ValueError: ") == terminal.output.count("Traceback") == 1
    assert "cli" not in terminal.output


def test_a_service_that_runs_in_the_foreground_is_not_started_again(service: Service, daemons: Daemons) -> None:
    """`run` holds the same pidfile as `start`, and either refuses the other."""
    running = daemons.start(service.program, "run")
    wait_for(service.pidfile.exists, what="it runs")
    for word in ("start", "run"):
        assert service(word, status=1).stderr.startswith(f"svc.py is running already: process {running.pid} (")
    running.signal(signal.SIGTERM)
    running.wait()


def test_the_pidfile_may_be_written_relative_to_where_the_program_is_started(service: Service) -> None:
    """A relative pidfile means the same file in the launcher, in the daemon (whose directory is /), and after."""
    pid = service.start()
    assert facts_of(pid).cwd == "/"
    assert Path(json.loads(service("status", "--json").stdout)["pidfile"]) == service.pidfile
    service("stop")
    assert not service.pidfile.exists()
