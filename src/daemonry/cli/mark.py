"""The mark of a daemon: a variable in the environment of all that it starts, and which processes bear it.

It says the daemon's number, birth and session. Others can set it, so it is believed of a daemon that has ended only
where the pidfile's seal says the same; then it is never another daemon's that had this number.
"""

from __future__ import annotations

import os
from contextlib import suppress

from ..system import libc, process

VARIABLE = "DAEMONRY_DAEMON"
_BEGINNING = f"\0{VARIABLE}=".encode()


def of_this_process() -> str | None:
    """Return the mark for all that is started from here, ``None`` where there is no /proc to find it by."""
    if not os.path.exists("/proc/self/stat"):
        return None
    pid = os.getpid()
    return written(pid, process.birth_of(pid) or 0, os.getsid(0))


def written(pid: int, born: int, session: int) -> str:
    """Return the mark that says this."""
    return f"{pid}.{born}.{session}"


def read(text: str) -> tuple[int, int, int] | None:
    """Return number, birth and session as a mark says them, ``None`` when it is none."""
    words = text.split(".")
    is_mark = len(words) == 3 and all(each.isascii() and each.isdigit() for each in words)
    return (int(words[0]), int(words[1]), int(words[2])) if is_mark else None


def on(pid: int) -> str | None:
    """Return the mark that a process was started with, ``None`` where there is none, or it can't be seen."""
    data = b""
    with suppress(OSError), open(f"/proc/{pid}/environ", "rb", buffering=0) as file:
        data = b"\0" + file.read()
    _, found, after = data.partition(_BEGINNING)
    return after.partition(b"\0")[0].decode("ascii", "replace") if found else None


def disown() -> None:
    """Let this process, and what it forks, not be taken for a part of the daemon that has started it, if one has."""
    if VARIABLE in os.environ:
        libc.blank_variable(VARIABLE)
        del os.environ[VARIABLE]
