"""Signals to the launcher, to the witness and to the daemon while it starts; what is left, and who dies of what."""

from __future__ import annotations

import errno
import os
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest

from harness.probe import facts_of
from harness.waiting import is_alive, read_json, wait_for, wait_for_exit
from launcher_programs import IMPATIENT, UNMEASURED, failing, program

if TYPE_CHECKING:
    from harness.daemons import Daemons, Running

# A daemon that says that it has come to its body, and isn't ready before it is told so by SIGUSR1.
HALF = """
    PRELUDE
    with Context(working_directory=".", pidfile=daemonry.PIDLockFile("pid"), ready="manual") as context:
        signal.signal(signal.SIGUSR1, lambda *_: context.request_stop())
        publish("half", {"pid": os.getpid(), "witness": os.getppid()})
        context.wait()
        context.ready()
        publish("ready", facts())
        while True:
            signal.sigtimedwait([], 0.05)
"""


def half_start(daemons: Daemons, prelude: str = "pass", **options: Any) -> tuple[Running, int, int]:
    """Start a program and wait until its daemon is half-started; answer launcher, witness and daemon."""
    running = daemons.start(program(HALF.replace("PRELUDE", prelude)), **options)
    half = read_json(daemons.directory / "half")
    return running, half["witness"], half["pid"]


def gets_ready(daemons: Daemons, pid: int) -> None:
    """Let a half-started daemon get ready, and end it."""
    os.kill(pid, signal.SIGUSR1)
    seen = read_json(daemons.directory / "ready")
    assert seen["pid"] == pid
    assert daemons.survivor() == pid
    # Where the launcher lives it waits for that; else nobody does.
    wait_for(lambda: facts_of(pid).ppid == 1, what="its parent during the start has left it to init")
    daemons.stop(pid)
    assert not (daemons.directory / "pid").exists()


def pipes_of(pid: int) -> set[str]:
    return {found.target for found in facts_of(pid).descriptors if found.target.startswith("pipe:")}


def is_gone(daemons: Daemons, *pids: int) -> None:
    assert daemons.alive() == []
    assert not any(map(is_alive, pids))
    assert not (daemons.directory / "pid").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
@pytest.mark.parametrize("disposition", ["pass", "signal.signal(signal.{}, signal.SIG_DFL)"])
def test_a_signal_that_ends_the_launcher_ends_the_half_started_daemon(
    daemons: Daemons, number: signal.Signals, disposition: str
) -> None:
    """And the launcher dies of that very signal, so that its parent sees it."""
    running, witness, pid = half_start(daemons, disposition.format(number.name))
    running.signal(number)
    running.wait().check(-number)
    is_gone(daemons, witness, pid)


def test_timeout_ends_the_half_started_daemon(daemons: Daemons) -> None:
    """Timeout(1) sends SIGTERM twice, to its child and to its group."""
    running, witness, pid = half_start(daemons, through=("timeout", "60"))
    running.signal(signal.SIGALRM)  # as its own clock would
    running.wait().check(124)
    is_gone(daemons, witness, pid)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_second_signal_does_not_keep_the_launcher_from_ending_the_start(
    daemons: Daemons, number: signal.Signals
) -> None:
    running, witness, pid = half_start(daemons, env=UNMEASURED)
    deadline = time.monotonic() + 20
    while running.process.poll() is None and time.monotonic() < deadline:
        running.signal(number)
    running.wait().check(-number)
    is_gone(daemons, witness, pid)


def test_ctrl_c_can_be_caught_when_the_start_is_ended(daemons: Daemons) -> None:
    text = program("""
        try:
            with Context(working_directory=".", pidfile=daemonry.PIDLockFile("pid"), ready="manual") as context:
                publish("half", {"pid": os.getpid(), "witness": os.getppid()})
                signal.pause()
        except KeyboardInterrupt:
            publish("caught", {"children": children(), "handler": str(signal.getsignal(signal.SIGTERM))})
        print("after")
    """)
    running = daemons.start(text)
    half = read_json(daemons.directory / "half")
    running.signal(signal.SIGINT)
    assert running.wait().check().stdout == "after\n"
    assert read_json(daemons.directory / "caught") == {"children": None, "handler": str(signal.SIG_DFL)}
    is_gone(daemons, half["pid"], half["witness"])


def test_a_launchers_own_handler_that_raises_ends_the_start(daemons: Daemons) -> None:
    running, witness, pid = half_start(daemons, "signal.signal(signal.SIGTERM, lambda *_: sys.exit(5))")
    running.signal(signal.SIGTERM)
    running.wait().check(5)
    is_gone(daemons, witness, pid)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR2], ids=lambda number: number.name)
def test_a_launchers_own_handler_that_returns_does_not_end_the_start(daemons: Daemons, number: signal.Signals) -> None:
    running, _, pid = half_start(
        daemons, f"signal.signal({int(number)}, lambda *_: print('heard', file=sys.stderr, flush=True))"
    )
    running.signal(number)
    wait_for(lambda: "heard\n" in running.stderr)
    assert running.process.poll() is None
    gets_ready(daemons, pid)
    running.wait().check()


