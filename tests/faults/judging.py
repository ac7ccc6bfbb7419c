"""What became of a run in which a call has failed."""

from __future__ import annotations

import os
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from daemonry import DaemonContext

if TYPE_CHECKING:
    from faults.injecting import Case
    from faults.recording import Call
    from faults.running import Run

RIGHT = "ready and right"
REFUSED = "refused with step and reason"
UNTOLD = "refused (reporting path)"
STOPPED = "stopped and right"
LOGGED = "stopped, with a word in the log"
NOT_MADE = "not made"
"""The process did not come to this call: how often a launcher reads depends on how often the pipe has news."""
DEFECT = "defect"

_TOLD = re.compile(r"cannot start the daemon: step (\w+): (.+)")
# Said when nobody knows the reason.
_NO_REASON = re.compile(r"ended without a word|exited with status|it did not say why")
_STEPS = {*DaemonContext.steps, "body"}
_CANNOT_TELL = re.compile(r"cannot tell the service manager that the daemon is ready: .+\n")
# What must be as it is without a fault; the rest are numbers that differ from run to run.
_FACTS = (
    *("tty", "umask", "blocked", "ignored", "caught"),
    *("uids", "gids", "groups", "capabilities", "core_limit", "no_new_privileges"),
)
# What says, for the pidfile's seal, when this process has begun, or bears the seal; or tells that everybody can try it.
# Without that the daemon has a lock of the kernel's on its pidfile, and that open.
_SEALING = re.compile(r'utimensat\(|"/proc/(\d+/stat|self/ns/pid)"')
_PIDFILE_OPEN = "> subject.pid"
_PIDFILE, _MARK = "subject.pid", ".subject.pid.ended"
# What takes a pidfile away again when a step after it fails.
_UNDOING = ("unlink", "unlinkat", "ftruncate")
# What tells a daemon at its end that the pidfile is gone with its directory: then there is nothing to be said.
_GONE = ("ENOENT", "ENOTDIR", "ELOOP")
# strace does not close what it lets a close fail for; and what can't be asked whether it is ours is not ours to close.
_LEAVING_OPEN = ("close", "fstat")


@dataclass(frozen=True)
class Judged:
    """A case with its verdict."""

    case: Case
    verdict: str
    why: str
    """Of a defect: what is wrong."""
    text: str
    """The call that has failed, as strace has written it."""
    said: str
    """What launcher and log have said."""
    took: float
    """In seconds."""

    def __str__(self) -> str:
        return f"{self.case}: {self.why}\n  {self.text}\n  " + self.said.strip().replace("\n", "\n  ")


def judge_fault(case: Case, hit: Call, run: Run, reference: Run, after: Run | None, took: float) -> Judged:
    """Judge a run.

    :param hit: the call that has failed.
    :param reference: the same without a fault.
    :param after: the next start in the same place, if anything was left there.
    """
    verdict, why = _verdict(case, hit, run, reference)
    faults = [why, *left_behind(run, reference, after, may_leave_draft=hit.kind == "unlinkat")]
    if verdict in (REFUSED, UNTOLD) and "".join(left_by(run).values()) and hit.kind not in _UNDOING:
        faults.append(f"a refused start leaves {run.left}")
    if case.fault == "EINTR" and verdict not in (RIGHT, STOPPED):
        faults.append("an interrupted call is no error")
    why = "; ".join(filter(None, faults))
    return Judged(case, DEFECT if why else verdict, why, hit.text, said_by(run), took)


def said_by(run: Run) -> str:
    """Return what a run has said, for a person who looks for a defect's cause."""
    return f"{run.words}\nstatus {run.status}\nlog: {run.log}\nleft: {run.left}, end: {run.end}"


def _verdict(case: Case, hit: Call, run: Run, reference: Run) -> tuple[str, str]:
    if run.status is None and (run.facts is None or reference.status is not None):
        return DEFECT, "the launcher hangs"
    if run.status not in (None, 0):
        return _refused(hit, run) if case.call.phase == "start" else (DEFECT, "the start without a fault has failed")
    if run.facts is None:
        return DEFECT, "the launcher says that all is well, and there is no daemon"
    wrong = "; ".join(differences(hit, run, reference))
    if wrong:
        return DEFECT, wrong
    if case.call.phase == "start":
        return RIGHT, "" if run.end == 0 else f"SIGTERM ends it with wait status {run.end}"
    return _stopped(case, hit, run, reference)


def names_step_and_reason(run: Run) -> bool:
    """Whether the launcher has said where the start ended, and why."""
    told = _TOLD.search(run.words)
    return told is not None and told[1] in _STEPS and not _NO_REASON.search(told[2])


