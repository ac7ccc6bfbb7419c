"""What belongs to a daemon ends with it: by `stop`, before each new start, and after SIGKILL; nothing else does."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from daemonry.cli import belonging, places
from daemonry.control import stopping
from daemonry.errors import ControlError, StillRunning
from daemonry.system import process
from harness.waiting import is_alive, wait_for, wait_for_exit

if TYPE_CHECKING:
    from harness.commands import Daemonry
    from harness.daemons import Running

NOBODY = 65534
# Where no cgroup can be made; an ordinary user can't make one anyhow.
WITHOUT_CGROUPS = ("unshare", "-m", "sh", "-c", 'mount -t tmpfs none /sys/fs/cgroup && exec "$@"', "sh")
FENCES = {"as it is": (), "without cgroups": WITHOUT_CGROUPS}
# A daemon's daemon: it leaves the session, and its parent.
LEAVES = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        print("up", os.getpid(), flush=True)
        time.sleep(60)
    os._exit(0)
os.wait()
time.sleep(60)
"""


@pytest.fixture(params=FENCES if os.geteuid() == 0 else ["as it is"])
def fence(request: pytest.FixtureRequest) -> tuple[str, ...]:
    if FENCES[request.param] and shutil.which("unshare") is None:
        pytest.skip("unshare is not installed")
    return FENCES[request.param]


@pytest.fixture
def port() -> int:
    with closing(socket.socket()) as sock:
        sock.bind(("127.0.0.1", 0))
        number: int = sock.getsockname()[1]
        return number


def accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except ConnectionRefusedError:
        return False
    return True


def wrapped(port: int) -> tuple[object, ...]:
    """Return a server below a shell, and how one knows that it is up."""
    server = f"{sys.executable} -ISu -m http.server --bind 127.0.0.1 {port}; echo end"
    return "--wait-port", port, "--", "sh", "-c", server


def sh(script: str) -> tuple[str, ...]:
    return ("--", "sh", "-c", script)


def python(script: str) -> tuple[str, ...]:
    return ("--", sys.executable, "-ISuc", script)


def numbers_in(log: Path, count: int = 1) -> list[int]:
    """Return the numbers of the processes that say that they are up, once so many do."""

    def found() -> list[int]:
        numbers = [int(each) for each in re.findall(r"^up (\d+)$", log.read_text() if log.exists() else "", re.M)]
        return numbers if len(numbers) >= count else []

    return wait_for(found, what=f"{count} are up")


# Stopping


@pytest.mark.parametrize("flags", [(), ("--restart",)])
def test_a_server_below_a_shell_is_stopped_with_it(
    daemonry: Daemonry, port: int, fence: tuple[str, ...], flags: tuple[str, ...]
) -> None:
    """Its port is free after `stop`, and `restart` finds it free."""
    first = daemonry.start(*flags, *wrapped(port), through=fence)
    assert accepts(port)
    daemonry("restart", daemonry.name, through=fence).check()
    assert daemonry.pid() != first
    assert accepts(port)
    daemonry.stop()
    assert not accepts(port)
    assert daemonry.daemons.alive() == []


@pytest.mark.parametrize("flags", [(), ("--restart",)])
def test_what_has_left_session_and_parent_ends_with_it(
    daemonry: Daemonry, fence: tuple[str, ...], flags: tuple[str, ...]
) -> None:
    daemonry.start("--settle", "0", *flags, *python(LEAVES), through=fence)
    (left,) = numbers_in(daemonry.log())
    daemonry.stop()
    assert not is_alive(left)
    assert daemonry.daemons.alive() == []


@pytest.mark.root_only("an ordinary user has no cgroup to hold them")
def test_what_has_no_mark_either_ends_with_it(daemonry: Daemonry) -> None:
    """A cgroup is left by nobody who only forks, leads a session and clears the environment; `stop` takes it away."""
    if not Path("/proc/self/cgroup").read_text().splitlines()[-1].startswith("0::/"):
        pytest.skip("there are no cgroups of version 2")
    marker = daemonry.marker
    script = f"setsid env -i {marker} sh -c 'echo up $$; exec sleep 60' & exec sleep 60"
    pid = daemonry.start("--settle", "0", *sh(script))
    (left,) = numbers_in(daemonry.log())
    (group,) = [each for each in group_of(pid).split("/") if each.startswith("daemonry.")]
    assert group_of(left) == group_of(pid)
    daemonry.stop()
    assert not is_alive(left)
    assert not list(Path("/sys/fs/cgroup").rglob(group))


