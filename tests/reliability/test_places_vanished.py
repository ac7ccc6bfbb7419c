"""A directory that vanishes: of the pidfile, of the log, the working directory; before a start, within it, after it."""

from __future__ import annotations

import errno
import os
import shutil
import signal
from typing import TYPE_CHECKING

import pytest
from place_programs import LOGS, SUBJECT, is_detached, say  # noqa: F401 - one is a fixture

from daemonry.control import find
from harness.reaper import through
from harness.waiting import read_json, wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from harness.daemons import Daemons

pytestmark = pytest.mark.reliability("Full and broken places")


@pytest.fixture
def place(daemons: Daemons) -> Path:
    """Return a directory that a test may take away."""
    path = daemons.directory / "place"
    path.mkdir()
    return path


@pytest.mark.parametrize(
    ("what", "step", "message"),
    [
        ("pidfile", "lock_pidfile", "cannot lock {0}/pid: No such file or directory: directory {0}"),
        ("stdout", "check_options", "stdout: {0} does not exist"),
        ("stderr", "check_options", "stderr: {0} does not exist"),
        ("working_directory", "check_options", "working_directory: {0}: No such file or directory"),
    ],
)
def test_a_directory_that_is_gone_before_the_start_is_named(
    daemons: Daemons, place: Path, what: str, step: str, message: str, detach: bool
) -> None:
    place.rmdir()
    paths = {"stdout": place / "log", "stderr": place / "log", "pidfile": place / "pid", "working_directory": place}
    words = [what if what.startswith("std") else ""]
    words += [str(paths[what]) if what in of else "" for of in (("stdout", "stderr"), "pidfile", "working_directory")]
    launched = daemons.launch(SUBJECT, *words, detach).check(1)
    said = launched.stdout.splitlines()
    assert said[:2] == [step, str(errno.ENOENT)]
    assert said[2].startswith(f"cannot start the daemon: step {step}: {message.format(place)}")
    assert daemons.alive() == []


VANISHING = """
    import os, sys
    import daemonry
    what, detach = sys.argv[1:]
    place = os.path.abspath("place")
    os.mkdir(place + "/inner")
    os.chdir(place + "/inner")
    options = {
        "stdout": {"stdout": "log"}, "stderr": {"stderr": "log"}, "pidfile": {"pidfile": daemonry.PIDLockFile("pid")},
        "working_directory": {"working_directory": "."}, "chroot_directory": {"chroot_directory": "."},
    }[what]
    class Context(daemonry.DaemonContext):
        def flush_streams(self):
            os.rmdir(place + "/inner")
            super().flush_streams()
    try:
        Context(detach_process=detach == "True", **options).open()
    except daemonry.DaemonStartError as error:
        print(error.step, error.errno, error, sep="\\n")
        print(os.listdir(place))
"""


@pytest.mark.parametrize(
    ("what", "step", "message"),
    [
        ("stdout", "redirect_streams", "No such file or directory: {0}/log; there is no directory {0}"),
        ("stderr", "redirect_streams", "No such file or directory: {0}/log; there is no directory {0}"),
        ("pidfile", "lock_pidfile", "cannot lock {0}/pid: No such file or directory: directory {0}"),
        ("working_directory", "change_working_directory", "No such file or directory: {0}"),
        pytest.param(
            "chroot_directory",
            "change_root",
            "No such file or directory: {0}",
            marks=pytest.mark.root_only("it changes the root directory"),
        ),
    ],
)
def test_a_directory_that_goes_between_check_and_step_is_named_by_the_step(
    daemons: Daemons, place: Path, what: str, step: str, message: str, detach: bool
) -> None:
    launched = daemons.launch(VANISHING, what, detach).check()
    assert launched.stdout.splitlines() == [
        step,
        str(errno.ENOENT),
        f"cannot start the daemon: step {step}: {message.format(place / 'inner')}",
        "[]",
    ]
    assert daemons.alive() == []


def test_a_daemon_whose_directories_are_all_gone_goes_on_and_stops_as_ever(
    daemons: Daemons, place: Path, detach: bool
) -> None:
    for way in LOGS:
        place.mkdir(exist_ok=True)
        (daemons.directory / "up").unlink(missing_ok=True)
        words = (way, place / "log", place / "pid", place, detach)
        running = daemons.start(SUBJECT, *words, through=through())
        pid = read_json(daemons.directory / "up")
        shutil.rmtree(place)
        assert say(daemons, pid, 1) is None
        (daemons.directory / "said-1").unlink()
        os.kill(pid, signal.SIGTERM)
        ended = running.wait().check(0)
        assert ended.stderr == ""
        assert not place.exists()


def test_a_directory_that_was_made_anew_is_left_to_its_new_pidfile(daemons: Daemons, place: Path, detach: bool) -> None:
    """What releases the old one sees that the file of the path is another's."""
    pids, starts = [], []
    for _ in range(2):
        place.mkdir(exist_ok=True)
        (daemons.directory / "up").unlink(missing_ok=True)
        starts.append(daemons.start(SUBJECT, "", "", place / "pid", "", detach, through=through()))
        pids.append(read_json(daemons.directory / "up"))
        if len(pids) == 1:
            place.rename(daemons.directory / "elsewhere")
    os.kill(pids[0], signal.SIGTERM)
    starts[0].wait().check(0)
    assert (place / "pid").read_text() == f"{pids[1]}\n"
    # The old file can't be found by its path, and is kept open by nobody: it is left, and its process has ended.
    assert (daemons.directory / "elsewhere" / "pid").read_text() == f"{pids[0]}\n"
    assert find(daemons.directory / "elsewhere" / "pid") is None
    os.kill(pids[1], signal.SIGTERM)
    starts[1].wait().check(0)
    assert list(place.iterdir()) == []


@pytest.mark.parametrize("way", LOGS)
def test_a_log_that_cannot_be_reopened_for_want_of_its_directory_is_told_of_and_goes_on(
    daemons: Daemons, place: Path, way: str, detach: bool
) -> None:
    """On SIGHUP: what is written goes to the file that was open, until there is a directory again."""
    log = place / "log"
    running = daemons.start(SUBJECT, way, log, "", "", detach, through=through())
    pid = read_json(daemons.directory / "up")
    place.rename(daemons.directory / "elsewhere")
    old = daemons.directory / "elsewhere" / "log"
    os.kill(pid, signal.SIGHUP)
    say(daemons, pid, 1)
    assert "text 1" in old.read_text()
    reason = f"cannot reopen: [Errno {errno.ENOENT}] No such file or directory: '{log}'"
    assert way == "stdout" or reason in old.read_text()
    place.mkdir()
    os.kill(pid, signal.SIGHUP)
    wait_for(log.exists, what="the new file is there")
    say(daemons, pid, 2)
    assert "text 2" in log.read_text()
    os.kill(pid, signal.SIGTERM)
    running.wait().check(0)
