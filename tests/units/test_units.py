"""What `daemonry unit` prints for each manager, what it refuses, and that nothing is dropped without a word."""

from __future__ import annotations

import os
import plistlib
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from daemonry.cli.commands import parse
from daemonry.cli.units import service_of
from daemonry.control import schedule
from daemonry.units import MANAGERS, PARTS, Service, Unsayable, systemd_words, write
from daemonry.units.hardening import ALLOWANCES, ROOTS_CAPABILITIES
from daemonry.units.service import require_sane

if TYPE_CHECKING:
    from harness.commands import Daemonry

PROGRAM = ("--", "/bin/sleep", "60")
# Whatever execve(2) takes for a word: bytes but the zero one, also those that are no UTF-8.
WORDS = st.lists(st.binary(max_size=12).filter(lambda word: b"\0" not in word).map(os.fsdecode), max_size=5)
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
HARD_WORDS = [
    *("", " ", "a b", "'", '"', "\\", "a\\", "$HOME", "${x}", "$$", "%n", "%%", ";", "*", "\n", "\t x", "é", "-n"),
]


def unit_of(manager: str, *words: str) -> str:
    return write(manager, checked(manager, *words)).text


def notes_of(manager: str, *words: str) -> str:
    return "\n".join(write(manager, checked(manager, *words)).notes)


def checked(manager: str, *words: str) -> Service:
    service = service_of(parse("unit", ["--manager", manager, *words]))
    require_sane(service)
    return service


def directives(text: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        if equals:
            found.setdefault(name, []).append(value)
    return found


def directive(name: str, *words: str) -> str | None:
    values = directives(unit_of("systemd", *words)).get(name)
    return None if values is None else values[-1]


# The command


@pytest.mark.parametrize("manager", MANAGERS)
def test_the_unit_is_all_that_is_on_standard_output(daemonry: Daemonry, manager: str) -> None:
    """The answer is the file, so that it can be redirected; what is to be noted is on standard error."""
    told = daemonry("unit", "--manager", manager, "--name", "web", "--wait-port", "80", *PROGRAM).check()
    assert told.stdout == unit_of(manager, "--name", "web", *PROGRAM)
    assert "note: --wait-port" in told.stderr
    assert daemonry("unit", "-q", "--manager", manager, *PROGRAM).check().stderr == ""


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("systemd", "--pidfile", "web.pid"), "--pidfile: 'web.pid' is relative"),
        (("systemd", "--output", "web.log"), "is relative"),
        (("runit", "--chdir", "there"), "--chdir: 'there' is relative"),
        (("s6", "--chroot", "there"), "--chroot: 'there' is relative"),
        (("systemd", "--write", "there"), "--write there: 'there' is relative"),
        (("systemd", "--user", "www data"), "--user: 'www data' is no name"),
        (("systemd", "--group", "%g"), "--group: '%g' is no name"),
        (("systemd", "--preserve-fd", "0"), "--preserve-fd: a manager starts the program"),
        (("launchd", "--type", "exec"), "--type: that is for --manager systemd only"),
        (("runit", "--allow", "bind", "--reload"), "--reload, --allow: that is for --manager systemd only"),
        (("openrc", "--part", "log"), "--part log: a service of openrc is one file"),
        (("systemd", "--type", "forking"), "--type forking: say where the program writes its number"),
        (("systemd", "--type", "oneshot", "--restart"), "use --restart on-failure"),
        (("systemd", "--type", "oneshot", "--reload"), "--reload: a program of --type oneshot"),
        (("systemd", "--type", "exec", "--notify"), "use --type notify"),
        (("systemd", "--type", "forking", "--name", "x", "--user", "games"), "--pidfile /run/x/x.pid"),
        (("systemd", "--user", "games", "--no-supplementary-groups"), "--no-supplementary-groups: a unit of systemd"),
        (("openrc", "--user", "games", "--no-supplementary-groups"), "--no-supplementary-groups: OpenRC"),
        (("openrc", "--restart", "on-failure"), "--restart on-failure: supervise-daemon"),
        (("openrc", "--stdin", "/etc/motd"), "--stdin: OpenRC has no word for it"),
        (("openrc", "--group", "games"), "add --user"),
        (("openrc", "--chroot", "/srv", "--output", "/var/log/x"), "OpenRC opens logs inside /srv"),
        (("launchd", "--no-new-privileges"), "--no-new-privileges: launchd has no word for it"),
        (("launchd", "--schedule", "INT/5/KILL"), "launchd sends SIGTERM"),
        (("runit", "--schedule", "INT/5/KILL"), "control/t"),
        (("s6", "--schedule", "INT/5/KILL"), "down-signal"),
        (("systemd", "--schedule", "INT/5/TERM/5/KILL/5"), "as in TERM/30/KILL/5"),
        (("systemd", "--schedule", "TERM/forever/5"), "as in TERM/30/KILL/5"),
        (("systemd", "--schedule", "soon"), "--schedule: schedule 'soon'"),
        (("systemd", "--restart", "--restart-limit=-2/5"), "--restart-limit: invalid N/SECONDS value: '-2/5'"),
        (("systemd", "--env", "a-b=c"), "--env: systemd sets no variable called 'a-b'"),
        (("systemd", "--env", "a=\x01"), "--env: systemd sets no variable to control characters"),
        (("systemd", "--chdir", "/a\\"), "--chdir: a unit can't say this path"),
        (("runit", "--user", "33"), "--user 33: with a user's number runit takes a group's number"),
        (("runit", "--chroot", "/srv", "--chdir", "/x"), "begins in its new root"),
        (("runit", "--part", "log", "--output", "/var/log/x"), "its output goes to /var/log/x"),
    ],
)
def test_what_can_not_be_meant_is_refused_before_anything_is_printed(
    daemonry: Daemonry, words: tuple[str, ...], told: str
) -> None:
    """A wrong value, and what the manager has no word for, is a usage error with advice, and prints nothing."""
    done = daemonry("unit", "--manager", *words, *PROGRAM).check(2)
    assert done.stdout == ""
    assert told in done.stderr


