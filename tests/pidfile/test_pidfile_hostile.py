"""What a stranger may have put where the pidfile shall be is refused, soon, with the reason, and left as it is."""

from __future__ import annotations

import errno
import os
import stat
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemonry.pidfile import PIDFileError, PIDLockFile
from hostile_pidfiles import HOSTILE, NOBODY, snapshot

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from harness.daemons import Daemons

pytestmark = pytest.mark.reliability("Hostile files")


@pytest.mark.parametrize(("make", "reason", "number"), HOSTILE, ids=[make.__name__ for make, _, _ in HOSTILE])
@pytest.mark.parametrize("timeout", [None, 60])
def test_a_hostile_file_is_refused_soon_with_its_reason_and_left_as_it_is(
    tmp_path: Path, make: Callable[[Path], None], reason: str, number: int, timeout: float | None
) -> None:
    path = tmp_path / "test.pid"
    make(path)
    before = snapshot(tmp_path)
    lock = PIDLockFile(path)
    for refused in (lambda: lock.acquire(timeout), lock.break_lock):
        start = time.monotonic()
        with pytest.raises(PIDFileError, match=f"^cannot lock {path}: .*{reason}") as caught:
            refused()
        assert time.monotonic() - start < 5
        assert caught.value.errno == number
        assert snapshot(tmp_path) == before
    assert not lock.i_am_locking()


@pytest.mark.parametrize("make", [make for make, _, _ in HOSTILE], ids=lambda make: str(make.__name__))
def test_what_is_there_is_asked_without_harm(tmp_path: Path, make: Callable[[Path], None]) -> None:
    """Asking neither waits (a fifo nobody writes to) nor believes (a link that leads elsewhere)."""
    path = tmp_path / "test.pid"
    make(path)
    before = snapshot(tmp_path)
    lock = PIDLockFile(path)
    regular = stat.S_ISREG(path.lstat().st_mode)
    start = time.monotonic()
    assert lock.read_pid() == (NOBODY if "writable" in make.__name__ else None)
    if regular:
        assert not lock.is_locked()
    else:
        with pytest.raises(PIDFileError):
            lock.is_locked()
    assert time.monotonic() - start < 5
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("device", ["/dev/null", "/dev/zero", "/dev/full", "/dev/ptmx"])
def test_a_device_is_refused(device: str) -> None:
    if not os.path.exists(device):
        pytest.skip(f"there is no {device} here")
    lock = PIDLockFile(device)
    assert lock.read_pid() is None
    with pytest.raises(PIDFileError):
        lock.is_locked()
    with pytest.raises(PIDFileError, match=r"not a regular file|may not open") as caught:
        lock.acquire()
    assert caught.value.errno in (errno.EINVAL, errno.EACCES)
    assert stat.S_ISCHR(os.stat(device).st_mode)


@pytest.mark.root_only("the file belongs to another user")
def test_a_left_over_file_of_another_user_is_refused_and_root_s_own_is_not(daemons: Daemons) -> None:
    path = daemons.directory / "test.pid"
    path.write_text(f"{NOBODY}\n")
    os.chown(path, 12345, 12345)
    with pytest.raises(PIDFileError, match=r"it belongs to user 12345, so it may not be a daemon's own"):
        PIDLockFile(path).acquire()
    assert path.read_text() == f"{NOBODY}\n"
    os.chown(path, 0, 12345)
    with PIDLockFile(path) as lock:
        assert lock.i_am_locking()


@pytest.mark.root_only("a user's directory, where root has left a file")
def test_a_left_over_file_of_root_hinders_no_user_in_its_own_directory_who_may_open_it(daemons: Daemons) -> None:
    place = daemons.directory / "own"
    place.mkdir()
    os.chown(place, 65534, 65534)
    path = place / "test.pid"
    path.write_text(f"{NOBODY}\n")
    launched = daemons.launch(
        """
        import sys
        from daemonry.pidfile import PIDLockFile
        with PIDLockFile(sys.argv[1]) as lock:
            print(lock.i_am_locking())
        """,
        path,
        user="nobody",
    ).check()
    assert launched.stdout == "True\n"