def group_of(pid: int) -> str:
    return Path(f"/proc/{pid}/cgroup").read_text().splitlines()[-1]


@pytest.mark.root_only("an ordinary user has no cgroup to hold them")
def test_only_a_daemons_own_cgroup_is_taken_for_one(daemonry: Daemonry) -> None:
    """A service may be called `daemonry.service`: its daemons stay in it, and its neighbours are left alone."""
    service = writable_mount() / f"daemonry.{daemonry.name}.service"
    beside = service / "daemonry.other"
    beside.mkdir(parents=True)
    try:
        into = ("sh", "-c", f'echo $$ >{service}/cgroup.procs && exec "$@"', "sh")
        pid = daemonry.start("--settle", "0", "--", "sleep", "60", through=into)
        assert re.match(rf"0::/{service.name}/daemonry\.{pid}\.\d+\.\d+$", group_of(pid))
        daemonry.stop()
        assert [each.name for each in service.iterdir() if each.is_dir()] == [beside.name]
    finally:
        beside.rmdir()
        service.rmdir()


def test_one_without_its_environment_ends_with_all_that_has_come_from_it(
    daemonry: Daemonry, fence: tuple[str, ...]
) -> None:
    """Some servers write their title over it, others clear it; its children and its session are known all the same."""
    script = "(sleep 60 & echo up $!); sleep 60 & echo up $!; wait"
    daemonry.start("--settle", "0", *without_environment(daemonry, sh(script)), through=fence)
    orphan, child = numbers_in(daemonry.log(), 2)
    daemonry.stop()
    assert not is_alive(orphan)
    assert not is_alive(child)


def without_environment(daemonry: Daemonry, words: tuple[str, ...]) -> tuple[str, ...]:
    kept = [f"{name}={value}" for name, value in daemonry.environment.items() if value]
    return ("--", "env", "-i", daemonry.marker, f"PATH={os.environ['PATH']}", *kept, *words[1:])


@pytest.mark.parametrize("flags", [(), ("--restart",)])
def test_all_get_the_first_signal_at_once(daemonry: Daemonry, fence: tuple[str, ...], flags: tuple[str, ...]) -> None:
    """A shell's trap waits for the command in front, which so has to get the signal too, or both would be killed."""
    server = "import os, signal, sys; signal.signal(15, lambda *_: (print('child ends'), sys.exit())); "
    server += "print('up', os.getpid()); signal.pause()"
    script = f"trap 'echo shell ends; exit' TERM; {sys.executable} -ISuc \"{server}\"; echo never"
    daemonry.start("--settle", "0", *flags, *sh(script), through=fence)
    numbers_in(daemonry.log())
    daemonry("stop", "--schedule", "TERM/20", daemonry.name).check()
    assert daemonry.log().read_text().splitlines()[1:] == ["child ends", "shell ends"]


def test_what_is_deaf_is_killed_and_the_user_told(daemonry: Daemonry, fence: tuple[str, ...]) -> None:
    """SIGKILL was needed, for the daemon or for what it has left; of one that ends in order nothing is said."""
    script = 'trap "" TERM; (while :; do sleep 0.02; done) & trap - TERM; echo up $!; exec sleep 60'
    pid = daemonry.start("--settle", "0", *sh(script), through=fence)
    (deaf,) = numbers_in(daemonry.log())
    stopped = daemonry("stop", "--schedule", "TERM/0.2/KILL/5", daemonry.name).check()
    assert re.search(rf"stopped, process {pid}, after [\d.]+ s, by SIGKILL\n$", stopped.stderr)
    assert not is_alive(deaf)
    daemonry.start("--settle", "0", "--", "sleep", "60")
    assert "SIGKILL" not in daemonry("stop", daemonry.name).check().stderr