def test_a_program_is_needed(daemonry: Daemonry) -> None:
    assert "no program is given" in daemonry("unit", "--manager", "s6").check(2).stderr
    assert "no-such-program" in daemonry("unit", "--manager", "s6", "--", "no-such-program").check(5).stderr


def test_a_unit_may_be_for_another_machine(daemonry: Daemonry) -> None:
    """An absolute path that leads nowhere here is printed, and noted; a name is looked up."""
    told = daemonry("unit", "--manager", "systemd", "--", "/opt/elsewhere/job").check()
    assert "ExecStart=/opt/elsewhere/job\n" in told.stdout
    assert "note: there is no program /opt/elsewhere/job here" in told.stderr
    assert f"ExecStart={shutil.which('sleep')} 60\n" in unit_of("systemd", "--", "sleep", "60")


def test_a_word_that_is_no_text_is_printed_as_it_was_typed() -> None:
    """Bytes that are no UTF-8 are the shell's, and are written as they are; a unit of systemd is UTF-8, and escapes."""

    def printed(manager: str) -> bytes:
        command = [
            sys.executable,
            "-m",
            "daemonry",
            "unit",
            "-q",
            "--manager",
            manager,
            "--",
            "/bin/echo",
            b"\xff\xc3\xa9",
        ]
        return subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout

    assert b"/bin/echo '\xff\xc3\xa9'\n" in printed("runit")
    assert b'ExecStart=/bin/echo "\\xff\xc3\xa9"\n' in printed("systemd")


# systemd


