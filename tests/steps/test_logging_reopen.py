"""Log rotation: files that were moved away are let go, no line is lost and none is torn."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from harness.probe import facts_of
from harness.size import times
from harness.waiting import read_json, wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from harness.daemons import Daemons

# Writes numbered lines as fast as it can, in the way of the first argument, until it is told to stop.
WRITER = """
    import logging, os, sys
    import daemonry
    from harness.probe import publish

    way = sys.argv[1]
    if way == "logging":
        logging.basicConfig(filename="log", format="%(message)s")
    write = {
        "print": print,
        "parts": lambda text: [sys.stdout.write(part) for part in (text[:9], text[9:], "\\n")],
        "stderr": lambda text: print(text, file=sys.stderr),
        "logging": logging.warning,
    }[way]
    stream = {"logging": None, "stderr": "stderr"}.get(way, "stdout")
    options = {stream: "log"} if stream else {}
    signal_map = {"HUP": "reopen_streams", "TERM": "request_stop"}
    with daemonry.DaemonContext(working_directory=".", signal_map=signal_map, **options) as context:
        publish("pid", os.getpid())
        number = 0
        while not context.wait(0):
            write(f"line {number:08} " + "x" * (number % 97))
            number += 1
    publish("count", number)
    """


def rotate(pid: int, log: Path, number: int) -> None:
    """Do what logrotate does, and wait until the daemon writes to the new file."""
    subprocess.run(["mv", log, f"{log}.{number}"], check=True)
    os.kill(pid, signal.SIGHUP)
    wait_for(lambda: log.exists() and log.stat().st_size, what="the new file is written to")


@pytest.mark.parametrize(
    ("way", "unbuffered"),
    [("print", None), ("print", "1"), ("parts", None), ("stderr", None), ("stderr", "1"), ("logging", None)],
)
def test_no_line_is_lost_or_torn_by_rotation_in_the_middle_of_heavy_writing(
    daemons: Daemons, way: str, unbuffered: str | None
) -> None:
    daemons.launch(WRITER, way, env={"PYTHONUNBUFFERED": unbuffered}).check()
    pid = read_json(daemons.directory / "pid")
    log = daemons.directory / "log"
    wait_for(lambda: log.exists() and log.stat().st_size, what="lines are written")
    rotations = times(30)
    for number in range(rotations):
        rotate(pid, log, number)
    daemons.stop(pid)
    expected = 0
    for file in (*(daemons.directory / f"log.{number}" for number in range(rotations)), log):
        text = file.read_text()
        assert text.endswith("\n")
        for line in text.splitlines():
            assert line == f"line {expected:08} " + "x" * (expected % 97), file.name
            expected += 1
    assert expected == read_json(daemons.directory / "count")


def test_threads_lose_no_line_either(daemons: Daemons) -> None:
    daemons.launch(
        """
        import logging, os, threading
        import daemonry
        from harness.probe import publish

        logging.basicConfig(filename="log", format="%(message)s")
        signal_map = {"HUP": "reopen_streams", "TERM": "request_stop"}
        with daemonry.DaemonContext(working_directory=".", signal_map=signal_map) as context:
            counts = {}

            def write(name):
                counts[name] = 0
                while not context.wait(0):
                    logging.warning("%s %06d", name, counts[name])
                    counts[name] += 1

            threads = [threading.Thread(target=write, args=(name,)) for name in "abc"]
            for thread in threads:
                thread.start()
            publish("pid", os.getpid())
            context.wait()
            for thread in threads:
                thread.join()
        publish("counts", counts)
        """
    ).check()
    pid = read_json(daemons.directory / "pid")
    log = daemons.directory / "log"
    for number in range(10):
        rotate(pid, log, number)
    daemons.stop(pid)
    lines = [line for file in daemons.directory.glob("log*") for line in file.read_text().splitlines()]
    counts = read_json(daemons.directory / "counts")
    assert sorted(lines) == sorted(f"{name} {number:06}" for name in counts for number in range(counts[name]))


# Reopens on SIGHUP, and writes a line everywhere on SIGUSR1.
SPEAKER = """
    import logging, logging.handlers, os, sys
    import daemonry
    from harness.probe import publish

    def speak(signum, frame):
        global count
        print(f"out {count}")
        print(f"err {count}", file=sys.stderr)
        logging.getLogger("one").warning("one %d", count)
        logging.getLogger("two").warning("two %d", count)
        publish("spoken", count)
        count += 1

    def reopen(signum, frame):
        context.reopen_streams(signum, frame)
        publish("reopened", count)

    count = 0
    options = {"stdout": "logs/out", "stderr": "logs/err"}
    logging.basicConfig(filename="told")
    logging.getLogger("one").addHandler(logging.FileHandler("logs/one"))
    logging.getLogger("two").addHandler(logging.handlers.WatchedFileHandler("two/log"))
    for name in ("one", "two"):
        logging.getLogger(name).propagate = False
    exec(sys.argv[1])
    signal_map = {"HUP": reopen, "USR1": speak}
    context = daemonry.DaemonContext(working_directory=".", signal_map=signal_map, **options)
    with context:
        publish("pid", os.getpid())
        context.wait()
    """


class Speaker:
    """A daemon that writes when it is asked to."""

    def __init__(self, daemons: Daemons, set_up: str = "") -> None:
        self._directory = daemons.directory
        for name in ("logs", "two"):
            (daemons.directory / name).mkdir()
        daemons.launch(SPEAKER, set_up).check()
        self.pid = read_json(daemons.directory / "pid")

    def speak(self) -> None:
        """Let it write one more line everywhere."""
        self._ask(signal.SIGUSR1, "spoken")

    def reopen(self) -> None:
        """Tell it of a rotation."""
        self._ask(signal.SIGHUP, "reopened")

    def _ask(self, number: int, name: str) -> None:
        (self._directory / name).unlink(missing_ok=True)
        os.kill(self.pid, number)
        read_json(self._directory / name)


def test_everything_that_has_a_path_is_reopened(daemons: Daemons) -> None:
    speaker = Speaker(daemons)
    logs = daemons.directory / "logs"
    speaker.speak()
    before = facts_of(speaker.pid).numbers
    for name in ("out", "err", "one"):
        (logs / name).rename(logs / f"{name}.1")
    (daemons.directory / "two" / "log").rename(logs / "two.1")
    speaker.reopen()
    speaker.speak()
    for name in ("out", "err", "one"):
        assert (logs / f"{name}.1").read_text() == f"{name} 0\n"
        assert (logs / name).read_text() == f"{name} 1\n"
    assert (daemons.directory / "two" / "log").read_text() == "two 1\n"
    facts = facts_of(speaker.pid)
    assert facts.numbers == before
    assert not any("(deleted)" in each.target or each.target.endswith(".1") for each in facts.descriptors)
    assert [facts.descriptor(number).close_on_exec for number in (0, 1, 2)] == [False] * 3
    assert all(facts.descriptor(number).close_on_exec for number in facts.numbers if number > 2)
    assert oct((logs / "out").stat().st_mode & 0o777) == "0o640"
    assert not (daemons.directory / "told").read_text()
    daemons.stop(speaker.pid)


def test_a_rotation_that_moved_nothing_changes_nothing(daemons: Daemons) -> None:
    speaker = Speaker(daemons)
    for _ in range(3):
        speaker.speak()
        speaker.reopen()
    for name in ("out", "err", "one"):
        assert (daemons.directory / "logs" / name).read_text() == "".join(f"{name} {number}\n" for number in range(3))
    daemons.stop(speaker.pid)


def test_what_cannot_be_reopened_is_logged_and_goes_on_and_so_does_the_rest(daemons: Daemons) -> None:
    """The directory of three logs is gone; the fourth is reopened all the same."""
    speaker = Speaker(daemons)
    speaker.speak()
    directory = daemons.directory
    (directory / "logs").rename(directory / "gone")
    (directory / "two" / "log").rename(directory / "two" / "log.1")
    speaker.reopen()
    speaker.speak()
    for name in ("out", "err", "one"):
        assert (directory / "gone" / name).read_text() == f"{name} 0\n{name} 1\n"
    assert (directory / "two" / "log").read_text() == "two 1\n"
    told = (directory / "told").read_text()
    assert re.findall(r"^CRITICAL:daemonry:cannot reopen: .* '(.*)'$", told, re.MULTILINE) == [
        str(directory / "logs" / name) for name in ("out", "err", "one")
    ]
    daemons.stop(speaker.pid)


def test_one_stream_that_cannot_be_reopened_does_not_hinder_the_other(daemons: Daemons) -> None:
    speaker = Speaker(daemons, "os.mkdir('more'); options['stdout'] = 'more/out'")
    speaker.speak()
    directory = daemons.directory
    (directory / "more").rename(directory / "gone")
    (directory / "logs" / "err").rename(directory / "logs" / "err.1")
    speaker.reopen()
    speaker.speak()
    assert (directory / "gone" / "out").read_text() == "out 0\nout 1\n"
    assert (directory / "logs" / "err").read_text() == "err 1\n"
    daemons.stop(speaker.pid)


FAILS = """
import logging
class Collector(logging.Handler):
    def emit(self, record):
        raise OSError("the collector is down")
