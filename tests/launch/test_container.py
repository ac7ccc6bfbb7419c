"""As process 1 of a container the program forks; who stays reaps, passes signals on, and ends as the program ends."""

from __future__ import annotations

import signal
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.managers import CONTAINER, Container, process_1, signal_process_1
from harness.probe import facts_of, status_of
from harness.waiting import wait_for

if TYPE_CHECKING:
    from harness.commands import Daemonry
    from harness.daemons import Daemons, Running

pytestmark = pytest.mark.root_only("it makes a process namespace")

# The program counts what it gets, and says it: not by print, which one handler may not begin within another.
COUNTS = """
    import collections, os, signal
    from daemonry import DaemonContext
    got = collections.Counter()
    def say(text):
        os.write(1, f"{text}\\n".encode())
    def count(number, frame):
        got[signal.Signals(number).name] += 1
        say(" ".join(("got", *(f"{name}={times}" for name, times in got.items()))))
    names = ("SIGHUP", "SIGUSR1", "SIGINT", "SIGQUIT")
    signals = {"SIGTERM": "request_stop", **{name: count for name in names}}
    with DaemonContext(signal_map=signals, umask=0o022) as context:
        say("up")
        context.wait()
        say("ends")
"""


@pytest.fixture(autouse=True)
def _namespaces() -> None:
    why_not = Container.why_not()
    if why_not is not None:
        pytest.skip(why_not)


def says(running: Running, text: str) -> None:
    wait_for(lambda: text in running.stdout, what=f"{text!r} in {running.stdout!r}{running.stderr!r}")


def program_below(first: int) -> int:
    """Return the number, here, of process 1's only child."""
    children = Path(f"/proc/{first}/task/{first}/children")
    (child,) = wait_for(lambda: children.read_text().split(), what="process 1 has a child")
    return int(child)


# Who is process 1, and what the program still has


def test_the_program_goes_on_as_a_child_of_process_1_with_its_streams(daemons: Daemons) -> None:
    """It is one fork away, in the same session; both write where the container writes."""
    running = daemons.start(COUNTS, through=CONTAINER)
    says(running, "up\n")
    first = process_1(running.pid)
    program = program_below(first)
    assert [status_of(each)["NSpid"].split()[1] for each in (first, program)] == ["1", "2"]
    ours, its = facts_of(first), facts_of(program)
    assert ours.sid == its.sid
    assert [ours.descriptor(number).target for number in range(3)] == [
        its.descriptor(number).target for number in range(3)
    ]
    signal_process_1(running.pid, signal.SIGTERM)
    assert running.wait().check().stdout == "up\nends\n"


def test_process_1_holds_nothing_of_the_program_s(daemons: Daemons) -> None:
    """A port, a lock that was there before and the pidfile's are free as soon as the program gives them up."""
    launched = daemons.launch(
        """
        import fcntl, os, socket
        from daemonry import DaemonContext, PIDLockFile
        directory = os.getcwd()
        server = socket.create_server(("127.0.0.1", 0))
        address = server.getsockname()
        file = open("lock", "w")
        fcntl.flock(file, fcntl.LOCK_EX)
        lock = PIDLockFile(f"{directory}/pid")
        with DaemonContext(pidfile=lock, files_preserve=[server, file]):
            assert lock.read_pid() == os.getpid() == 2
            assert os.listdir("/proc/1/fd") == ["0", "1", "2"], os.listdir("/proc/1/fd")
            server.close()
            socket.create_server(address, reuse_port=False).close()
            file.close()
            with open(f"{directory}/lock") as again:
                fcntl.flock(again, fcntl.LOCK_EX | fcntl.LOCK_NB)
            lock.release()
            with PIDLockFile(f"{directory}/pid", timeout=0):
                print("free")
        """,
        through=CONTAINER,
    ).check()
    assert launched.stdout == "free\n"
    assert not (daemons.directory / "pid").exists()


