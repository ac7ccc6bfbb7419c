"""The doctor: a well-behaved daemon is well in every respect, and every defect is found, alone and with its fact."""

from __future__ import annotations

import errno
import json
import os
import pwd
import resource
import signal
import subprocess
import tempfile
import textwrap
from typing import TYPE_CHECKING, Any

import pytest

import daemonry
from daemonry import doctor
from daemonry.doctor import reading
from daemonry.pidfile import kernel_lock
from harness.probe import facts_of
from harness.waiting import wait_for
from pidfile_programs import said, unshared

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from harness.daemons import Daemons

NOBODY = pwd.getpwnam("nobody")
# Whoever runs the tests may be a service himself, and his variables are the programs' too.
NO_SERVICE: dict[str, str | None] = dict.fromkeys(("INVOCATION_ID", "SYSTEMD_EXEC_PID", "LISTEN_PID"))
root_only = pytest.mark.root_only("it gives up what only root has")

# A daemon as it should be, but for the defect, which it has before its launcher ends.
DAEMON = """
import os, resource, signal, sys, tempfile, threading
from daemonry import DaemonContext, PIDLockFile
from daemonry.system import libc

def become(uid, gid):
    os.setresgid(*gid)
    os.setresuid(*uid)

path, nobody, group = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
{before}
with DaemonContext(
    **{{"detach_process": True, "umask": 0o022, "ready": "manual", "pidfile": PIDLockFile(path), **dict({options})}}
) as context:
{defect}
    context.ready()
    while not context.wait(60):
        pass
"""


def start(daemons: Daemons, defect: str = "pass", options: str = "", before: str = "", **more: Any) -> int:
    """Return the number of a daemon that has a defect."""
    program = DAEMON.format(before=before, options=options, defect=textwrap.indent(defect, "    "))
    daemons.launch(program, pidfile_of(daemons), NOBODY.pw_uid, NOBODY.pw_gid, **more).check()
    pid = daemons.survivor()
    # Its launcher is gone before it is: with signals held off for a moment, it lets its witness go.
    wait_for(lambda: has_settled(pid), what="its witness has left")
    return pid


def has_settled(pid: int) -> bool:
    found = facts_of(pid)
    return found.ppid == 1 and signal.SIGPIPE not in found.blocked


def pidfile_of(daemons: Daemons) -> Path:
    return daemons.directory / "daemon.pid"


def is_program(pid: int, name: str) -> bool:
    with open(f"/proc/{pid}/comm", encoding="utf-8") as file:
        return file.read() == f"{name}\n"


def facts(findings: tuple[doctor.Finding, ...], ok: bool | None = False) -> dict[str, str]:
    """Return the facts of the findings that came out so, by name."""
    return {finding.name: finding.fact for finding in findings if finding.ok is ok}


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["/bin/sleep", "1000"], stdin=subprocess.DEVNULL) as running:
        yield running
        running.kill()


# A daemon as it should be


def test_a_daemon_of_this_library_is_well_in_every_respect(daemons: Daemons) -> None:
    pid = start(daemons)
    findings = doctor.examine(pid, str(pidfile_of(daemons)))
    assert facts(findings, False) == facts(findings, None) == {}
    well = facts(findings, True)
    assert list(well) == [question.__name__.replace("_", " ") for question in doctor.QUESTIONS]
    assert well["pidfile"] == f"{pidfile_of(daemons)} with process {pid}"
    assert (well["pidfile lock"], well["controlling terminal"], well["umask"]) == ("held", "none", "0022")
    assert well["standard descriptors"] == "0 /dev/null, 1 /dev/null, 2 /dev/null"
    daemons.stop(pid)


def test_each_descriptor_is_told_with_what_it_is_and_where_it_came_from(daemons: Daemons) -> None:
    """The program's own, and what could have been inherited; of many the first."""
    pid = start(daemons, "own = open('/etc/passwd'); os.dup2(own.fileno(), 90, inheritable=True)")
    told = facts(doctor.examine(pid), True)["other descriptors"]
    assert "/etc/passwd (its own), " in told
    assert told.endswith(", 90 /etc/passwd (inherited, or to be)")
    daemons.stop(pid)
    pid = start(daemons, "kept = [open('/etc/passwd') for _ in range(30)]")
    told = facts(doctor.examine(pid), True)["other descriptors"]
    assert (told.count("(its own)"), told.rpartition(", and ")[2][-5:]) == (20, " more")
    daemons.stop(pid)


