"""daemonry.cli.service: a Python program has the commands over its own context."""

from __future__ import annotations

import json
import os
import signal
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness import reaper
from harness.probe import facts_of
from harness.waiting import is_alive, wait_for

if TYPE_CHECKING:
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
    assert service("status", status=1).stdout == "svc.py: dead, and its pidfile is left\n"
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
    for word in ("start", "run", "stop", "restart", "reload", "status", "logs", "doctor"):
        assert f"    {word} " in told
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


def test_a_second_start_names_the_first(service: Service) -> None:
    """Started twice, the second says who runs, changes nothing, and is status 1."""
    pid = service.start()
    told = service("start", status=1).stderr
    assert told.startswith("svc.py: cannot start the daemon: step lock_pidfile: ")
    assert f"held by process {pid} (" in told
    assert service.daemons.alive() == [pid]
    service("stop")


def test_a_body_that_fails_before_it_is_ready_fails_the_start(service: Service) -> None:
    """With ready="manual" what the body raises is told at the terminal, and the status is 1."""
    service.write("raise RuntimeError('the model is broken')", "context.ready = 'manual'")
    told = service("start", status=1).stderr
    assert told == "svc.py: cannot start the daemon: step body: RuntimeError: the model is broken\n"
    assert service.daemons.alive() == []
    assert not service.pidfile.exists()


def test_what_the_system_refuses_the_body_keeps_its_traceback(service: Service) -> None:
    """An OSError of the body, once the daemon is up, is in its log as Python tells it, and its status is 1."""
    service.write("open('/nowhere/at/all')")
    assert service("start", through=reaper.through(), status=1).stderr == ""
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
    assert service("restart").stderr == "svc.py: not running\n"
    first = service.daemons.survivor()
    service("restart")
    second = service.daemons.survivor()
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
    """`run` is not detached: the process that was started holds the pidfile, and a stop ends it with status 0."""
    running = daemons.start(service.program, "run")
    wait_for(lambda: service.log.exists() and "up" in service.log.read_text(), what="it is up")
    assert service.pidfile.read_text() == f"{running.pid}\n"
    assert facts_of(running.pid).ppid == os.getpid()
    assert service("status").stdout.startswith(f"svc.py: running, process {running.pid} (")
    service("stop")
    running.wait().check()


def test_ctrl_c_ends_what_runs_in_the_foreground_without_a_traceback(daemons: Daemons, service: Service) -> None:
    """Ctrl-C at the terminal of `run` ends it with status 130, and the pidfile is gone."""
    service.write("context.wait()", "context.stdout = context.stderr = None")
    terminal = daemons.terminal(service.program, "run")
    terminal.read_until("up")
    terminal.write("\x03")
    assert terminal.wait() == 130
    assert "Traceback" not in terminal.output
    assert not service.pidfile.exists()


def test_a_service_that_runs_in_the_foreground_is_not_started_again(service: Service, daemons: Daemons) -> None:
    """`run` holds the same pidfile as `start`, and either refuses the other."""
    running = daemons.start(service.program, "run")
    wait_for(service.pidfile.exists, what="it runs")
    for word in ("start", "run"):
        assert f"held by process {running.pid} (" in service(word, status=1).stderr
    running.signal(signal.SIGTERM)
    running.wait()


def test_the_pidfile_may_be_written_relative_to_where_the_program_is_started(service: Service) -> None:
    """A relative pidfile means the same file in the launcher, in the daemon (whose directory is /), and after."""
    pid = service.start()
    assert facts_of(pid).cwd == "/"
    assert Path(json.loads(service("status", "--json").stdout)["pidfile"]) == service.pidfile
    service("stop")
    assert not service.pidfile.exists()
