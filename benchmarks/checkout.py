"""The package as it is in this checkout, put where pip would put it."""

from __future__ import annotations

import compileall
import shutil
import sys
import sysconfig
from pathlib import Path

from .peers import HERE


def refresh() -> None:
    """Bring the copy of daemonry in ``benchmarks/.venv`` up to date, and compile what is to be measured there.

    In another environment what is installed there is measured.
    """
    if Path(sys.prefix) != HERE / ".venv":
        return
    ours = Path(sysconfig.get_path("purelib")) / "daemonry"
    shutil.rmtree(ours, ignore_errors=True)
    shutil.copytree(HERE.parent / "src" / "daemonry", ours, ignore=shutil.ignore_patterns("__pycache__"))
    for directory in (sysconfig.get_path("purelib"), str(HERE / "subjects")):
        compileall.compile_dir(directory, quiet=2)
