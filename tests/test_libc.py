"""What is asked of the C library directly, and what its absence comes to."""

from __future__ import annotations

import errno
import os

import pytest

from daemonry import libc
from harness.daemons import Daemons
from harness.probe import status_of
from telling_programs import WITHOUT_LIBC, told


def test_capabilities_are_the_effective_and_the_permitted_ones() -> None:
    ask = libc.capabilities()
    assert ask is not None
    status = status_of(os.getpid())
    assert ask() == int(status["CapEff"], 16) | int(status["CapPrm"], 16)


@pytest.mark.root_only("who has no capabilities has none that differ")
def test_a_permitted_capability_counts_also_when_it_is_not_effective(daemons: Daemons) -> None:
    found = told(
        daemons,
        """
        from harness.probe import status_of
        ask = daemonry.libc.capabilities()
        os.seteuid(65534)
        seen = ask()
        status = status_of(os.getpid())
        os.seteuid(0)
        tell([seen, int(status["CapEff"], 16), int(status["CapPrm"], 16)])
        """,
    )
    seen, effective, permitted = found
    assert effective == 0
    assert seen == permitted != 0


def test_prctl_does_what_the_kernel_tells_afterwards(daemons: Daemons) -> None:
    assert told(
        daemons,
        """
        before = facts().no_new_privileges
        daemonry.libc.prctl()(daemonry.libc.PR_SET_NO_NEW_PRIVS, 1)
        tell([before, facts().no_new_privileges])
        """,
    ) == [status_of(os.getpid())["NoNewPrivs"] == "1", True]


def test_a_refused_call_raises_the_systems_error_and_names_the_function() -> None:
    control = libc.prctl()
    assert control is not None
    with pytest.raises(OSError, match="prctl: Invalid argument") as caught:
        control(libc.PR_SET_NO_NEW_PRIVS, 2)
    assert caught.value.errno == errno.EINVAL


def test_close_range_closes_both_ends_and_what_is_between(daemons: Daemons) -> None:
    assert told(
        daemons,
        """
        for number in range(100, 111):
            os.dup2(0, number)
        daemonry.libc.close_range()(102, 108)
        tell([number for number in range(100, 111) if is_open(number)])
        """,
    ) == [100, 101, 109, 110]


@pytest.mark.parametrize(
    "taken",
    [
        pytest.param(WITHOUT_LIBC, id="no-functions"),
        pytest.param("sys.modules['ctypes'] = None", id="no-ctypes"),
    ],
)
def test_what_the_c_library_lacks_is_answered_by_none(daemons: Daemons, taken: str) -> None:
    assert (
        told(daemons, taken, "tell([daemonry.libc.close_range(), daemonry.libc.prctl(), daemonry.libc.capabilities()])")
        == [None] * 3
    )


def test_a_function_that_no_library_has_is_missing() -> None:
    assert libc._function("daemonry_has_no_such_function") is None


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
    """The C library has the function; the daemon's descriptors are closed all the same."""
    found = told(
        daemons,
        REFUSING.replace("REFUSAL", refusal),
        """
        assert hasattr(ctypes.CDLL(None), "close_range")
        os.dup2(0, 300)
        context = DaemonContext(detach_process=True)
        planned = [str(step) for step in context.plan() if step.name == "close_descriptors"]
        with context:
            tell([planned, facts().numbers])
        """,
    )
    assert found == [["close_descriptors: above 2 keep none, by listing /proc/self/fd"], [0, 1, 2]]
