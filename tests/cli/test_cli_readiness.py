"""When a program that daemonry start has started counts as up: it stays, its port accepts, or it says so."""

from __future__ import annotations

import os
import pwd
import re
import resource
import signal
import socket
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.probe import facts_of
from harness.waiting import read_json, wait_for

if TYPE_CHECKING:
    from harness.commands import Daemonry
    from harness.daemons import Daemons, Running

# Says what is in its arguments to the service manager that its environment names.
NOTIFYING = """
import os, socket, sys
def say(text):
    address = os.environ["NOTIFY_SOCKET"]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as speaker:
        speaker.sendto(text.encode(), "\\0" + address[1:] if address[0] == "@" else address)
"""

# Tells the test the address, as anybody could find it out.
SPIED_ON = """
import json, time
with open("told.new", "w") as file:
    json.dump(os.environ["NOTIFY_SOCKET"], file)
os.rename("told.new", "told")
"""

# Says that it is up when the test wants it to.
READY_WHEN_TOLD = """
while not os.path.exists("go"):
    time.sleep(0.005)
say("STATUS=now")
say("READY=1")
time.sleep(60)
"""


def program(text: str) -> tuple[str, ...]:
    return ("--", sys.executable, "-c", f"{NOTIFYING}{text}\n")


def free_port() -> int:
    with closing(socket.socket()) as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def starting(daemonry: Daemonry, *words: object) -> Running:
    return daemonry.begin("start", "--name", daemonry.name, *words)


# It stays


def test_it_counts_as_started_when_it_has_run_for_a_while(daemonry: Daemonry) -> None:
    """A program that ends within that time has failed, one that ends behind it has been up."""
    program = ("--", "sh", "-c", "sleep 0.2; exit 4")
    failed = daemonry("start", "--name", daemonry.name, "--settle", "20", *program).check(1)
    assert "the program exited with status 4 before it was ready" in failed.stderr
    daemonry("start", "--name", daemonry.name, "--settle", "0", *program).check()
    wait_for(lambda: not daemonry.daemons.alive())


def test_that_while_is_within_the_limit_of_the_start(daemonry: Daemonry) -> None:
    """A limit that is shorter ends it; 0 is no limit."""
    words = ("start", "--name", daemonry.name, "--timeout")
    failed = daemonry(*words, "0.2", "--settle", "20", "--", "sleep", "60").check(1)
    assert "0.2 s" in failed.stderr
    assert (daemonry.left(), daemonry.daemons.alive()) == ([], [])
    daemonry(*words, "0", "--settle", "0.1", "--", "sleep", "60").check()
    daemonry.stop()


# Its port accepts


def test_a_connection_right_after_the_start_succeeds(daemonry: Daemonry) -> None:
    """Of a web server that nobody here wrote."""
    port = free_port()
    server = ("--", sys.executable, "-m", "http.server", port, "--bind", "127.0.0.1")
    pid = daemonry.start("--wait-port", port, *server)
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.0 200")
    assert facts_of(pid).ppid == 1
    daemonry.stop()


def test_a_port_of_ip_version_6_counts_too(daemonry: Daemonry) -> None:
    try:
        with closing(socket.socket(socket.AF_INET6)) as sock:
            sock.bind(("::1", 0))
            port = sock.getsockname()[1]
    except OSError as error:
        pytest.skip(f"this machine has no address ::1: {error}")
    daemonry.start("--wait-port", port, "--", sys.executable, "-m", "http.server", port, "--bind", "::1")
    daemonry.stop()


def test_a_port_that_is_taken_is_refused(daemonry: Daemonry) -> None:
    """Who already accepts there is not the program: nothing is started."""
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        refused = daemonry("start", "--name", daemonry.name, "--wait-port", port, "--", "sleep", "60").check(1)
    assert f"port {port} accepts already: process {os.getpid()} (" in refused.stderr
    assert (daemonry.left(), daemonry.daemons.alive()) == ([], [])


def test_a_daemon_that_runs_is_told_of_before_its_own_port(daemonry: Daemonry) -> None:
    port = free_port()
    words = ("--wait-port", port, "--", sys.executable, "-m", "http.server", port, "--bind", "127.0.0.1")
    daemonry.start(*words)
    refused = daemonry("start", "--name", daemonry.name, *words).check(1)
    assert "is running already" in refused.stderr
    daemonry("restart", daemonry.name).check()
    daemonry.stop()


def test_one_that_ends_before_its_port_accepts_has_failed(daemonry: Daemonry) -> None:
    failed = daemonry("start", "--name", daemonry.name, "--wait-port", free_port(), "--", "sh", "-c", "exit 6").check(1)
    assert "the program exited with status 6 before it was ready" in failed.stderr


