"""A daemon is found by its pidfile for exactly as long as it runs, and asking hinders nobody."""

from __future__ import annotations

import json
import os
import pickle
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from control_programs import BECOME, sleeping, started

from daemonry.control import daemon as control
from daemonry.pidfile import PIDFileError, PIDLockFile
from harness.probe import facts_of
from harness.size import times
from harness.waiting import wait_for
from pidfile_programs import TRY, openings

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.daemons import Daemons


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "test.pid"


def same(one: control.Daemon | None, two: control.Daemon) -> bool:
    """Return whether the two are one process."""
    return one is not None and (one.pid, one.process.born, one.pidfile) == (two.pid, two.process.born, two.pidfile)


def truth_of_start(pid: int) -> float:
    """Return when a process was started by the kernel's own count, not by the library."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    uptime = float(Path("/proc/uptime").read_text().split()[0])
    return time.time() - uptime + int(fields[19]) / os.sysconf("SC_CLK_TCK")


def test_a_daemon_is_found_with_its_facts_until_it_is_stopped(daemons: Daemons, path: Path) -> None:
    """Its pid, its name, when it was started and by which pidfile."""
    before = time.time()
    assert control.find(path) is None
    found = started(daemons, path)
    assert found.pid == daemons.survivor()
    assert path.read_text() == f"{found.pid}\n"
    assert found.process.name == facts_of(found.pid).comm
    assert found.pidfile == str(path)
    assert found.is_running
    assert found.started == pytest.approx(truth_of_start(found.pid), abs=0.2)
    assert before - 0.1 < found.started <= time.time()
    daemons.stop(found.pid)
    assert control.find(path) is None
    assert not found.is_running


def test_after_a_crash_the_file_that_is_left_finds_nobody_and_is_removed_on_request(
    daemons: Daemons, path: Path
) -> None:
    found = started(daemons, path)
    assert control.remove_left_over(path) is False
    assert path.read_text() == f"{found.pid}\n"
    assert same(control.find(path), found)
    daemons.stop(found.pid, signal.SIGKILL)
    assert path.exists()
    assert control.find(path) is None
    assert path.exists(), "asking removes nothing"
    assert control.remove_left_over(path) is True
    assert not path.exists()
    assert control.remove_left_over(path) is True, "there is none any more"


@pytest.mark.parametrize("kind", [str, os.fsencode, Path, PIDLockFile, os.path.relpath], ids=lambda kind: kind.__name__)
def test_a_pidfile_is_named_by_a_path_of_any_kind_or_by_its_lock(
    daemons: Daemons, path: Path, kind: Callable[[object], object]
) -> None:
    named = kind(path)
    assert control.find(named) is None
    found = started(daemons, path)
    assert same(control.find(named), found)
    assert control.remove_left_over(named) is False
    daemons.stop(found.pid, signal.SIGKILL)
    assert control.find(named) is None
    assert control.remove_left_over(named) is True
    assert not path.exists()


@pytest.mark.reliability("Full and broken places")
def test_a_directory_that_is_missing_has_no_daemon(tmp_path: Path) -> None:
    assert control.find(tmp_path / "missing" / "test.pid") is None


def test_what_was_found_can_be_sent_to_another_process(daemons: Daemons, path: Path) -> None:
    found = started(daemons, path)
    received = pickle.loads(pickle.dumps(found))
    assert received == found
    assert received.is_running
    received.stop()
    assert not found.is_running


# Programs that were not written for it

CLOSE_IN_PYTHON = "import os, signal; os.closerange(3, 256); signal.pause()"
CLOSE_IN_SHELL = "exec 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-; exec sleep 1000"


def test_a_program_that_was_executed_is_found_by_the_pidfile_that_was_taken_for_it(
    daemons: Daemons, path: Path
) -> None:
    running = daemons.start(BECOME, path, "/bin/sleep", "1000")
    wait_for(lambda: facts_of(running.pid).comm == "sleep", what="it has become the other program")
    assert openings(running.pid, path) == []
    found = control.find(path)
    assert found is not None
    assert (found.pid, found.process.name) == (running.pid, "sleep")
    found.stop("TERM/10")
    assert running.wait().status == -signal.SIGTERM
    assert control.find(path) is None
    assert control.remove_left_over(path)


@pytest.mark.parametrize(
    "command",
    [(sys.executable, "-c", CLOSE_IN_PYTHON), ("/bin/sh", "-c", CLOSE_IN_SHELL)],
    ids=["closerange", "shell"],
)
def test_a_program_that_closes_every_descriptor_is_found(
    daemons: Daemons, path: Path, command: tuple[str, ...]
) -> None:
    running = daemons.start(BECOME, path, *command)
    wait_for(path.exists, what="the pidfile appears")
    wait_for(lambda: openings(running.pid, path) == [], what="it has closed all")
    found = control.find(path)
    assert found is not None
    assert found.pid == running.pid
    assert control.remove_left_over(path) is False
    assert daemons.launch(TRY, path).status == 1, "nobody starts beside it"
    found.stop("TERM/10")
    assert running.wait().status == -signal.SIGTERM
    assert control.find(path) is None
    daemons.launch(TRY, path).check()


FORKING = """
    import os, signal, sys
    from daemonry import DaemonContext
    from daemonry.pidfile import PIDLockFile
    with DaemonContext(pidfile=PIDLockFile(sys.argv[1])) as context:
        if os.fork() == 0:
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
            with open(sys.argv[1] + ".child", "w") as file:
                file.write(str(os.getpid()))
            signal.sigwait([signal.SIGTERM])
            os._exit(0)
        while not context.wait(60):
            pass
