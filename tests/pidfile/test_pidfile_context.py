"""The pidfile of a daemon: taken by it and held by it, whatever becomes of its rights and its root directory."""

from __future__ import annotations

import errno
import os
import signal
from textwrap import dedent
from typing import TYPE_CHECKING

import lockfile
import pytest

from daemonry.control import find_or_left_over
from daemonry.pidfile import PIDFileLocked, PIDLockFile
from harness.probe import facts_of
from harness.size import times
from harness.waiting import wait_for, wait_for_exit
from pidfile_programs import TRY, openings

if TYPE_CHECKING:
    from pathlib import Path

    from harness.daemons import Daemons

# A daemon that holds the pidfile of its first argument until it is ended.
DAEMON = """
    import sys
    from daemonry import DaemonContext, PIDLockFile
    with DaemonContext(pidfile=PIDLockFile(sys.argv[1]), working_directory=sys.argv[2]) as context:
        context.wait()
"""


def test_each_time_the_pidfile_holds_the_daemons_pid_when_the_launcher_exits(daemons: Daemons, tmp_path: Path) -> None:
    launched = daemons.launch(
        """
        import os, select, signal, sys
        from daemonry import DaemonContext, PIDLockFile
        path = sys.argv[1]
        for _ in range(int(sys.argv[2])):
            launcher = os.fork()
            if launcher == 0:
                with DaemonContext(pidfile=PIDLockFile(path)) as context:
                    context.wait()
                os._exit(0)
            status = os.waitpid(launcher, 0)[1]
            with open(path) as file:
                text = file.read()
            assert PIDLockFile(path).is_locked()
            pidfd = os.pidfd_open(int(text))
            with open(f"/proc/{int(text)}/stat") as file:
                parent = int(file.read().rpartition(")")[2].split()[1])
            assert status == 0 and text == f"{int(text)}\\n" and parent not in (launcher, os.getpid())
            signal.pidfd_send_signal(pidfd, signal.SIGTERM)
            poll = select.poll()
            poll.register(pidfd, select.POLLIN)
            assert poll.poll(10_000)
            os.close(pidfd)
            assert not os.path.exists(path)
            print(int(text))
        """,
        tmp_path / "test.pid",
        times(30),
        plain=True,
    ).check()
    assert len(set(launched.stdout.split())) == times(30)


def test_a_second_instance_is_refused_with_the_pid_of_the_first(daemons: Daemons, tmp_path: Path) -> None:
    path = tmp_path / "test.pid"
    daemons.launch(DAEMON, path, "/").check()
    first = daemons.survivor()
    refused = daemons.launch(
        """
        import sys
        import lockfile
        from daemonry import DaemonAlreadyRunning, DaemonContext, PIDLockFile
        try:
            with DaemonContext(pidfile=PIDLockFile(sys.argv[1])):
                raise AssertionError
        except DaemonAlreadyRunning as error:
            print(error.pid, error.step, isinstance(error, lockfile.AlreadyLocked), error)
        """,
        path,
    ).check()
    assert refused.stdout.startswith(f"{first} lock_pidfile True cannot start the daemon: step lock_pidfile: ")
    assert f"{path}: held by process {first}" in refused.stdout
    assert path.read_text() == f"{first}\n"
    uncaught = daemons.launch(DAEMON, path, "/")
    assert uncaught.status == 1
    assert f"held by process {first}" in uncaught.stderr
    assert daemons.alive() == [first]
    daemons.stop(first)


@pytest.mark.parametrize("fork", [True, False], ids=["fork", "foreground"])
def test_a_second_start_by_the_path_alone_is_refused_by_the_same_error(
    daemons: Daemons, tmp_path: Path, fork: bool
) -> None:
    """Though lockfile, whose error it is too, is loaded only now."""
    path = tmp_path / "test.pid"
    with PIDLockFile(path):
        launched = daemons.launch(
            """
            import sys
            from daemonry import DaemonContext, DaemonStartError
            try:
                DaemonContext(pidfile=sys.argv[1], detach_process=sys.argv[2] == "True").open()
            except DaemonStartError as error:
                import lockfile
                is_locks = isinstance(error, lockfile.AlreadyLocked)
                print(type(error).__name__, error.pid, error.step, error.errno, is_locks)
            """,
            path,
            fork,
        ).check()
    assert launched.stdout == f"DaemonAlreadyRunning {os.getpid()} lock_pidfile {errno.EAGAIN} True\n"


