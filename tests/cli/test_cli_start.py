"""daemonry start, restart, plan and run: what a program finds when it is started, and what a failed start leaves."""

from __future__ import annotations

import contextlib
import grp
import json
import os
import pwd
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.jails import bring_in
from harness.probe import facts_of
from harness.waiting import is_alive, wait_for, wait_for_exit

if TYPE_CHECKING:
    from harness.commands import Daemonry

# Up as soon as it is executed: what becomes of it later is not what most tests ask.
AT_ONCE = ("--settle", "0")
SLEEP = ("--", "sleep", "60")


def children_of(pid: int) -> str:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text()


def command_of(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/cmdline").read_text().split("\0")[:-1]


def wchan(pid: int) -> str:
    """Return where in the kernel the process waits."""
    return Path(f"/proc/{pid}/wchan").read_text()


def files_of(pid: int) -> list[int]:
    """Return the inodes of its descriptors: a file that was made before it had a name is shown without one."""
    return [os.stat(f"/proc/{pid}/fd/{each}").st_ino for each in facts_of(pid).numbers]


# What the program finds


def test_the_program_itself_is_the_daemon(daemonry: Daemonry) -> None:
    """The pidfile's process is the program, init its parent, and it has what daemon(7) asks for and nothing else."""
    started = daemonry("start", "--name", daemonry.name, *AT_ONCE, *SLEEP).check()
    pid = daemonry.pid()
    assert (started.stdout, started.stderr) == ("", f"{daemonry.name}: started, process {pid}\n")
    assert daemonry.daemons.survivor() == pid
    found = facts_of(pid)
    assert command_of(pid) == ["sleep", "60"]
    assert found.ppid == 1
    assert found.sid not in (pid, os.getsid(0), 0)
    assert found.pgid == found.sid
    assert found.tty == 0
    assert (found.cwd, found.root, found.umask) == ("/", "/", 0o022)
    assert found.core_limit == ("0", "0")
    assert found.environment["DAEMONRY_PID"] == str(pid)
    assert "NOTIFY_SOCKET" not in found.environment
    log = str(daemonry.log())
    assert [each.target for each in found.descriptors[:3]] == ["/dev/null", log, log]
    assert files_of(pid)[3:] == []
    assert children_of(pid) == ""
    daemonry.stop()


def test_what_it_writes_is_appended_to_the_log(daemonry: Daemonry) -> None:
    daemonry.log().parent.mkdir(exist_ok=True)
    daemonry.log().write_text("of yesterday\n")
    daemonry.start("--", "sh", "-c", "echo out; echo err >&2; exec sleep 60")
    assert daemonry.log().read_text() == "of yesterday\nout\nerr\n"
    daemonry.stop()


@pytest.mark.parametrize("by", ["SIG_IGN", "nohup", "blocked"])
def test_signals_are_clean_whatever_the_launcher_ignored_or_blocked(daemonry: Daemonry, by: str) -> None:
    """What a program finds ignored it goes on ignoring: a daemon deaf to SIGHUP could not be reloaded."""
    numbers = (signal.SIGHUP, signal.SIGPIPE, signal.SIGTERM, signal.SIGCHLD, signal.SIGUSR1)

    def ignore() -> None:
        for each in numbers if by == "SIG_IGN" else ():
            signal.signal(each, signal.SIG_IGN)
        if by == "blocked":
            signal.pthread_sigmask(signal.SIG_BLOCK, numbers)

    pid = daemonry.start(*AT_ONCE, *SLEEP, preexec=ignore, through=["nohup"] if by == "nohup" else [])
    found = facts_of(pid)
    assert (found.ignored, found.blocked, found.caught) == ((), (), ())
    daemonry.stop()


def test_the_directory_and_the_umask_are_those_of_the_flags(daemonry: Daemonry) -> None:
    """A relative directory is the launcher's."""
    pid = daemonry.start(*AT_ONCE, "--chdir", "public", "--umask", "027", *SLEEP)
    found = facts_of(pid)
    assert (found.cwd, found.umask) == (str(daemonry.daemons.public), 0o027)
    daemonry.stop()


def test_allow_core_leaves_the_limit_and_no_new_privileges_is_set(daemonry: Daemonry) -> None:
    before = resource.getrlimit(resource.RLIMIT_CORE)[1]
    limit = 4096 if before == resource.RLIM_INFINITY else min(before, 4096)

    def lower() -> None:
        resource.setrlimit(resource.RLIMIT_CORE, (limit, limit))

    pid = daemonry.start(*AT_ONCE, "--allow-core", "--no-new-privileges", *SLEEP, preexec=lower)
    found = facts_of(pid)
    assert found.core_limit == (str(limit), str(limit))
    assert found.no_new_privileges
    daemonry.stop()


def test_each_stream_has_its_flag(daemonry: Daemonry) -> None:
    (daemonry.directory / "input").write_text("a line\n")
    flags = ("--stdin", "input", "--stdout", "out", "--stderr", "err")
    daemonry.start(*flags, "--", "sh", "-c", 'read line; echo "read $line"; echo err >&2; exec sleep 60')
    assert (daemonry.directory / "out").read_text() == "read a line\n"
    assert (daemonry.directory / "err").read_text() == "err\n"
    assert not daemonry.log().exists()
    daemonry.stop()


def test_output_is_both_streams_but_for_the_one_that_is_named(daemonry: Daemonry) -> None:
    flags = ("--output", "both", "--stderr", "err")
    daemonry.start(*flags, "--", "sh", "-c", "echo out; echo err >&2; exec sleep 60")
    assert (daemonry.directory / "both").read_text() == "out\n"
    assert (daemonry.directory / "err").read_text() == "err\n"
    daemonry.stop()


def test_env_is_laid_over_the_launchers_environment(daemonry: Daemonry) -> None:
    flags = ("--env", "GIVEN=a=b", "--env", "KEPT=no", "--env", "EMPTY=")
    pid = daemonry.start(*AT_ONCE, *flags, *SLEEP, env={"KEPT": "yes", "OTHER": "1"})
    found = facts_of(pid).environment
    assert [found[name] for name in ("GIVEN", "KEPT", "EMPTY", "OTHER")] == ["a=b", "no", "", "1"]
    daemonry.stop()


def test_a_clean_environment_is_path_and_what_env_sets(daemonry: Daemonry) -> None:
    """DAEMONRY_PID belongs to the pidfile's lock, and PYTHONUNBUFFERED to the log."""
    flags = ("--clean-env", "--env", "GIVEN=1", "--env", daemonry.marker)
    pid = daemonry.start(*AT_ONCE, *flags, *SLEEP, env={"OTHER": "1"})
    found = facts_of(pid).environment
    marker = daemonry.marker.partition("=")[0]
    assert set(found) - {"LC_CTYPE"} == {"PATH", "GIVEN", "DAEMONRY_PID", "DAEMONRY_DAEMON", "PYTHONUNBUFFERED", marker}
    daemonry.stop()


def test_a_program_is_looked_for_in_the_path_that_it_gets(daemonry: Daemonry) -> None:
    tool = daemonry.directory / "my-tool"
    tool.write_text("#!/bin/sh\nexec sleep 60\n")
    tool.chmod(0o755)
    path = f"PATH={daemonry.directory}:{os.environ['PATH']}"
    assert command_of(daemonry.start("--env", path, "--", "my-tool")) == ["sleep", "60"]
    daemonry.stop()


def test_a_descriptor_is_preserved_under_its_number(daemonry: Daemonry) -> None:
    """And there is no other: what the launcher was started with is closed, and nothing leads to the pidfile."""
    with open(daemonry.directory / "kept", "w") as kept, open(daemonry.directory / "leak", "w") as leak:
        numbers = (kept.fileno(), leak.fileno())
        pid = daemonry.start(*AT_ONCE, "--preserve-fd", kept.fileno(), *SLEEP, pass_fds=numbers)
        found = facts_of(pid)
        assert found.descriptor(kept.fileno()).target == kept.name
        assert files_of(pid)[3:] == [os.fstat(kept.fileno()).st_ino]
    daemonry.stop()


def test_quiet_says_nothing_of_a_start_that_succeeds(daemonry: Daemonry) -> None:
    started = daemonry("start", "--quiet", "--name", daemonry.name, *AT_ONCE, *SLEEP).check()
    assert (started.stdout, started.stderr) == ("", "")
    daemonry.stop()


def test_without_a_name_and_a_pidfile_it_is_called_as_its_program_is(daemonry: Daemonry) -> None:
    """So that it is found again, and its output."""
    program = daemonry.directory / f"{daemonry.name}.sh"
    program.write_text("#!/bin/sh\necho here\nexec sleep 60\n")
    program.chmod(0o755)
    started = daemonry("start", "--", program).check()
    assert started.stderr == f"{daemonry.name}: started, process {daemonry.pid()}\n"
    assert daemonry("logs", daemonry.name).check().stdout == "here\n"
    second = daemonry("start", "--", "sh", program).check(1)
    assert f"{daemonry.name} is running already" in second.stderr
    daemonry("restart", daemonry.name).check()
    daemonry.stop()


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (("./web", "8000"), "web"),
        (("/usr/bin/python3", "-u", "app.py", "web"), "app"),
        (("python3.11", "-m", "http.server", "8000"), "http.server"),
        (("sh", "-x", "bin/job.sh"), "job"),
        (("node", "server.js"), "server"),
        (("redis-server",), "redis-server"),
        (("sh",), "sh"),
        (("sh", "-c", "job"), None),
        (("sh", "-ec", "job"), None),
        (("python3", "-c", "pass"), None),
        (("python3", "-m"), None),
        (("node", "-e", "1"), None),
        (("./-x",), None),
        (("./12",), None),
    ],
)
def test_what_a_program_is_called(words: tuple[str, ...], name: str | None) -> None:
    """By its file, its script or its module; a text that an interpreter is given has no name."""
    from daemonry.cli.program_options import _name_of

    assert _name_of(list(words)) == name


