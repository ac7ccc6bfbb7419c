"""The service manager is told how the daemon does, and the sockets that he gave are kept."""

from __future__ import annotations

import contextlib
import errno
import os
import queue
import signal
import socket
import threading
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemonry.manager import listen as sd_listen
from harness.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from harness.daemons import Daemons

# A shell that puts its own number, which exec keeps, where systemd puts the number of the process that it starts.
AS_SERVICE = ("sh", "-c", 'SYSTEMD_EXEC_PID=$$ exec "$@"', "sh")


class Manager:
    """A service manager's ear: it listens all the time, for a daemon that ends waits until it has been heard."""

    def __init__(self, address: str | Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(os.fspath(address).replace("@", "\0"))
        self._heard: queue.Queue[bytes] = queue.Queue()
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        while (text := self.socket.recv(4096)) != b"the end":
            self._heard.put(text)

    def hear(self) -> dict[str, str]:
        """Return the next message."""
        lines = self._heard.get(timeout=10).decode().split("\n")
        return {name: value for name, _, value in (line.partition("=") for line in lines)}

    def heard_nothing(self) -> bool:
        """Return whether nothing was said that has not been answered by :meth:`hear`; listens no longer."""
        self.close()
        return self._heard.empty()

    def close(self) -> None:
        if self._thread.is_alive():
            with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as sender:
                sender.sendto(b"the end", self.socket.getsockname())
            self._thread.join()
        self.socket.close()


@pytest.fixture(params=["path", "abstract"])
def address(request: pytest.FixtureRequest, daemons: Daemons) -> str:
    return str(daemons.public / "notify") if request.param == "path" else f"@{daemons.directory}"


@pytest.fixture
def manager(address: str) -> Iterator[Manager]:
    ear = Manager(address)
    yield ear
    ear.close()


TALK = """
    import os, sys
    from daemonry import DaemonContext
    context = DaemonContext({options}, ready="manual", working_directory=".")
    with context:
        context.progress("loading 40 %\\nof it")
        context.ready()
        context.ready()
        context.progress("up")
"""


@pytest.mark.parametrize("detach", [True, False])
def test_the_manager_is_told_of_the_start_and_the_stop(
    daemons: Daemons, manager: Manager, address: str, detach: bool
) -> None:
    launched = daemons.start(
        TALK.format(options=f"detach_process={detach}"), through=AS_SERVICE, env={"NOTIFY_SOCKET": address}
    )
    assert manager.hear() == {"STATUS": "loading 40 % of it"}
    ready = manager.hear()
    assert ready["READY"] == "1"
    assert (int(ready["MAINPID"]) != launched.pid) is detach
    assert manager.hear() == {"STATUS": "up"}
    assert manager.hear() == {"STOPPING": "1"}
    assert manager.hear() == {"BARRIER": "1"}
    launched.wait().check()
    wait_for(lambda: not daemons.alive(), what="the daemon ends")
    assert manager.heard_nothing()


def test_the_manager_is_told_when_nobody_else_is_the_daemon_s_parent(
    daemons: Daemons, manager: Manager, address: str
) -> None:
    """Else systemd supervises a process that is not its child, and does not see it off when the unit is stopped."""
    daemons.launch(
        """
        import os
        from daemonry import DaemonContext
        with DaemonContext(detach_process=True, ready="manual", working_directory=".") as context:
            witness = os.getppid()
            context.ready()
            context.progress(f"left by {witness}" if os.getppid() != witness else f"a child of {witness}")
        """,
        through=AS_SERVICE,
        env={"NOTIFY_SOCKET": address},
    ).check()
    assert "MAINPID" in manager.hear()
    assert manager.hear()["STATUS"].startswith("left by ")
    wait_for(lambda: not daemons.alive(), what="the daemon ends")


def test_the_manager_of_a_service_hears_nothing_of_a_daemon_that_the_service_starts(
    daemons: Daemons, manager: Manager, address: str
) -> None:
    """He would take its number for the service's own under NotifyAccess=all."""
    daemons.launch(
        "from daemonry import DaemonContext\nwith DaemonContext(): pass",
        through=("sh", "-c", 'SYSTEMD_EXEC_PID=$$ INVOCATION_ID=0123 "$@"; exit $?', "sh"),
        env={"NOTIFY_SOCKET": address},
        start_new_session=True,
    ).check()
    wait_for(lambda: not daemons.alive(), what="the daemon ends")
    assert manager.heard_nothing()


def test_the_manager_of_a_supervisor_hears_nothing_of_its_programs(
    daemons: Daemons, manager: Manager, address: str
) -> None:
    """A supervisord that is a service gives all that it starts what systemd has told it alone."""
    supervisor = daemons.directory / "supervisord"
    supervisor.write_text('#!/bin/sh\nSYSTEMD_EXEC_PID=$$ "$@"\nexit $?\n')
    supervisor.chmod(0o755)
    launched = daemons.launch(
        "import os; from daemonry import DaemonContext\nfirst = os.getpid()\n"
        "with DaemonContext(): print(os.getpid() == first)",
        through=(str(supervisor),),
        env={"NOTIFY_SOCKET": address},
    ).check()
    assert launched.stdout == "True\n"
    assert manager.heard_nothing()


@pytest.mark.parametrize("through", [(), ("setsid", "--wait")])
def test_a_socket_that_was_meant_for_an_ancestor_is_left_alone(
    daemons: Daemons, manager: Manager, address: str, through: Sequence[str]
) -> None:
    daemons.launch(TALK.format(options="umask=0"), through=through, env={"NOTIFY_SOCKET": address}).check()
    wait_for(lambda: not daemons.alive(), what="the daemon ends")
    assert manager.heard_nothing()


@pytest.mark.parametrize("detach", [True, False])
def test_he_is_told_also_when_the_environment_is_replaced(
    daemons: Daemons, manager: Manager, address: str, detach: bool
) -> None:
    options = f"environment={{}}, detach_process={detach}"
    daemons.launch(TALK.format(options=options), through=AS_SERVICE, env={"NOTIFY_SOCKET": address}).check()
    assert [sorted(manager.hear()) for _ in range(4)] == [["STATUS"], ["MAINPID", "READY"], ["STATUS"], ["STOPPING"]]
    wait_for(lambda: not daemons.alive(), what="the daemon ends")


@pytest.mark.parametrize("left_out", ["check_options", "detach", "close_descriptors"])
def test_he_is_known_before_the_environment_is_replaced_whatever_the_steps(
    daemons: Daemons, manager: Manager, address: str, left_out: str
) -> None:
    daemons.launch(
        f"""
        from daemonry import DaemonContext
        class Context(DaemonContext):
            steps = tuple(step for step in DaemonContext.steps if step != {left_out!r})
        with Context(environment={{}}, detach_process=False):
            pass
        """,
        through=AS_SERVICE,
        env={"NOTIFY_SOCKET": address},
    ).check()
    assert [sorted(manager.hear()) for _ in range(2)] == [["MAINPID", "READY"], ["STOPPING"]]


@pytest.mark.root_only("it changes the root directory and the user")
@pytest.mark.parametrize("detach", [True, False])
def test_he_is_told_from_inside_another_root_directory(
    daemons: Daemons, manager: Manager, address: str, detach: bool
) -> None:
    options = f"chroot_directory=sys.argv[1], uid='nobody', detach_process={detach}"
    daemons.launch(
        TALK.format(options=options), daemons.jail(), through=AS_SERVICE, env={"NOTIFY_SOCKET": address}
    ).check()
    assert [sorted(manager.hear()) for _ in range(4)] == [["STATUS"], ["MAINPID", "READY"], ["STATUS"], ["STOPPING"]]
    wait_for(lambda: not daemons.alive(), what="the daemon ends")


def test_a_start_that_fails_is_not_told_as_ready(daemons: Daemons, manager: Manager, address: str) -> None:
    daemons.launch(
        "from daemonry import DaemonContext\nwith DaemonContext(ready='manual'): raise ValueError",
        through=AS_SERVICE,
        env={"NOTIFY_SOCKET": address},
    ).check(1)
    assert manager.hear() == {"STOPPING": "1"}
    assert manager.hear() == {"STATUS": "ValueError"}
    assert manager.hear() == {"BARRIER": "1"}
    assert manager.heard_nothing()


@pytest.mark.reliability("Full and broken places")
@pytest.mark.parametrize(
    ("gone", "detach"),
    [
        ("/run/no such socket", True),
        ("/run/no such socket", False),
        ("", True),
        ("@nobody listens", True),
        ("relative", False),
        ("/etc/passwd", True),
        ("/" + "long" * 40, False),
        ("\udcff", True),
    ],
)
def test_a_manager_that_is_not_there_harms_nothing(daemons: Daemons, gone: str, detach: bool) -> None:
    options = f"detach_process={detach}"
    daemons.launch(TALK.format(options=options), through=AS_SERVICE, env={"NOTIFY_SOCKET": gone}).check()
    wait_for(lambda: not daemons.alive(), what="the daemon ends")


@pytest.mark.parametrize("detach", [True, False])
def test_a_manager_that_can_not_be_told_that_the_daemon_is_ready_is_told_of_in_the_log(
    daemons: Daemons, detach: bool
) -> None:
    """He may end it for being late, and nobody else would know why."""
    options = f"detach_process={detach}, stderr='log'"
    gone = {"NOTIFY_SOCKET": "/run/no such socket"}
    daemons.launch(TALK.format(options=options), through=AS_SERVICE, env=gone).check()
    wait_for(lambda: not daemons.alive(), what="the daemon ends")
    told = (daemons.directory / "log").read_text().replace("loading 40 %\nof it\n", "")
    assert told == f"cannot tell the service manager that the daemon is ready: {os.strerror(errno.ENOENT)}\n"


@pytest.mark.root_only("it changes the root directory")
def test_a_manager_that_goes_away_harms_nothing(daemons: Daemons) -> None:
    """Also where a socket to him is open already, because he can't be reached from inside another root directory."""
    path = daemons.public / "notify"
    manager = Manager(path)
    running = daemons.start(
        """
        import signal, sys
        from daemonry import DaemonContext
        with DaemonContext(
            chroot_directory=sys.argv[1], ready="manual", signal_map={"USR1": "request_stop"}
        ) as context:
            context.progress("waiting")
            context.wait()
            context.ready()
            context.progress("up")
        """,
        daemons.jail(),
        through=AS_SERVICE,
        env={"NOTIFY_SOCKET": str(path)},
    )
    assert manager.hear() == {"STATUS": "waiting"}
    manager.close()
    path.unlink()
    running.signal(signal.SIGUSR1)
    running.wait().check()


@pytest.mark.root_only("it changes the root directory")
def test_the_socket_to_him_is_closed_with_the_context(daemons: Daemons, manager: Manager, address: str) -> None:
    launched = daemons.launch(
        """
        import os, sys
        from daemonry import DaemonContext
        def sockets():
            return [fd for fd in range(3, 99) if os.path.exists(f"/proc/self/fd/{fd}")]
        before = sockets()
        with DaemonContext(chroot_directory="/", detach_process=False):
            print(len(sockets()) - len(before))
        print(sockets() == before)
        """,
        through=AS_SERVICE,
        env={"NOTIFY_SOCKET": address},
    ).check()
    assert launched.stdout == "1\nTrue\n"
    assert [sorted(manager.hear()) for _ in range(2)] == [["MAINPID", "READY"], ["STOPPING"]]


def test_a_manager_that_has_stopped_reading_holds_the_daemon_up_for_a_while_only(daemons: Daemons) -> None:
    path = daemons.public / "notify"
    one, other = (socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(2))
    with closing(one) as deaf, closing(other) as filler:
        deaf.bind(str(path))
        filler.connect(str(path))
        filler.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                filler.send(b"STATUS=busy")
        daemons.launch(
            "from daemonry import DaemonContext\nfrom daemonry.manager import notify\nnotify.PATIENCE = 0.05\n"
            "with DaemonContext(): pass",
            through=AS_SERVICE,
            env={"NOTIFY_SOCKET": str(path)},
        ).check()


# The sockets that he gave


@given(st.one_of(st.none(), st.text(max_size=8), st.integers(-5, 99).map(str)), st.sampled_from(["", "1", "77"]))
def test_sockets_are_counted_only_for_the_process_that_they_are_meant_for(count: str | None, pid: str) -> None:
    environment = {"LISTEN_PID": pid, **({} if count is None else {"LISTEN_FDS": count})}
    found = [fd for _, fd in sd_listen.given(environment, 77)]
    valid = pid == "77" and count is not None and count.isascii() and count.isdigit()
    assert set(found) <= (set(range(3, 3 + int(count or 0))) if valid else set())


def test_only_sockets_that_are_open_are_counted() -> None:
    """A manager that promises more than it gives doesn't make the start fail."""
    one, other = socket.socketpair()
    with one, other:
        count = one.fileno() - 2
        environment = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(count)}
        assert ("unknown", one.fileno()) in sd_listen.given(environment, os.getpid())
    assert one.fileno() == -1
    assert count + 2 not in dict(sd_listen.given(environment, os.getpid())).values()


@pytest.mark.parametrize("detach", [True, False])
def test_activation_sockets_are_preserved_and_addressed_to_the_daemon(daemons: Daemons, detach: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        running = daemons.start(
            """
            import os, socket, sys
            from daemonry import DaemonContext
            with DaemonContext(detach_process=sys.argv[1] == "True"):
                assert os.environ["LISTEN_PID"] == str(os.getpid())
                assert os.environ["LISTEN_FDS"] == "1"
                connection = socket.socket(fileno=3).accept()[0]
                connection.sendall(str(os.getpid()).encode())
                connection.close()
            """,
            detach,
            through=("sh", "-c", 'LISTEN_PID=$$ LISTEN_FDS=1 exec "$@" 3<&0 0</dev/null', "sh"),
            stdin=listening.fileno(),
        )
        with socket.create_connection(listening.getsockname(), timeout=10) as client:
            pid = int(client.makefile().read())
        assert (pid != running.pid) is detach
        running.wait().check()
        wait_for(lambda: not daemons.alive(), what="the daemon ends")
