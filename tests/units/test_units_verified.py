"""What `daemonry unit` prints is taken by the managers themselves: systemd's own analysis, runsv and s6-supervise."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from daemonry.cli.commands import parse
from daemonry.cli.units import service_of
from daemonry.units import write
from daemonry.units.systemd import KINDS
from harness.waiting import wait_for, wait_for_exit

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAM = ("--", "/bin/sleep", "60")
# All that a unit can say.
EVERYTHING = (
    *("--name", "web", "--umask", "27", "--chdir", "/var/lib/web", "--env", "A=b 'c' \"d\" % $ \\ \n", "--clean-env"),
    *("--no-new-privileges", "--allow-core", "--stdin", "/etc/motd", "--output", "/var/log/web.log"),
    *("--restart", "on-failure", "--restart-pause", "2.5", "--restart-limit", "3/30", "--timeout", "20"),
    *("--schedule", "INT/5/ABRT", "--write", "/srv", "--write", "/var/cache/web", "--no-jit"),
)


def unit_of(manager: str, *words: str) -> str:
    return write(manager, service_of(parse("unit", ["--manager", manager, *words]))).text


def tool(name: str, package: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"there is no {name} here; it is in the package {package}")
    return path


# systemd


def verified(directory: Path, text: str) -> str:
    """Return what systemd has to say against a unit."""
    file = directory / "web.service"
    file.write_bytes(os.fsencode(text))
    command = [tool("systemd-analyze", "systemd"), "verify", "--man=no", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    return f"{done.stdout}{done.stderr}" if done.returncode == 0 else f"status {done.returncode}: {done.stderr}"


def systemd_version() -> int:
    told = subprocess.run([tool("systemd-analyze", "systemd"), "--version"], capture_output=True, text=True, check=True)
    found = re.search(r"\d+", told.stdout)
    assert found is not None
    return int(found[0])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("words", [(), ("--user", "games", "--reload"), EVERYTHING, ("--no-hardening",)])
def test_systemd_knows_every_directive(tmp_path: Path, kind: str, words: tuple[str, ...]) -> None:
    """For each type of service, `systemd-analyze verify` ends with 0 and says nothing."""
    if kind == "notify-reload" and systemd_version() < 253:
        pytest.skip(f"notify-reload came with systemd 253, and here is {systemd_version()}")
    if kind == "oneshot":
        words = tuple(word for word in words if word != "--reload")
    pidfile = ("--pidfile", "/run/web/web.pid") if kind == "forking" else ()
    assert verified(tmp_path, unit_of("systemd", "--type", kind, *pidfile, *words, *PROGRAM)) == ""


@pytest.mark.parametrize("allowed", ["bind", "devices", "home", "network", "proc"])
def test_systemd_knows_what_is_allowed(tmp_path: Path, allowed: str) -> None:
    assert verified(tmp_path, unit_of("systemd", "--user", "games", "--allow", allowed, *PROGRAM)) == ""


@pytest.mark.parametrize("schedule", ["TERM/30/KILL/5", "INT/0.5", "-40/5"])
def test_systemd_knows_how_it_is_stopped(tmp_path: Path, schedule: str) -> None:
    assert verified(tmp_path, unit_of("systemd", f"--schedule={schedule}", *PROGRAM)) == ""


def test_the_verification_finds_what_is_wrong(tmp_path: Path) -> None:
    """A directive that there is not, and a broken line, would be seen."""
    assert "Nonsense" in verified(tmp_path, unit_of("systemd", *PROGRAM).replace("UMask", "Nonsense"))
    assert verified(tmp_path, unit_of("systemd", *PROGRAM).replace("/bin/sleep 60", '/bin/sleep "60')) != ""


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.binary(max_size=12).filter(lambda word: b"\0" not in word).map(os.fsdecode), max_size=5))
@example(["", " ", "'", '"', "\\", "a\\", "$HOME", "${x}", "$", "%n", "%", ";", "\n", "\udcff"])
def test_systemd_takes_any_words(tmp_path: Path, words: list[str]) -> None:
    """There are no words that systemd would stumble over, or take for its own."""
    assert verified(tmp_path, unit_of("systemd", "--", "/bin/echo", *words)) == ""


def exposure(directory: Path, *words: str) -> float:
    """Return how exposed systemd finds a unit: 0 is not at all, 10 is without any protection."""
    file = directory / "web.service"
    file.write_text(unit_of("systemd", *words, *PROGRAM))
    command = [tool("systemd-analyze", "systemd"), "security", "--offline=true", "--no-pager", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    found = re.search(r"Overall exposure level for web.service: ([\d.]+)", done.stdout)
    if found is None and "offline" in done.stderr:
        pytest.skip("this systemd-analyze has no --offline, which came with version 250")
    assert found is not None, done.stderr
    return float(found[1])


@pytest.mark.parametrize(
    ("words", "most"),
    [
        # As systemd 252 has it. What is left of the first is mostly the network, which such a service is there for.
        (("--user", "www-data"), 1.3),
        (("--user", "www-data", "--no-jit", "--umask", "77"), 1.2),
        (("--user", "www-data", "--allow", "bind"), 1.4),
        ((), 2.7),
        (("--no-hardening",), 9.6),
    ],
)
def test_a_network_service_is_little_exposed(tmp_path: Path, words: tuple[str, ...], most: float) -> None:
    """`systemd-analyze security` finds a service with a user of its own OK, and one of root's not much worse."""
    assert exposure(tmp_path, *words) <= most


