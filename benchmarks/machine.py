"""What the figures were seen with: the machine, without its name, and the versions."""

from __future__ import annotations

import datetime
import os
import platform
import re
import resource
import shutil
import subprocess
from importlib.metadata import distributions
from pathlib import Path

from .place import kind_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .bench import Bench

_LOCKS = ("filelock", "lockfile", "portalocker")


def circumstances(bench: Bench) -> dict[str, Any]:
    """Return what there is to be said of a run besides its rows."""
    packages = {*(subject.package for subject in bench.subjects if subject.package), *_LOCKS}
    installed = {found.metadata["Name"]: found.version for found in distributions()}
    return {
        "date": datetime.date.today().isoformat(),
        "rounds": bench.rounds,
        "machine": _machine(bench.runner.place),
        "versions": {**{name: installed[name] for name in sorted(packages & installed.keys())}, **_tools()},
    }


def _machine(place: Path) -> dict[str, str]:
    release = ".".join(platform.release().split(".")[:2])
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return {
        "system": f"{platform.system()} {release}, {platform.machine()}",
        "processors": f"{os.cpu_count()} of {_processor()}",
        "memory": f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GiB",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "user": "root" if os.geteuid() == 0 else "an ordinary user",
        "pidfiles": f"on {kind_of(str(place))}",
        "limit": f"RLIMIT_NOFILE {soft:,}, at most {hard:,}",
    }


def _processor() -> str:
    found = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1] if found else "an unknown kind"


def _tools() -> dict[str, str]:
    """Return the versions of the tools that are there."""
    found = {}
    for tool in ("start-stop-daemon", "daemon"):
        if shutil.which(tool):
            said = subprocess.run([tool, "--version"], capture_output=True, text=True, check=True).stdout
            found[tool] = (re.search(r"\d+(\.\d+)+", said) or [said])[0]
    return found
