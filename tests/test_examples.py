"""The programs of examples/ do what they say, from the terminal to the end."""

from __future__ import annotations

import os
import re
import signal
import socket
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.probe import facts_of
from harness.waiting import wait_for

if TYPE_CHECKING:
    from harness.daemons import Daemons

EXAMPLES = Path(__file__).parent.parent / "examples"


def lines_of(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def test_heartbeat_beats_until_it_is_told_to_stop(daemons: Daemons) -> None:
    daemons.launch(EXAMPLES / "heartbeat.py", "beat.pid", "beat.log", "0.05").check()
    pid = daemons.survivor()
    log = daemons.directory / "beat.log"
    assert (daemons.directory / "beat.pid").read_text() == f"{pid}\n"
    wait_for(lambda: len(lines_of(log)) > 3, what="it beats")
    daemons.stop(pid)
    assert re.search(r"stopped after \d+ beats$", lines_of(log)[-1])
    assert not (daemons.directory / "beat.pid").exists()


def test_heartbeat_goes_on_in_a_new_log_after_a_rotation(daemons: Daemons) -> None:
    daemons.launch(EXAMPLES / "heartbeat.py", "beat.pid", "beat.log", "0.02").check()
    pid = daemons.survivor()
    log, moved = daemons.directory / "beat.log", daemons.directory / "beat.log.1"
    log.rename(moved)
    send(pid, signal.SIGHUP)
    wait_for(lambda: len(lines_of(log)) > 1, what="it writes to the new log")
    daemons.stop(pid)
    beats = [int(line.split()[-1]) for line in (*lines_of(moved), *lines_of(log)) if " beat " in line]
    assert beats == list(range(1, len(beats) + 1)), "a beat was lost or written twice"


def send(pid: int, number: signal.Signals) -> None:
    pidfd = os.pidfd_open(pid)
    try:
        signal.pidfd_send_signal(pidfd, number)
    finally:
        os.close(pidfd)


def serve(daemons: Daemons, *arguments: object, status: int = 0) -> str:
    """Start the file server and answer what its launcher said."""
    return daemons.launch(EXAMPLES / "fileserver.py", "start", *arguments, EXAMPLES).check(status).stderr


def test_fileserver_serves_when_its_launcher_has_gone(daemons: Daemons) -> None:
    said = serve(daemons, "--port", 0)
    address = re.search(r"http://\S+/", said)
    assert address is not None
    with urllib.request.urlopen(f"{address.group()}fileserver.py", timeout=10) as answer:
        assert answer.read() == (EXAMPLES / "fileserver.py").read_bytes()
    pid = daemons.survivor()
    assert facts_of(pid).cwd == "/"
    daemons.stop(pid)
    assert not (daemons.directory / "web.pid").exists()


def test_fileserver_says_at_the_terminal_that_its_port_is_in_use(daemons: Daemons) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = serve(daemons, "--port", port, status=1)
    assert said == (
        f"fileserver.py: cannot start the daemon: step body: cannot listen on port {port}: Address already in use\n"
    )
    assert daemons.alive() == []
    assert not (daemons.directory / "web.pid").exists()


def test_fileserver_started_twice_names_the_first(daemons: Daemons) -> None:
    serve(daemons, "--port", 0)
    pid = daemons.survivor()
    assert serve(daemons, "--port", 0, status=1).startswith(f"fileserver.py is running already: process {pid} (")
    daemons.stop(pid)


def test_custom_steps_echoes_and_raises_its_limit(daemons: Daemons) -> None:
    daemons.launch(EXAMPLES / "custom_steps.py", "echo.pid", "echo.sock").check()
    pid = daemons.survivor()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(daemons.directory / "echo.sock"))
        client.sendall(b"hello")
        assert client.recv(100) == b"hello"
    limits = Path(f"/proc/{pid}/limits").read_text()
    open_files = next(line for line in limits.splitlines() if line.startswith("Max open files")).split()
    assert open_files[3] == open_files[4]
    assert facts_of(pid).core_limit == ("0", "0")
    daemons.stop(pid)
    assert not (daemons.directory / "echo.sock").exists()


