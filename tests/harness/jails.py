"""Programs that are there inside another root directory, with what they need and nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path


def bring_in(jail: Path, program: str) -> str:
    """Copy a program and the libraries that it loads into a root directory; return its path, in there as here."""
    path = shutil.which(program)
    assert path is not None
    words = subprocess.run(["ldd", path], check=True, capture_output=True, text=True).stdout.split()
    for each in (path, *filter(os.path.isabs, words)):
        inside = Path(f"{jail}{each}")
        inside.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(each, inside)
    return path
