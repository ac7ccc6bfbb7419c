"""Where pidfiles and FIFOs of a run are: on a file system in memory, as /run is, so that no disk has a part in it."""

from __future__ import annotations

import os


def quiet_place() -> str | None:
    """Return a directory in memory in which this user may write; None for wherever temporary files go."""
    for directory in ("/dev/shm", os.environ.get("XDG_RUNTIME_DIR", "")):
        if os.access(directory, os.W_OK) and kind_of(directory) == "tmpfs":
            return directory
    return None


def kind_of(path: str) -> str:
    """Return the kind of the file system that a path is on, such as ``tmpfs``. proc_mounts(5)."""
    with open("/proc/self/mounts") as file:
        mounts = [line.split()[1:3] for line in file]
    above = [(at, kind) for at, kind in mounts if os.path.commonpath([at, os.path.realpath(path)]) == at]
    return max(above, key=lambda mount: len(mount[0]))[1]
