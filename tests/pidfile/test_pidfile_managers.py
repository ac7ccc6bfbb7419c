"""What else can be a daemon's pidfile: the lock classes of the package lockfile, and any context manager."""

from __future__ import annotations

from typing import TYPE_CHECKING

import lockfile.linklockfile
import lockfile.mkdirlockfile
import lockfile.pidlockfile
import lockfile.symlinklockfile
import pytest

from harness.waiting import read_json, wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from harness.daemons import Daemons

KINDS = {
    "LinkLockFile": "linklockfile",
    "MkdirLockFile": "mkdirlockfile",
    "SymlinkLockFile": "symlinklockfile",
    "PIDLockFile": "pidlockfile",
}

LOCKED = """
    import importlib, sys
    from daemonry import DaemonContext
    kind, module, path, timeout = sys.argv[1:]
    Lock = getattr(importlib.import_module(f"lockfile.{module}"), kind)
    lock = Lock(path, timeout=float(timeout))
    try:
        with DaemonContext(pidfile=lock) as context:
            assert lock.i_am_locking()
            context.wait()
    except OSError as error:
        import lockfile
        print(type(error).__name__, isinstance(error, lockfile.AlreadyLocked), error.step)
"""


@pytest.mark.parametrize("kind", KINDS)
def test_each_lock_class_of_lockfile_can_be_the_pidfile(daemons: Daemons, tmp_path: Path, kind: str) -> None:
    """Taken by the daemon, refused to a second one, given back at the end."""
    path = tmp_path / "test.lock"
    lock = getattr(getattr(lockfile, KINDS[kind]), kind)(str(path))
    assert daemons.launch(LOCKED, kind, KINDS[kind], path, 0).check().stdout == ""
    pid = daemons.survivor()
    assert lock.is_locked()
    if kind == "PIDLockFile":
        assert lock.read_pid() == pid
    second = daemons.launch(LOCKED, kind, KINDS[kind], path, 0).check()
    assert second.stdout == "DaemonAlreadyRunning True lock_pidfile\n"
    late = daemons.launch(LOCKED, kind, KINDS[kind], path, 0.05).check()
    assert late.stdout.endswith(" lock_pidfile\n")
    assert late.stdout.startswith("DaemonLockTimeout")
    assert daemons.alive() == [pid]
    daemons.stop(pid)
    assert not lock.is_locked()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_lock_of_lockfile_that_was_tried_in_the_launcher_can_be_taken_in_the_daemon(
    daemons: Daemons, tmp_path: Path, kind: str
) -> None:
    tried = LOCKED.replace("    try:", "    with lock:\n        assert lock.is_locked()\n    try:", 1)
    assert daemons.launch(tried, kind, KINDS[kind], tmp_path / "test.lock", 0).check().stdout == ""
    daemons.stop(daemons.survivor())
    assert list(tmp_path.iterdir()) == []


def test_a_sqlite_lock_is_refused_with_the_reason_before_anything_is_done(daemons: Daemons, tmp_path: Path) -> None:
    launched = daemons.launch(
        """
        import sys
        from lockfile.sqlitelockfile import SQLiteLockFile
        from daemonry import DaemonContext, InvalidOption
        class Mine(SQLiteLockFile):
            pass
        for kind in (SQLiteLockFile, Mine):
            try:
                DaemonContext(pidfile=kind(sys.argv[1])).open()
            except InvalidOption as error:
                print(error.option, error)
        """,
        tmp_path / "test.lock",
        python=("-W", "ignore"),
    ).check()
    reason = "SQLiteLockFile has a connection, which the closing of descriptors would cut"
    assert [line.partition("pidfile ")[2].partition("pidfile: ")[2] for line in launched.stdout.splitlines()] == [
        reason,
        reason,
    ]


def test_a_relative_pidlockfile_of_lockfile_is_refused_for_it_could_not_be_released(daemons: Daemons) -> None:
    launched = daemons.launch(
        """
        from lockfile.pidlockfile import PIDLockFile
        from daemonry import DaemonContext, InvalidOption
        try:
            DaemonContext(pidfile=PIDLockFile("relative.pid")).open()
        except InvalidOption as error:
            print(error)
        """
    ).check()
    assert "relative.pid is relative" in launched.stdout
    assert not (daemons.directory / "relative.pid").exists()