def test_a_program_without_a_name_is_to_be_given_one(daemonry: Daemonry) -> None:
    told = daemonry("start", "--", "sh", "-c", "sleep 60").check(2).stderr
    assert told == "daemonry: say by --name how it is to be called, so that it is found again, and its output\n"
    assert daemonry.daemons.alive() == []


def test_a_pidfile_alone_has_a_log_beside_it(daemonry: Daemonry) -> None:
    """Which a start that fails shows, and `logs` when it has ended."""
    failed = daemonry("start", "--pidfile", "p.pid", "--", "sh", "-c", "echo why >&2; exit 3").check(1)
    assert failed.stderr.splitlines()[1:] == ["  why"]
    daemonry("start", "--pidfile", "p.pid", *AT_ONCE, *SLEEP).check()
    daemonry("stop", "./p.pid").check()
    assert daemonry("logs", "./p.pid").check().stdout == "why\n" == (daemonry.directory / "p.log").read_text()


def test_a_pidfile_alone_is_enough(daemonry: Daemonry) -> None:
    started = daemonry("start", "--pidfile", "p.pid", *AT_ONCE, *SLEEP).check()
    pid = int((daemonry.directory / "p.pid").read_text())
    assert started.stderr == f"./p.pid: started, process {pid}\n"
    assert f"process {pid}" in daemonry("status", "./p.pid").check().stdout
    daemonry("stop", "./p.pid").check()
    assert not (daemonry.directory / "p.pid").exists()