"""
FORKING_SHELL = 'sleep 1000 & echo $! >"$0.child"; wait'


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("kind", ["context", "shell"])
def test_children_that_outlive_a_daemon_are_not_taken_for_it_and_the_next_starts_at_once(
    daemons: Daemons, path: Path, kind: str, end: int
) -> None:
    if kind == "context":
        daemons.launch(FORKING, path).check()
    else:
        daemons.start(BECOME, path, "/bin/sh", "-c", FORKING_SHELL, path)
    child = int(wait_for(lambda: path.with_name("test.pid.child").exists() and read_text(f"{path}.child")))
    found = control.find(path)
    assert found is not None
    assert found.pid != child
    daemons.stop(found.pid, end)
    assert control.find(path) is None
    begun = time.monotonic()
    lock = PIDLockFile(path)
    lock.acquire()
    assert time.monotonic() - begun < 0.4, "as much as a start waits for one whom it can't see"
    lock.release()
    assert daemons.survivor() == child
    again = started(daemons, path)
    again.stop()
    daemons.stop(child)


def read_text(path: str) -> str:
    return Path(path).read_text().strip()


def test_a_daemon_finds_itself_and_its_lock_stays(daemons: Daemons, path: Path) -> None:
    launched = daemons.launch(
        """
        import os, sys
        from daemonry.control import daemon as control
        from daemonry.pidfile import PIDLockFile
        with PIDLockFile(sys.argv[1]) as lock:
            for _ in range(2):
                assert control.find(lock).pid == os.getpid()
        assert control.find(lock) is None
        print("found")
        """,
        path,
    ).check()
    assert launched.stdout == "found\n"


# Asking

CROWD = """
    import collections, errno, json, os, signal, sys
    from daemonry import DaemonContext
    from daemonry.control import daemon as control
    from daemonry.pidfile import PIDLockFile
    path = sys.argv[1]
    going, answers = os.pipe(), os.pipe()

    def ask():
        os.close(going[1])
        os.set_blocking(going[0], False)
        os.nice(5)  # beside them the daemons shall get to run on a small machine
        told = collections.Counter()
        while True:
            try:
                told["running" if control.find(path) else "none"] += 1
            except BaseException as error:
                told[repr(error)] += 1
            try:
                os.read(going[0], 1)
                break
            except BlockingIOError:
                pass
        os.write(answers[1], json.dumps(told).encode() + b"\\n")

    def start():
        with DaemonContext(pidfile=PIDLockFile(path), files_preserve=[]) as context:
            while not context.wait(60):
                pass

    def forked(work):
        pid = os.fork()
        if pid == 0:
            try:
                work()
                os._exit(0)
            except SystemExit as error:
                os._exit(error.code or 0)
            except BaseException as error:
                print(repr(error), file=sys.stderr, flush=True)
                os._exit(1)
        return pid

    askers = [forked(ask) for _ in range(20)]
    failed = []
    for number in range(int(sys.argv[2])):
        if os.waitpid(forked(start), 0)[1]:
            failed.append(number)
            continue
        daemon = control.find(path)
        daemon.stop("KILL/30" if number % 5 == 4 else "TERM/30")
        assert control.find(path) is None
    os.close(going[1])
    for pid in askers:
        assert os.waitpid(pid, 0)[1] == 0
    os.close(answers[1])
    told = sum((collections.Counter(json.loads(line)) for line in os.fdopen(answers[0])), collections.Counter())
    print(json.dumps([failed, told]))
