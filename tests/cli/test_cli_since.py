"""`--timestamps` and `logs --since`: each line of a supervisor's log has its time, and is found by it."""

from __future__ import annotations

import os
import re
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemonry.cli import since
from daemonry.cli.refusal import Refusal
from daemonry.cli.stamps import Stamped
from harness.jails import bring_in
from harness.waiting import wait_for

if TYPE_CHECKING:
    from harness.commands import Daemonry

STAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d "


def time_of(line: str) -> float:
    return datetime.fromisoformat(line.partition(" ")[0]).timestamp()


def text_of(path: Path) -> str:
    return path.read_text() if path.exists() else ""


# Written


@given(pieces=st.lists(st.sampled_from([b"a", b"\n", b"b\n", b"\nc\n\n"]), max_size=8))
def test_each_line_gets_one_time_however_it_is_written(pieces: list[bytes]) -> None:
    """Whatever the pieces that a program's output comes in, and nothing else is changed in it."""
    stamped = Stamped()
    written = b"".join(map(stamped.put, pieces)).decode()
    lines = written.splitlines(keepends=True)
    assert all(re.match(STAMP, line) for line in lines)
    assert re.sub(f"^{STAMP}", "", written, flags=re.MULTILINE) == b"".join(pieces).decode()


def test_a_programs_lines_have_the_time_at_which_they_were_written(daemonry: Daemonry) -> None:
    """And so have the supervisor's own, which begin a line of theirs; of both streams, where they have files each."""
    script = "import sys, time; print('one'); print('err', file=sys.stderr); time.sleep(0.3); print('two', end='')"
    files = ("--stdout", daemonry.directory / "out", "--stderr", daemonry.directory / "err")
    words = ("--restart-pause", "60", "--settle", "0", *files, "--", sys.executable, "-uc", script)
    before = time.time()
    daemonry.start("--restart", "--timestamps", *words)
    wait_for(lambda: "starts again" in text_of(daemonry.directory / "err"), what="it has ended")
    one, two = (daemonry.directory / "out").read_text().splitlines()
    err, told = (daemonry.directory / "err").read_text().splitlines()
    assert [re.sub(STAMP, "", line) for line in (one, two, err)] == ["one", "two", "err"]
    assert re.fullmatch(rf"{STAMP}daemonry: \S+ exited with status 0; it starts again in 60 s", told)
    times = [time_of(line) for line in (one, two, told)]
    assert before - 0.001 <= times[0] <= times[1] - 0.29 <= times[2] - 0.29 <= time.time()
    daemonry.stop()


def test_a_line_of_the_supervisors_own_is_not_put_behind_one_that_was_begun(daemonry: Daemonry) -> None:
    words = ("--restart-pause", "60", "--settle", "0", "--", "sh", "-c", "printf begun")
    daemonry.start("--restart", "--timestamps", *words)
    wait_for(lambda: "starts again" in text_of(daemonry.log()), what="it has ended")
    assert re.fullmatch(rf"{STAMP}begun\n{STAMP}daemonry: sh exited .*\n", daemonry.log().read_text())
    daemonry.stop()


@pytest.mark.root_only("chroot")
def test_the_time_is_this_machines_also_inside_another_root(daemonry: Daemonry) -> None:
    """There no database tells how far it is from UTC."""
    jail = daemonry.daemons.jail()
    shell = bring_in(jail, "sh")
    words = ("--restart", "--timestamps", "--chroot", jail, "--", shell, "-c", "echo hello; read forever")
    daemonry.start("--settle", "0", *words, env={"TZ": "Asia/Kolkata"})
    wait_for(lambda: "hello" in text_of(daemonry.log()), what="it has written")
    assert re.match(r"\S+\+05:30 ", daemonry.log().read_text())
    daemonry.stop()


