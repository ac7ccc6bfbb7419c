"""The service manager: who started the program, what he is told, and the sockets that he gave."""

from __future__ import annotations

import shutil
import socket
import subprocess
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemonry.manager import starter as service_manager
from daemonry.manager.starter import Facts, Starter
from harness.waiting import read_json, wait_for

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.daemons import Daemons

# A shell that puts its own number, which exec keeps, where systemd puts the number of the process that it starts.
AS_SERVICE = ("sh", "-c", 'SYSTEMD_EXEC_PID=$$ exec "$@"', "sh")
AS_PARENT = ("sh", "-c", '"$@"; exit $?', "sh")
IN_CONTAINER = ("unshare", "--pid", "--fork", "--mount-proc")

SAY_WHO = """
    import os, sys
    from daemonry import DaemonContext
    from daemonry.manager import starter as service_manager
    from harness.probe import publish
    here, first = os.getcwd(), os.getpid()
    starter = service_manager.who_started(service_manager.OwnFacts())
    with DaemonContext(ready="manual") as context:
        publish(f"{here}/said", [starter.name, starter.reason, os.getpid() == first])
        context.ready()
"""


def who(daemons: Daemons, **options: Any) -> tuple[str | None, str]:
    """Return who has started a program, in its own view; check that it has detached just where that is nobody."""
    daemons.launch(SAY_WHO, **options).check()
    name, reason, in_foreground = read_json(daemons.directory / "said")
    assert in_foreground is (name is not None)
    wait_for(lambda: not daemons.alive(), what="the daemon ends")
    return name, reason


def script(daemons: Daemons, name: str) -> str:
    """Return a program of that name which is the parent of another."""
    path = daemons.directory / name
    path.write_text('#!/bin/sh\n"$@"\nexit $?\n')
    path.chmod(0o755)
    return str(path)


# Who it was, by the facts of real processes


def test_a_program_that_is_started_by_hand_has_no_manager(daemons: Daemons) -> None:
    assert who(daemons) == (None, "nothing says that somebody keeps it")


def test_what_an_ancestor_was_given_proves_nothing(daemons: Daemons) -> None:
    """Every descendant of a service, a terminal on a desktop for instance, inherits these."""
    inherited = {
        "NOTIFY_SOCKET": "/run/systemd/notify",
        "INVOCATION_ID": "00000000000000000000000000000000",
        "JOURNAL_STREAM": "8:1",
        "SYSTEMD_EXEC_PID": "1",
        "LISTEN_PID": "1",
        "LISTEN_FDS": "1",
    }
    assert who(daemons, env=inherited)[0] is None


def test_a_process_that_systemd_executed_is_a_service(daemons: Daemons) -> None:
    assert who(daemons, through=AS_SERVICE) == ("systemd", "SYSTEMD_EXEC_PID is its number")


def test_the_child_of_a_process_that_systemd_executed_is_none(daemons: Daemons) -> None:
    """A deployment agent or a CI runner that starts a daemon, and a shell that stays around a service, look alike."""
    through = ("sh", "-c", 'SYSTEMD_EXEC_PID=$$ INVOCATION_ID=0123 "$@"; exit $?', "sh")
    name, reason = who(daemons, through=through, start_new_session=True)
    assert (name, reason) == (None, "nothing says that somebody keeps it")


def test_a_shell_around_a_service_that_becomes_the_program_is_no_hindrance(daemons: Daemons) -> None:
    """The number stays the same: ``ExecStart=/bin/sh -c 'exec prog'``."""
    through = (*AS_SERVICE, "sh", "-c", 'umask 077; exec "$@"', "sh")
    assert who(daemons, through=through) == ("systemd", "SYSTEMD_EXEC_PID is its number")


def test_what_runs_in_a_window_of_a_terminal_that_is_a_service_is_none(daemons: Daemons) -> None:
    terminal = daemons.terminal(SAY_WHO, through=("sh", "-c", 'SYSTEMD_EXEC_PID=$$ "$@"; exit $?', "sh"))
    assert terminal.wait() == 0
    assert read_json(daemons.directory / "said")[0] is None
    wait_for(lambda: not daemons.alive(), what="the daemon ends")


def test_a_service_on_a_terminal_is_a_service(daemons: Daemons) -> None:
    terminal = daemons.terminal(SAY_WHO, through=AS_SERVICE)
    assert terminal.wait() == 0
    assert read_json(daemons.directory / "said")[0] == "systemd"


@pytest.mark.parametrize("invoked", [True, False])
def test_a_child_of_systemd_is_a_service_if_it_was_invoked_as_one(daemons: Daemons, invoked: bool) -> None:
    """Of a systemd before version 248, which doesn't tell whom it has executed."""
    env = {"INVOCATION_ID": "0123" if invoked else None, "SYSTEMD_EXEC_PID": None}
    found = who(daemons, through=(script(daemons, "systemd"),), env=env)
    assert found[0] == ("systemd" if invoked else None)