@root_only
def test_a_daemon_that_has_given_up_root_is_well_in_every_respect(daemons: Daemons) -> None:
    pid = start(daemons, options="uid='nobody', no_new_privileges=True", before="os.setgroups([0, 4])")
    findings = doctor.examine(pid, str(pidfile_of(daemons)))
    assert facts(findings, False) == facts(findings, None) == {}
    well = facts(findings, True)
    assert well["user and group ids"].startswith(f"user nobody ({NOBODY.pw_uid}), ")
    assert (well["supplementary groups"], well["capabilities"], well["no new privileges"]) == ("none", "none", "yes")
    daemons.stop(pid)


@root_only
def test_to_run_as_root_is_no_fault_but_worth_a_word(daemons: Daemons) -> None:
    pid = start(daemons)
    (found,) = [each for each in doctor.examine(pid, str(pidfile_of(daemons))) if each.name == "user and group ids"]
    assert found.ok
    assert str(found).endswith(" (run it as a user of its own if it need not be root)")
    daemons.stop(pid)


# One defect at a time


@pytest.mark.parametrize(
    ("name", "defect", "fact"),
    [
        ("working directory", "os.chdir('/home')", "/home"),
        ("working directory", "os.chdir(tempfile.mkdtemp()); os.rmdir(os.getcwd())", "(deleted)"),
        ("umask", "os.umask(0)", "0000"),
        ("umask", "os.umask(0o020)", "0020"),
        (
            "standard descriptors",
            "ends = os.openpty(); os.dup2(ends[1], 2); os.close(ends[0]); os.close(ends[1])",
            "2 /dev/pts/",
        ),
        ("other descriptors", "os.openpty()", "(its own, a terminal)"),
        ("other descriptors", "os.open('/home', os.O_RDONLY)", "/home (its own, in a home directory)"),
        ("ignored signals", "signal.signal(signal.SIGHUP, signal.SIG_IGN)", "SIGHUP"),
        ("blocked signals", "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1, 40])", "SIGUSR1, signal 40"),
        ("pidfile", "os.chmod(path, 0o666)", "others may write to it (mode 0o666)"),
    ],
)
def test_a_defect_is_found_and_nothing_else(daemons: Daemons, name: str, defect: str, fact: str) -> None:
    pid = start(daemons, defect)
    findings = doctor.examine(pid, str(pidfile_of(daemons)))
    wrong = facts(findings)
    assert list(wrong) == [name]
    assert fact in wrong[name]
    assert all(finding.advice for finding in findings if finding.ok is False)
    daemons.leave(pid)


@pytest.mark.parametrize(("text", "number"), [("1", "process 1"), ("none", "no number")])
def test_a_pidfile_that_says_something_else_holds_nobody_off(daemons: Daemons, text: str, number: str) -> None:
    """What is written into it breaks its seal."""
    pid = start(daemons, f"open(path, 'r+').write('{text}' + ' ' * 9)")
    wrong = facts(doctor.examine(pid, str(pidfile_of(daemons))))
    assert list(wrong) == ["pidfile", "pidfile lock"]
    assert f"with {number}; which is not " in wrong["pidfile"]
    assert wrong["pidfile lock"] == "not held"
    daemons.leave(pid)


def test_core_files_that_are_not_prevented_are_found(daemons: Daemons) -> None:
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    if hard == 0:
        pytest.skip("no core files can be had here")
    pid = start(
        daemons, options="prevent_core=False", preexec=lambda: resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
    )
    expected = "unlimited" if hard == resource.RLIM_INFINITY else str(hard)
    assert facts(doctor.examine(pid, str(pidfile_of(daemons)))) == {"core limit": expected}
    daemons.stop(pid)


@root_only
@pytest.mark.parametrize(
    ("name", "defect", "fact"),
    [
        ("supplementary groups", "os.setgroups([0, 4]); become([nobody] * 3, [group] * 3)", "root (0)"),
        ("supplementary groups", "os.setgroups([54321]); become([nobody] * 3, [group] * 3)", "54321"),
        ("way back", "os.setgroups([]); become([nobody] * 3, [group, group, 0])", "to group root (0)"),
        ("user and group ids", "os.setgroups([]); become([1, nobody, nobody], [group] * 3)", "user 1 "),
        ("capabilities", "os.setgroups([]); libc.prctl()(8, 1); become([nobody] * 3, [group] * 3)", "chown, dac_"),
        (
            "other descriptors",
            "new = tempfile.mkstemp(dir='/run')[1]; os.unlink(new)",
            "deleted",
        ),
        ("pidfile", "os.chown(path, 1, 1)", "it belongs to user "),
    ],
)
def test_a_defect_of_root_s_making_is_found_and_nothing_else(
    daemons: Daemons, name: str, defect: str, fact: str
) -> None:
    pid = start(daemons, defect)
    wrong = facts(doctor.examine(pid, str(pidfile_of(daemons))))
    assert list(wrong) == [name]
    assert fact in wrong[name]
    daemons.leave(pid)