@pytest.mark.root_only("another user's process")
def test_user_and_group_are_those_of_the_flags(daemonry: Daemonry, ordinary_user: str) -> None:
    """Its log, made by root, is its own: it may be reopened, and rotated."""
    user = pwd.getpwnam(ordinary_user)
    pid = daemonry.start(*AT_ONCE, "--user", ordinary_user, "--group", "daemon", *SLEEP)
    found, group = facts_of(pid), grp.getgrnam("daemon").gr_gid
    assert set(found.uids) == {user.pw_uid}
    assert set(found.gids) == {group}
    assert set(found.groups) == {*os.getgrouplist(ordinary_user, group)}
    assert found.capabilities == 0
    assert daemonry.log().stat().st_uid == user.pw_uid
    daemonry.stop()


@pytest.mark.root_only("another user's process")
def test_the_supplementary_groups_can_be_left_away(daemonry: Daemonry, ordinary_user: str) -> None:
    """Of the launcher's none is left in either case."""
    user = pwd.getpwnam(ordinary_user)
    flags = ("--user", ordinary_user, "--no-supplementary-groups")
    pid = daemonry.start(*AT_ONCE, *flags, *SLEEP, extra_groups=[0, 4])
    found = facts_of(pid)
    assert set(found.gids) == {user.pw_gid}
    assert set(found.groups) <= {user.pw_gid}
    daemonry.stop()


