"""The mistakes of those who start a program by the command, each with its message: what, on what, why, what to do."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from harness.waiting import wait_for

if TYPE_CHECKING:
    from harness.commands import Daemonry


def fails(daemonry: Daemonry, *words: object, status: int = 1) -> str:
    """Return the one line that a start says which fails, before the program's own."""
    failed = daemonry("start", "--name", daemonry.name, *words).check(status)
    assert "Traceback" not in failed.stderr
    assert (daemonry.left(), daemonry.daemons.alive()) == ([], [])
    line: str = failed.stderr.splitlines()[0]
    return line


# What can't be executed


@pytest.mark.parametrize("flags", [(), ("--restart",)])
@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("#!/no/such/interpreter\n", "No such file or directory; its first line names the interpreter /no/such/inter"),
        ("#!/bin/sh\r\nexit\r\n", "; its first line ends with a carriage return, as lines of DOS do: convert it"),
        ("#!PLACE/plain -x\n", "Permission denied; its first line names the interpreter PLACE/plain, which may not be"),
        ("echo hello\n", "Exec format error; it is no program of this machine, and no script: that begins with a line"),
        ("\x7fELF and so on", "Exec format error; it is no program of this machine"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_executed(daemonry: Daemonry, text: str, told: str, flags: tuple[str, ...]) -> None:
    place = str(daemonry.directory)
    (daemonry.directory / "plain").write_text("")
    script = daemonry.directory / "script"
    script.write_bytes(text.replace("PLACE", place).encode())
    script.chmod(0o755)
    line = fails(daemonry, *flags, "--", "./script", status=4 if "Permission" in told else 1)
    assert line.startswith(f"daemonry: cannot start the daemon: cannot execute {script}: ")
    assert told.replace("PLACE", place) in line


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("./none", "there is no program ./none"),
        ("none/at/all", "there is no program none/at/all"),
        ("plain/below", "the program plain/below can't be reached: Not a directory"),
        ("./public", "./public is a directory; name a program in it"),
        ("./plain", "./plain may not be executed by anybody; chmod +x it, or put its interpreter before it"),
        ("./fifo", "./fifo is not a regular file, and can't be executed"),
        ("plain", "there is no program plain in PATH; there is ./plain here: call it so"),
        ("no-such-program-here", "there is no program no-such-program-here in PATH"),
    ],
)
def test_a_word_that_is_no_program(daemonry: Daemonry, word: str, told: str) -> None:
    """Said before anything is started, with the LSB's status for it."""
    (daemonry.directory / "plain").write_text("")
    os.mkfifo(daemonry.directory / "fifo")
    assert fails(daemonry, "--", word, status=5) == f"daemonry: {told}"


@pytest.mark.unprivileged_only("root may execute what anybody may")
def test_a_program_of_others_alone(daemonry: Daemonry) -> None:
    (daemonry.directory / "mine").write_text("#!/bin/sh\n")
    (daemonry.directory / "mine").chmod(0o011)
    told = "./mine may not be executed by this user, but by others: its mode is 0011"
    assert fails(daemonry, "--", "./mine", status=5) == f"daemonry: {told}"


# What ends, or doesn't come up


@pytest.mark.parametrize("words", [("app.py",), ("--config=app.py",), ("./app.py",)])
def test_a_file_that_is_here_and_not_where_the_program_works(daemonry: Daemonry, words: tuple[str, ...]) -> None:
    """Which is / unless it is said otherwise."""
    (daemonry.directory / "app.py").write_text("import time; time.sleep(60)")
    name = words[0].rpartition("=")[2]
    line = fails(daemonry, "--settle", "9", "--", sys.executable, *words)
    told = f"; {name} is in {daemonry.directory}, but the program works in /: give its whole path, or --chdir ."
    assert line.endswith(told)
    daemonry.start("--settle", "0", "--chdir", ".", "--", sys.executable, "app.py")
    daemonry.stop()


def test_a_word_that_is_there_as_well_is_no_mistake(daemonry: Daemonry) -> None:
    """And what is in no way a file is not spoken of."""
    (daemonry.directory / "etc").mkdir()
    line = fails(daemonry, "--", "sh", "-c", "exit 3", "etc", "nothing")
    assert line == "daemonry: cannot start the daemon: the program exited with status 3 before it was ready"


@pytest.mark.parametrize("flags", [(), ("--restart",)])
@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("nginx", "it is to stay in front: nginx takes -g 'daemon off;'"),
        ("sshd", "it is to stay in front: sshd takes -D"),
        ("something", "it is to stay in front, by a flag of its own"),
    ],
)
def test_a_program_that_forks_away(daemonry: Daemonry, name: str, told: str, flags: tuple[str, ...]) -> None:
    """It wants to be a daemon itself, and its parent ends well."""
    program = daemonry.directory / name
    program.write_text("#!/bin/sh\nsetsid sleep 60 &\nexit 0\n")
    program.chmod(0o755)
    failed = daemonry("start", "--name", daemonry.name, "--settle", "9", *flags, "--", program).check(1)
    first = failed.stderr.splitlines()[0]
    assert "exited with status 0" in first
    assert f"; if it has gone on in the background, {told}" in first
    for pid in daemonry.daemons.alive():
        daemonry.daemons.stop(pid)


