"""One name is one daemon, whatever the environment of who asks, and wherever its pidfile is."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from harness.waiting import is_alive, wait_for_exit

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.commands import Daemonry
    from harness.daemons import Launched

SLEEP = ("--settle", "0", "--", "sleep", "60")
UID = 4242
AS_USER = """
    mount --bind "$1" /etc/passwd && shift && mount --bind "$1" /run/user && shift &&
    exec unshare --user --map-user={uid} --map-group={uid} "$@"
"""


class User:
    """An ordinary user with a home, as the user database has it, whoever runs the tests.

    In namespaces: this user has another number there, and the database is one of the test's own.
    """

    def __init__(self, daemonry: Daemonry) -> None:
        self.command = daemonry
        self.home = daemonry.directory / "of-the-user"
        self.sessions = daemonry.directory / "sessions"
        self.home.mkdir()
        (self.sessions / str(UID)).mkdir(parents=True)
        self.give_home(self.home)

    def give_home(self, home: Path | None) -> None:
        entry = f"tester:x:{UID}:{UID}::{home}:/bin/sh\n" if home is not None else ""
        (self.command.directory / "passwd").write_text("root:x:0:0::/root:/bin/sh\n" + entry)

    @property
    def session(self) -> Path:
        """What pam_systemd(8) makes at a login."""
        return self.sessions / str(UID)

    @property
    def places(self) -> list[Path]:
        """Return the files below the home."""
        return sorted(each.relative_to(self.home) for each in self.home.rglob("*") if each.is_file())

    def __call__(self, *words: object, **env: str | None) -> Launched:
        """Do ``daemonry WORDS`` as this user."""
        through = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", AS_USER.format(uid=UID), "sh")
        files = (str(self.command.directory / "passwd"), str(self.sessions))
        nothing = dict.fromkeys(("DAEMONRY_HOME", "XDG_RUNTIME_DIR", "XDG_STATE_HOME", "HOME"))
        return self.command(*words, through=(*through, *files), env={**nothing, **env})

    def start(self, *words: object, **env: str | None) -> int:
        """Start the test's daemon, and answer its number."""
        self("start", "--name", self.command.name, *words, **env).check()
        pid: int = self.facts(**env)["pid"]
        return pid

    def facts(self, **env: str | None) -> dict[str, Any]:
        """Return what `daemonry status --json` says of it."""
        facts: dict[str, Any] = json.loads(self("status", "--json", self.command.name, **env).stdout)
        return facts


@pytest.fixture
def user(daemonry: Daemonry) -> User:
    """Return a user with a home, where one can be had."""
    if not os.path.isdir("/run/user"):
        pytest.skip("there is no /run/user to put a session's directory in the place of")
    found = User(daemonry)
    tried = found("status", daemonry.name)
    if tried.status != 3:
        pytest.skip(f"no user namespace can be had here: {tried.stderr}{tried.stdout}")
    return found


ENVIRONMENTS: list[Callable[[User], dict[str, str | None]]] = [
    lambda user: {},  # env -i, cron
    lambda user: {"XDG_RUNTIME_DIR": str(user.session), "HOME": str(user.home)},  # a login
    lambda user: {"HOME": str(user.sessions)},  # su without -l, sudo -E
    lambda user: {"XDG_STATE_HOME": str(user.sessions)},
]


@pytest.mark.parametrize("started", [0, 1])
def test_a_daemon_is_found_by_its_name_alone(user: User, started: int) -> None:
    """Started in whatever environment, it is found in every other, and no second one starts beside it."""
    name = user.command.name
    pid = user.start(*SLEEP, **ENVIRONMENTS[started](user))
    for environment in ENVIRONMENTS:
        assert user.facts(**environment(user))["pid"] == pid
    other = ENVIRONMENTS[(started + 1) % len(ENVIRONMENTS)](user)
    assert name in user("list", **other).check().stdout
    assert f"{name} is running already" in user("start", "--name", name, *SLEEP, **other).check(1).stderr
    assert f"stopped, process {pid}" in user("stop", name, **other).check().stderr


def test_a_daemon_outlives_the_directory_of_the_session_that_started_it(user: User) -> None:
    """What a last logout takes away has nothing of it."""
    env: dict[str, str | None] = {"XDG_RUNTIME_DIR": str(user.session)}
    pid = user.start(*SLEEP, **env)
    shutil.rmtree(user.session)
    assert user.facts(**env)["pid"] == pid
    user("restart", user.command.name).check()
    assert user.facts()["pid"] != pid
    user("stop", user.command.name, **env).check()


