"""Who is measured: the subjects by name, and how each is started."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
BARE = "bare script"
AGAIN = "the same again"
OURS = "daemonry"


@dataclass(frozen=True)
class Subject:
    """One of those that are measured.

    :param name: as the report calls it.
    :param words: the command line that starts it, without the words of its job.
    :param package: the distribution whose version is told; None for none.
    :param imports: the statement by which a program imports it.
    :param needs_pidfile: whether it can't be started without one.
    """

    name: str
    words: tuple[str, ...]
    package: str | None = None
    imports: str = "pass"
    needs_pidfile: bool = False

    @property
    def is_python(self) -> bool:
        """Whether it is a Python program, which can hold objects and import modules."""
        return self.words[0] == sys.executable


def _script(name: str, file: str, package: str | None = None, imports: str = "pass", needs: bool = False) -> Subject:
    return Subject(name, (sys.executable, str(HERE / "subjects" / file)), package, imports, needs)


def subjects(place: Path) -> list[Subject]:
    """Return all subjects; the one in C is compiled into a directory, and left out where there is no compiler."""
    found = [
        _script(BARE, "bare.py"),
        _script(AGAIN, "bare.py"),
        _script(OURS, "with_daemonry.py", OURS, "from daemonry import DaemonContext, PIDLockFile"),
        _script("python-daemon", "with_python_daemon.py", "python-daemon", "import daemon.pidfile"),
        _script("pep3143daemon", "with_pep3143daemon.py", "pep3143daemon", "import pep3143daemon"),
        _script("daemonize", "with_daemonize.py", "daemonize", "import daemonize", needs=True),
        _script("daemoniker", "with_daemoniker.py", "daemoniker", "import daemoniker", needs=True),
        _script("daemonocle", "with_daemonocle.py", "daemonocle", "import daemonocle"),
    ]
    program = compiled(HERE / "subjects" / "bare.c", place)
    return found if program is None else [*found, Subject("bare, in C", (str(program),))]


def compiled(source: Path, place: Path) -> Path | None:
    """Compile a C program into a directory; return it, or None where there is no compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    program = place / source.stem
    subprocess.run([compiler, "-O2", "-o", program, source], check=True)
    return program
