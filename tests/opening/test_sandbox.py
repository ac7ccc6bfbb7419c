"""Sandboxes that refuse a system call: a start does without it or says what was refused, and in either case ends."""

from __future__ import annotations

import errno
import os
import signal
from typing import TYPE_CHECKING

import pytest

from harness.probe import facts_of
from harness.sandbox import knows_this_machine, refusing
from harness.waiting import read_json, wait_for
from launcher_programs import UNMEASURED, failing, program

if TYPE_CHECKING:
    from harness.daemons import Daemons

pytestmark = pytest.mark.skipif(not knows_this_machine(), reason="the numbers of this machine's calls are not known")

# What profiles of containers, and of older ones, refuse; without these a start goes another way.
DONE_WITHOUT = ["pidfd_open", "pidfd_send_signal", "close_range", "keyctl", "openat2", "getsid", "prctl"]
# What a start waits by: it is refused without, or succeeds where it did not come to need it.
NEEDED = ["poll", "wait4", "waitid"]
BODY = """
    with Context(working_directory=".", pidfile=daemonry.PIDLockFile("pid")) as context:
        publish("up", os.getpid())
        while not context.wait(60):  # not pause(), which a signal may come just before
            pass
"""


@pytest.mark.reliability("Full and broken places")
@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOSYS], ids=errno.errorcode.get)
@pytest.mark.parametrize("call", [*DONE_WITHOUT, "all of them"])
def test_a_start_does_without_a_call_that_a_sandbox_refuses(daemons: Daemons, call: str, number: int) -> None:
    calls = DONE_WITHOUT if call == "all of them" else [call]
    daemons.launch(program(BODY), preexec=refusing(calls, number), env=UNMEASURED, timeout=10).check()
    pid = daemons.survivor()
    assert read_json(daemons.directory / "up") == pid
    assert facts_of(pid).ppid == 1
    daemons.stop(pid)
    assert not (daemons.directory / "pid").exists()


@pytest.mark.reliability("Full and broken places")
@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOSYS], ids=errno.errorcode.get)
@pytest.mark.parametrize("call", [*DONE_WITHOUT, "all of them"])
def test_a_start_that_fails_in_a_sandbox_leaves_nothing(daemons: Daemons, call: str, number: int) -> None:
    calls = DONE_WITHOUT if call == "all of them" else [call]
    work = """
        if os.fork() == 0:
            signal.pause()
        raise ValueError("here")
    """
    daemons.launch(failing(work), preexec=refusing(calls, number), env=UNMEASURED, timeout=10).check()
    told = read_json(daemons.directory / "told")
    assert (told["step"], told["message"], told["children"]) == ("begin_work", "ValueError: here", None)
    wait_for(lambda: not daemons.alive(), what="what SIGKILL was sent to has ended")


@pytest.mark.reliability("Full and broken places")
@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOSYS], ids=errno.errorcode.get)
@pytest.mark.parametrize("call", NEEDED)
def test_a_start_that_can_not_wait_in_a_sandbox_says_so(daemons: Daemons, call: str, number: int) -> None:
    """Or it is up, and does not say otherwise: what its launcher could not wait for was over."""
    text = program("""
        try:
            with Context(working_directory=".", pidfile=daemonry.PIDLockFile("pid")) as context:
                publish("up", os.getpid())
                signal.pause()
        except OSError as error:
            publish("told", str(error))
            os._exit(3)
    """)
    launched = daemons.launch(text, preexec=refusing([call], number), env=UNMEASURED, timeout=15)
    if launched.status == 0:
        pid = daemons.survivor()
        assert read_json(daemons.directory / "up") == pid
        daemons.stop(pid, signal.SIGKILL)
        return
    launched.check(3)
    assert os.strerror(number) in read_json(daemons.directory / "told")
    wait_for(lambda: not daemons.alive(), what="nothing is left")
