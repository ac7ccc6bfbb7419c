"""Several daemons by one command: each gets its turn, and one that can't have it keeps no other from its own."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import pytest

from harness.waiting import is_alive, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterable

    from harness.commands import Daemonry

SLEEP = ("--settle", "0", "--", "sleep", "60")
OF_ALL = "root's places are the system's, and others' daemons may be there"


@pytest.fixture
def pair(daemonry: Daemonry) -> Iterable[str]:
    """Return the names of two daemons that run, one of them below a supervisor."""
    names = (daemonry.name, daemonry.new_name())
    daemonry.start(*SLEEP)
    daemonry.start("--restart", *SLEEP, name=names[1])
    return names


def test_stop_ends_each_that_is_named(daemonry: Daemonry, pair: Iterable[str]) -> None:
    """In their order, each once, with a line for each, also where a flag stands between them."""
    one, two = pair
    pids = [daemonry.pid(name) for name in pair]
    told = daemonry("stop", two, "--schedule", "TERM/5/KILL/5", one, two).check()
    assert re.findall(r"^(\S+): stopped, process (\d+)", told.stderr, re.MULTILINE) == [
        (two, str(pids[1])),
        (one, str(pids[0])),
    ]
    assert [is_alive(pid) for pid in pids] == [False, False]


def test_one_that_fails_keeps_no_other_from_its_turn(daemonry: Daemonry, pair: Iterable[str]) -> None:
    """The status is that of the first that failed."""
    one, two = pair
    hostile = daemonry.directory / "hostile.pid"
    hostile.write_text("1\n")
    hostile.chmod(0o666)
    told = daemonry("stop", one, hostile, two).check(4)
    assert told.stderr.count(": stopped, process ") == 2
    assert f"daemonry: cannot tell by {hostile}: " in told.stderr


def test_signal_and_reload_reach_each_that_is_named(daemonry: Daemonry) -> None:
    names = (daemonry.name, daemonry.new_name())
    for name in names:
        listens = "trap 'echo got-usr1' USR1; trap 'echo got-hup' HUP; echo up; while :; do sleep 0.02; done"
        daemonry.start("--", "sh", "-c", listens, name=name)
    daemonry("signal", *names, "USR1").check()
    daemonry("reload", *names).check()
    for name in names:
        wait_for(lambda name=name: {"got-usr1", "got-hup"} <= set(daemonry.log(name).read_text().split()))
    assert daemonry("signal", names[0], "-q", "CONT").check().stderr == ""
    daemonry("stop", *names).check()


def test_a_word_that_is_no_signal_or_schedule_is_said_once(daemonry: Daemonry, pair: Iterable[str]) -> None:
    assert daemonry("signal", *pair, "NONSENSE").check(2).stderr.count("\n") == 1
    assert daemonry("stop", "--schedule", "SOON", *pair).check(2).stderr.count("\n") == 1
    assert daemonry("restart", "--schedule", "SOON", *pair).check(2).stderr.count("\n") == 1
    daemonry("stop", *pair).check()


def test_restart_starts_each_as_it_was(daemonry: Daemonry, pair: Iterable[str]) -> None:
    """Also when one between them was never started; a supervisor's new start is a supervisor's."""
    one, two = pair
    before = [daemonry.pid(name) for name in pair]
    told = daemonry("restart", one, daemonry.new_name(), two).check(1).stderr
    after = [daemonry.pid(name) for name in pair]
    assert [line.partition(":")[0] for line in told.splitlines()] == [one, one, "daemonry", two, two]
    assert f"{two}: started, process {after[1]}" in told
    assert [is_alive(pid) for pid in (*before, *after)] == [False, False, True, True]
    daemonry("stop", *pair).check()


def test_restart_that_fails_is_the_status_of_all(daemonry: Daemonry, pair: Iterable[str]) -> None:
    """The other is started all the same."""
    one, two = pair
    daemonry("stop", one).check()
    flag = daemonry.directory / "broken"
    daemonry.start("--settle", "0.1", "--", "sh", "-c", f"test ! -e {flag} && exec sleep 60")
    flag.touch()
    told = daemonry("restart", one, two).check(1).stderr
    assert "exited with status 1 before it was ready" in told
    assert f"{two}: started, process {daemonry.pid(two)}" in told
    daemonry("stop", two).check()


@pytest.mark.unprivileged_only(OF_ALL)
def test_all_are_those_that_run_and_were_started_by_name(daemonry: Daemonry, pair: Iterable[str]) -> None:
    """One that was stopped is no error, and is not started; one that has died is started, and its pidfile removed."""
    third = daemonry.new_name()
    daemonry.start(*SLEEP, name=third)
    daemonry.stop(third)
    told = daemonry("restart", "--all").check().stderr
    assert sorted(re.findall(r"^(\S+): started", told, re.MULTILINE)) == sorted(pair)
    assert third not in told
    assert daemonry("signal", "--all", "CONT").check().stderr.count("sent SIGCONT") == 2
    daemonry.daemons.stop(daemonry.pid(), 9)
    told = daemonry("stop", "--all").check().stderr
    assert re.findall(r"^(\S+): stopped", told, re.MULTILINE) == [[*pair][1]]
    assert not daemonry.pidfile().exists()
    assert daemonry("stop", "--all").check().stderr == "no daemon that this user has started by name runs\n"


@pytest.mark.parametrize(
    "words",
    [
        ["stop"],
        ["reload"],
        ["signal", "USR1"],
        ["stop", "--all", "web"],
        ["restart", "--all", "web"],
        ["restart", "--all", "--", "sleep", "1"],
        ["restart", "--all", "--name", "web"],
    ],
)
def test_either_some_are_named_or_all(daemonry: Daemonry, words: list[str]) -> None:
    """Neither is no way to say all: a script whose variable is empty must stop nothing."""
    assert "--all" in daemonry(*words).check(2).stderr


def test_ctrl_c_ends_what_is_still_to_be_done(daemonry: Daemonry) -> None:
    """And not the turn of one alone."""
    names = (daemonry.name, daemonry.new_name())
    for name in names:
        daemonry.start("--", "sh", "-c", 'trap "" TERM; while :; do sleep 0.02; done', name=name)
    for command in ("stop", "restart"):
        terminal = daemonry.on_terminal(command, *names)
        terminal.read_until(f"{names[0]}: stopping process")
        terminal.write("\x03")
        assert terminal.wait() == 130
        assert os.path.exists(f"/proc/{daemonry.pid(names[1])}")
    daemonry("stop", "--schedule", "KILL/5", *names).check()