def _refused(hit: Call, run: Run) -> tuple[str, str]:
    if names_step_and_reason(run):
        return REFUSED, ""
    if is_reporting(hit):
        return UNTOLD, ""
    return DEFECT, "the launcher does not name step and reason"


def is_reporting(call: Call) -> bool:
    """Whether a call is part of telling: on a pipe of the start, or on the launcher's stderr."""
    argument = call.text.partition("(")[2]
    if call.kind == "poll":
        return "<pipe:" in argument
    return re.match(r"\d+<pipe:", argument) is not None or (call.role == "launcher" and argument.startswith("2<"))


def _stopped(case: Case, hit: Call, run: Run, reference: Run) -> tuple[str, str]:
    if run.end is None:
        return DEFECT, "SIGTERM does not end it"
    if run.end == 0 and run.log == reference.log and not any(left_by(run).values()):
        return STOPPED, ""
    if hit.kind in ("openat", "newfstatat") and case.fault in _GONE:
        return STOPPED, "" if run.end == 0 else f"it ends with wait status {run.end}"
    return LOGGED, "" if run.log != reference.log else f"it ends with wait status {run.end} and no word"


def differences(hit: Call, run: Run, reference: Run) -> list[str]:
    assert run.facts is not None
    assert reference.facts is not None
    found = [
        f"{name} is {getattr(run.facts, name)}, not {getattr(reference.facts, name)}"
        for name in _FACTS
        if getattr(run.facts, name) != getattr(reference.facts, name)
    ]
    for name in ("cwd", "root"):  # a new root is in the run's own directory
        path, right = getattr(run.facts, name), getattr(reference.facts, name)
        if os.path.basename(path) != os.path.basename(right):
            found.append(f"{name} is {path}, not like {right}")
    if not _is_as_open(hit, run, reference):
        found.append(f"open are {_targets(run)}, not {_targets(reference)}")
    if (run.pidfile is None) != (reference.pidfile is None) or run.pidfile not in (None, f"{run.facts.pid}\n"):
        found.append(f"the pidfile says {run.pidfile!r}")
    if run.held != reference.held:
        found.append(f"the pidfile is held: {run.held}")
    log = run.log.removeprefix(_told_in_the_log(run))
    if log != reference.log and hit.phase == "start":
        found.append("the log differs")
    if "READY=1" in reference.told and "READY=1" not in run.told and not _told_in_the_log(run):
        found.append("the service manager was not told, and the log does not say so")
    return found


def _is_as_open(hit: Call, run: Run, reference: Run) -> bool:
    open_now, expected = Counter(_targets(run)), Counter(_targets(reference))
    if hit.kind in _LEAVING_OPEN:
        return not expected - open_now
    return open_now == expected or (bool(_SEALING.search(hit.text)) and open_now - expected == Counter([_PIDFILE_OPEN]))


def _told_in_the_log(run: Run) -> str:
    told = _CANNOT_TELL.match(run.log)
    return told[0] if told is not None else ""


def _targets(run: Run) -> list[str]:
    assert run.facts is not None
    found = []
    for each in run.facts.descriptors:
        name = os.path.basename(each.target).removesuffix(" (deleted)")
        # The pidfile had no name when it was opened.
        target = _PIDFILE if name.startswith(("#", ".subject.pid.")) else name
        found.append(f"{each.number if each.number < 3 else '>'} {target}")
    return sorted(found)


def left_by(run: Run) -> dict[str, str]:
    """Return what is left; a pidfile whose mark says that its daemon has ended in order counts as an emptied one."""
    left = dict(run.left)
    if _PIDFILE in left and re.fullmatch(r"(\d+ \d+ \d+\n)?", left.get(_MARK, "no mark")):
        left[_PIDFILE] = "" if left.pop(_MARK) else left[_PIDFILE]
    return left


def left_behind(run: Run, reference: Run, after: Run | None, may_leave_draft: bool = False) -> list[str]:
    """Return what is wrong with what is left; the next start takes away a draft that this one could not."""
    found = [f"left running: {each}" for each in run.left_running]
    for name, text in left_by(run).items():
        if name == _PIDFILE and re.fullmatch(r"(\d+\n)?", text) is None:
            found.append(f"half a pidfile: {text!r}")
        if name != _PIDFILE and not (may_leave_draft and name.startswith(".subject.pid.")):
            found.append(f"left behind: {name}")
    if after is None:
        return found
    if after.facts is None or after.held != reference.held or left_by(after) != left_by(reference):
        found.append(f"the next start fails: {after.words}")
    return found