def test_a_port_that_never_accepts_ends_the_start_in_time(daemonry: Daemonry) -> None:
    words = ("--wait-port", free_port(), "--timeout", "0.3", "--", "sleep", "60")
    assert "0.3 s" in daemonry("start", "--name", daemonry.name, *words).check(1).stderr
    assert (daemonry.left(), daemonry.daemons.alive()) == ([], [])


STRANGER_ON_THE_PORT = """
import socket, sys, time
port = int(sys.argv[1])
open("begun", "w").close()
while {wait}:
    time.sleep(0.01)
with socket.create_server(("127.0.0.1", port)) as server:
    time.sleep(60)
"""


def test_a_stranger_on_the_port_is_not_the_program(daemonry: Daemonry) -> None:
    """Somebody who takes it after the start has begun; the program is up when it has the port itself."""
    port, gone = free_port(), daemonry.directory / "gone"
    text = STRANGER_ON_THE_PORT.format(wait=f"not __import__('os').path.exists({str(gone)!r})")
    words = ("--wait-port", port, "--chdir", daemonry.directory, "--", sys.executable, "-c", text, port)
    running = starting(daemonry, *words)
    wait_for((daemonry.directory / "begun").exists)
    with closing(socket.create_server(("127.0.0.1", port))):
        told = f"port {port} accepts, but it is another process that listens there"
        wait_for(lambda: told in running.stderr, what="the stranger is told of")
        assert running.process.poll() is None
    gone.touch()
    running.wait().check()
    daemonry.stop()


def test_who_waits_is_told_where_the_program_listens_instead(daemonry: Daemonry) -> None:
    port, other = free_port(), free_port()
    words = (
        "--wait-port",
        port,
        "--timeout",
        "4",
        "--",
        sys.executable,
        "-c",
        STRANGER_ON_THE_PORT.format(wait="False"),
    )
    failed = daemonry("start", "--name", daemonry.name, "--chdir", daemonry.directory, *words, other).check(1)
    assert f"it listens on 127.0.0.1:{other}, and not yet on port {port} of this machine" in failed.stderr


def test_the_port_of_a_child_in_another_session_is_the_programs(daemonry: Daemonry) -> None:
    """Wrappers start the real one, be it by setsid(1)."""
    port = free_port()
    server = f"setsid --wait {sys.executable} -m http.server {port} --bind ::ffff:127.0.0.1; true"
    daemonry.start("--wait-port", port, "--", "sh", "-c", server)
    daemonry.stop()
    for each in daemonry.daemons.alive():
        daemonry.daemons.stop(each)


LISTENS = """
import os, socket
from daemonry.cli import listeners

os.setsid()  # what else the session of the tests has may be another user's, which not everybody can look at

def is_seen(server, address):
    with server:
        port = server.getsockname()[1]
        (found,) = [each for each in listeners.all_listeners() if str(each) == f"{address}:{port}"]
        return found.port == port and found in listeners.listeners_of(os.getpid())

assert is_seen(socket.create_server(("127.0.0.1", 0)), "127.0.0.1")
try:
    server = socket.create_server(("::1", 0), family=socket.AF_INET6)
except OSError:  # this machine has no such address
    pass
else:
    assert is_seen(server, "[::1]")
assert listeners.listeners_of(2**22 + 1) is None
"""


def test_addresses_are_read_as_the_kernel_writes_them(daemons: Daemons) -> None:
    """Of both families; and a socket of this process is its own."""
    daemons.launch(LISTENS).check()


# It says so


def test_it_is_up_when_it_says_so_and_not_before(daemonry: Daemonry) -> None:
    """What it says of its status meanwhile is shown, a line each, and so is the end."""
    text = """
say("STATUS=loading")
open("loading", "w").close()
import time
while not os.path.exists("go"):
    time.sleep(0.005)
say("READY=1\\nSTATUS=serving")
time.sleep(60)
"""
    running = starting(daemonry, "--notify", "--chdir", daemonry.directory, *program(text))
    wait_for(lambda: "loading\n" in running.stderr)
    assert (daemonry.directory / "loading").exists()
    assert running.process.poll() is None
    (daemonry.directory / "go").touch()
    told = running.wait().check().stderr
    assert told == f"loading\nserving\n{daemonry.name}: started, process {daemonry.pid()}\n"
    daemonry.stop()


def test_a_child_may_say_it(daemonry: Daemonry) -> None:
    """Shells and other wrappers start the real program, or systemd-notify(1), which ends at once."""
    text = """
if os.fork() == 0:
    say("READY=1")
    os._exit(0)
os.wait()
import time
time.sleep(60)
"""
    pid = daemonry.start("--notify", *program(text))
    assert daemonry.daemons.survivor() == pid
    daemonry.stop()


