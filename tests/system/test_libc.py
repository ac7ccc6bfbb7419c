"""What is asked of the C library directly, and what its absence comes to."""

from __future__ import annotations

import errno
import os

import pytest

from daemonry.system import libc
from harness.daemons import Daemons
from harness.probe import status_of
from telling_programs import told


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
        ask = daemonry.system.libc.capabilities()
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
        daemonry.system.libc.prctl()(daemonry.system.libc.PR_SET_NO_NEW_PRIVS, 1)
        tell([before, facts().no_new_privileges])
        """,
    ) == [status_of(os.getpid())["NoNewPrivs"] == "1", True]


def test_a_refused_call_raises_the_systems_error_and_names_the_function() -> None:
    control = libc.prctl()
    assert control is not None
    with pytest.raises(OSError, match="prctl: Invalid argument") as caught:
        control(libc.PR_SET_NO_NEW_PRIVS, 2)
    assert caught.value.errno == errno.EINVAL


@pytest.mark.parametrize(
    "taken",
    [
        pytest.param("daemonry.system.libc._function = lambda name: None", id="no-functions"),
        pytest.param("sys.modules['ctypes'] = None", id="no-ctypes"),
    ],
)
def test_what_the_c_library_lacks_is_answered_by_none(daemons: Daemons, taken: str) -> None:
    assert (
        told(daemons, taken, "tell([daemonry.system.libc.prctl(), daemonry.system.libc.capabilities()])") == [None] * 2
    )


def test_a_function_that_no_library_has_is_missing() -> None:
    assert libc._function("daemonry_has_no_such_function") is None
