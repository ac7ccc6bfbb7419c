"""Starts where there is a pidfile already: of a daemon that was killed, and of one that runs."""

from __future__ import annotations

import os
import signal

from ..launching import Setting
from ..rows import Row
from ..storm import wait_for_all_but_bodies

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..bench import Bench
    from ..peers import Subject

_FRESH = Setting(pidfile=True)
_AGAIN = Setting(pidfile=True, keeps_pidfile=True)


def measure(bench: Bench) -> list[Row]:
    """Start behind a daemon that was killed, and beside one that runs."""
    return [*_behind_a_killed_one(bench), *_beside_a_running_one(bench)]


def _behind_a_killed_one(bench: Bench) -> list[Row]:
    row = Row("restart", "execution to body, after the daemon before was killed", "ms")
    subjects = bench.able(_FRESH)

    def once(name: str) -> list[tuple[Row, float]]:
        with bench.runner.start(subjects[name], _FRESH) as start:
            os.kill(start.pid, signal.SIGKILL)
        with bench.runner.start(subjects[name], _AGAIN) as start:
            return [(row, (start.up - start.executed) / 1e6)]

    bench.take_turns([row], subjects, once)
    return [row]


def _beside_a_running_one(bench: Bench) -> list[Row]:
    """Ask what the caller of a second start learns."""
    status = Row("second", "exit status of a start beside a daemon that has the pidfile", "status", base=None)
    subjects = bench.able(_FRESH)

    def once(name: str) -> list[tuple[Row, float]]:
        told, bodies = _second(bench, subjects[name])
        if told == 0:
            status.notes[name] = "tells its caller that all went well"
        if bodies > 1:
            status.notes[name] = "runs twice"
        return [(status, told)]

    bench.take_turns([status], subjects, once, rounds=1)
    return [status]


def _second(bench: Bench, subject: Subject) -> tuple[int, int]:
    """Return the status of the second launcher, and how many bodies ran."""
    with bench.runner.launched(subject, _FRESH) as first:
        bench.runner.hear("up", first)
        with bench.runner.launched(subject, _AGAIN) as second:
            status = second.exit_status()
            wait_for_all_but_bodies(bench.runner)
            return status, len(bench.runner.ear.heard("up"))
