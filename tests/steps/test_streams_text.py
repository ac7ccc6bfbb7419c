"""What Python's own streams hold and say: text from before the start once, text of the daemon at once."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from harness.waiting import wait_for
from telling_programs import launch, program, told

if TYPE_CHECKING:
    from harness.daemons import Daemons

FAILING = """
class Failing(DaemonContext):
    def set_umask(self):
        raise OSError(errno.EPERM, "no")
"""
GOES_WELL = "with DaemonContext(detach_process=True, stdout=path('log'), stderr=path('log')): print('after')"
GOES_WRONG = FAILING + "Failing(detach_process=True, stdout=path('log'), stderr=path('log')).open()"

# Each leaves text in a buffer of Python's when the context is opened.
WAYS_TO_PRINT = {
    "print": "print('before', end=' ')",
    "many": "print('before ' * 1000, end=' ')",
    "bytes": "sys.stdout.buffer.write(b'before ')",
    "replaced": "print('before', end=' ')\nsys.stdout = io.StringIO()",
    "tee": "print('before', end=' ')\nclass Tee:\n    write = flush = lambda *_: None\nsys.stdout = Tee()",
    "None": "print('before', end=' ')\nsys.stdout = None",
    "logging": "logging.basicConfig(stream=sys.stdout, format='before%(message)s', level=1)\nlogging.info('')",
}


@pytest.mark.parametrize(
    ("way", "through"),
    [*((way, "file") for way in WAYS_TO_PRINT.values()), (WAYS_TO_PRINT["many"], "pipe")],
    ids=[*WAYS_TO_PRINT, "pipe"],
)
@pytest.mark.parametrize(("start", "status"), [(GOES_WELL, 0), (GOES_WRONG, 1)], ids=["well", "wrong"])
def test_text_from_before_the_start_is_written_once_and_where_it_was_printed(
    daemons: Daemons, way: str, start: str, status: int, through: str
) -> None:
    """Into a file or a pipe, for which Python collects it; whether the start goes well or not."""
    running = daemons.start(
        program(way, start),
        daemons.directory,
        stdout=subprocess.PIPE if through == "pipe" else None,
        env={"PYTHONUNBUFFERED": None},
    )
    piped = running.process.stdout
    text = piped.read().decode() if piped is not None else None
    running.wait().check(status)
    wait_for(lambda: not daemons.alive(), what="everything has ended")
    text = running.stdout if text is None else text
    assert text.count("before") == (1000 if "1000" in way else 1)
    log = daemons.directory / "log"
    assert "before" not in (log.read_text() if log.exists() else "")


def test_text_on_stderr_from_before_the_start_is_written_once(daemons: Daemons) -> None:
    launched = launch(daemons, "print('before', end='', file=sys.stderr)", GOES_WELL)
    assert launched.stderr == "before"


def test_text_on_a_terminal_from_before_the_start_is_shown_once(daemons: Daemons) -> None:
    terminal = daemons.terminal(program("print('before', end=' ')", GOES_WELL), daemons.directory)
    assert terminal.wait() == 0
    wait_for(lambda: not daemons.alive(), what="everything has ended")
    assert terminal.output == "before "


@pytest.mark.parametrize("kind", ["/dev/full", "a pipe that nobody reads"])
def test_text_that_cannot_be_written_fails_no_start_and_goes_nowhere_else(daemons: Daemons, kind: str) -> None:
    broken, writing = os.pipe()
    os.close(broken)
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        launch(
            daemons,
            "print('lost')",
            "with DaemonContext(detach_process=True): open(path('ran'), 'w').close()",
            stdout=full if kind == "/dev/full" else writing,
            env={"PYTHONUNBUFFERED": None},
        )
    finally:
        os.close(full)
        os.close(writing)
    assert (daemons.directory / "ran").exists()


def test_text_that_cannot_be_written_does_not_get_into_the_log(daemons: Daemons) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        launch(daemons, "print('before')", GOES_WELL, stdout=full, env={"PYTHONUNBUFFERED": None})
    finally:
        os.close(full)
    assert (daemons.directory / "log").read_text() == "after\n"


def test_each_line_of_a_daemon_is_in_its_log_at_once(daemons: Daemons) -> None:
    assert told(
        daemons,
        """
        with DaemonContext(detach_process=True, stdout=path("log"), stderr=path("err")):
            print("out"), print("err", file=sys.stderr)
            tell([open(path("log")).read(), open(path("err")).read()])
        """,
        env={"PYTHONUNBUFFERED": None},
    ) == ["out\n", "err\n"]


@pytest.mark.parametrize(
    "environment",
    [
        pytest.param({"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}, id="C"),
        pytest.param({"LC_ALL": "C.UTF-8"}, id="UTF-8"),
        pytest.param({"PYTHONIOENCODING": "ascii:strict"}, id="strict"),
    ],
)
@pytest.mark.parametrize("stand_in", ["pass", "sys.stdout = sys.stderr = None"])
def test_no_character_makes_a_print_fail(daemons: Daemons, environment: dict[str, str], stand_in: str) -> None:
    """Under any locale, also half a pair of surrogates and a name of a file that no encoding knows."""
    assert told(
        daemons,
        stand_in,
        r"""
        text = ["\N{SNOWMAN}", "\N{GRINNING FACE}", "\ud800", os.fsdecode(b"\xff"), "\0"]
        with DaemonContext(detach_process=True, stdout=path("log"), stderr=path("log")):
            print(*text), print(*text, file=sys.stderr)
            tell([sys.stdout.errors, sys.stderr.errors, sys.stdout.line_buffering])
        """,
        env=environment,
    ) == ["backslashreplace", "backslashreplace", True]
    assert b"\\ud800" in (daemons.directory / "log").read_bytes()


def test_what_was_read_ahead_of_the_launchers_input_is_not_the_daemons(daemons: Daemons) -> None:
    """Python reads a block to answer a line."""
    assert told(
        daemons,
        """
        first = input()
        with DaemonContext(detach_process=True):
            tell([first, sys.stdin.read()])
        """,
        stdin="first\nsecond\n",
    ) == ["first", ""]


def test_what_was_read_ahead_is_still_there_for_a_daemon_that_keeps_the_input(daemons: Daemons) -> None:
    assert told(
        daemons,
        """
        first = input()
        with DaemonContext(detach_process=True, stdin=sys.stdin):
            tell([first, sys.stdin.read()])
        """,
        stdin="first\nsecond\n",
    ) == ["first", "second\n"]


# The names in sys


def test_an_object_without_a_descriptor_takes_the_name_in_sys(daemons: Daemons) -> None:
    """And the descriptor is the null device."""
    assert told(
        daemons,
        """
        out, err = io.StringIO(), io.StringIO()
        with DaemonContext(detach_process=True, stdin=io.StringIO("some input"), stdout=out, stderr=err):
            print("out"), print("err", file=sys.stderr)
            tell([sys.stdin.read(), out.getvalue(), err.getvalue(), *(target(number) for number in range(3))])
        """,
    ) == ["some input", "out\n", "err\n", *["/dev/null"] * 3]


def test_an_object_that_can_only_write_will_do(daemons: Daemons) -> None:
    assert told(
        daemons,
        """
        class Log:
            heard = []
            write = heard.append
        with DaemonContext(detach_process=True, stdout=Log()):
            print("text")
            tell(Log.heard)
        """,
    ) == ["text", "\n"]


@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_a_name_in_sys_that_stood_for_another_file_stands_for_the_descriptor(daemons: Daemons, name: str) -> None:
    """And the object that it stood for, collected later, closes nobody's descriptor."""
    assert told(
        daemons,
        f"""
        sys.{name} = open(path("old"), "w")
        sys.{name}.write("before")
        with DaemonContext(detach_process=True, {name}=path("log")):
            new = [os.open("/dev/null", os.O_RDONLY) for _ in range(5)]
            gc.collect()
            sys.{name}.write("after\\n")
            tell([sys.{name}.fileno(), [is_open(number) for number in new]])
        """,
    ) == [1 if name == "stdout" else 2, [True] * 5]
    assert (daemons.directory / "old").read_text() == "before"
    assert (daemons.directory / "log").read_text() == "after\n"