def test_a_signal_that_the_launcher_ignores_or_blocks_does_not_end_the_start(daemons: Daemons) -> None:
    running, _, pid = half_start(
        daemons,
        "signal.signal(signal.SIGTERM, signal.SIG_IGN);signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])",
    )
    assert signal.SIGTERM in facts_of(running.pid).ignored
    assert signal.SIGINT in facts_of(running.pid).blocked
    running.signal(signal.SIGTERM)
    running.signal(signal.SIGINT)
    gets_ready(daemons, pid)
    running.wait().check()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGHUP, signal.SIGQUIT], ids=lambda number: number.name)
@pytest.mark.parametrize("sigpipe", ["pass", "signal.signal(signal.SIGPIPE, signal.SIG_DFL)"])
def test_a_launcher_that_dies_otherwise_does_not_end_the_start(
    daemons: Daemons, number: signal.Signals, sigpipe: str
) -> None:
    """Whatever SIGPIPE would do: nobody reads the daemon's reports any more."""
    running, witness, pid = half_start(daemons, sigpipe)
    running.signal(number)
    running.wait().check(-number)
    assert is_alive(witness)
    gets_ready(daemons, pid)
    wait_for(lambda: not is_alive(witness))


def test_a_start_that_fails_after_its_launcher_leaves_nothing_either(daemons: Daemons) -> None:
    running, witness, pid = half_start(daemons)
    running.signal(signal.SIGKILL)
    running.wait()
    os.kill(pid, signal.SIGTERM)
    wait_for_exit(witness)
    is_gone(daemons, witness, pid)


@pytest.mark.parametrize("sigpipe", ["pass", "signal.signal(signal.SIGPIPE, signal.SIG_DFL)"])
def test_a_witness_that_is_killed_does_not_end_the_start(daemons: Daemons, sigpipe: str) -> None:
    running, witness, pid = half_start(daemons, sigpipe)
    os.kill(witness, signal.SIGKILL)
    wait_for_exit(witness)
    gets_ready(daemons, pid)
    running.wait().check()
    assert not is_alive(witness)


def test_the_launcher_leaves_when_the_witness_is_gone_and_not_before(daemons: Daemons) -> None:
    """The body goes on at once: a large program's witness takes as long to end as it took to fork."""
    running, witness, pid = half_start(daemons)
    os.kill(witness, signal.SIGSTOP)
    wait_for(lambda: facts_of(witness).state == "T")
    os.kill(pid, signal.SIGUSR1)
    assert read_json(daemons.directory / "ready")["ppid"] == witness
    assert running.process.poll() is None
    os.kill(witness, signal.SIGCONT)
    running.wait().check()
    assert not is_alive(witness)
    assert facts_of(pid).ppid == 1
    daemons.stop(pid)


def test_ctrl_c_in_the_moment_of_the_fork_is_told_and_the_daemon_runs_nothing_of_the_programs(daemons: Daemons) -> None:
    """What stands around the with-block is the launcher's to run, and nobody runs it twice."""
    text = """
        def strike():
            if os.getsid(0) == os.getppid():  # the daemon, and not yet the witness, who leads the session
                os.kill(os.getpid(), signal.SIGINT)

        os.register_at_fork(after_in_child=strike)
        before = snapshot()
        try:
            with Context(working_directory="."):
                raise SystemExit("not reached")
        except daemonry.DaemonStartError as error:
            tell("told", error, before=before, after=snapshot())
        finally:
            with open("ends", "a") as ends:
                print(os.getpid(), file=ends)
        """
    launched = daemons.launch(program(text), env=UNMEASURED).check()
    told = read_json(daemons.directory / "told")
    assert (told["step"], told["message"]) == ("detach", "KeyboardInterrupt")
    assert (daemons.directory / "ends").read_text() == f"{launched.pid}\n"
    assert told["after"] == told["before"]


def test_a_signal_does_not_keep_the_daemon_from_telling_why_it_failed(daemons: Daemons) -> None:
    work = """
        class Error(Exception):
            def __str__(self):
                os.kill(os.getpid(), signal.SIGTERM)
                return "the reason"
        raise Error
    """
    daemons.launch(failing(work)).check()
    assert read_json(daemons.directory / "told")["message"] == "Error: the reason"


WORK_AND_LEAVE = """
    publish("half", {"pid": os.getpid(), "witness": os.getppid()})
    worker = os.fork()
    if worker == 0:
        signal.pause()
    signal.pause()
"""


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (signal.SIGTERM, {"message": "ended by SIGTERM", "signum": None}),
        (signal.SIGKILL, {"message": "the process that watches over the start was killed by SIGKILL", "signum": None}),
    ],
    ids=["SIGTERM", "SIGKILL"],
)
def test_a_start_without_its_witness_is_ended_with_its_workers(
    daemons: Daemons, number: signal.Signals, expected: dict[str, object]
) -> None:
    """SIGTERM to the witness ends the start; when the witness is killed, the daemon's end does."""
    running = daemons.start(failing(WORK_AND_LEAVE))
    half = read_json(daemons.directory / "half")
    os.kill(half["witness"], number)
    if number == signal.SIGKILL:
        os.kill(half["pid"], signal.SIGKILL)
        (daemons.directory / "pid").unlink()
    running.wait().check()
    told = read_json(daemons.directory / "told")
    assert told["step"] == "begin_work"
    assert {name: told[name] for name in expected} == expected
    assert (told["children"], told["after"]) == (None, told["before"])
    is_gone(daemons, half["witness"], half["pid"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGTSTP])
