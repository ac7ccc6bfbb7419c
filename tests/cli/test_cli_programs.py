"""Programs that nobody here wrote, and ill-behaved ones, as daemons: started, asked after, reloaded and stopped."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import sys
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.probe import facts_of
from harness.waiting import is_alive, wait_for

if TYPE_CHECKING:
    from harness.commands import Daemonry

# The directories of Debian's servers are not in every user's PATH.
PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"


def installed(name: str, package: str) -> str:
    found = shutil.which(name, path=PATH)
    if found is None:
        pytest.skip(f"{name} is not installed: apt install {package}")
    return found


def free_port() -> int:
    with closing(socket.socket()) as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def processes_of(session: int) -> set[int]:
    """Return the living processes of a session: programs that write over their environment lose the marker."""
    found = set()
    for text in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.getsid(int(text)) == session and is_alive(int(text)):
                found.add(int(text))
        except ProcessLookupError:
            continue
    return found


def names_of(session: int) -> list[str]:
    names = []
    for pid in processes_of(session):
        with suppress(FileNotFoundError, ProcessLookupError):
            names.append(Path(f"/proc/{pid}/comm").read_text().strip())
    return sorted(names)


def ask(family: int, address: object, question: bytes) -> bytes:
    with closing(socket.socket(family)) as client:
        client.settimeout(10)
        client.connect(address)
        client.sendall(question)
        return client.recv(4096)


# That nobody here wrote


def test_sleep_through_its_life(daemonry: Daemonry) -> None:
    """A program that knows nothing of all this is a well-behaved daemon, by the doctor's word."""
    pid = daemonry.start("--settle", "0", "--", "sleep", "60")
    status = json.loads(daemonry("status", "--json", daemonry.name).check().stdout)
    assert (status["state"], status["pid"], status["program"]) == ("running", pid, "sleep")
    found = {each["name"]: each["ok"] for each in json.loads(daemonry("doctor", "--json", daemonry.name).stdout)}
    assert [name for name, ok in found.items() if ok is False and name not in ("user", "groups", "privileges")] == []
    assert re.search(rf"^{daemonry.name} +running +{pid} .* sleep 60$", daemonry("list").check().stdout, re.MULTILINE)
    # SIGHUP ends what doesn't expect it, which leaves the pidfile.
    daemonry("signal", daemonry.name, "HUP").check()
    wait_for(lambda: not is_alive(pid))
    daemonry("status", daemonry.name).check(1)
    daemonry.stop()
    daemonry("status", daemonry.name).check(3)


def test_pythons_http_server(daemonry: Daemonry) -> None:
    """It serves from the directory of the flag, its log tells of the requests, SIGINT is its way to end."""
    port = free_port()
    (daemonry.daemons.public / "page").write_text("as it stands")
    words = ("--wait-port", port, "--chdir", "public", "--env", "PYTHONUNBUFFERED=1")
    pid = daemonry.start(*words, "--", sys.executable, "-m", "http.server", port, "--bind", "127.0.0.1")
    assert ask(socket.AF_INET, ("127.0.0.1", port), b"GET /page HTTP/0.9\r\n\r\n") is not None
    wait_for(lambda: '"GET /page' in daemonry.log().read_text())
    assert "GET /page" in daemonry("logs", "-n", "5", daemonry.name).check().stdout
    assert processes_of(facts_of(pid).sid) == {pid}
    daemonry("stop", "--schedule", "INT/20", daemonry.name).check()
    assert daemonry.left() == [daemonry.memory()]


