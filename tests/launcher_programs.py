"""Programs whose start goes one way or another, and that publish what became of it in their launcher."""

from __future__ import annotations

import os
import textwrap

# A handler that raises in the middle of coverage's own code leaves its lock taken.
UNMEASURED = dict.fromkeys(name for name in os.environ if name.startswith("COVERAGE_"))

_PRELUDE = """
import os, signal, sys, threading, time
from functools import partialmethod
import daemonry

# A good part of what such a program takes would be the import of harness.probe; most don't need it.
def facts():
    import harness.probe
    return harness.probe.facts().to_json()

def publish(path, value):
    import json
    with open(f"{path}.{os.getpid()}", "w") as file:
        json.dump(value, file)
    os.replace(file.name, path)

def snapshot():
    numbers = [number for number in signal.valid_signals() if number < 32]
    return {
        "descriptors": sorted(os.listdir("/proc/self/fd")),
        "handlers": {number: str(signal.getsignal(number)) for number in numbers},
        "mask": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
        "directory": os.getcwd(),
        "wakeup": signal.set_wakeup_fd(-1),
        "variables": dict(os.environ),
    }

def children():
    try:
        return os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return None

def tell(path, error, **more):
    names = ("step", "errno", "message", "pid", "signum", "status", "traceback", "survivors")
    publish(path, {
        "kind": type(error).__name__, "text": str(error), "cause": str(error.__cause__), "pid_here": os.getpid(),
        "children": children(), **{name: getattr(error, name) for name in names}, **more,
    })

class Context(daemonry.DaemonContext):
    steps = (*daemonry.DaemonContext.steps[:-1], "begin_work", "notify_ready")

    def begin_work(self):
        pass
"""

# Patience for those who don't end when they are asked to, so that a test needn't wait the real five seconds.
IMPATIENT = """
import daemonry.launch.launcher, daemonry.launch.witness
daemonry.launch.launcher.GRACE = daemonry.launch.witness.GRACE = 0.2
"""


def program(text: str) -> str:
    """Return a program that finds the names of the prelude."""
    return _PRELUDE + textwrap.dedent(text)


def failing(work: str, *, before: str = "", place: str = "step", options: str = "") -> str:
    """Return a program whose start ends in ``work``, and whose launcher publishes the error as ``told``.

    :param before: what the launcher does first.
    :param place: ``"step"``, the last one before the body, or ``"body"`` of a context with ``ready="manual"``.
    :param options: further options of the context.
    """
    in_step = textwrap.indent(textwrap.dedent(work).strip() if place == "step" else "pass", " " * 8)
    in_body = textwrap.indent(textwrap.dedent(work).strip() if place == "body" else "pass", " " * 8)
    ready = "manual" if place == "body" else "auto"
    return f"""{_PRELUDE}{textwrap.dedent(before)}
class Failing(Context):
    def begin_work(self):
{in_step}

before = snapshot()
try:
    with Failing(working_directory=".", pidfile=daemonry.PIDLockFile("pid"), ready={ready!r}, {options}) as context:
{in_body}
except daemonry.DaemonStartError as error:
    tell("told", error, before=before, after=snapshot())
print("after")
"""


def work(path: str) -> None:
    """Live until a signal comes, as a worker of multiprocessing, which imports what it runs."""
    import os
    import signal

    from harness.probe import publish

    publish(path, os.getpid())
    signal.pause()