def test_an_orphan_that_a_service_has_left_to_systemd_is_none(daemons: Daemons) -> None:
    """It has the whole environment of the service, but systemd has executed another process."""
    env = {"INVOCATION_ID": "0123", "SYSTEMD_EXEC_PID": "1"}
    name, reason = who(daemons, through=(script(daemons, "systemd"),), env=env)
    assert (name, reason) == (None, "its parent is systemd, but SYSTEMD_EXEC_PID is another process's number")


@pytest.mark.parametrize(
    "name", ["supervisord", "runsv", "s6-supervise", "supervise", "supervise-daemon", "circusd", "perpd", "dinit"]
)
def test_a_child_of_a_supervisor_has_a_manager(daemons: Daemons, name: str) -> None:
    assert who(daemons, through=(script(daemons, name),)) == (name, f"its parent is {name}")


def test_monit_s_start_program_detaches(daemons: Daemons) -> None:
    """It would be taken for a start that never ends."""
    assert who(daemons, through=(script(daemons, "monit"),))[0] is None


def test_a_grandchild_of_a_supervisor_has_none(daemons: Daemons) -> None:
    assert who(daemons, through=(script(daemons, "supervisord"), *AS_PARENT))[0] is None


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_program_whose_input_is_an_accepted_connection_was_started_by_inetd(daemons: Daemons, host: str) -> None:
    try:
        listening = socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError:
        pytest.skip("this machine has no loopback of that family")
    with listening, socket.create_connection(listening.getsockname()[:2]), closing(listening.accept()[0]) as accepted:
        assert who(daemons, stdin=accepted.fileno()) == ("inetd", "its standard input is a network socket")


def test_another_kind_of_socket_is_not_inetd_s(daemons: Daemons) -> None:
    """Programs give socket pairs to their children, sshd and Node.js among them."""
    one, other = socket.socketpair()
    with one, other:
        assert who(daemons, stdin=one.fileno())[0] is None


def test_a_program_without_standard_input_has_no_manager(daemons: Daemons) -> None:
    assert who(daemons, through=("sh", "-c", 'exec "$@" <&-', "sh"))[0] is None


@pytest.fixture
def container() -> Sequence[str]:
    command = [*IN_CONTAINER, "true"]
    if shutil.which("unshare") is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("unshare --pid is not allowed here")
    return IN_CONTAINER


@pytest.mark.root_only("it makes a process namespace")
def test_process_1_is_kept_by_its_container(daemons: Daemons, container: Sequence[str]) -> None:
    """The program leaves that number to another process, and goes on as its child."""
    daemons.launch(SAY_WHO, through=container).check()
    assert read_json(daemons.directory / "said") == ["container", "it is process 1", False]


@pytest.mark.root_only("it makes a process namespace")
@pytest.mark.parametrize("name", ["init", "launchd"])
def test_a_child_of_process_1_without_a_terminal_is_kept_by_it(
    daemons: Daemons, container: Sequence[str], name: str
) -> None:
    found = who(
        daemons,
        through=(*container, *AS_PARENT),
        start_new_session=True,
        env={"XPC_SERVICE_NAME": "org.example.daemon" if name == "launchd" else None},
    )
    assert found == (name, "its parent is process 1, and it has no terminal")


@pytest.mark.root_only("it makes a process namespace")
def test_a_child_of_process_1_on_a_terminal_was_started_by_hand(daemons: Daemons, container: Sequence[str]) -> None:
    """Such as in ``docker run -it image sh``."""
    terminal = daemons.terminal(
        SAY_WHO.replace('ready="manual"', 'ready="manual", stdin="/dev/null"') + "    os._exit(0)",
        through=(*container, "sh", "-c", '"$@"; while ! test -e said; do sleep 0.01; done; exit 0', "sh"),
    )
    assert terminal.wait() == 0
    assert read_json(daemons.directory / "said")[0] is None


@pytest.mark.root_only("it makes a process namespace")
def test_a_child_of_a_container_s_init_on_a_terminal_was_not_started_by_hand(
    daemons: Daemons, container: Sequence[str]
) -> None:
    """As in ``docker run -it --init``: it would end the container to fork there."""
    terminal = daemons.terminal(SAY_WHO, through=(*container, script(daemons, "tini")))
    assert terminal.wait() == 0
    assert read_json(daemons.directory / "said") == ["container", "its parent is process 1, tini", True]


@pytest.mark.root_only("it makes a process namespace")
def test_process_1_cannot_detach(daemons: Daemons, container: Sequence[str]) -> None:
    """The whole container would end with it."""
    launched = daemons.launch(
        """
        from daemonry import DaemonContext, InvalidOption
        try:
            DaemonContext(detach_process=True).open()
        except InvalidOption as error:
            print(error)
        """,
        through=container,
    ).check()
    assert "detach_process: process 1 can't detach" in launched.stdout


