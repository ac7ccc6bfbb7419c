"""What does not depend on the load: instructions in user space, and system calls."""

from __future__ import annotations

import shutil

from .. import tracing
from ..bench import say
from ..launching import Setting
from ..peers import BARE, OURS
from ..rows import Row

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..bench import Bench


def measure(bench: Bench) -> list[Row]:
    """Count for every subject, without a pidfile and with one."""
    rows: list[Row] = []
    for setting, key, what in ((Setting(), "", ""), (Setting(pidfile=True), "-pidfile", ", with a pidfile")):
        if _there("valgrind"):
            rows += instructions(bench, setting, key, what)
        if _there("strace"):
            rows += system_calls(bench, setting, key, what)
    return rows


def _there(tool: str) -> bool:
    if shutil.which(tool) is None:
        say(f"left out: what {tool} counts, as it is not installed")
        return False
    return True


def instructions(bench: Bench, setting: Setting, key: str, what: str) -> list[Row]:
    """Count instructions."""
    path = Row(f"instructions{key}", f"instructions, execution to body{what}", "million")
    launcher = Row(f"instructions-launcher{key}", f"instructions, execution to the launcher's exit{what}", "million")
    subjects = bench.able(setting)
    if bench.quick:  # callgrind takes a hundred times as long as the start
        subjects = {name: subject for name, subject in subjects.items() if name in (BARE, OURS, "python-daemon")}

    def once(name: str) -> list[tuple[Row, float]]:
        body, leaving = tracing.instructions(bench.runner, subjects[name], setting)
        return [(path, body / 1e6), (launcher, leaving / 1e6)]

    bench.take_turns([path, launcher], subjects, once, rounds=1)
    return [path, launcher]


def system_calls(bench: Bench, setting: Setting, key: str, what: str) -> list[Row]:
    """Count system calls."""
    path = Row(f"calls{key}", f"system calls, open() to body, on the daemon's path{what}", "calls")
    beside = Row(f"calls-beside{key}", f"system calls of the start's other processes, off that path{what}", "calls")
    subjects = bench.able(setting)

    def once(name: str) -> list[tuple[Row, float]]:
        calls = tracing.system_calls(bench.runner, subjects[name], setting)
        return [(path, len(calls.path)), (beside, len(calls.beside))]

    bench.take_turns([path, beside], subjects, once, rounds=1)
    return [path, beside]
