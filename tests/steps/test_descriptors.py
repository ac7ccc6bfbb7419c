"""Closing: what was inherited, or all that is not named, whatever is open and whatever the limit is or was."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemonry.steps import descriptors
from telling_programs import METHODS, WITHOUT_LISTING, WITHOUT_PROC, launch, told

if TYPE_CHECKING:
    from harness.daemons import Daemons

by_each_method = pytest.mark.parametrize("method", [pytest.param(text, id=name) for name, text in METHODS.items()])
by_detaching = pytest.mark.parametrize("detach", [True, False])
# Everything that a start finds, of all kinds and far apart: the program's own first, then what was inherited.
OPENED = """
    file, sockets, pipe = open("/etc/passwd"), socket.socketpair(), os.pipe()
    own = [file.fileno(), *(each.fileno() for each in sockets), *pipe]
    for number in (63, 64, 200, 1000):
        os.dup2(pipe[1], number, inheritable=number % 2 == 0)
    own.append(63)
    os.set_inheritable(own.pop(0), True)
"""


@by_each_method
@by_detaching
def test_what_was_inherited_is_closed_and_what_the_program_has_opened_stays(
    daemons: Daemons, method: str, detach: bool
) -> None:
    """What can be handed on by an exec has come by one, or was made to be handed on."""
    found, own = told(
        daemons,
        method,
        OPENED,
        f"""
        with DaemonContext(detach_process={detach}):
            tell([facts().numbers, own])
        """,
    )
    assert found == sorted([0, 1, 2, *own])


@by_each_method
@by_detaching
def test_where_files_are_named_everything_else_above_two_is_closed(daemons: Daemons, method: str, detach: bool) -> None:
    assert told(
        daemons,
        method,
        OPENED,
        f"""
        with DaemonContext(detach_process={detach}, files_preserve=[]):
            tell(facts().numbers)
        """,
    ) == [0, 1, 2]


def test_the_programs_own_can_be_named_with_others(daemons: Daemons) -> None:
    found, own = told(
        daemons,
        OPENED,
        """
        with DaemonContext(detach_process=True, files_preserve=[*daemonry.own_files(), 200]):
            tell([facts().numbers, own])
        """,
    )
    assert found == sorted([0, 1, 2, 200, *own])


# As in a PID namespace of its own, where others can't see whose a pidfile is: then a lock is kept on it as well.
LOCKING = """
    import contextlib
    import daemonry.pidfile.on_disk
    daemonry.pidfile.on_disk._OF_THE_SYSTEM = ""
    lock = daemonry.PIDLockFile(path("pid"))
