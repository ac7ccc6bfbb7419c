"""Locks by themselves: how long one takes, and how soon it passes on when its holder is killed."""

from __future__ import annotations

import os
import random
import signal
import sys
import time

from ..launching import Refused, Setting
from ..peers import BARE, HERE, Subject
from ..rows import Row

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..bench import Bench

# by the name of the function in subjects/lock.py
LOCKS = {
    "bare": BARE,
    "daemonry": "daemonry",
    "python_daemon": "python-daemon",
    "pep3143daemon": "pep3143daemon",
    "filelock": "filelock",
    "portalocker": "portalocker",
}


def measure(bench: Bench) -> list[Row]:
    """Take and give back each lock many times, and kill the holder of each while another waits."""
    cycle = Row("lock", "acquire and release of a lock with its file", "us")
    passed = Row("handover", "a killed holder's lock is its waiter's", "ms")
    locks = {name: Subject(name, (sys.executable, str(HERE / "subjects" / "lock.py"))) for name in LOCKS.values()}
    kinds = {name: kind for kind, name in LOCKS.items()}
    bench.take_turns([cycle], locks, lambda name: [(cycle, _cycle(bench, locks[name], kinds[name]) / 1e3)])
    bench.take_turns(
        [passed],
        locks,
        lambda name: [(passed, _hand_over(bench, locks[name], kinds[name]) / 1e6)],
        refused="does not pass on",
    )
    return [cycle, passed]


def _cycle(bench: Bench, lock: Subject, kind: str) -> int:
    with bench.runner.launched(lock, _doing(bench, kind, "cycle")) as launcher:
        return bench.runner.hear("cycled", launcher)[0]


def _hand_over(bench: Bench, lock: Subject, kind: str) -> int:
    runner = bench.runner
    with runner.launched(lock, _doing(bench, kind, "hold")) as launcher:
        holder = runner.hear("held", launcher)[0]
        runner.ear.forget()
        with runner.launched(lock, _doing(bench, kind, "wait", keep=True)) as waiting:
            runner.hear("waits", waiting)
            # Who asks again and again shall be killed at any moment between two of its questions.
            time.sleep(random.uniform(0.1, 0.6))
            if runner.ear.heard("held") or not waiting.is_alive():
                raise Refused("nobody can wait for it")
            killed = time.monotonic_ns()
            os.kill(holder, signal.SIGKILL)
            return runner.hear("held", waiting)[1] - killed


def _doing(bench: Bench, kind: str, what: str, keep: bool = False) -> Setting:
    words = (f"lock={kind}", f"path={bench.runner.pidfile}", f"do={what}")
    return Setting(words=words, keeps_pidfile=keep)
