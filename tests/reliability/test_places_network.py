"""A directory whose server is gone or has no locks, as NFS has it: refused, and said what to do."""

from __future__ import annotations

import errno
import json
from typing import TYPE_CHECKING

import pytest

from faults.tapping import why_not
from harness.waiting import read_json

if TYPE_CHECKING:
    from harness.daemons import Daemons
    from harness.evidence import Cases

pytestmark = pytest.mark.reliability("Full and broken places")

START = """
    import json, os, sys
    from daemonry import DaemonContext, DaemonStartError, PIDLockFile
    options = json.loads(sys.argv[1])
    if "pidfile" in options:
        options["pidfile"] = PIDLockFile(options["pidfile"])
    try:
        with DaemonContext(detach_process=True, **options):
            pass
    except DaemonStartError as error:
        with open("draft", "w") as file:
            json.dump([error.step, error.errno, str(error)], file)
        os.rename("draft", "told")
    """

STALE = "its server no longer knows it: mount it anew"
NO_LOCKS = "the file system offers no locks: choose one such as /run"

# An option that names something there; the calls that fail; the step that says so.
GONE = [
    ("pidfile", "openat,linkat", "lock_pidfile", "mount it anew"),
    ("stderr", "newfstatat", "check_options", STALE),
    ("stderr", "openat", "redirect_streams", STALE),
    ("stdout", "openat", "redirect_streams", STALE),
    ("working_directory", "newfstatat", "check_options", STALE),
    ("working_directory", "chdir", "change_working_directory", STALE),
]


@pytest.fixture(scope="module", autouse=True)
def _strace() -> None:
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)


def refused(daemons: Daemons, option: str, path: object, *arguments: str) -> tuple[str, int, str]:
    """Start a daemon whose calls strace lets fail; return the step, the number and the message of the refusal."""
    through = ("strace", "-f", "-o", "/dev/null", *arguments)
    daemons.launch(START, json.dumps({option: str(path)}), through=through).check()
    assert daemons.alive() == []
    step, number, message = read_json(daemons.directory / "told")
    return step, number, message


@pytest.mark.parametrize(("option", "calls", "step", "advice"), GONE)
def test_a_directory_that_its_server_no_longer_knows_is_named_with_what_to_do(
    daemons: Daemons, option: str, calls: str, step: str, advice: str, cases: Cases
) -> None:
    place = daemons.directory / "mounted"
    place.mkdir()
    path = place if option == "working_directory" else place / "x"
    # By its name, or from the directory that root has walked to.
    there = ("-P", str(place), "-P", str(path))
    told = refused(daemons, option, path, *there, "-e", f"inject={calls}:error=ESTALE")
    assert told[:2] == (step, errno.ESTALE)
    assert str(place) in told[2]
    assert "Stale file handle" in told[2]
    assert advice in told[2]
    assert list(place.iterdir()) == []
    cases.add()


LOCK = """
    import sys
    from daemonry.pidfile import PIDFileError
    from daemonry.pidfile import PIDLockFile

    try:
        PIDLockFile(sys.argv[1]).acquire()
    except PIDFileError as error:
        print(error)
    """


@pytest.mark.parametrize(
    ("call", "fault"),
    [("fcntl", "ENOLCK"), ("fcntl", "EOPNOTSUPP")],
)
def test_a_file_system_without_locks_is_named_with_what_to_do(
    daemons: Daemons, call: str, fault: str, cases: Cases
) -> None:
    """Locks are taken where a pidfile has been left, by the starter whose turn it is to take it away."""
    path, trace = daemons.directory / "x", daemons.directory / "trace"
    which = ("strace", "-o", str(trace), "-e", f"trace={call}")
    path.write_text("")
    daemons.launch(LOCK, path, call, through=which).check()
    path.write_text("")
    lines = trace.read_text().splitlines()
    lock = next(number for number, line in enumerate(lines, start=1) if "SETLK" in line or "LOCK_EX" in line)

    inject = ("-e", f"inject={call}:error={fault}:when={lock}")
    said = daemons.launch(LOCK, path, call, through=(*which, *inject)).check().stdout
    assert str(path) in said
    assert NO_LOCKS in said
    assert path.read_text() == ""
    cases.add()
