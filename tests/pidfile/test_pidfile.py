"""The pidfile as a lock: lockfile's interface, and the file that goes with it."""

from __future__ import annotations

import os
import signal
import stat
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import lockfile
import pytest

import daemonry
from daemonry.pidfile import PIDFileError, PIDFileLocked, PIDLockFile, TimeoutPIDLockFile
from pidfile_programs import HOLD, TRY, hold

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.daemons import Daemons


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "test.pid"


def descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


def test_it_is_a_lockfile_lock(path: Path) -> None:
    lock = PIDLockFile(path)
    assert isinstance(lock, lockfile.LockBase)
    assert daemonry.PIDLockFile is daemonry.pidfile.PIDLockFile is PIDLockFile  # type: ignore[attr-defined]
    assert daemonry.TimeoutPIDLockFile is TimeoutPIDLockFile
    assert repr(lock) == f"<PIDLockFile: {str(path)!r} -- {str(path)!r}>"


def test_the_file_exists_while_it_is_held_and_is_gone_after(path: Path) -> None:
    lock = PIDLockFile(path)
    assert not path.exists()
    lock.acquire()
    assert path.read_bytes() == b"%d\n" % os.getpid()
    lock.release()
    assert list(path.parent.iterdir()) == []


def test_the_with_block_gives_the_lock_itself_and_lets_exceptions_through(path: Path) -> None:
    lock = PIDLockFile(path)
    with lock as entered:
        assert entered is lock
        assert path.exists()
    with pytest.raises(KeyError, match="mine"), lock:
        raise KeyError("mine")
    assert not path.exists()
    assert not lock.i_am_locking()


@pytest.mark.parametrize("kind", [str, os.fsencode, Path], ids=["str", "bytes", "Path"])
def test_a_path_may_be_str_bytes_or_path(path: Path, kind: Callable[[Path], str | bytes | Path]) -> None:
    with PIDLockFile(kind(path)) as lock:
        assert lock.path == str(path)
        assert path.exists()


