"""What a program's own code does to its daemon: many cases in one program, each with a start of its own.

Each case is the text of a program. It runs in a fork of a program that has imported everything and inherits whatever
comes of it, as init would.
"""

from __future__ import annotations

import json
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.waiting import read_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.daemons import Daemons

# What a case finds. Its files are in HERE; the daemon that is to be stopped says so by up().
_NAMES = """
import atexit, contextlib, gc, json, logging, os, resource, shutil, signal, sys, syslog, threading, time, traceback
import daemonry
from daemonry import DaemonContext, DaemonStartError, PIDLockFile, Terminated
from daemonry.system import family, libc, process
from daemonry.control import find

class Odd(BaseException):
    pass

def tell(name, value=True):
    with open(f"{HERE}/{name}", "a") as file:
        file.write(f"{value}\\n")

def told(error):
    tell("told", f"{error.step}: {error.message}" if isinstance(error, DaemonStartError) else type(error).__name__)

def up(context):
    tell("up")
    context.wait()

class Context(DaemonContext):
    def __init__(self, **options):
        super().__init__(**{"pidfile": PIDLockFile(f"{HERE}/pid"), "detach_process": True, **options})
"""

_BENCH = """
def run(text):
    child = os.fork()
    if child == 0:
        # What is left to be done at the exit of a program of its own is its own as well.
        atexit._clear()
        os.chdir(HERE)
        for number, where in enumerate((os.devnull, "out", "err")):
            os.dup2(os.open(where, os.O_RDWR | os.O_CREAT | os.O_APPEND), number)
        exec(compile(text, "own", "exec"), globals())
        raise SystemExit
    return child

def children():
    return {each.pid for each in family.children()}

def ended(launcher):
    # A daemon that is up is told to end when its launcher has ended; everybody else ends by himself.
    statuses, stopped, deadline = {}, set(), time.monotonic() + 30
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return [statuses.pop(launcher), *statuses.values()]
        if pid:
            statuses[pid] = os.waitstatus_to_exitcode(status)
            continue
        if launcher in statuses and os.path.exists(f"{HERE}/up"):
            for pid in children() - stopped:
                os.kill(pid, signal.SIGTERM)
                stopped.add(pid)
        assert time.monotonic() < deadline, (text, children())
        time.sleep(0.001)

def files():
    found = {}
    for name in os.listdir(HERE):
        with contextlib.suppress(IsADirectoryError, FileNotFoundError):
            with open(f"{HERE}/{name}", errors="replace") as file:
                found[name] = file.read()
    return found

def is_locked():
    try:
        return PIDLockFile(f"{HERE}/pid").is_locked()
    except OSError as error:
        return str(error)

HERE = ROOT = os.getcwd()
libc.prctl()(libc.PR_SET_CHILD_SUBREAPER, 1)
with open(sys.argv[1]) as file:
    given = json.load(file)
with Context(detach_process=False, working_directory=".", umask=0o022):
    with contextlib.suppress(DaemonStartError):
        Context(detach_process=False).open()
gc.freeze()
results = {}
for number, (name, text) in enumerate(given.items()):
    HERE = f"{ROOT}/case-{number}"
    os.mkdir(HERE)
    results[name] = {"statuses": ended(run(text)), "locked": is_locked(), "files": files()}
    with contextlib.suppress(FileNotFoundError):
        os.unlink(f"{HERE}/up")
    next_start = ended(run("with Context() as context: up(context)"))
    results[name]["next"] = next_start, os.path.lexists(f"{HERE}/pid")
    shutil.rmtree(HERE)
with open(f"{ROOT}/results.new", "w") as file:
    json.dump(results, file)
os.rename(f"{ROOT}/results.new", f"{ROOT}/results")
"""


@dataclass(frozen=True)
class Result:
    """What became of a case."""

    launcher: int
    """The status of the first process; negative: the signal."""
    others: list[int]
    """The statuses of those that came of it and were left to init."""
    files: dict[str, str]
    """What stands in its files."""

    @property
    def told(self) -> str:
        """What its launcher was told, or raised."""
        return self.files.get("told", "").strip()

    @property
    def pidfile(self) -> str | None:
        """What stands in the pidfile."""
        return self.files.get("pid")


def judged(daemons: Daemons, programs: Mapping[str, str], next_works: bool = True) -> dict[str, Result]:
    """Run each program; return what became of it, when nothing is left that runs, and the next clean start works."""
    texts = {name: textwrap.dedent(text) for name, text in programs.items()}
    (daemons.directory / "given").write_text(json.dumps(texts))
    daemons.launch(_NAMES + _BENCH, "given", plain=True, timeout=300).check()
    results = {}
    for name, found in read_json(daemons.directory / "results", timeout=0).items():
        if next_works:
            assert found["locked"] is False, (name, found)
            assert found["next"] == [[0, 0], False], (name, found)
        launcher, *others = found["statuses"]
        results[name] = Result(launcher, others, found["files"])
    assert daemons.alive() == []
    return results


def with_block(body: str, options: str = "", before: str = "", kind: str = "Context") -> str:
    """Return a program whose body this is, and which tells and raises whatever comes out of the block."""
    return "\n".join(
        (
            textwrap.dedent(before),
            "try:",
            f"    with {kind}({options}) as context:",
            textwrap.indent(textwrap.dedent(body).strip(), " " * 8),
            "except BaseException as error:",
            "    told(error)",
            "    raise",
        )
    )
