"""Threads of the launcher that hold a lock, or wait, in the moment of the fork: the daemon waits for none of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from harness.waiting import read_json, wait_for
from launcher_programs import program

if TYPE_CHECKING:
    from harness.daemons import Daemons

# A thread that is in a file's write, with the lock of its buffer, from before the fork until after it.
HOLDING = """
    import io, logging, warnings
    warnings.simplefilter("ignore")
    launcher, main = os.getpid(), threading.get_ident()
    begin, inside, leave = threading.Event(), threading.Event(), threading.Event()

    class Raw(io.FileIO):
        def write(self, data):
            if threading.get_ident() != main and os.getpid() == launcher:
                inside.set()
                leave.wait()
            return super().write(data)

    def held(number):
        file = io.TextIOWrapper(io.BufferedWriter(Raw(number, "w", closefd=number > 2)), "utf-8", line_buffering=True)
        def work():
            begin.wait()
            file.write("of the thread\\n")
        threading.Thread(target=work, daemon=True).start()
        return file

    def before():
        if os.getpid() == launcher:
            begin.set()
            inside.wait()
    os.register_at_fork(before=before, after_in_parent=lambda: os.getpid() == launcher and leave.set())
"""


@pytest.mark.reliability("The program's own code")
@pytest.mark.parametrize("name", ["stdout", "stderr"])
@pytest.mark.parametrize("by", ["sys.{}", "sys.__{}__", "both"])
def test_a_stream_whose_lock_a_thread_held_at_the_fork_can_be_written_to(daemons: Daemons, name: str, by: str) -> None:
    """By its name, by a logging handler that has kept it, and at the exit, where Python flushes it."""
    names = [f"sys.{name}", f"sys.__{name}__"] if by == "both" else [by.format(name)]
    text = program(f"""{HOLDING}
    {" = ".join(names)} = stream = held({1 if name == "stdout" else 2})
    logging.basicConfig(stream=stream)
    with Context(working_directory=".", {name}="out", ready="manual") as context:
        context.ready()
        print("printed", file=sys.{name})
        print("by the other name", file=sys.__{name}__)
        logging.error("logged")
    """)
    daemons.launch(text).check()
    wait_for(lambda: not daemons.alive())
    lines = (daemons.directory / "out").read_text().splitlines()
    assert sorted(lines) == ["ERROR:root:logged", "by the other name", "printed"]


@pytest.mark.reliability("The program's own code")
def test_a_log_whose_lock_a_thread_held_at_the_fork_can_be_written_to(daemons: Daemons) -> None:
    """Its half line is the launcher's, and the file is closed once, at the end."""
    text = program(f"""{HOLDING}
    logging.basicConfig(stream=held(os.open("log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)))
    with Context(working_directory=".", stderr="err") as context:
        logging.error("logged")
    logging.error("behind the block")
    """)
    daemons.launch(text).check()
    wait_for(lambda: not daemons.alive())
    lines = (daemons.directory / "log").read_text().splitlines()
    assert [line for line in lines if line != "of the thread"] == ["ERROR:root:logged", "ERROR:root:behind the block"]
    assert (daemons.directory / "err").read_text() == ""


@pytest.mark.reliability("The program's own code")
@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_a_start_that_fails_waits_for_no_lock_either(daemons: Daemons, name: str) -> None:
    text = program(f"""{HOLDING}
    sys.{name} = held({1 if name == "stdout" else 2})
    class Failing(Context):
        steps = ("check_options", "detach", "begin_work")
        def begin_work(self):
            raise ValueError("here")
    try:
        Failing().open()
    except daemonry.DaemonStartError as error:
        tell("told", error)
    """)
    daemons.launch(text).check()
    assert read_json(daemons.directory / "told")["message"] == "ValueError: here"
    assert daemons.alive() == []


def test_a_thread_that_waits_for_input_does_not_abort_the_daemon_at_its_end(daemons: Daemons) -> None:
    """It has the lock of standard input's buffer, which Python would wait for, and give up with a core."""
    text = program("""
        import subprocess, warnings
        warnings.simplefilter("ignore")
        reading, writing = os.pipe()
        os.dup2(reading, 0)
        threading.Thread(target=sys.stdin.readline, daemon=True).start()
        time.sleep(0.05)
        supervisor = os.fork()
        if supervisor:
            os._exit(0)
        with Context(working_directory=".", stderr="err"):
            pass
    """)
    daemons.launch(text).check()
    wait_for(lambda: not daemons.alive())
    assert (daemons.directory / "err").read_text() == ""


@pytest.mark.reliability("The program's own code")
def test_a_thread_that_prints_all_the_time_holds_up_no_start(daemons: Daemons) -> None:
    text = program("""
        import warnings
        warnings.simplefilter("ignore")
        def work():
            while True:
                print("x" * 200)
        threading.Thread(target=work, daemon=True).start()
        with Context(working_directory="."):
            publish("up", True)
    """)
    for _ in range(5):
        daemons.launch(text).check()
        assert read_json(daemons.directory / "up")
        (daemons.directory / "up").unlink()
