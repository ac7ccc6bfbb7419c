"""What a start that fails shows at the terminal: a sentence, and of tracebacks the program's own share."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import daemonry
from daemonry.system import frames
from harness.waiting import wait_for

if TYPE_CHECKING:
    from harness.daemons import Daemons

LIBRARY = str(Path(daemonry.__path__[0]))
OPENED = {
    "by a with-block": "with context: pass",
    "by open()": "context.open()",
    "by a subclass's open()": "Own().open()",
    "by a with-block over a subclass's open()": "with Own(): pass",
}
OWN = """
class Own(daemonry.DaemonContext):
    def open(self):
        self.working_directory = "/nowhere"
        super().open()
"""


def shown(daemons: Daemons, program: str, status: int = 1) -> str:
    """Return what a program that ends by the error of its start leaves at the terminal."""
    said = daemons.launch(f"import os, signal, sys\nimport daemonry\n{program}").check(status).stderr
    assert LIBRARY not in said
    assert "lockfile" not in said.rpartition("\n  File")[0]
    assert daemons.alive() == []
    return said


def lines_of_code(said: str) -> list[str]:
    """Return the lines of code in tracebacks, without the marks that newer Pythons put below them."""
    lines = [line.strip() for line in said.splitlines() if line.startswith("    ")]
    return [line for line in lines if line.strip("~^")]


@pytest.mark.parametrize("opened", OPENED)
def test_what_is_refused_is_one_sentence_below_the_line_that_opens_the_context(daemons: Daemons, opened: str) -> None:
    """And below the lines of the program that lead to that, a subclass's own among them."""
    said = shown(daemons, f'{OWN}context = daemonry.DaemonContext(working_directory="/nowhere")\n{OPENED[opened]}')
    trace, sentence = said.rstrip("\n").rsplit("\n", 1)
    why = "step check_options: working_directory: /nowhere: No such file or directory"
    assert sentence.endswith(f"InvalidOption: cannot start the daemon: {why}")
    assert trace.startswith("Traceback (most recent call last):\n")
    line = OPENED[opened].partition(":")[0]
    assert [code.partition(":")[0] for code in lines_of_code(trace)] == [
        line,
        *(["super().open()"] if "Own" in opened or "subclass" in opened else []),
    ]


@pytest.mark.parametrize("detach", [True, False])
def test_a_step_that_fails_in_the_library_is_one_sentence(daemons: Daemons, detach: bool) -> None:
    said = shown(
        daemons,
        f"""
def main():
    lock = daemonry.PIDLockFile("/nowhere/at/all.pid")
    with daemonry.DaemonContext(pidfile=lock, detach_process={detach}):
        pass
main()
""",
    )
    assert said.count("Traceback (most recent call last)") == 1
    assert lines_of_code(said)[0] == "main()"
    assert lines_of_code(said)[1].startswith("with daemonry.DaemonContext(")
    assert len(lines_of_code(said)) == 2
    assert "step lock_pidfile: cannot lock /nowhere/at/all.pid" in said.splitlines()[-1]


@pytest.mark.parametrize("detach", [True, False])
@pytest.mark.parametrize("work", ["open('/nowhere')", "raise ValueError('no')", "1 / 0"])
def test_where_a_step_of_the_programs_own_fails_its_lines_are_shown_too(
    daemons: Daemons, work: str, detach: bool
) -> None:
    said = shown(
        daemons,
        f"""
class Own(daemonry.DaemonContext):
    def set_umask(self):
        super().set_umask()
        help_out()
def help_out():
    {work}
with Own(detach_process={detach}):
    pass
""",
    )
    assert said.count("Traceback (most recent call last)") == 2
    assert lines_of_code(said) == ["help_out()", work, f"with Own(detach_process={detach}):"]
    assert "in the daemon" in said if detach else "in the daemon" not in said
    assert "cannot start the daemon: step set_umask: " in said.splitlines()[-1]


@pytest.mark.parametrize("work", ["open('/nowhere')", "raise ValueError('no')", "context.progress(1, 2, 3)"])
def test_a_body_that_fails_before_it_is_ready_shows_its_lines(daemons: Daemons, work: str) -> None:
    """Whatever it is that failed: what the system refuses says no line by itself."""
    said = shown(
        daemons, f"def work():\n    {work}\nwith daemonry.DaemonContext(ready='manual') as context:\n    work()\n"
    )
    assert lines_of_code(said) == ["work()", work, "with daemonry.DaemonContext(ready='manual') as context:"]
    assert len(said.splitlines()) <= 20
    assert "cannot start the daemon: step body: " in said.splitlines()[-1]


@pytest.mark.parametrize("work", ["sys.exit('no model')", "sys.exit(3)", "pass"])
def test_a_body_that_ends_by_its_own_will_is_one_sentence(daemons: Daemons, work: str) -> None:
    said = shown(daemons, f"with daemonry.DaemonContext(ready='manual'):\n    {work}")
    assert said.count("Traceback (most recent call last)") == 1
    assert lines_of_code(said) == ["with daemonry.DaemonContext(ready='manual'):"]


