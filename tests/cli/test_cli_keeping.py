"""`daemonry show` and `daemonry forget`: what is kept of a start can be typed again, and taken away."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from harness.probe import facts_of
from harness.waiting import is_alive, wait_for

if TYPE_CHECKING:
    from harness.commands import Daemonry

SLEEP = ("--settle", "0", "--", "sleep", "60")
# Quotes, spaces and a flag of its own among what the shell must hand on as it is.
AWKWARD = ("--", "sh", "-c", "echo \"$1\" '$HOME'; exec sleep 60", "--name", "a b\t*")


def shown(daemonry: Daemonry, name: str | None = None) -> dict[str, object]:
    told: dict[str, object] = json.loads(daemonry("show", "--json", name or daemonry.name).check().stdout)
    return told


def test_the_command_that_is_shown_starts_the_same_again(daemonry: Daemonry) -> None:
    """In a shell, from another directory, as it stands: the program has the same words, and works in the same place."""
    place = daemonry.directory / "it's here"
    place.mkdir()
    daemonry.start("--chdir", ".", "--env", "A=b c", "--env", "B=$A", *AWKWARD, cwd=place)
    before = facts_of(daemonry.pid())
    command, *_ = daemonry("show", daemonry.name).check().stdout.splitlines()
    assert command.startswith("cd ")
    daemonry.stop()
    script = f'daemonry() {{ "{sys.executable}" -m daemonry "$@"; }}\n{command}'
    env = {name: value for name, value in daemonry.environment.items() if value is not None}
    env.update(PATH="/usr/bin:/bin", PYTHONPATH=":".join(sys.path))
    env.update([daemonry.marker.split("=", 1)])
    subprocess.run(["sh", "-c", script], cwd="/", env=env, check=True, capture_output=True, timeout=30)
    after = facts_of(daemonry.pid())
    assert after.cwd == before.cwd == str(place)
    assert [after.environment[name] for name in "AB"] == ["b c", "$A"]
    assert daemonry.log().read_text() == "a b\t* $HOME\n" * 2
    daemonry.stop()


def test_what_would_steer_the_terminal_or_end_a_paste_is_shown_as_a_shell_reads_it(daemonry: Daemonry) -> None:
    """And so are bytes that are no text."""
    odd = "\x1b[201~\ntouch it\r\udcff' \\ é"
    daemonry.start("--", "sh", "-c", "exec sleep 60", odd)
    command, *_ = daemonry("show", daemonry.name).check().stdout.splitlines()
    assert command.isprintable()
    word = command.partition("exec sleep 60' ")[2]
    told = subprocess.run(["bash", "-c", f"printf %s {word}"], check=True, capture_output=True).stdout
    assert told == os.fsencode(odd)
    daemonry.stop()


@pytest.mark.parametrize("how", ["forget", "start"])
def test_drafts_of_starts_that_were_killed_do_not_stay(daemonry: Daemonry, how: str) -> None:
    """There may be passwords among their words."""
    daemonry.start("--", "sleep", "60")
    daemonry.stop()
    draft = daemonry.memory().with_name(f"{daemonry.memory().name}.4194305")  # no number that the kernel gives out
    draft.write_text("{}")
    if how == "start":
        daemonry.start("--", "sleep", "60")
        daemonry.stop()
    else:
        daemonry.memory().unlink()
        daemonry("forget", daemonry.name).check()
    assert not draft.exists()


def test_flags_are_shown_with_what_they_say(daemonry: Daemonry) -> None:
    """Each that was given, a line for each of its values, and none that was not; and the files that the start uses."""
    daemonry.start("--env", "A=1", "--env", "B=2", "--umask", "027", "--output", "its.log", "-q", *SLEEP)
    lines = [line.split() for line in daemonry("show", daemonry.name).check().stdout.splitlines()[1:]]
    assert [line[:2] for line in lines[:3]] == [
        ["pidfile", str(daemonry.pidfile())],
        ["log", str(daemonry.directory / "its.log")],
        ["kept", "in"],
    ]
    assert {tuple(line[:2]) for line in lines[3:] if line[0] != "--quiet"} == {
        ("--name", daemonry.name),
        ("--env", "A=1"),
        ("--env", "B=2"),
        ("--umask", "027"),
        ("--output", "its.log"),
        ("--settle", "0"),
    }
    assert all(len(line) > 3 for line in lines[3:])
    told = shown(daemonry)
    assert told["flags"] == {
        "--quiet": [],
        "--name": [daemonry.name],
        "--output": ["its.log"],
        "--umask": ["027"],
        "--env": ["A=1", "B=2"],
        "--settle": ["0"],
    }
    assert told["program"] == ["sleep", "60"]
    assert told["directory"] == str(daemonry.directory)
    daemonry.stop()


def test_what_can_not_be_meant_any_more_is_shown_all_the_same(daemonry: Daemonry) -> None:
    """A descriptor that was handed on is not open here."""
    with open(daemonry.directory / "file", "w") as file:
        number = file.fileno()
        daemonry.start("--preserve-fd", number, *SLEEP, pass_fds=(number,))
    assert shown(daemonry)["flags"]["--preserve-fd"] == [str(number)]  # type: ignore[index]
    daemonry.stop()


def test_a_restart_with_a_program_is_shown_as_one(daemonry: Daemonry) -> None:
    """Its schedule is no flag of a start; a later restart by name alone changes nothing of what is shown."""
    words = ("--schedule", "KILL/5", "--name", daemonry.name, *SLEEP)
    daemonry("restart", *words).check()
    daemonry("restart", daemonry.name).check()
    assert f"&& daemonry restart --schedule KILL/5 --name {daemonry.name} " in str(shown(daemonry)["command"])
    daemonry.stop()


def test_of_one_that_was_never_started_by_name_nothing_is_shown(daemonry: Daemonry) -> None:
    for target in (daemonry.name, "./some.pid"):
        told = daemonry("show", target).check(1).stderr
        assert f"daemonry: nobody knows how {target} was started; only what was started by name is kept" in told


# forget


def test_what_runs_is_not_forgotten(daemonry: Daemonry) -> None:
    """Nor ended by it."""
    pid = daemonry.start(*SLEEP)
    told = daemonry("forget", daemonry.name).check(1).stderr
    assert told == f"daemonry: {daemonry.name} runs: process {pid} (sleep); stop it first\n"
    assert is_alive(pid)
    assert daemonry.memory().exists()
    daemonry.stop()


@pytest.mark.parametrize("end", ["stopped", "killed"])
def test_what_is_forgotten_is_in_no_list_and_its_log_stays(daemonry: Daemonry, end: str) -> None:
    """Also the pidfile of one that was killed; then it can't be restarted by its name, nor forgotten once more."""
    pid = daemonry.start("--settle", "0", "--", "sh", "-c", "echo hello; exec sleep 60")
    if end == "killed":
        daemonry.daemons.stop(pid, signal.SIGKILL)
    else:
        daemonry.stop()
    told = daemonry("forget", daemonry.name).check().stderr
    assert told == f"{daemonry.name}: forgotten; its log stays: {daemonry.log()}\n"
    assert daemonry.left() == []
    assert daemonry.name not in daemonry("list").check().stdout
    assert daemonry.log().read_text() == "hello\n"
    assert "nobody knows" in daemonry("restart", daemonry.name).check(1).stderr
    assert daemonry("forget", daemonry.name).check(1).stderr == f"daemonry: nothing is kept of {daemonry.name}\n"