logging.getLogger().addHandler(Collector())
"""


@pytest.mark.parametrize(
    ("set_up", "end"),
    [
        ("", ""),
        (FAILS, r"a logging handler failed in being told of a failure\n(.*\n)+OSError: the collector is down\n"),
    ],
    ids=["no handler", "one that fails"],
)
def test_where_nobody_logs_what_cannot_be_reopened_is_told_on_stderr(daemons: Daemons, set_up: str, end: str) -> None:
    running = daemons.start(
        """
        import os, sys
        from daemonry import DaemonContext
        from harness.probe import publish
        exec(sys.argv[1])
        os.mkdir("logs")
        options = {"stdout": "logs/out", "stderr": "err", "working_directory": "."}
        with DaemonContext(detach_process=False, signal_map={"HUP": "reopen_streams"}, **options) as context:
            os.rename("logs", "gone")
            publish("pid", os.getpid())
            context.wait()
        """,
        set_up,
    )
    pid = read_json(daemons.directory / "pid")
    os.kill(pid, signal.SIGHUP)
    log = daemons.directory / "err"
    told = rf"{end}cannot reopen: .* '.*/logs/out'\n"
    wait_for(lambda: re.fullmatch(told, log.read_text()), what="a word on stderr")
    daemons.stop(running.pid)


def test_only_what_has_a_path_is_reopened(daemons: Daemons) -> None:
    """Streams given as descriptors, closed handlers and those not opened yet are left alone."""
    set_up = """
