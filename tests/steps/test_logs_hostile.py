"""A log in a directory that a stranger can write: root's rights are never lent to him, at a start and at a reopening.

The daemon stays root here. One that becomes another user is in ``test_streams_given``.
"""

from __future__ import annotations

import json
import os
import pwd
import re
import signal
import stat
from typing import TYPE_CHECKING

import pytest

from harness.size import times
from harness.waiting import read_json, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from harness.daemons import Daemons
    from harness.evidence import Cases

pytestmark = [pytest.mark.reliability("Hostile files"), pytest.mark.root_only("it opens logs with root's rights")]

NOBODY = pwd.getpwnam("nobody")


@pytest.fixture
def precious(daemons: Daemons) -> Path:
    """Give a directory that only root can write, with a file in it that nobody else may read."""
    place = daemons.directory / "precious"
    place.mkdir()
    (place / "log").write_text("secret\n")
    (place / "log").chmod(0o600)
    return place


def is_untouched(precious: Path) -> bool:
    """Whether the file is as it was made, and the only one there."""
    found = (precious / "log").stat()
    as_made = (found.st_uid, stat.S_IMODE(found.st_mode), (precious / "log").read_text()) == (0, 0o600, "secret\n")
    return as_made and os.listdir(precious) == ["log"]


# What a stranger puts in the place of the log ``log`` in his directory, or of the directory ``logs`` there.


def link_to_a_file(place: Path, precious: Path) -> None:
    (place / "log").symlink_to(precious / "log")


def link_to_a_file_that_is_not_there(place: Path, precious: Path) -> None:
    (place / "log").symlink_to(precious / "made")


def link_by_way_of_another(place: Path, precious: Path) -> None:
    (place / "further").symlink_to(precious)
    (place / "log").symlink_to("further/made")


def hard_link(place: Path, precious: Path) -> None:
    os.link(precious / "log", place / "log")


def fifo_that_nobody_reads(place: Path, precious: Path) -> None:
    os.mkfifo(place / "log")


def directory(place: Path, precious: Path) -> None:
    (place / "log").mkdir()


HOSTILE = {
    link_to_a_file: "log is a link, in a directory that others can write; remove it, or choose a directory",
    link_to_a_file_that_is_not_there: "log is a link, in a directory that others can write; remove it, or choose",
    link_by_way_of_another: "log is a link, in a directory that others can write; remove it, or choose",
    hard_link: "another name of a file, in a directory that others can write; remove it, or choose a directory",
    fifo_that_nobody_reads: "nobody reads from it: it is a FIFO, or a socket",
    directory: "is a directory",
}
PLACES = {"his own": (NOBODY.pw_uid, 0o755), "like /tmp": (0, 0o1777), "for all": (0, 0o777), "a group's": (0, 0o775)}


def put(make: Callable[[Path, Path], None], place: Path, precious: Path) -> None:
    """Let the stranger have put something there."""
    make(place, precious)
    for each in place.iterdir():
        if each.is_symlink() or not each.is_file():
            os.chown(each, NOBODY.pw_uid, NOBODY.pw_gid, follow_symlinks=False)


START = """
import os, sys
from daemonry import DaemonContext, DaemonStartError
try:
    with DaemonContext(detach_process=sys.argv[1] == "detach", stderr=sys.argv[2]):
        os.write(2, b"written\\n")
except DaemonStartError as error:
    print(error)
"""


def start(daemons: Daemons, log: Path, way: str = "detach") -> str:
    """Start a daemon of root's whose stderr is this log, and answer what kept it from starting."""
    launched = daemons.launch(START, way, log, timeout=10).check()
    wait_for(lambda: not daemons.alive(), what="everything has ended")
    return launched.stdout


@pytest.mark.parametrize("place", PLACES)
def test_a_daemon_of_roots_does_not_start_on_what_a_stranger_has_put_in_the_place_of_its_log(
    daemons: Daemons, precious: Path, cases: Cases, place: str
) -> None:
    """The error names the file and what to do; nothing hangs."""
    owner, mode = PLACES[place]
    for make, reason in HOSTILE.items():
        theirs = daemons.directory / make.__name__
        theirs.mkdir()
        os.chown(theirs, owner, owner)
        theirs.chmod(mode)
        put(make, theirs, precious)
        said = start(daemons, theirs / "log", "stay")
        assert reason.lower() in said.lower(), make.__name__
        assert str(theirs / "log") in said
        assert is_untouched(precious), make.__name__
    cases.add(len(HOSTILE))


@pytest.mark.parametrize("name", ["log", "made"])
def test_a_link_of_a_strangers_in_the_place_of_a_directory_is_not_followed_by_root(
    daemons: Daemons, precious: Path, name: str
) -> None:
    """Neither is root's file of the right name written, nor one made; nor by a link of root's that leads there."""
    theirs = daemons.directory / "theirs"
    theirs.mkdir()
    put(lambda place, target: (place / "logs").symlink_to(target), theirs, precious)
    os.chown(theirs, NOBODY.pw_uid, NOBODY.pw_gid)
    (daemons.directory / "roots").symlink_to(theirs / "logs" / name)
    for log in (theirs / "logs" / name, daemons.directory / "roots"):
        assert "logs is a link, in a directory that others can write; remove it" in start(daemons, log)
        assert is_untouched(precious)