@pytest.mark.parametrize("command", ["start", "run", "plan"])
def test_without_a_supervisor_nobody_could_write_the_time(daemonry: Daemonry, command: str) -> None:
    told = daemonry(command, "--name", daemonry.name, "--timestamps", "--", "sleep", "60").check(2).stderr
    assert told == "daemonry: --timestamps takes --restart: without a supervisor the program itself writes its log\n"


# Found


@given(
    steps=st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["", "more\n", "2026 is no time\n\n"])), max_size=12),
    before=st.sampled_from(["", "old\nlines\n"]),
    at=st.integers(-2, 40),
)
def test_the_first_line_of_a_time_or_later_is_found(steps: list[tuple[int, str]], before: str, at: int) -> None:
    """However many lines have none, and however many have the same."""
    now, lines, expected = 1_790_000_000, [before], None
    for seconds, more in steps:
        now += seconds
        if expected is None and now >= 1_790_000_000 + at:
            expected = len("".join(lines))
        lines.append(f"{datetime.fromtimestamp(now).astimezone().isoformat()} line\n{more}")
    fd = os.memfd_create("log")
    try:
        text = "".join(lines)
        os.write(fd, text.encode())
        if steps or not text:
            assert since.start_since(fd, 1_790_000_000 + at, "web") == (len(text) if expected is None else expected)
        else:
            with pytest.raises(Refusal, match="no line of the log of web begins with a time; start it with --restart"):
                since.start_since(fd, 1_790_000_000 + at, "web")
    finally:
        os.close(fd)


@pytest.mark.parametrize(
    "line",
    [
        "2026-11-27T08:00:00.250+00:00 web",
        "2026-11-27T08:00:00Z web",
        "2026-11-27T09:30:00+01:30 web",
        "[2026-11-27 07:00:00 -0100] [7] [INFO] gunicorn's",
        "{local:%Y-%m-%d %H:%M:%S},123 INFO logging's",
        "{local:%Y/%m/%d %H:%M:%S} [notice] nginx's",
    ],
)
def test_the_times_of_other_programs_are_known(line: str) -> None:
    """A log whose lines begin with one needs no --timestamps."""
    when = 1_795_766_400  # 08:00 UTC
    fd = os.memfd_create("log")
    os.write(fd, line.format(local=datetime.fromtimestamp(when)).encode())
    found = [since.start_since(fd, when + seconds, "web") for seconds in (-1, 0, 1)]
    assert found == [0, 0, os.fstat(fd).st_size]
    os.close(fd)


def test_what_is_no_time_though_it_looks_like_one_is_passed_over() -> None:
    fd = os.memfd_create("log")
    os.write(fd, b"2026-99-99T08:00:00Z\n0001/01/01 00:00:00\n2026-11-27T08:00:00Z\n")
    assert since.start_since(fd, 0, "web") == 41
    os.close(fd)


def test_a_line_that_is_longer_than_the_memory_that_there_is_is_passed_over(daemonry: Daemonry) -> None:
    """What a rotation by copy and truncation leaves is a hole of any length."""
    log = daemonry.directory / "log"
    log.write_text("2026-11-27T08:00:00Z first\n")
    os.truncate(log, 2**29)
    with log.open("a") as file:
        file.write("\n2026-11-27T09:00:00Z second\n")
    program = f"""
        import os, resource
        from daemonry.cli import since
        resource.setrlimit(resource.RLIMIT_AS, (2**28, 2**28))
        fd = os.open({str(log)!r}, os.O_RDONLY)
        print(os.pread(fd, 99, since.start_since(fd, since.moment("2026-11-27 08:30+00:00"), "web")).decode(), end="")
        """
    assert daemonry.daemons.launch(program, plain=True, timeout=60).check().stdout == "2026-11-27T09:00:00Z second\n"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("10m", 600), ("10min", 600), ("1h30m", 5400), ("1h 30m", 5400), ("1.5h", 5400), ("2d", 172800)],
)
def test_a_length_of_time_is_meant_until_now(text: str, seconds: float) -> None:
    assert abs(time.time() - seconds - since.moment(text)) < 5