def test_a_start_that_is_late_shows_where_the_program_was(daemons: Daemons) -> None:
    said = shown(daemons, "with daemonry.DaemonContext(ready='manual', start_timeout=0.3):\n    signal.pause()")
    assert lines_of_code(said)[0] == "signal.pause()"
    assert "ended by SIGTERM" in said


def test_a_start_that_is_interrupted_shows_the_line_that_waits(daemons: Daemons) -> None:
    program = "import signal, daemonry\nwith daemonry.DaemonContext(ready='manual'):\n    open('here', 'w')\n    "
    running = daemons.start(program.replace("'here'", repr(str(daemons.directory / "here"))) + "signal.pause()")
    wait_for((daemons.directory / "here").exists, what="the body")
    running.signal(signal.SIGINT)
    said = running.wait().stderr
    assert lines_of_code(said) == ["with daemonry.DaemonContext(ready='manual'):"]
    assert said.rstrip().endswith("KeyboardInterrupt")
    assert LIBRARY not in said


def test_a_pidfile_of_the_programs_own_shows_its_lines(daemons: Daemons) -> None:
    """Though the standard library stands between, which is shown with the program and never without it."""
    said = shown(
        daemons,
        """
import contextlib
@contextlib.contextmanager
def lock():
    raise ValueError("taken")
    yield
with daemonry.DaemonContext(pidfile=lock()):
    pass
""",
    )
    assert 'raise ValueError("taken")' in lines_of_code(said)


def test_what_an_error_was_raised_for_is_shown_as_far_as_it_is_the_programs(daemons: Daemons) -> None:
    said = shown(
        daemons,
        """
class Own(daemonry.DaemonContext):
    def set_umask(self):
        try:
            self.read()
        except ValueError as error:
            raise LookupError("no umask") from error
    def read(self):
        int("022x")
with Own():
    pass
""",
    )
    assert lines_of_code(said)[:3] == ["self.read()", 'int("022x")', 'raise LookupError("no umask") from error']


def test_what_is_handled_around_an_open_that_fails_is_what_it_was(daemons: Daemons) -> None:
    """The error that leaves open() is taken in hand by its handler; the one before comes back behind that."""
    said = daemons.launch(
        """
        import gc, sys
        import daemonry
        def kind(): return getattr(sys.exc_info()[0], "__name__", None)
        told = []
        for _ in range(50):
            try:
                raise KeyError
            except KeyError:
                try:
                    daemonry.DaemonContext(umask="wide").open()
                except daemonry.InvalidOption as error:
                    told.append((kind(), error.__traceback__.tb_next))
                told.append(kind())
            told.append(kind())
            gc.collect()
        print(told == [("InvalidOption", None), "KeyError", None] * 50, kind())
        """
    ).check()
    assert said.stdout == "True None\n"


# What is whose

OWN_FILE, HELPER, LOCK, PROGRAM = (
    f"{LIBRARY}/x.py",
    f"{os.path.dirname(os.__file__)}/x.py",
    "/venv/lib/site-packages/lockfile/x.py",
    "/srv/x.py",
)


@pytest.mark.parametrize(
    ("names", "kept"),
    [
        ([], []),
        ([PROGRAM, HELPER], [True, True]),
        ([PROGRAM, OWN_FILE, OWN_FILE], [True, False, False]),
        ([OWN_FILE, HELPER, OWN_FILE, LOCK], [False, False, False, False]),
        ([OWN_FILE, HELPER, PROGRAM, HELPER], [False, True, True, True]),
        ([HELPER, OWN_FILE, PROGRAM], [True, False, True]),
        ([OWN_FILE, "<frozen importlib._bootstrap>"], [False, False]),
        ([OWN_FILE, "/venv/lib/site-packages/flask/x.py"], [False, True]),
        ([OWN_FILE, "<string>"], [False, True]),
    ],
)
def test_what_the_library_calls_for_itself_is_not_the_programs(names: list[str], kept: list[bool]) -> None:
    assert frames._kept(names) == kept


def test_a_failure_of_the_library_alone_is_told_whole() -> None:
    """It is a mistake of ours then, and a report of it takes the lines."""
    code = compile("1 / 0", OWN_FILE, "exec")
    with pytest.raises(ZeroDivisionError) as caught:
        exec(code, {})
    caught.value.__traceback__ = caught.tb.tb_next
    text, is_of_program = frames.text_of(caught.value)
    assert (OWN_FILE in text, is_of_program) == (True, False)


def test_an_error_that_is_its_own_cause_is_cut_as_well() -> None:
    error, other = ValueError("one"), ValueError("other")
    error.__cause__, other.__cause__ = other, error
    frames._cut_all(error)
    assert error.__cause__ is other
