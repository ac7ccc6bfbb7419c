"""What a daemon says of its end where nobody listens: neither a log, nor a system log; kept in a file."""

from __future__ import annotations

import os
import stat
import sys
import time

from ..errors import ignored

# Which every user may write to, and which is there on every system.
_PLACE = "/tmp"
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def directory() -> str:
    """Return the directory in which the last words of this user's daemons are kept."""
    return f"{_PLACE}/daemonry-{os.geteuid()}"


def keep(lines: list[str]) -> None:
    """Append the lines to the file of this process; without a word where that can't be, for nobody could hear it."""
    with ignored(OSError):
        _make(directory())
        with open(_open(f"{directory()}/{_name()}"), "a", encoding="utf-8", errors="backslashreplace") as file:
            file.writelines(f"{line}\n" for line in (time.strftime("%Y-%m-%d %H:%M:%S"), *lines))


def _name() -> str:
    program = os.path.basename(getattr(sys, "argv", [""])[0] or "") or "python"
    return f"{program.lstrip('-.') or 'python'}.{os.getpid()}"


def _make(path: str) -> None:
    """Make a directory of our own, or see that it is one: anybody may have made something of that name."""
    with ignored(FileExistsError):
        os.mkdir(path, 0o700)
    found = os.lstat(path)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise PermissionError(f"{path} is somebody else's")


def _open(path: str) -> int:
    try:
        return os.open(path, _FLAGS, 0o600)
    except FileExistsError:  # it has said something before, as has perhaps one with the same number, long ago
        return os.open(path, _FLAGS & ~os.O_EXCL | os.O_APPEND, 0o600)