def test_what_does_not_end_is_named_and_can_be_stopped_later(daemonry: Daemonry, fence: tuple[str, ...]) -> None:
    """The daemon has ended, a process of its own runs on: the status isn't 0, and the pidfile stays."""
    script = 'trap "" TERM; (while :; do sleep 0.02; done) & trap - TERM; echo up $!; exec sleep 60'
    daemonry.start("--settle", "0", *sh(script), through=fence)
    (deaf,) = numbers_in(daemonry.log())
    failed = daemonry("stop", "--schedule", "TERM/0.2", daemonry.name).check(1)
    assert f"process {deaf} (sh)" in failed.stderr
    assert failed.stderr.endswith("still runs after TERM/0.2\n") or "still run after TERM/0.2\n" in failed.stderr
    stopped = daemonry("stop", "--schedule", "KILL", daemonry.name).check()
    assert f"had ended; stopped what it had left: process {deaf} (sh)" in stopped.stderr
    assert daemonry.daemons.alive() == []
    assert not daemonry.pidfile().exists()


def test_the_process_alone(daemonry: Daemonry, fence: tuple[str, ...]) -> None:
    """`--kill process` leaves its children, as kill(1) does."""
    daemonry.start("--settle", "0", *sh("sleep 60 & echo up $!; wait"), through=fence)
    (child,) = numbers_in(daemonry.log())
    daemonry("stop", "--kill", "process", daemonry.name).check()
    assert is_alive(child)
    daemonry.daemons.stop(child)


# After SIGKILL


def test_left_overs_are_named_with_their_port_and_ended(daemonry: Daemonry, port: int, fence: tuple[str, ...]) -> None:
    """Whoever starts anew is told who holds the port, by number and name; `stop` ends it, and so does `--clean`."""
    pid = daemonry.start(*wrapped(port), through=fence)
    daemonry.daemons.stop(pid, signal.SIGKILL)
    left = daemonry.daemons.survivor()
    name = Path(f"/proc/{left}/comm").read_text().strip()
    refused = daemonry("start", "--name", daemonry.name, *wrapped(port)).check(1)
    assert f"what it started runs on: process {left} ({name}), which has port {port}; " in refused.stderr
    assert f"`daemonry stop {daemonry.name}`" in refused.stderr
    assert "--clean" in refused.stderr
    stopped = daemonry("stop", daemonry.name).check()
    assert f"what it had left: process {left} ({name})" in stopped.stderr
    assert not accepts(port)
    daemonry.daemons.stop(daemonry.start(*wrapped(port), through=fence), signal.SIGKILL)
    assert accepts(port)
    daemonry.start("--clean", *wrapped(port), through=fence)
    daemonry.stop()
    assert daemonry.daemons.alive() == []


def test_a_stranger_who_has_the_port_is_named(daemonry: Daemonry, port: int) -> None:
    with closing(socket.create_server(("127.0.0.1", port))):
        refused = daemonry("start", "--name", daemonry.name, *wrapped(port)).check(1)
    assert re.search(rf"port {port} accepts already: process {os.getpid()} \(.+\) has it\n", refused.stderr)


# Supervised


def test_a_supervisor_ends_what_its_program_has_left_before_it_starts_it_again(daemonry: Daemonry) -> None:
    """Never are two there, and the log says what had to be ended."""
    script = "[ -e second ] && exec sleep 60; touch second; sleep 50 & echo up $!; exit 3"
    flags = ("--restart", "--restart-pause", "0.01", "--settle", "0", "--chdir", daemonry.directory)
    daemonry.start(*flags, *sh(script))
    (left,) = numbers_in(daemonry.log())
    wait_for(lambda: "starts again" in daemonry.log().read_text(), what="it is started again")
    assert not is_alive(left)
    ended = rf"sh exited with status 3, and what it left was ended: process {left} \((sleep|sh)\); it starts again in"
    assert re.search(ended, daemonry.log().read_text())
    daemonry.stop()


