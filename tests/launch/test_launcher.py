"""The launcher waits and knows: what it does until its daemon is ready, and in how many processes."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from harness.probe import facts_of
from harness.waiting import read_json, wait_for
from launcher_programs import program

if TYPE_CHECKING:
    from harness.daemons import Daemons


def test_the_launcher_exits_0_when_the_daemon_is_ready_and_not_before(daemons: Daemons) -> None:
    text = program("""
        class Waiting(Context):
            def begin_work(self):
                publish("here", os.getpid())
                self.wait()
        context = Waiting(working_directory=".", pidfile=daemonry.PIDLockFile("pid"))
        signal.signal(signal.SIGUSR1, lambda *_: context.request_stop())
        with context:
            publish("ready", facts())
            while True:
                signal.sigtimedwait([], 0.05)
    """)
    running = daemons.start(text)
    pid = read_json(daemons.directory / "here")
    assert (daemons.directory / "pid").read_text() == f"{pid}\n"
    assert running.process.poll() is None
    os.kill(pid, signal.SIGUSR1)
    assert running.wait().check().stdout == ""
    assert read_json(daemons.directory / "ready")["pid"] == pid
    assert daemons.survivor() == pid
    daemons.stop(pid)


@pytest.mark.parametrize("times", [1, 2, 5])
def test_by_hand_ready_counts_once(daemons: Daemons, times: int) -> None:
    text = program("""
        with Context(working_directory=".", ready="manual") as context:
            publish("body", {"parent": os.getppid()})
            for _ in range(TIMES):
                context.ready()
            publish("ready", {"descriptors": os.listdir("/proc/self/fd")})
            context.wait()
    """).replace("TIMES", str(times))
    daemons.launch(text).check()
    assert read_json(daemons.directory / "body")["parent"] != 1
    ready = read_json(daemons.directory / "ready")
    assert len(ready["descriptors"]) <= 4, "0, 1, 2 and the listing"
    pid = daemons.survivor()
    assert facts_of(pid).ppid == 1
    daemons.stop(pid)


def test_ready_before_its_time_is_no_word(daemons: Daemons) -> None:
    """Called before open(), it says nothing; the option is what it was."""
    text = program("""
        context = Context(working_directory=".", ready="manual")
        context.ready()
        assert context.ready == "manual"
        with context:
            pass
    """)
    assert "step body: it ended before it was ready" in daemons.launch(text).check(1).stderr
    assert daemons.alive() == []


def test_ready_in_a_step_counts_when_the_steps_are_done(daemons: Daemons) -> None:
    text = program("""
        class Early(Context):
            def begin_work(self):
                self.ready()
                publish("said", self._opening.tie.waited_for)
        with Early(working_directory=".", ready="manual") as context:
            publish("body", context._opening.tie.waited_for)
            context.wait()
    """)
    daemons.launch(text).check()
    assert read_json(daemons.directory / "said") is True
    assert read_json(daemons.directory / "body") is False
    daemons.stop(daemons.survivor())


def test_a_step_that_fails_after_the_word_is_a_start_that_failed(daemons: Daemons) -> None:
    text = program("""
        class Early(Context):
            def begin_work(self):
                self.ready()
                raise ValueError("no port after all")
        with Early(working_directory=".", ready="manual"):
            print("body")
    """)
    launched = daemons.launch(text).check(1)
    assert "step begin_work: ValueError: no port after all" in launched.stderr
    assert launched.stdout == ""
    assert daemons.alive() == []


def test_a_subclass_without_the_last_step_lets_its_launcher_go_all_the_same(daemons: Daemons) -> None:
    text = program("""
        class Short(daemonry.DaemonContext):
            steps = daemonry.DaemonContext.steps[:-1]
        with Short(working_directory=".") as context:
            context.wait()
    """)
    daemons.launch(text).check()
    pid = daemons.survivor()
    assert facts_of(pid).ppid == 1
    daemons.stop(pid)


@pytest.mark.parametrize(
    ("end", "status", "message"),
    [
        ("pass", 0, "it ended before it was ready"),
        ("sys.exit()", 0, "exited with status 0"),
        ("sys.exit(4)", 4, "exited with status 4"),
        ("sys.exit('no model')", 1, "no model"),
        ("context.close()", 0, "it ended before it was ready"),
        ("raise ValueError('no model')", None, "ValueError: no model"),
    ],
)
def test_a_body_that_ends_before_it_is_ready_is_a_start_that_failed(
    daemons: Daemons, end: str, status: int | None, message: str
) -> None:
    text = program(f"""
        try:
            with Context(working_directory=".", ready="manual") as context:
                {end}
            print("not reached")
        except daemonry.DaemonStartError as error:
            tell("told", error)
    """)
    assert daemons.launch(text).check().stdout == ""
    told = read_json(daemons.directory / "told")
    assert (told["step"], told["status"], told["message"]) == ("body", status, message)
    assert daemons.alive() == []


def test_a_program_that_ends_without_a_with_block_and_without_a_word_has_failed_too(daemons: Daemons) -> None:
    text = program("""
        context = Context(working_directory=".", ready="manual")
        context.open()
    """)
    assert "step body: it ended before it was ready" in daemons.launch(text).check(1).stderr
    assert daemons.alive() == []


@pytest.mark.parametrize("place", ["step", "body"])
def test_what_stands_around_the_block_runs_once_when_the_start_fails(daemons: Daemons, place: str) -> None:
    """Handlers, finally, atexit and what is written: in the launcher, and in no other process."""
    text = program(f"""
        import atexit
        def note(text):
            with open("notes", "a") as notes:
                notes.write(f"{{text}} {{os.getpid()}}\\n")
        class Failing(Context):
            def begin_work(self):
                if {place!r} == "step":
                    raise ValueError
        atexit.register(note, "atexit")
        sys.stdout.write("unflushed before;")
        try:
            try:
                with Failing(working_directory=".", ready="manual"):
                    raise LookupError
            finally:
                note("finally")
        except daemonry.DaemonStartError:
            note("except")
        note("after")
    """)
    launched = daemons.launch(text).check()
    notes = (daemons.directory / "notes").read_text().splitlines()
    assert notes == [f"{word} {launched.pid}" for word in ("finally", "except", "after", "atexit")]
    assert launched.stdout == "unflushed before;"


def test_what_stands_around_the_block_runs_once_when_the_start_succeeds(daemons: Daemons) -> None:
    """In the daemon, at its end; the launcher leaves without it."""
    text = program("""
        import atexit
        def note(text):
            with open("notes", "a") as notes:
                notes.write(f"{text} {os.getpid()}\\n")
        atexit.register(note, "atexit")
        try:
            with Context(working_directory=".") as context:
                publish("pid", os.getpid())
                context.wait()
        finally:
            note("finally")
    """)
    daemons.launch(text).check()
    assert not (daemons.directory / "notes").exists()
    pid = daemons.survivor()
    daemons.stop(pid)
    assert (daemons.directory / "notes").read_text().splitlines() == [f"finally {pid}", f"atexit {pid}"]


def test_open_on_an_open_context_does_nothing(daemons: Daemons) -> None:
    text = program("""
        with Context(working_directory=".") as context:
            pid = os.getpid()
            context.open()
            publish("same", os.getpid() == pid)
            context.wait()
    """)
    daemons.launch(text).check()
    assert read_json(daemons.directory / "same") is True
    daemons.stop(daemons.survivor())


def test_a_daemon_that_says_ready_and_dies_at_once_was_ready(daemons: Daemons) -> None:
    text = program("""
        with Context(ready="manual") as context:
            context.ready()
            os._exit(3)
    """)
    daemons.launch(text).check()
    wait_for(lambda: not daemons.alive())