out = open("plain", "a")
options = {"stdout": out, "stderr": sys.__stderr__}
logging.getLogger("later").addHandler(logging.FileHandler("later", delay=True))
closed = logging.FileHandler("closed")
closed.stream.close()
logging.getLogger("closed").addHandler(closed)
"""
    speaker = Speaker(daemons, set_up)
    speaker.speak()
    directory = daemons.directory
    (directory / "plain").rename(directory / "plain.1")
    (directory / "closed").rename(directory / "closed.1")
    speaker.reopen()
    speaker.speak()
    assert (directory / "plain.1").read_text() == "out 0\nout 1\n"
    assert (directory / "0.err").read_text() == "err 0\nerr 1\n"
    for name in ("plain", "closed", "later"):
        assert not (directory / name).exists()
    assert not (directory / "told").read_text()
    daemons.stop(speaker.pid)


@pytest.mark.root_only("it changes the root directory")
def test_in_another_root_what_lies_inside_is_reopened_and_what_lies_outside_is_told_of(daemons: Daemons) -> None:
    """No file of an outside log's name is made inside."""
    jail = daemons.jail()
    for name in ("logs", str(daemons.directory).lstrip("/")):
        (jail / name).mkdir(parents=True)
        (jail / name).chmod(0o1777)
    daemons.launch(
        """
        import logging, logging.handlers, os, signal, sys
        import daemonry

        jail = sys.argv[1]
        handlers = {
            "inside": logging.FileHandler(f"{jail}/logs/inside"),
            "rotating": logging.handlers.RotatingFileHandler(f"{jail}/logs/rotating", maxBytes=1, backupCount=3),
            "outside": logging.FileHandler("outside"),
        }
        for name, handler in handlers.items():
            logging.getLogger(name).addHandler(handler)
        logging.getLogger("daemonry").addHandler(logging.FileHandler("told"))
        with daemonry.DaemonContext(chroot_directory=jail, stdout=f"{jail}/logs/out") as context:
            logging.getLogger("made").addHandler(logging.FileHandler("/logs/made"))
            for number in range(2):
                print(number)
                for name in (*handlers, "made"):
                    logging.getLogger(name).warning("%s %d", name, number)
                if number == 0:
                    for name in ("out", "inside", "made"):
                        os.rename(f"/logs/{name}", f"/logs/{name}.1")
                    context.reopen_streams()
        """,
        jail,
    ).check()
    wait_for(lambda: not daemons.alive(), what="the daemon ends")
    logs = jail / "logs"
    for name, start in (("out", ""), ("inside", "inside "), ("made", "made ")):
        assert ((logs / f"{name}.1").read_text(), (logs / name).read_text()) == (f"{start}0\n", f"{start}1\n")
    assert (logs / "rotating").read_text() == "rotating 1\n"
    assert (logs / "rotating.1").read_text() == "rotating 0\n"
    assert (daemons.directory / "outside").read_text() == "outside 0\noutside 1\n"
    assert os.listdir(jail / str(daemons.directory).lstrip("/")) == []
    told = (daemons.directory / "told").read_text()
    assert re.findall(r"^cannot reopen: .*outside the root directory: '(.*)'$", told, re.MULTILINE) == [
        str(daemons.directory / name) for name in ("outside", "told")
    ]
