"""A signal whose handler raises, before any line of the opening and the closing: nothing is lost, nothing is left."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING, Any

import pytest

from harness.size import times
from launcher_programs import UNMEASURED

if TYPE_CHECKING:
    from harness.daemons import Daemons
    from harness.evidence import Cases

pytestmark = pytest.mark.reliability("Signals at every call")

# Each case is a life in processes of its own. The program traces itself and, before the n-th line of the library's that
# the process in question runs, sends itself the signal: its handler raises right there.
PROGRAM = """
import contextlib, ctypes, json, os, signal, sys, syslog, time, traceback
import daemonry.launch.at_exit, daemonry.launch.audience, daemonry.body, daemonry.context, daemonry.opening
import daemonry.steps.uncaught
from daemonry import DaemonContext, PIDLockFile
from daemonry.launch import failures, launcher, witness
from daemonry.steps import telling

HERE = os.getcwd()
TELLING = daemonry.launch.audience, daemonry.steps.uncaught
SOURCES = {each.__file__ for each in (daemonry.launch.at_exit, *TELLING, daemonry.opening)}
DOORS = {(daemonry.context.__file__, name) for name in ("__enter__", "open", "__exit__")}
DOORS.add((daemonry.body.__file__, "close"))
SIGNAL = getattr(signal, sys.argv[1])
how, fate, who, every = sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5])
failures.prepare()
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
lines = generation = 0

def note(*words):
    with open("events", "a") as events:
        print(*words, os.getpid(), file=events)

def born():
    global generation, lines
    generation, lines = generation + 1, 0

os.register_at_fork(after_in_child=born)

def strike(frame, event, _):
    global lines
    code = frame.f_code
    if code.co_filename not in SOURCES and (code.co_filename, code.co_name) not in DOORS:
        return None
    if event == "line" and generation == who:
        lines += 1
        if lines == target:
            sys.settrace(None)
            with open("struck", "w") as struck:
                print(f"{frame.f_code.co_name}:{frame.f_lineno}", file=struck)
            signal.raise_signal(SIGNAL)
    return strike

class Context(DaemonContext):
    steps = (*DaemonContext.steps[:-1], "take", "fail_or_not", "notify_ready")

    def take(self):
        self.exit_stack.callback(note, "undone")
        note("taken")

    def fail_or_not(self):
        if fate == "step fails":
            note("failing")
            raise ValueError("the real reason")

def live():
    options = {} if how != "manual" else {"ready": "manual"}
    context = Context(
        detach_process=how != "foreground", working_directory=HERE, stderr="log", stdout="log",
        pidfile=PIDLockFile("pid"), prevent_core=False, **options,
    )
    sys.settrace(strike)
    try:
        with contextlib.ExitStack() as stack:
            if fate == "left to the exit":
                context.open()
            else:
                stack.enter_context(context)
            if fate == "body fails":
                note("failing")
                raise ValueError("the real reason")
            if fate != "ends unready":
                context.ready()
    finally:
        sys.settrace(None)
        if fate == "left to the exit":
            sys.settrace(strike)
        note("around")

def rest_ends():
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                time.sleep(0.001)
        except ChildProcessError:
            return True
    return False

def text(name):
    try:
        with open(name, errors="replace") as file:
            return file.read()
    except OSError:
        return ""

results = []
target = 0
while True:
    target += every
    for name in os.listdir():
        if name in ("events", "struck", "log", "said", "pid"):
            os.unlink(name)
    launcher = os.fork()
    if launcher == 0:
        generation = 1
        said = os.open("said", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(said, 1)
        os.dup2(said, 2)
        break
    status = os.waitstatus_to_exitcode(os.waitpid(launcher, 0)[1])
    ended = rest_ends()
    struck = text("struck").strip()
    events = [(name, int(pid)) for name, pid in (line.split() for line in text("events").splitlines())]
    result = dict(launcher=launcher, status=status, ended=ended, struck=struck, events=events)
    result.update(said=text("said"), log=text("log"), left=os.path.exists("pid"))
    results.append(result)
    if not struck:
        print(json.dumps(results), flush=True)
        os._exit(0)
live()
"""

# Who is struck: the launcher, which in the foreground is all there is, or the daemon.
LAUNCHER, DAEMON = 1, 3

# Nothing of these is in a block that could catch what is raised.
OUTSIDE = ("__enter__", "__exit__", "end")


def is_excused(result: dict[str, Any]) -> bool:
    """Whether the signal came when the error was the program's alone.

    One that arrives while an exception is on its way through the program's own lines takes its place, too; and where a
    start in the foreground has put back the disposition, SIGTERM ends the program as if there were no daemonry.
    """
    return result["status"] == -signal.SIGTERM or struck(result) in (*OUTSIDE, "_end", "is_open")


def struck(result: dict[str, Any]) -> str:
    return str(result["struck"]).partition(":")[0]


def faults_of(result: dict[str, Any], fate: str, signum: str) -> list[str]:
    """Say what is wrong with a life."""
    pids: dict[str, list[int]] = {}
    for name, pid in result["events"]:
        pids.setdefault(name, []).append(pid)
    faults = []
    if not result["ended"]:
        faults.append("a process is left")
    if result["left"]:
        faults.append("the pidfile is left")
    if pids.get("taken", []) != pids.get("undone", []):
        faults.append("what was taken is not given back once, by who took it")
    # Whoever opens it without a block runs what stands around that in the daemon as well.
    if (
        fate != "left to the exit"
        and struck(result) not in OUTSIDE
        and len(pids.get("around", [])) != (0 if result["status"] == -signal.SIGTERM else 1)
    ):
        faults.append("what stands around the block is not run once")
    told = result["said"] + result["log"]
    if "failing" in pids and "the real reason" not in told and not is_excused(result):
        faults.append("the error is lost")
    if fate == "step fails" and "failing" in pids and result["status"] == 0:
        faults.append("a start that failed ends with status 0")
    if result["status"] != 0 and signum == "SIGTERM" and "failing" not in pids and not said_why(result):
        faults.append("the launcher does not say why")
    return faults


def said_why(result: dict[str, Any]) -> bool:
    return result["status"] == -signal.SIGTERM or "cannot start the daemon: step " in result["said"]


@pytest.mark.parametrize("signum", ["SIGTERM", "SIGINT"])
@pytest.mark.parametrize("fate", ["ends", "left to the exit", "step fails", "body fails", "ends unready"])
@pytest.mark.parametrize(
    ("how", "who"),
    [("foreground", LAUNCHER), ("auto", LAUNCHER), ("auto", DAEMON), ("manual", DAEMON)],
    ids=["foreground", "auto-launcher", "auto-daemon", "manual-daemon"],
)
def test_a_signal_before_any_line_of_the_opening_and_closing_loses_and_leaves_nothing(
    daemons: Daemons, how: str, who: int, fate: str, signum: str, cases: Cases
) -> None:
    every = 1 if os.environ.get("FAULTS") == "all" else 30 // times(5)
    words = (signum, how, fate, who, every)
    launched = daemons.launch(PROGRAM, *words, env=UNMEASURED, timeout=120).check()
    results = json.loads(launched.stdout)
    wrong = [(found, result) for result in results if (found := faults_of(result, fate, signum))]
    assert not wrong, "\n\n".join(f"{found}\n{result}" for found, result in wrong)
    assert len(results) > 30 / every
    cases.add(len(results))
