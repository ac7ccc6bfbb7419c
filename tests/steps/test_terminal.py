"""A daemon started from a terminal: it survives the hang-up, and never gets a controlling terminal again."""

from __future__ import annotations

import os
import signal
import textwrap
from typing import TYPE_CHECKING

import pytest

from harness.probe import facts_of
from harness.size import times
from harness.waiting import is_alive, read_facts, read_json, wait_for, wait_for_exit
from launcher_programs import program

if TYPE_CHECKING:
    from harness.daemons import Daemons

# Publishes its facts at the path of its first argument, and says there how it has ended: nothing but SIGTERM may.
DAEMON = program("""
    terminal = os.ttyname(0)
    with Context(working_directory=".", ready=sys.argv[2]) as context:
        context.progress("loading")
        context.ready()
        try:
            os.open(terminal, os.O_RDWR)
        except OSError:
            pass  # it has hung up and is gone
        try:
            publish(sys.argv[1], facts())
            context.wait()
        finally:
            publish(sys.argv[1] + "-ended", True)
""")


def survives(daemons: Daemons, name: str) -> None:
    """End the daemon that published its facts under a name; fail when something else has ended it before.

    A pending SIGHUP would be delivered before SIGTERM, which has the higher number, and would leave no word.
    """
    pid = read_facts(daemons.directory / name).pid
    assert is_alive(pid)
    daemons.stop(pid)
    read_json(daemons.directory / f"{name}-ended", timeout=0)


@pytest.mark.parametrize("leader", [True, False], ids=["leads the session", "below a shell"])
@pytest.mark.parametrize("when", ["auto", "manual"])
def test_a_daemon_survives_the_terminals_hang_up(daemons: Daemons, leader: bool, when: str) -> None:
    terminal = daemons.terminal(DAEMON, "facts", when, leader=leader)
    assert terminal.wait() == 0
    assert terminal.output == ("loading\r\n" if when == "manual" else "")
    seen = read_facts(daemons.directory / "facts")
    assert seen.sid not in (terminal.pid, seen.pid)
    terminal.hang_up()
    survives(daemons, "facts")


def test_a_daemon_does_not_acquire_the_terminal_by_opening_it(daemons: Daemons) -> None:
    """Not even the one it was started from, when nobody's session has it any more."""
    terminal = daemons.terminal(DAEMON, "facts", "auto")
    assert terminal.wait() == 0
    seen = read_facts(daemons.directory / "facts")
    assert any(found.target.startswith("/dev/pts/") for found in seen.descriptors), "it was opened"
    assert seen.tty == 0
    assert facts_of(seen.pid).tty == 0
    survives(daemons, "facts")


# The same in as little time as it takes to start a program at all.
LEAN = """
    import os, sys, daemonry
    with daemonry.DaemonContext(working_directory=".") as context:
        try:
            with open(sys.argv[1] + "-new", "w") as file:
                file.write(str(os.getpid()))
            os.rename(file.name, sys.argv[1])
            context.wait()
        finally:
            os.mkdir(sys.argv[1] + "-ended")
"""


def test_each_of_100_starts_survives_the_launcher_that_leads_the_terminals_session(daemons: Daemons) -> None:
    """A tmux window's command, ``ssh -t host prog``: the kernel hangs up as soon as the launcher exits."""
    path = daemons.directory / "lean.py"
    path.write_text(textwrap.dedent(LEAN))
    for first in range(0, times(100), 2):
        names = [f"pid-{first}", f"pid-{first + 1}"]
        terminals = [daemons.terminal(path, name) for name in names]
        for terminal in terminals:
            assert terminal.wait() == 0
            terminal.hang_up()
        pids = [read_json(daemons.directory / name) for name in names]
        for pid in pids:
            os.kill(pid, signal.SIGTERM)
        for pid, name in zip(pids, names):
            wait_for_exit(pid)
            assert (daemons.directory / f"{name}-ended").exists()


HALF = program("""
    with Context(working_directory=".", ready="manual") as context:
        signal.signal(signal.SIGUSR1, lambda *_: context.request_stop())
        publish("half", os.getpid())
        context.progress("loading \\x1b[31m40 %")
        context.wait()
        context.ready()
        publish("ready", facts())
        while True:
            signal.sigtimedwait([], 0.05)
""")


@pytest.mark.parametrize("leader", [True, False])
def test_ctrl_c_ends_the_half_started_daemon(daemons: Daemons, leader: bool) -> None:
    terminal = daemons.terminal(HALF, leader=leader)
    pid = read_json(daemons.directory / "half")
    terminal.read_until("loading \\x1b[31m40 %\r\n")
    terminal.write("\x03")
    assert terminal.wait() in (-signal.SIGINT, 128 + signal.SIGINT)
    assert not is_alive(pid)
    assert daemons.alive() == []


@pytest.mark.parametrize("leader", [True, False])
def test_a_hang_up_during_the_start_ends_the_launcher_alone(daemons: Daemons, leader: bool) -> None:
    terminal = daemons.terminal(HALF, leader=leader)
    pid = read_json(daemons.directory / "half")
    terminal.read_until("loading")
    terminal.hang_up()
    assert terminal.wait() == -signal.SIGHUP
    os.kill(pid, signal.SIGUSR1)
    seen = read_facts(daemons.directory / "ready")
    assert (seen.pid, seen.tty) == (pid, 0)
    wait_for(lambda: facts_of(pid).ppid == 1, what="its parent during the start has left it to init")
    assert daemons.survivor() == pid
    daemons.stop(pid)


def test_the_reason_of_a_failed_start_is_on_the_terminal(daemons: Daemons) -> None:
    terminal = daemons.terminal(
        program("""
        with Context(ready="manual") as context:
            sys.exit("port 80 is taken by \\x1b[2Jsomebody")
        """)
    )
    assert terminal.wait() == 1
    last = terminal.output.splitlines()[-1]
    assert last.endswith("cannot start the daemon: step body: port 80 is taken by \\x1b[2Jsomebody")
    assert daemons.alive() == []


def test_a_daemon_does_not_write_to_the_terminal(daemons: Daemons) -> None:
    terminal = daemons.terminal(
        program("""
        print("before")
        with Context(working_directory=".") as context:
            print("body")
            print("body", file=sys.stderr)
            os.write(1, b"body")
            publish("written", True)
            context.wait()
        """)
    )
    assert terminal.wait() == 0
    read_json(daemons.directory / "written")
    assert terminal.output == "before\r\n"
    daemons.stop(daemons.survivor())
