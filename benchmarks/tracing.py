"""System calls and instructions of one start, told apart by process. strace(1), callgrind(1)."""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from .launching import Setting

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .launching import Runner
    from .peers import Subject

_CALL = re.compile(r"^\w+\(")
_FORK = re.compile(r"^(?:clone3?|v?fork)\(.* = (\d+)$")
# system calls that subjects/job.py makes for this
_OPEN, _BODY = '"/mark-open"', '"/mark-body"'


@dataclass
class Calls:
    """The system calls of a start, as strace writes them.

    :param path: those between open() and the body which the body has to wait for: the launcher's until its fork, and so
        on down to the daemon's.
    :param beside: the other ones of the launcher, and of whoever stays between the two.
    """

    path: list[str]
    beside: list[str]


def system_calls(runner: Runner, subject: Subject, setting: Setting) -> Calls:
    """Trace a start."""
    with tempfile.TemporaryDirectory(dir=runner.place) as place:
        daemon = runner.run_to_end(["strace", "-ff", "-qq", "-o", f"{place}/trace"], subject, _marked(setting))
        traces = {int(file.suffix[1:]): _calls(file) for file in Path(place).iterdir()}
    parents = {child: pid for pid, calls in traces.items() for child in map(_forked, calls) if child is not None}
    path, line = _until(traces[daemon], _BODY), daemon
    own = {daemon: len(traces[daemon])}
    while line in parents:
        child, line = line, parents[line]
        calls = _after(traces[line], _OPEN)
        at = [_forked(call) for call in calls].index(child) + 1
        path = calls[:at] + path
        own[line] = len(traces[line]) - len(calls) + at
    return Calls(path, [call for pid, calls in traces.items() for call in calls[own.get(pid, 0) :]])


def instructions(runner: Runner, subject: Subject, setting: Setting) -> tuple[int, int]:
    """Return how many instructions in user space it takes from execution to the body, and to the launcher's exit.

    A fork goes on with the count of its parent.
    """
    with tempfile.TemporaryDirectory(dir=runner.place) as place:
        tool = ["valgrind", "-q", "--tool=callgrind", "--trace-children=yes", f"--callgrind-out-file={place}/%p"]
        daemon = runner.run_to_end(tool, subject, _marked(setting))
        totals = {int(file.name): _total(file) for file in Path(place).iterdir()}
    return totals[daemon], totals[min(totals)]


def _marked(setting: Setting) -> Setting:
    return Setting(setting.pidfile, (*setting.words, "marks=yes"), setting.descriptors, setting.nofile)


def _calls(file: Path) -> list[str]:
    return [line for line in file.read_text(errors="replace").splitlines() if _CALL.match(line)]


def _forked(call: str) -> int | None:
    found = _FORK.match(call)
    return int(found[1]) if found else None


def _until(calls: list[str], mark: str) -> list[str]:
    return calls[: next(at for at, call in enumerate(calls) if mark in call)]


def _after(calls: list[str], mark: str) -> list[str]:
    """Return what follows the mark; all, where there is none."""
    return calls[next((at + 1 for at, call in enumerate(calls) if mark in call), 0) :]


def _total(file: Path) -> int:
    found = re.search(r"^summary: (\d+)", file.read_text(), re.MULTILINE)
    assert found is not None, f"{file} is not what callgrind writes"
    return int(found[1])
