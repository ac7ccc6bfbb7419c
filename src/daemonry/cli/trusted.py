"""Files that this command has written, and reads again: believed only where nobody else can have written them."""

from __future__ import annotations

import errno
import os
import stat

from ..system.closing import close
from ..system.safe_path import others_write

_READING = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_PIECE = 65_536


def bytes_of(path: str, directory_counts: bool = True) -> bytes | None:
    """Return what a file holds, ``None`` when there is none.

    :param directory_counts: whether nobody else may put other files in its place either.
    :raises OSError: also when it is no regular file, or others can have written it.
    """
    try:
        fd = os.open(path, _READING)
    except FileNotFoundError:
        return None
    try:
        _require_own(fd, path, directory_counts)
        return b"".join(iter(lambda: os.read(fd, _PIECE), b""))
    finally:
        close(fd)


def _require_own(fd: int, path: str, directory_counts: bool) -> None:
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "it is not a regular file", path)
    for each in (found, os.stat(os.path.dirname(path))) if directory_counts else (found,):
        if each.st_uid not in (0, os.geteuid()) or others_write(each):
            raise OSError(errno.EPERM, "others can have written it", path)
    if not directory_counts and found.st_nlink > 1:  # anybody may give another name to a file that isn't his; link(2)
        raise OSError(errno.EPERM, "it has another name", path)