# runit and s6

# What is found there is told by the standard output, line by line.
TELLING = 'id -u; id -g; id -G; umask; pwd; ulimit -c; echo "$A"; grep NoNewPrivs /proc/self/status; exec sleep 60'


class Supervised:
    """A service directory with its supervisor."""

    def __init__(self, directory: Path, manager: str, *words: str) -> None:
        self.directory = directory / "service"
        self.directory.mkdir()
        self.output = directory / "output"
        told = ("--stdout", str(self.output), "--stderr", str(self.output), *words)
        for part in ("run", "finish"):
            self._write(part, unit_of(manager, "--part", part, *told))
        program = {"runit": "runsv", "s6": "s6-supervise"}[manager]
        command = [tool(program, manager), str(self.directory)]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)

    def _write(self, name: str, text: str) -> None:
        file = self.directory / name
        file.write_bytes(os.fsencode(text))
        file.chmod(0o755)

    def lines(self, count: int) -> list[str]:
        """Return what has been written, when that is so many lines."""
        return wait_for(lambda: self._lines(count), what=f"{count} lines")

    def _lines(self, count: int) -> list[str]:
        found = self.output.read_text().splitlines() if self.output.exists() else []
        return found if len(found) >= count else []

    def close(self) -> None:
        """End the supervisor, which ends its service."""
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise


@contextmanager
def supervised(directory: Path, manager: str, *words: str) -> Iterator[Supervised]:
    service = Supervised(directory, manager, *words)
    try:
        yield service
    finally:
        service.close()


def facts(lines: list[str]) -> dict[str, str]:
    names = ("uid", "gid", "groups", "umask", "directory", "core", "A", "no_new_privileges")
    return dict(zip(names, lines))


@pytest.fixture(params=["runit", "s6"])
def manager(request: pytest.FixtureRequest) -> str:
    """A manager whose supervisor is here."""
    name: str = request.param
    tool({"runit": "runsv", "s6": "s6-supervise"}[name], name)
    return name


def test_a_supervised_program_finds_what_was_asked_for(tmp_path: Path, manager: str) -> None:
    """Under its real supervisor the program has the umask, directory, variables and limits of the flags."""
    words = ("--umask", "27", "--chdir", "/usr", "--env", "A=b c'$", "--no-new-privileges", "--restart")
    with supervised(tmp_path, manager, *words, "--", "/bin/sh", "-c", TELLING) as service:
        found = facts(service.lines(8))
    assert found["umask"] == "0027"
    assert found["directory"] == "/usr"
    assert found["A"] == "b c'$"
    assert found["core"] == "0"
    assert found["no_new_privileges"].split()[-1] == "1"
    assert found["uid"] == str(os.geteuid())


def test_a_clean_environment_is_path_and_what_was_set(tmp_path: Path, manager: str) -> None:
    words = ("--clean-env", "--env", "A=1", "--restart", "--", "/bin/sh", "-c", "/usr/bin/env; exec sleep 60")
    with supervised(tmp_path, manager, *words) as service:
        found = {line.partition("=")[0] for line in service.lines(2)}
    assert {"A", "PATH"} <= found <= {"A", "PATH", "PWD", "SHLVL", "_", "OLDPWD"}  # the last of them are sh's own