@pytest.mark.root_only("it changes its root directory")
def test_a_lock_by_the_path_alone_has_its_errors_also_where_nothing_can_be_loaded_any_more(daemons: Daemons) -> None:
    launched = daemons.launch(
        """
        import os
        from daemonry.pidfile.lock import PidfileLock
        os.makedirs("root/run")
        os.symlink("elsewhere", "root/run/test.pid")
        lock = PidfileLock("own.pid")
        lock.acquire()
        lock.prepare_for_change()
        os.chroot("root")
        try:
            PidfileLock("/run/test.pid").acquire()
        except OSError as error:
            print(type(error).__name__, error, flush=True)
        os._exit(0)
        """,
        plain=True,
    ).check()
    assert launched.stdout.startswith("PIDFileError cannot lock /run/test.pid: it is a symbolic link")


def test_a_start_that_is_refused_forks_nothing_and_loads_nothing_to_tell_it(daemons: Daemons, tmp_path: Path) -> None:
    path = tmp_path / "test.pid"
    with PIDLockFile(path):
        launched = daemons.launch(
            """
            import os, sys
            from daemonry import DaemonAlreadyRunning, DaemonContext, PIDLockFile
            os.register_at_fork(before=lambda: print("forks"))
            try:
                DaemonContext(pidfile=PIDLockFile(sys.argv[1]), stdout=sys.argv[2]).open()
            except DaemonAlreadyRunning as error:
                print(error.pid, error.step, error.errno, error.__cause__, {"json", "traceback"} & set(sys.modules))
            """,
            path,
            tmp_path / "log",
            plain=True,
        ).check()
    assert launched.stdout == f"{os.getpid()} lock_pidfile {errno.EAGAIN} None set()\n"
    assert not (tmp_path / "log").exists()


@pytest.mark.parametrize(
    "way",
    [
        """
        class Replacing(DaemonContext):
            def lock_pidfile(self):
                end_the_other()
                super().lock_pidfile()

        context = Replacing(pidfile=PIDLockFile(path))
        """,
        """
        class Replacing(DaemonContext):
            steps = (*DaemonContext.steps[:8], "replace", *DaemonContext.steps[8:])

            def replace(self):
                end_the_other()

        context = Replacing(pidfile=PIDLockFile(path))
        """,
        """
        class Replacing(PIDLockFile):
            def acquire(self, timeout=None):
                end_the_other()
                super().acquire(timeout)

        context = DaemonContext(pidfile=Replacing(path))
        """,
        """
        class Replacing(PIDLockFile):
            def __enter__(self):
                end_the_other()
                return super().__enter__()

        context = DaemonContext(pidfile=Replacing(path))
        """,
    ],
    ids=["lock_pidfile", "step", "acquire", "enter"],
)
def test_who_ends_the_other_daemon_on_the_way_is_not_refused_before(daemons: Daemons, tmp_path: Path, way: str) -> None:
    path = tmp_path / "test.pid"
    daemons.launch(DAEMON, path, "/").check()
    first = daemons.survivor()
    before = """
        import os, signal, sys
        from daemonry import DaemonContext, PIDLockFile
        from daemonry.system.process import wait_for_exit
        path = sys.argv[1]

        def end_the_other():
            pid = PIDLockFile(path).read_pid()
            os.kill(pid, signal.SIGTERM)
            assert wait_for_exit(pid, 10)
        """
    daemons.launch(dedent(before) + dedent(way) + "with context:\n    context.wait()\n", path).check()
    second = daemons.survivor()
    assert second != first
    daemons.stop(second)


def test_after_sigkill_of_the_daemon_the_next_start_works_at_once(daemons: Daemons, tmp_path: Path) -> None:
    path = tmp_path / "test.pid"
    for _ in range(3):
        daemons.launch(DAEMON, path, "/").check()
        pid = daemons.survivor()
        daemons.stop(pid, signal.SIGKILL)
        assert path.read_text() == f"{pid}\n"
    daemons.launch(DAEMON, path, "/").check()
    daemons.stop(daemons.survivor())
    assert not path.exists()