def test_what_a_program_leaves_ends_with_the_process_between(daemonry: Daemonry) -> None:
    """When that is killed, the supervisor takes its place."""
    pid = daemonry.start("--restart", "--restart-pause", "0.01", "--settle", "0", *python(LEAVES))
    (left,) = numbers_in(daemonry.log())
    parent = process.look(left)
    assert parent is not None
    assert parent.parent != pid
    daemonry.daemons.stop(parent.parent, signal.SIGKILL)
    wait_for_exit(left)
    numbers_in(daemonry.log(), 2)
    daemonry.stop()
    assert daemonry.daemons.alive() == []


def test_what_is_left_when_supervisor_and_guard_are_killed_is_ended_by_stop(
    daemonry: Daemonry, fence: tuple[str, ...]
) -> None:
    pid = daemonry.start("--restart", "--settle", "0", *python(LEAVES), through=fence)
    (left,) = numbers_in(daemonry.log())
    guard = process.look(left)
    assert guard is not None
    os.kill(pid, signal.SIGSTOP)  # so that it can't take the guard's place
    daemonry.daemons.stop(guard.parent, signal.SIGKILL)
    daemonry.daemons.stop(pid, signal.SIGKILL)
    assert is_alive(left)
    daemonry("stop", daemonry.name).check()
    assert not is_alive(left)


def test_a_program_that_was_stopped_by_a_signal_can_end_in_order(daemonry: Daemonry) -> None:
    """A supervisor passes SIGTERM on, and has the program go on so that it takes it."""
    script = "import os, signal; signal.signal(15, lambda *_: (print('ends'), os._exit(0))); print('up', os.getpid())"
    daemonry.start("--restart", "--settle", "0", *python(f"{script}; signal.pause()"))
    (program,) = numbers_in(daemonry.log())
    os.kill(program, signal.SIGSTOP)
    daemonry("stop", "--schedule", "TERM/20", daemonry.name).check()
    assert daemonry.log().read_text().endswith("ends\n")


# From within


def from_within(daemonry: Daemonry, word: str) -> tuple[str, ...]:
    """Return a program that does `daemonry WORD` with itself, once it may."""
    program = daemonry.directory / "asks.py"
    program.write_text(
        f"import runpy, sys; sys.argv[1:] = {[word, daemonry.name]!r}\n"
        "runpy.run_module('daemonry', run_name='__main__', alter_sys=True)"
    )
    return sh(f"until rm go 2>/dev/null; do sleep 0.02; done; {sys.executable} {program}; echo status $?; sleep 60")


@pytest.mark.parametrize("has_environment", [True, False])
def test_a_daemon_can_restart_itself(daemonry: Daemonry, fence: tuple[str, ...], has_environment: bool) -> None:
    """The command belongs to what it ends, and starts it again all the same."""
    words = from_within(daemonry, "restart")
    words = words if has_environment else without_environment(daemonry, words)
    pid = daemonry.start("--settle", "0", "--chdir", "public", *words, through=fence)
    (daemonry.daemons.public / "go").touch()
    wait_for_exit(pid)
    wait_for(lambda: daemonry.pidfile().exists() and daemonry.pidfile().read_text() not in ("", f"{pid}\n"))
    wait_for(lambda: len(daemonry.daemons.alive()) in (1, 2), what="the command ends")
    assert is_alive(daemonry.pid())
    daemonry.stop()


def test_a_supervised_one_is_not_stopped_from_within(daemonry: Daemonry, fence: tuple[str, ...]) -> None:
    """The command would be ended half-way, and nobody would start it again: nothing is done."""
    words = from_within(daemonry, "restart")
    pid = daemonry.start("--restart", "--settle", "0", "--chdir", "public", *words, through=fence)
    (daemonry.daemons.public / "go").touch()
    wait_for(lambda: "status 1" in daemonry.log().read_text(), what="it is refused")
    assert "would be stopped from within" in daemonry.log().read_text()
    assert daemonry.pid() == pid
    daemonry.stop()


# Nobody else's


