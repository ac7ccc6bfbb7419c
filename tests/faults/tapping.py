"""strace at one process, which counts its calls and lets one of them fail."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Tap:
    """strace at one process: whose calls, in the start or in the stop, and what it shall do with them."""

    role: str
    phase: str
    arguments: tuple[str, ...] = ()


def why_not() -> str | None:
    """Return why no call can be made to fail here; ``None`` when it can."""
    if shutil.which("strace") is None:
        return "strace, which lets calls fail, is not installed"
    with subprocess.Popen(["sleep", "60"]) as sleeper:
        try:
            strace, said = attach_to(sleeper.pid, Path(os.devnull))
            with strace:
                strace.terminate()
        finally:
            sleeper.kill()
    return None if "attached" in said else f"strace may not look into a process here: {said.strip()}"


def attach_to(pid: int, trace: Path, *arguments: str) -> tuple[subprocess.Popen[bytes], str]:
    """Put strace at one process; return it with its first words, once it counts, or can't."""
    command = ["strace", "-p", str(pid), "-y", "-s", "200", "-o", str(trace), *arguments]
    strace = subprocess.Popen(command, stderr=subprocess.PIPE)
    assert strace.stderr is not None
    return strace, strace.stderr.readline().decode(errors="replace")