def test_a_child_that_lives_on_may_say_it(daemonry: Daemonry) -> None:
    wrapped = f"{NOTIFYING}say('READY=1')\nimport time\ntime.sleep(60)\n"
    (daemonry.directory / "wrapped.py").write_text(wrapped)
    words = ("--notify", "--chdir", daemonry.directory, "--", "sh", "-c", f"{sys.executable} wrapped.py; exit 0")
    pid = daemonry.start(*words)
    assert facts_of(pid).comm == "sh"
    daemonry.daemons.stop(int(Path(f"/proc/{pid}/task/{pid}/children").read_text()))
    wait_for(lambda: not daemonry.daemons.alive())


def test_the_word_of_a_stranger_does_not_count(daemonry: Daemonry) -> None:
    """Anybody can write to an abstract socket; who is not of the program's session is not heard."""
    running = starting(daemonry, "--notify", "--chdir", daemonry.directory, *program(SPIED_ON + READY_WHEN_TOLD))
    address = read_json(daemonry.directory / "told")
    assert re.fullmatch(r"@daemonry-\d+-[0-9a-f]{16}", address)
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as stranger:
        for text in ("STATUS=lies", "READY=1"):
            stranger.sendto(text.encode(), "\0" + address[1:])
        # It is heard in turn: were it believed, the start would be over before the program says a word.
        (daemonry.directory / "go").touch()
        told = running.wait().check().stderr
    assert told.splitlines()[0] == "now"
    assert "lies" not in told
    daemonry.stop()


@pytest.mark.root_only("another user's process")
def test_the_word_of_another_user_who_has_ended_does_not_count(daemonry: Daemonry, ordinary_user: str) -> None:
    """Of who sent it and is gone only the user can be known: systemd-notify(1) is of the program's, or root."""
    running = starting(daemonry, "--notify", "--chdir", daemonry.directory, *program(SPIED_ON + READY_WHEN_TOLD))
    address = "\0" + read_json(daemonry.directory / "told")[1:]
    listening = [each for each in daemonry.daemons.alive() if each not in (running.pid, daemonry.pid())]
    for each in listening:  # it looks only when the sender is gone
        os.kill(each, signal.SIGSTOP)
    sender = os.fork()
    if sender == 0:
        try:
            os.setuid(pwd.getpwnam(ordinary_user).pw_uid)
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stranger:
                for each in (b"STATUS=lies", b"READY=1"):
                    stranger.sendto(each, address)
        finally:
            os._exit(0)
    os.waitpid(sender, 0)
    for each in listening:
        os.kill(each, signal.SIGCONT)
    (daemonry.directory / "go").touch()
    told = running.wait().check().stderr
    assert told.splitlines()[0] == "now"
    daemonry.stop()


def test_a_stranger_alone_does_not_make_it_ready(daemonry: Daemonry) -> None:
    text = f"{SPIED_ON}\ntime.sleep(60)"
    words = ("--notify", "--timeout", "1", "--chdir", daemonry.directory, *program(text))
    running = starting(daemonry, *words)
    address = read_json(daemonry.directory / "told")
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as stranger:
        stranger.sendto(b"READY=1", "\0" + address[1:])
        assert "1 s" in running.wait().check(1).stderr
    assert (daemonry.left(), daemonry.daemons.alive()) == ([], [])


@pytest.mark.parametrize(("end", "message"), [("sys.exit(9)", "exited with status 9"), ("os.abort()", "by SIGABRT")])
def test_one_that_dies_before_it_is_up_has_failed(daemonry: Daemonry, end: str, message: str) -> None:
    """Its last status and its last lines are shown."""
    text = f"say('STATUS=opening')\nprint('no such disk', flush=True)\n{end}"
    failed = daemonry("start", "--name", daemonry.name, "--notify", *program(text)).check(1)
    assert message in failed.stderr
    assert "  no such disk\n" in failed.stderr
    assert (daemonry.left(), daemonry.daemons.alive()) == ([], [])


def test_every_word_before_the_last_is_shown_in_its_order(daemonry: Daemonry) -> None:
    text = "for i in range(20): say(f'STATUS={i}')\nsay('READY=1')\nimport time; time.sleep(60)"
    told = daemonry("start", "--name", daemonry.name, "--notify", *program(text)).check().stderr
    assert told.splitlines()[:-1] == list(map(str, range(20)))
    daemonry.stop()


