"""The asyncio service of the examples, from a shell: it reloads, and stops in order, whoever is still connected."""

from __future__ import annotations

import contextlib
import re
import signal
import socket
import time
from typing import TYPE_CHECKING

import pytest

from harness.waiting import wait_for
from test_examples import EXAMPLES, send
from test_examples import lines_of as all_lines_of

if TYPE_CHECKING:
    from pathlib import Path

    from harness.daemons import Daemons

PROGRAM = EXAMPLES / "asyncio_service.py"


def lines_of(path: Path) -> list[str]:
    """Return what the service says; but not what asyncio does of a loaded machine, on which a callback took long."""
    return [line for line in all_lines_of(path) if not re.match(r"Executing <.* took [\d.]+ seconds$", line)]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


class Service:
    """The example, started from a shell."""

    def __init__(self, daemons: Daemons) -> None:
        self.daemons, self.port, self.log = daemons, free_port(), daemons.directory / "service.log"
        # In development mode asyncio tells of every task, transport and exception that is left.
        options = ("--port", self.port, "--log", self.log, "--pidfile", daemons.directory / "service.pid")
        daemons.launch(PROGRAM, *options, python=("-X", "dev", "-W", "error")).check()
        self.pid = daemons.survivor()

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)

    def ask(self, text: bytes) -> bytes:
        with self.connect() as client:
            client.sendall(text)
            return client.recv(1000)

    def stop(self) -> float:
        """Stop it; return how many seconds that took."""
        begun = time.monotonic()
        self.daemons.stop(self.pid)
        return time.monotonic() - begun


@pytest.fixture
def service(daemons: Daemons) -> Service:
    return Service(daemons)


def test_its_parts_stop_in_the_reverse_order_of_their_start(service: Service) -> None:
    assert service.ask(b"hello\n") == b"1 hello\n"
    service.stop()
    assert lines_of(service.log) == [
        "the counter starts",
        f"listening: port {service.port}",
        "no longer listening",
        "the counter stops at 1",
    ]
    assert not (service.daemons.directory / "service.pid").exists()


def test_sigterm_acts_at_once_though_nothing_else_wakes_the_loop(service: Service) -> None:
    assert service.stop() < 1


def test_it_reloads_between_two_lines_of_a_connection_that_stays(service: Service) -> None:
    with service.connect() as client:
        client.sendall(b"a\n")
        assert client.recv(100) == b"1 a\n"
        send(service.pid, signal.SIGHUP)
        wait_for(lambda: "the counter begins anew" in lines_of(service.log), what="it reloads")
        client.sendall(b"b\n")
        assert client.recv(100) == b"1 b\n"
    service.stop()


@pytest.mark.parametrize("client", ["idle", "in the middle of a line", "deaf"])
def test_a_connection_that_is_open_neither_holds_the_stop_up_nor_is_complained_of(
    service: Service, client: str
) -> None:
    with service.connect() as connection:
        connection.sendall(b"hello\n")
        assert connection.recv(100) == b"1 hello\n"
        if client == "in the middle of a line":
            connection.sendall(b"half a li")
        if client == "deaf":  # the answers fill all buffers, and the service waits for somebody to read them
            fill(connection)
        assert service.stop() < 2
    assert lines_of(service.log)[2] == "no longer listening"
    assert re.fullmatch(r"the counter stops at \d+", lines_of(service.log)[3])
    assert len(lines_of(service.log)) == 4


def fill(connection: socket.socket) -> None:
    """Send lines until they stay where they are: what is on its way fills the service's buffers first."""
    connection.setblocking(False)
    refused = 0

    def is_full() -> bool:
        nonlocal refused
        try:
            connection.send((b"x" * 999 + b"\n") * 100)
            refused = 0
        except BlockingIOError:
            refused += 1
        return refused > 20

    wait_for(is_full, what="nothing more can be sent")


def test_a_client_that_resets_its_connection_ends_that_connection_alone(service: Service) -> None:
    with service.connect() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # close() sends RST
        client.sendall(b"a\n" * 2000)
    wait_for(lambda: any(line.startswith("a connection ends: ") for line in lines_of(service.log)), what="it is told")
    assert service.ask(b"hello\n").endswith(b" hello\n")
    service.stop()
    assert not [line for line in lines_of(service.log) if "never retrieved" in line or "Traceback" in line]


def test_a_line_that_is_too_long_ends_that_connection_alone(service: Service) -> None:
    with service.connect() as client, contextlib.suppress(ConnectionError):
        client.sendall(b"x" * 200_000)
        assert client.recv(100) == b""
    assert service.ask(b"hello\n") == b"1 hello\n"
    service.stop()
    assert any("Separator is not found" in line for line in lines_of(service.log))
    assert "Traceback" not in service.log.read_text()


def test_a_port_that_is_in_use_is_said_at_the_terminal(daemons: Daemons) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        launched = daemons.launch(PROGRAM, "--port", taken.getsockname()[1]).check(1)
    assert launched.stderr.startswith("asyncio_service: cannot start the daemon: step body: Address already in use")


def test_a_second_one_names_the_first(service: Service) -> None:
    said = service.daemons.launch(PROGRAM, "--pidfile", service.daemons.directory / "service.pid").check(1).stderr
    assert f"held by process {service.pid}" in said
    service.stop()
