"""Any program as a daemon, from the shell: start, status and stop, beside what Debian has for it."""

from __future__ import annotations

import shutil
import sys
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from ..launching import PATIENCE, Refused
from ..peers import OURS
from ..rows import Row

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..bench import Bench

STANDARD = "start-stop-daemon"


@dataclass(frozen=True)
class Commands:
    """The command lines of one tool; a word that is missing, it can't do."""

    start: list[str]
    status: list[str] | None = None
    stop: list[str] | None = None


def measure(bench: Bench) -> list[Row]:
    """Start a program, ask after it, and stop it."""
    tools = {name: each for name, each in _tools(bench).items() if shutil.which(each.start[0])}
    base = STANDARD if STANDARD in tools else None
    rows = [Row(f"shell-{what}", f"{what} from the shell", "ms", base) for what in ("start", "status", "stop")]
    bench.take_turns(rows, tools, lambda name: list(zip(rows, _life(bench, tools[name]))))
    return rows


def _life(bench: Bench, tool: Commands) -> list[float]:
    """Return how many milliseconds a start takes, and then those of the other commands that there are."""
    bench.runner.pidfile.unlink(missing_ok=True)
    with bench.runner.leaving_nothing():
        took = [_run(bench, tool.start)]
        _wait_for_pidfile(bench)  # not everybody's start does
        return [*took, *(_run(bench, words) for words in (tool.status, tool.stop) if words)]


def _wait_for_pidfile(bench: Bench) -> None:
    deadline = time.monotonic() + PATIENCE
    while not (bench.runner.pidfile.exists() and bench.runner.pidfile.read_text().strip()):
        if time.monotonic() > deadline:
            raise Refused("it writes no pidfile")
        time.sleep(0.005)


def _run(bench: Bench, words: list[str]) -> float:
    with closing(bench.runner.run(words)) as command:
        if command.exit_status() != 0:
            raise Refused(bench.runner.said())
        return (time.monotonic_ns() - command.executed) / 1e6


def _tools(bench: Bench) -> dict[str, Commands]:
    pidfile = str(bench.runner.pidfile)
    program = ["/bin/cat", str(bench.runner.place / "leash")]  # reads until this process is gone
    ours = str(Path(sys.executable).parent / "daemonry")
    named = ["daemon", f"--pidfile={pidfile}", "--name=benchmark"]
    standard = [STANDARD, "--quiet", "--pidfile", pidfile]
    return {
        STANDARD: Commands(
            [*standard, "--start", "--background", "--make-pidfile", "--exec", program[0], "--", program[1]],
            [*standard, "--status"],
            [*standard, "--stop", "--retry=TERM/5"],
        ),
        OURS: Commands(
            [ours, "start", "--quiet", "--settle", "0", "--pidfile", pidfile, "--", *program],
            [ours, "status", pidfile],
            [ours, "stop", "--quiet", pidfile],
        ),
        "daemon(1)": Commands([*named, "--", *program], [*named, "--running"], [*named, "--stop"]),
        "daemonize(1)": Commands(["daemonize", "-p", pidfile, *program]),
    }