@pytest.mark.root_only("chroot(2)")
def test_the_program_is_inside_its_root(daemonry: Daemonry) -> None:
    """Named by its path in there; its log is outside, where the flags were given."""
    jail = daemonry.daemons.jail()
    sleep = bring_in(jail, "sleep")
    pid = daemonry.start(*AT_ONCE, "--chroot", jail, "--", sleep, "60")
    found = facts_of(pid)
    assert (found.root, found.cwd) == (str(jail), str(jail))
    assert found.descriptor(1).target == str(daemonry.log())
    daemonry.stop()
    failed = daemonry("start", "--name", daemonry.name, "--chroot", jail, "--", "cat").check(5)
    assert f"there is no program cat in {jail}" in failed.stderr


# What is refused, and what fails


def fails(daemonry: Daemonry, status: int, *words: object, **options: object) -> str:
    """Return what a start has said that fails and leaves nothing behind."""
    failed = daemonry("start", "--name", daemonry.name, *words, **options).check(status)
    assert failed.stdout == ""
    assert daemonry.left() == []
    assert daemonry.daemons.alive() == []
    daemonry("status", daemonry.name).check(3)
    return failed.stderr


def test_a_program_that_is_not_there_has_its_own_status(daemonry: Daemonry) -> None:
    message = fails(daemonry, 5, "--", "no-such-program-here", "x")
    assert message == "daemonry: there is no program no-such-program-here in PATH\n"
    message = fails(daemonry, 5, "--", "./none")
    assert message == "daemonry: there is no program ./none\n"


def test_no_program_is_a_mistake_in_use(daemonry: Daemonry) -> None:
    for words in ([], ["--"]):
        assert "no program is given; write it behind --" in fails(daemonry, 2, *words)


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("--umask", "9"),
        ("--umask", "1777"),
        ("--wait-port", "0"),
        ("--wait-port", "65536"),
        ("--wait-port", "http"),
        ("--settle", "-1"),
        ("--timeout", "nan"),
        ("--env", "NOVALUE"),
        ("--env", "=x"),
        ("--preserve-fd", "x"),
        ("--preserve-fd", "917"),
        ("--chdir", "no-such-directory"),
        ("--chroot", "no-such-directory"),
        ("--user", "no-such-user"),
        ("--group", "no-such-group"),
        ("--restart", "sometimes"),
        ("--restart-limit", "often"),
        ("--restart-pause", "-1"),
        ("--nonsense", "1"),
    ],
)
def test_a_value_that_cannot_be_meant_is_a_mistake_in_use(daemonry: Daemonry, flag: str, value: str) -> None:
    """The message names the flag and what cannot be meant; nothing has been started or written."""
    message = fails(daemonry, 2, flag, value, *SLEEP)
    assert f"{flag}: " in message or f": {flag}\n" in message or flag == "--chroot"
    assert value in message or flag == "--nonsense"
    assert "Traceback" not in message