def test_a_lock_that_was_tried_in_the_launcher_can_be_taken_in_the_daemon(daemons: Daemons, tmp_path: Path) -> None:
    path = tmp_path / "test.pid"
    daemons.launch(
        """
        import os, sys
        from daemonry import DaemonContext, PIDLockFile
        lock = PIDLockFile(sys.argv[1])
        with lock:
            assert lock.read_pid() == os.getpid()
        context = DaemonContext(pidfile=lock)
        with context:
            assert lock.i_am_locking() and lock.read_pid() == os.getpid()
            context.wait()
        """,
        path,
    ).check()
    pid = daemons.survivor()
    assert PIDLockFile(path).read_pid() == pid
    daemons.stop(pid)
    assert not path.exists()


def test_a_lock_that_the_launcher_holds_is_refused_before_anything_is_done(daemons: Daemons, tmp_path: Path) -> None:
    path = tmp_path / "test.pid"
    launched = daemons.launch(
        """
        import os, sys
        from daemonry import DaemonContext, InvalidOption, PIDLockFile
        with PIDLockFile(sys.argv[1]) as lock:
            try:
                DaemonContext(pidfile=lock).open()
            except InvalidOption as error:
                print(error.option, lock.i_am_locking())
        """,
        path,
    ).check()
    assert launched.stdout == "pidfile True\n"
    assert not path.exists()


def test_a_start_waits_for_the_end_of_the_former_daemon(daemons: Daemons, tmp_path: Path) -> None:
    path = tmp_path / "test.pid"
    daemons.launch(DAEMON, path, "/").check()
    first = daemons.survivor()
    patient = DAEMON.replace("PIDLockFile(sys.argv[1])", "PIDLockFile(sys.argv[1], timeout=60)")
    second = daemons.start(patient, path, "/")
    # Launcher, witness, daemon, and the former one.
    wait_for(lambda: len(daemons.alive()) == 4, what="the second start is on its way")
    daemons.stop(first)
    second.wait().check()
    pid = daemons.survivor()
    assert pid != first
    assert PIDLockFile(path).read_pid() == pid
    daemons.stop(pid)


def test_a_start_whose_time_to_wait_is_over_tells_so(daemons: Daemons, tmp_path: Path) -> None:
    path = tmp_path / "test.pid"
    with PIDLockFile(path):
        launched = daemons.launch(
            """
            import sys, lockfile
            from daemonry import DaemonContext, DaemonLockTimeout, TimeoutPIDLockFile
            try:
                DaemonContext(pidfile=TimeoutPIDLockFile(sys.argv[1], 0.05)).open()
            except DaemonLockTimeout as error:
                print(error.pid, isinstance(error, lockfile.LockTimeout))
            """,
            path,
        ).check()
    assert launched.stdout == f"{os.getpid()} True\n"


def test_sigterm_ends_a_start_that_waits_for_the_pidfile(daemons: Daemons, tmp_path: Path) -> None:
    path = tmp_path / "test.pid"
    patient = DAEMON.replace("PIDLockFile(sys.argv[1])", "PIDLockFile(sys.argv[1], timeout=600)")
    with PIDLockFile(path) as lock:
        running = daemons.start(patient, path, "/")
        wait_for(
            lambda: any(openings_of_others(pid) for pid in daemons.alive()), what="the start waits for this process"
        )
        running.signal(signal.SIGTERM)
        assert running.wait().status == -signal.SIGTERM
        assert daemons.alive() == []
        assert lock.i_am_locking()
        assert path.read_text() == f"{os.getpid()}\n"


def openings_of_others(pid: int) -> bool:
    """Whether a process watches for the end of this one."""
    try:
        for each in facts_of(pid).descriptors:
            with open(f"/proc/{pid}/fdinfo/{each.number}") as info:
                if f"Pid:\t{os.getpid()}\n" in info.read():
                    return True
    except OSError:
        pass
    return False


