"""The harness itself: it finds every process that came of a test, ends it, and tells of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.daemons import Daemons, coverage_directory
from harness.probe import facts_of
from harness.waiting import is_alive, read_facts, read_json, wait_for, wait_for_exit

if TYPE_CHECKING:
    from collections.abc import Iterator

# What daemons do, without the library: nothing of it keeps the marker from being found.
LINGER = """
    import os, signal, sys
    if os.fork():
        os._exit(0)
    os.setsid()
    if os.fork():
        os._exit(0)
    os.closerange(3, 1024)
    os.chdir("/")
    os.environ.clear()
    print("up", flush=True)
    signal.pause()
"""


def linger(daemons: Daemons) -> int:
    """Start such a program and answer the pid of what stays, when it stays."""
    launcher = daemons.start(LINGER)
    launcher.wait().check()
    wait_for(lambda: "up" in launcher.stdout, what="the daemon says that it is up")
    return daemons.survivor()


@pytest.fixture
def others() -> Iterator[Daemons]:
    """Give a second instance, which the test itself closes."""
    second = Daemons()
    yield second
    second.close()


def test_what_outlives_a_test_is_killed_and_told(others: Daemons) -> None:
    pid = linger(others)
    (told,) = others.close()
    assert told.startswith(f"{pid}: S")
    assert not is_alive(pid)
    assert not others.directory.exists()


def test_what_outlives_a_test_fails_it(tmp_path: Path) -> None:
    program = tmp_path / "test_forgetful.py"
    program.write_text(f"def test_forgetful(daemons):\n    daemons.launch('''{LINGER}''').check()\n")
    tests = Path(__file__).parent
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "conftest", "-p", "no:cacheprovider", program],
        env={**os.environ, "PYTHONPATH": str(tests)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1, run.stdout
    assert "outlived the test:" in run.stdout
    assert "1 passed, 1 error" in run.stdout


def test_a_process_left_on_purpose_is_killed_and_not_told(others: Daemons) -> None:
    pid = linger(others)
    others.leave(pid)
    assert others.close() == []
    assert not is_alive(pid)


def test_a_launcher_that_runs_is_found_too(others: Daemons) -> None:
    running = others.start("import signal; signal.pause()")
    assert others.alive() == [running.pid]
    assert len(others.close()) == 1


def test_a_launcher_without_the_marker_is_found_too(others: Daemons) -> None:
    running = others.start("import signal; signal.pause()", through=("env", "-i"))
    assert others.alive() == [running.pid]
    assert len(others.close()) == 1


def test_what_is_ending_has_not_outlived_its_test(others: Daemons) -> None:
    others.start("import sys; sys.stdin.read()", stdin=subprocess.PIPE).process.stdin.close()
    assert others.close() == []


def test_a_process_without_the_marker_is_found_when_adopted(others: Daemons) -> None:
    others.launch(
        """
        import os, sys
        from harness.probe import publish
        pid = os.fork()
        if pid == 0:
            os.execve("/bin/sleep", ["sleep", "1000"], {})
        publish("pid", pid)
        """
    ).check()
    pid = read_json(others.directory / "pid")
    wait_for(lambda: facts_of(pid).comm == "sleep", what="the program runs")
    assert others.alive() == []
    others.adopt(pid)
    assert others.alive() == [pid]
    assert len(others.close()) == 1
    assert not is_alive(pid)


def test_a_daemon_that_keeps_the_output_does_not_hold_the_test(daemons: Daemons) -> None:
    pid = linger(daemons)
    assert facts_of(pid).descriptor(1).target == str(daemons.directory / "0.out")
    daemons.stop(pid)


def test_facts_are_the_same_from_inside_and_outside(daemons: Daemons) -> None:
    daemons.start(
        """
        import os, signal
        from harness.probe import facts, publish
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)
        os.umask(0o027)
        kept = os.open("/dev/null", os.O_RDONLY)
        os.dup2(kept, 9, inheritable=True)
        os.environ["LATER"] = "yes"
        publish("facts", facts())
        signal.sigwait([signal.SIGUSR1])
        """,
        env={"EARLIER": "yes", "HOME": None},
        stdin="nothing much",
    )
    inside = read_facts(daemons.directory / "facts")
    outside = facts_of(inside.pid)
    # What the program does after it has looked: it waits, and for the signal that it had blocked.
    assert inside.but(state="S", blocked=outside.blocked, environment=outside.environment) == outside.but(state="S")
    assert inside.ppid == os.getpid()
    assert inside.cwd == str(daemons.directory)
    assert inside.umask == 0o027
    assert inside.blocked == (signal.SIGUSR1,)
    assert signal.SIGUSR2 in inside.ignored
    assert signal.SIGINT in inside.caught
    assert inside.uids == (os.geteuid(),) * 4
    assert not inside.descriptor(9).close_on_exec
    assert inside.descriptor(9).target == "/dev/null"
    assert inside.descriptor(1).target == str(daemons.directory / "0.out")
    assert inside.environment["LATER"] == inside.environment["EARLIER"] == "yes"
    assert "LATER" not in outside.environment
    assert "HOME" not in outside.environment
    daemons.stop(inside.pid, signal.SIGUSR1)


@pytest.mark.root_only("it starts a program as another user")
def test_a_program_can_run_as_another_user(daemons: Daemons, ordinary_user: str) -> None:
    daemons.launch(
        """
        import os
        from harness.probe import facts, publish
        publish("public/facts", facts())
        os.fork() or os.execl("/bin/sleep", "sleep", "1000")
        """,
        user=ordinary_user,
    ).check()
    inside = read_facts(daemons.public / "facts")
    assert 0 not in (*inside.uids, *inside.gids, *inside.groups)
    assert inside.capabilities == 0
    pid = daemons.survivor()
    assert facts_of(pid).uids == inside.uids
    daemons.stop(pid)


@pytest.mark.root_only("it changes the root directory and the user")
def test_what_runs_in_a_jail_as_another_user_is_measured(others: Daemons, ordinary_user: str) -> None:
    home = coverage_directory()
    if home is None:
        pytest.skip("nothing is measured in this run: it takes scripts/test")
    jail = others.jail()
    before = set(home.iterdir())
    others.launch(
        """
        import os, pwd, sys
        import daemonry
        user = pwd.getpwnam(sys.argv[2])
        if os.fork():
            os._exit(0)
        os.closerange(3, 1024)
        os.environ.clear()
        os.chroot(sys.argv[1])
        os.chdir("/")
        os.setgroups([])
        os.setgid(user.pw_gid)
        os.setuid(user.pw_uid)
        os._exit(0)
        """,
        jail,
        ordinary_user,
    ).check()
    wait_for(lambda: not others.alive(), what="the daemon ends")
    assert others.close() == []
    written = {file.owner() for file in set(home.iterdir()) - before}
    assert ordinary_user in written


@pytest.mark.parametrize("leader", [True, False])
def test_a_terminal_that_hangs_up_ends_what_is_on_it(daemons: Daemons, leader: bool) -> None:
    terminal = daemons.terminal("import signal; print('up'); signal.pause()", leader=leader)
    terminal.read_until("up\r\n")
    (pid,) = {*daemons.alive()} - ({terminal.pid} if not leader else set())
    seen = facts_of(pid)
    assert (seen.sid, seen.pgid) == (terminal.pid, terminal.pid)
    assert seen.tty != 0
    assert seen.descriptor(0).target.startswith("/dev/pts/")
    terminal.hang_up()
    assert terminal.wait() == -signal.SIGHUP
    wait_for_exit(pid)


def test_a_terminal_is_typed_on_and_read(daemons: Daemons) -> None:
    terminal = daemons.terminal("print('hello', input('who? '))")
    terminal.read_until("who? ")
    terminal.write("world\n")
    assert terminal.wait() == 0
    assert terminal.output.endswith("hello world\r\n")


def test_waiting_in_vain_says_what_for() -> None:
    with pytest.raises(AssertionError, match="the tide turns: not in 0 s; the last answer was None"):
        wait_for(lambda: None, 0, "the tide turns")
    # pytest's own, or below pytest-xdist that of a worker.
    with pytest.raises(AssertionError, match=rf"process {os.getpid()} \(R .*python.* has not ended in 0 s"):
        wait_for_exit(os.getpid(), 0)


def test_a_launcher_that_does_not_end_is_told_with_its_words(others: Daemons) -> None:
    running = others.start("import signal; print('waiting', flush=True); signal.pause()")
    wait_for(lambda: running.stdout, what="the program speaks")
    with pytest.raises(AssertionError, match=r"has not ended in 0 s; it has said\nwaiting"):
        running.wait(timeout=0)


EVIDENT = """
import pytest
pytestmark = pytest.mark.reliability("Kind")
def test_one_thing(): pass
@pytest.mark.parametrize("n", [1, 2])
def test_several_things(cases, n): cases.add(n, "refused"); cases.add()
def test_of_which_one_fails(): assert False
def test_that_can_not_be_shown(): pytest.skip("here")
"""


def test_a_run_writes_down_what_its_tests_of_reliability_have_shown(tmp_path: Path) -> None:
    (tmp_path / "test_evident.py").write_text(EVIDENT)
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "conftest", "-p", "no:cacheprovider", "--evidence", "seen", "."],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1, run.stdout
    seen = json.loads((tmp_path / "seen").read_text())
    assert {row["sentence"]: row["verdicts"] for row in seen["rows"]} == {
        "One thing.": {"held": 1},
        "Several things.": {"held": 2, "refused": 3},
        "Of which one fails.": {"failed": 1},
        "That can not be shown.": {"not run": 1},
    }