@pytest.mark.parametrize("name", ["a/b", ".hidden", "-x", "", "a b"])
def test_a_name_that_cannot_be_a_file_is_refused(daemonry: Daemonry, name: str) -> None:
    message = daemonry("start", f"--name={name}", *SLEEP).check(2).stderr
    assert "invalid name (letters, digits and _.@-) value" in message


@pytest.mark.parametrize("command", ["start", "run", "restart", "plan"])
@pytest.mark.parametrize("flag", ["--output", "--stdout", "--stderr"])
@pytest.mark.parametrize("path", ["same", "public/../same", "link"])
def test_a_log_that_is_the_pidfile_is_a_mistake_in_use(daemonry: Daemonry, command: str, flag: str, path: str) -> None:
    """It stays as it is: the lines of a log would be taken for what a dead daemon has left."""
    log = daemonry.directory / "same"
    log.write_text("1\n")
    (daemonry.directory / "link").symlink_to("same")
    refused = daemonry(command, "--pidfile", "same", flag, path, "--", "true").check(2)
    assert f"daemonry: {path} can't be both pidfile and log" in refused.stderr
    assert log.read_text() == "1\n"


def test_a_log_that_cannot_be_opened_ends_the_start(daemonry: Daemonry) -> None:
    """The message names the file and what the system said."""
    (daemonry.directory / "log").mkdir()
    message = fails(daemonry, 2, "--output", "log", *SLEEP)
    assert f"{daemonry.directory}/log" in message
    message = fails(daemonry, 2, "--output", "none/log", *SLEEP)
    assert f"{daemonry.directory}/none" in message


@pytest.mark.parametrize("path", ["none/p.pid", "public"])
def test_a_pidfile_that_cannot_be_written_ends_the_start(daemonry: Daemonry, path: str) -> None:
    """It is said once."""
    failed = daemonry("start", "--pidfile", path, *SLEEP)
    assert failed.status != 0
    assert failed.stderr.count("\n") == 1, failed.stderr
    assert f"{daemonry.directory}/{path.partition('/')[0]}" in failed.stderr
    assert daemonry.daemons.alive() == []


@pytest.mark.unprivileged_only("root may write everywhere")
def test_a_log_of_others_ends_the_start(daemonry: Daemonry) -> None:
    message = fails(daemonry, 4, "--output", "/etc/passwd", *SLEEP)
    assert "/etc/passwd" in message
    assert "ermission denied" in message


@pytest.mark.unprivileged_only("root may become any user")
def test_an_ordinary_user_cannot_start_for_another(daemonry: Daemonry) -> None:
    assert "Operation not permitted" in fails(daemonry, 4, "--user", "root", *SLEEP)


def test_a_program_that_ends_at_once_is_a_start_that_failed(daemonry: Daemonry) -> None:
    """The user is told how it ended, and the last lines that it wrote, but none that the log had before."""
    daemonry.log().parent.mkdir(exist_ok=True)
    daemonry.log().write_text("of yesterday\n")
    program = "for i in 1 2 3 4 5 6 7 8 9 10 11; do echo line $i; done; echo the last >&2; exit 3"
    message = fails(daemonry, 1, "--", "sh", "-c", program)
    first, *lines = message.splitlines()
    assert first == "daemonry: cannot start the daemon: the program exited with status 3 before it was ready"
    assert lines == [f"  line {i}" for i in range(3, 12)] + ["  the last"]


def test_the_last_words_are_shown_wherever_they_were_written(daemonry: Daemonry) -> None:
    """Programs complain on standard error, which may have a file of its own."""
    message = fails(daemonry, 1, "--stderr", "err", "--", "sh", "-c", "echo out; echo no such thing >&2; exit 1")
    assert "  no such thing\n" in message


