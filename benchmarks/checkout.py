"""The package as it is in this checkout, put where pip would put it."""

from __future__ import annotations

import compileall
import shutil
import sysconfig
from pathlib import Path

from .peers import HERE


def refresh() -> None:
    """Bring the environment's copy of daemonry up to date, and compile what is to be measured."""
    ours = Path(sysconfig.get_path("purelib")) / "daemonry"
    shutil.rmtree(ours, ignore_errors=True)
    shutil.copytree(HERE.parent / "src" / "daemonry", ours, ignore=shutil.ignore_patterns("__pycache__"))
    for directory in (sysconfig.get_path("purelib"), str(HERE / "subjects")):
        compileall.compile_dir(directory, quiet=2)