def test_what_a_supervisor_has_seen_is_forgotten_with_it(daemonry: Daemonry) -> None:
    """Of one that has given up: nothing is said of it any more."""
    words = ("--restart", "--restart-limit", "0/60", "--settle", "0", "--", "sh", "-c", "exit 3")
    daemonry("start", "--name", daemonry.name, *words).check()
    wait_for(lambda: daemonry("status", daemonry.name).status == 3, what="it has given up")
    assert daemonry.history().exists()
    daemonry("forget", daemonry.name).check()
    assert (daemonry.left(), daemonry.history().exists()) == ([], False)
    assert daemonry("status", daemonry.name).check(3).stdout == f"{daemonry.name}: not running\n"


def test_what_has_left_something_that_runs_is_not_forgotten(daemonry: Daemonry) -> None:
    """By its pidfile it is known whose that is."""
    pid = daemonry.start("--settle", "0", "--", "sh", "-c", "sleep 61 & echo $!; exec sleep 60")
    child = int(wait_for(lambda: daemonry.log().exists() and daemonry.log().read_text(), what="it has a child"))
    daemonry.daemons.stop(pid, signal.SIGKILL)
    told = daemonry("forget", daemonry.name).check(1).stderr
    assert f"has ended, but what it started runs on: process {child} (sleep); end it first, by `daemonry stop" in told
    daemonry("stop", daemonry.name).check()
    assert not is_alive(child)
    daemonry("forget", daemonry.name).check()


def test_forgetting_ends_with_those_that_run(daemonry: Daemonry) -> None:
    """Of several each that can be is forgotten."""
    names = [daemonry.name, daemonry.new_name(), daemonry.new_name()]
    for name in names:
        daemonry.start(*SLEEP, name=name)
    for name in names[0], names[2]:
        daemonry.stop(name)
    daemonry("forget", *names).check(1)
    assert [daemonry.memory(name).exists() for name in names] == [False, True, False]
    daemonry.stop(names[1])
