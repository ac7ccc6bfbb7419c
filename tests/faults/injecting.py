"""The runs in which one call fails."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from faults.errnos import ERRNOS, LEFT_OUT, WAITING
from faults.judging import NOT_MADE, Judged, judge_fault
from faults.judging_kills import SIGNALS, judge_kill
from faults.recording import calls_in
from faults.running import place, run
from faults.tapping import Tap

if TYPE_CHECKING:
    from collections.abc import Iterator

    from faults.recording import Call, Recording
    from faults.running import Run

# How often a run is repeated whose process did not come to the call.
_TRIES = 3


@dataclass(frozen=True)
class Case:
    """One call of one process, and what happens at it."""

    variant: str
    call: Call
    fault: str
    """The name of an error, or of a signal."""

    def __str__(self) -> str:
        call = self.call
        return f"{self.variant}: {call.role}, {call.phase}: {call.kind} {call.name}#{call.number} {self.fault}"

    @property
    def tap(self) -> Tap:
        """strace as it lets that happen."""
        call = self.call
        kind = "signal" if self.fault.startswith("SIG") else "error"
        fault = f"inject={call.name}:{kind}={self.fault}:when={call.number}"
        return Tap(call.role, call.phase, ("-e", f"trace={call.name}", "-e", fault))


def faults(variant: str, recording: Recording) -> Iterator[Case]:
    """Yield a case for each call and each of its errors; no call may be unknown."""
    for call in recording.calls:
        if call.kind not in LEFT_OUT:
            for errno in ERRNOS[call.kind]:
                yield Case(variant, call, errno)


def kills(variant: str, recording: Recording) -> Iterator[Case]:
    """Yield a case for each call and each signal that ends programs."""
    for call in recording.calls:
        if call.kind not in WAITING:
            for name in SIGNALS:
                yield Case(variant, call, name)


def perform(case: Case, options: dict[str, object], reference: Run) -> Judged:
    """Run a case and judge it."""
    for _ in range(_TRIES):
        with place() as directory:
            begun = time.monotonic()
            outcome = run(directory, options, case.tap)
            took = time.monotonic() - begun
            hit = _hit(case, outcome)
            if hit is not None:
                after = run(directory, options) if outcome.left else None
                judge = judge_kill if case.fault in SIGNALS else judge_fault
                return judge(case, hit, outcome, reference, after, took)
    return Judged(case, NOT_MADE, "", case.call.text, "", took)


def _hit(case: Case, outcome: Run) -> Call | None:
    call = case.call
    made = calls_in(case.tap, outcome.calls)
    return next((each for each in made if (each.name, each.number) == (call.name, call.number)), None)
