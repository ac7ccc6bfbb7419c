"""A full disk under the pidfile and under the log: a start is refused with its reason, a daemon goes on and stops."""

from __future__ import annotations

import errno
import os
import signal
from typing import TYPE_CHECKING

import pytest
from place_programs import LOGS, SUBJECT, is_detached, mounted, say, started  # noqa: F401 - one is a fixture

from harness.reaper import through

if TYPE_CHECKING:
    from harness.daemons import Daemons

pytestmark = pytest.mark.reliability("Full and broken places")
root_only = pytest.mark.root_only("it mounts a file system")


@root_only
def test_a_log_that_cannot_be_made_for_want_of_an_inode_refuses_the_start(daemons: Daemons, detach: bool) -> None:
    with mounted(daemons, "nr_inodes=2") as place:
        (place.inside / "filling").touch()
        log = place.path / "log"
        for way in ("stdout", "stderr"):
            launched = daemons.launch(SUBJECT, way, log, "", "", detach, through=place.through).check(1)
            assert launched.stdout == (
                f"redirect_streams\n{errno.ENOSPC}\n"
                f"cannot start the daemon: step redirect_streams: No space left on device: {log}; "
                f"the file system at {place.path} can have no more files: remove some there\n"
            )
        assert place.names() == []
        assert daemons.alive() == []


@root_only
@pytest.mark.parametrize("way", LOGS)
def test_a_daemon_goes_on_and_stops_as_ever_when_the_disk_of_its_log_is_full(
    daemons: Daemons, way: str, detach: bool
) -> None:
    """Its pidfile goes, its status is that of any other stop, and once there is room its log goes on."""
    with mounted(daemons) as place:
        # The pidfile lies elsewhere: its going would make room for what is to find none.
        words = (way, place.path / "log", daemons.directory / "pid", "", detach)
        pid, running = started(daemons, place, *words)
        place.fill()
        lost = [say(daemons, pid, number) for number in (1, 2, 3)]
        # The handlers of the package logging keep their errors to themselves, as in every program.
        assert lost[-1] == (errno.ENOSPC if way in ("stdout", "stderr") else None)
        place.make_room()
        say(daemons, pid, 4)
        assert "text 4" in (place.inside / "log").read_text()
        place.fill()
        for number in (5, 6):
            say(daemons, pid, number)
        os.kill(pid, signal.SIGTERM)
        running.wait().check(0)
        assert set(place.names()) <= {"log", "log.1", "log.2"}
        assert not (daemons.directory / "pid").exists()
        place.make_room()
        again, running = started(daemons, place, *words)
        os.kill(again, signal.SIGTERM)
        running.wait().check(0)


@pytest.mark.parametrize(
    ("work", "status"),
    [
        ("context.open(); print('half', end=''); end()", 0),
        ("context.__enter__(); print('half', end=''); end(); context.wait(); context.close()", 0),
        ("context.open(); print('half', end='', file=sys.stderr); atexit.register(print, 'whole'); end()", 0),
        ("context.open(); print('half', end='')", 120),
        ("context.open(); print('half', end=''); sys.exit(3)", 120),
    ],
    ids=["terminated", "asked to stop", "at the exit", "of itself", "of itself with a status"],
)
def test_what_cannot_be_written_at_the_exit_changes_the_status_of_no_stop(
    daemons: Daemons, work: str, status: int
) -> None:
    """It is the status of a program that has ended of itself: so Python tells of what is lost."""
    asked = "request_stop" if "wait()" in work else "terminate"
    launched = daemons.launch(
        f"""
        import atexit, os, signal, sys
        from daemonry import DaemonContext
        def end():
            os.kill(os.getpid(), signal.SIGTERM)
        context = DaemonContext(stdout="/dev/full", stderr="/dev/full", signal_map={{"TERM": "{asked}"}})
        {work}
        """,
        through=through(),
        env={"PYTHONUNBUFFERED": None},
    )
    assert launched.status == status
