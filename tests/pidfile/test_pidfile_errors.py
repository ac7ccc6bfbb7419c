"""What the pidfile raises: lockfile's errors that are the system's too, and reasons that say what to do."""

from __future__ import annotations

import builtins
import copy
import errno
import os
import pickle
from typing import TYPE_CHECKING

import lockfile
import pytest

from daemonry import DaemonAlreadyRunning, DaemonError, DaemonLockTimeout, DaemonStartError
from daemonry.pidfile import PIDFileError, PIDFileLocked, PIDFileLockTimeout, PIDLockFile, TimeoutPIDLockFile
from harness.shown import shown
from pidfile_programs import unshared

if TYPE_CHECKING:
    from pathlib import Path

    from harness.daemons import Daemons

ERRORS = [
    PIDFileError("/run/x.pid", "no reason", errno.EROFS),
    PIDFileError("/run/x.pid", "no reason at all"),
    PIDFileLocked("/run/x.pid", 2**22 + 1),
    PIDFileLocked("/run/x.pid", None, "; advice"),
    PIDFileLockTimeout("/run/x.pid", 2**22 + 1),
]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("error", ERRORS, ids=repr)
def test_errors_can_be_pickled(error: OSError, protocol: int) -> None:
    again = pickle.loads(pickle.dumps(error, protocol))
    assert type(again) is type(error)
    assert (str(again), again.args, again.errno, again.strerror) == (
        str(error),
        error.args,
        error.errno,
        error.strerror,
    )
    assert again.__dict__ == error.__dict__


@pytest.mark.parametrize("error", ERRORS, ids=repr)
def test_errors_can_be_copied(error: OSError) -> None:
    for again in (copy.copy(error), copy.deepcopy(error)):
        assert (type(again), str(again), again.__dict__) == (type(error), str(error), error.__dict__)


@pytest.mark.parametrize("kind", [DaemonAlreadyRunning, DaemonLockTimeout])
def test_the_launchers_errors_can_be_pickled(kind: type[DaemonStartError]) -> None:
    error = kind(errno.EAGAIN, "cannot lock /run/x.pid: held by process 7")
    error.step, error.pid = "lock_pidfile", 7
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.errno, again.pid, again.step) == (
        kind,
        str(error),
        errno.EAGAIN,
        7,
        "lock_pidfile",
    )


def test_errors_are_lockfiles_and_the_systems_and_ours() -> None:
    assert issubclass(PIDFileError, (lockfile.LockFailed,))
    assert issubclass(PIDFileLocked, lockfile.AlreadyLocked)
    assert issubclass(PIDFileLocked, builtins.BlockingIOError)
    assert issubclass(PIDFileLockTimeout, lockfile.LockTimeout)
    assert issubclass(PIDFileLockTimeout, PIDFileLocked)
    for kind in (PIDFileError, PIDFileLocked, PIDFileLockTimeout):
        assert issubclass(kind, DaemonError)
        assert issubclass(kind, lockfile.LockError)
        assert issubclass(kind, builtins.OSError)
    # What is held is not what has failed: programs tell the two apart by class.
    assert not issubclass(PIDFileLocked, lockfile.LockFailed)
    assert not issubclass(PIDFileError, lockfile.AlreadyLocked)
    assert not issubclass(PIDFileLocked, lockfile.LockTimeout)
    for kind in (DaemonAlreadyRunning, DaemonLockTimeout):
        assert issubclass(kind, lockfile.AlreadyLocked)
        assert issubclass(kind, DaemonStartError)
    assert issubclass(DaemonLockTimeout, lockfile.LockTimeout)
    assert not issubclass(DaemonAlreadyRunning, lockfile.LockTimeout)


def test_an_error_tells_path_number_and_pid() -> None:
    failed, held = ERRORS[0], ERRORS[2]
    assert isinstance(failed, PIDFileError)
    assert isinstance(held, PIDFileLocked)
    assert (failed.path, failed.errno, str(failed)) == (
        "/run/x.pid",
        errno.EROFS,
        "cannot lock /run/x.pid: no reason",
    )
    assert (held.path, held.errno, held.pid) == ("/run/x.pid", errno.EAGAIN, 2**22 + 1)
    assert str(held) == f"cannot lock /run/x.pid: held by process {2**22 + 1}"
    assert str(ERRORS[3]) == "cannot lock /run/x.pid: held by another process; advice"


