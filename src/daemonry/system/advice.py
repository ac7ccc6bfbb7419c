"""What an error of the system was about and what to do, looked for where it happened; loaded when there is one."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress

from ..errors import advice_on

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_BY_EFFECTIVE_IDS = os.access in os.supports_effective_ids


def on(error: OSError, stood: str | None = None) -> str:
    """Return what to put behind an error's own words; empty where nothing more is known.

    :param stood: the directory in which the program stood when it was started; ``None`` when it never left it.
    """
    with suppress(OSError, ValueError):  # what the error is about can't be looked at: the error itself is told
        found = _on_path(error.errno, error.filename, stood)
        if found:
            return f"; {found}"
    return advice_on(error)


def _on_path(number: int | None, path: object, stood: str | None) -> str:
    if not isinstance(path, (str, bytes)) or not path:
        return ""
    text = os.fsdecode(path)
    return _not_from_here(number, text, stood) or _on_place(number, os.path.abspath(text))


def _not_from_here(number: int | None, path: str, stood: str | None) -> str:
    if number != errno.ENOENT or stood is None or os.path.isabs(path) or stood == os.getcwd():
        return ""
    # Of a file to be made, the directory is what is missing.
    for name in filter(None, (path, os.path.dirname(path))):
        if os.path.exists(os.path.join(stood, name)):
            return (
                f"{name} is in {stood}, but the working directory is {os.getcwd()}: "
                f"give its whole path, or working_directory={stood!r}"
            )
    return ""


def _on_place(number: int | None, path: str) -> str:
    if number == errno.ENOENT:
        missing = next((each for each in _parents(path) if not os.path.lexists(each)), None)
        return f"there is no directory {missing}" if missing else ""
    if number == errno.ENOTDIR:
        other = next((each for each in _parents(path) if not os.path.isdir(each)), None)
        return f"{other} is no directory" if other else ""
    if number == errno.EACCES:
        return _refused(path)
    if number == errno.ENOSPC:
        return _full(_mount_of(path))
    return f"the file system at {_mount_of(path)} is read-only: choose another place" if number == errno.EROFS else ""


def _full(mount: str) -> str:
    found = os.statvfs(mount)
    if found.f_files and not found.f_favail:
        return f"the file system at {mount} can have no more files: remove some there"
    return f"the file system at {mount} is full: make room there"


def _parents(path: str) -> Iterator[str]:
    """Yield the directories that lead to a path, from the root on."""
    parts = os.path.dirname(path).split("/")
    for end in range(1, len(parts) + 1):
        yield "/".join(parts[:end]) or "/"


def _refused(path: str) -> str:
    """Say where on its way to a path this process may not go on; nothing when it may do everything there."""
    user = f"user {os.geteuid()}"
    barred = next((each for each in _parents(path) if not _may(each, os.X_OK)), None)
    if barred is not None:
        return f"{user} may not pass through {barred}"
    if not os.path.lexists(path):
        directory = os.path.dirname(path)
        return "" if _may(directory, os.W_OK) else f"{user} may not write in {directory}"
    found = os.stat(path)
    mode = f"it is user {found.st_uid}'s, with mode {stat.S_IMODE(found.st_mode):04o}"
    return "" if _may(path, os.R_OK | os.W_OK) else f"{user} may not: {mode}"


def _may(path: str, how: int) -> bool:
    return os.access(path, how, effective_ids=_BY_EFFECTIVE_IDS)


def _mount_of(path: str) -> str:
    while not os.path.ismount(path) and path != "/":
        path = os.path.dirname(path)
    return path
