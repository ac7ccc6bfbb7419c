"""A file system that can only be read, under pidfile, log and working directory, and one that becomes so later."""

from __future__ import annotations

import errno
import os
import signal
from typing import TYPE_CHECKING

import pytest
from place_programs import LOGS, SUBJECT, breakable, is_detached, mounted, say, started  # noqa: F401 - one is a fixture

if TYPE_CHECKING:
    from harness.daemons import Daemons

pytestmark = [pytest.mark.root_only("it mounts a file system"), pytest.mark.reliability("Full and broken places")]


@pytest.mark.parametrize(
    ("way", "what", "step", "advice"),
    [
        ("", "pidfile", "lock_pidfile", "; choose a place that can be written, such as /run"),
        ("stdout", "log", "redirect_streams", ""),
        ("stderr", "log", "redirect_streams", ""),
    ],
)
def test_a_read_only_place_of_a_file_that_is_to_be_written_refuses_the_start(
    daemons: Daemons, detach: bool, way: str, what: str, step: str, advice: str
) -> None:
    with mounted(daemons, "ro") as place:
        path = place.path / what
        words = [way, path if what == "log" else "", path if what == "pidfile" else "", ""]
        launched = daemons.launch(SUBJECT, *words, detach, through=place.through).check(1)
        said_step, number, message = launched.stdout.splitlines()
        assert (said_step, int(number)) == (step, errno.EROFS)
        assert "Read-only file system" in message
        assert str(path) in message
        assert message.endswith(advice)
        assert place.names() == []
        assert daemons.alive() == []


def test_a_read_only_working_directory_hinders_nobody(daemons: Daemons, detach: bool) -> None:
    with mounted(daemons, "ro") as place:
        words = ("", "", daemons.directory / "pid", place.path, detach)
        pid, running = started(daemons, place, *words)
        assert os.readlink(f"/proc/{pid}/cwd") == str(place.path)
        os.kill(pid, signal.SIGTERM)
        running.wait().check(0)
        assert not (daemons.directory / "pid").exists()


@pytest.mark.parametrize("way", LOGS)
def test_a_daemon_whose_log_lies_on_a_disk_that_breaks_goes_on_and_stops_as_ever(
    daemons: Daemons, way: str, detach: bool
) -> None:
    """The kernel lets nobody write there any more, through no descriptor, however long it has been open."""
    with breakable(daemons) as place:
        words = (way, place.path / "log", daemons.directory / "pid", "", detach)
        pid, running = started(daemons, place, *words)
        say(daemons, pid, 1)
        place.break_down()
        lost = [say(daemons, pid, number) for number in (2, 3)]
        assert (lost[-1] is not None) == (way in ("stdout", "stderr"))
        os.kill(pid, signal.SIGHUP)
        say(daemons, pid, 4)
        os.kill(pid, signal.SIGTERM)
        running.wait().check(0)
        assert not (daemons.directory / "pid").exists()


def test_a_pidfile_on_a_disk_that_breaks_is_left_and_hinders_no_start_once_it_is_mended(
    daemons: Daemons, detach: bool
) -> None:
    with breakable(daemons) as place:
        path = place.path / "pid"
        words = ("FileHandler", daemons.directory / "log", path, "", detach)
        pid, running = started(daemons, place, *words)
        place.break_down()
        os.kill(pid, signal.SIGTERM)
        ended = running.wait().check(1)
        reason = f"cannot remove {path}: Read-only file system"
        assert reason in (daemons.directory / "log").read_text()
        assert detach or reason in ended.stderr
        assert "pid" in place.names()
        launched = daemons.launch(SUBJECT, *words, through=place.through).check(1)
        assert f"cannot lock {path}: Read-only file system; choose a place" in launched.stdout
        place.mend()
        pid, running = started(daemons, place, *words)
        assert (place.inside / "pid").read_text() == f"{pid}\n"
        os.kill(pid, signal.SIGTERM)
        running.wait().check(0)
        assert "pid" not in place.names()