# A context manager that tells what it is given.
TELLING = """
    import os, sys
    from daemonry import DaemonContext
    from harness.probe import publish

    class Telling:
        def __init__(self):
            self.told = ["made"]

        def __enter__(self):
            self.told.append("entered")
            return self

        def __exit__(self, kind, error, trace):
            frames = []
            while trace is not None:
                frames.append(trace.tb_frame.f_code.co_name)
                trace = trace.tb_next
            self.told.append([getattr(kind, "__name__", None), repr(error), frames, os.getpid()])
            publish(sys.argv[1], self.told)

    class Kept:
        pidfile = Telling()

    def fail():
        raise KeyError("mine")
"""


@pytest.mark.parametrize(
    ("body", "kind", "error", "frames"),
    [
        ("fail()", "KeyError", "KeyError('mine')", ["<module>", "fail"]),
        ("sys.exit(3)", "SystemExit", "SystemExit(3)", ["<module>"]),
        ("os.kill(os.getpid(), 15)", "Terminated", "Terminated(0)", None),
        ("pass", None, "None", []),
        ("context.close()", None, "None", []),
    ],
    ids=["exception", "sys.exit", "SIGTERM", "nothing", "close"],
)
@pytest.mark.parametrize("detach", [True, False], ids=["daemon", "foreground"])
def test_any_context_manager_is_given_the_real_exc_info(
    daemons: Daemons, body: str, kind: str | None, error: str, frames: list[str] | None, detach: bool
) -> None:
    path = daemons.directory / "told"
    daemons.launch(
        f"""{TELLING}
    with DaemonContext(pidfile=Kept.pidfile, detach_process={detach}) as context:
        {body}
    """,
        path,
    )
    made, entered, told = read_json(path)
    assert (made, entered) == ("made", "entered")
    assert told[:2] == [kind, error]
    assert frames is None or told[2] == frames
    wait_for(lambda: daemons.alive() == [], what="the daemon ends")


def test_a_context_manager_is_left_once_with_the_error_of_a_later_step(daemons: Daemons) -> None:
    path = daemons.directory / "told"
    launched = daemons.launch(
        f"""{TELLING}
    class Failing(DaemonContext):
        def set_umask(self):
            fail()
    Failing(pidfile=Kept.pidfile).open()
    """,
        path,
    )
    assert launched.status == 1
    assert "step set_umask: KeyError: 'mine'" in launched.stderr
    assert read_json(path)[2][:2] == ["KeyError", "KeyError('mine')"]
    assert len(read_json(path)) == 3


def test_a_context_manager_that_cannot_be_entered_is_not_left(daemons: Daemons) -> None:
    path = daemons.directory / "told"
    launched = daemons.launch(
        f"""{TELLING}
    class Refusing(Telling):
        def __enter__(self):
            raise OSError(28, "no room")
    DaemonContext(pidfile=Refusing()).open()
    """,
        path,
    )
    assert launched.status == 1
    assert "step lock_pidfile: no room" in launched.stderr
    assert not path.exists()


def test_a_context_manager_may_swallow_the_exception_of_the_body(daemons: Daemons) -> None:
    launched = daemons.launch(
        """
        import contextlib, sys
        from daemonry import DaemonContext
        with DaemonContext(pidfile=contextlib.suppress(KeyError), detach_process=False):
            raise KeyError
        print("went on")
        """
    ).check()
    assert launched.stdout == "went on\n"


@pytest.mark.parametrize("pidfile", ["object()", "3", "__import__('threading').Lock"])
def test_what_is_no_context_manager_is_refused_with_advice(daemons: Daemons, pidfile: str) -> None:
    launched = daemons.launch(f"from daemonry import DaemonContext\nDaemonContext(pidfile={pidfile}).open()")
    assert launched.status == 1
    assert "pidfile: must be a path, or a context manager such as PIDLockFile(path), not" in launched.stderr