"""


def test_what_a_context_has_open_is_not_the_programs_own(daemons: Daemons) -> None:
    """Its lock and its pipes: they stay without being named."""
    assert told(
        daemons,
        LOCKING,
        """
        with DaemonContext(detach_process=True, ready="manual", pidfile=lock) as context:
            tell([len(facts().numbers), daemonry.own_files()])
            context.ready()
        """,
    ) == [6, []]


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
@pytest.mark.parametrize(("named", "left"), [("None", [0, 1, 2]), ("[]", [0, 1, 2]), ("[900]", [0, 1, 2, 900])])
def test_a_limit_that_was_lowered_since_hides_nothing(
    daemons: Daemons, method: str, named: str, left: list[int]
) -> None:
    assert (
        told(
            daemons,
            method,
            f"""
        for number in (50, 99, 900):
            os.dup2(0, number)
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        with DaemonContext(detach_process=True, files_preserve={named}):
            tell(facts().numbers)
        """,
        )
        == left
    )


@pytest.mark.parametrize("method", ["", WITHOUT_PROC], ids=["listed", "shown"])
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
                daemonry.steps.descriptors.close_all_except([])
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


def test_closing_looks_at_no_object_of_the_program(daemons: Daemons) -> None:
    """A million of them cost nothing: the garbage collector is not asked for any."""
    assert (
        told(
            daemons,
            """
        def refuse(*_):
            raise AssertionError("the heap was walked")
        gc.get_objects = gc.get_referents = gc.get_referrers = gc.collect = gc.freeze = refuse
        with DaemonContext(detach_process=True):
            tell("up")
        """,
        )
        == "up"
    )


@by_each_method
def test_any_set_of_open_descriptors_less_any_set_of_kept_ones_is_closed(daemons: Daemons, method: str) -> None:
    """By either rule: all but those, or of the others those that are inheritable."""
    assert (
        told(
            daemons,
            method,
            """
        from hypothesis import given, settings, strategies as st
        from daemonry.steps import descriptors
        numbers = st.sets(st.integers(3, 1000) | st.integers(3, 20), max_size=30)

        @settings(max_examples=15, database=None, deadline=None)
        @given(numbers, numbers, numbers, st.booleans())
        def check(inherited, own, kept, leaves_own):
            pid = os.fork()
            if pid == 0:
                try:
                    descriptors.close_all_except([])
                    for number in own | inherited:
                        os.dup2(0, number, inheritable=number in inherited)
                    named = None if leaves_own else kept & (own | inherited)
                    plan = descriptors.resolve(named, kept, (), None, lambda _: None, "")
                    descriptors.close_unkept(plan)
                    left = {number for number in range(3, 1100) if is_open(number)}
                    stays = (own | inherited) & kept | (own - inherited if leaves_own else set())
                    os._exit(0 if left == stays else 1)
                finally:
                    os._exit(2)
            assert os.waitpid(pid, 0)[1] == 0, (inherited, own, kept, leaves_own)

        check()
        tell("held")
        """,
            plain=True,
        )
        == "held"
    )


@settings(database=None)
@given(st.sets(st.integers(3, 60)))
def test_runs_hold_the_numbers_and_no_other(numbers: set[int]) -> None:
    runs = list(descriptors._runs(sorted(numbers)))
    assert [number for first, last in runs for number in range(first, last + 1)] == sorted(numbers)
    assert all(last + 1 < first for (_, last), (first, _) in zip(runs, runs[1:]))


@pytest.mark.parametrize("place", ["/usr", "/etc/passwd", "/nowhere"])
def test_a_directory_that_shows_something_else_is_not_believed(daemons: Daemons, place: str) -> None:
    """As /dev/fd on systems where it has the same three, or all possible numbers, always."""
    assert told(
        daemons,
        WITHOUT_PROC,
        f"""
        daemonry.steps.descriptors.DEV = {place!r}
        os.dup2(0, 300)
        with DaemonContext(detach_process=True):
            tell(facts().numbers)
        """,
    ) == [0, 1, 2]


@pytest.mark.reliability("Full and broken places")
@pytest.mark.root_only("it mounts")
def test_what_was_inherited_is_closed_on_a_system_without_proc_and_dev_fd(daemons: Daemons) -> None:
    """In a mount namespace of its own, where an empty directory lies over /proc."""
    unmounted = ("unshare", "-m", "sh", "-c", 'mount -t tmpfs none /proc && exec "$@"', "sh")
    if subprocess.run([*unmounted, "true"], check=False, capture_output=True).returncode != 0:
        pytest.skip("no mount namespaces here")
    text = """
        file = open("/etc/passwd")
        os.dup2(0, 300)
        with DaemonContext(detach_process=True):
            tell([is_open(file.fileno()), is_open(300)])
        """
    assert told(daemons, text, through=unmounted, plain=True) == [True, False]


@pytest.mark.reliability("Full and broken places")
def test_a_listing_that_lacks_a_descriptor_to_read_it_says_so(daemons: Daemons) -> None:
    """All that the limit allows are open: the error is that, and not a missing /proc."""
    found = told(
        daemons,
        """
        class Full(DaemonContext):
            steps = ("close_descriptors",)
        context = Full(detach_process=False)
        context.plan()
        opened = os.open("/", os.O_RDONLY)
        resource.setrlimit(resource.RLIMIT_NOFILE, (opened + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        try:
            context.open()
        except DaemonStartError as error:
            os.close(opened)
            tell([error.step, error.errno == errno.EMFILE, str(error)])
        """,
    )
    assert found[1]
    assert "Too many open files" in found[2]


# The filter of seccomp(2): load the number of the system call; is it close_range, the same on every architecture?
# Then answer with the error, else allow. A container with an older profile than its kernel answers EPERM.
REFUSING = """
    import ctypes, struct
    from ctypes import c_int, c_ulong
    code = b"".join(
        struct.pack("HBBI", *each) for each in (
            (0x20, 0, 0, 0), (0x15, 0, 1, 436), (0x06, 0, 0, 0x00050000 | errno.REFUSAL),
            (0x06, 0, 0, 0x7FFF0000),
        )
    )
    buffer = ctypes.create_string_buffer(code)
    filter = ctypes.create_string_buffer(struct.pack("HxxxxxxP", 4, ctypes.addressof(buffer)))
    call = ctypes.CDLL(None, use_errno=True).prctl
    assert call(c_int(38), c_ulong(1), c_ulong(0), c_ulong(0), c_ulong(0)) == 0
    assert call(c_int(22), c_ulong(2), ctypes.byref(filter), c_ulong(0), c_ulong(0)) == 0
"""


@pytest.mark.parametrize("refusal", ["ENOSYS", "EPERM"])
def test_a_kernel_that_refuses_close_range_is_one_without(daemons: Daemons, refusal: str) -> None:
    """Python has the function; the daemon's descriptors are closed all the same, and none is tried that isn't open."""
    assert told(
        daemons,
        REFUSING.replace("REFUSAL", refusal),
        """
        os.dup2(0, 300), os.dup2(0, 301), os.dup2(0, 900)
        with DaemonContext(detach_process=True, files_preserve=[]):
            tell(facts().numbers)
        """,
    ) == [0, 1, 2]


# What is the library's own, where an object of the program may still have the number of a file that was closed.


@by_each_method
def test_the_lock_of_the_pidfile_gets_a_number_that_nothing_of_the_programs_has(daemons: Daemons, method: str) -> None:
    """Closed or collected, they close every number that they had, and the pidfile is still held."""
    assert told(
        daemons,
        method,
        LOCKING,
        """
        old = [open("/etc/passwd") for _ in range(9)]
        numbers = [each.fileno() for each in old]
        with DaemonContext(detach_process=True, files_preserve=[old[4]], pidfile=lock):
            (mine,) = lock.descriptors
            while old:
                each = old.pop()
                with contextlib.suppress(OSError):
                    each.close()
            tell([mine in numbers, is_open(mine), lock.i_am_locking()])
        """,
    ) == [False, True, True]


def test_the_lock_of_the_pidfile_finds_a_number_below_a_limit_that_was_lowered_since(daemons: Daemons) -> None:
    taken = (3, 4, 5, 40, 63, 900)
    (mine,) = told(
        daemons,
        LOCKING,
        f"""
        for number in {taken}:
            os.dup2(0, number)
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        with DaemonContext(detach_process=False, pidfile=lock):
            tell(lock.descriptors)
        """,
    )
    assert mine not in taken


def test_asking_is_bounded(daemons: Daemons) -> None:
    """Where nothing shows what is open a fixed count of numbers is asked for, whatever the limit."""
    asked = told(
        daemons,
        WITHOUT_LISTING,
        """
        asked = []
        real = os.get_inheritable
        os.get_inheritable = lambda number: asked.append(number) or real(number)
        daemonry.steps.descriptors.close_all_except([])
        tell([min(asked), max(asked)])
        """,
    )
    assert asked == [3, descriptors.ASKED - 1]
