"""Progress on the launcher's terminal, pipelines, and launchers that were started without streams."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from harness.probe import facts_of
from harness.waiting import read_json, wait_for
from launcher_programs import failing, program

if TYPE_CHECKING:
    from harness.daemons import Daemons


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("loading 40 %", "loading 40 %"),
        ("two\nlines \t and\r\x0bmore", "two lines and more"),
        ("\x1b]0;owned\x07\x1b[2J red", "\\x1b]0;owned\\x07\\x1b[2J red"),
        ("\u202egnidaol \u2028 \x85x \x9b1m", "\\u202egnidaol x \\x9b1m"),
        ("größer \U0001f600 日本", "größer \U0001f600 日本"),
        ("half \udc80 a character", "half \\udc80 a character"),
        ("", ""),
        ("ready", "ready"),
        ("x" * 1000, "x" * 400),
        ("\U0001f600" * 1000, "\U0001f600" * 100),
    ],
)
def test_progress_is_shown_on_the_launchers_stderr(daemons: Daemons, text: str, shown: str) -> None:
    """In one line each, and nothing in it steers the terminal."""
    source = program(f"""
        with Context(ready="manual") as context:
            context.progress({text!a})
            context.progress("next")
            context.ready()
            context.progress("not shown any more")
            context.wait()
    """)
    launched = daemons.launch(source, env={"PYTHONIOENCODING": "utf-8"}).check()
    assert launched.stderr == f"{shown}\nnext\n"
    assert launched.stdout == ""
    daemons.stop(daemons.survivor())


def test_progress_is_shown_while_the_start_goes_on(daemons: Daemons) -> None:
    """From a step as well as from the body, and from threads, line by line."""
    text = program("""
        class Telling(Context):
            def begin_work(self):
                self.progress("in a step")
        with Telling(working_directory=".", ready="manual") as context:
            signal.signal(signal.SIGUSR1, lambda *_: context.request_stop())
            def tell(line):
                for _ in range(50):
                    context.progress(line)
            threads = [threading.Thread(target=tell, args=(str(n) * 400,)) for n in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            context.progress("told")
            publish("pid", os.getpid())
            context.wait()
            context.ready()
    """)
    running = daemons.start(text)
    pid = read_json(daemons.directory / "pid")
    wait_for(lambda: running.stderr.endswith("told\n"))
    assert running.process.poll() is None
    first, *lines, _ = running.stderr.splitlines()
    assert first == "in a step"
    assert sorted(lines) == sorted(str(n) * 400 for n in range(4) for _ in range(50))
    os.kill(pid, signal.SIGUSR1)
    running.wait().check()


@pytest.mark.reliability("Full and broken places")
@pytest.mark.parametrize("stderr", ["None", "open('/dev/full', 'w')", "io.StringIO()", "closed", "object()"])
def test_a_launcher_whose_stderr_cannot_be_written_starts_its_daemon(daemons: Daemons, stderr: str) -> None:
    text = program(f"""
        import io
        closed = io.StringIO()
        closed.close()
        sys.stderr = {stderr}
        with Context(working_directory=".", ready="manual") as context:
            context.progress("loading")
            context.ready()
            publish("ready", True)
            context.wait()
    """)
    daemons.launch(text).check()
    read_json(daemons.directory / "ready")
    daemons.stop(daemons.survivor())


@pytest.mark.reliability("Full and broken places")
def test_a_launcher_whose_stderr_raises_ends_the_start_with_that_error(daemons: Daemons) -> None:
    before = """
        class Broken:
            def write(self, text):
                raise RuntimeError("broken")
            def flush(self):
                pass
        sys.stderr, stderr = Broken(), sys.stderr
    """
    daemons.launch(failing("self.progress('x'); signal.pause()", before=before)).check()
    told = read_json(daemons.directory / "told")
    assert (told["step"], told["message"]) == ("detach", "RuntimeError: broken")
    assert (told["children"], told["after"]) == (None, told["before"])
    assert daemons.alive() == []


@pytest.mark.reliability("Full and broken places")
def test_a_launcher_that_is_stuck_in_its_stderr_can_be_interrupted(daemons: Daemons) -> None:
    """Nobody reads it: the pipe is full, and Ctrl-C still ends the start."""
    text = program("""
        with Context(working_directory=".", ready="manual") as context:
            publish("pid", os.getpid())
            while True:
                context.progress("x" * 400)
    """)
    running = daemons.start(text, stderr=subprocess.PIPE)
    read_json(daemons.directory / "pid")
    wait_for(lambda: "pipe" in _where(running.pid), what="the launcher waits for a reader")
    running.signal(signal.SIGTERM)
    running.wait().check(-signal.SIGTERM)
    assert daemons.alive() == []


def _where(pid: int) -> str:
    with open(f"/proc/{pid}/wchan") as stream:
        return stream.read()


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_pipeline_ends_when_the_launcher_does(daemons: Daemons, stream: str) -> None:
    """Progress or not: neither daemon nor witness has the pipe."""
    text = program("""
        with Context(working_directory=".", ready="manual") as context:
            signal.signal(signal.SIGUSR1, lambda *_: context.request_stop())
            context.progress("loading")
            publish("pid", {"pid": os.getpid(), "witness": os.getppid()})
            context.wait()
            context.ready()
            while True:
                signal.sigtimedwait([], 0.05)
    """)
    running = daemons.start(text, **{stream: subprocess.PIPE})
    half = read_json(daemons.directory / "pid")
    pipe = getattr(running.process, stream)
    name = os.readlink(f"/proc/self/fd/{pipe.fileno()}")
    # The witness does nothing for a tenth of a second, for most daemons are ready by then.
    for pid in half.values():
        wait_for(lambda pid=pid: name not in [found.target for found in facts_of(pid).descriptors])
    os.kill(half["pid"], signal.SIGUSR1)
    assert pipe.read() == (b"loading\n" if stream == "stderr" else b"")
    running.wait().check()
    daemons.stop(half["pid"])


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_pipeline_ends_when_the_launcher_is_killed(daemons: Daemons, stream: str) -> None:
    text = program("""
        with Context(working_directory=".", ready="manual") as context:
            publish("pid", os.getpid())
            while not context.wait(0.01):
                context.progress("still loading")
    """)
    running = daemons.start(text, **{stream: subprocess.PIPE})
    pid = read_json(daemons.directory / "pid")
    running.signal(signal.SIGKILL)
    getattr(running.process, stream).read()
    daemons.stop(pid)


def test_the_witness_holds_nothing_but_its_pipes(daemons: Daemons) -> None:
    text = program("""
        file = open("file", "w")
        with Context(working_directory=".", ready="manual", files_preserve=[file]) as context:
            signal.signal(signal.SIGUSR1, lambda *_: context.request_stop())
            publish("pid", {"pid": os.getpid(), "witness": os.getppid()})
            context.wait()
            context.ready()
            while True:
                signal.sigtimedwait([], 0.05)
    """)
    running = daemons.start(text)
    half = read_json(daemons.directory / "pid")

    def has_let_go() -> bool:
        targets = [found.target for found in facts_of(half["witness"]).descriptors]
        pipes = [target for target in targets[3:] if target.startswith("pipe:")]
        return targets[:3] == ["/dev/null"] * 3 and len(targets) == 3 + len(pipes) == 7

    # It does nothing for a tenth of a second, for most daemons are ready by then.
    wait_for(has_let_go, what="it has let go of all others")
    assert str(daemons.directory / "file") in [found.target for found in facts_of(half["pid"]).descriptors]
    os.kill(half["pid"], signal.SIGUSR1)
    running.wait().check()
    daemons.stop(half["pid"])


@pytest.mark.reliability("Full and broken places")
@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1), (1, 2), (0, 2), (0, 1, 2)])
def test_a_launcher_started_with_closed_streams_starts_its_daemon(daemons: Daemons, closed: tuple[int, ...]) -> None:
    """The pipes aren't taken for streams, and what is put over 0, 1 and 2 doesn't cut them."""
    text = program("""
        with Context(working_directory=".", ready="manual") as context:
            context.progress("loading")
            context.ready()
            publish("facts", facts())
            context.wait()
    """)

    def close() -> None:
        for number in closed:
            os.close(number)

    launched = daemons.launch(text, preexec=close).check()
    assert launched.stderr == ("" if 2 in closed else "loading\n")
    pid = daemons.survivor()
    seen = facts_of(pid)
    assert [seen.descriptor(number).target for number in (0, 1, 2)] == ["/dev/null"] * 3
    # Python drops the exception of a handler that runs in the midst of an import's clean-up.
    assert read_json(daemons.directory / "facts")["pid"] == pid
    daemons.stop(pid)


@pytest.mark.reliability("Full and broken places")
@pytest.mark.parametrize("closed", [(0,), (2,), (0, 1, 2)])
def test_a_launcher_started_with_closed_streams_knows_of_a_failure(daemons: Daemons, closed: tuple[int, ...]) -> None:
    def close() -> None:
        for number in closed:
            os.close(number)

    daemons.launch(failing("raise ValueError('here')"), preexec=close).check()
    told = read_json(daemons.directory / "told")
    assert (told["step"], told["message"], told["children"]) == ("begin_work", "ValueError: here", None)
    assert told["after"] == told["before"]
    assert daemons.alive() == []