@pytest.mark.parametrize(
    ("words", "name", "value"),
    [
        ((), "Type", "exec"),
        (("--notify",), "Type", "notify"),
        (("--notify",), "NotifyAccess", "main"),
        ((), "NotifyAccess", None),
        (("--notify", "--type", "notify-reload"), "Type", "notify-reload"),
        (("--type", "forking", "--name", "web"), "PIDFile", "/run/web.pid"),
        (("--type", "forking", "--pidfile", "/run/a/b.pid"), "RuntimeDirectory", "a"),
        (("--reload",), "ExecReload", "/bin/kill -HUP $MAINPID"),
        (("--type", "notify-reload", "--reload"), "ExecReload", None),
        ((), "ExecReload", None),
        (("--name", "web"), "Description", "web"),
        ((), "Description", "sleep"),
        (("--name", "web"), "SyslogIdentifier", "web"),
        (("--user", "games"), "User", "games"),
        (("--group", "games"), "Group", "games"),
        (("--umask", "27"), "UMask", "0027"),
        (("--chdir", "/a b%"), "WorkingDirectory", "/a b%%"),
        ((), "WorkingDirectory", None),
        (("--env", "A=b c"), "Environment", '"A=b c"'),
        (("--no-new-privileges", "--no-hardening"), "NoNewPrivileges", "yes"),
        (("--no-hardening",), "NoNewPrivileges", None),
        ((), "LimitCORE", "0"),
        (("--allow-core",), "LimitCORE", "infinity"),
        (("--stdin", "/etc/motd"), "StandardInput", "file:/etc/motd"),
        (("--output", "/var/log/x"), "StandardError", "append:/var/log/x"),
        (("--output", "/var/log/x", "--stdout", "/var/log/y"), "StandardOutput", "append:/var/log/y"),
        ((), "StandardOutput", None),
        (("--restart",), "Restart", "always"),
        (("--restart", "on-failure", "--restart-pause", "0.25"), "RestartSec", "0.25"),
        (("--restart", "--restart-limit", "3/20"), "StartLimitIntervalSec", "20"),
        ((), "Restart", None),
        ((), "TimeoutStartSec", "90"),
        (("--timeout", "0"), "TimeoutStartSec", "infinity"),
        (("--type", "oneshot"), "TimeoutStartSec", None),
        (("--type", "oneshot", "--timeout=90"), "TimeoutStartSec", "90"),
        (("--schedule", "INT/5/ABRT"), "KillSignal", "SIGINT"),
        (("--schedule", "INT/5/ABRT"), "FinalKillSignal", "SIGABRT"),
        (("--schedule=-40/5",), "KillSignal", "40"),
        (("--schedule", "INT/5"), "SendSIGKILL", "no"),
        ((), "WantedBy", "multi-user.target"),
    ],
)
def test_an_option_is_a_directive(words: tuple[str, ...], name: str, value: str | None) -> None:
    """Each option of start is said by the directive of systemd that means the same."""
    assert directive(name, *words, *PROGRAM) == value


def test_the_first_start_is_no_restart() -> None:
    """systemd counts the first start among those that it limits, so there is one more."""
    assert directive("StartLimitBurst", "--restart", "--restart-limit", "3/20", *PROGRAM) == "4"


def test_a_clean_environment_has_what_was_set() -> None:
    """Variables of the manager's are unset, but not one that --env has set."""
    unset = directive("UnsetEnvironment", "--clean-env", "--env", "HOME=/srv", *PROGRAM)
    assert unset is not None
    assert "LANG" in unset.split()
    assert "HOME" not in unset.split()
    assert "NOTIFY_SOCKET" not in unset.split()


def test_reload_works_from_within_another_root(tmp_path: Path) -> None:
    assert directive("ExecReload", "--reload", "--chroot", str(tmp_path), *PROGRAM) == "+/bin/kill -HUP $MAINPID"


# What is shut in


def test_what_a_program_needs_is_left_to_it() -> None:
    """Each --allow leaves out what stands in its way, and nothing else."""
    plain = directives(unit_of("systemd", "--user", "games", *PROGRAM))
    changed = {
        name: {each for each in {*plain, *found} if plain.get(each) != found.get(each)}
        for name in ("bind", "devices", "home", "network", "proc")
        for found in [directives(unit_of("systemd", "--user", "games", "--allow", name, *PROGRAM))]
    }
    assert changed == {
        "bind": {"CapabilityBoundingSet", "AmbientCapabilities"},
        "devices": {"PrivateDevices"},
        "home": {"ProtectHome", "ReadWritePaths"},
        "network": {"RestrictAddressFamilies"},
        "proc": {"ProtectProc", "ProcSubset"},
    }


@pytest.mark.parametrize(
    ("path", "name", "value"),
    [
        ("/var/lib/x/y", "StateDirectory", "x/y"),
        ("/var/cache/x", "CacheDirectory", "x"),
        ("/var/log/x", "LogsDirectory", "x"),
        ("/var/run/x", "RuntimeDirectory", "x"),
        ("/srv/x", "ReadWritePaths", "/srv/x"),
        ("/srv/x y%", "ReadWritePaths", '"/srv/x y%%"'),
        ("/run/user/5", "ReadWritePaths", "/run/user/5"),
    ],
)
def test_a_place_to_write_is_its_own_directory_where_there_is_one(path: str, name: str, value: str) -> None:
    assert directive(name, "--user", "games", "--write", path, *PROGRAM) == value


