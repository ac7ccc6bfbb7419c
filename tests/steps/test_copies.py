"""A copy of one of the three streams follows that stream, so that nobody waits for an end that never comes."""

from __future__ import annotations

import os
import socket
import subprocess
from typing import TYPE_CHECKING

import pytest

from harness.probe import facts_of
from harness.waiting import read_json, wait_for
from telling_programs import program

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.daemons import Daemons

# What the program has kept when it starts, and the options of its start.
WAYS = {
    "nothing": ("", ""),
    "nothing, with a pidfile": ("", "pidfile=daemonry.PIDLockFile(path('pid'))"),
    "a copy of stdout": ("kept = os.dup(1)", ""),
    "a file on a copy of stderr": ("kept = open(os.dup(2), 'w')", ""),
    "a copy of stdin": ("kept = os.dup(0)", ""),
    "a log's handler on a copy of stdout": ("logging.basicConfig(stream=open(os.dup(1), 'w'))", ""),
    "the same where files are named": ("logging.basicConfig(stream=open(os.dup(1), 'w'))", "files_preserve=[]"),
    "a log's handler on stderr itself": ("logging.basicConfig()", ""),
    "stdout by its name": ("kept = open('/dev/stdout', 'w') if 'pipe' in target(1) else None", ""),
    "a copy that is handed on": ("os.dup2(1, 99)", ""),
    "a copy among its own files": ("kept = os.dup(1)", "files_preserve=daemonry.own_files()"),
    "what a test runner keeps": (
        "kept = [os.dup(each) for each in (0, 1, 2)]; os.dup2(os.open(path('x'), 577), 1)",
        "",
    ),
    "what sys kept": ("sys.stdout = open(os.dup(1), 'w')", ""),
    "a log for stdout": ("kept = os.dup(1)", "stdout=path('log')"),
}
BODY = """
    {kept}
    with DaemonContext(detach_process=True, {options}) as context:
        tell([each.target for each in facts().descriptors if each.target.startswith(("pipe:", "socket:", "/dev/pts"))])
        context.wait()
"""


@pytest.fixture(params=["pipe", "socket"])
def ends(request: pytest.FixtureRequest) -> Iterator[tuple[int, int]]:
    """Give the reading and the writing end of what the program writes to."""
    reading, writing = os.pipe() if request.param == "pipe" else [each.detach() for each in socket.socketpair()]
    yield reading, writing
    os.close(reading)


@pytest.mark.reliability("The program's own code")
@pytest.mark.parametrize("way", WAYS)
def test_who_reads_what_the_launcher_says_reads_its_end_while_the_daemon_runs(
    daemons: Daemons, way: str, ends: tuple[int, int]
) -> None:
    """As ``subprocess.run(capture_output=True)``, ``ssh host start`` and a pipeline of the shell do."""
    kept, options = WAYS[way]
    reading, writing = ends
    source, feed = os.pipe()
    running = daemons.start(
        program(BODY.format(kept=kept, options=options)),
        daemons.directory,
        stdin=source,
        stdout=writing,
        stderr=writing,
    )
    os.close(writing), os.close(source)
    os.set_blocking(reading, False)
    said = b""

    def is_at_end() -> bool:
        nonlocal said
        try:
            part = os.read(reading, 4096)
        except BlockingIOError:
            return False
        said += part
        return not part

    wait_for(is_at_end, what="the end of what it says")
    assert (running.wait().check().status, said) == (0, b"")
    assert read_json(daemons.directory / "told") == []
    os.close(feed)
    daemons.stop(daemons.survivor())


