"""SIGTERM ends the with-block as an exception, once, and nothing cuts the clean-up short."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from daemonry import DaemonContext, Terminated
from harness.probe import status_of
from harness.reaper import through
from harness.waiting import read_json, wait_for

if TYPE_CHECKING:
    from harness.daemons import Daemons

# The detached daemon has its parent in the reaper, the other one is the first process itself.
DETACH = pytest.mark.parametrize("detach", [True, False], ids=["detached", "foreground"])

# What lies around the body takes its time: it goes on when the test has made the file that it names.
SLOW = """
    import atexit, os, sys, time
    import daemonry
    from harness.probe import publish
    from harness.waiting import wait_for

    detach, slow = sys.argv[1] == "True", sys.argv[2]

    def clean_up(place):
        if place == slow:
            publish("cleaning", place)
            wait_for(lambda: os.path.exists("go"), 25)
        publish(place, os.path.exists("pidfile"))

    class Pidfile(daemonry.PIDLockFile):
        def __exit__(self, *exc_info):
            clean_up("pidfile-exit")
            super().__exit__(*exc_info)

    class Inner:
        def __enter__(self):
            pass
        def __exit__(self, *exc_info):
            clean_up("inner-exit")

    atexit.register(clean_up, "atexit-before")
    pidfile = Pidfile("pidfile")
    with daemonry.DaemonContext(working_directory=".", pidfile=pidfile, detach_process=detach) as context:
        atexit.register(clean_up, "atexit-after")
        with Inner():
            try:
                publish("pid", os.getpid())
                context.wait()
            except daemonry.Terminated:
                clean_up("except")
                raise
            finally:
                clean_up("finally")
    publish("after", "must not be")
    """
PLACES = ("except", "finally", "inner-exit", "pidfile-exit", "atexit-after", "atexit-before")


def wait_until_delivered(pid: int, number: int) -> None:
    """Return when no signal of that number is pending any more."""

    def pending() -> int:
        status = status_of(pid)
        return (int(status["SigPnd"], 16) | int(status["ShdPnd"], 16)) >> (number - 1) & 1

    wait_for(lambda: not pending(), what=f"signal {number} is delivered")


@DETACH
@pytest.mark.parametrize("slow", PLACES)
def test_sigterm_ends_with_status_0_and_no_second_one_cuts_the_clean_up(
    daemons: Daemons, detach: bool, slow: str
) -> None:
    running = daemons.start(SLOW, detach, slow, through=through())
    pid = read_json(daemons.directory / "pid")
    assert (daemons.directory / "pidfile").read_text() == f"{pid}\n"
    os.kill(pid, signal.SIGTERM)
    assert read_json(daemons.directory / "cleaning") == slow
    for _ in range(3):
        os.kill(pid, signal.SIGTERM)
        wait_until_delivered(pid, signal.SIGTERM)
    (daemons.directory / "go").touch()
    assert running.wait().check(0).stderr == ""
    there = [place for place in PLACES if (daemons.directory / place).exists()]
    assert tuple(there) == PLACES
    assert read_json(daemons.directory / "finally") is True
    assert read_json(daemons.directory / "atexit-after") is False
    assert not (daemons.directory / "pidfile").exists()
    assert not (daemons.directory / "after").exists()


def test_what_follows_a_caught_end_is_not_cut_short_either(daemons: Daemons) -> None:
    running = daemons.start(
        """
        import os
        import daemonry
        from harness.probe import publish
        from harness.waiting import wait_for

        try:
            with daemonry.DaemonContext(working_directory=".") as context:
                publish("pid", os.getpid())
                context.wait()
        except SystemExit as error:
            publish("cleaning", [type(error).__name__, error.code, error.signum])
            wait_for(lambda: os.path.exists("go"), 25)
        publish("cleaned", True)
        """,
        through=through(),
    )
    pid = read_json(daemons.directory / "pid")
    os.kill(pid, signal.SIGTERM)
    assert read_json(daemons.directory / "cleaning") == ["Terminated", 0, signal.SIGTERM]
    os.kill(pid, signal.SIGTERM)
    wait_until_delivered(pid, signal.SIGTERM)
    (daemons.directory / "go").touch()
    running.wait().check(0)
    assert read_json(daemons.directory / "cleaned") is True


def test_a_sigterm_that_was_swallowed_can_be_sent_again(daemons: Daemons) -> None:
    """A bare except in a loop eats the first ones; the one that meets the code outside ends the daemon."""
    running = daemons.start(
        """
        import os, signal
        import daemonry
        from harness.probe import publish

        with daemonry.DaemonContext(working_directory=".", pidfile=daemonry.PIDLockFile("pidfile")):
            for number in range(3):
                try:
                    publish(f"round-{number}", os.getpid())
                    while True:
                        signal.sigtimedwait([], 0.05)
                except:
                    pass
            publish("last", True)
            while True:
                signal.sigtimedwait([], 0.05)
        """,
        through=through(),
    )
    for number in range(3):
        pid = read_json(daemons.directory / f"round-{number}")
        os.kill(pid, signal.SIGTERM)
    read_json(daemons.directory / "last")
    daemons.stop(pid)
    running.wait().check(0)
    assert not (daemons.directory / "pidfile").exists()


@pytest.mark.parametrize("signal_map", ["{}", "{'HUP': None}", "{'TERM': 'terminate'}", "None"])
def test_a_map_without_sigterm_leaves_a_daemon_that_stops_cleanly(daemons: Daemons, signal_map: str) -> None:
    running = daemons.start(
        f"""
        import os
        import daemonry
        from harness.probe import publish

        pidfile = daemonry.PIDLockFile("pidfile")
        with daemonry.DaemonContext(working_directory=".", pidfile=pidfile, signal_map={signal_map}) as context:
            try:
                publish("pid", os.getpid())
                context.wait()
            finally:
                publish("finally", True)
        """,
        through=through(),
    )
    daemons.stop(read_json(daemons.directory / "pid"))
    running.wait().check(0)
    assert read_json(daemons.directory / "finally") is True
    assert not (daemons.directory / "pidfile").exists()


def test_any_signal_can_end_the_block(daemons: Daemons) -> None:
    running = daemons.start(
        """
        import os
        import daemonry
        from harness.probe import publish

        with daemonry.DaemonContext(working_directory=".", signal_map={"HUP": "terminate"}) as context:
            try:
                publish("pid", os.getpid())
                context.wait()
            except daemonry.Terminated as error:
                publish("signum", error.signum)
                raise
        """,
        through=through(),
    )
    daemons.stop(read_json(daemons.directory / "pid"), signal.SIGHUP)
    running.wait().check(0)
    assert read_json(daemons.directory / "signum") == signal.SIGHUP


def test_a_daemon_opened_without_a_with_block_ends_by_sigterm_as_well(daemons: Daemons) -> None:
    """``open()`` and no ``close()``: the pidfile goes at the exit, which no second SIGTERM cuts short."""
    running = daemons.start(
        """
        import atexit, os
        import daemonry
        from harness.probe import publish
        from harness.waiting import wait_for

        def clean_up():
            publish("cleaning", os.path.exists("pidfile"))
            wait_for(lambda: os.path.exists("go"), 25)
            publish("cleaned", True)

        atexit.register(clean_up)
        context = daemonry.DaemonContext(working_directory=".", pidfile=daemonry.PIDLockFile("pidfile"))
        context.open()
        publish("pid", os.getpid())
        context.wait()
        """,
        through=through(),
    )
    pid = read_json(daemons.directory / "pid")
    os.kill(pid, signal.SIGTERM)
    assert read_json(daemons.directory / "cleaning") is False
    os.kill(pid, signal.SIGTERM)
    wait_until_delivered(pid, signal.SIGTERM)
    (daemons.directory / "go").touch()
    assert running.wait().check(0).stderr == ""
    assert read_json(daemons.directory / "cleaned") is True


def test_sigterm_in_any_moment_of_a_busy_body_is_not_lost(daemons: Daemons) -> None:
    """Twenty-five foreground daemons, each ended at another moment of a busy body, end with status 0."""
    daemons.launch(
        """
        import logging, os, signal, subprocess, sys
        import daemonry

        logging.basicConfig(filename="log")
        lock = daemonry.PIDLockFile("pidfile")
        with daemonry.DaemonContext(working_directory=".", pidfile=lock, detach_process=False):
            pass  # all that a start imports is there
        for microseconds in range(50, 5050, 200):
            pid = os.fork()
            if pid == 0:
                with daemonry.DaemonContext(working_directory=".", pidfile=lock, detach_process=False) as context:
                    signal.signal(signal.SIGALRM, context.terminate)
                    signal.setitimer(signal.ITIMER_REAL, microseconds / 1e6)
                    while True:
                        logging.warning("busy")
                        os.path.exists("log")
                        sorted(range(1000))
            status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            if status or os.path.exists("pidfile"):
                sys.exit(f"after {microseconds} us: {status}, {os.listdir('.')}")
        """
    ).check()


def test_a_workers_end_is_not_the_daemons(daemons: Daemons) -> None:
    """SIGTERM to a forked child ends it by the same handler, and the daemon keeps its pidfile."""
    running = daemons.start(
        """
        import os
        import daemonry
        from harness.probe import publish

        with daemonry.DaemonContext(working_directory=".", pidfile=daemonry.PIDLockFile("pidfile")) as context:
            child = os.fork()
            if child == 0:
                try:
                    publish("child", os.getpid())
                    context.wait()
                finally:
                    publish("child-finally", context.is_open)
            else:
                publish("pid", os.getpid())
                publish("status", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
                context.wait()
        """,
        through=through(),
    )
    os.kill(read_json(daemons.directory / "child"), signal.SIGTERM)
    assert read_json(daemons.directory / "status") == 0
    assert read_json(daemons.directory / "child-finally") is False
    pid = read_json(daemons.directory / "pid")
    assert (daemons.directory / "pidfile").read_text() == f"{pid}\n"
    daemons.stop(pid)
    running.wait().check(0)


def test_terminate_is_an_exit_with_status_0() -> None:
    with pytest.raises(Terminated) as caught:
        DaemonContext().terminate(signal.SIGTERM, None)
    assert isinstance(caught.value, SystemExit)
    assert (caught.value.code, caught.value.signum) == (0, signal.SIGTERM)
    again = pickle.loads(pickle.dumps(caught.value))
    assert (type(again), again.signum, again.code) == (Terminated, signal.SIGTERM, 0)


def test_terminate_does_nothing_while_an_end_is_on_its_way() -> None:
    context = DaemonContext()
    try:
        try:
            context.terminate(signal.SIGTERM, None)
        finally:
            context.terminate(signal.SIGTERM, None)
            try:
                raise OSError("of the clean-up itself")
            except OSError:
                context.terminate(signal.SIGTERM, None)
    except Terminated:
        pass
    with pytest.raises(Terminated):
        context.terminate(signal.SIGTERM, None)


def test_the_reaper_answers_a_daemons_own_end() -> None:
    """The witness of the tests above: what is left behind counts, also when a signal ended it, or it ended first."""
    for script, status in (
        ("(sleep 0.01; exit 7) & exit 0", 7),
        ("(kill -9 $(sh -c 'echo $PPID')) & exit 0", -9),
        ("(sh -c 'exit 9' &); sleep 0.05", 9),
        ("exit 4", 4),
    ):
        assert subprocess.run([*through(), "sh", "-c", script], check=False).returncode == status, sys.argv
