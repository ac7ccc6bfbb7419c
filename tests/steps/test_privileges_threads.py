"""Threads that a program has started before it gives up root in the foreground: capabilities are of each thread."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from daemonry.steps import privileges
from harness.waiting import wait_for

if TYPE_CHECKING:
    from harness.daemons import Daemons

pytestmark = pytest.mark.root_only("it gives up what only root has")

PROGRAM = """
import os, sys, threading
from daemonry import DaemonContext, DaemonStartError
from daemonry.system import libc
WAY, ROOT = sys.argv[1], sys.argv[2] or None
done = threading.Event()
worker = threading.Thread(target=done.wait)
if WAY != "late":
    worker.start()
if WAY == "ended":
    done.set()
    worker.join()
try:
    with DaemonContext(detach_process=WAY == "detached", uid="nobody", chroot_directory=ROOT):
        held = libc.inheritable()()
        if WAY == "late":
            worker.start()
    os.write(1, f"inheritable {held}".encode())
except DaemonStartError as error:
    os.write(1, f"{error.step} {error.message}".encode())
done.set()
"""
INHERITING = ("setpriv", "--inh-caps", "+setuid")
NOT_INHERITING = ("setpriv", "--inh-caps", "-all")


def opened(daemons: Daemons, way: str, through: tuple[str, ...], root: object = "") -> str:
    """Return what came of a context that is opened beside a thread."""
    library = {"PYTHONPATH": os.path.dirname(os.path.dirname(privileges.__file__))}
    said = daemons.launch(PROGRAM, way, root, through=through, plain=True, env=library).check().stdout
    wait_for(lambda: not daemons.alive(), what="the daemon has ended")
    return said


def test_a_thread_that_would_keep_inheritable_capabilities_is_named_and_the_start_refused(daemons: Daemons) -> None:
    said = opened(daemons, "early", INHERITING)
    assert said.startswith("drop_privileges privileges were not dropped: thread ")
    assert said.endswith(" keeps capabilities 0x80; start threads after open()")


def test_a_thread_that_keeps_what_the_calling_one_has_not_is_named_too(daemons: Daemons) -> None:
    """A securebit of its own."""
    program = PROGRAM.replace("target=done.wait", "target=keep").replace(
        "done = threading.Event()",
        """
import ctypes
done, kept = threading.Event(), threading.Event()
def keep():
    ctypes.CDLL(None).prctl(8, 1, 0, 0, 0)  # PR_SET_KEEPCAPS
    kept.set()
    done.wait()
""",
    )
    program = program.replace("    worker.start()\nif", "    worker.start()\n    kept.wait()\nif")
    said = daemons.launch(program, "early", "", through=NOT_INHERITING).check().stdout
    assert said.endswith("; start threads after open()")
    assert said.count("keeps capabilities") == 1


@pytest.mark.parametrize("way", ["late", "ended", "detached"])
def test_a_thread_that_is_started_later_or_has_ended_or_stays_in_the_launcher_hinders_nothing(
    daemons: Daemons, way: str
) -> None:
    said = opened(daemons, way, INHERITING)
    assert said in ("inheritable 0", "")


def test_a_thread_without_any_hinders_nothing(daemons: Daemons) -> None:
    assert opened(daemons, "early", NOT_INHERITING) == "inheritable 0"


def test_inside_another_root_directory_a_thread_is_doubted_only_if_there_was_something_to_clear(
    daemons: Daemons,
) -> None:
    """Where no /proc tells of it."""
    said = opened(daemons, "early", INHERITING, daemons.jail())
    assert said == (
        "drop_privileges privileges were not dropped: "
        "other threads keep inheritable capabilities; start threads after open()"
    )
    for way, through in (("early", NOT_INHERITING), ("ended", INHERITING)):
        assert opened(daemons, way, through, daemons.jail()) == "inheritable 0"
