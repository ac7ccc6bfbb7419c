"""Descriptors 0, 1 and 2 of a daemon: open, inheritable, and what was asked for, however the launcher was started."""

from __future__ import annotations

import errno
import itertools
import os
import socket
import stat
import subprocess
from typing import TYPE_CHECKING

import pytest

from telling_programs import launch, program, told

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.daemons import Daemons

ALL_CLOSINGS = [numbers for size in range(4) for numbers in itertools.combinations(range(3), size)]

# What the daemon and a program that it starts find at the three numbers. The shell looks at itself: $$ is its pid also
# in a substitution, and the last redirection is set up when all has been looked up.
TELL_STREAMS = """
    LOOK = 'echo "$(readlink /proc/$$/fd/0) $(readlink /proc/$$/fd/1) $(readlink /proc/$$/fd/2)" > "$0"'
    subprocess.run(["/bin/sh", "-c", LOOK, path("child")], check=True)
    tell([[target(number), os.get_inheritable(number)] for number in range(3)] + [open(path("child")).read().split()])
"""


def closing(numbers: tuple[int, ...]) -> Callable[[], None]:
    """Return a function by which a new process closes some of the three."""

    def close() -> None:
        for number in numbers:
            os.close(number)

    return close


def within(opening: str, body: str) -> str:
    """Return the text of a with-block."""
    return "with " + opening + ":\n" + "".join(f"    {line.strip()}\n" for line in body.strip().splitlines())


@pytest.mark.parametrize("closed", ALL_CLOSINGS, ids=str)
@pytest.mark.parametrize("detach", [True, False])
def test_the_three_are_open_and_as_asked_whichever_were_closed(
    daemons: Daemons, closed: tuple[int, ...], detach: bool
) -> None:
    """A daemon's unnamed ones are the null device; without detaching, they are what they were if they were open."""
    *streams, child = told(
        daemons,
        within(f"DaemonContext(detach_process={detach}, stdout=path('log'))", TELL_STREAMS),
        preexec=closing(closed),
    )
    log = str(daemons.directory / "log")
    was = str(daemons.directory / "0.err") if not detach and 2 not in closed else "/dev/null"
    assert streams == [["/dev/null", True], [log, True], [was, True]]
    assert child == ["/dev/null", log, was]


@pytest.mark.parametrize("closed", [(), (2,), (0, 1, 2)], ids=str)
def test_a_failed_start_of_a_launcher_without_streams_still_exits_with_one(
    daemons: Daemons, closed: tuple[int, ...]
) -> None:
    launched = launch(
        daemons,
        "DaemonContext(detach_process=True, stdout=path('no/log')).open()",
        status=1,
        preexec=closing(closed),
    )
    assert ("stdout: " in launched.stderr) == (2 not in closed)


# Where sys.stdout stands for something else. CAPTURE is what pytest puts there: a file with a descriptor of its own.
CAPTURE = "sys.stdout = io.TextIOWrapper(open(path('capture'), 'wb', buffering=0), write_through=True)"
TEE = """
class Tee:
    def __init__(self, *files):
        self.files = files
    def write(self, text):
        for file in self.files:
            file.write(text)
    def flush(self):
        for file in self.files:
            file.flush()
heard = io.StringIO()
sys.stdout = Tee(sys.__stdout__, heard)
"""
STAND_INS = {
    "None": "sys.stdout = None",
    "closed": "sys.stdout.close()",
    "StringIO": "sys.stdout = io.StringIO()",
    "tee": TEE,
    "pytest": CAPTURE,
    "closed-below": "os.close(1)",
    "fileno-fails": "class Odd(io.StringIO):\n    def fileno(self): raise OSError('none')\nsys.stdout = Odd()",
    "fileno-None": "class Odd(io.StringIO):\n    def fileno(self): return None\nsys.stdout = Odd()",
}


@pytest.mark.parametrize("stand_in", STAND_INS.values(), ids=STAND_INS)
@pytest.mark.parametrize("given", [True, False], ids=["given", "discarded"])
def test_descriptor_one_is_as_asked_whatever_sys_stdout_is(daemons: Daemons, stand_in: str, given: bool) -> None:
    """And so is what the daemon prints: in the log, or discarded without an error."""
    option = ", stdout=path('log')" if given else ""
    body = within(f"DaemonContext(detach_process=True{option})", "print('printed')" + TELL_STREAMS)
    *streams, child = told(daemons, stand_in, body)
    log = daemons.directory / "log"
    one = str(log) if given else "/dev/null"
    assert streams == [["/dev/null", True], [one, True], ["/dev/null", True]]
    assert child == ["/dev/null", one, "/dev/null"]
    assert not given or log.read_text() == "printed\n"