def test_machines_that_share_a_home_have_daemons_of_their_own(user: User) -> None:
    """Pidfile, log and memory lie in a directory that is called by the machine's id, where it has one."""
    user.start(*SLEEP)
    machine = next((path for path in ("/etc/machine-id", "/var/lib/dbus/machine-id") if os.path.exists(path)), None)
    beneath = Path(".local/state/daemonry", Path(machine).read_text()[:8].strip() if machine else "")
    name = user.command.name
    assert user.places == sorted(beneath / f"{name}.{end}" for end in ("pid", "log", "json"))
    assert {each.stat().st_mode & 0o777 for each in user.home.rglob("*") if each.is_dir()} == {0o700}
    user("stop", name).check()


# Those that were started by a former version: its places


def at_former_place(user: User, runtime: Path) -> int:
    """Start a daemon, and let its files lie where a former version put them."""
    name = user.command.name
    (runtime / "daemonry").mkdir(parents=True)
    env: dict[str, str | None] = {"DAEMONRY_HOME": str(runtime)}
    pid = user.start(*SLEEP, **env)
    (runtime / f"{name}.json").rename(runtime / "daemonry" / f"{name}.json")
    return pid


@pytest.mark.parametrize("place", ["session", "state"])
def test_a_daemon_of_the_former_place_is_found_and_moves_by_its_restart(user: User, place: str) -> None:
    """By status, list and start, which refuses a second one; its restart takes it to the present place."""
    name = user.command.name
    former = user.session if place == "session" else user.home / ".local/state"
    pid = at_former_place(user, former)
    assert user.facts()["pid"] == pid
    assert name in user("list").check().stdout
    assert "is running already" in user("start", "--name", name, *SLEEP).check(1).stderr
    restarted = user("restart", name).check().stderr
    assert f"{name}: stopped, process {pid}" in restarted
    assert not is_alive(pid)
    assert not (former / f"{name}.pid").exists()
    assert user.facts()["pidfile"].startswith(str(user.home / ".local/state/daemonry"))
    user("stop", name).check()
    assert user("list").check().stdout.count(name) == 1


def test_a_daemon_of_the_former_place_is_stopped(user: User) -> None:
    pid = at_former_place(user, user.session)
    assert f"stopped, process {pid}" in user("stop", user.command.name).check().stderr
    assert user("status", user.command.name).status == 3


def test_what_a_dead_daemon_has_left_at_the_former_place_is_in_nobodys_way(user: User) -> None:
    """A start takes it away, and the name is the new daemon's."""
    name = user.command.name
    user.command.daemons.stop(at_former_place(user, user.session), signal.SIGKILL)
    assert user("status", name).status == 1
    pid = user.start(*SLEEP)
    assert not (user.session / f"{name}.pid").exists()
    assert user.facts()["pid"] == pid
    user("stop", name).check()


# Where there is no home


@pytest.mark.parametrize("kind", ["missing", "read-only", "not known"])
def test_without_a_home_a_start_says_what_to_do(user: User, kind: str) -> None:
    """It is not put anywhere else, where the next command might not look."""
    closed = user.command.directory / "closed"
    closed.mkdir(mode=0o500)
    user.give_home({"missing": closed / "home", "read-only": closed, "not known": None}[kind])
    told = user("start", "--name", user.command.name, *SLEEP).check(4).stderr
    assert "let DAEMONRY_HOME name a directory for pidfiles and logs" in told
    assert "Traceback" not in told
    user("status", user.command.name).check(4 if kind == "not known" else 3)


def test_who_is_in_no_user_database_starts_by_pidfile_and_in_a_home_that_is_chosen(user: User) -> None:
    """A container's user has often no entry there."""
    user.give_home(None)
    assert user("list").check().stdout == ""
    user("start", "--pidfile", "here.pid", *SLEEP).check()
    user("stop", "./here.pid").check()
    chosen: dict[str, str | None] = {"DAEMONRY_HOME": str(user.home / "chosen")}
    user.start(*SLEEP, **chosen)
    assert {str(each.parent) for each in user.places} == {"chosen"}
    user("stop", user.command.name, **chosen).check()