def test_a_link_of_a_strangers_behind_one_of_roots_is_not_followed_for_another_user_either(
    daemons: Daemons, precious: Path
) -> None:
    theirs = daemons.directory / "theirs"
    theirs.mkdir()
    os.chown(theirs, NOBODY.pw_uid, NOBODY.pw_gid)
    put(link_to_a_file, theirs, precious)
    (daemons.directory / "roots").symlink_to(theirs / "log")
    said = daemons.launch(
        START.replace("DaemonContext(", 'DaemonContext(uid="nobody", '), "stay", daemons.directory / "roots"
    ).check()
    assert "log is a link, in a directory that others can write" in said.stdout
    assert is_untouched(precious)


def test_a_fifo_of_a_strangers_gets_nothing_though_he_reads_it(daemons: Daemons) -> None:
    """He would stop the daemon by reading no more."""
    fifo = daemons.public / "log"
    os.mkfifo(fifo)
    os.chown(fifo, NOBODY.pw_uid, NOBODY.pw_gid)
    reading = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert "no regular file, in a directory that others can write; remove it" in start(daemons, fifo)
        assert os.read(reading, 100) == b""
    finally:
        os.close(reading)


def test_roots_own_links_lead_where_they_shall(daemons: Daemons) -> None:
    """Relative, absolute, one to the next, to a directory, the kernel's own, and where others can write too."""
    place = daemons.directory / "logs" / "below"
    place.mkdir(parents=True)
    (daemons.directory / "absolute").symlink_to(daemons.directory / "next")
    (daemons.directory / "next").symlink_to("dir/../below/log")
    (daemons.directory / "dir").symlink_to("./logs//below/")
    (daemons.public / "link").symlink_to(place / "log")
    for log in (daemons.directory / "absolute", daemons.directory / "dir" / "log", daemons.public / "link"):
        assert start(daemons, log) == ""
    assert (place / "log").read_text() == "written\n" * 3
    for log in ("/proc/self/fd/1", "/dev/stdout"):
        assert daemons.launch(START, "stay", log).check().stdout == "written\n"
    (daemons.directory / "round").symlink_to("round")
    assert "Too many levels of symbolic links" in start(daemons, daemons.directory / "round")
    assert "absolute is not a directory" in start(daemons, daemons.directory / "absolute" / "x")


def test_where_a_link_cannot_be_held_and_looked_at_none_is_followed_that_others_can_replace(
    daemons: Daemons, precious: Path
) -> None:
    """As on macOS, where there is no O_PATH."""
    put(link_to_a_file, daemons.public, precious)
    (daemons.directory / "link").symlink_to("log")
    program = f"import os; del os.O_PATH\n{START}"
    said = daemons.launch(program, "stay", daemons.public / "log").check().stdout
    assert "Too many levels of symbolic links" in said
    assert is_untouched(precious)
    for uid in ("", 'uid="nobody", '):
        text = program.replace("DaemonContext(", f"DaemonContext({uid}")
        assert daemons.launch(text, "stay", daemons.directory / "link").check().stdout == ""
    assert (daemons.directory / "log").read_text() == "written\n" * 2
    assert (daemons.directory / "log").stat().st_uid == 0


# Reopening

HANDLERS = ("FileHandler", "handlers.WatchedFileHandler", "handlers.RotatingFileHandler")
REOPENING = """
import logging, logging.handlers, os, sys
from daemonry import DaemonContext
from harness.probe import publish
place, names = sys.argv[1], sys.argv[2:]
logging.basicConfig(filename="told", format="%(message)s")
for number, name in enumerate(names):
    kind = eval(f"logging.{name}")
    logging.getLogger(name).addHandler(kind(f"{place}/{number}/log"))
count = 0
def reopen(number, frame):
    global count
    count += 1
    context.reopen_streams()
    print("out", flush=True)
    os.write(2, b"err\\n")
    publish("count", count)
with DaemonContext(
    working_directory=".", stdout=f"{place}/out/log", stderr=f"{place}/err/log",
    signal_map={"HUP": reopen, "TERM": "terminate"},
) as context:
    publish("pid", os.getpid())
    while True:
        context.wait()
"""