def test_a_program_can_be_reached_where_it_lies() -> None:
    """What is in a home or a temporary directory, the argument of an interpreter too, is not hidden from it."""
    for words in (("/home/x/job",), ("/usr/bin/python3", "/home/x/job.py")):
        assert directive("ProtectHome", "--", *words) == "read-only"
    assert directive("PrivateTmp", "--", "/bin/sh", "/tmp/job") is None
    assert directive("PrivateTmp", *PROGRAM) == "yes"
    assert directive("ProtectHome", *PROGRAM) == "yes"


def test_a_directory_of_another_is_not_given_to_root() -> None:
    """systemd gives a state directory to the unit's user; one that is there already stays whose it is."""
    there = next(path for path in ("/var/lib/dpkg", "/var/lib") if os.path.isdir(path))
    assert directive("ReadWritePaths", "--write", there, *PROGRAM) == there
    assert directive("StateDirectory", "--write", there, *PROGRAM) is None


def test_without_hardening_there_is_nothing_of_it() -> None:
    text = unit_of("systemd", "--no-hardening", "--user", "games", *PROGRAM)
    assert not re.search(r"^(Protect|Private|Restrict.*=|SystemCall|Capability)", text, re.MULTILINE)


@pytest.mark.parametrize("flag", ["--allow=home", "--write=/srv", "--no-jit"])
def test_what_hardening_would_heed_is_noted_without_it(flag: str) -> None:
    assert "nothing is shut in" in notes_of("systemd", "--no-hardening", *flag.split("="), *PROGRAM)


# The words, read back


def read_as_systemd(line: str) -> list[str]:
    """Read words as systemd.service(5), COMMAND LINES, says; what it warns of is an error here."""
    pattern = re.compile(rb'"((?:[^"\\]|\\.)*)"|([^\s"\'\\;]+)(?= |$)', re.DOTALL)
    words, position, data = [], 0, line.encode("utf-8")
    while position < len(data):
        found = pattern.match(data, position)
        assert found, data[position:]
        word = found[1] if found[1] is not None else found[2]
        words.append(re.sub(rb"\\(x[0-9a-f]{2}|.)", _escape, word, flags=re.DOTALL))
        position = found.end() + 1
    return [os.fsdecode(word.replace(b"%%", b"%").replace(b"$$", b"$")) for word in words]


def _escape(found: re.Match[bytes]) -> bytes:
    simple = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"\\": b"\\", b'"': b'"'}
    return bytes([int(found[1][1:], 16)]) if found[1][:1] == b"x" else simple[found[1]]


@given(WORDS)
@example(HARD_WORDS)
def test_systemd_reads_the_same_words(words: list[str]) -> None:
    """Any words come out of a line of a unit as they went in, and the line is one line of UTF-8."""
    line = systemd_words.command_line(("/bin/echo", *words))
    assert not re.search(r"[\x00-\x1f\x7f]", line)
    assert read_as_systemd(line) == ["/bin/echo", *words]
    # A percent sign or a dollar that is alone would be something else.
    assert re.fullmatch(r"(?:[^%$]|%%|\$\$)*", line)


@given(TEXTS, TEXTS)
@example(directory="a b", value="\\")
def test_no_text_becomes_a_line_of_its_own(directory: str, value: str) -> None:
    """Whatever a flag says, the unit has the lines that it would have without it, or the flag is refused."""
    plain = unit_of("systemd", *PROGRAM).count("\n")
    try:
        found = unit_of("systemd", "--chdir", f"/{directory}", "--env", f"A={value}", *PROGRAM)
    except Unsayable:
        return
    assert len(found.split("\n")) - 1 == plain + 1 + (directory != "")


def test_a_dollar_in_the_programs_path_is_the_paths() -> None:
    """systemd expands variables in argv[0] and not in the path, so they are written apart."""
    assert systemd_words.command_line(("/opt/a${b}/x",)) == '"@/opt/a${b}/x" "/opt/a$${b}/x"'


@pytest.mark.parametrize("path", ["/opt/a'b", '/opt/a"b', "/opt/a\\b", "/opt/a\nb"])
def test_a_path_that_systemd_would_not_run_is_refused(path: str) -> None:
    with pytest.raises(Unsayable, match="systemd runs no program"):
        unit_of("systemd", "--", path)


# launchd