def test_a_home_that_is_chosen_has_daemons_of_its_own(daemonry: Daemonry, tmp_path: Path) -> None:
    """DAEMONRY_HOME has all files of them, also of root, and the daemons at home don't count there."""
    daemonry.start(*SLEEP)
    chosen: dict[str, str | None] = {"DAEMONRY_HOME": str(tmp_path / "chosen")}
    daemonry("status", daemonry.name, env=chosen).check(3)
    daemonry("start", "--name", daemonry.name, *SLEEP, env=chosen).check()
    names = {f"{daemonry.name}.{end}" for end in ("pid", "log", "json")}
    assert {each.name for each in (tmp_path / "chosen").iterdir()} == names
    daemonry("stop", daemonry.name, env=chosen).check()
    daemonry.stop()


# A pidfile beside the name


def test_a_name_finds_the_daemon_by_the_pidfile_that_it_was_given(daemonry: Daemonry) -> None:
    """--name with --pidfile: every command finds it by the name, also from elsewhere, and a start refuses another."""
    pidfile = daemonry.directory / "own.pid"
    daemonry("start", "--name", daemonry.name, "--pidfile", "own.pid", *SLEEP).check()
    pid = int(pidfile.read_text())
    facts = json.loads(daemonry("status", "--json", daemonry.name, cwd="/").check().stdout)
    assert (facts["pid"], facts["pidfile"]) == (pid, str(pidfile))
    assert f"process {pid}" in daemonry("signal", daemonry.name, "CONT", cwd="/").check().stderr
    assert "is running already" in daemonry("start", "--name", daemonry.name, *SLEEP).check(1).stderr
    daemonry("restart", daemonry.name, cwd="/").check()
    assert int(pidfile.read_text()) != pid
    daemonry("stop", daemonry.name, cwd="/").check()
    assert not pidfile.exists()
    daemonry("status", daemonry.name).check(3)


def test_a_name_that_has_another_pidfile_now_is_found_by_that(daemonry: Daemonry) -> None:
    """What the one before has left at the usual place, and at the given one, is taken away by the next start."""
    given = daemonry.directory / "own.pid"
    for words, here, there in (((), daemonry.pidfile(), given), (("--pidfile", given), given, daemonry.pidfile())) * 2:
        daemonry("start", "--name", daemonry.name, *words, *SLEEP).check()
        pid = int(here.read_text())
        assert not there.exists()
        assert json.loads(daemonry("status", "--json", daemonry.name).check().stdout)["pid"] == pid
        assert (
            "is running already"
            in daemonry("start", "--name", daemonry.name, "--pidfile", there, *SLEEP).check(1).stderr
        )
        daemonry.daemons.stop(pid, signal.SIGKILL)
        daemonry("status", daemonry.name).check(1)


def test_a_restart_with_another_pidfile_stops_the_one_before(daemonry: Daemonry) -> None:
    """By whichever pidfile that is found."""
    pid = daemonry.start(*SLEEP)
    daemonry("restart", "--name", daemonry.name, "--pidfile", "own.pid", *SLEEP).check()
    wait_for_exit(pid)
    daemonry("stop", daemonry.name).check()
    assert not (daemonry.directory / "own.pid").exists()


# A pidfile without a slash


def test_a_pidfile_is_called_so_that_it_is_found(daemonry: Daemonry) -> None:
    """`--pidfile job.pid` is ./job.pid in messages, and both find it where it lies."""
    started = daemonry("start", "--pidfile", "job.pid", *SLEEP).check().stderr
    pid = int((daemonry.directory / "job.pid").read_text())
    assert started == f"./job.pid: started, process {pid}\n"
    for text in ("./job.pid", "job.pid"):
        assert daemonry("status", text).check().stdout.startswith(f"./job.pid: running, process {pid} ")
    assert daemonry("stop", "job.pid").check().stderr.startswith(f"./job.pid: stopped, process {pid}")


def test_a_name_goes_before_a_file_of_that_name(daemonry: Daemonry) -> None:
    """A daemon that is called job.pid is the one that is meant, whatever lies where one is."""
    name = f"{daemonry.new_name()}.pid"
    daemonry._names.append(name)
    (daemonry.directory / name).touch()
    pid = daemonry.start(*SLEEP, name=name)
    assert daemonry("status", name).check().stdout.startswith(f"{name}: running, process {pid} ")
    daemonry.stop(name)
    assert daemonry("status", name).check(3).stdout == f"{name}: not running\n"
