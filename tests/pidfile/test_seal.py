"""The seal of a pidfile fits the process that wrote it, as long as the file is what it wrote."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemonry.pidfile import seal
from daemonry.system import process
from pidfile_programs import HOLD, said, unshared

if TYPE_CHECKING:
    from harness.daemons import Daemons


def own() -> process.Process:
    found = process.look(os.getpid())
    assert found is not None
    return found


def changed(found: process.Process, **fields: object) -> process.Process:
    return process.Process(**{**found.fields(), **fields})


def place(path: Path) -> bytes:
    fd = os.open(path.parent, os.O_RDONLY)
    try:
        return seal.place_of(os.fstat(fd), path.name)
    finally:
        os.close(fd)


def fits(path: Path, writer: process.Process | None = None) -> bool:
    """Whether the file of this path bears the seal of this process, or of another."""
    return seal.fits(path.stat(), writer or own(), place(path))


@pytest.fixture(name="path")
def sealed(tmp_path: Path) -> Path:
    path = tmp_path / "test.pid"
    path.write_text(f"{os.getpid()}\n")
    with path.open("r+b", 0) as file:
        assert seal.is_on(seal.put_on(file.fileno(), path.stat(), os.getpid(), place(path)))
    return path


def test_a_seal_fits_its_own_process_only(path: Path) -> None:
    assert fits(path)
    assert fits(path, changed(own(), name="another", state="T", parent=1, started=0.0)), "what may change"
    for other in (changed(own(), born=own().born + 1), changed(own(), pid=os.getpid() + 1), process.look(1)):
        assert not fits(path, other)
    with subprocess.Popen(["/bin/sleep", "1000"]) as running:
        assert not fits(path, process.look(running.pid))
        running.kill()


@pytest.mark.parametrize("text", [b"", b"1\n", b"same"])
def test_what_is_written_to_the_file_breaks_the_seal(path: Path, text: bytes) -> None:
    path.write_bytes(path.read_bytes() if text == b"same" else text)
    assert not fits(path)
    assert not seal.is_on(path.stat())


def test_only_reading_and_changing_the_mode_leave_the_seal_whole(path: Path) -> None:
    path.read_bytes()
    path.chmod(0o600)
    os.link(path, path.with_name("linked"))
    assert fits(path)


@pytest.mark.reliability("Hostile files")
def test_a_file_that_was_moved_or_linked_elsewhere_bears_it_no_more(path: Path) -> None:
    """Under another name, and under its own in another directory."""
    (path.parent / "other").mkdir()
    for elsewhere in (path.with_name("linked"), path.parent / "other" / path.name):
        os.link(path, elsewhere)
        assert not fits(elsewhere)
        elsewhere.unlink()
        path.rename(elsewhere)
        assert not fits(elsewhere)
        elsewhere.rename(path)
    assert fits(path)


@pytest.mark.reliability("Hostile files")
@pytest.mark.root_only("it does what only the owner may, and gives that up")
def test_who_may_write_to_the_file_and_does_not_own_it_cannot_seal_it(daemons: Daemons) -> None:
    """Writing dates a file now, and no writer can choose another date."""
    daemons.launch(
        """
        import os
        from daemonry.pidfile import seal
        fd = os.open("test.pid", os.O_RDWR | os.O_CREAT, 0o644)
        here = os.open(".", os.O_RDONLY)
        os.setuid(65534)
        os.write(fd, b"%d\\n" % os.getpid())
        place = seal.place_of(os.fstat(here), "test.pid")
        assert not seal.is_on(seal.put_on(fd, os.fstat(fd), os.getpid(), place))
        """,
    ).check()


@pytest.mark.root_only("it mounts a /proc of its own")
def test_a_seal_is_the_same_where_proc_is_cut(daemons: Daemons) -> None:
    """systemd's ProcSubset=pid, on either side."""
    cut = (*unshared("--mount"), "sh", "-c", 'mount -t proc -o subset=pid proc /proc || exit 77; exec "$@"', "sh")
    asking = """
        import sys
        from daemonry.control import find
        print(find(sys.argv[1]).pid)
        """
    if daemons.launch("", through=cut).status == 77:
        pytest.skip("/proc can't be mounted so here")
    for holding, asked in ((cut, ()), ((), cut), (cut, cut)):
        path = daemons.directory / "test.pid"
        holder = daemons.start(HOLD, path, through=holding)
        said(holder, "held")
        assert daemons.launch(asking, path, through=asked).check().stdout == path.read_text()
        holder.signal(signal.SIGTERM)
        holder.wait().check()


@pytest.mark.parametrize("copy", [shutil.copy, shutil.copy2], ids=["cp", "cp -p"])
def test_no_copy_bears_the_seal(path: Path, copy: object) -> None:
    copied = Path(copy(path, path.with_name("copy")))  # type: ignore[operator]
    if copy is shutil.copy2:
        assert copied.stat().st_mtime_ns == path.stat().st_mtime_ns
    assert not fits(copied)


@pytest.mark.root_only("it mounts two file systems in a mount namespace of its own")
def test_no_copy_on_another_file_system_bears_the_seal_though_its_inode_has_the_same_number(daemons: Daemons) -> None:
    """Small numbers: the first file of every /run of its own has the same."""
    (daemons.directory / "one").mkdir()
    (daemons.directory / "two").mkdir()
    daemons.launch(
        """
        import os, shutil
        from daemonry.control import daemon as control
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


@given(pid=st.integers(1, 2**31 - 1), born=st.integers(0, 2**62))
def test_every_seal_is_an_even_second_of_long_ago(pid: int, born: int) -> None:
    """So that a file system of whole seconds keeps it, FAT of even ones, and writing to the file never makes one."""
    second = seal._seconds(os.stat("/"), pid, born, b"1 test.pid")
    assert second % 2 == 0
    assert 315_532_800 < second < 978_307_200


def test_many_processes_have_many_seals() -> None:
    """Two that differ in one digit hardly ever share theirs."""
    seals = {seal._seconds(os.stat("/"), os.getpid(), number, b"1 test.pid") for number in range(2000)}
    assert len(seals) >= 1995


# On a file system that keeps whole seconds a seal is as good as any other.
COARSE = """
    import os, signal
    from daemonry.control import daemon as control
    from daemonry.pidfile import PIDLockFile
    lock = PIDLockFile("place/test.pid")
    with lock:
        assert os.stat(lock.path).st_mtime_ns % 10**9 == 0 and lock.descriptors == []
        assert control.find(lock).pid == os.getpid()
    pid = os.fork()
    if pid == 0:
        lock.acquire()
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    assert control.find(lock) is None and control.remove_left_over(lock)
"""


@pytest.mark.root_only("it mounts a file system of its own")
def test_a_seal_is_kept_where_the_file_system_keeps_whole_seconds(daemons: Daemons) -> None:
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
    launched.check()