def test_capturing_what_a_start_says_takes_no_longer_than_the_start(daemons: Daemons) -> None:
    text = program(BODY.format(kept="logging.basicConfig(stream=open(os.dup(1), 'w'))", options=""))
    running = daemons.start(text, daemons.directory, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert running.process.communicate(timeout=10) == (b"", b"")
    daemons.stop(daemons.survivor())


def told(daemons: Daemons, kept: str, body: str, options: str = "") -> object:
    """Run a daemon below a pipe that nobody reads any more, and answer what it tells."""
    running = daemons.start(
        program(f"{kept}\nwith DaemonContext(detach_process=True, {options}):\n    {body}"),
        daemons.directory,
        stdout=subprocess.PIPE,
    )
    running.process.communicate(timeout=10)
    answer = read_json(daemons.directory / "told")
    (daemons.directory / "told").unlink()
    return answer


def test_a_copy_goes_where_its_stream_goes(daemons: Daemons) -> None:
    """What is written to it is in the log."""
    assert told(
        daemons,
        "kept = os.dup(1); os.set_inheritable(kept, False)",
        "os.write(kept, b'by the copy'); tell([target(kept) == path('log'), os.get_inheritable(kept)])",
        "stdout=path('log')",
    ) == [True, False]
    assert (daemons.directory / "log").read_text() == "by the copy"


def test_a_copy_of_two_streams_follows_the_one_that_is_not_discarded(daemons: Daemons) -> None:
    for name in ("stdout", "stderr"):
        assert (
            told(daemons, "os.dup2(1, 2); kept = os.dup(1)", "tell(target(kept))", f"{name}=path({name!r})")
            == f"{daemons.directory}/{name}"
        )


def test_the_other_end_of_a_pipe_is_no_copy(daemons: Daemons) -> None:
    """A program that reads its own output goes on having that end, and a stream that leads to a file has no copies."""
    assert told(
        daemons,
        "reading, writing = os.pipe(); os.dup2(writing, 1); file = os.open(path('file'), 577); os.dup2(file, 2)",
        "tell([target(reading)[:5], target(writing), os.path.basename(target(file))])",
    ) == ["pipe:", "/dev/null", "file"]


def test_a_copy_that_is_named_stays_what_it_is(daemons: Daemons) -> None:
    """And so does one that a stream is to lead to: who says so wants to go on talking to whoever is there."""
    for options in ("files_preserve=[kept]", "stderr=kept"):
        assert told(daemons, "kept = os.dup(1)", "tell(target(kept)[:5])", options) == "pipe:"


def test_a_copy_of_the_null_device_is_none(daemons: Daemons) -> None:
    found = told(daemons, "kept = os.dup(0)", "tell(target(kept))", "stdin='/etc/passwd'")
    assert found == "/dev/null"


def test_in_the_foreground_copies_stay_what_they_are(daemons: Daemons) -> None:
    """Whoever waits for the end waits for the process."""
    text = (
        "kept = os.dup(1)\nwith DaemonContext(detach_process=False, stdout=path('log')):\n    os.write(kept, b'still')"
    )
    running = daemons.start(program(text), daemons.directory, stdout=subprocess.PIPE)
    assert running.process.communicate(timeout=10)[0] == b"still"


@pytest.mark.parametrize("kept", ["os.dup(1)", "os.open('/dev/tty', os.O_RDWR)", "os.open('/dev/tty', os.O_RDONLY)"])
@pytest.mark.parametrize("redirected", [False, True])
def test_a_daemon_keeps_no_copy_of_the_terminal(daemons: Daemons, kept: str, redirected: bool) -> None:
    """By whichever name it was opened, and also when the streams lead elsewhere already."""
    text = f"""
        kept = {kept}
        if {redirected}:
            null = os.open(os.devnull, os.O_RDWR)
            for number in (0, 1, 2):
                os.dup2(null, number)
        with DaemonContext(detach_process=True) as context:
            tell(kept)
            context.wait()
    """
    terminal = daemons.terminal(program(text), daemons.directory)
    number = read_json(daemons.directory / "told")
    pid = daemons.survivor()
    found = {each.number: each.target for each in facts_of(pid).descriptors}
    if "tty" in kept or not redirected:
        assert found[number] == "/dev/null"
        assert not [each for each in found.values() if "pts" in each or "tty" in each]
    daemons.stop(pid)
    terminal.wait()
