"""What became of a run in which a process got a signal at one of its calls, and what should have."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from faults.judging import (
    DEFECT,
    RIGHT,
    Judged,
    differences,
    left_behind,
    names_step_and_reason,
    said_by,
)

if TYPE_CHECKING:
    from faults.injecting import Case
    from faults.recording import Call
    from faults.running import Run

SIGNALS = ("SIGKILL", "SIGTERM", "SIGINT", "SIGHUP")

REFUSED = "refused, and why"
WITHOUT = "launcher ended, no daemon"
ALONE = "launcher ended, daemon right"
GONE = "ready, then ended"
CLEAN = "stopped, nothing left"
CUT = "stopped at once"

EXPECTED: dict[tuple[str, str], dict[str, tuple[str, ...]]] = {
    # Ctrl-C and SIGTERM end the start as well; of any other death of its launcher a daemon takes no notice. At its
    # beginning there is no daemon yet, and at its end all signals are held off.
    ("launcher", "start"): {
        "SIGKILL": (WITHOUT, ALONE),
        "SIGTERM": (WITHOUT, RIGHT),
        "SIGINT": (WITHOUT, RIGHT),
        "SIGHUP": (WITHOUT, ALONE, RIGHT),
    },
    # It hears of SIGTERM only, which ends the start; killed, it is missed only by a daemon that is not forked yet.
    ("witness", "start"): {
        "SIGKILL": (REFUSED, RIGHT),
        "SIGTERM": (REFUSED, RIGHT),
        "SIGINT": (RIGHT,),
        "SIGHUP": (RIGHT,),
    },
    # Behind the word that it is ready it is a daemon like any other. SIGHUP is in the signal map.
    ("daemon", "start"): {
        "SIGKILL": (REFUSED, GONE),
        "SIGTERM": (REFUSED, GONE),
        "SIGINT": (REFUSED, GONE),
        "SIGHUP": (REFUSED, RIGHT),
    },
    # A second SIGTERM cuts nothing short; Ctrl-C, which a daemon gets from nobody's keyboard, may.
    ("daemon", "stop"): {
        "SIGKILL": (CUT,),
        "SIGTERM": (CLEAN, CUT),
        "SIGINT": (CLEAN, CUT),
        "SIGHUP": (CLEAN, CUT),
    },
}


def judge_kill(case: Case, hit: Call, run: Run, reference: Run, after: Run | None, took: float) -> Judged:
    """Judge a run; the parameters are those of :func:`faults.judging.judge_fault`."""
    verdict = _verdict(case, run)
    right = EXPECTED[case.call.role, case.call.phase][case.fault]
    faults = [] if verdict in right else [f"{verdict}, where right is: {' or '.join(right)}"]
    if run.facts is not None:
        faults += differences(hit, run, reference)
    if case.call.phase == "start" and run.facts is not None and run.end != 0:
        faults.append(f"SIGTERM ends it with wait status {run.end}")
    # Only a kill leaves a file: everything else is told in time to clean up.
    if case.fault == "SIGTERM" and run.left:
        faults.append(f"left behind: {run.left}")
    faults += left_behind(run, reference, after)
    return Judged(case, DEFECT if faults else verdict, "; ".join(faults), hit.text, said_by(run), took)


def _verdict(case: Case, run: Run) -> str:
    if run.status is None:
        return "the launcher hangs"
    if case.call.phase == "stop":
        return CLEAN if run.end == 0 and not run.left else "SIGTERM does not end it" if run.end is None else CUT
    if run.status > 0:
        return REFUSED if names_step_and_reason(run) else "refused without step and reason"
    if run.status == 0:
        return GONE if run.facts is None else RIGHT
    if -run.status != signal.Signals[case.fault]:
        return f"launcher ended by signal {-run.status}"
    return WITHOUT if run.facts is None else ALONE