@pytest.mark.parametrize("flags", [(), ("--restart",)])
def test_a_daemon_that_a_daemon_has_started_is_its_own(
    daemonry: Daemonry, fence: tuple[str, ...], flags: tuple[str, ...]
) -> None:
    """It doesn't end with the other, whose environment it has, and which would be below the other's cgroup."""
    inner = daemonry.new_name()
    daemonry.start("--settle", "0", *beginning(daemonry, inner, *flags), through=fence)
    numbers_in(daemonry.log())
    pid = daemonry.pid(inner)
    daemonry.stop()
    assert is_alive(pid)
    daemonry.stop(inner)
    assert daemonry.daemons.alive() == []


def beginning(daemonry: Daemonry, inner: str, *flags: str) -> tuple[str, ...]:
    """Return a program that starts a daemon."""
    words = ["start", "--name", inner, *flags, "--settle", "0", *sh("sleep 50")]
    begin = f"import runpy, sys; sys.argv[1:] = {words!r}"
    begin += "; runpy.run_module('daemonry', run_name='__main__', alter_sys=True)"
    program = daemonry.directory / "begins.py"
    program.write_text(begin)
    return sh(f"{sys.executable} {program} || exit; echo up $$; sleep 60")


def test_below_a_supervisor_a_daemon_ends_with_who_has_started_it(daemonry: Daemonry, fence: tuple[str, ...]) -> None:
    """Nothing of a supervised program's escapes, whatever it says of itself."""
    inner = daemonry.new_name()
    daemonry.start("--restart", "--settle", "0", *beginning(daemonry, inner), through=fence)
    numbers_in(daemonry.log())
    assert is_alive(daemonry.pid(inner))
    daemonry.stop()
    assert daemonry.daemons.alive() == []
    daemonry.stop(inner)


def test_the_other_jobs_of_a_shell_are_not_ended_with_one_in_front(daemonry: Daemonry) -> None:
    """`run` is in the session of whoever has typed it, which is not the program's own."""
    running = daemonry.begin("run", "--name", daemonry.name, "--", "sleep", "60")
    wait_for(daemonry.pidfile().exists, what="a pidfile")
    other = daemonry.daemons.start("import time; time.sleep(60)")
    assert os.getsid(other.pid) == os.getsid(running.pid)
    daemonry.stop()
    running.wait()
    assert is_alive(other.pid)
    other.signal(signal.SIGTERM)
    other.wait()


@pytest.mark.parametrize("born", ["1", "9" * 5000])
def test_a_mark_of_another_birth_is_not_believed(daemonry: Daemonry, born: str) -> None:
    """It says that it belongs to a daemon of this number, which was another one: the seal of the pidfile decides."""
    pid = daemonry.start("--settle", "0", "--", "sleep", "60")
    daemonry.daemons.stop(pid, signal.SIGKILL)
    mark = f"{pid}.{born}.{os.getsid(0)}"
    stranger = daemonry.daemons.start("import time; time.sleep(60)", env={"DAEMONRY_DAEMON": mark})
    daemonry("start", "--name", daemonry.name, "--settle", "0", "--", "sleep", "60").check()
    daemonry.stop()
    assert is_alive(stranger.pid)
    stranger.signal(signal.SIGTERM)
    stranger.wait()


# The master of a service, as root where the tests are. A worker of it, in its session, claims to be a daemon's.
CLAIMING = """
import os, sys, time
program, claim, user = sys.argv[1:]
if os.fork() == 0:
    if user != str(os.geteuid()):
        os.setresuid(*[int(user)] * 3)
    while not os.path.exists(claim):
        time.sleep(0.02)
    print("up", os.getpid(), flush=True)
    os.execve(program, [program, "60"], {**os.environ, "DAEMONRY_DAEMON": f"{open(claim).read()}.{os.getsid(0)}"})
time.sleep(60)
"""


def claiming(daemonry: Daemonry, program: str) -> Running:
    user = NOBODY if os.geteuid() == 0 else os.geteuid()
    return daemonry.daemons.start(CLAIMING, program, daemonry.directory / "claim", user, start_new_session=True)


def claim(daemonry: Daemonry, pid: int) -> int:
    """Have the one who claims do so; return its number."""
    found = process.look(pid)
    assert found is not None
    draft = daemonry.directory / "draft"
    draft.write_text(f"{pid}.{found.born}")
    draft.rename(daemonry.directory / "claim")
    (worker,) = numbers_in(daemonry.directory / "0.out")
    return worker