def test_the_sockets_of_a_service_manager_are_the_program_s(daemons: Daemons) -> None:
    """LISTEN_PID, which was 1, is put right."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        launched = daemons.launch(
            """
            import os
            from daemonry import DaemonContext
            with DaemonContext() as context:
                assert os.environ["LISTEN_PID"] == str(os.getpid()) == "2"
                ((name, server),) = context.listen_fds()
                print(server.getsockname()[1])
            """,
            through=(*CONTAINER, "sh", "-c", 'LISTEN_PID=$$ LISTEN_FDS=1 exec "$@" 3<&0 </dev/null', "sh"),
            stdin=server.fileno(),
        ).check()
        assert launched.stdout == f"{server.getsockname()[1]}\n"


def test_a_context_without_the_step_stays_process_1(daemons: Daemons) -> None:
    launched = daemons.launch(
        """
        import os
        from daemonry import DaemonContext
        class Init(DaemonContext):
            steps = tuple(name for name in DaemonContext.steps if name != "leave_init")
        with Init():
            print(os.getpid())
        """,
        through=CONTAINER,
    ).check()
    assert launched.stdout == "1\n"


def test_a_program_below_a_shell_that_is_process_1_stays_in_the_foreground(daemons: Daemons) -> None:
    """Such as CMD prog; true: the container would end with a launcher that leaves."""
    launched = daemons.launch(
        """
        import os
        from daemonry import DaemonContext
        before = os.getpid()
        with DaemonContext():
            print(before == os.getpid() != 1)
        """,
        through=(*CONTAINER, "sh", "-c", '"$@"; exit $?', "sh"),
        start_new_session=True,
    ).check()
    assert launched.stdout == "True\n"


# Children


def test_two_hundred_orphans_that_end_at_once_leave_no_zombie(daemons: Daemons) -> None:
    launched = daemons.launch(
        """
        import os
        from daemonry import DaemonContext
        from harness.waiting import wait_for
        def others():
            return {name for name in os.listdir("/proc") if name.isdigit()} - {"1", str(os.getpid())}
        with DaemonContext():
            held, release = os.pipe()
            for _ in range(200):
                if os.fork() == 0:
                    if os.fork() == 0:
                        os.close(release)
                        os.read(held, 1)
                    os._exit(0)
                os.wait()
            print(len(others()))
            os.close(release)
            wait_for(lambda: not others(), what="all are reaped")
        """,
        through=CONTAINER,
    ).check()
    assert launched.stdout == "200\n"


@pytest.mark.parametrize(
    "through", [(), ("env", "--ignore-signal=CHLD")], ids=["plain", "SIGCHLD ignored by who started it"]
)
def test_the_statuses_of_the_program_s_own_children_are_not_taken_away(
    daemons: Daemons, through: tuple[str, ...]
) -> None:
    """Whoever started the container may have ignored SIGCHLD: then there would be no statuses at all."""
    launched = daemons.launch(
        """
        import subprocess
        from daemonry import DaemonContext
        with DaemonContext():
            statuses = [subprocess.run(["false"]).returncode for _ in range(100)]
            print(set(statuses), len(statuses))
            raise SystemExit(3)
        """,
        through=(*CONTAINER, *through),
    ).check(3)
    assert launched.stdout == "{1} 100\n"


# Signals


def test_signals_to_process_1_reach_the_program_and_sigterm_ends_all_at_once(daemons: Daemons) -> None:
    """The stop takes no second of the ten that Docker grants."""
    running = daemons.start(COUNTS, through=CONTAINER)
    says(running, "up\n")
    for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGINT, signal.SIGQUIT):
        signal_process_1(running.pid, number)
        says(running, f"{number.name}=1\n")
    begun = time.monotonic()
    signal_process_1(running.pid, signal.SIGTERM)
    launched = running.wait().check()
    assert time.monotonic() - begun < 2
    assert launched.stdout.endswith("got SIGHUP=1 SIGUSR1=1 SIGINT=1 SIGQUIT=1\nends\n")


@pytest.mark.parametrize(
    ("through", "typed"),
    [((), {"SIGINT": "\x03"}), (("setsid", "--ctty"), {"SIGINT": "\x03", "SIGQUIT": "\x1c"})],
    ids=["below the leader", "process 1 leads"],
)
def test_what_is_typed_at_the_terminal_reaches_the_program_once(
    daemons: Daemons, through: tuple[str, ...], typed: dict[str, str]
) -> None:
    """The kernel sends it to all in the foreground, so process 1 must not send it again."""
    terminal = daemons.terminal(COUNTS, through=(*CONTAINER, *through))
    terminal.read_until("up\r\n")
    for name, keys in typed.items():
        terminal.write(keys)
        terminal.read_until(f"{name}=1\r\n")
    # What process 1 had passed on before would have come before this.
    signal_process_1(terminal.pid, signal.SIGUSR1)
    counts = "".join(f"{name}=1 " for name in typed)
    assert f"got {counts}SIGUSR1=1\r\n" in terminal.read_until("SIGUSR1=1\r\n")
    signal_process_1(terminal.pid, signal.SIGTERM)
    assert terminal.wait() == 0


def test_a_terminal_that_hangs_up_tells_the_program(daemons: Daemons) -> None:
    """The kernel tells the session's leader alone: that is process 1."""
    terminal = daemons.terminal(
        """
        import os, sys
        from daemonry import DaemonContext
        seen = os.path.abspath("seen")
        def note(number, frame):
            open(seen, "x").close()
            sys.exit()
        with DaemonContext(signal_map={"SIGHUP": note}) as context:
            print("up", flush=True)
            context.wait()
        """,
        through=(*CONTAINER, "setsid", "--ctty"),
    )
    terminal.read_until("up\r\n")
    terminal.hang_up()
    wait_for((daemons.directory / "seen").exists, what="the program gets SIGHUP")
    assert terminal.wait() == 0


