"""--restart: a supervisor keeps a program running, passes signals on and writes its logs."""

from __future__ import annotations

import errno
import os
import re
import select
import shutil
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemonry.cli.supervisor import LONGEST_PAUSE, Pace, Policy
from harness.probe import environment_of
from harness.waiting import is_alive, wait_for, wait_for_exit

if TYPE_CHECKING:
    from harness.commands import Daemonry
    from harness.daemons import Daemons

# A program that says when it is started, and fails at once when it finds a file.
STARTS = 'echo "started $(date +%s.%N)"; [ -e broken ] && exit 3; exec sleep 60'
# A program that ends with the status that it is given.
OBEYS = "echo started; read status <orders; exit $status"


def sh(script: str) -> tuple[str, ...]:
    return ("--", "sh", "-c", script)


def python(script: str) -> tuple[str, ...]:
    return ("--", sys.executable, "-ISuc", script)


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def child_of(pid: int) -> int:
    """Return the one program of a supervisor, once there is one: the child of a child."""
    (child,) = wait_for(lambda: [each for child in children_of(pid) for each in children_of(child)], what="a program")
    return child


def text_of(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def wait_for_text(path: Path, text: str, times: int = 1) -> None:
    wait_for(lambda: text_of(path).count(text) >= times, what=f"{text!r} in {path}: {text_of(path)!r}")


def order(directory: Path, status: int) -> None:
    """Give the program that obeys its status, as soon as it listens."""

    def told() -> bool:
        try:
            fd = os.open(directory / "orders", os.O_WRONLY | os.O_NONBLOCK)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return False
            raise
        os.write(fd, b"%d\n" % status)
        os.close(fd)
        return True

    wait_for(told, what="the program listens")


# What it starts again, and when it gives up


@given(
    policy=st.builds(
        Policy,
        on_failure=st.booleans(),
        pause=st.floats(0, 200),
        most=st.integers(0, 6),
        window=st.floats(0.1, 300),
    ),
    runs=st.lists(st.floats(0, 600), max_size=40),
)
def test_pauses_grow_up_to_the_longest_and_are_counted_within_the_window(policy: Policy, runs: list[float]) -> None:
    """Pauses grow, never above the longest; begin anew after a window of running; at most N are within a window."""
    pace, now, granted = Pace(policy), 0.0, list[float]()
    last: float | None = None
    for ran in runs:
        now += ran
        pause = pace.next_pause(now, ran)
        within = [time for time in granted if time > now - policy.window]
        if pause is None:
            assert len(within) == policy.most
            return
        assert len(within) < policy.most
        assert pause <= max(LONGEST_PAUSE, policy.pause)
        if last is None or ran >= policy.window:
            assert pause == policy.pause
        else:
            assert pause == min(last * 2, max(LONGEST_PAUSE, policy.pause)) >= last
        granted.append(now)
        now, last = now + pause, pause


def test_a_program_that_fails_is_started_again_after_growing_pauses_and_given_up_at_the_limit(
    daemonry: Daemonry,
) -> None:
    """The pauses double; what is started again too often is given up, with the reason in the log and no pidfile."""
    log = daemonry.log()
    options = ("--restart", "--restart-pause", "0.05", "--restart-limit", "3/60", "--settle", "0")
    pid = daemonry.start(*options, "--chdir", daemonry.directory, *sh(STARTS))
    wait_for_text(log, "started")
    (daemonry.directory / "broken").touch()
    daemonry.daemons.stop(child_of(pid), signal.SIGKILL)
    wait_for_exit(pid)
    lines = log.read_text().splitlines()
    assert [line for line in lines if line.startswith("daemonry: ")] == [
        "daemonry: sh was killed by SIGKILL; it starts again in 0.05 s",
        "daemonry: sh exited with status 3; it starts again in 0.1 s",
        "daemonry: sh exited with status 3; it starts again in 0.2 s",
        "daemonry: sh exited with status 3; given up, for it was started again 3 times in 60 s",
    ]
    times = [float(line.split()[1]) for line in lines if line.startswith("started ")]
    pauses = [after - before for before, after in zip(times[1:], times[2:])]
    assert [pause >= least for pause, least in zip(pauses, (0.1, 0.2))] == [True, True]
    assert not daemonry.pidfile().exists()
    assert daemonry.daemons.alive() == []


def test_a_program_given_up_in_the_foreground_lends_its_status(daemonry: Daemonry) -> None:
    """`run --restart` ends with the status of the program that it gives up."""
    os.mkfifo(daemonry.directory / "orders")
    options = ("--restart", "--restart-limit", "0/60", "--settle", "0", "--chdir", daemonry.directory)
    running = daemonry.begin("run", "--name", daemonry.name, *options, *sh(OBEYS))
    order(daemonry.directory, 9)
    launched = running.wait().check(9)
    assert "sh exited with status 9; given up, for it was started again 0 times in 60 s" in launched.stderr


@pytest.mark.parametrize("words", [("false",), ("sh", "-c", "exit 3")])
def test_a_program_that_never_was_up_in_the_foreground_is_told_of_in_a_line(
    daemonry: Daemonry, words: tuple[str, ...]
) -> None:
    """In the command's name, as `start` does it."""
    said = daemonry("run", "--restart", "--settle", "9", "--", *words).check(1).stderr
    assert re.fullmatch(r"daemonry: the program exited with status [13]\n", said)


@pytest.mark.parametrize(("settle", "status"), [("0", 0), ("60", 130)])
def test_ctrl_c_in_the_foreground_is_the_end_of_the_program_and_of_its_supervisor(
    daemonry: Daemonry, settle: str, status: int
) -> None:
    """Nothing is said of a new start, whichever of the two has noticed it first, nor of an end that was wanted."""
    script = sh("echo up; exec sleep 60")
    terminal = daemonry.on_terminal("run", "--name", daemonry.name, "--restart", "--settle", settle, *script)
    terminal.read_until("up")
    terminal.write("\x03")
    assert terminal.wait() == status
    assert terminal.output.replace("^C", "") == "up\r\n"
    assert daemonry.left() == []


def test_on_failure_starts_again_what_fails_and_lets_end_what_succeeds(daemonry: Daemonry) -> None:
    """--restart=on-failure: status 3 is started again, status 0 ends the supervisor as well."""
    os.mkfifo(daemonry.directory / "orders")
    options = ("--restart=on-failure", "--restart-pause", "0.01", "--settle", "0", "--chdir", daemonry.directory)
    pid = daemonry.start(*options, *sh(OBEYS))
    order(daemonry.directory, 3)
    wait_for_text(daemonry.log(), "started", 2)
    order(daemonry.directory, 0)
    wait_for_exit(pid)
    assert daemonry.log().read_text().count("started") == 2
    assert not daemonry.pidfile().exists()


def test_always_starts_again_also_what_succeeds(daemonry: Daemonry) -> None:
    """--restart alone starts a program again that has ended with status 0."""
    os.mkfifo(daemonry.directory / "orders")
    options = ("--restart", "--restart-pause", "0.01", "--settle", "0", "--chdir", daemonry.directory)
    daemonry.start(*options, *sh(OBEYS))
    order(daemonry.directory, 0)
    wait_for_text(daemonry.log(), "started", 2)
    daemonry.stop()


def test_a_program_that_is_replaced_meanwhile_is_tried_again(daemonry: Daemonry) -> None:
    """A program that can't be executed for the moment, as during an upgrade, is no end of the supervisor."""
    program, sleep = daemonry.directory / "program", shutil.which("sleep")
    assert sleep is not None
    shutil.copy(sleep, program)
    pid = daemonry.start("--restart", "--restart-pause", "0.05", "--settle", "0", "--", program, "60")
    first = child_of(pid)
    program.rename(daemonry.directory / "away")
    daemonry.daemons.stop(first, signal.SIGKILL)
    wait_for_text(daemonry.log(), "cannot be executed: No such file or directory; it starts again in")
    (daemonry.directory / "away").rename(program)
    assert child_of(pid) != first
    daemonry.stop()


# Whose the pidfile is, and the end


def test_the_pidfile_names_the_supervisor(daemonry: Daemonry) -> None:
    """The pidfile is the supervisor's; the program is its child, and is told its own number."""
    pid = daemonry.start("--restart", "--settle", "0", "--", "sleep", "60")
    child = child_of(pid)
    assert f"DAEMONRY_PID={child}".encode() in environment_of(child).split(b"\0")
    assert daemonry.pid() == pid
    daemonry.stop()


def test_stop_ends_the_program_and_its_supervisor(daemonry: Daemonry) -> None:
    """After `stop` neither of the two is left, and nothing is started again."""
    daemonry.start("--restart", "--settle", "0", "--", "sleep", "60")
    daemonry.stop()
    assert daemonry.daemons.alive() == []
    assert daemonry.log().read_text() == ""


def test_stop_ends_a_supervisor_that_waits_to_start_again(daemonry: Daemonry) -> None:
    """`stop` doesn't wait for the end of a pause between two starts."""
    options = ("--restart", "--restart-pause", "3600", "--settle", "0")
    pid = daemonry.start(*options, "--", "sleep", "60")
    daemonry.daemons.stop(child_of(pid), signal.SIGKILL)
    wait_for_text(daemonry.log(), "it starts again in 3600 s")
    daemonry.stop()
    assert daemonry.daemons.alive() == []


def test_a_program_that_ignores_sigterm_is_killed_with_its_supervisor(daemonry: Daemonry) -> None:
    """The schedule's KILL reaches the supervisor only, and takes the program with it."""
    daemonry.start("--restart", *sh('trap "" TERM; echo up; while :; do sleep 0.02; done'))
    wait_for_text(daemonry.log(), "up")
    daemonry("stop", "--schedule", "TERM/0.2/KILL/5", daemonry.name).check()
    wait_for(lambda: not daemonry.daemons.alive(), what="the program ends")


def test_a_supervisor_that_is_killed_takes_its_program_with_it(daemonry: Daemonry) -> None:
    """After SIGKILL of the supervisor no program is left that a second one would run beside."""
    options = ("--restart", "--settle", "0", "--", "sleep", "60")
    pid = daemonry.start(*options)
    child = child_of(pid)
    daemonry.daemons.stop(pid, signal.SIGKILL)
    wait_for_exit(child)
    daemonry("status", daemonry.name).check(1)
    assert daemonry.start(*options) != pid
    daemonry.stop()


SERVES = """
import os, signal, sys, time
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
{more}
print("up", os.getpid(), flush=True)
time.sleep(60)
"""


def numbers_in(log: Path) -> list[int]:
    """Return the numbers of the processes that have said that they are up."""
    return [int(line.split()[1]) for line in text_of(log).splitlines() if line.startswith("up ")]


@pytest.mark.parametrize("more", ["", "os.fork()", "os.fork() or os.setsid()"])
def test_a_program_that_has_changed_its_user_ends_with_its_supervisor(daemonry: Daemonry, more: str) -> None:
    """As most servers do, and with all that it has started, in whichever session: the kernel forgets whose it was."""
    words = (
        "--restart",
        "--settle",
        "0",
        "--",
        shutil.which("python3") or sys.executable,
        "-c",
        SERVES.format(more=more),
    )
    pid = daemonry.start(*words)
    wait_for_text(daemonry.log(), "up", 2 if more else 1)
    daemonry.daemons.stop(pid, signal.SIGKILL)
    for each in numbers_in(daemonry.log()):
        wait_for_exit(each)
    wait_for(lambda: not daemonry.daemons.alive(), what="those who stood between end, too")


def test_a_wrappers_child_ends_with_the_supervisor(daemonry: Daemonry) -> None:
    """A shell that is killed leaves its child, and with it the port that the next one wants."""
    pid = daemonry.start("--restart", *sh("sleep 60; true"))
    daemonry.daemons.stop(pid, signal.SIGKILL)
    wait_for(lambda: not daemonry.daemons.alive(), what="all end")


def parts_of(pid: int) -> tuple[int, int]:
    """Return the two processes beside a supervisor: who stands between it and the program, and who writes the logs."""
    child_of(pid)
    (guard,) = [each for each in children_of(pid) if children_of(each)]
    (scribe,) = set(children_of(pid)) - {guard}
    return guard, scribe


def test_a_program_ends_with_the_process_between_and_is_started_again(daemonry: Daemonry) -> None:
    """Also when it has changed its user."""
    words = ("--", shutil.which("python3") or sys.executable, "-c", SERVES.format(more=""))
    pid = daemonry.start("--restart", "--restart-pause", "0.01", "--settle", "0", *words)
    wait_for_text(daemonry.log(), "up")
    daemonry.daemons.stop(parts_of(pid)[0], signal.SIGKILL)
    wait_for_text(daemonry.log(), "up", 2)
    first, second = numbers_in(daemonry.log())
    assert not is_alive(first)
    assert child_of(pid) == second
    daemonry.stop()
    assert daemonry.daemons.alive() == []


def test_what_is_written_goes_on_when_the_process_that_writes_it_is_killed(daemonry: Daemonry) -> None:
    """What it had in hand may be lost; the program doesn't notice."""
    counts = "import itertools, time\nfor n in itertools.count(): print(n); time.sleep(0.001)"
    pid = daemonry.start("--restart", "--settle", "0", *python(counts))
    child = child_of(pid)
    wait_for_text(daemonry.log(), "\n50\n")
    scribe = parts_of(pid)[1]
    daemonry.daemons.stop(scribe, signal.SIGKILL)
    size = daemonry.log().stat().st_size
    wait_for(lambda: daemonry.log().stat().st_size > size + 100, what="it goes on")
    assert child_of(pid) == child
    assert parts_of(pid)[1] != scribe
    daemonry.stop()
    assert daemonry.daemons.alive() == []


def switches_of(pid: int) -> int:
    """Return how often the process has run."""
    return sum(map(int, re.findall(r"ctxt_switches:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())))


def test_all_three_sleep_while_the_program_does(daemonry: Daemonry) -> None:
    """None of them looks now and then, or goes round."""
    pid = daemonry.start("--restart", "--settle", "0.5", "--", "sleep", "60")
    parts = (pid, *parts_of(pid))

    def sleeps() -> bool:
        before = [switches_of(each) for each in parts]
        daemonry("logs", daemonry.name).check()  # takes its time
        return [switches_of(each) for each in parts] == before

    wait_for(sleeps, what="none of them runs while a command does")
    daemonry.stop()


# A log that takes nothing

CLEANS = """
import os, signal, time
def end(*_):
    open({cleaned!r}, "w").close()
    os._exit(0)
signal.signal(signal.SIGTERM, end)
while True:
    os.write(1, b"x" * 500)
"""


@pytest.mark.parametrize("flags", [(), ("--restart",)])
def test_a_program_whose_log_takes_nothing_can_be_stopped(daemonry: Daemonry, flags: tuple[str, ...]) -> None:
    """A FIFO whose reader has paused: with a supervisor as without, SIGTERM reaches the program."""
    fifo, cleaned = daemonry.directory / "fifo", daemonry.directory / "cleaned"
    os.mkfifo(fifo)
    reading = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    words = (*flags, "--pidfile", "p.pid", "--output", fifo, "--settle", "0.2")
    daemonry("start", *words, *python(CLEANS.format(cleaned=str(cleaned)))).check()
    pid = int((daemonry.directory / "p.pid").read_text())
    writers = [pid] if not flags else [child_of(pid), parts_of(pid)[1]]
    wait_for(lambda: all("pipe_write" in Path(f"/proc/{each}/wchan").read_text() for each in writers))
    daemonry("stop", "--schedule", "TERM/10", "./p.pid").check()
    assert cleaned.exists()
    assert daemonry.daemons.alive() == []
    os.close(reading)


def test_what_could_not_be_written_is_counted_and_said_later(daemonry: Daemonry) -> None:
    """A FIFO whose reader has gone away, and comes back."""
    fifo = daemonry.directory / "fifo"
    os.mkfifo(fifo)
    reading = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    counts = "import itertools, time\nfor n in itertools.count(): print(n); time.sleep(0.001)"
    words = ("--restart", "--pidfile", "p.pid", "--output", fifo, "--settle", "0.1")
    daemonry("start", *words, *python(counts)).check()
    child = child_of(int((daemonry.directory / "p.pid").read_text()))
    select.select([reading], [], [], 30)
    heard = os.read(reading, 65536)
    os.close(reading)
    with open(f"/proc/{child}/io") as file:
        begin = int(re.findall(r"wchar: (\d+)", file.read())[0])
    wait_for(lambda: int(re.findall(r"wchar: (\d+)", Path(f"/proc/{child}/io").read_text())[0]) > begin + 1000)
    with open(fifo, "rb") as again:
        while b"could not be written" not in heard:
            heard += again.readline()
    assert re.search(rb"\ndaemonry: \d+ bytes could not be written: Broken pipe\n", heard)
    assert is_alive(child)
    daemonry("stop", "./p.pid").check()


# Signals and logs

LISTENS = """
import signal, sys
def hear(number, _frame):
    print("got", signal.Signals(number).name)
    if number == signal.SIGTERM:
        sys.exit()
for name in sys.argv[1:]:
    signal.signal(getattr(signal, name), hear)
print("up")
while True:
    signal.pause()
"""


def test_signals_are_passed_on(daemonry: Daemonry) -> None:
    """USR1, HUP and TERM reach the program that has handlers for them, and TERM lets it end in its own way."""
    daemonry.start("--restart", "--settle", "0", *python(LISTENS), "SIGUSR1", "SIGHUP", "SIGTERM")
    wait_for_text(daemonry.log(), "up")
    for word, name in (("signal", "SIGUSR1"), ("reload", "SIGHUP")):
        daemonry(word, daemonry.name, *([name] if word == "signal" else [])).check()
        wait_for_text(daemonry.log(), f"got {name}\n")
    daemonry.stop()
    assert daemonry.log().read_text() == "up\ngot SIGUSR1\ngot SIGHUP\ngot SIGTERM\n"


def test_a_program_that_does_not_expect_sighup_gets_none(daemonry: Daemonry) -> None:
    """`reload` reopens the logs and lets a program run on that SIGHUP would end."""
    pid = daemonry.start("--restart", "--settle", "0", *python(LISTENS), "SIGUSR1")
    wait_for_text(daemonry.log(), "up")
    child = child_of(pid)
    daemonry("reload", daemonry.name).check()
    daemonry("signal", daemonry.name, "USR1").check()
    wait_for_text(daemonry.log(), "got SIGUSR1")
    assert child_of(pid) == child
    daemonry.stop()


def test_a_log_that_is_moved_away_is_written_anew_and_nothing_is_lost(daemonry: Daemonry) -> None:
    """After a rename and `reload` the same program's output goes on in a new file, without a gap."""
    counts = "import itertools, time\nfor n in itertools.count(): print(n); time.sleep(0.001)"
    log, moved = daemonry.directory / "count.log", daemonry.directory / "moved.log"
    pid = daemonry.start("--restart", "--settle", "0", "--output", log, *python(counts))
    child = child_of(pid)
    wait_for_text(log, "\n50\n")
    log.rename(moved)
    daemonry("reload", daemonry.name).check()
    wait_for(lambda: text_of(log).count("\n") > 50, what="the new log is written")
    assert child_of(pid) == child
    daemonry.stop()
    numbers = [int(line) for line in (moved.read_text() + log.read_text()).splitlines()]
    assert numbers == list(range(len(numbers)))


@pytest.mark.parametrize("files", [1, 2])
def test_output_goes_through_the_supervisor_into_one_file_or_two(daemonry: Daemonry, files: int) -> None:
    """Each stream goes to its own file, and both to one when that is given, in the order they were written."""
    out, err = (daemonry.directory / name for name in ("out.log", "err.log" if files == 2 else "out.log"))
    both = "echo first; echo second >&2; echo third; exec sleep 60"
    options = ("--stdout", out, "--stderr", err) if files == 2 else ("--output", out)
    pid = daemonry.start("--restart", "--settle", "0", *options, *sh(both))
    wait_for_text(out, "third")
    wait_for_text(err, "second")
    pipes = [os.readlink(f"/proc/{child_of(pid)}/fd/{number}") for number in (1, 2)]
    assert all(re.fullmatch(r"pipe:\[\d+\]", each) for each in pipes)
    assert len(set(pipes)) == files
    daemonry.stop()
    assert out.read_text() == ("first\nthird\n" if files == 2 else "first\nsecond\nthird\n")
    assert err.read_text() == ("second\n" if files == 2 else "first\nsecond\nthird\n")


# The start


def test_a_program_that_fails_before_it_is_ready_fails_the_start(daemonry: Daemonry) -> None:
    """It is not started again but fails the start, with its status and its last lines."""
    script = sh("for n in 1 2 3; do echo line $n; done; exit 7")
    launched = daemonry("start", "--name", daemonry.name, "--restart", "--settle", "10", *script)
    assert launched.status == 1
    assert "the program exited with status 7\n  line 1\n  line 2\n  line 3\n" in launched.stderr
    assert daemonry.left() == []
    assert daemonry.daemons.alive() == []


def test_a_program_that_can_not_be_executed_fails_the_start(daemonry: Daemonry) -> None:
    """A file without an interpreter is an error of the start, and not tried again."""
    program = daemonry.directory / "program"
    program.write_text("#!/nowhere/interpreter\n")
    program.chmod(0o755)
    launched = daemonry("start", "--name", daemonry.name, "--restart", "--", program)
    assert launched.status != 0
    assert "No such file or directory" in launched.stderr
    assert daemonry.left() == []


def test_ctrl_c_before_it_is_ready_ends_all(daemonry: Daemonry, daemons: Daemons) -> None:
    """Ctrl-C at the launcher ends the supervisor and the program that is not up yet."""
    script = sh("echo up; exec sleep 60")
    terminal = daemonry.on_terminal("start", "--name", daemonry.name, "--restart", "--notify", *script)
    wait_for_text(daemonry.log(), "up")
    terminal.write("\x03")
    assert terminal.wait() in (130, -signal.SIGINT)
    wait_for(lambda: not daemons.alive(), what="all end")
    assert daemonry.left() == []