def test_a_witness_heeds_no_other_signal(daemons: Daemons, number: signal.Signals) -> None:
    running, witness, pid = half_start(daemons)
    os.kill(witness, number)
    os.kill(witness, signal.SIGCHLD)
    wait_for(lambda: facts_of(witness).state == "S")
    gets_ready(daemons, pid)
    running.wait().check()


def test_sigterm_to_the_daemon_ends_its_start(daemons: Daemons) -> None:
    running, witness, pid = half_start(daemons)
    os.kill(pid, signal.SIGTERM)
    assert "step body: ended by SIGTERM" in running.wait().check(1).stderr
    is_gone(daemons, witness, pid)


def test_a_stopped_launcher_does_not_stop_the_daemon(daemons: Daemons) -> None:
    """The body goes on as soon as it is ready; the launcher exits when it is continued."""
    running, _, pid = half_start(daemons)
    running.signal(signal.SIGSTOP)
    wait_for(lambda: facts_of(running.pid).state == "T")
    os.kill(pid, signal.SIGUSR1)
    read_json(daemons.directory / "ready")
    wait_for(lambda: facts_of(pid).ppid == 1)
    assert running.process.poll() is None
    running.signal(signal.SIGCONT)
    running.wait().check()
    daemons.stop(pid)


def test_a_launcher_that_is_continued_too_late_does_not_end_the_start(daemons: Daemons) -> None:
    """What was said in time counts: the daemon got ready while nobody listened."""
    begun = time.monotonic()
    running, _, pid = half_start(daemons, "Context.__init__ = partialmethod(Context.__init__, start_timeout=2)")
    running.signal(signal.SIGSTOP)
    os.kill(pid, signal.SIGUSR1)
    read_json(daemons.directory / "ready")
    wait_for(lambda: time.monotonic() > begun + 3)
    running.signal(signal.SIGCONT)
    running.wait().check()
    daemons.stop(pid)


@pytest.mark.parametrize(
    "how",
    [
        "signal.signal(signal.SIGCHLD, signal.SIG_IGN)",
        "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])",
        "signal.signal(signal.SIGCHLD, lambda *_: os.waitpid(-1, os.WNOHANG))",
        "signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())",
    ],
    ids=["ignored", "blocked", "waited for", "all blocked"],
)
def test_the_launcher_knows_whatever_it_does_with_sigchld(daemons: Daemons, how: str) -> None:
    """And what it did is as before when the start has failed; another start gets ready."""
    daemons.launch(failing("os.kill(os.getpid(), signal.SIGKILL)", before=how)).check()
    told = read_json(daemons.directory / "told")
    assert (told["step"], told["signum"]) == ("begin_work", signal.SIGKILL)
    assert (told["children"], told["after"]) == (None, told["before"])
    assert daemons.alive() == []
    running, _, pid = half_start(daemons, how)
    gets_ready(daemons, pid)
    running.wait().check()


def test_a_thread_that_waits_for_any_child_does_not_confuse_the_launcher(daemons: Daemons) -> None:
    before = """
        def reap():
            while True:
                try:
                    os.waitpid(-1, 0)
                except ChildProcessError:
                    time.sleep(0.0005)
        import warnings
        warnings.simplefilter("ignore")
        threading.Thread(target=reap, daemon=True).start()
    """
    daemons.launch(failing("os.kill(os.getppid(), signal.SIGKILL); os._exit(3)", before=before)).check()
    told = read_json(daemons.directory / "told")
    assert told["step"] == "begin_work"
    assert daemons.alive() == []


def test_a_daemon_that_does_not_heed_sigterm_is_killed(daemons: Daemons) -> None:
    work = """
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if os.fork() == 0:
            signal.pause()
        while True:
            signal.sigtimedwait([], 0.05)
    """
    daemons.launch(failing(work, before=IMPATIENT, options="start_timeout=0.75")).check()
    told = read_json(daemons.directory / "told")
    assert (told["step"], told["errno"], told["survivors"]) == ("begin_work", errno.ETIMEDOUT, [])
    assert told["traceback"] is None
    assert daemons.alive() == []


def test_a_stopped_daemon_is_ended(daemons: Daemons) -> None:
    daemons.launch(
        failing("os.kill(os.getpid(), signal.SIGSTOP)", before=IMPATIENT, options="start_timeout=0.75")
    ).check()
    assert read_json(daemons.directory / "told")["errno"] == errno.ETIMEDOUT
    assert daemons.alive() == []