def test_a_daemon_that_cannot_use_its_pidfile_tells_the_reason_in_the_launcher(
    daemons: Daemons, tmp_path: Path
) -> None:
    path = tmp_path / "test.pid"
    path.symlink_to("elsewhere")
    launched = daemons.launch(DAEMON, path, "/")
    assert launched.status == 1
    assert f"step lock_pidfile: cannot lock {path}: it is a symbolic link" in launched.stderr
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.reliability("The program's own code")
def test_the_daemons_workers_neither_hold_nor_remove_the_pidfile(daemons: Daemons, tmp_path: Path) -> None:
    path = tmp_path / "test.pid"
    daemons.launch(
        """
        import os, signal, sys
        from daemonry import DaemonContext, PIDLockFile
        lock = PIDLockFile(sys.argv[1])
        with DaemonContext(pidfile=lock, ready="manual") as context:
            if os.fork() == 0:
                sys.exit()  # leaves the with-block, as a worker does that ends by itself
            os.wait()
            assert lock.i_am_locking() and os.path.exists(sys.argv[1])
            if os.fork() == 0:
                signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
                signal.sigwait([signal.SIGTERM])
                os._exit(0)
            context.ready()
            context.wait()
        """,
        path,
    ).check()
    daemon = PIDLockFile(path).read_pid()
    assert daemon is not None
    wait_for(lambda: len(daemons.alive()) == 2, what="daemon and worker")
    (worker,) = set(daemons.alive()) - {daemon}
    daemons.stop(daemon, signal.SIGKILL)
    assert facts_of(worker).pid == worker
    assert openings(worker, path) == []
    daemons.launch(DAEMON, path, "/").check()
    pid = PIDLockFile(path).read_pid()
    daemons.stop(worker)
    assert pid is not None
    assert PIDLockFile(path).is_locked()
    daemons.stop(pid)


CHANGED = """
    import sys
    from daemonry import DaemonContext, PIDLockFile
    path, root, uid = sys.argv[1:]
    with DaemonContext(pidfile=PIDLockFile(path), chroot_directory=root or None, uid=uid or None) as context:
        context.wait()
"""


@pytest.mark.root_only("it gives up its rights, or changes its root directory")
@pytest.mark.parametrize(
    ("jailed", "uid"), [(False, "nobody"), (True, ""), (True, "nobody")], ids=["dropped", "chroot", "both"]
)
def test_a_daemon_that_cannot_remove_its_file_any_more_marks_its_orderly_end_and_the_next_start_works(
    daemons: Daemons, jailed: bool, uid: str
) -> None:
    path = daemons.directory / "test.pid"
    root = daemons.jail() if jailed else ""
    for way in (signal.SIGTERM, signal.SIGKILL, signal.SIGTERM):
        daemons.launch(CHANGED, path, root, uid).check()
        pid = daemons.survivor()
        assert path.read_text() == f"{pid}\n"
        assert (facts_of(pid).uids[0] != 0) == bool(uid)
        assert (facts_of(pid).root != "/") == jailed
        with pytest.raises(PIDFileLocked) as caught:
            PIDLockFile(path).acquire()
        assert caught.value.pid == pid
        daemons.stop(pid, way)
        assert find_or_left_over(path) == (None, way == signal.SIGKILL)
        assert not PIDLockFile(path).is_locked()
    daemons.launch(TRY, path).check()
    assert list(path.parent.glob("*test.pid*")) == list(path.parent.glob(".test.pid*")) == []


@pytest.mark.root_only("it changes its root directory")
def test_a_file_of_the_same_path_inside_the_new_root_is_not_touched(daemons: Daemons) -> None:
    path = daemons.directory / "test.pid"
    jail = daemons.jail()
    inside = jail / path.relative_to("/")
    inside.parent.mkdir(parents=True, exist_ok=True)
    inside.write_text("another\n")
    daemons.launch(CHANGED, path, jail, "").check()
    daemons.stop(daemons.survivor())
    assert inside.read_text() == "another\n"
    assert find_or_left_over(path) == (None, False)


@pytest.mark.root_only("it gives up its rights")
def test_a_daemon_without_rights_removes_a_file_in_a_directory_of_its_own(daemons: Daemons) -> None:
    place = daemons.directory / "run"
    place.mkdir()
    os.chown(place, 65534, 65534)
    daemons.launch(CHANGED, place / "test.pid", "", "nobody").check()
    daemons.stop(daemons.survivor())
    assert list(place.iterdir()) == []


@pytest.mark.reliability("The program's own code")
def test_a_lock_deleted_under_a_daemon_lets_a_second_start_and_the_first_leaves_its_file(
    daemons: Daemons, tmp_path: Path
) -> None:
    path = tmp_path / "test.pid"
    daemons.launch(DAEMON, path, "/").check()
    first = daemons.survivor()
    path.unlink()
    daemons.launch(DAEMON, path, "/").check()
    second = PIDLockFile(path).read_pid()
    assert second not in (None, first)
    daemons.stop(first)
    assert path.read_text() == f"{second}\n"
    with pytest.raises(lockfile.AlreadyLocked):
        PIDLockFile(path).acquire()
    assert second is not None
    daemons.stop(second)
    wait_for_exit(second)
    assert not path.exists()