@pytest.mark.root_only("the program becomes another user")
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--user", "{user}"), ("{uid}", "{gid}", "{groups}")),
        (("--user", "{user}", "--no-supplementary-groups"), ("{uid}", "{gid}", "{gid}")),
        (("--user", "{user}", "--group", "tty", "--no-supplementary-groups"), ("{uid}", "5", "5")),
        (("--user", "{user}", "--group", "tty"), ("{uid}", "5", "5")),
        (("--user", "{user}", "--group", "5", "--no-supplementary-groups"), ("{uid}", "5", "5")),
        (("--user", "{uid}", "--group", "5"), ("{uid}", "5", "5")),
        (("--group", "tty"), ("0", "5", "5")),
    ],
)
def test_a_supervised_program_has_its_user_and_groups(
    tmp_path: Path, manager: str, ordinary_user: str, words: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    """User, group and the other groups are those of the flags."""

    def asked(*flags: str) -> str:
        return subprocess.run(["id", *flags, ordinary_user], capture_output=True, text=True, check=True).stdout.strip()

    known = {"user": ordinary_user, "uid": asked("-u"), "gid": asked("-g"), "groups": asked("-G")}
    told = (word.format(**known) for word in words)
    with supervised(tmp_path, manager, *told, "--restart", "--", "/bin/sh", "-c", TELLING) as service:
        found = facts(service.lines(8))
    assert (found["uid"], found["gid"], found["groups"]) == tuple(each.format(**known) for each in expected)


@pytest.mark.root_only("the program gets another root directory")
def test_a_supervised_program_is_in_its_root(tmp_path: Path, manager: str, ordinary_user: str) -> None:
    """With --chroot the program and its paths are inside, and the user was looked up outside."""
    root = tmp_path / "jail"
    furnish(root, "/bin/sh")
    words = ("--chroot", str(root), "--user", ordinary_user, "--no-supplementary-groups", "--restart")
    # There is no other program in there that could sleep.
    script = "echo /[a-z]*; pwd; echo $$; kill -STOP $$"
    with supervised(tmp_path, manager, *words, "--", "/bin/sh", "-c", script) as service:
        names, directory, pid = service.lines(3)
        assert "/bin" in names.split()
        assert "/etc" not in names.split()
        assert directory == "/"
        assert os.readlink(f"/proc/{pid}/root") == str(root)
        assert Path(f"/proc/{pid}").owner() == ordinary_user


def furnish(root: Path, program: str) -> None:
    """Put a program and the libraries that it needs into a directory that is to be a root."""
    told = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    for path in (program, *re.findall(r"(/\S+) \(0x", told)):
        inside = root / path.lstrip("/")
        inside.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, inside)


# Each start is a line of the output.
ONCE = ("--", "/bin/sh", "-c", 'echo started; [ ! -e "$0" ]')


def test_what_is_to_start_once_is_not_started_again(tmp_path: Path, manager: str) -> None:
    """Without --restart, the finish script makes the supervisor leave the ended program alone."""
    with supervised(tmp_path, manager, *ONCE) as service:
        wait_for(lambda: is_left_down(service, manager), what="it is left down")
        assert service.lines(1) == ["started"]


def test_only_failures_are_started_again(tmp_path: Path, manager: str) -> None:
    """With --restart on-failure a program is started again after it has failed, and no more when it has ended well."""
    counting = 'echo started; [ "$(wc -l <"$0")" -ge 2 ]'
    output = str(tmp_path / "output")
    words = ("--restart", "on-failure", "--", "/bin/sh", "-c", counting, output)
    with supervised(tmp_path, manager, *words) as service:
        wait_for(lambda: is_left_down(service, manager), what="it is left down")
        assert service.lines(2) == ["started", "started"]


def test_s6_gives_up_at_the_limit(tmp_path: Path) -> None:
    """With --restart-limit 1/60, s6-supervise starts the program again once, and gives up."""
    tool("s6-supervise", "s6")
    words = ("--restart", "--restart-limit", "1/60", "--", "/bin/sh", "-c", "echo started; exit 3")
    with supervised(tmp_path, "s6", *words) as service:
        wait_for(lambda: is_left_down(service, "s6"), what="it is left down")
        assert service.lines(2) == ["started", "started"]


def is_left_down(service: Supervised, manager: str) -> bool:
    """Whether the supervisor says that it will not start the program."""
    if manager == "runit":
        told = subprocess.run(["sv", "status", str(service.directory)], capture_output=True, text=True, check=False)
        return told.stdout.startswith("down:") and "want up" not in told.stdout
    told = subprocess.run(["s6-svstat", "-o", "up,wantedup", str(service.directory)], capture_output=True, text=True,
                          check=False)  # fmt: skip
    return told.stdout.split() == ["false", "false"]


def test_the_end_of_a_supervisor_ends_its_program(tmp_path: Path, manager: str) -> None:
    """The program is what the supervisor started: no process stays between or behind."""
    with supervised(tmp_path, manager, "--restart", "--", "/bin/sh", "-c", "echo $$; exec sleep 60") as service:
        pid = int(service.lines(1)[0])
        children = Path(f"/proc/{service.process.pid}/task/{service.process.pid}/children").read_text()
        assert str(pid) in children.split()
    wait_for_exit(pid)
    assert service.process.returncode in (0, -signal.SIGTERM)