def test_a_programs_own_tee_is_left_to_it_when_nothing_is_said_of_stdout(daemons: Daemons) -> None:
    assert (
        told(daemons, TEE, "with DaemonContext(detach_process=True): print('heard'), tell(heard.getvalue())")
        == "heard\n"
    )


# What may be given


@pytest.mark.parametrize("kind", ["str", "os.fsencode", "__import__('pathlib').Path"])
@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_a_path_is_appended_to(daemons: Daemons, kind: str, name: str) -> None:
    log = daemons.directory / "log"
    log.write_text("earlier\n")
    log.chmod(0o604)
    launch(
        daemons,
        f"with DaemonContext(detach_process=True, {name}={kind}(path('log'))): sys.{name}.write('later\\n')",
    )
    assert log.read_text() == "earlier\nlater\n"
    assert stat.S_IMODE(log.stat().st_mode) == 0o604


@pytest.mark.parametrize(("umask", "mode"), [(0, 0o640), (0o022, 0o640), (0o027, 0o640), (0o077, 0o600)])
def test_a_file_that_is_made_gets_mode_0640_less_the_launchers_umask(daemons: Daemons, umask: int, mode: int) -> None:
    launch(
        daemons, f"os.umask({umask})\nwith DaemonContext(detach_process=True, stdout=path('log'), umask=0o777): pass"
    )
    assert stat.S_IMODE((daemons.directory / "log").stat().st_mode) == mode


def test_a_relative_path_is_meant_where_the_launcher_is(daemons: Daemons) -> None:
    (daemons.directory / "input").write_text("some input\n")
    found = told(
        daemons,
        """
        with DaemonContext(detach_process=True, stdin="input", stdout="out", stderr="./x/../err"):
            print(os.getcwd()), tell(sys.stdin.read())
        """,
    )
    assert found == "some input\n"
    assert (daemons.directory / "out").read_text() == "/\n"
    assert (daemons.directory / "err").exists()


def test_stdin_is_opened_to_read_only(daemons: Daemons) -> None:
    assert (
        told(
            daemons,
            """
        open(path("input"), "w").close()
        with DaemonContext(detach_process=True, stdin=path("input")):
            flags = [fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE for number in range(3)]
            tell([flags[0] == os.O_RDONLY, flags[1] != os.O_RDONLY, flags[2] != os.O_RDONLY])
        """,
        )
        == [True] * 3
    )


def test_stdout_and_stderr_at_the_same_path_overwrite_nothing_of_each_other(daemons: Daemons) -> None:
    launch(
        daemons,
        """
        with DaemonContext(detach_process=True, stdout=path("log"), stderr=path("log")):
            for number in range(100):
                print("out", number), print("err", number, file=sys.stderr)
        """,
    )
    lines = (daemons.directory / "log").read_text().splitlines()
    assert lines == [f"{name} {number}" for number in range(100) for name in ("out", "err")]


def test_stdout_and_stderr_may_change_places(daemons: Daemons) -> None:
    launch(
        daemons,
        "with DaemonContext(detach_process=True, stdout=2, stderr=1): print('one'), print('two', file=sys.stderr)",
    )
    assert ((daemons.directory / "0.out").read_text(), (daemons.directory / "0.err").read_text()) == ("two\n", "one\n")


def test_the_three_may_go_round(daemons: Daemons) -> None:
    """Each is put where another was."""
    assert told(
        daemons,
        """
        os.dup2(os.open(path("a"), os.O_RDWR | os.O_CREAT), 0)
        os.dup2(os.open(path("b"), os.O_RDWR | os.O_CREAT), 1)
        os.dup2(os.open(path("c"), os.O_RDWR | os.O_CREAT), 2)
        with DaemonContext(detach_process=True, stdin=1, stdout=2, stderr=0):
            tell([os.path.basename(target(number)) for number in range(3)])
        """,
    ) == ["b", "c", "a"]


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_stream_may_be_kept_by_its_own_number(daemons: Daemons, number: int) -> None:
    name = ("stdin", "stdout", "stderr")[number]
    assert told(
        daemons,
        f"""
        before = target({number})
        with DaemonContext(detach_process=True, {name}={number}):
            tell([before == target({number}), os.get_inheritable({number})])
        """,
        stdin="some input",
    ) == [True, True]