def test_a_hostile_file_that_is_released_into_is_not_touched(tmp_path: Path) -> None:
    """Somebody replaces the file while it is held: the release removes and empties nothing of theirs."""
    for make, _, _ in HOSTILE:
        place = tmp_path / make.__name__
        place.mkdir()
        lock = PIDLockFile(place / "test.pid")
        lock.acquire()
        os.unlink(lock.path)
        make(place / "test.pid")
        before = snapshot(place)
        lock.release()
        assert snapshot(place) == before


# The contents

BLANK = b" \t\r\v\f"


@given(text=st.binary(max_size=200) | st.text(alphabet=" 0123456789\n-+\t\0x", max_size=100).map(str.encode))
def test_any_contents_are_read_as_a_possible_pid_or_none(tmp_path_factory: pytest.TempPathFactory, text: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed.pid"
    path.write_bytes(text)
    lock = PIDLockFile(path)
    pid = lock.read_pid()
    line = text.split(b"\n")[0].strip(BLANK)
    if pid is None:
        plain = line.isdigit() and len(text.split(b"\n")[0]) <= 64 and 0 < int(line) < 2**31
        assert not plain, "a number on a line of its own is a pid"
    else:
        assert 0 < pid < 2**31
        assert int(line) == pid
    lock.is_locked()


@given(
    pid=st.integers(1, 2**31 - 1),
    before=st.text(alphabet=" \t\r\v\f", max_size=10),
    zeros=st.integers(0, 10),
    after=st.text(alphabet=" \t\r\v\f", max_size=10),
    rest=st.just(b"") | st.binary(max_size=80).map(lambda more: b"\n" + more),
)
def test_a_pid_is_read_as_tolerantly_as_the_fhs_asks(
    tmp_path_factory: pytest.TempPathFactory, pid: int, before: str, zeros: int, after: str, rest: bytes
) -> None:
    """Extra white space, leading zeros, no newline at the end, more lines."""
    path = tmp_path_factory.getbasetemp() / "tolerated.pid"
    path.write_bytes(f"{before}{'0' * zeros}{pid}{after}".encode() + rest)
    assert PIDLockFile(path).read_pid() == pid


@pytest.mark.parametrize("width", range(55, 75))
def test_a_line_that_is_too_long_is_no_pid_rather_than_the_beginning_of_one(tmp_path: Path, width: int) -> None:
    path = tmp_path / "test.pid"
    path.write_text(f"{123456:>{width}}\n")
    assert PIDLockFile(path).read_pid() in (123456, None)


@pytest.mark.parametrize(
    "text",
    [b"", b"\n", b"\n123\n", b"0", b"-1\n", b"+1\n", b"1.0", b"0x10", b"1_0", b"\xc2\xb2", b"2147483648", b"1 2"],
)
def test_contents_that_are_no_pid_hinder_no_start(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "test.pid"
    path.write_bytes(text)
    lock = PIDLockFile(path)
    assert lock.read_pid() is None
    assert not lock.is_locked()
    with lock:
        assert path.read_bytes() == b"%d\n" % os.getpid()


@pytest.mark.parametrize("first", ["4194305\n", "a line\n", "4194305 and more\n"])
def test_a_file_that_is_more_than_a_pidfile_can_be_is_left_as_it_is_though_it_begin_with_a_number(
    tmp_path: Path, first: str
) -> None:
    """Somebody has given the path of another file."""
    path = tmp_path / "readings.txt"
    path.write_text(first + "50001\n" * 1000)
    with pytest.raises(PIDFileError, match="it holds something else than the number of a process"):
        PIDLockFile(path).acquire()
    assert path.read_text() == first + "50001\n" * 1000
