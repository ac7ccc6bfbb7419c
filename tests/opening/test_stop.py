"""The second way to stop: a wish that interrupts nothing, and a wait that it ends at once."""

from __future__ import annotations

import os
import signal
import statistics
import threading
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemonry import DaemonContext
from harness.probe import facts_of, status_of
from harness.reaper import through
from harness.waiting import read_json, wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from harness.daemons import Daemons

# A loop of rounds; each takes its time in two halves, and goes on when the test has made its file.
ROUNDS = """
    import os, sys, time
    import daemonry
    from harness.probe import publish
    from harness.waiting import wait_for

    pause = eval(sys.argv[1])
    signal_map = {"TERM": "request_stop", "HUP": "request_stop"}
    lock = daemonry.PIDLockFile("pidfile")
    number = 0
    with daemonry.DaemonContext(working_directory=".", pidfile=lock, signal_map=signal_map) as context:
        publish("pid", os.getpid())
        while not context.wait(pause if number else 0):
            number += 1
            with open("rounds", "a") as file:
                file.write(f"begin {number}\\n")
                file.flush()
                wait_for(lambda: os.path.exists(f"go-{number}"), 25)
                file.write(f"end {number}\\n")
        publish("stopped", time.monotonic())
    """


def voluntary_switches(pid: int) -> int:
    """Return how often a process has given up the processor by itself, in all its threads."""
    return int(status_of(pid)["voluntary_ctxt_switches"])


def asleep(pid: int) -> bool:
    """Whether a process waits in the kernel for a descriptor."""
    return facts_of(pid).state == "S" and any("pipe:" in each.target for each in facts_of(pid).descriptors)


@pytest.mark.parametrize("pause", ["None", "60", "1e9", "float('inf')"])
def test_a_wait_returns_at_once_when_a_signal_asks_to_stop(daemons: Daemons, pause: str) -> None:
    (daemons.directory / "go-1").touch()
    running = daemons.start(ROUNDS, pause, through=through())
    pid = read_json(daemons.directory / "pid")
    wait_for(lambda: (daemons.directory / "rounds").exists() and asleep(pid), what="it waits")
    asked = time.monotonic()
    os.kill(pid, signal.SIGTERM)
    # One clock for all processes of a machine.
    assert read_json(daemons.directory / "stopped") - asked < 0.05
    running.wait().check(0)
    assert not (daemons.directory / "pidfile").exists()
    assert (daemons.directory / "rounds").read_text() == "begin 1\nend 1\n"


def test_a_round_of_work_is_never_cut(daemons: Daemons) -> None:
    """Wishes by two signals in the middle of a round: it is done to its end, and no other begins."""
    (daemons.directory / "go-1").touch()
    running = daemons.start(ROUNDS, "0", through=through())
    rounds = daemons.directory / "rounds"
    wait_for(lambda: rounds.exists() and "begin 2" in rounds.read_text(), what="the second round")
    pid = read_json(daemons.directory / "pid")
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGTERM):
        os.kill(pid, number)
    wait_for(lambda: not int(status_of(pid)["ShdPnd"], 16), what="the signals have come")
    (daemons.directory / "go-2").touch()
    running.wait().check(0)
    assert rounds.read_text() == "begin 1\nend 1\nbegin 2\nend 2\n"


def test_waiting_neither_polls_nor_takes_a_thread(daemons: Daemons) -> None:
    daemons.start(ROUNDS, "None").wait().check()
    (daemons.directory / "go-1").touch()
    pid = read_json(daemons.directory / "pid")
    wait_for(lambda: asleep(pid), what="it waits")
    before = voluntary_switches(pid)
    deadline = time.monotonic() + 1
    seen = wait_for(lambda: time.monotonic() > deadline and [voluntary_switches(pid)], what="a second passes")
    assert seen == [before]
    assert os.listdir(f"/proc/{pid}/task") == [str(pid)]
    daemons.stop(pid)


def test_a_wait_that_is_long_over_was_made_by_the_clock_alone(daemons: Daemons) -> None:
    """Other signals in between, also some whose handlers take time, neither end a wait nor make it longer."""
    daemons.launch(
        """
        import os, signal, time
        import daemonry
        from harness.probe import publish

        context = daemonry.DaemonContext(working_directory=".", signal_map={"TERM": "request_stop"})
        caught = []
        signal.signal(signal.SIGALRM, lambda *_: caught.append(1))
        with context:
            signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
            before = time.monotonic()
            answer = context.wait(0.4)
            publish("result", [answer, time.monotonic() - before, len(caught)])
            signal.setitimer(signal.ITIMER_REAL, 0)
        """
    ).check()
    answer, seconds, signals = read_json(daemons.directory / "result")
    assert answer is False
    assert 0.4 <= seconds < 1
    assert signals >= 10
    wait_for(lambda: not daemons.alive(), what="the daemon ends")