def test_custom_steps_names_the_step_that_it_added(daemons: Daemons) -> None:
    (daemons.directory / "echo.sock").touch()
    said = daemons.launch(EXAMPLES / "custom_steps.py", "echo.pid", "echo.sock").check(1).stderr
    assert re.fullmatch(
        r"echo: cannot start the daemon: step bind_socket: Address already in use, "
        r"in line \d+ of .*custom_steps.py: self.socket.bind\(self.address\)\n",
        said,
    )
    assert not (daemons.directory / "echo.pid").exists()


def control(daemons: Daemons, *words: object, status: int = 0) -> str:
    """Do a command of the file server's own and answer what it said."""
    launched = daemons.launch(EXAMPLES / "fileserver.py", *words, "--pidfile", "web.pid").check(status)
    return launched.stdout + launched.stderr


def test_fileserver_has_the_commands_of_a_service(daemons: Daemons) -> None:
    """Each command does what `daemonry` does by that name, in the file server's own."""
    control(daemons, "start", "--port", 0)
    pid = daemons.survivor()
    assert control(daemons, "status").startswith(f"fileserver.py: running, process {pid} (")
    address = re.search(r"http://\S+/", control(daemons, "restart", "--port", 0, EXAMPLES))
    assert address is not None
    pid = daemons.survivor()
    urllib.request.urlopen(address.group(), timeout=10).close()
    assert "GET / HTTP/1.1" in control(daemons, "logs", "-n", 1)
    (daemons.directory / "web.log").rename(daemons.directory / "web.log.1")
    assert control(daemons, "reload") == f"fileserver.py: sent SIGHUP to process {pid}\n"
    wait_for((daemons.directory / "web.log").exists, what="the log is written anew")
    assert "not ok" not in control(daemons, "doctor")
    assert f"fileserver.py: stopped, process {pid}" in control(daemons, "stop")
    assert control(daemons, "status", status=3) == "fileserver.py: not running\n"
    assert daemons.alive() == []


def test_fileserver_runs_in_the_foreground(daemons: Daemons) -> None:
    """`run` stays, shows where it serves, and ends by Ctrl-C with its pidfile gone."""
    running = daemons.start(EXAMPLES / "fileserver.py", "run", "--port", 0, EXAMPLES)
    wait_for(lambda: "http://" in running.stderr, what="it serves")
    running.signal(signal.SIGINT)
    ended = running.wait()
    assert ended.status == 130
    assert "Traceback" not in ended.stderr
    assert not (daemons.directory / "web.pid").exists()


def test_the_service_of_ten_lines_is_one(daemons: Daemons) -> None:
    """examples/service.py starts, tells that it runs, works, and stops."""
    service = EXAMPLES / "service.py"
    daemons.launch(service, "start").check()
    pid = daemons.survivor()
    wait_for(lambda: lines_of(daemons.directory / "beat.log"), what="it beats")
    assert daemons.launch(service, "status").check().stdout.startswith(f"service.py: running, process {pid} (")
    daemons.launch(service, "stop").check()
    assert daemons.launch(service, "status").check(3).stdout == "service.py: not running\n"


@pytest.mark.parametrize("name", ["heartbeat.py", "fileserver.py", "custom_steps.py", "service.py"])
def test_an_example_without_arguments_says_how_to_use_it(daemons: Daemons, name: str) -> None:
    launched = daemons.launch(EXAMPLES / name)
    assert launched.status != 0
    assert launched.stderr.startswith("usage: ")


def test_the_demo_ends_well_and_leaves_nothing(daemons: Daemons) -> None:
    said = daemons.launch(EXAMPLES / "demo.py", timeout=60).check().stdout
    assert "stopped  yes" in said
    assert "pidfile  gone" in said
    assert "the same as the file's" in said
    assert daemons.alive() == []