def test_whoever_claims_to_be_a_daemons_speaks_for_nobody_else(daemonry: Daemonry, fence: tuple[str, ...]) -> None:
    """Number and birth of a daemon that was killed are no secret. What it has left is found all the same."""
    master = claiming(daemonry, "/bin/sleep")
    pid = daemonry.start("--settle", "0", *sh("sleep 60 & echo up $!; wait"), through=fence)
    (left,) = numbers_in(daemonry.log())
    claim(daemonry, pid)
    daemonry.daemons.stop(pid, signal.SIGKILL)
    daemonry.stop()
    assert not is_alive(left)
    assert is_alive(master.pid)
    end_all(daemonry, master)


@pytest.mark.root_only("an ordinary user has no cgroup")
def test_nobody_keeps_a_start_off_by_claiming_to_be_left_over(daemonry: Daemonry) -> None:
    """Where a daemon had a cgroup, what is not in it is none of its own."""
    writable_mount()
    master = claiming(daemonry, "/bin/sleep")
    pid = daemonry.start("--settle", "0", "--", "sleep", "60")
    worker = claim(daemonry, pid)
    daemonry.daemons.stop(pid, signal.SIGKILL)
    daemonry.start("--settle", "0", "--", "sleep", "60")
    daemonry.stop()
    assert is_alive(worker)
    end_all(daemonry, master)


def end_all(daemonry: Daemonry, *programs: Running) -> None:
    for each in programs:
        each.signal(signal.SIGTERM)
        each.wait()
    for pid in daemonry.daemons.alive():
        daemonry.daemons.leave(pid)


@pytest.mark.root_only("an ordinary user believes no cgroup of another one's")
def test_a_cgroup_that_another_user_has_made_is_not_believed(daemonry: Daemonry) -> None:
    """Whom a part of the tree is delegated to can put anybody's processes in it that are there."""
    pid = daemonry.start("--settle", "0", "--", "sleep", "60", through=WITHOUT_CGROUPS)
    found = process.look(pid)
    assert found is not None
    daemonry.daemons.stop(pid, signal.SIGKILL)
    group = writable_mount() / f"daemonry.{pid}.{found.born}.1"
    group.mkdir()
    try:
        into = ("sh", "-c", f'echo $$ >{group}/cgroup.procs && exec "$@"', "sh")
        stranger = daemonry.daemons.start("import time; print('up', flush=True); time.sleep(60)", through=into)
        wait_for(lambda: "up" in stranger.stdout, what="it is there")
        assert belonging.left_by(places.of_pidfile(str(daemonry.pidfile()))) is not None
        os.chown(group, NOBODY, NOBODY)
        daemonry.stop()
        assert is_alive(stranger.pid)
        end_all(daemonry, stranger)
    finally:
        wait_for(lambda: is_removed(group), what="nobody is in the group any more")


def is_removed(group: Path) -> bool:
    with contextlib.suppress(OSError):  # EBUSY
        group.rmdir()
    return not group.exists()