@root_only
def test_a_way_back_to_root_is_found_with_the_capabilities_that_wait_there(daemons: Daemons) -> None:
    pid = start(daemons, "os.setgroups([]); become([nobody, nobody, 0], [group] * 3)")
    wrong = facts(doctor.examine(pid, str(pidfile_of(daemons))))
    assert list(wrong) == ["way back", "capabilities"]
    assert wrong["way back"] == "to user root (0)"
    daemons.leave(pid)


@root_only
def test_capabilities_that_a_manager_gave_are_no_defect(daemons: Daemons) -> None:
    give = ("setpriv", "--inh-caps", "+net_bind_service", "--ambient-caps", "+net_bind_service")
    user = ("--reuid", str(NOBODY.pw_uid), "--regid", str(NOBODY.pw_gid), "--clear-groups")
    with subprocess.Popen([*give, *user, "/bin/sleep", "1000"], cwd="/") as running:
        wait_for(lambda: os.path.basename(os.readlink(f"/proc/{running.pid}/exe")) != "setpriv", what="it is sleep")
        assert facts(doctor.examine(running.pid), True)["capabilities"] == "net_bind_service, as given to it"
        running.kill()


@pytest.mark.reliability("Full and broken places")
@root_only
def test_a_root_directory_that_is_gone_is_found(daemons: Daemons) -> None:
    pid = start(daemons, "new = tempfile.mkdtemp(); os.chroot(new); os.rmdir(new[1:])", before="import encodings.idna")
    assert facts(doctor.examine(pid, str(pidfile_of(daemons))))["root directory"].endswith(" (deleted)")
    daemons.leave(pid)


# The pidfile


def test_a_pidfile_that_nobody_has_locked_is_found(daemons: Daemons) -> None:
    pid = start(daemons, "open(path, 'w').write(str(os.getpid()))", "pidfile=None")
    assert facts(doctor.examine(pid, str(pidfile_of(daemons)))) == {"pidfile lock": "not held"}
    assert set(facts(doctor.examine(pid), None)) == {"pidfile", "pidfile lock"}
    daemons.stop(pid)


def test_a_lock_that_another_process_holds_for_it_is_told(daemons: Daemons) -> None:
    pid = start(daemons, "open(path, 'w').write(str(os.getpid()))", "pidfile=None")
    with open(pidfile_of(daemons), "r+b") as file:
        assert kernel_lock.try_lock(file.fileno())
        # Asked by yet another process, as the kernel sees it: by another opening of the file.
        findings = doctor.examine(pid, str(pidfile_of(daemons)))
    assert facts(findings) == {}
    assert facts(findings, True)["pidfile lock"] == "held by another process"
    daemons.stop(pid)


@pytest.mark.parametrize("kind", ["fcntl.flock(file, fcntl.LOCK_EX)", "fcntl.lockf(file, fcntl.LOCK_EX)"])
def test_a_lock_of_the_older_kinds_counts(daemons: Daemons, kind: str) -> None:
    defect = f"import fcntl\nfile = open(path, 'w')\nfile.write(str(os.getpid()))\nfile.flush()\n{kind}"
    pid = start(daemons, defect, "pidfile=None")
    for path in (None, str(pidfile_of(daemons))):
        findings = doctor.examine(pid, path)
        assert facts(findings) == {}
        assert facts(findings, True)["pidfile lock"] == "held"
    daemons.stop(pid)


def test_a_pidfile_without_a_name_keeps_nobody_from_starting(daemons: Daemons) -> None:
    pid = start(daemons, "os.unlink(path)")
    path = str(pidfile_of(daemons))
    given = doctor.examine(pid, path)
    assert facts(given)["pidfile"] == f"there is no {path}"
    assert facts(given, None) == {"pidfile lock": "no pidfile"}
    daemons.stop(pid)


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: os.symlink("/etc/passwd", path), os.mkdir])
def test_what_is_no_regular_file_is_no_pidfile(sleeper: subprocess.Popen[bytes], tmp_path: Path, make: Any) -> None:
    make(tmp_path / "pid")
    findings = doctor.examine(sleeper.pid, str(tmp_path / "pid"))
    assert facts(findings)["pidfile"].startswith(f"{tmp_path}/pid: it is ")
    assert facts(findings, None)["pidfile lock"] == "no pidfile"


