"""A process seen from outside: what it is, whether it lives, its end, and a signal that can't go astray."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from daemonry.system import family, process
from harness.waiting import wait_for
from pidfile_programs import said, unshared

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.daemons import Daemons

NOBODY = 4194305  # more than the kernel gives out


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["/bin/sleep", "1000"], start_new_session=True) as running:
        wait_for(lambda: "sleep" in str(process.look(running.pid)), what="it is the program")
        yield running
        running.kill()


def test_a_process_is_told_by_its_facts(sleeper: subprocess.Popen[bytes]) -> None:
    found = process.look(sleeper.pid)
    assert found is not None
    assert (found.pid, found.name, found.parent) == (sleeper.pid, "sleep", os.getpid())
    assert (found.group, found.session) == (sleeper.pid, sleeper.pid)
    assert found.alive
    assert str(found) == f"process {sleeper.pid} (sleep)"
    assert 0 <= time.time() - found.started < 60
    assert process.birth_of(sleeper.pid) == found.born


def test_a_process_is_never_told_as_younger_than_what_it_has_done() -> None:
    before = time.time()
    with subprocess.Popen(["/bin/sleep", "1000"]) as running:
        found = process.look(running.pid)
        after = time.time()
        running.kill()
    assert found is not None
    # One tick of the clock by which the kernel dates them is a hundredth of a second.
    assert before - 0.1 < found.started <= after


def test_a_process_is_always_told_to_have_started_at_the_same_moment(sleeper: subprocess.Popen[bytes]) -> None:
    """However long the machine lets who asks wait between two clocks."""
    assert len({found.started for _ in range(300) if (found := process.look(sleeper.pid))}) == 1


def test_a_zombie_is_not_alive(sleeper: subprocess.Popen[bytes]) -> None:
    sleeper.kill()
    assert process.wait_for_exit(sleeper.pid, 10)
    found = process.look(sleeper.pid)
    assert found is not None
    assert found.state == "Z"
    assert not found.alive
    assert found not in family.children()
    sleeper.wait()
    assert process.look(sleeper.pid) is None


@pytest.mark.parametrize("pid", [NOBODY, 0, -1, 2**31])
def test_what_is_no_process_is_none(pid: int) -> None:
    assert process.look(pid) is None
    assert process.birth_of(pid) is None


@pytest.mark.parametrize("name", ["a) R 1 (b", "two words", "(", ")", "S 1\n2"])
def test_a_name_may_look_like_the_facts_after_it(daemons: Daemons, name: str) -> None:
    running = daemons.start(
        f"""
        import signal
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        open("/proc/self/comm", "w").write({name!r})
        print("named", flush=True)
        signal.sigwait([signal.SIGTERM])
        """
    )
    said(running, "named")
    found = process.look(running.pid)
    assert found is not None
    assert (found.name, found.parent, found.alive) == (name, os.getpid(), True)
    daemons.stop(running.pid)


def test_the_members_of_a_session_and_the_children(sleeper: subprocess.Popen[bytes]) -> None:
    (found,) = family.in_session(sleeper.pid)
    assert found.pid == sleeper.pid
    assert sleeper.pid in [each.pid for each in family.children()]
    assert {os.getpid(), sleeper.pid} <= {each.pid for each in process.everything()}
    sleeper.kill()
    assert process.wait_for_exit(sleeper.pid, 10)
    assert family.in_session(sleeper.pid) == []


def test_a_signal_is_sent_only_if_the_process_is_still_the_one_that_is_meant(
    sleeper: subprocess.Popen[bytes],
) -> None:
    assert not process.send_signal(sleeper.pid, signal.SIGKILL, lambda: False)
    assert not process.wait_for_exit(sleeper.pid, 0)
    asked = []
    assert process.send_signal(sleeper.pid, signal.SIGKILL, lambda: not asked.append(True))  # type: ignore[func-returns-value]
    assert asked == [True]
    assert sleeper.wait() == -signal.SIGKILL
    assert not process.send_signal(sleeper.pid, signal.SIGKILL, lambda: True)


@pytest.mark.parametrize("pid", [0, -1, -2])
def test_a_number_that_means_a_group_to_kill_is_refused(daemons: Daemons, pid: int) -> None:
    for way in ("", "del os.pidfd_open"):
        daemons.launch(
            f"""
            import os
            {way}
            from daemonry.system import family, process
            asked = []
            try:
                process.send_signal({pid}, 0, lambda: asked.append(True))
            except ValueError as error:
                assert str(error) == "{pid} is not the number of a process"
            assert asked == []
            """,
            start_new_session=True,
        ).check()


@pytest.mark.root_only("the signal goes to a process of root")
def test_a_process_of_somebody_else_cannot_be_signalled(daemons: Daemons, sleeper: subprocess.Popen[bytes]) -> None:
    for way in ("", "del os.pidfd_open"):
        daemons.launch(
            f"""
            import os, sys
            {way}
            from daemonry.system import family, process
            try:
                process.send_signal(int(sys.argv[1]), 0, lambda: True)
            except PermissionError:
                sys.exit(5)
            """,
            sleeper.pid,
            user="nobody",
        ).check(5)
    assert process.look(sleeper.pid)


def test_waiting_for_an_exit_ends_with_it_or_with_the_time(sleeper: subprocess.Popen[bytes]) -> None:
    for seconds in (0, -1, 0.05):
        start = time.monotonic()
        assert not process.wait_for_exit(sleeper.pid, seconds)
        assert max(seconds, 0) <= time.monotonic() - start < 5
    sleeper.kill()
    for seconds in (30, 1e12, float("inf"), 0, -1):
        assert process.wait_for_exit(sleeper.pid, seconds if seconds > 0 else 10)
    sleeper.wait()
    assert process.wait_for_exit(sleeper.pid, 30)
    assert process.wait_for_exit(NOBODY, 30)


def test_waiting_ends_with_an_exit_that_comes_meanwhile(sleeper: subprocess.Popen[bytes]) -> None:
    waiting = subprocess.Popen(
        [sys.executable, "-c", f"from daemonry.system import process; print(process.wait_for_exit({sleeper.pid}, 30))"],
        stdout=subprocess.PIPE,
    )
    wait_for(lambda: watches(waiting.pid), what="it waits")
    sleeper.kill()
    assert waiting.communicate(timeout=10)[0] == b"True\n"


def watches(pid: int) -> bool:
    for name in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):  # closed since it was listed
            if "pidfd" in os.readlink(f"/proc/{pid}/fd/{name}"):
                return True
    return False


PORTABLE = """
    import os, signal, sys, time
    {way}
    from daemonry.system import family, process
    pid = os.fork()
    if pid == 0:
        while True:
            signal.sigtimedwait([], 0.05)
    assert not process.wait_for_exit(pid, 0.03)
    assert not process.send_signal(pid, signal.SIGKILL, lambda: False)
    assert process.look(pid).alive
    assert [each.pid for each in family.children()] == [pid]
    assert process.send_signal(pid, signal.SIGKILL, lambda: True)
    assert process.wait_for_exit(pid, 10)
    assert process.look(pid).state == "Z"
    assert os.waitpid(pid, 0)[1] == signal.SIGKILL
    assert process.wait_for_exit(pid, 10)
    assert not process.send_signal(pid, signal.SIGKILL, lambda: True)