def writable_mount() -> Path:
    mounts = [Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified")]
    found = [each for each in mounts if (each / "cgroup.procs").exists() and os.access(each, os.W_OK)]
    if not found or shutil.which("unshare") is None:
        pytest.skip("no cgroup of version 2 can be made")
    return found[0]


@pytest.mark.root_only("there is no program of another user's that may be executed with that one's rights")
def test_a_program_with_more_rights_is_not_claimed_by_who_has_started_it(
    daemonry: Daemonry, fence: tuple[str, ...]
) -> None:
    """A set-user-ID program has the environment of whoever executes it."""
    program = daemonry.directory / "sleep"
    shutil.copy("/bin/sleep", program)
    program.chmod(0o4755)
    master = claiming(daemonry, os.fspath(program))
    pid = daemonry.start("--settle", "0", *sh("sleep 60 & echo up $!; wait"), through=fence)
    numbers_in(daemonry.log())
    worker = claim(daemonry, pid)
    wait_for(lambda: Path(f"/proc/{worker}/exe").resolve() == program.resolve(), what="it is executed")
    if os.stat(f"/proc/{worker}").st_uid != 0:
        pytest.skip("set-user-ID counts for nothing here")
    daemonry.daemons.stop(pid, signal.SIGKILL)
    daemonry.stop()
    assert is_alive(worker)
    end_all(daemonry, master)


def test_a_program_in_front_claims_nobody_of_its_session(daemonry: Daemonry) -> None:
    """`run` gives its program no mark and no session; the program may take the mark all the same."""
    takes = """
import os
born = open("/proc/self/stat").read().rpartition(")")[2].split()[19]
print("up", os.getpid(), flush=True)
mark = f"{os.getpid()}.{born}.{os.getsid(0)}"
os.execve("/bin/sleep", ["sleep", "60"], {**os.environ, "DAEMONRY_DAEMON": mark})
"""
    command = [sys.executable, "-m", "daemonry", "run", "--name", daemonry.name, *python(takes)]
    shell = f"import subprocess, time; subprocess.Popen({command!r}); time.sleep(60)"
    leader = daemonry.daemons.start(shell, env=daemonry.environment, start_new_session=True)
    (pid,) = numbers_in(daemonry.directory / "0.out")
    wait_for(lambda: Path(f"/proc/{pid}/comm").read_text() == "sleep\n", what="it is executed")
    daemonry.stop()
    assert not is_alive(pid)
    assert is_alive(leader.pid)
    leader.signal(signal.SIGTERM)
    leader.wait()


def test_what_belongs_to_a_daemon_that_runs_is_no_left_over(daemonry: Daemonry, fence: tuple[str, ...]) -> None:
    """Who has seen no daemon may see the pidfile of one that has been started since: that one is not touched."""
    pid = daemonry.start("--settle", "0", *sh("sleep 60 & echo up $!; wait"), through=fence)
    numbers_in(daemonry.log())
    assert belonging.left_by(places.of_pidfile(str(daemonry.pidfile()))) is None
    daemonry.daemons.stop(pid, signal.SIGKILL)
    assert belonging.left_by(places.of_pidfile(str(daemonry.pidfile()))) is not None
    daemonry.stop()


# What may not be signalled


class _Init(stopping.Others):
    def remaining(self) -> list[process.Process]:
        found = process.look(1)
        return [found] if found is not None else []


@pytest.mark.unprivileged_only("it would be ended")
def test_another_users_is_named_and_not_waited_for() -> None:
    begun = time.monotonic()
    with pytest.raises(ControlError, match=r"^cannot end process 1 \(.*\): another user's") as caught:
        stopping.end(_Init(), "TERM/30/KILL/5", print, "/nowhere")
    assert not isinstance(caught.value, StillRunning)
    assert caught.value.pid == 1
    assert time.monotonic() - begun < 10


# Names that nobody knows


def test_a_name_that_was_never_known_is_not_stopped(daemonry: Daemonry) -> None:
    """It may be misspelt: the status is that of what is not installed, and a name that is near is suggested."""
    daemonry.start("--settle", "0", "--", "sleep", "60")
    pid, misspelt = daemonry.pid(), daemonry.name[:-1]
    for word in ("stop", "reload"):
        said = daemonry(word, misspelt).check(5 if word == "stop" else 7).stderr
        assert said == f"daemonry: no daemon of the name {misspelt} was ever known; did you mean {daemonry.name}?\n"
    said = daemonry("stop", pid).check(5).stderr
    assert said.endswith(f"found by its name or its pidfile; did you mean {daemonry.name}, which has it?\n")
    assert daemonry("stop", "wholly-unlike-it").check(5).stderr.endswith("was ever known; see: daemonry list\n")
    daemonry.stop()
    assert daemonry("stop", daemonry.name).check().stderr == f"{daemonry.name}: not running\n"
    daemonry("stop", "./never.pid").check()


def test_a_command_that_there_is_not(daemonry: Daemonry) -> None:
    assert daemonry("strat").check(2).stderr == "daemonry: there is no command 'strat'; did you mean start?\n"
