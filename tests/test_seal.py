"""The seal of a pidfile fits the process that wrote it, as long as the file is what it wrote."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemonry import process, seal
from pidfile_programs import unshared

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from harness.daemons import Daemons

SECOND = 10**9


def own() -> process.Process:
    found = process.look(os.getpid())
    assert found is not None
    return found


def changed(found: process.Process, **fields: object) -> process.Process:
    return process.Process(**{**found.fields(), **fields})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "test.pid"
    path.write_text(f"{os.getpid()}\n")
    return path


@pytest.fixture
def fd(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_RDWR)
    seal.put_on(fd, own())
    yield fd
    os.close(fd)


def test_a_seal_fits_its_own_process_only(fd: int) -> None:
    assert seal.fits(fd, own())
    assert seal.fits(fd, changed(own(), name="another", state="T", parent=1, started=0.0)), "what may change"
    for other in (changed(own(), born=own().born + 1), changed(own(), pid=os.getpid() + 1), process.look(1)):
        assert other is not None
        assert not seal.fits(fd, other)
    with subprocess.Popen(["/bin/sleep", "1000"]) as running:
        found = process.look(running.pid)
        assert found is not None
        assert not seal.fits(fd, found)
        running.kill()


def test_a_seal_is_seen_by_the_path_as_well(fd: int, path: Path) -> None:
    other = os.open(path, os.O_RDONLY)
    assert seal.fits(other, own())
    os.close(other)


@pytest.mark.parametrize("text", [b"", b"1\n", b"same"])
def test_what_is_written_to_the_file_breaks_the_seal(fd: int, path: Path, text: bytes) -> None:
    path.write_bytes(path.read_bytes() if text == b"same" else text)
    assert not seal.fits(fd, own())


def test_only_reading_and_linking_leave_the_seal_whole(fd: int, path: Path) -> None:
    path.read_bytes()
    path.chmod(0o600)
    os.link(path, path.with_name("linked"))
    path.rename(path.with_name("renamed"))
    assert seal.fits(fd, own())


@pytest.mark.parametrize("copy", [shutil.copy, shutil.copy2], ids=["cp", "cp -p"])
def test_no_copy_bears_the_seal(fd: int, path: Path, copy: object) -> None:
    copied = os.open(copy(path, path.with_name("copy")), os.O_RDONLY)  # type: ignore[operator]
    if copy is shutil.copy2:
        assert os.fstat(copied).st_mtime_ns == os.fstat(fd).st_mtime_ns
    assert not seal.fits(copied, own())
    os.close(copied)


@pytest.mark.root_only("it mounts two file systems in a mount namespace of its own")
def test_no_copy_on_another_file_system_bears_the_seal_though_its_inode_has_the_same_number(daemons: Daemons) -> None:
    """Small numbers: the first file of every /run of its own has the same."""
    (daemons.directory / "one").mkdir()
    (daemons.directory / "two").mkdir()
    daemons.launch(
        """
        import os, shutil
        from daemonry import control
        from daemonry.pidfile import PIDLockFile
        with PIDLockFile("one/test.pid") as lock:
            shutil.copy2(lock.path, "two/test.pid")
            assert os.stat("one/test.pid").st_ino == os.stat("two/test.pid").st_ino
            assert control.find("one/test.pid").pid == os.getpid()
            assert control.find("two/test.pid") is None
        """,
        through=(
            *unshared("--mount"),
            *("sh", "-c", 'mount -t tmpfs none one && mount -t tmpfs none two && exec "$@"', "sh"),
        ),
    ).check()


def test_a_seal_is_never_of_a_later_time_than_now_nor_older_than_two_seconds(fd: int) -> None:
    """A process that gets the number next is younger than the file."""
    end = time.monotonic() + 1.1  # so that it is put on in every part of a second
    count = 0
    while time.monotonic() < end:
        seal.put_on(fd, changed(own(), born=count))
        now = time.time_ns()
        found = os.fstat(fd)
        assert now - SECOND - 50_000_000 < found.st_mtime_ns <= now or now - found.st_mtime_ns < 2 * SECOND
        assert found.st_mtime_ns <= now
        assert found.st_atime_ns <= now
        count += 1
    assert count > 10


@given(pid=st.integers(1, 2**31 - 1), born=st.integers(0, 2**62))
def test_a_seal_is_a_whole_number_of_units_within_a_second_and_never_none(
    tmp_path_factory: pytest.TempPathFactory, pid: int, born: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "sealed.pid"
    path.touch()
    fd = os.open(path, os.O_RDWR)
    try:
        someone = changed(own(), pid=pid, born=born)
        seal.put_on(fd, someone)
        assert seal.fits(fd, someone)
        assert not seal.is_lost(fd)
        part = os.fstat(fd).st_mtime_ns % SECOND
        assert part % 100 == 0 < part
    finally:
        os.close(fd)


def test_many_processes_have_many_seals(fd: int) -> None:
    """Two that differ in one digit hardly ever share theirs."""
    parts = set()
    for number in range(2000):
        seal.put_on(fd, changed(own(), born=number))
        parts.add(os.fstat(fd).st_mtime_ns % SECOND)
    assert len(parts) >= 1995


def test_a_seal_that_somebody_has_set_back_to_whole_seconds_is_broken_and_not_lost(fd: int) -> None:
    """The file system shows by its own stamp, which nobody can set, that it keeps finer time."""
    assert not seal.is_lost(fd)
    found = os.fstat(fd)
    os.utime(fd, ns=(found.st_atime_ns, found.st_mtime_ns // SECOND * SECOND))
    assert os.fstat(fd).st_mtime_ns % SECOND == 0
    assert not seal.fits(fd, own())
    assert not seal.is_lost(fd)


# Where the file system keeps whole seconds: what has only just started is found, a younger process never.
COARSE = """
    import os, signal, subprocess
    from daemonry import control, process, seal
    from daemonry.pidfile import PIDLockFile
    lock = PIDLockFile("place/test.pid")
    with lock:
        fd = os.open(lock.path, os.O_RDWR)
        assert seal.is_lost(fd) and not seal.fits(fd, process.look(os.getpid()))
        assert control.find(lock).pid == os.getpid()
        with subprocess.Popen(["/bin/sleep", "1000"]) as stranger:
            found = os.fstat(fd)
            os.pwrite(fd, b"%d\\n" % stranger.pid, 0)
            os.utime(fd, (1, 1))
            try:
                control.find(lock)
            except control.ControlError as error:
                print(error)
            stranger.kill()
    up = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(fd)
        lock.acquire()
        os.closerange(3, up[1])
        os.closerange(up[1] + 1, 256)
        os.write(up[1], b"up")
        signal.pause()
    os.read(up[0], 2)
    assert control.find(lock) is None, "without lock and seal nobody is it"
    assert control.remove_left_over(lock) is False, "but nobody starts beside it"
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert control.remove_left_over(lock) is True
"""


@pytest.mark.root_only("it mounts a file system of its own")
def test_a_seal_is_lost_where_the_file_system_keeps_whole_seconds(daemons: Daemons) -> None:
    """As ext2 does with small inodes."""
    image = daemons.directory / "image"
    image.touch()
    os.truncate(image, 2**20)
    mkfs = shutil.which("mkfs.ext2", path="/usr/sbin:/sbin")
    if mkfs is None:
        pytest.skip("mkfs.ext2 is not installed")
    subprocess.run([mkfs, "-q", "-I", "128", os.fspath(image)], check=True)
    (daemons.directory / "place").mkdir()
    mounted = (*unshared("--mount"), "sh", "-c", 'mount -o loop image place || exit 77; exec "$@"', "sh")
    launched = daemons.launch(COARSE, through=mounted)
    if launched.status == 77:
        pytest.skip(f"no image can be mounted here: {launched.stderr.strip()}")
    assert re.fullmatch(
        r"cannot tell by .*: it is locked, but not by process \d+ \(sleep\); .*\n", launched.check().stdout
    )