@pytest.mark.parametrize("text", ["READY=0", "XREADY=1", "READY=10", "", "STATUS=READY=1"])
def test_only_the_word_itself_counts(daemonry: Daemonry, text: str) -> None:
    words = ("--notify", "--timeout", "5", *program(f"say({text!r})\nsay('STATUS=said')\nsys.exit(7)"))
    failed = daemonry("start", "--name", daemonry.name, *words).check(1)
    assert "exited with status 7" in failed.stderr


def test_what_it_says_cannot_steer_the_terminal(daemonry: Daemonry) -> None:
    """Control characters of a status are the program's, perhaps from its network; the terminal is the user's."""
    text = "say('STATUS=a\\x1b[2Jb\\x07')\nsay('READY=1')\nimport time; time.sleep(60)"
    told = daemonry("start", "--name", daemonry.name, "--notify", *program(text)).check().stderr
    assert "\x1b" not in told
    assert "\x07" not in told
    daemonry.stop()


@pytest.mark.root_only("another user's process")
def test_another_user_may_say_it(daemonry: Daemonry, ordinary_user: str) -> None:
    """The program's own user, in the program's own root: the socket has no file that it would have to reach."""
    text = "say('READY=1')\nimport time; time.sleep(60)"
    words = ("--notify", "--user", ordinary_user, "--", "/usr/bin/python3", "-c", f"{NOTIFYING}{text}")
    if not os.access("/usr/bin/python3", os.X_OK):
        pytest.skip("there is no Python that every user may execute: /usr/bin/python3")
    pid = daemonry.start(*words)
    assert facts_of(pid).uids[0] != 0
    daemonry.stop()


def test_a_line_moves_on_a_terminal_while_it_waits(daemonry: Daemonry) -> None:
    """And is replaced by what came of it."""
    text = "import time\nwhile not os.path.exists('go'): time.sleep(0.005)\nsay('READY=1')\ntime.sleep(60)"
    words = ("--notify", "--chdir", daemonry.directory, *program(text))
    terminal = daemonry.on_terminal("start", "--name", daemonry.name, *words)
    terminal.read_until("waiting for READY=1, 1 s")
    (daemonry.directory / "go").touch()
    shown = terminal.read_until("started, process")
    assert terminal.wait() == 0
    assert f"\x1b[A\x1b[2K{daemonry.name}: started, process {daemonry.pid()}\r\n" in shown
    daemonry.stop()


# Nobody to say it


@pytest.mark.reliability("Full and broken places")
@pytest.mark.root_only("it becomes a user of its own, whose processes are counted")
def test_a_start_under_any_limit_of_processes_is_up_or_says_why_not(daemonry: Daemonry) -> None:
    """Without a process that could tell when the program is up, nobody waits for it, and the program is not begun."""
    user = str(100_000 + os.getpid())
    begun = daemonry.daemons.public / "begun"
    words = ("--user", user, "--group", user, "--no-supplementary-groups", "--pidfile", "p.pid", "--timeout", "60")
    told = []
    for limit in range(1, 6):
        started = daemonry(
            *("start", *words, "--settle", "0", "--output", begun, "--", "sh", "-c", "echo begun; exec sleep 60"),
            preexec=lambda limit=limit: resource.setrlimit(resource.RLIMIT_NPROC, (limit, limit)),
            timeout=10,
        )
        told.append(started.stderr)
        if started.status == 0:
            daemonry("stop", "./p.pid").check()
        else:
            assert "no more processes may run; see ulimit -u" in started.stderr
            assert begun.read_text() == ""
        assert daemonry.daemons.alive() == []
        begun.unlink(missing_ok=True)
    assert any("cannot fork who tells when the program is up" in each for each in told)
    assert "started" in told[-1]


@pytest.mark.reliability("Full and broken places")
@pytest.mark.parametrize("flags", [("--notify",), ("--wait-port", "1")])
def test_a_start_whose_herald_is_killed_fails_at_once(daemonry: Daemonry, flags: tuple[str, ...]) -> None:
    """Nobody is left who could say that the program is up; a start that fails leaves nothing, so it is ended."""
    words = (*flags, "--settle", "60", "--timeout", "60", "--", "sleep", "60")
    running = daemonry.begin("start", "--name", daemonry.name, *words)
    wait_for(lambda: daemonry.pidfile().exists() and facts_of(daemonry.pid()).comm == "sleep")
    witness = facts_of(daemonry.pid()).ppid
    others = set(daemonry.daemons.alive()) - {running.pid, daemonry.pid(), witness}
    (herald,) = others
    os.kill(herald, signal.SIGKILL)
    failed = running.wait(20).check(1)
    assert "nobody is left who could say that it is; it has been ended" in failed.stderr
    assert (daemonry.left(), daemonry.daemons.alive()) == ([], [])
