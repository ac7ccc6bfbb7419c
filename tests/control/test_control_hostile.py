"""Whatever is where a pidfile should be, no process but the daemon itself is ever found by it, or signalled."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

import pytest
from control_programs import (  # noqa: F401 - three are fixtures
    hasty,
    locked,
    path_of_pidfile,
    refused,
    sleeping_stranger,
    started,
    stop_by,
)
from hypothesis import example, given
from hypothesis import strategies as st

from daemonry.control import daemon as control
from daemonry.pidfile import PIDFileError, PIDLockFile
from daemonry.system import process
from hostile_pidfiles import HOSTILE, snapshot

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from harness.daemons import Daemons

SECOND = 10**9


# Numbers

NUMBERS: dict[str, Callable[[int], str]] = {
    "a stranger's": lambda stranger: f"{stranger}\n",
    "a stranger's in blanks": lambda stranger: f" 00{stranger}  \nmore\n",
    "two strangers'": lambda stranger: f"{stranger}\n1\n",
    "one's own": lambda _: f"{os.getpid()}\n",
    "one's parent's": lambda _: f"{os.getppid()}\n",
    "init's": lambda _: "1\n",
}
NONSENSE = [
    *("0\n", "-1\n", "-0\n", "00\n", "4194305\n", "2147483647\n", "2147483648\n", "4294967297\n", f"{2**64 + 1}\n"),
    *("9" * 60, "", "\n", "\n1\n", "1 2\n", "1,2\n", "+1\n", "1.0\n", "0x1\n", "\0", "1\0\n", "\xff\xfe1", "one\n"),
]
DATES: dict[str, Callable[[float, float], float]] = {
    "now": lambda now, born: now,
    "before it was started": lambda now, born: born - 60.123456,
    "as it was started": lambda now, born: born,
    "in the future": lambda now, born: now + 86_400.123456,
    "a whole second ago": lambda now, born: float(int(now)),
    "long ago": lambda now, born: 0.0,
}


@pytest.mark.parametrize("lock", [False, True], ids=["free", "locked"])
@pytest.mark.parametrize("date", DATES)
@pytest.mark.parametrize("number", NUMBERS)
def test_the_number_of_a_living_process_finds_nobody_whenever_it_was_written(
    path: Path, stranger: int, number: str, date: str, lock: bool
) -> None:
    """Locked by somebody or not; a lock makes it doubtful, and that is told."""
    path.write_text(NUMBERS[number](stranger))
    path.chmod(0o644)
    named = process.look(int(path.read_text().split()[0]))
    assert named is not None
    when = DATES[date](time.time(), named.started)
    os.utime(path, (when, when))
    if not lock:
        assert stop_by(path) is None
        return
    fd = locked(path)
    error = refused(path, f"it is locked, but not by process {named.pid}")
    assert named.name in str(error)
    os.close(fd)
    assert stop_by(path) is None


@pytest.mark.parametrize("text", NONSENSE)
def test_what_is_no_number_of_a_process_finds_nobody(path: Path, text: str) -> None:
    path.write_bytes(text.encode("latin-1"))
    path.chmod(0o644)
    assert stop_by(path) is None
    fd = locked(path)
    refused(path, "it is locked, but not by (a process that it names|[0-9]+);")
    os.close(fd)


@pytest.mark.parametrize("text", ["9" * 5000, "root:x:0:0:root:/root:/bin/bash\n" * 20])
def test_a_file_of_another_kind_is_refused_and_stays(path: Path, text: str) -> None:
    """Somebody has mistaken its path for that of a pidfile."""
    path.write_text(text)
    path.chmod(0o644)
    refused(path, "it holds something else than the number of a process")
    assert control.remove_left_over(path) is False
    with pytest.raises(PIDFileError, match="it holds something else than the number of a process"):
        PIDLockFile(path).acquire()
    assert path.read_text() == text


@pytest.mark.parametrize("text", ["port = 80\n", "80\nname\n", "1 2\n"])
def test_a_short_file_of_another_kind_is_not_removed_as_left_over(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o644)
    assert control.remove_left_over(path) is False
    assert path.read_text() == text


@given(
    text=st.binary(max_size=100)
    | st.text(alphabet=" 0123456789\n-+\t\0x", max_size=40).map(str.encode)
    | st.sampled_from([os.getpid(), os.getppid(), 1]).map(lambda pid: b"%d\n" % pid),
    when=st.none() | st.integers(0, 2**32 * SECOND) | st.integers(0, 2**32).map(SECOND.__mul__),
    lock=st.booleans(),
)
@example(text=b"%d\n" % os.getppid(), when=int(time.time()) * SECOND, lock=True)
@example(text=b"", when=None, lock=True)
def test_whatever_a_file_holds_no_daemon_is_found_by_it_and_nothing_fails(
    tmp_path_factory: pytest.TempPathFactory, text: bytes, when: int | None, lock: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed.pid"
    path.write_bytes(text)
    path.chmod(0o644)
    if when is not None:
        os.utime(path, ns=(when, when))
    fd = locked(path) if lock else None
    try:
        assert control.find(path) is None
    except control.ControlError:
        assert lock
    if fd is not None:
        os.close(fd)


# Files


@pytest.mark.parametrize(("make", "reason"), [each[:2] for each in HOSTILE], ids=[each[0].__name__ for each in HOSTILE])
def test_what_a_stranger_may_have_put_there_is_refused_and_left_as_it_is(
    path: Path, make: Callable[[Path], None], reason: str
) -> None:
    make(path)
    before = snapshot(path.parent)
    refused(path, reason)
    assert snapshot(path.parent) == before


@pytest.mark.parametrize("device", ["/dev/null", "/dev/zero", "/dev/full"])
def test_a_device_is_refused(device: str) -> None:
    with pytest.raises(control.ControlError, match=f"^cannot tell by {device}: .*not a regular file; remove it"):
        stop_by(device)


def group_writable(path: Path) -> None:
    path.chmod(0o664)


def world_writable(path: Path) -> None:
    path.chmod(0o646)


def linked(path: Path) -> None:
    os.link(path, path.with_name("linked"))


def symlinked(path: Path) -> None:
    path.rename(path.with_name("real"))
    path.symlink_to("real")


@pytest.mark.parametrize(
    ("open_to_strangers", "reason"),
    [
        (group_writable, "others may write to it"),
        (world_writable, "others may write to it"),
        (linked, "hard links"),
        (symlinked, "symbolic link"),
    ],
)
def test_not_even_a_daemon_is_signalled_by_a_pidfile_that_strangers_can_write_to_or_have_made(
    daemons: Daemons, path: Path, open_to_strangers: Callable[[Path], None], reason: str
) -> None:
    found = started(daemons, path)
    open_to_strangers(path)
    refused(path, reason)
    with pytest.raises(control.ControlError, match=reason):
        found.signal(signal.SIGKILL)
    with pytest.raises(control.ControlError, match=reason):
        found.stop()
    assert found.is_running
    daemons.stop(found.pid)


@pytest.mark.root_only("the file belongs to another user")
def test_not_even_a_daemon_is_signalled_by_a_pidfile_of_another_user(daemons: Daemons, path: Path) -> None:
    found = started(daemons, path)
    os.chown(path, 12345, 12345)
    refused(path, "it belongs to user 12345, so it may not be a daemon's own; ask as its owner")
    with pytest.raises(control.ControlError, match="it belongs to user 12345"):
        found.stop()
    assert found.is_running
    daemons.stop(found.pid)