# Sessions, terminals, parents

# An orphan that has done all but what is asked about.
ORPHAN = """
import os, resource, signal, sys
if os.fork():
    os.wait()
    print("made", flush=True)
    signal.sigwait([signal.SIGTERM])
    sys.exit()
if os.fork():
    os._exit(0)
os.chdir("/")
os.umask(0o022)
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
signal.pthread_sigmask(signal.SIG_SETMASK, [])
signal.signal(signal.SIGINT, signal.SIG_DFL)
null = os.open("/dev/null", os.O_RDWR)
for number in (0, 1, 2):
    os.dup2(null, number)
os.close(null)
{more}
open(sys.argv[1] + ".new", "w").write(str(os.getpid()))
os.rename(sys.argv[1] + ".new", sys.argv[1])
while True:
    signal.pause()
"""


def orphan(daemons: Daemons, more: str = "") -> tuple[int, int]:
    """Return the orphan's number and that of its session's first leader."""
    place = daemons.directory / "orphan"
    block = "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])\n"
    running = daemons.start(block + ORPHAN.format(more=more), place, start_new_session=True, env=NO_SERVICE)
    said(running, "made")
    wait_for(place.exists, what="the orphan tells its number")
    pid = int(place.read_text())
    daemons.leave(pid)
    daemons.leave(running.pid)
    return pid, running.pid


def test_a_session_that_is_not_its_own_is_found(daemons: Daemons) -> None:
    pid, leader = orphan(daemons)
    wrong = facts(doctor.examine(pid))
    assert list(wrong) == ["session"]
    assert wrong["session"].startswith(f"session {leader}, led by process {leader} (")


def test_a_session_whose_leader_has_ended_is_as_good_as_its_own(daemons: Daemons) -> None:
    pid, leader = orphan(daemons)
    daemons.stop(leader)
    findings = doctor.examine(pid)
    assert facts(findings) == {}
    assert facts(findings, True)["session"] == f"session {leader}, which nobody leads any more"


def test_a_standard_descriptor_that_is_closed_is_found(daemons: Daemons) -> None:
    """In a program that opens nothing more: whatever it opened would be its standard input."""
    pid, _ = orphan(daemons, "os.setsid()\nif os.fork():\n    os._exit(0)\nos.close(0)")
    wait_for(
        lambda: list(facts(doctor.examine(pid))) == ["standard descriptors"],
        what="that alone is found",
    )
    assert facts(doctor.examine(pid))["standard descriptors"] == "1 /dev/null, 2 /dev/null, 0 closed"


def test_to_lead_its_session_is_a_defect_without_a_service_manager(daemons: Daemons) -> None:
    pid, _ = orphan(daemons, "os.setsid()")
    assert facts(doctor.examine(pid)) == {"session": f"session {pid}, which it leads"}


def test_to_lead_its_session_is_what_a_service_manager_makes_it_do(daemons: Daemons) -> None:
    """A process whose first environment says that systemd has started this very process."""
    running = daemons.start(
        """
        import os, sys
        os.environ["SYSTEMD_EXEC_PID"] = str(os.getpid())
        os.execvp("sh", ["sh", "-c", "echo ready; exec sleep 1000"])
        """,
        start_new_session=True,
    )
    said(running, "ready")
    well = facts(doctor.examine(running.pid), True)
    assert well["session"].startswith(f"session {running.pid}, which it leads, as services do; started by systemd")
    daemons.stop(running.pid)


@pytest.mark.root_only("it makes a PID namespace")
def test_process_1_of_a_container_is_well_where_it_is(daemons: Daemons) -> None:
    running = daemons.start(
        "import os; print('ready', flush=True); os.execvp('sleep', ['sleep', '1000'])",
        through=(*unshared("--pid", "--fork", "--kill-child"),),
    )
    said(running, "ready")
    (inner,) = [each for each in daemons.alive() if each != running.pid]
    well = facts(doctor.examine(inner), True)
    assert {"session", "parent"} <= set(well)
    running.signal(signal.SIGKILL)
    running.wait()
    wait_for(lambda: not daemons.alive(), what="the container ends")