@pytest.mark.parametrize(
    "made",
    [
        "open(path('file'), 'w')",
        "open(path('file'), 'wb')",
        "open(path('file'), 'wb', buffering=0)",
        "os.open(path('file'), os.O_WRONLY | os.O_CREAT)",
        "logging.FileHandler(path('file')).stream",
    ],
)
def test_a_file_or_a_descriptor_is_written_to(daemons: Daemons, made: str) -> None:
    launch(
        daemons,
        f"""
        with DaemonContext(detach_process=True, stdout={made}, stderr={made.replace("'file'", "'other'")}):
            print("out"), print("err", file=sys.stderr)
            os.write(1, b"below\\n")
        """,
    )
    assert (daemons.directory / "file").read_text() == "out\nbelow\n"
    assert (daemons.directory / "other").read_text() == "err\n"


def test_a_socket_may_be_all_three(daemons: Daemons) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        launch(
            daemons,
            """
            made = socket.socket(fileno=int(os.environ["SOCKET"]))
            with DaemonContext(detach_process=True, stdin=made, stdout=made, stderr=made):
                print(sys.stdin.readline().upper(), end="")
            """
            if ours.send(b"hello\n")
            else "",
            pass_fds=[theirs.fileno()],
            env={"SOCKET": str(theirs.fileno())},
        )
        assert ours.recv(100) == b"HELLO\n"


def test_the_null_device_and_a_link_to_a_stream_may_be_named(daemons: Daemons) -> None:
    """``/dev/stdout`` means the launcher's."""
    launched = launch(
        daemons,
        """
        with DaemonContext(detach_process=True, stdin="/dev/null", stdout="/dev/null", stderr="/dev/stdout"):
            print("nowhere"), print("the launcher's output", file=sys.stderr)
        """,
    )
    assert (daemons.directory / "0.out").read_text() == "the launcher's output\n"
    assert launched.stderr == ""


def test_dev_stdout_of_a_pipeline_means_the_pipe(daemons: Daemons) -> None:
    running = daemons.start(
        program("with DaemonContext(detach_process=True, stdout='/dev/stdout'): print('through the pipe')"),
        daemons.directory,
        stdout=subprocess.PIPE,
    )
    assert running.process.stdout is not None
    assert running.process.stdout.read() == b"through the pipe\n"
    running.wait().check()


def test_a_fifo_is_written_to(daemons: Daemons) -> None:
    os.mkfifo(daemons.directory / "fifo")
    reading = os.open(daemons.directory / "fifo", os.O_RDONLY | os.O_NONBLOCK)
    try:
        launch(daemons, "with DaemonContext(detach_process=True, stdout=path('fifo')): print('through the fifo')")
        assert os.read(reading, 100) == b"through the fifo\n"
    finally:
        os.close(reading)


@pytest.mark.reliability("Hostile files")
def test_a_fifo_that_nobody_reads_holds_no_start_up_and_is_named(daemons: Daemons) -> None:
    os.mkfifo(daemons.directory / "fifo")
    step, number, text = told(
        daemons,
        """
        try:
            DaemonContext(detach_process=True, stdout=path("fifo")).open()
        except DaemonStartError as error:
            tell([error.step, error.errno, str(error)])
        """,
    )
    assert (step, number) == ("redirect_streams", errno.ENXIO)
    assert f"nobody reads from it: it is a FIFO, or a socket: {daemons.directory}/fifo" in text


def test_a_link_to_a_log_that_is_not_there_yet_makes_it(daemons: Daemons) -> None:
    os.symlink("today.log", daemons.directory / "current")
    launch(daemons, "with DaemonContext(detach_process=True, stdout=path('current')): print('text')")
    assert (daemons.directory / "today.log").read_text() == "text\n"


def test_what_a_worker_cannot_write_at_its_exit_is_told_of_by_python(daemons: Daemons) -> None:
    """It is only from who was asked to stop that nothing more is expected."""
    launched = daemons.launch(
        """
        import os, signal, sys
        from daemonry import DaemonContext

        with DaemonContext(detach_process=False, working_directory=".", stdout="/dev/full") as context:
            worker = os.fork()
            if worker == 0:
                print("lost")
                sys.exit()
            print(os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1]), file=sys.stderr)
        """,
        env={"PYTHONUNBUFFERED": None},
    ).check()
    assert launched.stderr.endswith("120\n")
    assert "No space left on device" in launched.stderr
