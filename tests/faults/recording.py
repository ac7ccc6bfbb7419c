"""The system calls that each process makes in a start and a stop without a fault."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from faults.errnos import kind_of
from faults.running import Run, place, run
from faults.tapping import Tap

if TYPE_CHECKING:
    from collections.abc import Iterator

_CALL = re.compile(r"(\w+)\(")
# The first of the body's own, or the last of a program.
_END = re.compile(r"(sched_yield|exit_group)\(")


@dataclass(frozen=True)
class Call:
    """One call of one process."""

    role: str
    phase: str
    name: str
    """As strace knows it."""
    kind: str
    """As the table of errors knows it."""
    number: int
    """How many of that name the process has made by then, from 1."""
    text: str


@dataclass(frozen=True)
class Recording:
    """What a variant does when nothing fails."""

    reference: Run
    calls: tuple[Call, ...]


def taps(options: dict[str, object]) -> tuple[Tap, ...]:
    """Return the processes to be listened to."""
    if options.get("detach_process") is False:
        return Tap("launcher", "start"), Tap("daemon", "stop")
    return Tap("launcher", "start"), Tap("witness", "start"), Tap("daemon", "start"), Tap("daemon", "stop")


def record(options: dict[str, object]) -> Recording:
    """Run a variant once without strace, and once for each of its processes."""
    with place() as directory:
        reference = run(directory, options)
    if reference.facts is None:
        raise RuntimeError(f"it does not start without a fault either: {reference.words}")
    calls: list[Call] = []
    for tap in taps(options):
        with place() as directory:
            calls += calls_in(tap, run(directory, options, tap).calls)
    return Recording(reference, tuple(calls))


def calls_in(tap: Tap, lines: tuple[str, ...]) -> Iterator[Call]:
    """Yield the calls up to the daemon's body, or to the end, in what strace has written."""
    counts: Counter[str] = Counter()
    for line in lines:
        if _END.match(line):
            return
        found = _CALL.match(line)
        if found is not None:
            name = found[1]
            counts[name] += 1
            yield Call(tap.role, tap.phase, name, kind_of(name, line), counts[name], line)