def test_launchd_is_told_by_a_property_list() -> None:
    """Options are the keys of launchd.plist(5), numbers are numbers and truths truths."""
    words = "--name web --user games --group tty --no-supplementary-groups --umask 27 --chdir /srv --chroot /jail"
    more = (
        "--env A=b --stdout /o --stderr /e --stdin /i --restart on-failure --restart-pause 1.5 --schedule TERM/7/KILL"
    )
    found = plistlib.loads(unit_of("launchd", *words.split(), *more.split(), *PROGRAM).encode())
    assert found == {
        "Label": "web",
        "ProgramArguments": ["/bin/sleep", "60"],
        "RunAtLoad": True,
        "KeepAlive": {"SuccessfulExit": False},
        "ThrottleInterval": 2,
        "ExitTimeOut": 7,
        "AbandonProcessGroup": False,
        "UserName": "games",
        "GroupName": "tty",
        "InitGroups": False,
        "Umask": 0o27,
        "RootDirectory": "/jail",
        "WorkingDirectory": "/srv",
        "EnvironmentVariables": {"A": "b"},
        "StandardInPath": "/i",
        "StandardOutPath": "/o",
        "StandardErrorPath": "/e",
        "SoftResourceLimits": {"Core": 0},
        "HardResourceLimits": {"Core": 0},
    }
    assert plistlib.loads(unit_of("launchd", "--restart", *PROGRAM).encode())["KeepAlive"] is True
    assert "HardResourceLimits" not in plistlib.loads(unit_of("launchd", "--allow-core", *PROGRAM).encode())


@given(TEXTS)
def test_launchd_reads_the_same_words(word: str) -> None:
    try:
        text = unit_of("launchd", "--", "/bin/echo", word)
    except Unsayable:
        assert re.search(r"[\x00-\x08\x0b-\x1f]", word)  # a carriage return too
        return
    assert plistlib.loads(text.encode())["ProgramArguments"] == [
        "/bin/echo",
        word.replace("\r\n", "\n").replace("\r", "\n"),
    ]


# The shell's scripts


def printed_by(script: str) -> list[str]:
    done = subprocess.run(["sh"], input=os.fsencode(script), stdout=subprocess.PIPE, check=True)
    return [os.fsdecode(word) for word in done.stdout.split(b"\0")[:-1]]


@settings(max_examples=50)
@given(WORDS)
@example(HARD_WORDS)
@pytest.mark.parametrize("manager", ["runit", "s6"])
def test_the_shell_gives_the_program_the_same_words(manager: str, words: list[str]) -> None:
    """A run script is given to sh, and the program that it becomes sees the words that were typed."""
    script = unit_of(manager, "--env", "A=b c'$%", "--", "/usr/bin/printf", r"%s\0", "x", *words)
    assert printed_by(script) == ["x", *words]


def test_a_program_with_an_equals_sign_in_its_path_is_no_variable(tmp_path: Path) -> None:
    program = tmp_path / "a=b"
    program.write_text('#!/bin/sh\nprintf "%s\\0" "$A" "$@"\n')
    program.chmod(0o755)
    assert printed_by(unit_of("s6", "--env", "A=1", "--", str(program), "c d")) == ["1", "c d"]


@settings(max_examples=50)
@given(WORDS)
@example(HARD_WORDS)
def test_openrc_gives_the_program_the_same_words(words: list[str]) -> None:
    """Settings go through eval; openrc-run(8): the words that come of it are those that were typed."""
    script = unit_of("openrc", "--env", "A=b c'$%", "--", "/usr/bin/printf", r"%s\0", "x", *words)
    evaluated = "eval $command $command_args\neval $command '%s\\\\0' $supervise_daemon_args\n"
    assert printed_by(script + evaluated) == ["x", *words, "--env", "A=b c'$%"]


def test_openrc_is_told_by_settings() -> None:
    """Options are the variables of openrc-run(8)."""
    words = "--name web --user games --group tty --umask 27 --chdir /srv --chroot /jail --output /jail/log/x"
    more = "--restart --restart-pause 1.5 --restart-limit 3/20 --schedule TERM/7/KILL/2 --no-new-privileges"
    found = directives(unit_of("openrc", *words.split(), *more.split(), *PROGRAM))
    assert {name: shlex.split(value[0])[0] for name, value in found.items()} == {
        "name": "web",
        "supervisor": "supervise-daemon",
        "command": "/bin/sleep",
        "command_args": "60",
        "supervise_daemon_args": "--no-new-privs",
        "pidfile": "/run/${RC_SVCNAME}.pid",
        "umask": "0027",
        "command_user": "games:tty",
        "chroot": "/jail",
        "directory": "/srv",
        "output_log": "/log/x",
        "error_log": "/log/x",
        "rc_ulimit": "-c 0",
        "retry": "SIGTERM/7/SIGKILL/2",
        "respawn_delay": "2",
        "respawn_max": "3",
        "respawn_period": "20",
    }


