"""Whose a log is when the daemon gives up root's rights, and what root's rights never reach."""

from __future__ import annotations

import os
import pwd
import stat
from typing import TYPE_CHECKING

import pytest

from harness.waiting import wait_for
from telling_programs import launch, program

if TYPE_CHECKING:
    from pathlib import Path

    from harness.daemons import Daemons, Launched

pytestmark = [
    pytest.mark.reliability("Hostile files"),
    pytest.mark.root_only("it opens files as root for a daemon that runs as another user"),
]

NOBODY = pwd.getpwnam("nobody")
START = """
with DaemonContext(detach_process=True, uid="nobody", stdout=sys.argv[2]) as context:
    print("written", flush=True)
"""


def start(daemons: Daemons, log: Path, status: int = 0) -> Launched:
    """Run a daemon as nobody whose stdout is this file, until it has ended."""
    launched = daemons.launch(program(START), daemons.public, log).check(status)
    wait_for(lambda: not daemons.alive(), what="everything has ended")
    return launched


def owner(path: Path) -> tuple[int, int]:
    """Return the user and the group of a file, or of a link itself."""
    found = os.lstat(path)
    return found.st_uid, found.st_gid


@pytest.fixture
def secret(daemons: Daemons) -> Path:
    """Give a file of root's that nobody else may read or write, in the file system of the logs."""
    path = daemons.directory / "secret"
    path.write_text("secret\n")
    path.chmod(0o600)
    return path


def is_untouched(secret: Path) -> bool:
    """Whether a secret is as it was made."""
    return owner(secret) == (0, 0) and secret.read_text() == "secret\n" and stat.S_IMODE(secret.stat().st_mode) == 0o600


@pytest.fixture
def theirs(daemons: Daemons) -> Path:
    """Give a directory that belongs to the daemon's user."""
    path = daemons.directory / "theirs"
    path.mkdir()
    os.chown(path, NOBODY.pw_uid, NOBODY.pw_gid)
    return path


def test_a_log_that_is_made_belongs_to_the_daemons_user(daemons: Daemons) -> None:
    log = daemons.directory / "log"
    start(daemons, log)
    assert owner(log) == (NOBODY.pw_uid, NOBODY.pw_gid)
    assert stat.S_IMODE(log.stat().st_mode) == 0o640
    assert log.read_text() == "written\n"


def test_the_daemon_can_reopen_its_log(daemons: Daemons) -> None:
    """Also the one that was there before, and after a rotation, where its user may make files."""
    log = daemons.public / "log"
    launch(
        daemons,
        """
        log = path("log")
        with DaemonContext(detach_process=True, uid="nobody", stdout=log):
            print("one")
            open(log, "a").close()
            os.rename(log, log + ".1")
            context.reopen_streams()
            print("two")
        """.replace("stdout=log)", "stdout=log) as context"),
        where=daemons.public,
    )
    assert log.with_suffix(".1").read_text() == "one\n"
    assert log.read_text() == "two\n"
    assert owner(log)[0] == NOBODY.pw_uid


def test_a_log_of_roots_in_a_directory_of_roots_is_given(daemons: Daemons) -> None:
    log = daemons.directory / "log"
    log.write_text("earlier\n")
    log.chmod(0o604)
    start(daemons, log)
    assert owner(log) == (NOBODY.pw_uid, NOBODY.pw_gid)
    assert stat.S_IMODE(log.stat().st_mode) == 0o604
    assert log.read_text() == "earlier\nwritten\n"


def test_a_log_of_another_users_is_written_and_stays_his(daemons: Daemons) -> None:
    log = daemons.directory / "log"
    log.touch()
    os.chown(log, 4321, 4321)
    start(daemons, log)
    assert owner(log) == (4321, 4321)
    assert log.read_text() == "written\n"


def test_without_another_user_nothing_is_given(daemons: Daemons) -> None:
    launch(daemons, "with DaemonContext(detach_process=True, stdout=path('log')): pass")
    assert owner(daemons.directory / "log") == (0, 0)


def test_a_file_object_is_not_given(daemons: Daemons, secret: Path) -> None:
    launch(daemons, "with DaemonContext(detach_process=True, uid='nobody', stdout=open(path('secret'), 'a')): pass")
    assert is_untouched(secret)


