"""Sockets and files that a real systemd gives to a service: opened before it, and kept for its next process."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from harness.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.units import Units

# Says what it is told, and prints the answer; inside, where the service's network is.
CLIENT = """
import socket, sys
with socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=20) as client:
    client.sendall(sys.argv[2].encode())
    print("connected", flush=True)
    print(client.makefile().readline(), end="", flush=True)
"""


def asking(units: Units, port: int, text: str = "") -> subprocess.Popen[str]:
    command = [*units.systemd.enter(), sys.executable, "-c", CLIENT, str(port), text]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def answer(client: subprocess.Popen[str]) -> str:
    """Return the line that a client has got."""
    return client.communicate(timeout=30)[0].removeprefix("connected\n")


def ask(units: Units, port: int, text: str = "") -> str:
    return answer(asking(units, port, text))


def connected(units: Units, port: int, text: str = "") -> subprocess.Popen[str]:
    """Return a client that has connected, and waits for its answer."""
    client = asking(units, port, text)
    assert client.stdout is not None
    assert client.stdout.readline() == "connected\n"
    return client


# Opened by systemd


@pytest.fixture
def activated(units: Units) -> Iterator[Units]:
    """Open the socket; there is no service yet."""
    units.call("start", "lines.socket").check_returncode()
    units.call("stop", "lines.service").check_returncode()
    assert units.of("lines.service", "ActiveState") == "inactive"
    return units


def test_the_first_connection_starts_the_service_and_is_answered(activated: Units) -> None:
    assert ask(activated, 8008, "hello\n") == "1 hello\n"
    assert activated.of("lines.service", "ActiveState") == "active"


def test_the_service_is_told_the_names_of_its_sockets(activated: Units) -> None:
    activated.start("lines.service")
    assert "listening: inner\n" in activated.systemd.journal("lines.service")


def test_a_request_that_arrives_before_the_service_is_up_is_answered_when_it_is(activated: Units) -> None:
    path = "/usr/local/lib/answer/asyncio_service.py"
    held = "    while not os.path.exists('/run/go-on'):\n        await asyncio.sleep(0.01)\n"
    start = "    loop, stop = asyncio.get_running_loop()"
    activated.write(path, activated.files[path].replace(start, held + start))
    with connected(activated, 8008, "early\n") as client:
        wait_for(lambda: activated.of("lines.service", "ActiveState") == "activating", what="it is started")
        activated.write("/run/go-on", "")
        assert answer(client) == "1 early\n"


def test_no_connection_is_refused_while_the_service_is_restarted(activated: Units) -> None:
    activated.start("lines.service")
    first = activated.main("lines.service")
    activated.call("stop", "lines.service").check_returncode()
    assert ask(activated, 8008, "hello\n") == "1 hello\n"
    assert activated.main("lines.service") != first


def test_sockets_and_names_reach_a_daemon_that_forks_drops_its_rights_and_its_environment(activated: Units) -> None:
    """Its own number is in LISTEN_PID by then, and a program that it starts is not told of them."""
    activated.write(
        "/usr/local/lib/forks.py",
        """
        import json, os, pwd, subprocess, sys
        from daemonry import DaemonContext, PIDLockFile
        with DaemonContext(
            detach_process=True, environment={"PATH": "/bin"}, uid="nobody", pidfile=PIDLockFile("/run/forks.pid"),
            ready="manual",
        ) as context:
            given = context.listen_fds()
            inherited = subprocess.run(["/bin/ls", "/proc/self/fd"], capture_output=True, text=True).stdout.split()
            context.ready()
            connection, _ = given[0][1].accept()
            found = [[name for name, _ in given], context.listen_fds(), inherited, "LISTEN_FDS" in os.environ]
            connection.sendall(json.dumps(found).encode() + b"\\n")
        """,
    )
    activated.change(
        "lines.service",
        *("Type=forking", "PIDFile=/run/forks.pid", "Restart=no"),
        *("ExecStart=", f"ExecStart={sys.executable} /usr/local/lib/forks.py"),
    )
    assert json.loads(ask(activated, 8008)) == [["inner"], [], ["0", "1", "2", "3"], False]


# Kept by systemd


def test_a_restart_loses_neither_what_was_counted_nor_who_waits(units: Units) -> None:
    units.start("tally.service")
    assert [ask(units, 8009) for _ in range(2)] == ["1\n", "2\n"]
    wait_for(lambda: units.of("tally.service", "NFileDescriptorStore") == "2", what="systemd keeps them")
    units.signal("tally.service", "STOP")
    with connected(units, 8009) as client:
        units.systemd.check("systemctl", "restart", "tally.service")  # it lets what it ends go on
        assert answer(client) == "3\n"
    assert ask(units, 8009) == "4\n"
    assert units.of("tally.service", "NFileDescriptorStore") == "2"


def test_a_crash_loses_nothing_either(units: Units) -> None:
    units.start("tally.service")
    assert ask(units, 8009) == "1\n"
    wait_for(lambda: units.of("tally.service", "NFileDescriptorStore") == "2", what="systemd keeps them")
    units.signal("tally.service", "STOP")
    with connected(units, 8009) as client:  # which only the next process can accept
        units.signal("tally.service", "KILL")
        assert answer(client) == "2\n"


def test_a_service_that_is_stopped_begins_anew(units: Units) -> None:
    units.start("tally.service")
    assert ask(units, 8009) == "1\n"
    units.stop("tally.service")
    units.start("tally.service")
    assert ask(units, 8009) == "1\n"


def test_what_is_forgotten_is_not_given_again_and_a_connection_can_be_handed_on(units: Units) -> None:
    units.write(
        "/usr/local/lib/hands_on.py",
        """
        import os, socket
        from daemonry import DaemonContext
        with DaemonContext(ready="manual") as context:
            manager = context.service_manager
            given = dict(context.listen_fds())
            if not given:
                server = socket.create_server(("127.0.0.1", 8011))
                manager.store(server, "server")
                context.ready()
                connection, _ = server.accept()
                manager.store(connection, "connection")
                manager.forget("server")
                manager.wait_until_heard()
                os._exit(1)
            given["connection"].sendall(f"{sorted(given)}\\n".encode())
            context.ready()
            context.wait()
        """,
    )
    units.change("tally.service", "ExecStart=", f"ExecStart={sys.executable} /usr/local/lib/hands_on.py")
    units.start("tally.service")
    assert ask(units, 8011) == "['connection']\n"