@pytest.mark.parametrize("supervised", [True, False])
def test_redis(daemonry: Daemonry, supervised: bool) -> None:
    """Up by its own word, or by its port; a connection right after the start is answered; TERM ends it in order."""
    redis = installed("redis-server", "redis-server")
    port = 0 if supervised else free_port()
    address = str(daemonry.directory / "redis.sock")
    flags = ("--notify",) if supervised else ("--wait-port", port)
    how = ("--supervised", "systemd") if supervised else ()
    config = ("--port", port, "--unixsocket", address, "--dir", daemonry.directory, "--save", "", *how)
    started = daemonry("start", "--name", daemonry.name, *flags, "--", redis, *config).check()
    pid = daemonry.pid()
    assert f"{daemonry.name}: started, process {pid}" in started.stderr
    assert ("Ready to accept connections" in started.stderr) == supervised
    assert ask(socket.AF_UNIX, address, b"PING\r\n") == b"+PONG\r\n"
    # It tells its number from its own point of view, which is the pidfile's.
    assert b"process_id:%d\r\n" % pid in ask(socket.AF_UNIX, address, b"INFO server\r\n")
    found = facts_of(pid)
    assert (found.ppid, found.tty) == (1, 0)
    assert daemonry("status", daemonry.name).check().stdout.startswith(f"{daemonry.name}: running, process {pid}")
    assert "is running already" in daemonry("start", "--name", daemonry.name, "--", redis, *config).check(1).stderr
    daemonry.stop()
    assert processes_of(found.sid) == set()
    assert "User requested shutdown" in daemonry.log().read_text()


def test_redis_that_cannot_start_says_why(daemonry: Daemonry) -> None:
    redis = installed("redis-server", "redis-server")
    failed = daemonry("start", "--name", daemonry.name, "--", redis, "--nonsense", "1").check(1)
    assert "the program exited with status 1" in failed.stderr
    assert "FATAL CONFIG FILE ERROR" in failed.stderr
    assert daemonry.left() == []


NGINX = """
    {user}
    worker_processes 2;
    pid nginx.pid;
    error_log {prefix}/error.log;
    events {{ worker_connections 16; }}
    http {{
        access_log off;
        client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
        uwsgi_temp_path uwsgi; scgi_temp_path scgi;
        server {{ listen 127.0.0.1:{port}; location / {{ return 200 "{text}"; }} }}
    }}
"""


def test_nginx(daemonry: Daemonry) -> None:
    """Master and workers: reload makes new workers of the new configuration, stop ends all of them."""
    nginx = installed("nginx", "nginx-light")
    port, prefix = free_port(), daemonry.daemons.public
    config = prefix / "nginx.conf"
    values = {"prefix": prefix, "port": port, "user": "user nobody nogroup;" if os.geteuid() == 0 else ""}
    config.write_text(NGINX.format(text="the first", **values))
    words = ("--wait-port", port, "--", nginx, "-p", prefix, "-c", config, "-g", "daemon off;")
    pid = daemonry.start(*words)
    assert (prefix / "nginx.pid").read_text() == f"{pid}\n"
    session = facts_of(pid).sid
    first = wait_for(lambda: len(processes_of(session)) == 3 and processes_of(session)) - {pid}
    address, question = ("127.0.0.1", port), b"GET / HTTP/1.0\r\n\r\n"
    assert ask(socket.AF_INET, address, question).endswith(b"the first")
    config.write_text(NGINX.format(text="the second", **values))
    daemonry("reload", daemonry.name).check()
    wait_for(lambda: ask(socket.AF_INET, address, question).endswith(b"the second"))
    wait_for(lambda: first.isdisjoint(processes_of(session)) and len(processes_of(session)) == 3)
    assert daemonry.pid() == pid
    assert "running" in daemonry("status", daemonry.name).check().stdout
    daemonry.stop()
    assert processes_of(session) == set()
    with pytest.raises(ConnectionRefusedError):
        ask(socket.AF_INET, address, question)