def test_a_device_is_never_given(daemons: Daemons) -> None:
    before = owner(os.path.realpath("/dev/null"))  # type: ignore[arg-type]
    device = daemons.directory / "null"
    try:
        os.mknod(device, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("no devices can be made here")
    for path in (device, daemons.directory / ".." / ".." / "dev" / "null"):
        daemons.launch(program(START.replace('print("written", flush=True)', "pass")), daemons.public, path).check()
    wait_for(lambda: not daemons.alive(), what="everything has ended")
    assert owner(device) == (0, 0)
    assert owner(os.path.realpath("/dev/null")) == before  # type: ignore[arg-type]


def test_a_fifo_is_written_and_not_given(daemons: Daemons) -> None:
    fifo = daemons.directory / "fifo"
    os.mkfifo(fifo)
    reading = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    try:
        start(daemons, fifo)
        assert os.read(reading, 100) == b"written\n"
    finally:
        os.close(reading)
    assert owner(fifo) == (0, 0)


# What others could put in the place of a log


def test_a_link_in_a_directory_of_roots_is_followed_and_its_target_not_given(daemons: Daemons, secret: Path) -> None:
    log = daemons.directory / "log"
    log.symlink_to(secret)
    start(daemons, log)
    assert owner(secret) == (0, 0)
    assert secret.read_text() == "secret\nwritten\n"


def test_another_name_of_a_file_in_a_directory_of_roots_is_written_and_not_given(
    daemons: Daemons, secret: Path
) -> None:
    log = daemons.directory / "log"
    log.hardlink_to(secret) if hasattr(log, "hardlink_to") else os.link(secret, log)
    start(daemons, log)
    assert owner(secret) == (0, 0)
    assert secret.read_text() == "secret\nwritten\n"


@pytest.mark.parametrize("mode", [0o1777, 0o777, 0o775])
@pytest.mark.parametrize("make", [os.symlink, os.link])
def test_a_link_to_a_secret_where_others_can_write_is_neither_given_nor_written(
    daemons: Daemons, secret: Path, mode: int, make: object
) -> None:
    """The start fails and names the file."""
    daemons.public.chmod(mode)
    log = daemons.public / "log"
    make(secret, log)  # type: ignore[operator]
    launched = start(daemons, log, status=1)
    assert "step redirect_streams: " in launched.stderr
    assert str(log) in launched.stderr
    assert is_untouched(secret)


def test_a_link_to_nothing_where_others_can_write_makes_nothing(daemons: Daemons) -> None:
    log = daemons.public / "log"
    log.symlink_to(daemons.directory / "cron.d")
    start(daemons, log, status=1)
    assert not (daemons.directory / "cron.d").exists()


@pytest.mark.parametrize("make", [os.symlink, os.link])
def test_a_link_to_a_secret_in_the_users_own_directory_is_neither_given_nor_written(
    daemons: Daemons, secret: Path, theirs: Path, make: object
) -> None:
    make(secret, theirs / "log")  # type: ignore[operator]
    start(daemons, theirs / "log", status=1)
    assert is_untouched(secret)


@pytest.mark.parametrize("below", ["", "logs"])
def test_a_directory_behind_a_link_of_the_users_is_opened_with_the_users_rights(
    daemons: Daemons, secret: Path, theirs: Path, below: str
) -> None:
    """Neither is root's file of the right name touched, nor one made."""
    (theirs / "etc").symlink_to(daemons.directory)
    start(daemons, theirs / "etc" / "secret", status=1)
    assert is_untouched(secret)
    start(daemons, theirs / "etc" / below / "made", status=1)
    assert not (daemons.directory / "made").exists()


def test_a_log_below_the_users_own_directory_is_made_and_is_his(daemons: Daemons, theirs: Path) -> None:
    logs = theirs / "logs"
    logs.mkdir()
    os.chown(logs, NOBODY.pw_uid, NOBODY.pw_gid)
    for path in (theirs / "log", logs / "log"):
        start(daemons, path)
        assert owner(path) == (NOBODY.pw_uid, NOBODY.pw_gid)
        start(daemons, path)
        assert path.read_text() == "written\nwritten\n"


@pytest.mark.parametrize("mode", [0o1777, 0o775])
def test_a_log_in_a_directory_that_others_can_write_is_made_and_given(daemons: Daemons, mode: int) -> None:
    daemons.public.chmod(mode)
    start(daemons, daemons.public / "log")
    assert owner(daemons.public / "log") == (NOBODY.pw_uid, NOBODY.pw_gid)


def test_a_log_of_roots_in_a_directory_that_others_can_write_is_written_and_not_given(daemons: Daemons) -> None:
    """Somebody may have moved it there."""
    log = daemons.public / "log"
    log.touch()
    start(daemons, log)
    assert owner(log) == (0, 0)
    assert log.read_text() == "written\n"


# Inside another root


def test_a_path_means_a_file_outside_the_new_root_and_is_opened_before(daemons: Daemons) -> None:
    jail = daemons.jail()
    log = daemons.directory / "log"
    launch(
        daemons,
        f"""
        with DaemonContext(detach_process=True, chroot_directory={str(jail)!r}, uid="nobody", stdout=path("log")):
            print(sorted(name for name in os.listdir("/") if name != "tmp"))
        """,
    )
    assert log.read_text() == "[]\n"
    assert owner(log)[0] == NOBODY.pw_uid


def test_a_path_below_the_new_root_is_reopened_there_and_one_outside_is_told_of(daemons: Daemons) -> None:
    jail = daemons.jail()
    (jail / "logs").mkdir()
    (jail / "logs").chmod(0o1777)
    launch(
        daemons,
        f"""
        jail = {str(jail)!r}
        logging.basicConfig(filename=path("told"))
        with DaemonContext(detach_process=True, chroot_directory=jail, stdout=jail + "/logs/out",
                           stderr=path("err")) as context:
            print("one")
            os.rename("/logs/out", "/logs/out.1")
            context.reopen_streams()
            print("two")
        """,
    )
    assert (jail / "logs" / "out.1").read_text() == "one\n"
    assert (jail / "logs" / "out").read_text() == "two\n"
    told = (daemons.directory / "told").read_text()
    assert "cannot reopen: " in told
    assert "cannot reopen stderr: it lies outside the root directory" in told
