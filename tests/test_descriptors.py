"""Closing: everything above 2 but what is to stay open, whatever is open and whatever the limit is or was."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemonry import descriptors
from telling_programs import METHODS, WITHOUT_LIBC, launch, told

if TYPE_CHECKING:
    from harness.daemons import Daemons

by_each_method = pytest.mark.parametrize("method", [pytest.param(text, id=name) for name, text in METHODS.items()])


@by_each_method
@pytest.mark.parametrize("detach", [True, False])
def test_everything_above_two_is_closed(daemons: Daemons, method: str, detach: bool) -> None:
    """Files, sockets, pipes, inheritable or not, and numbers far apart."""
    assert told(
        daemons,
        method,
        f"""
        file, sockets, pipe = open("/etc/passwd"), socket.socketpair(), os.pipe()
        os.set_inheritable(pipe[0], True)
        for number in (63, 64, 200, 1000):
            os.dup2(pipe[1], number, inheritable=number % 2 == 0)
        with DaemonContext(detach_process={detach}):
            tell(facts().numbers)
        """,
    ) == [0, 1, 2]


@by_each_method
def test_nothing_of_the_start_itself_stays_open_when_the_daemon_is_ready(daemons: Daemons, method: str) -> None:
    before, after = told(
        daemons,
        method,
        """
        with DaemonContext(detach_process=True, ready="manual") as context:
            before = facts().numbers
            context.ready()
            tell([before, facts().numbers])
        """,
    )
    assert len(before) == 5
    assert after == [0, 1, 2]


@by_each_method
def test_what_lies_above_a_limit_lowered_since_is_closed_too(daemons: Daemons, method: str) -> None:
    assert told(
        daemons,
        method,
        """
        for number in (50, 99, 900):
            os.dup2(0, number)
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        with DaemonContext(detach_process=True):
            tell(facts().numbers)
        """,
    ) == [0, 1, 2]


@by_each_method
def test_what_lies_above_a_limit_lowered_since_is_preserved_when_asked(daemons: Daemons, method: str) -> None:
    assert told(
        daemons,
        method,
        """
        for number in (99, 900):
            os.dup2(0, number)
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        with DaemonContext(detach_process=True, files_preserve=[900]):
            tell(facts().numbers)
        """,
    ) == [0, 1, 2, 900]


@by_each_method
def test_a_limit_raised_since_hides_nothing(daemons: Daemons, method: str) -> None:
    assert told(
        daemons,
        method,
        """
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
        os.dup2(0, 60)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        highest = min(hard, 1_000_000) - 1
        os.dup2(0, highest)
        with DaemonContext(detach_process=True):
            tell(facts().numbers)
        """,
    ) == [0, 1, 2]


LIMITED = """
    limit, hard = int(os.environ["LIMIT"]), resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, max(limit, hard)))
    except (OSError, ValueError):  # an ordinary user may not raise the hard limit
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
"""


@pytest.mark.reliability("Full and broken places")
@pytest.mark.skipif(shutil.which("strace") is None, reason="system calls are counted by strace")
@by_each_method
def test_closing_takes_as_many_system_calls_under_a_high_limit_as_under_a_low_one(
    daemons: Daemons, method: str
) -> None:
    def calls(limit: int) -> int:
        trace = daemons.directory / f"trace-{limit}"
        launch(
            daemons,
            method,
            LIMITED,
            """
            for number in range(100, 120):
                os.dup2(0, number)
            with DaemonContext(detach_process=True):
                assert facts().numbers == (0, 1, 2)
            """,
            env={"LIMIT": str(limit)},
            through=("strace", "-f", "-qq", "-o", str(trace), "-e", "trace=close,close_range,fcntl"),
            plain=True,
        )
        return len(re.findall(r"(?:close|close_range|fcntl)\(", trace.read_text()))

    assert abs(calls(1_000_000) - calls(256)) < 20


@pytest.mark.reliability("Full and broken places")
@by_each_method
def test_closing_takes_no_longer_under_a_high_limit_than_under_a_low_one(daemons: Daemons, method: str) -> None:
    """Time of the processor, the best of many: a walk to the limit takes a thousand times as long."""

    def seconds(limit: int) -> float:
        reached, took = told(
            daemons,
            method,
            LIMITED,
            """
            import time
            took = []
            for _ in range(20):
                for number in range(100, 120):
                    os.dup2(0, number)
                begun = time.process_time()
                daemonry.descriptors.close_all_except([])
                took.append(time.process_time() - begun)
            tell([resource.getrlimit(resource.RLIMIT_NOFILE)[0], min(took)])
            """,
            env={"LIMIT": str(limit)},
            plain=True,
        )
        if reached != limit:
            pytest.skip(f"this system allows {reached} descriptors, too few for the time of a walk to show")
        return float(took)

    assert seconds(1_000_000) < 3 * seconds(256) + 0.01


@by_each_method
def test_any_set_of_open_descriptors_less_any_set_of_kept_ones_is_closed(daemons: Daemons, method: str) -> None:
    assert (
        told(
            daemons,
            method,
            """
        from hypothesis import given, settings, strategies as st
        numbers = st.sets(st.integers(0, 1000) | st.integers(3, 20), max_size=30)

        @settings(max_examples=15, database=None, deadline=None)
        @given(numbers, numbers)
        def check(opened, kept):
            pid = os.fork()
            if pid == 0:
                try:
                    daemonry.descriptors.close_all_except([])
                    for number in opened - {0, 1, 2}:
                        os.dup2(0, number)
                    daemonry.descriptors.close_all_except(kept)
                    left = {number for number in range(1100) if is_open(number)}
                    os._exit(0 if left == {0, 1, 2} | (opened & kept) else 1)
                finally:
                    os._exit(2)
            assert os.waitpid(pid, 0)[1] == 0, (opened, kept)

        check()
        tell("held")
        """,
            plain=True,
        )
        == "held"
    )


@settings(database=None)
@given(st.sets(st.integers(3, 2**31 - 1)), st.integers(0, 2**31 - 1))
def test_a_number_is_in_a_gap_if_and_only_if_it_is_to_be_closed(kept: set[int], number: int) -> None:
    gaps = descriptors._gaps(sorted(kept))
    for each in (number, *kept, *(near for one in kept for near in (one - 1, one + 1)), 2, 3, 2**31 - 1):
        within = [(first, last) for first, last in gaps if first <= each <= last]
        assert len(within) == (3 <= each < 2**31 and each not in kept)


# Where there is no close_range(2), and where no such directory is.


@pytest.mark.parametrize(
    ("places", "used"),
    [
        pytest.param('("/proc/self/fd", "/dev/fd")', "/proc/self/fd", id="both"),
        pytest.param('("/nowhere", "/dev/fd")', "/dev/fd", id="no-proc"),
        pytest.param('("/usr", "/dev/fd")', "/dev/fd", id="a-directory-that-shows-something-else"),
        pytest.param('("/etc/passwd", "/dev/fd")', "/dev/fd", id="no-directory"),
    ],
)
def test_without_close_range_the_descriptors_are_listed(daemons: Daemons, places: str, used: str) -> None:
    assert told(
        daemons,
        WITHOUT_LIBC,
        f"""
        daemonry.descriptors._LISTINGS = {places}
        os.dup2(0, 300)
        context = DaemonContext(detach_process=True)
        planned = [str(step.value) for step in context.plan() if step.name == "close_descriptors"]
        with context:
            tell([planned, facts().numbers])
        """,
    ) == [[f"above 2 keep none, by listing {used}"], [0, 1, 2]]


@pytest.mark.reliability("Full and broken places")
@pytest.mark.parametrize("detach", [True, False])
def test_without_close_range_and_without_a_listing_the_start_fails_with_advice(daemons: Daemons, detach: bool) -> None:
    """In the launcher, before anything has changed."""
    found = told(
        daemons,
        WITHOUT_LIBC,
        f"""
        daemonry.descriptors._LISTINGS = ("/nowhere",)
        os.register_at_fork(before=lambda: print("forked"))
        os.dup2(0, 300)
        try:
            DaemonContext(detach_process={detach}).open()
        except DaemonStartError as error:
            tell([error.step, str(error), os.getpid(), is_open(300)])
        """,
    )
    launched = (daemons.directory / "0.out").read_text()
    assert found[0] == "check_options"
    assert "cannot tell which descriptors are open" in found[1]
    assert "mount one of the two" in found[1]
    assert found[3]
    assert "forked" not in launched


@pytest.mark.reliability("Full and broken places")
@pytest.mark.root_only("it mounts")
def test_a_system_without_proc_and_dev_fd_really_fails_with_advice(daemons: Daemons) -> None:
    """In a mount namespace of its own, where an empty directory lies over /proc."""
    unmounted = ("unshare", "-m", "sh", "-c", 'mount -t tmpfs none /proc && exec "$@"', "sh")
    if subprocess.run([*unmounted, "true"], check=False, capture_output=True).returncode != 0:
        pytest.skip("no mount namespaces here")
    launched = launch(
        daemons,
        WITHOUT_LIBC,
        "with DaemonContext(detach_process=True): pass",
        status=1,
        through=unmounted,
        plain=True,
    )
    assert "step check_options: cannot tell which descriptors are open" in launched.stderr


@pytest.mark.reliability("Full and broken places")
def test_a_listing_that_lacks_a_descriptor_to_read_it_says_so(daemons: Daemons) -> None:
    """All that the limit allows are open: the error is that, and not a missing /proc."""
    found = told(
        daemons,
        WITHOUT_LIBC,
        """
        opened = os.open("/", os.O_RDONLY)
        resource.setrlimit(resource.RLIMIT_NOFILE, (opened + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        context = DaemonContext(detach_process=False)
        try:
            context.open()
        except DaemonStartError as error:
            os.close(opened)
            tell([error.step, error.errno == errno.EMFILE, str(error)])
        """,
    )
    assert found[:2] == ["check_options", True]
    assert "Too many open files" in found[2]