def test_process_1_that_may_not_signal_the_program_says_so(daemons: Daemons, ordinary_user: str) -> None:
    """Without CAP_KILL root may signal root's processes only."""
    running = daemons.start(
        f"""
        from daemonry import DaemonContext
        with DaemonContext(uid={ordinary_user!r}, signal_map={{"TERM": "request_stop"}}) as context:
            print("up", flush=True)
            context.wait()
        """,
        through=(*CONTAINER, "setpriv", "--bounding-set=-kill", "--inh-caps=-kill"),
    )
    says(running, "up\n")
    program = program_below(process_1(running.pid))
    signal_process_1(running.pid, signal.SIGTERM)
    said = "daemonry, process 1: cannot pass signal 15 on to process 2: Operation not permitted; leave it CAP_KILL\n"
    wait_for(lambda: running.stderr == said, what=f"it says so: {running.stderr}")
    daemons.stop(program)
    running.wait().check()


# The end


@pytest.mark.parametrize(
    ("body", "status"),
    [("pass", 0), ("sys.exit(3)", 3), ("os.kill(os.getpid(), 9)", 137), ("os.abort()", 134), ("raise KeyError", 1)],
)
def test_process_1_ends_with_the_program_s_status(daemons: Daemons, body: str, status: int) -> None:
    """As a shell would say it, 128 and the signal's number for one that was killed."""
    daemons.launch(
        f"""
        import os, sys
        from daemonry import DaemonContext
        with DaemonContext():
            {body}
        """,
        through=CONTAINER,
    ).check(status)


def test_a_start_that_fails_ends_the_container_with_the_error_on_stderr(daemons: Daemons) -> None:
    launched = daemons.launch(
        """
        import sys
        from daemonry import DaemonContext, DaemonStartError
        class Failing(DaemonContext):
            def set_umask(self):
                raise OSError(28, "no room")
        try:
            Failing().open()
        except DaemonStartError as error:
            sys.exit(f"failing: {error}")
        """,
        through=CONTAINER,
    ).check(1)
    assert launched.stderr.startswith("failing: ")
    assert "no room" in launched.stderr
    assert launched.stderr.count("\n") == 1


# The command


def test_daemonry_run_as_process_1_ends_as_the_program_ends(daemonry: Daemonry) -> None:
    assert daemonry("run", "--", "sh", "-c", "echo out; exit 5", through=CONTAINER).check(5).stdout == "out\n"


def test_daemonry_run_as_process_1_passes_the_stop_on(daemonry: Daemonry) -> None:
    """A program without a handler would not even notice SIGTERM if it were process 1."""
    running = daemonry.begin("run", "--", "sh", "-c", "echo up; exec sleep 60", through=CONTAINER)
    says(running, "up\n")
    signal_process_1(running.pid, signal.SIGTERM)
    running.wait().check(128 + signal.SIGTERM)