def test_an_encoding_that_the_program_chose_is_kept(daemons: Daemons) -> None:
    assert (
        told(
            daemons,
            """
        sys.stdout = open(path("old"), "w", encoding="latin-1")
        with DaemonContext(detach_process=True, stdout=path("log")):
            print("\\N{LATIN SMALL LETTER E WITH ACUTE}")
            tell(sys.stdout.encoding)
        """,
        )
        == "latin-1"
    )
    assert (daemons.directory / "log").read_bytes() == b"\xe9\n"


@pytest.mark.parametrize("named", ["", ", files_preserve=[kept]"])
def test_a_file_that_got_the_number_of_a_closed_stream_and_is_to_be_preserved_is_refused(
    daemons: Daemons, named: str
) -> None:
    """The stream would be put over it, and what is written to the file would go there."""
    launched = launch(
        daemons,
        f"kept = open(path('kept'), 'w')\nDaemonContext(detach_process=True{named}).open()",
        status=1,
        preexec=lambda: os.close(0),
    )
    assert "files_preserve: descriptor 0 is a file to preserve, because stdin was closed when" in launched.stderr


def test_a_file_that_got_the_number_of_a_closed_stream_and_is_not_kept_gives_way(daemons: Daemons) -> None:
    assert told(
        daemons,
        """
        old = open(path("old"), "w")
        assert old.fileno() == 1
        with DaemonContext(detach_process=True, stdout=path("log"), files_preserve=[]):
            print("text")
            tell(target(1))
        """,
        preexec=lambda: os.close(1),
    ) == str(daemons.directory / "log")
    assert (daemons.directory / "log").read_text() == "text\n"
    assert (daemons.directory / "old").read_text() == ""


def test_an_object_that_the_program_made_for_a_stream_itself_is_not_closed(daemons: Daemons) -> None:
    """As ``os.fdopen(1, "w", 1)`` does, and as logging goes on writing to it."""
    launch(
        daemons,
        """
        sys.stdout = os.fdopen(1, "w", 1)
        logging.basicConfig(stream=sys.stdout, format="%(message)s", level=1)
        with DaemonContext(detach_process=True, stdout=path("log")):
            print("printed")
            logging.info("logged")
        """,
    )
    assert (daemons.directory / "log").read_text() == "printed\nlogged\n"