def test_a_time_is_meant_by_this_machines_clock() -> None:
    """Of today, if no day is said; and by UTC, or with an offset, when that is said."""
    eight = datetime.now().replace(hour=8, minute=0, second=0, microsecond=0)
    assert since.moment("08:00") == since.moment("8:00") == since.moment("08:00:00") == eight.timestamp()
    assert since.moment("2026-11-27 08:00") == datetime(2026, 11, 27, 8).timestamp()
    assert since.moment("2026-11-27") == datetime(2026, 11, 27).timestamp()
    assert since.moment("2026-11-27T08:00:00Z") == 1_795_766_400
    assert since.moment("2026-11-27T09:00:00+01:00") == 1_795_766_400


@pytest.mark.parametrize("text", ["", "10", "-5m", "yesterday", "10 parsecs", "25:00", "2026-13-01", "10m ago"])
def test_what_is_no_time_is_a_mistake_in_use(daemonry: Daemonry, text: str) -> None:
    """The message says what one is."""
    told = daemonry("logs", f"--since={text}", daemonry.name).check(2).stderr
    assert f"invalid time (08:00, 2026-11-27 08:00) or length of time (10m, 1h30m) value: {text!r}" in told


def test_logs_shows_what_was_written_since_and_follows(daemonry: Daemonry) -> None:
    """All of it, or its last lines if so many are asked for; and goes on from there."""
    daemonry.start("--restart", "--timestamps", "--", "sh", "-c", "seq 20; exec sleep 60")
    wait_for(lambda: " 20\n" in text_of(daemonry.log()), what="it has written")
    hour_ago = (datetime.now().astimezone() - timedelta(hours=1)).isoformat()
    old = daemonry.log().read_text()
    daemonry.log().write_text(f"{hour_ago} old\nand more of it\n{old}")

    def shown(*words: object) -> list[str]:
        lines = daemonry("logs", *words, daemonry.name).check().stdout.splitlines()
        return [re.sub(STAMP, "", line) for line in lines]

    numbers = [str(number) for number in range(1, 21)]
    assert shown("--since", "10m") == numbers
    assert shown("--since", "10m", "-n", "2") == numbers[-2:]
    assert shown("--since", "2h")[1:] == ["and more of it", *numbers]
    assert shown("--since", "2100-01-01") == []
    terminal = daemonry.on_terminal("logs", "-f", "--since", "10m", daemonry.name)
    terminal.read_until(" 20\r\n")
    with open(daemonry.log(), "a") as file:
        file.write("later\n")
    terminal.read_until("later")
    terminal.write("\x03")
    assert terminal.wait() == 130
    daemonry.stop()


def test_that_nothing_was_written_since_is_said(daemonry: Daemonry) -> None:
    daemonry.start("--settle", "0", "--", "sh", "-c", "echo 2026-11-27T08:00:00Z web; exec sleep 60")
    wait_for(lambda: text_of(daemonry.log()), what="it has written")
    told = daemonry("logs", "--since", "2999-01-01", daemonry.name).check()
    assert (told.stdout, told.stderr) == ("", f"{daemonry.name}: nothing was written since then\n")
    daemonry.stop()


def test_a_log_without_times_says_so(daemonry: Daemonry) -> None:
    """Else it would look as if nothing had been written."""
    daemonry.start("--", "sh", "-c", "echo hello; exec sleep 60")
    told = daemonry("logs", "--since", "10m", daemonry.name).check(1)
    assert told.stderr == (
        f"daemonry: no line of the log of {daemonry.name} begins with a time; "
        "start it with --restart --timestamps, or let the program write the time\n"
    )
    assert told.stdout == ""
    daemonry.stop()


@pytest.mark.parametrize("rate", ["-1/60", "3/-60"])
def test_a_negative_rate_is_a_mistake_in_use(daemonry: Daemonry, rate: str) -> None:
    told = daemonry("start", f"--restart-limit={rate}", "--restart", "--", "true").check(2).stderr
    assert f"invalid N/SECONDS value: '{rate}'" in told
