"""daemonry plan: what a start would do, in the words of who runs a program, and what it would refuse."""

from __future__ import annotations

import json
import re
import shutil
import socket
from typing import TYPE_CHECKING

import pytest

from daemonry import DaemonContext

if TYPE_CHECKING:
    from harness.commands import Daemonry

AT_ONCE = ("--settle", "0")
SLEEP = ("--", "sleep", "60")


def planned(daemonry: Daemonry, *words: object, **options: object) -> dict[str, str]:
    """Return what a plan says, by what it says it of."""
    lines = daemonry("plan", *words, **options).check().stdout.splitlines()
    return dict(re.split(r"  +", line, maxsplit=1) for line in lines)


def test_plan_tells_in_an_operators_words_what_would_be_and_does_nothing(daemonry: Daemonry) -> None:
    """The steps' own names are in JSON alone; what comes to nothing has no line."""
    words = ("--name", daemonry.name, "--umask", "027", *SLEEP)
    told = planned(daemonry, *words)
    steps = {each["step"]: each for each in json.loads(daemonry("plan", "--json", *words).check().stdout)}
    assert list(steps) == [*DaemonContext.steps, "run_program"]
    assert {each["what"]: each["value"] for each in steps.values() if each["what"]} == told
    assert told["pidfile"] == str(daemonry.pidfile())
    assert told["umask"] == "0027"
    assert told["program"] == f"{shutil.which('sleep')} 60"
    assert str(daemonry.log()) in told["streams"]
    assert not set(told) & {*DaemonContext.steps, "root directory", "process 1"}
    assert not any(word in "".join(told.values()) for word in ("files_preserve", "ready()", "the body", "RLIMIT"))
    assert daemonry.daemons.alive() == []
    assert not daemonry.log().exists()
    assert daemonry.left() == []


@pytest.mark.parametrize(
    ("flags", "is_up", "again"),
    [
        ((), "when it has run 0.5 s without ending (--settle; or see --wait-port, --notify)", None),
        (("--settle", "2"), "when it has run 2 s without ending (--settle; or see --wait-port, --notify)", None),
        (("--notify", "--timeout", "0"), "when it says READY=1 (--notify); waited for without end", None),
        (
            ("--restart",),
            "ended if it is not within 90 s",
            "whenever it ends, after 1 s, then longer; given up beyond 5",
        ),
        (("--restart", "on-failure", "--restart-limit", "3/9"), "", "when it fails, after 1 s, then longer; given up"),
    ],
)
def test_plan_says_when_it_counts_as_up_and_starts_again(
    daemonry: Daemonry, flags: tuple[str, ...], is_up: str, again: str | None
) -> None:
    told = planned(daemonry, *flags, *SLEEP)
    assert is_up in told["is up"]
    assert (again is None) == ("starts again" not in told)
    assert again is None or again in told["starts again"]


def test_plan_shows_the_program_as_a_shell_takes_it(daemonry: Daemonry) -> None:
    words = ("--name", daemonry.name, "--restart", "--", "sh", "-c", "sleep 1; exit")
    assert planned(daemonry, *words)["program"] == f"{shutil.which('sh')} -c 'sleep 1; exit'"
    steps = [each["step"] for each in json.loads(daemonry("plan", "--json", *words).check().stdout)]
    assert steps == [*DaemonContext.steps, "supervise", "restart"]


def test_plan_says_what_becomes_of_descriptors(daemonry: Daemonry) -> None:
    with open(daemonry.directory / "kept", "w") as kept, open(daemonry.directory / "closed", "w") as closed:
        numbers = (kept.fileno(), closed.fileno())
        told = planned(daemonry, "--preserve-fd", numbers[0], *SLEEP, pass_fds=numbers)
    expected = rf"keeps {numbers[0]} \(\S+/kept\); closes .*{numbers[1]} \(\S+/closed\)"
    assert re.search(expected, told["descriptors"])


def test_plan_refuses_what_start_would_refuse(daemonry: Daemonry) -> None:
    """In the same words, and with the same status: also what depends on who runs at the moment."""
    pid = daemonry.start(*AT_ONCE, *SLEEP)
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = ("--wait-port", server.getsockname()[1], *SLEEP)
        for words in (
            ("--", "no-such-program-here"),
            (),
            ("--umask", "9", *SLEEP),
            ("--user", "no-such-user", *SLEEP),
            ("--name", daemonry.name, *SLEEP),
            taken,
        ):
            planned, started = (daemonry(command, *words) for command in ("plan", "start"))
            assert planned.status == started.status != 0
            assert planned.stderr.replace(" plan", " start") == started.stderr
            assert planned.stdout == ""
    assert pid == daemonry.pid()
    daemonry.stop()