@pytest.mark.parametrize("seconds", ["5", b"5", [], True, False, float("nan"), 1j, object()], ids=shown)
def test_a_timeout_that_is_no_number_is_refused_at_once(tmp_path: Path, seconds: float) -> None:
    path = tmp_path / "test.pid"
    for mistaken in (
        lambda: PIDLockFile(path, False, seconds),
        lambda: TimeoutPIDLockFile(path, seconds),
        lambda: PIDLockFile(path).acquire(seconds),
    ):
        with pytest.raises(ValueError, match="timeout: must be seconds or None, not"):
            mistaken()
    assert not path.exists()


@pytest.mark.parametrize("path", [None, 3, object()], ids=["None", "int", "object"])
def test_a_path_that_is_none_is_refused_at_once(path: str) -> None:
    with pytest.raises(TypeError):
        PIDLockFile(path)


@pytest.mark.reliability("Full and broken places")
@pytest.mark.parametrize(
    ("path", "number", "reason"),
    [
        ("no/such/test.pid", errno.ENOENT, "No such file or directory: directory .*/no/such"),
        ("file/test.pid", errno.ENOTDIR, "Not a directory: directory .*/file"),
        ("loop/test.pid", errno.ELOOP, "symbolic links: directory .*/loop"),
        ("x" * 300, errno.ENAMETOOLONG, "File name too long"),
        ("", errno.EISDIR, "not a regular file"),
        ("/", None, "cannot lock /: "),
    ],
    ids=["missing directory", "file as directory", "loop", "long name", "directory itself", "root"],
)
def test_an_impossible_place_is_refused_with_its_reason(
    tmp_path: Path, path: str, number: int | None, reason: str
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(PIDFileError, match=reason) as caught:
        PIDLockFile(tmp_path / path).acquire()
    assert caught.value.path == str(tmp_path / path)
    assert caught.value.errno == number or number is None
    assert caught.value.errno == getattr(caught.value.__cause__, "errno", number)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.reliability("Full and broken places")
def test_there_is_nothing_to_read_where_there_is_no_directory(tmp_path: Path) -> None:
    lock = PIDLockFile(tmp_path / "no" / "test.pid")
    assert lock.read_pid() is None
    assert not lock.is_locked()
    with pytest.raises(PIDFileError):
        lock.break_lock()


# Prints what acquire() says, and what is then in the directory.
REFUSED = """
    import os, sys
    from daemonry.pidfile import PIDFileError
    from daemonry.pidfile import PIDLockFile
    lock = PIDLockFile(sys.argv[1])
    try:
        lock.acquire()
    except PIDFileError as error:
        print(error.errno, error, sep="\\n")
    else:
        print("taken")
    assert not lock.i_am_locking()
    print(sorted(os.listdir(os.path.dirname(lock.path))))
"""


@pytest.mark.reliability("Full and broken places")
def test_a_directory_that_may_not_be_written_is_refused_with_advice(daemons: Daemons) -> None:
    closed = daemons.directory / "closed"
    closed.mkdir(mode=0o555)
    user = "nobody" if os.geteuid() == 0 else None
    said = daemons.launch(REFUSED, closed / "test.pid", user=user).check().stdout
    assert said == (
        f"{errno.EACCES}\ncannot lock {closed}/test.pid: Permission denied; this user may not write in {closed}\n[]\n"
    )


@pytest.mark.root_only("the file belongs to another user than the one who starts")
@pytest.mark.parametrize("mode", [0o644, 0o600])
def test_a_strangers_file_that_is_left_over_is_refused_with_its_own_reason(daemons: Daemons, mode: int) -> None:
    path = daemons.public / "test.pid"
    path.write_text("4194305\n")
    path.chmod(mode)
    said = daemons.launch(REFUSED, path, user="nobody").check().stdout
    number, reason, files = said.splitlines()
    assert int(number) == (errno.EPERM if mode == 0o644 else errno.EACCES)
    # The directory may be written by everybody: to say that it may not would be false.
    assert reason.startswith(f"cannot lock {path}: {os.strerror(int(number))}; this user may not ")
    assert f"may not write in {daemons.public}" not in reason
    assert "the file that is there" in reason
    assert files == "['test.pid']"


@pytest.mark.root_only("another user's file is held")
def test_a_strangers_file_that_is_held_is_told_as_held(daemons: Daemons) -> None:
    from pidfile_programs import hold

    path = daemons.public / "test.pid"
    holder = hold(daemons, path)
    said = daemons.launch(
        """
        import sys
        from daemonry.pidfile import PIDFileLocked
        from daemonry.pidfile import PIDLockFile
        lock = PIDLockFile(sys.argv[1])
        for refused in (lock.acquire, lock.break_lock):
            try:
                refused()
            except PIDFileLocked as error:
                print(error.pid, lock.is_locked(), lock.read_pid())
        """,
        path,
        user="nobody",
    ).check()
    assert said.stdout == f"{holder.pid} True {holder.pid}\n" * 2
    daemons.stop(holder.pid)


@pytest.mark.reliability("Full and broken places")
@pytest.mark.root_only("it mounts a file system")
@pytest.mark.parametrize("left", [True, False], ids=["with a file", "empty"])
def test_a_read_only_file_system_is_refused_with_advice(daemons: Daemons, left: bool) -> None:
    place = daemons.directory / "mounted"
    place.mkdir()
    remount = 'mount -t tmpfs none "$0" && { [ -z "$1" ] || echo 4194305 >"$0"/test.pid; } && '
    remount += 'mount -o remount,ro "$0" && shift && exec "$@"'
    through = (*unshared("--mount"), "sh", "-c", remount, str(place), "yes" if left else "")
    said = daemons.launch(REFUSED, place / "test.pid", through=through).check().stdout
    files = ["test.pid"] if left else []
    assert said == (
        f"{errno.EROFS}\ncannot lock {place}/test.pid: Read-only file system; "
        f"choose a place that can be written, such as /run\n{files}\n"
    )


@pytest.mark.reliability("Full and broken places")
@pytest.mark.root_only("it mounts a file system")
@pytest.mark.parametrize("way", ["", "import os; del os.O_TMPFILE"], ids=["O_TMPFILE", "draft"])
@pytest.mark.parametrize("limit", ["size=4k", "nr_inodes=2"])
def test_a_full_file_system_is_refused_with_advice_and_nothing_is_left_there(
    daemons: Daemons, limit: str, way: str
) -> None:
    place = daemons.directory / "mounted"
    place.mkdir()
    fill = 'mount -t tmpfs -o "$0" none "$1" && echo full >"$1"/full && shift && exec "$@"'
    through = (*unshared("--mount"), "sh", "-c", fill, limit, str(place))
    said = daemons.launch(f"    {way}\n{REFUSED}", place / "test.pid", through=through).check().stdout
    assert said == (
        f"{errno.ENOSPC}\ncannot lock {place}/test.pid: No space left on device; make room there\n['full']\n"
    )


@pytest.mark.reliability("Full and broken places")
@pytest.mark.root_only("it makes a PID namespace")
def test_a_place_without_locks_is_refused_and_gets_no_file(daemons: Daemons) -> None:
    """Where a lock is needed beside the seal, for those who don't see the process; and there alone."""
    lockless = f"""
    import errno, fcntl, os
    del fcntl.F_OFD_SETLK
    def lockf(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))
    fcntl.lockf = lockf
{REFUSED}"""
    path = daemons.directory / "place" / "test.pid"
    path.parent.mkdir()
    container = unshared("--pid", "--fork", "--mount-proc", "--kill-child")
    said = daemons.launch(lockless, path, through=container).check().stdout
    assert said == (
        f"{errno.ENOLCK}\ncannot lock {path}: No locks available; the file system offers no locks: "
        "choose one such as /run\n[]\n"
    )