def test_a_fifo_for_a_log_is_not_waited_for_when_the_program_has_ended(daemonry: Daemonry) -> None:
    """Its reader has ended with it: nobody would write to it any more."""
    path = daemonry.directory / "fifo"
    os.mkfifo(path)
    reader = subprocess.Popen(["cat", path], stdout=subprocess.DEVNULL)
    flags = ("--pidfile", "fifo.pid", "--output", "fifo")
    failed = daemonry("start", *flags, "--", "sh", "-c", "echo hello; exit 3", timeout=15).check(1)
    assert failed.stderr == "daemonry: cannot start the daemon: the program exited with status 3 before it was ready\n"
    assert not (daemonry.directory / "fifo.pid").exists()
    reader.wait(10)


def test_a_start_that_is_ended_while_it_tells_of_its_failure_leaves_no_pidfile(daemonry: Daemonry) -> None:
    """Nobody reads what it says: it waits in the middle of it."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writing, b"x" * 4096)
    os.set_blocking(writing, True)
    pidfile = daemonry.directory / "left.pid"
    running = daemonry.begin("start", "--pidfile", pidfile, "--settle", "9", "--", "false", stderr=writing)
    os.close(writing)
    wait_for(lambda: "pipe_write" in wchan(running.pid), what="it tells of its failure")
    assert pidfile.exists()
    running.signal(signal.SIGTERM)
    assert running.wait().status == -signal.SIGTERM
    assert not pidfile.exists()
    os.close(reading)


def test_a_program_that_is_killed_is_a_start_that_failed(daemonry: Daemonry) -> None:
    assert "the program was killed by SIGKILL" in fails(daemonry, 1, "--", "sh", "-c", "kill -KILL $$")


def test_a_program_that_ends_well_at_once_has_not_become_a_daemon(daemonry: Daemonry) -> None:
    assert "the program exited with status 0 before it was ready" in fails(daemonry, 1, "--", "true")


def test_a_script_whose_interpreter_is_missing_is_told_of_by_its_name(daemonry: Daemonry) -> None:
    script = daemonry.directory / "script"
    script.write_text("#!/no/such/interpreter\n")
    script.chmod(0o755)
    message = fails(daemonry, 1, "--", "./script")
    assert f"cannot execute {script}: No such file or directory; its first line names the interpreter" in message


def test_a_file_that_is_no_program_is_told_of_by_its_name(daemonry: Daemonry) -> None:
    script = daemonry.directory / "script"
    script.write_bytes(b"\x7fELF and so on")
    script.chmod(0o755)
    assert f"cannot execute {script}: Exec format error" in fails(daemonry, 1, "--", "./script")


def test_a_second_one_is_refused_and_the_first_goes_on(daemonry: Daemonry) -> None:
    """The message names the process; what is remembered is how the running one was started."""
    pid = daemonry.start(*AT_ONCE, *SLEEP)
    memory = daemonry.memory().read_text()
    second = daemonry("start", "--name", daemonry.name, *AT_ONCE, "--", "sleep", "50").check(1)
    assert f"{daemonry.name} is running already: process {pid} (sleep)" in second.stderr
    assert daemonry.pid() == pid
    assert daemonry.memory().read_text() == memory
    assert daemonry.daemons.alive() == [pid]
    daemonry.stop()


def test_one_that_is_not_up_in_time_is_ended(daemonry: Daemonry) -> None:
    message = fails(daemonry, 1, "--notify", "--timeout", "0.3", *SLEEP)
    assert "not ready within 0.3 s" in message or "0.3" in message


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)])
def test_an_interrupted_start_ends_the_program_too(daemonry: Daemonry, number: int, status: int) -> None:
    """Ctrl-C, or timeout(1): what was half started is ended, and leaves nothing."""
    starting = daemonry.begin("start", "--name", daemonry.name, "--notify", *SLEEP)
    wait_for(lambda: daemonry.pidfile().exists() and facts_of(daemonry.pid()).comm == "sleep")
    starting.signal(number)
    starting.wait().check(status)
    assert daemonry.daemons.alive() == []
    assert daemonry.left() == []
    daemonry("status", daemonry.name).check(3)


def test_a_failed_start_leaves_the_memory_of_the_last_good_one(daemonry: Daemonry) -> None:
    """So that restart still knows how it was started when it worked."""
    daemonry.start(*AT_ONCE, *SLEEP)
    memory = daemonry.memory().read_text()
    daemonry.stop()
    daemonry("start", "--name", daemonry.name, "--", "false").check(1)
    assert daemonry.memory().read_text() == memory


# Again, and not at all


def test_restart_starts_it_as_it_was_started(daemonry: Daemonry) -> None:
    """With the same words, the same flags and from the same directory, wherever it is said."""
    flags = ("--chdir", "public", "--umask", "077", "--env", "GIVEN=1")
    pid = daemonry.start(*AT_ONCE, *flags, *SLEEP)
    again = daemonry("restart", daemonry.name, cwd="/").check()
    new = daemonry.pid()
    assert new != pid
    assert not is_alive(pid)
    assert f"{daemonry.name}: stopped, process {pid}" in again.stderr
    assert f"{daemonry.name}: started, process {new}" in again.stderr
    found = facts_of(new)
    assert (found.cwd, found.umask, found.environment["GIVEN"]) == (str(daemonry.daemons.public), 0o077, "1")
    assert command_of(new) == ["sleep", "60"]
    assert daemonry.daemons.survivor() == new
    daemonry("restart", daemonry.name).check()
    daemonry.stop()


def test_restart_with_another_program_remembers_that(daemonry: Daemonry) -> None:
    daemonry.start(*AT_ONCE, *SLEEP)
    daemonry("restart", "--name", daemonry.name, *AT_ONCE, "--", "sleep", "50").check()
    assert command_of(daemonry.pid()) == ["sleep", "50"]
    daemonry("restart", daemonry.name).check()
    assert command_of(daemonry.pid()) == ["sleep", "50"]
    daemonry.stop()


def test_restart_of_one_that_does_not_run_starts_it(daemonry: Daemonry) -> None:
    daemonry.start(*AT_ONCE, *SLEEP)
    daemonry.stop()
    again = daemonry("restart", daemonry.name).check()
    assert f"{daemonry.name}: not running" in again.stderr
    daemonry.stop()


def test_restart_with_a_program_starts_what_has_never_been_started(daemonry: Daemonry) -> None:
    """As a user's very first command too, when the places of his files are not there yet."""
    daemonry("restart", "--name", daemonry.name, *AT_ONCE, *SLEEP).check()
    daemonry.stop()


