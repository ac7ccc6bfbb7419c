"""`daemonry logs`, and the last lines of a start that failed: the daemon's own file, read from its end."""

from __future__ import annotations

import os
import pwd
import resource
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemonry.cli import log_view
from harness.waiting import wait_for

if TYPE_CHECKING:
    from harness.commands import Daemonry

SECRET = "nobody but root may read this"


@pytest.fixture
def secret(daemonry: Daemonry) -> Path:
    path = daemonry.daemons.public / "secret"
    path.write_text(f"{SECRET}\n")
    path.chmod(0o600)
    return path


@pytest.fixture
def home(daemonry: Daemonry, ordinary_user: str) -> Path:
    """Return a directory of another user's."""
    path = daemonry.daemons.public / "home"
    path.mkdir()
    os.chown(path, pwd.getpwnam(ordinary_user).pw_uid, -1)
    return path


# Its end


@given(data=st.binary(max_size=300).map(lambda data: data.replace(b"a", b"\n")), lines=st.integers(0, 12))
def test_the_last_lines_are_those_that_splitting_the_whole_would_give(data: bytes, lines: int) -> None:
    """Whatever the pieces in which it is read."""
    fd = os.memfd_create("log")
    before, log_view._PIECE = log_view._PIECE, 7
    try:
        os.write(fd, data)
        *whole, rest = data.split(b"\n")
        ends = [each + b"\n" for each in whole] + ([rest] if rest else [])
        shown: list[bytes] = []
        assert log_view.copy(fd, log_view.start_of_last(fd, lines), shown.append) == len(data)
        assert b"".join(shown) == b"".join(ends[-lines:] if lines else [])
    finally:
        log_view._PIECE = before
        os.close(fd)


def test_a_negative_number_of_lines_is_a_mistake_in_use(daemonry: Daemonry) -> None:
    assert "invalid number of lines value: '-1'" in daemonry("logs", "-n", "-1", daemonry.name).check(2).stderr


def test_a_start_that_fails_reads_the_end_of_its_log_only(daemonry: Daemonry) -> None:
    """It may be longer than the memory that the launcher has."""
    size = 64 << 20
    script = f"import os, sys; os.truncate('log', {size}); print(); print('the last', flush=True); sys.exit(3)"
    words = ("--output", "log", "--chdir", daemonry.directory, "--", sys.executable, "-c", script)

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_DATA, (size, size))

    failed = daemonry("start", "--name", daemonry.name, *words, preexec=limit).check(1)
    assert failed.stderr.splitlines()[-1] == "  the last"
    assert (daemonry.directory / "log").stat().st_size > size


def test_a_log_that_is_emptied_meanwhile_is_followed_from_its_begin(daemonry: Daemonry) -> None:
    """As logrotate's copytruncate does."""
    log = daemonry.log()
    daemonry.start("--settle", "0", "--", "sleep", "60")
    log.write_text("a first line, which is long\n")
    terminal = daemonry.on_terminal("logs", "-f", daemonry.name)
    terminal.read_until("a first line")
    log.write_text("")
    wait_for(lambda: log.stat().st_size == 0)
    with open(log, "a") as file:
        file.write("new\n")
    terminal.read_until("new")
    terminal.write("\x03")
    assert terminal.wait() == 130
    daemonry.stop()


# And nobody else's


@pytest.mark.reliability("Hostile files")
@pytest.mark.root_only("another user's directory")
@pytest.mark.parametrize("put", ["ln -s {secret} log", "ln {secret} log"])
def test_what_a_program_has_put_in_the_place_of_its_log_is_not_shown(
    daemonry: Daemonry, home: Path, secret: Path, ordinary_user: str, put: str
) -> None:
    """The launcher has root's rights, and its words may be read by others."""
    script = f"echo mine; cd {home}; rm log; {put.format(secret=secret)}; exit 1"
    words = ("--user", ordinary_user, "--output", home / "log", "--", "sh", "-c", script)
    failed = daemonry("start", "--name", daemonry.name, *words).check(1)
    assert SECRET not in failed.stderr


@pytest.mark.reliability("Hostile files")
@pytest.mark.root_only("another user's directory")
def test_another_file_of_roots_that_is_moved_there_is_not_shown(
    daemonry: Daemonry, home: Path, ordinary_user: str
) -> None:
    """Root has left it in the user's directory, who can't read it but move it."""
    (home / "secret").write_text(f"{SECRET}\n")
    (home / "secret").chmod(0o600)
    words = (
        "--user",
        ordinary_user,
        "--output",
        home / "log",
        "--",
        "sh",
        "-c",
        f"cd {home}; mv -f secret log; exit 1",
    )
    failed = daemonry("start", "--name", daemonry.name, *words).check(1)
    assert (home / "log").read_text() == f"{SECRET}\n"
    assert SECRET not in failed.stderr