def test_a_path_may_have_bytes_that_are_no_text(tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/\xff\xfe.pid"
    with PIDLockFile(name) as lock:
        assert os.fsencode(lock.path) == name
        assert os.path.exists(name)
    assert not os.path.exists(name)


def test_a_relative_path_means_the_directory_of_its_making(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lock = PIDLockFile("relative.pid")
    monkeypatch.chdir("/")
    with lock:
        assert (tmp_path / "relative.pid").exists()
    assert not (tmp_path / "relative.pid").exists()


@pytest.mark.parametrize("mask", [0, 0o022, 0o777])
def test_everybody_may_read_the_file_and_only_its_owner_write_it_whatever_the_umask(path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        with PIDLockFile(path):
            assert stat.S_IMODE(path.stat().st_mode) == 0o644
    finally:
        os.umask(before)


def test_the_three_questions_before_while_and_after(path: Path) -> None:
    lock, other = PIDLockFile(path), PIDLockFile(path)
    for _ in range(2):  # a lock can be taken again
        assert (lock.is_locked(), lock.i_am_locking(), lock.read_pid()) == (False, False, None)
        assert (other.is_locked(), other.i_am_locking(), other.read_pid()) == (False, False, None)
        lock.acquire()
        assert (lock.is_locked(), lock.i_am_locking(), lock.read_pid()) == (True, True, os.getpid())
        assert (other.is_locked(), other.i_am_locking(), other.read_pid()) == (True, False, os.getpid())
        lock.release()


def test_the_three_questions_about_another_process(daemons: Daemons, path: Path) -> None:
    holder = hold(daemons, path)
    lock = PIDLockFile(path)
    assert (lock.is_locked(), lock.i_am_locking(), lock.read_pid()) == (True, False, holder.pid)
    daemons.stop(holder.pid)
    assert not path.exists()
    assert (lock.is_locked(), lock.i_am_locking(), lock.read_pid()) == (False, False, None)


@pytest.mark.parametrize("same", [True, False], ids=["same object", "another object"])
def test_a_process_that_holds_it_cannot_take_it_again(path: Path, same: bool) -> None:
    lock = PIDLockFile(path)
    with lock:
        with pytest.raises(lockfile.AlreadyLocked) as caught:
            (lock if same else PIDLockFile(path)).acquire()
        assert caught.value.pid == os.getpid()
        assert path.exists()
        assert lock.i_am_locking()


def test_a_lock_that_another_process_holds_is_refused_with_its_pid(daemons: Daemons, path: Path) -> None:
    holder = hold(daemons, path)
    with pytest.raises(PIDFileLocked, match=rf"cannot lock {path}: held by process {holder.pid} \(.+\)$") as caught:
        PIDLockFile(path).acquire()
    assert caught.value.pid == holder.pid
    assert path.read_text() == f"{holder.pid}\n"
    daemons.stop(holder.pid)
    daemons.launch(TRY, path).check()


def test_a_second_release_does_nothing_though_another_process_holds_it(daemons: Daemons, path: Path) -> None:
    lock = PIDLockFile(path)
    lock.acquire()
    lock.release()
    lock.release()
    holder = hold(daemons, path)
    lock.release()
    assert PIDLockFile(path).is_locked()
    assert path.read_text() == f"{holder.pid}\n"
    daemons.stop(holder.pid)


def test_the_release_of_what_was_never_held_is_an_error(daemons: Daemons, path: Path) -> None:
    with pytest.raises(lockfile.NotLocked, match="is not locked"):
        PIDLockFile(path).release()
    with PIDLockFile(path) as lock:
        with pytest.raises(lockfile.NotMyLock, match="not by this lock"):
            PIDLockFile(path).release()
        assert lock.i_am_locking()
    holder = hold(daemons, path)
    with pytest.raises(lockfile.NotMyLock, match=f"held by process {holder.pid}"):
        PIDLockFile(path).release()
    assert path.exists()
    daemons.stop(holder.pid)


def test_break_lock_takes_away_what_a_crash_left_and_nothing_else(daemons: Daemons, path: Path) -> None:
    lock = PIDLockFile(path)
    lock.break_lock()
    holder = hold(daemons, path)
    with pytest.raises(PIDFileLocked, match=f"held by process {holder.pid} .*; stop that process") as caught:
        lock.break_lock()
    assert caught.value.pid == holder.pid
    assert path.read_text() == f"{holder.pid}\n"
    daemons.stop(holder.pid, signal.SIGKILL)
    assert path.exists()
    lock.break_lock()
    assert not path.exists()


def test_break_lock_refuses_this_process_too(path: Path) -> None:
    with PIDLockFile(path) as lock:
        for each in (lock, PIDLockFile(path)):
            with pytest.raises(PIDFileLocked) as caught:
                each.break_lock()
            assert caught.value.pid == os.getpid()
        assert lock.i_am_locking()
        assert path.exists()


def test_a_deleted_file_is_no_longer_what_this_process_is_locking(path: Path) -> None:
    lock = PIDLockFile(path)
    lock.acquire()
    path.unlink()
    assert not lock.i_am_locking()
    assert lock.is_locked()
    assert lock.read_pid() is None
    lock.release()
    lock.acquire()
    assert lock.i_am_locking()
    lock.release()


def test_the_file_of_a_successor_is_never_removed(daemons: Daemons, path: Path) -> None:
    lock = PIDLockFile(path)
    lock.acquire()
    path.unlink()
    successor = hold(daemons, path)  # a second start has become possible
    assert not lock.i_am_locking()
    lock.release()
    assert path.read_text() == f"{successor.pid}\n"
    assert PIDLockFile(path).is_locked()
    daemons.stop(successor.pid)
    assert not path.exists()


def test_a_file_that_somebody_put_in_its_place_is_never_removed(path: Path) -> None:
    lock = PIDLockFile(path)
    lock.acquire()
    path.rename(path.with_name("moved"))
    path.write_text("something else\n")
    lock.release()
    assert path.read_text() == "something else\n"
    # The own file is somewhere else now, where its seal says nothing.
    assert not PIDLockFile(path.with_name("moved")).is_locked()


def test_a_successor_keeps_its_file_though_the_closed_one_left_it_the_inode_number(daemons: Daemons) -> None:
    path = daemons.directory / "test.pid"
    daemons.launch(
        """
        import os, subprocess, sys
        from daemonry.pidfile import PIDLockFile
        path = sys.argv[1]
        lock = PIDLockFile(path)
        lock.acquire()
        os.closerange(3, 64)
        own = os.stat(path).st_ino
        os.unlink(path)
        # Made by hand, until the file system gives the number out again: most do so at once.
        made = []
        for _ in range(64):
            with open(path, "w") as file:
                file.write("1\\n")
            if os.stat(path).st_ino == own:
                print("same number")
                break
            os.rename(path, f"{path}.{len(made)}")
            made.append(path)
        else:
            open(path, "w").close()
        lock.release()
        assert os.path.exists(path)
        """,
        path,
    ).check()


def test_one_thread_may_release_what_another_has_taken(path: Path) -> None:
    lock = PIDLockFile(path, threaded=True)
    taker = threading.Thread(target=lock.acquire)
    taker.start()
    taker.join()
    assert lock.i_am_locking()
    lock.release()
    assert not path.exists()


def test_nothing_leaves_a_descriptor_open_or_a_signal_blocked(daemons: Daemons, path: Path) -> None:
    before = descriptors(), signal.pthread_sigmask(signal.SIG_BLOCK, ())
    lock, other = PIDLockFile(path), PIDLockFile(path)
    for _ in range(3):
        with lock:
            for refused in (other.acquire, other.break_lock):
                with pytest.raises(lockfile.AlreadyLocked):
                    refused()
            with pytest.raises(lockfile.NotMyLock):
                other.release()
            other.is_locked()
            other.read_pid()
        lock.break_lock()
    holder = hold(daemons, path)
    with pytest.raises(lockfile.LockTimeout):
        other.acquire(0.01)
    daemons.stop(holder.pid)
    path.mkdir()
    with pytest.raises(lockfile.LockFailed):
        other.acquire()
    with pytest.raises(lockfile.LockFailed):
        PIDLockFile(path / "no" / "x").acquire()
    now = descriptors(), signal.pthread_sigmask(signal.SIG_BLOCK, ())
    # The harness keeps a pidfd on the holder, which is not ours.
    assert len(now[0]) - len(before[0]) == 1
    assert now[1] == before[1]


def test_a_lock_that_cannot_be_had_does_not_leave_the_block_that_it_never_entered(path: Path) -> None:
    """A subclass may have an end of the block of its own."""
    left = []

    class Own(PIDLockFile):
        def __exit__(self, kind: object, error: object, trace: object) -> None:  # type: ignore[override]
            left.append(kind)
            super().__exit__(kind, error, trace)

    with pytest.raises(PIDFileError), Own(path / "no" / "x"):
        pass
    assert left == []
    with Own(path) as lock:
        assert lock.i_am_locking()
    assert left == [None]
    assert not path.exists()


def test_a_lock_that_nobody_refers_to_any_more_is_still_the_process_s_until_it_ends(daemons: Daemons) -> None:
    """A program may write PIDLockFile(path).acquire() and keep no name for it."""
    path = daemons.directory / "test.pid"
    anonymous = HOLD.replace("with PIDLockFile(sys.argv[1]):", "if not PIDLockFile(sys.argv[1]).acquire():")
    holder = hold(daemons, path, anonymous)
    with pytest.raises(lockfile.AlreadyLocked):
        PIDLockFile(path).acquire()
    daemons.stop(holder.pid, signal.SIGKILL)
    daemons.launch(TRY, path).check()