"""


def test_twenty_who_ask_make_no_start_fail_and_get_an_answer_each_time(daemons: Daemons, path: Path) -> None:
    starts = times(50, 5)  # every fifth ends by a crash
    launched = daemons.launch(CROWD, path, starts, plain=True, timeout=300).check()
    failed, told = json.loads(launched.stdout)
    print(f"asked beside {starts} starts and stops: {told}")
    assert failed == [], launched.stderr
    assert set(told) == {"running", "none"}


# Those that can't be asked


@pytest.mark.reliability("Full and broken places")
def test_a_place_that_is_no_directory_is_told_of(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(control.ControlError, match="Not a directory") as caught:
        control.find(tmp_path / "file" / "test.pid")
    assert caught.value.pidfile == f"{tmp_path}/file/test.pid"
    with pytest.raises(PIDFileError):
        control.remove_left_over(tmp_path / "file" / "test.pid")


@pytest.mark.root_only("the file belongs to root")
def test_a_file_that_this_user_may_not_read_is_told_of(daemons: Daemons) -> None:
    path = daemons.directory / "test.pid"
    path.write_text("1\n")
    path.chmod(0o600)
    launched = daemons.launch(
        """
        import errno, sys
        from daemonry.control import daemon as control
        try:
            control.find(sys.argv[1])
        except control.ControlError as error:
            assert error.errno == errno.EACCES and error.pidfile == sys.argv[1]
            print(error)
        """,
        path,
        user="nobody",
    ).check()
    assert launched.stdout == (
        f"cannot tell by {path}: Permission denied; this user may not open the file that is there\n"
    )


def test_a_living_process_that_a_foreign_pidfile_names_is_told_as_a_doubt(path: Path) -> None:
    """A daemon of another make: it may run, so it is not said that none does, and it is not signalled."""
    with sleeping() as stranger:
        path.write_text(f"{stranger}\n")
        path.chmod(0o644)
        later = time.time() + 0.5  # the file's own time may be that of the tick before the process
        os.utime(path, (later, later))
        assert control.find(path) is None
        with pytest.raises(control.ControlError, match=f"it names process {stranger} .*nothing shows") as caught:
            control.find_surely(path)
        assert caught.value.pid == stranger
        os.utime(path, (1, 1))  # older than the process: whoever wrote it meant another one
        assert control.find_surely(path) is None


def test_what_is_found_surely_is_what_is_found(daemons: Daemons, path: Path) -> None:
    assert control.find_surely(path) is None
    found = started(daemons, path)
    assert same(control.find_surely(path), found)
    found.stop()
    assert control.find_surely(path) is None
