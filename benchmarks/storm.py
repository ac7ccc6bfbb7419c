"""Many starts at the same moment, seen until nothing but daemons is left."""

from __future__ import annotations

import time
from dataclasses import dataclass

from . import leaving_nothing
from .launching import PATIENCE, Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .launching import Runner, Setting
    from .peers import Subject


@dataclass(frozen=True)
class Storm:
    """What was seen of one.

    :param up: nanoseconds from the moment in which all went on to the first body.
    :param gone: nanoseconds until all processes but those with a body were gone.
    :param bodies: how many bodies ran in the end.
    """

    up: int
    gone: int
    bodies: int


def watch(runner: Runner, subject: Subject, setting: Setting) -> Storm:
    """Start a subject whose words have ``starters``, and return what became of it.

    :raises Refused: when there is no body.
    """
    with runner.launched(subject, setting) as launcher:
        opened = runner.hear("gone", launcher)[1]
        wait_for_all_but_bodies(runner)
        gone = time.monotonic_ns()
        bodies = _bodies(runner)
    if not bodies:
        raise Refused(runner.said())
    return Storm(min(bodies.values()) - opened, gone - opened, len(bodies))


def wait_for_all_but_bodies(runner: Runner) -> None:
    """Wait until what still runs of a subject are processes whose body was told of."""
    deadline = time.monotonic() + PATIENCE
    while leaving_nothing.reap() and set(leaving_nothing.descendants()) - set(_bodies(runner)):
        if time.monotonic() > deadline:
            raise Refused(f"after {PATIENCE} s some of its processes neither run a body nor have ended")
        time.sleep(0.005)


def _bodies(runner: Runner) -> dict[int, int]:
    """Return when each body began, by the number of its process."""
    return {pid: up for pid, _, up, _ in runner.ear.heard("up")}