@pytest.mark.parametrize("through", [(), AS_SERVICE])
@pytest.mark.parametrize("asked", [True, False])
def test_what_is_said_explicitly_wins(daemons: Daemons, through: Sequence[str], asked: bool) -> None:
    program = SAY_WHO.replace('ready="manual"', f'ready="manual", detach_process={asked}')
    daemons.launch(program, through=through).check()
    assert read_json(daemons.directory / "said")[2] is not asked
    wait_for(lambda: not daemons.alive(), what="the daemon ends")


@pytest.mark.parametrize("given", ["", "prevent_core=True"])
@pytest.mark.parametrize("through", [(), AS_SERVICE])
def test_a_manager_s_limit_of_core_files_is_left_alone_unless_it_is_given(
    daemons: Daemons, through: Sequence[str], given: str
) -> None:
    launched = daemons.launch(
        f"""
        import resource
        from daemonry import DaemonContext
        with DaemonContext(detach_process=False, {given}):
            print(resource.getrlimit(resource.RLIMIT_CORE)[0])
        """,
        through=("sh", "-c", 'ulimit -S -c 2; exec "$@"', "sh", *through),
    ).check()
    assert (launched.stdout != "0\n") is (through == AS_SERVICE and not given)


def test_who_it_was_is_found_out_at_open_and_not_before(daemons: Daemons) -> None:
    launched = daemons.launch(
        """
        import os
        from daemonry import DaemonContext
        context = DaemonContext()
        os.environ["SYSTEMD_EXEC_PID"] = str(os.getpid())
        first = os.getpid()
        with context:
            print(os.getpid() == first, context.detach_process)
        """
    ).check()
    assert launched.stdout == "True None\n"


# Who it was, by all facts that there may be

NAMES = st.sampled_from(["", "bash", "systemd", "supervisord", "runsv", "tmux: server", "init", "tini"])
NUMBERS = st.sampled_from(["0", "1", "7", "8", "9", "x", ""])
FACTS = st.builds(
    Facts,
    pid=st.sampled_from([1, 7, 8]),
    parent=st.sampled_from([0, 1, 8, 9]),
    parent_name=NAMES,
    environment=st.fixed_dictionaries(
        {},
        optional={
            "LISTEN_PID": NUMBERS,
            "SYSTEMD_EXEC_PID": NUMBERS,
            "INVOCATION_ID": st.just("0123"),
            "NOTIFY_SOCKET": st.sampled_from(["", "/run/notify", "@abstract"]),
            "XPC_SERVICE_NAME": st.sampled_from(["0", "x"]),
            "SUPERVISOR_ENABLED": st.just("1"),
        },
    ),
    has_terminal=st.booleans(),
    stdin_is_network_socket=st.booleans(),
)


@given(FACTS)
def test_there_is_a_manager_just_where_something_was_meant_for_the_process(facts: Facts) -> None:
    environment = facts.environment
    evidence = (
        facts.pid == 1,
        environment.get("LISTEN_PID") == str(facts.pid),
        environment.get("SYSTEMD_EXEC_PID") == str(facts.pid),
        facts.parent_name == "systemd" and "INVOCATION_ID" in environment and "SYSTEMD_EXEC_PID" not in environment,
        facts.parent_name in ("supervisord", "runsv"),
        facts.stdin_is_network_socket,
        facts.parent_name == "" and "SUPERVISOR_ENABLED" in environment and not facts.has_terminal,
        facts.parent == 1
        and (facts.parent_name == "tini" or not facts.has_terminal)
        and not (facts.parent_name == "systemd" and "INVOCATION_ID" in environment),
    )
    found = service_manager.who_started(facts)
    assert (found.name is not None) is any(evidence)
    assert found.name is None or found.name in str(found)
    assert found.reason in str(found)


@given(FACTS)
def test_notify_socket_proves_nothing_and_is_used_where_there_is_a_manager(facts: Facts) -> None:
    found = service_manager.who_started(facts)
    without = {name: value for name, value in facts.environment.items() if name != "NOTIFY_SOCKET"}
    assert found == service_manager.who_started(Facts(**{**facts.fields(), "environment": without}))
    manager = service_manager.manager_of(found, facts)
    address = manager.address if manager is not None else None
    is_meant = facts.environment.get("SYSTEMD_EXEC_PID", str(facts.pid)) == str(facts.pid)
    assert address == (facts.environment.get("NOTIFY_SOCKET") or None if found.name and is_meant else None)


def test_the_starter_says_himself() -> None:
    assert str(Starter(name=None, reason="why")) == "no service manager (why)"
    assert str(Starter(name="systemd", reason="why")) == "systemd (why)"