def test_openrc_lets_the_user_have_his_log() -> None:
    """The log is opened by the program's user, so it is made for him before."""
    text = unit_of("openrc", "--user", "games", "--group", "tty", "--output", "/var/log/a b", *PROGRAM)
    assert "start_pre() {\n\tcheckpath --file --mode 0640 --owner games:tty '/var/log/a b'\n}\n" in text
    assert "start_pre" not in unit_of("openrc", "--output", "/var/log/a", *PROGRAM)


def test_openrc_starts_again_as_seldom_as_it_can() -> None:
    """respawn_max=0 would be without an end, so a program without --restart is started again once, which is noted."""
    found = directives(unit_of("openrc", *PROGRAM))
    assert found["supervisor"] == ["supervise-daemon"]
    assert found["respawn_max"] == ["1"]
    assert "it will do so once" in notes_of("openrc", *PROGRAM)
    assert directives(unit_of("openrc", "--schedule", "TERM/forever/5", *PROGRAM))["retry"] == ["SIGTERM/forever/5"]


@pytest.mark.parametrize("path", ["/opt/a b", "/opt/a$b"])
def test_openrc_could_not_stop_a_program_with_such_a_path(path: str) -> None:
    with pytest.raises(Unsayable, match="OpenRC stops no service"):
        unit_of("openrc", "--", path)


@pytest.mark.parametrize(
    ("manager", "part"), [("openrc", "run"), *((name, part) for name in ("runit", "s6") for part in PARTS)]
)
@pytest.mark.parametrize("restart", [(), ("--restart",), ("--restart", "on-failure", "--restart-pause", "3")])
def test_sh_finds_no_error_of_syntax(manager: str, part: str, restart: tuple[str, ...]) -> None:
    words = ("--part", part, "--env", "A='", "--name", "a.b@c", "--", "/bin/echo", "'", "(")
    text = unit_of(manager, *(restart if manager != "openrc" else restart[:1]), *words)
    done = subprocess.run(["sh", "-n"], input=text, capture_output=True, text=True, check=True)
    assert done.stderr == ""


# Nothing is dropped without a word

ASKED = {
    "--notify": (),
    "--wait-port": ("80",),
    "--settle": ("3",),
    "--pidfile": ("/run/x/x.pid",),
}


@pytest.mark.parametrize("manager", MANAGERS)
@pytest.mark.parametrize("flag", ASKED)
def test_what_a_manager_can_not_be_told_is_noted(manager: str, flag: str) -> None:
    """A flag that changes nothing in the file is named on standard error, or it has changed the file."""
    words = (flag, *ASKED[flag])
    changed = unit_of(manager, *words, *PROGRAM) != unit_of(manager, *PROGRAM)
    assert changed or flag in notes_of(manager, *words, *PROGRAM)


def test_defaults_are_not_noted() -> None:
    """Nobody is told of a --settle or --timeout that he has not typed."""
    for manager in MANAGERS:
        assert "--settle" not in notes_of(manager, "--name", "x", *PROGRAM)
        assert "--timeout" not in notes_of(manager, "--name", "x", "--", "/bin/sleep", "--timeout")


def test_schedules_are_those_of_stop() -> None:
    service = checked("systemd", "--schedule", "TERM/30/KILL/5", *PROGRAM)
    assert service.schedule == schedule.parse("TERM/30/KILL/5")


def test_the_page_tells_of_all_that_is_left_to_a_program() -> None:
    page = (Path(__file__).parent.parent.parent / "docs" / "units.rst").read_text()
    shown = re.findall(r"daemonry-unit:: daemonry unit --manager (\w+)", page)
    assert list(dict.fromkeys(shown)) == list(MANAGERS)
    assert set(re.findall(r"``--allow (\w+)``", page)) == set(ALLOWANCES)
    assert set(re.findall(r"``(CAP_\w+)``", page)) == set(ROOTS_CAPABILITIES)
