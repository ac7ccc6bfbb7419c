"""Signals that arrive while a program becomes a daemon, and those that it inherits."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from daemonry import DaemonContext
from harness.probe import facts_of
from harness.waiting import read_facts, read_json, wait_for
from launcher_programs import UNMEASURED

if TYPE_CHECKING:
    from harness.daemons import Daemons

AFTER_RESET = DaemonContext.steps[DaemonContext.steps.index("reset_signals") + 1 :]

# The step named by the first argument publishes its pid when it has done its work, and goes no further.
STUCK = """
    import atexit, os, signal, sys
    import daemonry
    from harness.probe import publish

    here = os.getcwd()
    name = sys.argv[1]

    class Context(daemonry.DaemonContext):
        def extra(self):
            pass

    def stick(self):
        getattr(daemonry.DaemonContext, name, Context.extra)(self) if name != "notify_ready" else None
        publish(f"{here}/pid", os.getpid())
        while True:
            signal.sigtimedwait([], 0.05)

    Stuck = type("Stuck", (Context,), {name: stick})
    if name == "extra":
        Stuck.steps = tuple(step for each in Context.steps for step in (each, "extra")[:1 + (each == "detach")])
    pidfile = daemonry.PIDLockFile(f"{here}/pidfile")
    with Stuck(pidfile=pidfile):
        publish(f"{here}/body", True)
    """


@pytest.mark.parametrize("step", AFTER_RESET)
def test_sigterm_in_any_step_ends_the_start_and_the_launcher_is_told(daemons: Daemons, step: str) -> None:
    launcher = daemons.start(STUCK, step)
    pid = read_json(daemons.directory / "pid")
    assert (daemons.directory / "pidfile").exists() == (AFTER_RESET.index(step) >= AFTER_RESET.index("lock_pidfile"))
    daemons.stop(pid)
    ended = launcher.wait().check(1)
    assert f"DaemonStartError: cannot start the daemon: step {step}: ended by SIGTERM" in ended.stderr
    assert not (daemons.directory / "pidfile").exists()
    assert not (daemons.directory / "body").exists()
    assert daemons.alive() == []


def test_sigterm_before_the_signals_are_reset_is_told_as_what_killed_the_daemon(daemons: Daemons) -> None:
    launcher = daemons.start(STUCK, "extra")
    daemons.stop(read_json(daemons.directory / "pid"))
    assert "step extra: the daemon was killed by SIGTERM" in launcher.wait().check(1).stderr
    assert daemons.alive() == []


def test_sigterm_ends_the_wait_for_a_pidfile_at_once(daemons: Daemons) -> None:
    program = """
        import os, sys
        import daemonry
        from harness.probe import publish

        class Context(daemonry.DaemonContext):
            def lock_pidfile(self):
                publish(sys.argv[1], os.getpid())
                super().lock_pidfile()

        lock = daemonry.TimeoutPIDLockFile("pidfile", 25)
        with Context(working_directory=".", pidfile=lock) as context:
            context.wait()
        """
    daemons.launch(program, "first").check()
    first = read_json(daemons.directory / "first")
    waiting = daemons.start(program, "second")
    second = read_json(daemons.directory / "second")
    wait_for(lambda: facts_of(second).state == "S", what="the second one waits")
    daemons.stop(second, timeout=4)
    assert "step lock_pidfile: ended by SIGTERM" in waiting.wait().check(1).stderr
    assert (daemons.directory / "pidfile").read_text().split() == [str(first)]
    daemons.stop(first)
    assert not (daemons.directory / "pidfile").exists()


def test_sigterm_while_the_body_makes_itself_ready_unwinds_it_and_is_told(daemons: Daemons) -> None:
    launcher = daemons.start(
        """
        import os, time
        import daemonry
        from harness.probe import publish

        lock = daemonry.PIDLockFile("pidfile")
        with daemonry.DaemonContext(working_directory=".", pidfile=lock, ready="manual") as context:
            try:
                publish("pid", os.getpid())
                time.sleep(1000)
            finally:
                publish("finally", os.path.exists("pidfile"))
        """
    )
    daemons.stop(read_json(daemons.directory / "pid"))
    ended = launcher.wait().check(1)
    assert "step body: ended by SIGTERM" in ended.stderr
    assert read_json(daemons.directory / "finally") is True
    assert not (daemons.directory / "pidfile").exists()
    assert daemons.alive() == []


def test_sigterm_at_any_moment_leaves_no_pidfile(daemons: Daemons) -> None:
    """A signal every 20 microseconds later in a start without fork: nothing of the pidfile is ever left."""
    ended = daemons.launch(
        """
        import os, signal, sys
        import daemonry

        class Context(daemonry.DaemonContext):
            def lock_pidfile(self):
                # And again, for one that meets code where Python ignores exceptions.
                signal.setitimer(signal.ITIMER_REAL, self.delay, 0.5)
                super().lock_pidfile()

        with daemonry.DaemonContext(pidfile=daemonry.PIDLockFile("public/pidfile"), detach_process=False):
            os.chdir(sys.argv[1])  # and all that a start imports is there
        outcomes = set()
        for microseconds in range(20, 1220, 20):
            pid = os.fork()
            if pid == 0:
                lock = daemonry.PIDLockFile("public/pidfile")
                context = Context(working_directory=".", pidfile=lock, detach_process=False)
                context.delay = microseconds / 1e6
                signal.signal(signal.SIGALRM, context.terminate)
                try:
                    with context:
                        context.wait()
                except BaseException as error:
                    signal.signal(signal.SIGALRM, signal.SIG_IGN)
                    os._exit(100 if type(error) is daemonry.Terminated else 1)
            outcomes.add(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
            if os.listdir("public"):
                sys.exit(f"after {microseconds} us: {os.listdir('public')}")
        print(outcomes)
        """,
        daemons.directory,
        env=UNMEASURED,
    )
    assert ended.check().stdout == "{100}\n"


@pytest.mark.parametrize("way", ["nohup", "blocked", "sigterm"])
def test_what_the_launcher_blocked_and_ignored_does_not_reach_the_daemon(daemons: Daemons, way: str) -> None:
    def ignore_and_block() -> None:
        for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
            if way == "nohup" and number != signal.SIGTERM:
                signal.signal(number, signal.SIG_IGN)
        if way == "sigterm":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if way == "blocked":
            signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())

    launcher = daemons.start(
        """
        import signal
        import daemonry
        from harness.probe import facts, publish

        before = facts()
        with daemonry.DaemonContext(working_directory=".", signal_map={}) as context:
            publish("handlers", [str(signal.getsignal(signal.SIGINT)), signal.SIGINT in before.ignored])
            publish("facts", facts())
            context.wait()
        """,
        preexec=ignore_and_block,
        restore_signals=False,
    )
    facts = read_facts(daemons.directory / "facts")
    assert facts.blocked == ()
    assert facts.ignored == (signal.SIGPIPE, signal.SIGXFSZ)
    assert set(facts.caught) >= {signal.SIGINT, signal.SIGTERM}
    handler, was_ignored = read_json(daemons.directory / "handlers")
    assert "default_int_handler" in handler
    assert was_ignored == (way == "nohup")
    assert launcher.wait().status == 0
    daemons.stop(facts.pid)


def test_a_daemon_started_by_nohup_can_be_hung_up(daemons: Daemons) -> None:
    launcher = daemons.start(
        "import daemonry\nwith daemonry.DaemonContext() as context: context.wait()", through=("nohup",)
    )
    launcher.wait().check()
    daemons.stop(daemons.survivor(), signal.SIGHUP)


def test_the_launcher_keeps_its_own_signals_when_the_start_fails(daemons: Daemons) -> None:
    daemons.launch(
        """
        import os, signal
        import daemonry

        class Context(daemonry.DaemonContext):
            def notify_ready(self):
                raise OSError(5, "no")

        def state():
            return signal.pthread_sigmask(signal.SIG_BLOCK, ()), {
                number: signal.getsignal(number) for number in signal.valid_signals()
            }

        for detach in (False, True):
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            signal.signal(signal.SIGUSR1, print)
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
            before = state()
            try:
                Context(detach_process=detach, signal_map={"USR1": None, "HUP": "terminate"}).open()
            except daemonry.DaemonStartError:
                assert state() == before, (detach, state(), before)
            else:
                os._exit(1)
        """
    ).check()


def test_a_held_off_sigterm_ends_a_start_without_fork_and_everything_is_put_back(daemons: Daemons) -> None:
    daemons.launch(
        """
        import os, signal
        import daemonry

        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        os.kill(os.getpid(), signal.SIGTERM)
        try:
            daemonry.DaemonContext(detach_process=False).open()
        except daemonry.Terminated:
            assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == {signal.SIGTERM}
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        else:
            raise AssertionError("the signal is lost")
        """
    ).check()


def test_handlers_of_the_programs_own_stay(daemons: Daemons) -> None:
    """Also SIGTERM's, when the map leaves it out; the map's take the place of those it names."""
    daemons.launch(
        """
        import os, signal
        import daemonry
        from harness.probe import publish

        def own(signum, frame):
            publish(f"own-{signum}", signum)

        for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(number, own)
        with daemonry.DaemonContext(working_directory=".", signal_map={"USR2": "request_stop"}) as context:
            publish("pid", os.getpid())
            context.wait()
        """
    ).check()
    pid = read_json(daemons.directory / "pid")
    for number in (signal.SIGTERM, signal.SIGUSR1):
        os.kill(pid, number)
        assert read_json(daemons.directory / f"own-{int(number)}") == number
    daemons.stop(pid, signal.SIGUSR2)
    assert not (daemons.directory / f"own-{int(signal.SIGUSR2)}").exists()


def test_sigterm_between_the_map_and_the_body_ends_the_start_and_a_wish_without_a_signal_is_kept(
    daemons: Daemons,
) -> None:
    """Later the map would only mark a wish; a wish made by a call of the program's own is there for the first wait."""
    daemons.launch(
        """
        import os, signal, sys
        import daemonry
        from harness.probe import publish

        class Context(daemonry.DaemonContext):
            def notify_ready(self):
                self.request_stop() if sys.argv[1] == "call" else os.kill(os.getpid(), signal.SIGTERM)
                super().notify_ready()

        for sys.argv[1:] in (["signal"], ["call"]):
            try:
                with Context(working_directory=".", signal_map={"TERM": "request_stop"}) as context:
                    publish("wished", context.wait(25))
            except daemonry.DaemonStartError as error:
                publish("told", error.message)
        """
    ).check()
    assert read_json(daemons.directory / "told") == "ended by SIGTERM"
    assert read_json(daemons.directory / "wished", timeout=5) is True
    wait_for(lambda: not daemons.alive(), what="the daemon ends")
