"""What a daemon reads on its standard input, given as a path, and what root's rights never open for it."""

from __future__ import annotations

import os
import pwd
from typing import TYPE_CHECKING

import pytest

from harness.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from harness.daemons import Daemons

pytestmark = [pytest.mark.reliability("Hostile files"), pytest.mark.root_only("it opens files with root's rights")]

NOBODY = pwd.getpwnam("nobody")
START = """
import os, sys
from daemonry import DaemonContext, DaemonStartError
try:
    with DaemonContext(detach_process=sys.argv[1] == "detach", stdin=sys.argv[2], uid=sys.argv[3] or None):
        os.write(1, os.read(0, 100) or b"nothing")
except DaemonStartError as error:
    print(error)
"""
ROOT, USER = "", "nobody"
BOTH = pytest.mark.parametrize("user", [ROOT, USER], ids=["root", "nobody"])


def read_by(daemons: Daemons, user: str, path: Path) -> str:
    """Return what a daemon of this user read there, or the error of its start."""
    return daemons.launch(START, "stay", path, user, timeout=10).check().stdout


@pytest.fixture
def secret(daemons: Daemons) -> Path:
    """Give a file that root alone may read, in a directory of root's."""
    path = daemons.directory / "secret"
    path.write_text("secret")
    path.chmod(0o600)
    return path


@pytest.fixture
def theirs(daemons: Daemons) -> Path:
    """Give a directory of nobody's."""
    path = daemons.directory / "theirs"
    path.mkdir()
    os.chown(path, NOBODY.pw_uid, NOBODY.pw_gid)
    return path


def link(place: Path, secret: Path) -> Path:
    (place / "input").symlink_to(secret)
    return place / "input"


def link_to_the_directory(place: Path, secret: Path) -> Path:
    (place / "input").symlink_to(secret.parent)
    return place / "input" / "secret"


def link_behind_a_directory(place: Path, secret: Path) -> Path:
    (place / "below").mkdir()
    (place / "below" / "input").symlink_to(secret)
    return place / "below" / "input"


def other_name(place: Path, secret: Path) -> Path:
    os.link(secret, place / "input")
    return place / "input"


@BOTH
@pytest.mark.parametrize("make", [link, link_to_the_directory, link_behind_a_directory, other_name])
def test_a_stranger_who_can_write_there_leads_nobody_to_roots_file(
    daemons: Daemons, secret: Path, theirs: Path, make: Callable[[Path, Path], Path], user: str
) -> None:
    """Root reads nothing there for itself, and for the daemon's user only what that user may read."""
    path = make(theirs, secret)
    for each in theirs.rglob("*"):
        if each.is_symlink() or each.is_dir():
            os.chown(each, NOBODY.pw_uid, NOBODY.pw_gid, follow_symlinks=False)
    said = read_by(daemons, user, path)
    assert "cannot start the daemon: step redirect_streams: " in said
    assert str(path) in said


@pytest.mark.parametrize("way", ["stay", "detach"])
@BOTH
def test_a_fifo_there_does_not_hold_the_start_up(daemons: Daemons, theirs: Path, user: str, way: str) -> None:
    """Root doesn't take it; the user reads an end of file from it, for nobody writes."""
    fifo = theirs / "input"
    os.mkfifo(fifo)
    os.chown(fifo, NOBODY.pw_uid, NOBODY.pw_gid)
    said = daemons.launch(START, way, fifo, user, timeout=10).check().stdout
    wait_for(lambda: not daemons.alive(), what="everything has ended")
    if user == ROOT:
        assert "no regular file, in a directory that others can write; remove it" in said
    else:
        assert said == ("nothing" if way == "stay" else "")


def test_neither_does_one_of_roots_own(daemons: Daemons) -> None:
    fifo = daemons.directory / "input"
    os.mkfifo(fifo)
    assert read_by(daemons, ROOT, fifo) == "nothing"
    writing = os.open(fifo, os.O_RDWR)
    try:
        os.write(writing, b"written")
        assert read_by(daemons, USER, fifo) == "written"
    finally:
        os.close(writing)


def test_it_is_read_as_any_other_once_it_is_open(daemons: Daemons) -> None:
    """Who reads from a FIFO that somebody has open waits for what is written."""
    fifo = daemons.directory / "input"
    os.mkfifo(fifo)
    writing = os.open(fifo, os.O_RDWR)
    try:
        program = START.replace("os.write(1, ", "print(os.get_blocking(0)) or os.write(1, ")
        os.write(writing, b"written")
        assert "True" in daemons.launch(program, "stay", fifo, ROOT).check().stdout
    finally:
        os.close(writing)


def test_a_socket_is_refused_as_what_it_is(daemons: Daemons) -> None:
    import socket

    path = daemons.directory / "input"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        assert "step redirect_streams: it is a socket" in read_by(daemons, ROOT, path)


@BOTH
def test_a_file_that_only_root_could_put_there_is_read_with_roots_rights(
    daemons: Daemons, secret: Path, user: str
) -> None:
    """As systemd's StandardInput=file: it is the administrator's, who has named it; so is a link of root's."""
    (daemons.directory / "link").symlink_to("secret")
    assert read_by(daemons, user, secret) == "secret"
    assert read_by(daemons, user, daemons.directory / "link") == "secret"


@BOTH
def test_a_file_of_the_users_own_is_read(daemons: Daemons, theirs: Path, user: str) -> None:
    below = theirs / "below"
    below.mkdir()
    for path in (theirs / "input", below / "input"):
        path.write_text("his own")
        for each in (path, path.parent):
            os.chown(each, NOBODY.pw_uid, NOBODY.pw_gid)
        path.chmod(0o600)
        assert read_by(daemons, user, path) == "his own"


def test_where_a_link_cannot_be_held_and_looked_at_it_is_the_same(daemons: Daemons, secret: Path, theirs: Path) -> None:
    """As on macOS, where there is no O_PATH."""
    program = f"import os; del os.O_PATH\n{START}"
    path = link(theirs, secret)
    for user in (ROOT, USER):
        assert "step redirect_streams" in daemons.launch(program, "stay", path, user).check().stdout
    assert daemons.launch(program, "stay", secret, USER).check().stdout == "secret"