@given(st.one_of(st.just(0), st.floats(max_value=0), st.integers(max_value=0), st.just(float("nan"))))
def test_no_time_or_less_is_no_wait(seconds: float) -> None:
    context = DaemonContext()
    assert context.wait(seconds) is False
    context.request_stop()
    assert context.wait(seconds) is True


def test_a_short_wait_is_as_long_as_asked() -> None:
    context = DaemonContext()
    before = time.monotonic()
    assert context.wait(0.05) is False
    assert 0.05 <= time.monotonic() - before < 0.5


@given(st.one_of(st.none(), st.floats(), st.integers(-(10**20), 10**20)), st.integers(1, 3))
def test_a_wish_made_before_the_wait_stays_made(seconds: float | None, times: int) -> None:
    context = DaemonContext()
    for _ in range(times):
        context.request_stop()
    assert [context.wait(seconds), context.wait(seconds)] == [True, True]


def test_the_wait_reacts_at_once_to_a_wish_from_a_thread() -> None:
    delays = []
    for _ in range(5):
        context = DaemonContext()
        assert context.wait(0.001) is False
        asked: list[float] = []

        def ask(context: DaemonContext = context, asked: list[float] = asked) -> None:
            asked.append(time.monotonic())
            context.request_stop()

        timer = threading.Timer(0.01, ask)
        timer.start()
        assert context.wait(60) is True
        delays.append(time.monotonic() - asked[0])
        timer.join()
    assert statistics.median(delays) < 0.05


def test_all_threads_that_wait_are_woken() -> None:
    """Also when all of them are the first to wait."""
    for _ in range(50):
        context = DaemonContext()
        together = threading.Barrier(9)
        answers: list[bool] = []

        def wait(
            context: DaemonContext = context, together: threading.Barrier = together, answers: list[bool] = answers
        ) -> None:
            together.wait()
            answers.append(context.wait(20))

        threads = [threading.Thread(target=wait) for _ in range(8)]
        for thread in threads:
            thread.start()
        together.wait()
        context.request_stop()
        for thread in threads:
            thread.join(10)
        assert answers == [True] * 8


def test_more_wishes_than_a_pipe_holds_do_not_block(daemons: Daemons) -> None:
    daemons.launch(
        """
        import daemonry
        context = daemonry.DaemonContext()
        assert context.wait(0.001) is False
        for _ in range(70_000):
            context.request_stop()
        assert context.wait() is True
        """
    ).check()


def test_forks_do_not_share_the_wake_up(daemons: Daemons) -> None:
    """A wish in the daemon wakes no child, and a child's wakes nobody else; each has a pipe of its own."""
    daemons.launch(
        """
        import os
        import daemonry
        from harness.probe import publish

        with daemonry.DaemonContext(working_directory=".", signal_map={"TERM": "request_stop"}) as context:
            context.wait(0.001)
            children = []
            for number in range(2):
                child = os.fork()
                if child == 0:
                    pipes = [each for each in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{each}")]
                    publish(f"inherited-{number}", [os.readlink(f"/proc/self/fd/{each}") for each in pipes])
                    publish(f"answer-{number}", context.wait(25))
                    os._exit(0)
                children.append(child)
            publish("pids", [os.getpid(), *children])
            publish("answer-daemon", context.wait(25))
            for child in children:
                os.waitpid(child, 0)
        """
    ).check()
    daemon, *children = read_json(daemons.directory / "pids")
    for number in range(2):
        assert not [target for target in read_json(daemons.directory / f"inherited-{number}") if "pipe:" in target]
    for pid in (daemon, *children):
        wait_for(lambda pid=pid: asleep(pid), what=f"{pid} waits")
    pipes = [
        {each.target for each in facts_of(pid).descriptors if "pipe:" in each.target} for pid in (daemon, *children)
    ]
    assert len(set.union(*pipes)) == sum(map(len, pipes))
    switches = {pid: voluntary_switches(pid) for pid in (daemon, children[1])}
    daemons.stop(children[0])
    assert read_json(daemons.directory / "answer-0") is True
    assert switches == {pid: voluntary_switches(pid) for pid in (daemon, children[1])}
    os.kill(daemon, signal.SIGTERM)
    assert read_json(daemons.directory / "answer-daemon") is True
    assert facts_of(children[1]).state == "S"
    daemons.stop(children[1])
    wait_for(lambda: not daemons.alive(), what="the daemon ends")