def test_nginx_starts_again_from_the_same_words(daemonry: Daemonry) -> None:
    """The port is given back by the old one before the new one is started, and may be waited for anew."""
    nginx = installed("nginx", "nginx-light")
    port, prefix = free_port(), daemonry.daemons.public
    config = prefix / "nginx.conf"
    user = "user nobody nogroup;" if os.geteuid() == 0 else ""
    config.write_text(NGINX.format(text="it", prefix=prefix, port=port, user=user))
    pid = daemonry.start("--wait-port", port, "--", nginx, "-p", prefix, "-c", config, "-g", "daemon off;")
    daemonry("restart", daemonry.name).check()
    assert daemonry.pid() != pid
    assert ask(socket.AF_INET, ("127.0.0.1", port), b"GET / HTTP/1.0\r\n\r\n").endswith(b"it")
    daemonry.stop()


# Ill-behaved ones


def python(text: str) -> tuple[str, ...]:
    return ("--", sys.executable, "-c", text)


def test_one_that_closes_every_descriptor_is_found_all_the_same(daemonry: Daemonry) -> None:
    """And with them the pidfile's lock: the seal says whose the file is, so a second one is refused."""
    text = "import os, signal, time\nos.closerange(0, 4096)\nopen('closed', 'w').close()\nsignal.pause()"
    pid = daemonry.start("--settle", "0", "--chdir", "public", *python(text))
    wait_for((daemonry.daemons.public / "closed").exists)
    assert all(each.target != str(daemonry.pidfile()) for each in facts_of(pid).descriptors)
    assert f"running, process {pid}" in daemonry("status", daemonry.name).check().stdout
    refused = daemonry("start", "--name", daemonry.name, "--", "sleep", "60").check(1)
    assert f"is running already: process {pid}" in refused.stderr
    assert (daemonry.pid(), is_alive(pid)) == (pid, True)
    assert "is running already" in daemonry("run", "--name", daemonry.name, "--", "sleep", "60").check(1).stderr
    daemonry.stop()
    assert not is_alive(pid)


def test_one_whose_children_outlive_it_has_failed(daemonry: Daemonry) -> None:
    """They have inherited nothing by which they could be it: status says so, and the next start knows them."""
    pid = daemonry.start("--settle", "0", "--", "sh", "-c", "sleep 60 & echo $! > /proc/self/fd/1; wait")
    child = int(wait_for(lambda: daemonry.log().read_text().strip()))
    inode = daemonry.pidfile().stat().st_ino
    assert inode not in [os.stat(f"/proc/{child}/fd/{each}").st_ino for each in facts_of(child).numbers]
    daemonry.daemons.stop(pid, signal.SIGKILL)
    told = daemonry("status", daemonry.name).check(1).stdout
    assert "failed: it ended without being stopped, and its pidfile is left" in told
    refused = daemonry("start", "--name", daemonry.name, "--settle", "0", "--", "sleep", "60").check(1)
    assert f"what it started runs on: process {child} (sleep); " in refused.stderr
    new = daemonry.start("--clean", "--settle", "0", "--", "sleep", "60")
    assert f"process {new}" in daemonry("status", daemonry.name).check().stdout
    assert not is_alive(child)
    daemonry.stop()


def test_both_at_once(daemonry: Daemonry) -> None:
    """It closes everything, and leaves a child: while it lives it is found, when it is dead the child isn't it."""
    text = """
import os, signal
child = os.fork()
if child == 0:
    signal.pause()
os.closerange(0, 4096)
with open("child.new", "w") as file:
    file.write(str(child))
os.rename("child.new", "child")
signal.pause()
"""
    pid = daemonry.start("--settle", "0", "--chdir", "public", *python(text))
    wait_for((daemonry.daemons.public / "child").exists)
    child = int((daemonry.daemons.public / "child").read_text())
    assert f"process {pid}" in daemonry("status", daemonry.name).check().stdout
    daemonry.daemons.stop(pid, signal.SIGKILL)
    daemonry("status", daemonry.name).check(1)
    daemonry.daemons.stop(child)
    daemonry.start("--settle", "0", "--", "sleep", "60")
    daemonry.stop()