def test_a_program_on_a_terminal_is_found_to_be_there(daemons: Daemons) -> None:
    shown = daemons.terminal(
        "import os, signal; print('tty', os.ttyname(0), flush=True); signal.pause()", leader=False, env=NO_SERVICE
    )
    name = shown.read_until("\n").split()[1]
    (pid,) = [each for each in daemons.alive() if each != shown.pid]
    wrong = facts(doctor.examine(pid))
    assert {"session", "controlling terminal", "parent", "standard descriptors"} <= set(wrong)
    assert wrong["controlling terminal"] == name
    assert wrong["standard descriptors"] == f"0 {name}, 1 {name}, 2 {name}"
    assert wrong["session"] == f"session {shown.pid}, led by {wrong['parent']}"
    assert wrong["parent"] == f"process {shown.pid} (sh)"
    daemons.leave(pid)
    daemons.leave(shown.pid)


def test_a_program_in_another_language_is_examined_alike(daemons: Daemons) -> None:
    """sleep(1) by way of setsid(1), which does not fork again, from a shell that does the rest."""
    daemons.launch(
        "import os; os.execvp('sh', ['sh', '-c', 'cd /; umask 027; ulimit -c 0; exec setsid -f sleep 1000'])",
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=NO_SERVICE,
    ).check()
    pid = daemons.survivor()
    wait_for(lambda: os.readlink(f"/proc/{pid}/cwd") == "/" and is_program(pid, "sleep"))
    findings = doctor.examine(pid)
    assert facts(findings) == {"session": f"session {pid}, which it leads"}
    assert facts(findings, True)["umask"] == "0027"
    daemons.stop(pid)


# Signals that are waited for


@pytest.mark.parametrize(
    "waits",
    [
        "threading.Thread(target=signal.sigwait, args=[[signal.SIGUSR1]], daemon=True).start()",
        "import ctypes; ctypes.CDLL(None).signalfd(-1, (ctypes.c_uint64 * 16)(1 << signal.SIGUSR1 - 1), 0)",
    ],
    ids=["sigwait in a thread", "signalfd"],
)
def test_a_blocked_signal_that_is_waited_for_is_no_defect(daemons: Daemons, waits: str) -> None:
    pid = start(daemons, f"signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])\n{waits}", before="import ctypes")
    wait_for(lambda: facts(doctor.examine(pid)) == {}, what="nothing is found")
    daemons.leave(pid)


# What can't be seen, what isn't there


ASK = """
    import json, sys
    from daemonry import doctor
    print(json.dumps([finding.fields() for finding in doctor.examine(int(sys.argv[1]), *sys.argv[2:])]))
"""


@pytest.mark.root_only("another user looks at a process of root")
def test_whether_a_service_manager_keeps_another_user_s_process_is_not_guessed(daemons: Daemons) -> None:
    pid, _ = orphan(daemons, "os.setsid()")
    found = json.loads(daemons.launch(ASK, pid, user="nobody").check().stdout)[0]
    assert (found["name"], found["ok"], found["fact"]) == ("session", None, f"session {pid}, which it leads")
    assert "its user or root" in found["advice"]


@pytest.mark.root_only("another user looks at a process of root")
def test_another_user_s_process_is_told_as_far_as_it_is_seen(daemons: Daemons) -> None:
    pid = start(daemons)
    pidfile_of(daemons).chmod(0o600)
    launched = daemons.launch(
        ASK,
        pid,
        pidfile_of(daemons),
        user="nobody",
    ).check()
    found = tuple(doctor.Finding(**fields) for fields in json.loads(launched.stdout))
    assert facts(found) == {}
    unseen = ("working directory", "root directory", "standard descriptors", "other descriptors")
    assert facts(found, None) == dict.fromkeys((*unseen, "pidfile", "pidfile lock"), "can't be seen")
    assert {finding.advice for finding in found if finding.ok is None} == {"run as root, or as its user"}
    daemons.stop(pid)


@pytest.mark.root_only("it hides /proc in a mount namespace of its own")
def test_without_proc_nothing_is_told_but_of_the_pidfile(daemons: Daemons) -> None:
    pid = start(daemons)
    launched = daemons.launch(
        """
        import json, sys
        from daemonry import doctor
        print(json.dumps([finding.fields() for finding in doctor.examine(int(sys.argv[1]), sys.argv[2])]))
        try:
            doctor.examine(4194305)
        except ProcessLookupError as error:
            print(error)
        """,
        pid,
        pidfile_of(daemons),
        through=(*unshared("--mount"), "sh", "-c", 'mount -t tmpfs none /proc && exec "$@"', "sh"),
    ).check()
    lines = launched.stdout.splitlines()
    found = tuple(doctor.Finding(**fields) for fields in json.loads(lines[0]))
    assert facts(found) == {}
    assert facts(found, True) == {}
    assert facts(found, None)["pidfile lock"] == "can't be told: its process can't be seen"
    assert "there is no process 4194305" in lines[1]
    daemons.stop(pid)


