"""Many processes at one pidfile: one has it, the others are told whose it is, and nobody sees half a file."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from harness.size import times

if TYPE_CHECKING:
    from pathlib import Path

    from harness.daemons import Daemons
    from harness.evidence import Cases

pytestmark = pytest.mark.reliability("Storms")

WAITING = times(100, 30)

# What the programs below begin with: processes that begin their work at one moment, and answer a line each.
CROWD = """
    import json, os, signal, sys, time
    import lockfile
    from daemonry.pidfile import PIDLockFile
    path, left_over, children = sys.argv[1], sys.argv[2:], []

    def crowd(count, work):
        start, answers = os.pipe(), os.pipe()
        children.clear()
        for number in range(count):
            children.append(os.fork())
            if children[-1] == 0:
                os.close(start[1])
                os.read(start[0], 1)
                work(lambda answer: os.write(answers[1], json.dumps(answer).encode() + b"\\n"))
                os._exit(0)
        os.close(start[0])
        os.close(answers[1])
        return start[1], os.fdopen(answers[0])

    def expect_no_failure(count):
        for _ in range(count):
            assert os.wait()[1] == 0
"""


@pytest.mark.parametrize("left", ["nothing", "file"], ids=["no file", "a file that a crash has left"])
@pytest.mark.parametrize("way", ["", "import os; del os.O_TMPFILE"], ids=["O_TMPFILE", "draft"])
def test_of_a_hundred_starters_exactly_one_wins_and_the_others_are_told_its_pid(
    daemons: Daemons, tmp_path: Path, left: str, way: str, cases: Cases
) -> None:
    path = tmp_path / "test.pid"
    launched = daemons.launch(
        f"    {way}\n{CROWD}"
        """
    if left_over == ["file"]:
        with open(path, "w") as file:
            file.write("4194305\\n")
    hold = os.pipe()

    def start(answer):
        os.close(hold[1])
        lock = PIDLockFile(path)
        try:
            lock.acquire()
        except lockfile.AlreadyLocked as error:
            answer(["refused", error.pid])
        else:
            answer(["won", os.getpid()])
            os.read(hold[0], 1)
            lock.release()

    go, answers = crowd(100, start)
    os.close(go)
    print(json.dumps([json.loads(answers.readline()) for _ in range(100)]))
    os.close(hold[1])
    expect_no_failure(100)
    """,
        path,
        left,
        plain=True,
    ).check()
    answers = json.loads(launched.stdout)
    (winner,) = (pid for how, pid in answers if how == "won")
    assert [pid for how, pid in answers if how == "refused"] == [winner] * 99
    assert list(tmp_path.iterdir()) == []
    cases.add(100)


def test_a_hundred_starters_that_wait_have_it_one_after_the_other(
    daemons: Daemons, tmp_path: Path, cases: Cases
) -> None:
    path = tmp_path / "test.pid"
    daemons.launch(
        CROWD
        + """
    def start(answer):
        with PIDLockFile(path, timeout=60):
            # Whoever else is in here at the same time makes one of the two fail.
            os.mkdir(path + ".alone")
            os.rmdir(path + ".alone")

    go, answers = crowd(WAITING, start)
    os.close(go)
    expect_no_failure(WAITING)
    """.replace("WAITING", str(WAITING)),
        path,
        plain=True,
    ).check()
    assert list(tmp_path.iterdir()) == []
    cases.add(WAITING)


def test_fifty_who_ask_refuse_no_start(daemons: Daemons, tmp_path: Path, cases: Cases) -> None:
    launched = daemons.launch(
        CROWD
        + """
    end = os.pipe()
    os.set_blocking(end[0], False)

    def ask(answer):
        os.close(end[1])
        os.nice(10)
        lock, seen = PIDLockFile(path), set()
        while True:
            seen.add((lock.is_locked(), lock.read_pid()))
            try:
                os.read(end[0], 1)
                break
            except BlockingIOError:
                pass
        answer([list(each) for each in seen])

    go, answers = crowd(50, ask)
    os.close(go)
    os.close(end[0])
    lock = PIDLockFile(path)
    for _ in range(200):
        lock.acquire()
        lock.release()
    os.close(end[1])
    seen = [json.loads(answers.readline()) for _ in range(50)]
    assert {pid for each in seen for _, pid in each} <= {None, os.getpid()}, seen
    print(len(seen))
    expect_no_failure(50)
    """,
        tmp_path / "test.pid",
        plain=True,
    ).check()
    assert launched.stdout == "50\n"
    cases.add(200)


@pytest.mark.parametrize("way", ["", "import os; del os.O_TMPFILE"], ids=["O_TMPFILE", "draft"])
def test_no_reader_ever_sees_an_empty_or_half_written_file(daemons: Daemons, tmp_path: Path, way: str) -> None:
    """Asked from outside of the library too, by a plain open and read of whatever has the name."""
    launched = daemons.launch(
        f"    {way}\n{CROWD}"
        """
    end = os.pipe()
    os.set_blocking(end[0], False)

    def take(answer):
        os.close(end[1])
        lock = PIDLockFile(path, timeout=60)
        while True:
            with lock:
                pass
            try:
                os.read(end[0], 1)
                return
            except BlockingIOError:
                pass

    takers, _ = crowd(3, take)
    os.close(takers)
    os.close(end[0])
    texts, found, missing = set(), 0, 0
    while found < 2000:
        try:
            with open(path, "rb") as file:
                texts.add(file.read())
                found += 1
        except FileNotFoundError:
            missing += 1
    os.close(end[1])
    expect_no_failure(3)
    print(json.dumps([text.decode() for text in texts]))
    """,
        tmp_path / "test.pid",
        plain=True,
    ).check()
    texts = json.loads(launched.stdout)
    assert 1 <= len(texts) <= 3
    assert all(text == f"{int(text)}\n" for text in texts)
    assert list(tmp_path.iterdir()) == []


def test_a_crowd_that_is_killed_again_and_again_leaves_a_lock_that_can_be_taken(
    daemons: Daemons, tmp_path: Path
) -> None:
    path = tmp_path / "test.pid"
    daemons.launch(
        CROWD
        + """
    def take(answer):
        lock = PIDLockFile(path, timeout=60)
        answer("up")
        while True:
            with lock:
                pass

    for _ in range(20):
        go, answers = crowd(3, take)
        os.close(go)
        for _ in range(3):
            answers.readline()
        answers.close()
        for pid in children:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        with PIDLockFile(path):
            pass
    """,
        path,
        plain=True,
    ).check()
    assert not os.path.exists(path)
    assert list(tmp_path.iterdir()) == []
