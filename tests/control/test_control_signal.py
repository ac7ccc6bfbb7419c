"""A signal reaches the very process that was found, as long as the pidfile is its own, and nobody else."""

from __future__ import annotations

import pickle
import signal
from pathlib import Path

import pytest
from control_programs import DAEMON, TELLING, WAYS, started, told

from daemonry.control import daemon as control
from daemonry.system.expected import expects
from harness.daemons import Daemons
from harness.waiting import wait_for


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "test.pid"


def test_a_signal_arrives_and_reload_is_sighup(daemons: Daemons, path: Path) -> None:
    found = started(daemons, path, TELLING)
    found.signal(signal.SIGUSR1)
    wait_for(lambda: told(path) == "SIGUSR1 ")
    found.signal(int(signal.SIGUSR2))
    wait_for(lambda: told(path) == "SIGUSR1 SIGUSR2 ")
    found.reload()
    wait_for(lambda: told(path) == "SIGUSR1 SIGUSR2 SIGHUP ")
    found.signal(0)
    assert found.is_running
    found.signal(signal.SIGTERM)
    assert found.wait(10)
    assert told(path) == "SIGUSR1 SIGUSR2 SIGHUP "


@pytest.mark.parametrize("signal_map", ["None", '{"HUP": None, "TERM": "terminate"}'])
def test_reload_never_ends_a_daemon_that_does_not_expect_it(daemons: Daemons, path: Path, signal_map: str) -> None:
    """It is refused, with what to do; a signal that is asked for by its name is sent all the same."""
    found = started(daemons, path, DAEMON.replace("argv[1])", f"argv[1]), signal_map={signal_map}"))
    with pytest.raises(control.ControlError, match="no handler for SIGHUP, which would end it or do nothing") as told:
        found.reload()
    assert (told.value.pid, told.value.pidfile, told.value.errno) == (found.pid, found.pidfile, None)
    assert found.is_running
    found.signal(signal.SIGTERM)
    assert found.wait(10)


@pytest.mark.parametrize("waits", ["signal.sigwait([1])", "pass\n    while not signal.sigpending(): time.sleep(0.01)"])
def test_reload_reaches_a_daemon_that_takes_its_signals_when_it_likes(daemons: Daemons, path: Path, waits: str) -> None:
    """By sigwait(3), or signalfd(2): it holds them off, and has no handler."""
    body = f"signal.pthread_sigmask(signal.SIG_BLOCK, [1]); open(sys.argv[1] + '.told', 'w').close(); {waits}"
    program = "".join(
        (
            "import signal, sys, time\nfrom daemonry import DaemonContext\nfrom daemonry.pidfile import PIDLockFile\n",
            f"with DaemonContext(pidfile=PIDLockFile(sys.argv[1])):\n    {body}\n",
        )
    )
    found = started(daemons, path, program)
    wait_for(lambda: Path(f"{path}.told").exists() and expects(found.pid, signal.SIGHUP) is not False)
    found.reload()
    assert found.wait(10)


def test_what_nobody_can_be_asked_is_not_known() -> None:
    assert expects(2**22 + 1, signal.SIGHUP) is None


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_a_daemon_that_has_ended_gets_no_signal_nor_does_its_successor(
    daemons: Daemons, path: Path, way: str, end: int
) -> None:
    """Neither when the pidfile is gone or left over nor when another daemon has taken it."""
    program = f"""
        {WAYS[way]}
        import pickle, signal, sys
        from daemonry.control import daemon as control
        from daemonry.system import process
        found = pickle.loads(sys.stdin.buffer.read())
        for act in (found.reload, lambda: found.signal(signal.SIGTERM), lambda: found.signal(signal.SIGKILL)):
            try:
                act()
            except control.NotRunning as error:
                assert isinstance(error, ProcessLookupError)
                assert (error.pid, error.pidfile) == (found.pid, found.pidfile)
                assert str(error) == f"{{found.process}} has ended", error
            else:
                sys.exit("it was sent")
        found.stop()
        assert found.wait() and found.wait(0) and not found.is_running
        """
    first = started(daemons, path)
    daemons.stop(first.pid, end)
    daemons.launch(program, stdin=pickle.dumps(first)).check()
    second = started(daemons, path, TELLING)
    daemons.launch(program, stdin=pickle.dumps(first)).check()
    assert told(path) == ""
    assert second.is_running
    second.stop("TERM/10")


def test_a_daemon_whose_pidfile_another_has_taken_gets_no_signal_though_it_runs(daemons: Daemons, path: Path) -> None:
    first = started(daemons, path, TELLING)
    path.unlink()
    with pytest.raises(control.NotRunning, match=r"runs, but .*test\.pid is not its own any more"):
        first.signal(signal.SIGKILL)
    second = started(daemons, path, TELLING)
    with pytest.raises(control.NotRunning, match=r"runs, but .*test\.pid is not its own any more"):
        first.reload()
    assert first.is_running
    assert second.is_running
    assert told(path) == ""
    daemons.stop(first.pid)
    assert control.find(path) is not None, "its end leaves the successor's file"
    second.stop()


@pytest.mark.root_only("the daemon is root's, and nobody asks")
@pytest.mark.parametrize("way", WAYS)
def test_another_user_who_may_not_signal_it_is_told_so(daemons: Daemons, way: str) -> None:
    found = started(daemons, daemons.directory / "test.pid", TELLING)
    launched = daemons.launch(
        f"""
        {WAYS[way]}
        import errno, signal, sys
        from daemonry.control import daemon as control
        from daemonry.system import process
        found = control.find(sys.argv[1])
        assert found.is_running and not found.wait(0)
        for act in (found.reload, found.stop, lambda: found.signal(35)):
            try:
                act()
            except control.ControlError as error:
                assert error.errno == errno.EPERM and error.pid == found.pid and error.pidfile == sys.argv[1]
                print(error)
        """,
        found.pidfile,
        user="nobody",
    ).check()
    assert launched.stdout.splitlines() == [
        f"cannot send {name} to {found.process}: it is another user's; ask as that user, or as root"
        for name in ("SIGHUP", "SIGTERM", "signal 35")
    ]
    assert found.is_running
    assert told(Path(found.pidfile)) == ""
    found.stop()
