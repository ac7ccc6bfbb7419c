"""The mark of a daemon: a variable in the environment of all that it starts, and which processes bear it.

It says the daemon's number, birth and session. Others can set it, so it says nothing but that the very process which
bears it wants to end with that daemon; and of one that has ended only where the pidfile's seal says the same.
"""

from __future__ import annotations

import os
import struct
from contextlib import suppress

from ..system import libc, process

VARIABLE = "DAEMONRY_DAEMON"
_BEGINNING = f"\0{VARIABLE}=".encode()
_MOST_DIGITS = 20
_AT_PAGESZ, _AT_SECURE = 6, 23
_PAIRS = ("NN", "II")  # of this system's own programs, and of those of 32 bits on one of 64


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
    is_mark = len(words) == 3 and all(map(_is_number, words))
    return (int(words[0]), int(words[1]), int(words[2])) if is_mark else None


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS


def on(pid: int) -> str | None:
    """Return the mark that a process was started with, ``None`` where there is none, or it can't be seen.

    That of a program with more rights than who has started it, set-user-ID ones, is none: it is the word of that one.
    """
    _, found, after = (b"\0" + _content_of(f"/proc/{pid}/environ")).partition(_BEGINNING)
    return after.partition(b"\0")[0].decode("ascii", "replace") if found and not _is_lent(pid) else None


def _is_lent(pid: int) -> bool:
    """Whether an environment may be that of somebody with fewer rights; AT_SECURE in getauxval(3)."""
    data = _content_of(f"/proc/{pid}/auxv")
    for form in _PAIRS:
        whole = len(data) - len(data) % struct.calcsize(form)
        said = dict(struct.iter_unpack(form, data[:whole]))
        if _AT_PAGESZ in said and _AT_SECURE in said:
            return bool(said[_AT_SECURE])
    return True


def _content_of(path: str) -> bytes:
    with suppress(OSError), open(path, "rb", buffering=0) as file:
        return file.read()
    return b""


def disown() -> None:
    """Let this process, and what it forks, not be taken for a part of the daemon that has started it, if one has."""
    if VARIABLE in os.environ:
        libc.blank_variable(VARIABLE)
        del os.environ[VARIABLE]