def test_nothing_that_a_stranger_has_put_in_the_place_of_a_log_is_reopened(
    daemons: Daemons, precious: Path, cases: Cases
) -> None:
    """Streams and handlers go on in the files that they had, and that is told; the next good file is taken."""
    theirs = daemons.directory / "theirs"
    logs = [theirs / name for name in ("out", "err", *map(str, range(len(HANDLERS))))]
    for log in logs:
        log.mkdir(parents=True)
        os.chown(log, NOBODY.pw_uid, NOBODY.pw_gid)
    daemons.launch(REOPENING, theirs, *HANDLERS).check()
    pid = read_json(daemons.directory / "pid")
    count = 0

    def hang_up() -> str:
        nonlocal count
        count += 1
        before = (daemons.directory / "told").stat().st_size
        os.kill(pid, signal.SIGHUP)
        wait_for(lambda: read_json(daemons.directory / "count") == count, what="it has reopened")
        return (daemons.directory / "told").read_text()[before:]

    for make, reason in HOSTILE.items():
        for log in logs:
            (log / "log").rename(log / "kept")
            put(make, log, precious)
        told = hang_up()
        assert [str(log / "log") in told for log in logs] == [True] * len(logs), told
        assert len(re.findall(f"^cannot reopen: .*{reason}", told, re.MULTILINE | re.IGNORECASE)) == len(logs), told
        assert is_untouched(precious)
        assert (theirs / "out" / "kept").read_text().endswith("out\n")
        for log in logs:
            for each in log.iterdir():
                each.rmdir() if each.is_dir() and not each.is_symlink() else each.unlink()
        assert hang_up() == ""
        assert [(log / "log").read_text() for log in logs[:2]] == ["out\n", "err\n"]
    daemons.stop(pid)
    cases.add(len(HOSTILE) * len(logs))


# A stranger, as nobody, swaps the log for one thing after the other as fast as he can, until he is killed. What only
# root can make he was given, and puts it there and takes it away.
STRANGER = """
import os, random, sys
place, precious, seed = sys.argv[1:4]
# It imports what makes numbers of a text, which nobody can't where Python is in root's home.
draw = random.Random(seed)
os.chdir(place)
os.setgroups([]), os.setresgid(65534, 65534, 65534), os.setresuid(65534, 65534, 65534)
def clear():
    try:
        if os.path.isdir("log") and not os.path.islink("log"):
            os.rename("log", "away")
        elif os.lstat("log").st_nlink > 1:
            os.rename("log", "hard")
        else:
            os.unlink("log")
    except OSError:
        pass
print("swapping", flush=True)
while True:
    clear()
    kind = draw.choice(["link", "none", "fifo", "hard", "regular", "nothing", "directory"])
    try:
        if kind == "link":
            os.symlink(precious + "/log", "log")
        elif kind == "none":
            os.symlink(precious + "/made", "log")
        elif kind == "fifo":
            os.mkfifo("log")
        elif kind == "hard":
            os.rename("hard", "log")
        elif kind == "regular":
            os.close(os.open("log", os.O_WRONLY | os.O_CREAT, 0o644))
        elif kind == "directory":
            os.rename("away", "log")
    except OSError:
        pass
"""
UNDER_SWAPS = """
import json, os, signal, sys
from collections import Counter
from daemonry import DaemonContext, DaemonStartError
log, rounds = sys.argv[1], int(sys.argv[2])
answers = Counter()
told = os.open("answers", os.O_WRONLY | os.O_CREAT)
def child():
    try:
        with DaemonContext(detach_process=False, stdout=log, stderr=log):
            os.write(1, b"written\\n")
            os.write(2, b"written\\n")
        return 0
    except DaemonStartError as error:
        return 1 if error.step in ("check_options", "redirect_streams") and log in str(error) else 2
for _ in range(rounds):
    pid = os.fork()
    if pid == 0:
        os._exit(child())
    answers["start", os.waitpid(pid, 0)[1] >> 8] += 1
while True:
    context = DaemonContext(
        detach_process=False, stdout=log, signal_map={"HUP": "reopen_streams"}, files_preserve=[told]
    )
    try:
        context.open()
        break
    except DaemonStartError:
        pass
for _ in range(rounds * 10):
    os.kill(os.getpid(), signal.SIGHUP)
    os.write(1, b"written\\n")
    answers["reopening", 0] += 1
os.write(told, json.dumps([[*key, number] for key, number in answers.items()]).encode())
"""


@pytest.mark.parametrize("place", ["his own", "like /tmp"])
def test_however_fast_a_stranger_swaps_the_log_root_writes_to_no_file_but_a_log_and_never_hangs(
    daemons: Daemons, precious: Path, cases: Cases, place: str
) -> None:
    owner, mode = PLACES[place]
    theirs = daemons.directory / "theirs"
    for each in (theirs, theirs / "away"):
        each.mkdir()
        os.chown(each, NOBODY.pw_uid, NOBODY.pw_gid)
    os.link(precious / "log", theirs / "hard")
    os.chown(theirs, owner, owner)
    theirs.chmod(mode)
    stranger = daemons.start(STRANGER, theirs, precious, 1, plain=True)
    wait_for(lambda: "swapping" in stranger.stdout or stranger.process.poll() is not None, what="the stranger swaps")
    daemons.launch(UNDER_SWAPS, theirs / "log", times(60), timeout=60).check()
    assert stranger.process.poll() is None, stranger.stderr
    stranger.signal(signal.SIGKILL)
    stranger.wait()
    assert is_untouched(precious)
    counted = json.loads((daemons.directory / "answers").read_text())
    numbers = {(what, status): number for what, status, number in counted}
    assert sum(number for (what, _), number in numbers.items() if what == "start") == times(60)
    assert {status for what, status in numbers if what == "start"} <= {0, 1}
    cases.add(sum(numbers.values()))