@pytest.mark.parametrize("pid", [4194305, 0, -1, 2**31, 2**70])
def test_what_is_no_process_is_an_error_that_names_it(pid: int) -> None:
    with pytest.raises(ProcessLookupError, match=f"there is no process {pid}:") as caught:
        doctor.examine(pid)
    assert caught.value.errno == errno.ESRCH


def test_a_zombie_is_no_process(sleeper: subprocess.Popen[bytes]) -> None:
    sleeper.kill()
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)
    with pytest.raises(ProcessLookupError, match=f"no process {sleeper.pid}: it has ended"):
        doctor.examine(sleeper.pid)


@pytest.mark.parametrize("reaped", [True, False])
@pytest.mark.parametrize("after", [0, 5, len(doctor.QUESTIONS)])
def test_an_end_in_the_middle_is_the_same_error(
    sleeper: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch, reaped: bool, after: int
) -> None:
    def end(_subject: object) -> tuple[bool, str, str]:
        sleeper.kill()
        os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)
        if reaped:
            sleeper.wait()
        return True, "", ""

    monkeypatch.setattr(doctor, "QUESTIONS", (*doctor.QUESTIONS[:after], end, *doctor.QUESTIONS[after:]))
    with pytest.raises(ProcessLookupError, match=f"there is no process {sleeper.pid}:"):
        doctor.examine(sleeper.pid)


def test_the_process_that_asks_can_be_examined_too() -> None:
    assert [finding.name for finding in doctor.examine(os.getpid())][:2] == ["session", "controlling terminal"]


def test_names_of_files_are_shown_without_what_a_terminal_would_obey(tmp_path: Path) -> None:
    place = tmp_path / "a\x1b[2J\n\udcff"
    place.mkdir()
    with subprocess.Popen(["/bin/sleep", "1000"], cwd=place, stdin=subprocess.DEVNULL) as running:
        found = {finding.name: finding for finding in doctor.examine(running.pid)}
        running.kill()
    assert all(finding.fact.isprintable() for finding in found.values())
    assert "a\\x1b[2J\\n\\udcff" in found["working directory"].fact


@pytest.mark.parametrize("place", ["/tmp", "/var/tmp"])
def test_a_place_that_is_cleared_is_no_working_directory_whatever_it_is_below(place: str) -> None:
    """The advice is a place that would be right, which not all that is below /var is."""
    with (
        tempfile.TemporaryDirectory(dir=place) as directory,
        subprocess.Popen(["/bin/sleep", "1000"], cwd=directory, stdin=subprocess.DEVNULL) as running,
    ):
        found = {finding.name: finding for finding in doctor.examine(running.pid)}["working directory"]
        running.kill()
    assert (found.ok, found.fact) == (False, directory)
    assert found.advice == (
        "chdir(2) to /, or to a directory of its own such as /var/lib/NAME: "
        "here is cleared away what is old, see tmpfiles.d(5)"
    )


def test_a_field_that_the_kernel_does_not_tell_is_no_error(
    sleeper: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    wait_for(lambda: is_program(sleeper.pid, "sleep"), what="it is the program")
    monkeypatch.setattr(reading, "fields", lambda _text: {"SigIgn": "?"})
    untold = facts(doctor.examine(sleeper.pid), None)
    assert untold["umask"] == untold["ignored signals"] == "can't be told"
    assert untold["no new privileges"] == "can't be told"


def test_importing_the_doctor_loads_nothing_heavy(daemons: Daemons) -> None:
    heavy = ("socket", "logging", "typing", "json", "argparse", "subprocess", "dataclasses", "lockfile", "re")
    launched = daemons.launch(
        "import sys; before = set(sys.modules); import daemonry.doctor; print(*set(sys.modules) - before)",
        plain=True,
        python=("-S",),
        env={"PYTHONPATH": os.path.dirname(os.path.dirname(daemonry.__file__))},
    ).check()
    assert set(heavy).isdisjoint(launched.stdout.split())