def test_a_wake_up_made_before_the_start_serves_the_daemon_too(daemons: Daemons) -> None:
    """The pipe of a wait in the launcher is not the daemon's, and the closing of descriptors breaks neither."""
    for detach in (True, False):
        directory = daemons.directory / str(detach)
        directory.mkdir()
        daemons.start(
            f"""
            import os
            import daemonry
            from harness.probe import publish

            context = daemonry.DaemonContext(working_directory="{directory}", signal_map={{"TERM": "request_stop"}})
            context.detach_process = {detach}
            assert context.wait(0.001) is False
            with context:
                publish("pid", os.getpid())
                publish("answer", context.wait(25))
            """
        )
        ask_to_stop(daemons, directory)
    wait_for(lambda: not daemons.alive(), what="both end")


def ask_to_stop(daemons: Daemons, directory: Path) -> None:
    """Stop a daemon that waits, and see that the wish ended the wait."""
    pid = read_json(directory / "pid")
    wait_for(lambda: asleep(pid), what="it waits")
    daemons.stop(pid, timeout=5)
    assert read_json(directory / "answer") is True


def test_a_wish_is_not_missed_at_any_moment(daemons: Daemons) -> None:
    """A wish a microsecond later each time, around the beginning of a wait, also when the handler runs late."""
    daemons.launch(
        """
        import signal, sys, time
        import daemonry

        for number in range(400):
            context = daemonry.DaemonContext()
            signal.signal(signal.SIGALRM, context.request_stop)
            signal.setitimer(signal.ITIMER_REAL, (1 + number % 100) / 1e6)
            before = time.monotonic()
            if not context.wait(5) or time.monotonic() - before > 1:
                sys.exit(f"missed at {number}")
        """
    ).check()


def test_an_exception_from_a_handler_ends_the_wait_and_leaves_nothing_behind(daemons: Daemons) -> None:
    """The program's own wake-up descriptor is back after each wait, however it ended."""
    daemons.launch(
        """
        import os, signal
        import daemonry

        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        signal.set_wakeup_fd(writing)
        context = daemonry.DaemonContext()
        assert context.wait(0.001) is False
        signal.signal(signal.SIGALRM, context.terminate)
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        try:
            context.wait()
        except daemonry.Terminated:
            assert signal.set_wakeup_fd(-1) == writing
        else:
            raise AssertionError("not ended")
        """
    ).check()


def test_a_child_forked_while_the_daemon_waits_waits_by_itself(daemons: Daemons) -> None:
    """A handler forks in the middle of a wait, and the child returns into it: it sleeps, and a signal ends it."""
    daemons.launch(
        """
        import os, signal
        import daemonry
        from harness.probe import publish

        def split(signum, frame):
            child = os.fork()
            if child == 0:
                with open("opened", "w") as file:
                    os.dup2(file.fileno(), 20)
            publish("child" if child == 0 else "parent", [os.getpid(), signal.set_wakeup_fd(-1) if child == 0 else 0])

        signal_map = {"TERM": "request_stop", "USR1": split}
        with daemonry.DaemonContext(working_directory=".", signal_map=signal_map) as context:
            publish("pid", os.getpid())
            publish(f"answer-{context.is_open}" if context.wait(25) else "late", True)
        """
    ).check()
    pid = read_json(daemons.directory / "pid")
    wait_for(lambda: asleep(pid), what="it waits")
    os.kill(pid, signal.SIGUSR1)
    child, wake_up = read_json(daemons.directory / "child")
    assert read_json(daemons.directory / "parent")[0] == pid
    assert wake_up == -1
    wait_for(lambda: asleep(child), what="the child waits")
    daemons.stop(child)
    assert read_json(daemons.directory / "answer-False") is True
    assert (daemons.directory / "opened").read_bytes() == b""
    daemons.stop(pid)
    assert read_json(daemons.directory / "answer-True") is True


def test_a_thread_can_wait_while_the_main_thread_handles_the_signal(daemons: Daemons) -> None:
    daemons.launch(
        """
        import os, threading
        import daemonry
        from harness.probe import publish

        with daemonry.DaemonContext(working_directory=".", signal_map={"TERM": "request_stop"}) as context:
            thread = threading.Thread(target=lambda: publish("thread", context.wait(25)))
            thread.start()
            publish("pid", os.getpid())
            publish("main", context.wait(25))
            thread.join()
        """
    ).check()
    daemons.stop(read_json(daemons.directory / "pid"))
    assert read_json(daemons.directory / "thread") is True
    assert read_json(daemons.directory / "main") is True
