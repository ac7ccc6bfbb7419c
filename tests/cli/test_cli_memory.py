"""What is kept of a start: for its user alone, by the start that succeeds, and never another's."""

from __future__ import annotations

import json
import os
import pwd
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.probe import facts_of
from harness.waiting import is_alive, wait_for

if TYPE_CHECKING:
    from harness.commands import Daemonry

SLEEP = ("--settle", "0", "--", "sleep", "60")


def words_of(daemonry: Daemonry) -> list[str]:
    words: list[str] = json.loads(daemonry.memory().read_text())["words"]
    return words


@pytest.mark.reliability("Hostile files")
def test_what_is_kept_is_its_users_alone_whatever_the_umask(daemonry: Daemonry) -> None:
    """There may be passwords among the words, and who can write them chooses what is executed by the next restart."""
    daemonry.start("--env", "PASSWORD=secret", *SLEEP, preexec=lambda: os.umask(0))
    assert stat.S_IMODE(daemonry.memory().stat().st_mode) == 0o600
    daemonry("restart", daemonry.name, preexec=lambda: os.umask(0)).check()
    assert stat.S_IMODE(daemonry.memory().stat().st_mode) == 0o600
    daemonry.stop()


@pytest.mark.unprivileged_only("root's places are the system's")
def test_directories_that_a_start_makes_are_its_users_alone(daemonry: Daemonry) -> None:
    """Those on the way to them as well: who can write to one of these can put another in its place."""
    home = daemonry.directory / "of/the/home"
    env: dict[str, str | None] = {"DAEMONRY_HOME": str(home)}
    daemonry("start", "--name", daemonry.name, *SLEEP, env=env, preexec=lambda: os.umask(0)).check()
    made = [daemonry.directory / "of", daemonry.directory / "of/the", home]
    assert {stat.S_IMODE(each.stat().st_mode) for each in made} == {0o700}
    daemonry("stop", daemonry.name, env=env).check()


@pytest.mark.reliability("Hostile files")
@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_words_that_others_can_have_written_are_not_executed(daemonry: Daemonry, mode: int) -> None:
    """Nor is the daemon stopped that runs."""
    pid = daemonry.start(*SLEEP)
    daemonry.memory().chmod(mode)
    told = daemonry("restart", daemonry.name).check(1).stderr
    assert f"{daemonry.memory()} can't be read (others can have written it); say it again, after --" in told
    assert is_alive(pid)
    daemonry.stop()


@pytest.mark.reliability("Hostile files")
@pytest.mark.root_only("another user's file")
def test_words_of_another_user_are_not_executed(daemonry: Daemonry, ordinary_user: str) -> None:
    pid = daemonry.start(*SLEEP)
    os.chown(daemonry.memory(), pwd.getpwnam(ordinary_user).pw_uid, -1)
    assert "others can have written it" in daemonry("restart", daemonry.name).check(1).stderr
    assert is_alive(pid)
    daemonry.stop()


def test_of_starts_at_once_the_one_that_succeeds_is_kept(daemonry: Daemonry) -> None:
    """Neither a loser's words, nor nothing."""
    running = [
        daemonry.begin("start", "--name", daemonry.name, "--settle", "0.05", "--", "sleep", str(100 + number))
        for number in range(5)
    ]
    statuses = [each.wait().status for each in running]
    (winner,) = [number for number, status in enumerate(statuses) if status == 0]
    assert words_of(daemonry)[-1] == str(100 + winner)
    assert Path(f"/proc/{daemonry.pid()}/cmdline").read_text().split("\0")[1] == str(100 + winner)
    assert [each.name for each in daemonry.memory().parent.glob(f"{daemonry.name}.json*")] == [daemonry.memory().name]
    daemonry.stop()


def test_it_is_not_kept_before_the_daemon_is_up(daemonry: Daemonry) -> None:
    """A start that is under way, and may fail, is no start that a restart could repeat."""
    running = daemonry.begin("start", "--name", daemonry.name, "--notify", "--", "sleep", "60")
    wait_for(lambda: daemonry.pidfile().exists() and facts_of(daemonry.pid()).comm == "sleep")
    assert not daemonry.memory().exists()
    daemonry("stop", daemonry.name).check()
    running.wait().check(1)
    assert list(daemonry.memory().parent.glob(f"{daemonry.name}.json*")) == []


def test_a_memory_that_cannot_be_kept_is_told_of_and_the_daemon_is_up(daemonry: Daemonry) -> None:
    daemonry.memory().mkdir(parents=True)
    told = daemonry("start", "--name", daemonry.name, *SLEEP).check().stderr
    assert f"it is not kept how it was started, for a restart: {daemonry.memory()}: Is a directory" in told
    daemonry.memory().rmdir()
    daemonry.stop()


@pytest.mark.reliability("Hostile files")
@pytest.mark.root_only("another user's directory")
def test_restart_does_not_go_to_a_directory_that_another_user_has_put_there(
    daemonry: Daemonry, ordinary_user: str
) -> None:
    """From there a program that is called by a relative path would be another one."""
    user, place = pwd.getpwnam(ordinary_user).pw_uid, daemonry.daemons.public / "place"
    place.mkdir()
    os.chown(place, user, -1)
    pid = daemonry.start(*SLEEP, cwd=place)
    daemonry("restart", daemonry.name).check()
    pid = daemonry.pid()
    place.rename(daemonry.daemons.public / "away")
    place.mkdir()
    os.chown(place, user, -1)
    told = daemonry("restart", daemonry.name).check(1).stderr
    assert f"{place}, where that was, is another directory now; say it again, after --" in told
    assert is_alive(pid)
    os.chown(place, 0, 0)
    daemonry("restart", daemonry.name).check()
    daemonry.stop()
