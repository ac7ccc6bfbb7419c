"""The descriptors that a service manager gave: for whom they are, named, taken once, and closed to children."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemonry.manager import listen as sd_listen

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.daemons import Daemons

# Becomes the program with a listening socket as 3, one of datagrams as 4, and a pipe as 5, whatever it inherits.
ACTIVATE = """
import os, socket, sys
stream, datagrams = socket.create_server(("127.0.0.1", 0)), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
files = [os.dup(fd) for fd in (stream.fileno(), datagrams.fileno(), os.pipe()[0])]
above = [__import__("fcntl").fcntl(fd, __import__("fcntl").F_DUPFD, 50) for fd in files]
for number, fd in enumerate(above, 3):
    os.dup2(fd, number)
os.closerange(6, 50)
names = sys.argv[1]
variables = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "3", **({"LISTEN_FDNAMES": names} if names else {})}
os.execve(sys.executable, [sys.executable, *sys.argv[2:]], {**os.environ, **variables})
"""
REPORT = """
import os, subprocess, sys
from daemonry import DaemonContext
from daemonry.manager.listen import listen_fds
def seen(pairs):
    return [(name, each.getsockname()[0] if each.family == 2 else each.type.name) for name, each in pairs]
with DaemonContext({options}) as context:
    print(seen(context.listen_fds()), [(n, fd) for n, fd in context.listen_files()])
    print(context.listen_fds(), context.listen_files(), listen_fds())
    print([name for name in os.environ if name.startswith("LISTEN_")], os.get_inheritable(5))
print(context.listen_fds())
"""


def activated(daemons: Daemons, program: str, names: str = "") -> list[str]:
    path = daemons.directory / "activated.py"
    path.write_text(program)
    launched = daemons.launch(ACTIVATE, names, path).check()
    return launched.stdout.splitlines()


@pytest.mark.parametrize("options", ["", "environment={}", "detach_process=False"])
def test_a_context_gives_them_once_with_their_names_and_closed_to_children(daemons: Daemons, options: str) -> None:
    assert activated(daemons, REPORT.format(options=options), "web:log:pipe") == [
        "[('web', '127.0.0.1'), ('log', 'SOCK_DGRAM')] [('pipe', 5)]",
        "[] [] []",
        "[] False",
        "[]",
    ]


def test_what_has_no_name_is_called_unknown(daemons: Daemons) -> None:
    assert activated(daemons, REPORT.format(options=""), ":log")[0] == (
        "[('unknown', '127.0.0.1'), ('log', 'SOCK_DGRAM')] [('unknown', 5)]"
    )


def test_without_a_context_they_are_given_as_well(daemons: Daemons) -> None:
    said = activated(
        daemons,
        "import os\nfrom daemonry.manager.listen import listen_fds\n"
        "print([name for name, _ in listen_fds()], listen_fds(), 'LISTEN_FDS' in os.environ)",
        "web:log:pipe",
    )
    assert said == ["['web', 'log'] [] False"]


def test_a_child_that_the_daemon_forks_is_given_nothing(daemons: Daemons) -> None:
    said = activated(
        daemons,
        "import os, sys\nfrom daemonry import DaemonContext\n"
        "with DaemonContext() as context:\n"
        "    if os.fork() == 0:\n        print(context.listen_fds(), flush=True)\n        os._exit(0)\n"
        "    os.wait()\n    print(len(context.listen_fds()), flush=True)\n",
    )
    assert said == ["[]", "2"]


@pytest.fixture
def sockets() -> Iterator[tuple[socket.socket, socket.socket]]:
    one, other = socket.socketpair()
    with one, other:
        yield one, other


def test_a_descriptor_of_its_own_is_made_close_on_exec(sockets: tuple[socket.socket, socket.socket]) -> None:
    number = os.dup(sockets[0].fileno())
    os.set_inheritable(number, True)
    ((name, found),) = sd_listen.sockets((("x", number),))
    with found:
        assert (name, found.fileno(), found.get_inheritable()) == ("x", number, False)


COUNTS = st.none() | st.text(max_size=8) | st.integers(-5, 99).map(str) | st.sampled_from(["9" * 5000, "0" * 9 + "1"])


@given(COUNTS, st.text("ab:", max_size=9), st.sampled_from([None, "", "76", "77", "077"]))
def test_whatever_the_variables_say_only_open_descriptors_of_this_process_are_given(
    count: str | None, names: str, pid: str | None
) -> None:
    variables = {"LISTEN_FDS": count, "LISTEN_FDNAMES": names, "LISTEN_PID": pid}
    environment = {name: value for name, value in variables.items() if value is not None}
    found = sd_listen.given(environment, 77)
    assert not found or pid == "77"
    assert all(name and ":" not in name for name, _ in found)
    for _, fd in found:
        os.fstat(fd)


def test_the_variables_are_taken_out_and_nothing_else() -> None:
    environment = {"LISTEN_PID": "1", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "x", "LISTEN": "stays"}
    assert sd_listen.listen_fds(environment, 2) == []
    assert environment == {"LISTEN": "stays"}