@pytest.mark.parametrize("supervised", [(), ("--restart",)])
@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--settle", "9"), "; it was to run for 9 s first: give a --timeout above that, or a shorter --settle"),
        (("--notify",), "; READY=1 never came: a program that doesn't say it (sd_notify) is waited for by --wait-port"),
        (("--wait-port", "1"), "; port 1 did not accept at 127.0.0.1 or ::1"),
    ],
)
def test_a_program_that_is_not_up_in_time(
    daemonry: Daemonry, flags: tuple[str, ...], told: str, supervised: tuple[str, ...]
) -> None:
    """What is said is what was waited for, in the words of the flags and not of the library."""
    line = fails(daemonry, *flags, *supervised, "--timeout", "0.3", "--", "sleep", "60")
    assert line.startswith(
        "daemonry: cannot start the daemon: the program was not up after 0.3 seconds; it has been ended; "
    )
    assert told in line


def test_who_waits_at_a_terminal_is_told_what_for(daemonry: Daemonry) -> None:
    """After some seconds, and in the words of the flags."""
    words = ("start", "--name", daemonry.name, "--settle", "60", "--", "sleep", "60")
    terminal = daemonry.on_terminal(*words)
    terminal.read_until("waiting until it has run for 60 s without ending; Ctrl-C ends the start")
    terminal.write("\x03")
    assert terminal.wait() == 130
    assert "step" not in terminal.output


# What can't be meant


@pytest.mark.parametrize("command", ["start", "run", "restart", "plan"])
def test_a_program_whose_flags_are_not_behind_two_dashes(daemonry: Daemonry, command: str) -> None:
    """What can't be a flag of the command is shown where it is to stand; a flag before the program is none of it."""
    flags = ("--name", "python3")
    said = daemonry(command, *flags, "python3", "-m", "http.server", "a b").check(2).stderr
    meant = f"daemonry {command} --name python3 -- python3 -m http.server 'a b'"
    assert said.endswith(
        f"unrecognized arguments: -m http.server a b; what is the program's own stands behind --: {meant}\n"
    )
    said = daemonry(command, "--nmae", "python3", "python3", "app.py").check(2).stderr
    assert said.endswith("error: unrecognized arguments: --nmae\n")
    assert "Traceback" not in daemonry(command, "python3", "-qx").check(2).stderr


@pytest.mark.parametrize("flag", ["--output", "--stdout", "--stdin"])
@pytest.mark.parametrize("command", ["start", "run", "plan"])
def test_a_file_that_cannot_be_is_told_of_by_its_flag(daemonry: Daemonry, command: str, flag: str) -> None:
    words = ("--name", daemonry.name, flag, "/nowhere/x", "--", "sleep", "60")
    said = daemonry(command, *words).check(2).stderr
    assert said.startswith(f"daemonry: cannot start the daemon: {flag}: /nowhere")
    assert said.endswith(" does not exist: make it before the start\n")


# What is written and not seen


@pytest.mark.parametrize("through", [(), ("sh", "-c", '"$@"; exit', "sh")])
def test_what_a_python_program_prints_is_in_its_log(daemonry: Daemonry, through: tuple[str, ...]) -> None:
    """To a file Python hands over what is printed in pieces of some kilobytes, unless it is told otherwise."""
    words = ("--settle", "0", "--", *through, sys.executable, "-c", "import time; print('up'); time.sleep(60)")
    daemonry.start(*words, env={"PYTHONUNBUFFERED": None})
    wait_for(lambda: daemonry("logs", daemonry.name).check().stdout == "up\n")
    daemonry.stop()
    for pid in daemonry.daemons.alive():
        daemonry.daemons.stop(pid)


@pytest.mark.parametrize("env", [{"PYTHONUNBUFFERED": ""}, {"PYTHONUNBUFFERED": None}])
def test_a_python_program_may_buffer_what_it_prints_if_that_is_said(
    daemonry: Daemonry, env: dict[str, str | None]
) -> None:
    """By the environment or by --env, with an empty value, which Python takes for none."""
    flags = () if env["PYTHONUNBUFFERED"] == "" else ("--env", "PYTHONUNBUFFERED=")
    script = "import sys, time; print('held'); print(sys.stdout.write_through, file=sys.stderr); time.sleep(60)"
    daemonry.start("--settle", "0", *flags, "--", sys.executable, "-c", script, env=env)
    wait_for(lambda: daemonry.log().read_text() == "False\n")
    daemonry.stop()