def test_a_log_that_was_there_before_is_shown_wherever_it_lies(daemonry: Daemonry) -> None:
    """Also by a link of the user's own."""
    (daemonry.directory / "real").write_text("of yesterday\n")
    (daemonry.directory / "log").symlink_to("real")
    words = ("--output", "log", "--", "sh", "-c", "echo the last; exit 1")
    failed = daemonry("start", "--name", daemonry.name, *words).check(1)
    assert failed.stderr.splitlines()[1:] == ["  the last"]


HOLDS = """
import os, sys
fd = os.open({secret!r}, os.O_PATH)
for number in (1, 2):
    os.dup2(fd, number)
open({up!r}, "w").close()
import time
time.sleep(60)
"""


@pytest.mark.reliability("Hostile files")
@pytest.mark.root_only("another user's process")
def test_logs_shows_root_no_file_that_the_daemon_could_not_read_itself(
    daemonry: Daemonry, home: Path, secret: Path, ordinary_user: str
) -> None:
    """O_PATH takes no right to read what it opens, and root would open it by the daemon's descriptor."""
    if not os.access("/usr/bin/python3", os.X_OK):
        pytest.skip("there is no Python that every user may execute: /usr/bin/python3")
    script = HOLDS.format(secret=str(secret), up=str(home / "up"))
    words = ("--user", ordinary_user, "--pidfile", "p.pid", "--output", home / "log")
    daemonry("start", *words, "--", "/usr/bin/python3", "-c", script).check()
    wait_for((home / "up").exists)
    shown = daemonry("logs", "./p.pid").check(1)
    assert SECRET not in shown.stdout + shown.stderr
    daemonry("stop", "./p.pid").check()


@pytest.mark.root_only("another user's process")
def test_logs_shows_the_file_that_the_daemon_has_open_and_none_that_is_named_like_it(
    daemonry: Daemonry, home: Path, secret: Path, ordinary_user: str
) -> None:
    """Of a file that has no name any more /proc says "other (deleted)", which may be a name as well."""
    script = (
        f"cd {home}; echo mine >other; exec >>other 2>&1; rm other; ln -s {secret} 'other (deleted)'; exec sleep 60"
    )
    words = ("--user", ordinary_user, "--pidfile", "p.pid", "--output", home / "log")
    daemonry("start", *words, "--", "sh", "-c", script).check()
    assert daemonry("logs", "./p.pid").check().stdout == "mine\n"
    daemonry("stop", "./p.pid").check()


@pytest.mark.reliability("Hostile files")
@pytest.mark.root_only("another user's file")
@pytest.mark.parametrize("kind", ["link", "name", "moved"])
def test_the_log_of_one_that_has_ended_is_shown_by_no_link_of_others(
    daemonry: Daemonry, home: Path, secret: Path, ordinary_user: str, kind: str
) -> None:
    """Root's own program with a log in another user's directory, by its own commands."""
    (home / "service.py").write_text(
        "from daemonry import DaemonContext, PIDLockFile\nfrom daemonry.cli import service\n"
        f"service(DaemonContext(pidfile=PIDLockFile({str(home / 'p')!r}), stdout={str(home / 'log')!r}), print)\n"
    )
    if kind == "link":
        (home / "log").symlink_to(secret)
    else:
        os.link(secret, home / "log")
        if kind == "moved":
            secret.unlink()
    shown = daemonry.daemons.launch((home / "service.py").read_text(), "logs")
    assert shown.status != 0
    assert SECRET not in shown.stdout
    assert f"in a directory that others can write; look at it as its user: {home / 'log'}" in shown.stderr


@pytest.mark.root_only("another user's file")
def test_the_log_that_root_has_led_elsewhere_by_a_link_is_shown(
    daemonry: Daemonry, home: Path, ordinary_user: str
) -> None:
    """An administrator's link, in a directory of root's, to a file that is its user's own."""
    user = pwd.getpwnam(ordinary_user).pw_uid
    (home / "real").write_text("of the user\n")
    os.chown(home / "real", user, -1)
    daemonry.log().symlink_to(home / "real")
    try:
        assert daemonry("logs", daemonry.name).check().stdout == "of the user\n"
        (home / "real").unlink()
        os.symlink("/etc/hostname", home / "real")
        assert "a link, in a directory that others can write" in daemonry("logs", daemonry.name).check(4).stderr
    finally:
        daemonry.log().unlink()


def test_logs_of_a_daemon_whose_log_is_a_fifo_does_not_wait(daemonry: Daemonry) -> None:
    daemonry.log().parent.mkdir(exist_ok=True, parents=True)
    os.mkfifo(daemonry.log())
    try:
        assert "not a regular file" in daemonry("logs", daemonry.name, timeout=10).check(1).stderr
    finally:
        daemonry.log().unlink()


def test_a_pidfile_alone_leads_to_the_log_also_below_a_supervisor(daemonry: Daemonry) -> None:
    words = ("--restart", "--pidfile", "p.pid", "--output", "log", "--", "sh", "-c", "echo hello; exec sleep 60")
    daemonry("start", *words).check()
    wait_for(lambda: "hello" in (daemonry.directory / "log").read_text())
    assert daemonry("logs", "./p.pid").check().stdout == "hello\n"
    daemonry("stop", "./p.pid").check()