def test_one_that_ignores_sigterm_is_killed_by_the_schedule(daemonry: Daemonry) -> None:
    """After the time that the schedule gives it, and no sooner."""
    text = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nopen('deaf', 'w').close()\nsignal.pause()"
    pid = daemonry.start("--settle", "0", "--chdir", "public", *python(text))
    wait_for((daemonry.daemons.public / "deaf").exists)
    refused = daemonry("stop", "--schedule", "TERM/0.2", daemonry.name)
    assert refused.status != 0
    assert f"process {pid} ({facts_of(pid).comm}) still runs after TERM/0.2" in refused.stderr
    assert "running" in daemonry("status", daemonry.name).check().stdout
    before = time.monotonic()
    stopped = daemonry("stop", "--schedule", "TERM/0.2/KILL/5", daemonry.name).check()
    assert 0.2 < time.monotonic() - before < 5
    assert f"{daemonry.name}: stopped, process {pid}, after 0." in stopped.stderr
    assert not is_alive(pid)
    assert not daemonry.pidfile().exists()


def test_one_that_forks_is_its_first_process(daemonry: Daemonry) -> None:
    """Its children are its own affair: the pidfile is the parent's, whatever they are and whenever they end."""
    text = 'sleep 60 & a=$!; sleep 60 & b=$!; trap "kill $a $b; exit 0" TERM; echo up; wait'
    pid = daemonry.start("--settle", "0", "--", "sh", "-c", text)
    wait_for(lambda: daemonry.log().read_text() == "up\n")
    session = facts_of(pid).sid
    wait_for(lambda: names_of(session) == ["sh", "sleep", "sleep"])
    child = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0]
    daemonry.daemons.stop(int(child))
    assert f"running, process {pid}" in daemonry("status", daemonry.name).check().stdout
    daemonry.stop()
    wait_for(lambda: processes_of(session) == set())


def test_one_that_makes_a_daemon_of_itself_has_failed(daemonry: Daemonry) -> None:
    """The process of the pidfile is gone, so nothing would control what is left: it is ended, and the user told."""
    failed = daemonry("start", "--name", daemonry.name, "--settle", "20", "--", "sh", "-c", "sleep 60 & exit 0").check(
        1
    )
    assert "the program exited with status 0 before it was ready" in failed.stderr
    assert daemonry.daemons.alive() == []
    assert daemonry.left() == []


def test_one_that_leaves_the_session_is_named_and_ended(daemonry: Daemonry) -> None:
    """What the start itself can't reach is told of by its number, and then ended as what belongs to the daemon is."""
    text = 'setsid sleep 60 & while ! [ "$(cat /proc/$!/comm)" = sleep ]; do :; done; echo $!; exit 0'
    failed = daemonry("start", "--name", daemonry.name, "--settle", "20", "--", "sh", "-c", text).check(1)
    stray = int(daemonry.log().read_text())
    assert f"still running: process {stray} (sleep), which left the daemon's session" in failed.stderr
    assert f"had ended; stopped what it had left: process {stray} (sleep)" in failed.stderr
    assert daemonry.daemons.alive() == []


def test_one_with_a_name_that_is_no_text(daemonry: Daemonry) -> None:
    """A file name may be any bytes, and so may arguments: they are handed on as they are."""
    tool = os.fsencode(daemonry.directory) + b"/t\xff)l (x"
    os.symlink("/bin/sh", tool)
    program = ("--", os.fsdecode(tool), "-c", 'printf "%s" "$1"; exec sleep 60', "sh", os.fsdecode(b"\xfe \n"))
    daemonry.start("--settle", "0", *program, env={"PYTHONUTF8": "1"})
    wait_for(lambda: daemonry.log().read_bytes() == b"\xfe \n")
    daemonry("restart", daemonry.name, env={"PYTHONUTF8": "1"}).check()
    wait_for(lambda: daemonry.log().read_bytes() == b"\xfe \n" * 2)
    daemonry.stop()