"""


@pytest.mark.parametrize(
    "way",
    ["", "del os.pidfd_open", "del signal.pidfd_send_signal", "del time.CLOCK_BOOTTIME"],
    ids=["all", "no pidfd_open", "no pidfd_send_signal", "no CLOCK_BOOTTIME"],
)
def test_it_works_without(daemons: Daemons, way: str) -> None:
    daemons.launch(PORTABLE.format(way=way)).check()


def test_without_a_free_descriptor_a_process_is_signalled_by_its_number(daemons: Daemons) -> None:
    daemons.launch(
        """
        import os, resource, signal
        from daemonry.system import family, process
        pid = os.fork()
        if pid == 0:
            while True:
                signal.sigtimedwait([], 0.05)
        kept = []
        resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))
        try:
            while True:
                kept.append(os.open(os.devnull, os.O_RDONLY))
        except OSError:
            pass
        assert process.send_signal(pid, signal.SIGKILL, lambda: True)
        assert os.waitpid(pid, 0)[1] == signal.SIGKILL
        for fd in kept:
            os.close(fd)
        """
    ).check()


@pytest.mark.skipif(not shutil.which("ps", path=os.defpath), reason="ps is not installed")
@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "America/New_York", "XYZ+7"])
def test_ps_tells_the_same_as_proc_in_any_time_zone(
    sleeper: subprocess.Popen[bytes], zone: str, daemons: Daemons
) -> None:
    """Where there is no /proc. Its start is told in whole seconds there."""
    daemons.launch(
        """
        import sys
        from daemonry.system import family, process
        pid = int(sys.argv[1])
        one, two = process._from_proc(pid).fields(), process._from_ps(pid).fields()
        started = one.pop("started"), two.pop("started")
        assert abs(started[0] - started[1]) <= 2, started
        assert one.pop("born") > 0 and two.pop("born") == started[1]
        assert one == two, (one, two)
        assert process._from_ps(4194305) is None
        """,
        sleeper.pid,
        env={"TZ": zone},
    ).check()


@pytest.mark.root_only("it hides /proc in a mount namespace of its own")
def test_without_proc_nothing_is_listed_and_nothing_fails(daemons: Daemons) -> None:
    hide = 'mount -t tmpfs none /proc && exec "$@"'
    daemons.launch(
        """
        import os, signal
        from daemonry.system import family, process
        assert process.look(os.getpid()) is None and process.look(4194305) is None
        assert list(process.everything()) == family.children() == family.in_session(os.getsid(0)) == []
        pid = os.fork()
        if pid == 0:
            while True:
                signal.sigtimedwait([], 0.05)
        assert not process.wait_for_exit(pid, 0.01)
        assert process.send_signal(pid, signal.SIGKILL, lambda: True)
        assert process.wait_for_exit(pid, 10)
        """,
        through=(*unshared("--mount"), "sh", "-c", hide, "sh"),
    ).check()


def test_a_name_that_could_steer_a_terminal_is_shown_as_text() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", 'open("/proc/self/comm", "w").write("\\33[2Jé"); input()'], stdin=subprocess.PIPE
    ) as running:

        def named() -> process.Process | None:
            found = process.look(running.pid)
            return found if found is not None and "[2J" in found.name else None

        found = wait_for(named, what="it has named itself")
        assert found is not None
        assert str(found) == f"process {running.pid} (\\x1b[2J\\xe9)"
        running.communicate(b"\n")