def test_a_typing_error_costs_no_service(daemonry: Daemonry) -> None:
    """What can be seen to be wrong before the old one is stopped leaves it running."""
    pid = daemonry.start(*AT_ONCE, *SLEEP)
    for status, words in (
        (5, ("--", "no-such-program-here")),
        (2, ("--umask", "9", *SLEEP)),
        (2, ("--user", "no-such-user", *SLEEP)),
        (2, ("--chdir", "none", *SLEEP)),
        (2, ("--schedule", "NONSENSE/1", *SLEEP)),
        (2, ("--",)),
    ):
        daemonry("restart", "--name", daemonry.name, *words).check(status)
        assert daemonry.pid() == pid
        assert is_alive(pid)
    daemonry.stop()


def test_restart_of_an_unknown_name_says_so(daemonry: Daemonry) -> None:
    refused = daemonry("restart", daemonry.name).check(1)
    assert f"nobody knows how {daemonry.name} was started; say it again, after --" in refused.stderr
    assert "say which daemon" in daemonry("restart").check(2).stderr
    assert daemonry.daemons.alive() == []


@pytest.mark.parametrize(
    "text",
    ["[]", "null", "3", "{}", '{"words": "a", "directory": "/"}', '{"words": [1], "directory": "/"}', '{"words": []}'],
)
def test_restart_of_a_name_whose_memory_is_something_else_says_so(daemonry: Daemonry, text: str) -> None:
    daemonry.memory().parent.mkdir(parents=True, exist_ok=True)
    daemonry.memory().write_text(text)
    told = daemonry("restart", daemonry.name).check(1).stderr
    assert "Traceback" not in told
    assert f"{daemonry.memory()} is not what `daemonry start` has written; say it again, after --" in told


@pytest.mark.parametrize("kind", ["fifo", "link", "text"])
def test_restart_of_a_name_whose_memory_cannot_be_read_says_so(daemonry: Daemonry, kind: str) -> None:
    """A FIFO is not waited for, nor a link followed."""
    memory = daemonry.memory()
    memory.parent.mkdir(parents=True, exist_ok=True)
    if kind == "fifo":
        os.mkfifo(memory)
    elif kind == "link":
        memory.symlink_to(daemonry.directory / "elsewhere")
        (daemonry.directory / "elsewhere").write_text(json.dumps({"words": ["--", "true"], "directory": "/"}))
    else:
        memory.write_text("{")
    told = daemonry("restart", daemonry.name, timeout=10).check(1).stderr
    assert f"{memory} can't be read" in told
    assert "say it again, after --" in told


# In the foreground


def test_run_is_the_program_in_this_very_process(daemonry: Daemonry) -> None:
    """The streams stay what they are, its session too; the pidfile is held, so that it is found and refused twice."""
    running = daemonry.begin("run", "--name", daemonry.name, "--", "sh", "-c", "echo up; exec sleep 60")
    wait_for(lambda: running.stdout == "up\n")
    wait_for(lambda: command_of(running.pid) == ["sleep", "60"])
    assert daemonry.pid() == running.pid
    found = facts_of(running.pid)
    assert found.sid == os.getsid(0)
    assert found.ppid == os.getpid()
    assert (found.cwd, found.umask, found.ignored) == ("/", 0o022, ())
    assert f"process {running.pid} (sleep)" in daemonry("status", daemonry.name).check().stdout
    assert "is running already" in daemonry("run", "--name", daemonry.name, *SLEEP).check(1).stderr
    assert "is running already" in daemonry("start", "--name", daemonry.name, *SLEEP).check(1).stderr
    daemonry.stop()
    running.wait().check(-signal.SIGTERM)


def test_run_ends_with_the_programs_status(daemonry: Daemonry) -> None:
    """And its input, and a log that is asked for."""
    program = ("--", sys.executable, "-c", "import sys; print(input()); sys.exit(41)")
    assert daemonry("run", *program, stdin="typed\n").check(41).stdout == "typed\n"
    assert daemonry("run", "--stdout", "out", *program, stdin="typed\n").check(41).stdout == ""
    assert (daemonry.directory / "out").read_text() == "typed\n"
    daemonry("run", "--name", daemonry.name, "--", "sh", "-c", "kill -KILL $$").check(-signal.SIGKILL)


def test_what_run_refuses_leaves_nothing(daemonry: Daemonry) -> None:
    daemonry("run").check(2)
    daemonry("run", "--", "no-such-program-here").check(5)
    script = daemonry.directory / "script"
    script.write_text("#!/no/such/interpreter\n")
    script.chmod(0o755)
    failed = daemonry("run", "--name", daemonry.name, "--", "./script").check(1)
    assert f"cannot execute {script}" in failed.stderr
    assert "Traceback" not in failed.stderr
    assert daemonry.left() == []


def test_ctrl_c_ends_what_runs_in_the_foreground(daemonry: Daemonry) -> None:
    terminal = daemonry.on_terminal("run", "--name", daemonry.name, "--", "sh", "-c", "echo up; exec sleep 60")
    terminal.read_until("up")
    terminal.write("\x03")
    assert terminal.wait() == -signal.SIGINT
    wait_for_exit(terminal.pid)
