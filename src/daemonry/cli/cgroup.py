"""A control group of a daemon's own, which no process leaves by itself; see cgroups(7), version 2.

It lies in that of whoever has started the daemon, so what holds for that one (its limits, who ends it) holds on.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress

from ..system.process import content_of
from . import mark as marks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

# Where version 2 is: alone, or beside version 1.
_MOUNTS = ("/sys/fs/cgroup", "/sys/fs/cgroup/unified")
_PREFIX = "daemonry."
_LONGEST = 65_536
_ATTEMPTS = 5


def place_for_new() -> str | None:
    """Return the directory in which this user may make one, ``None`` where that can't be."""
    own = _path_of("self")
    if own is None:
        return None
    # A daemon that another one starts is its own, and doesn't end with that one.
    parts = own.split("/")
    above = next((index for index, part in enumerate(parts) if _mark_in(part) is not None), len(parts))
    directory = _directory_of("/".join(parts[:above]))
    if directory is None or not os.access(directory, os.W_OK):
        return None
    remove_empty(directory)  # of daemons that have ended by themselves
    return directory


def join_new(place: str, mark: str) -> None:
    """Make one for the daemon with this mark, which this process is, and go there; or do without."""
    directory = os.path.join(place, _PREFIX + mark)
    for _ in range(_ATTEMPTS):
        try:
            os.mkdir(directory, 0o755)
            _write(os.path.join(directory, "cgroup.procs"), b"0")
        except OSError as error:  # a threaded one above it, a limit of their number
            if error.errno in (errno.ENOENT, errno.ENODEV):  # another start has found it empty
                continue
            with suppress(OSError):
                os.rmdir(directory)
        return


def _write(path: str, data: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, data)
    finally:
        os.close(fd)


def of_daemons(member: int) -> Iterator[tuple[int, int, str]]:
    """Yield number and birth of each daemon whose cgroup a process is in, and the directory of that.

    Only this user or root can have made it, for in one of their own others can put whom they like.
    """
    parts = (_path_of(member) or "").split("/")
    for end, part in enumerate(parts, 1):
        said = _mark_in(part)
        directory = None if said is None else _directory_of("/".join(parts[:end]))
        if said is not None and directory is not None and _is_trusted(directory):
            yield said[0], said[1], directory


def _is_trusted(directory: str) -> bool:
    try:
        return os.stat(directory).st_uid in (0, os.geteuid())
    except OSError:  # it has just been removed
        return False


def _mark_in(name: str) -> tuple[int, int, int] | None:
    """Return what the name of a daemon's cgroup says; ``None`` for that of another one, such as ``daemonry.slice``."""
    return marks.read(name[len(_PREFIX) :]) if name.startswith(_PREFIX) else None


def members(directory: str) -> list[int]:
    """Return the numbers of those who are in it, or below."""
    found: list[int] = []
    # Asked each time: by now others can have put one of theirs in the place of an empty one.
    for each, _, _ in os.walk(directory) if _is_trusted(directory) else ():
        with suppress(OSError):  # it has just been removed
            found += map(int, content_of(os.path.join(each, "cgroup.procs"), _LONGEST).split())
    return [pid for pid in found if pid]  # zero: of another PID namespace


def kill(directory: str) -> bool:
    """Kill all of its members at once, and what they are just forking; return whether that can be done."""
    try:
        if not _is_trusted(directory):
            return False
        _write(os.path.join(directory, "cgroup.kill"), b"1")
    except OSError:  # Linux 5.13 and older
        return False
    return True


def remove_empty(place: str) -> None:
    """Take those away that lie there and have no members, nor any below them."""
    with suppress(OSError):
        for name in os.listdir(place):
            if _mark_in(name) is not None:
                _remove_empty(os.path.join(place, name))


def _remove_empty(directory: str) -> None:
    with suppress(OSError):
        # One that is used may have empty ones below it, which are its own.
        if b"populated 0" in content_of(os.path.join(directory, "cgroup.events")):
            for each, _, _ in os.walk(directory, topdown=False):
                os.rmdir(each)


def _path_of(pid: int | str) -> str | None:
    try:
        lines = os.fsdecode(content_of(f"/proc/{pid}/cgroup", _LONGEST)).splitlines()
    except OSError:
        return None
    path = next((line[3:] for line in lines if line.startswith("0::/")), None)
    # One outside of this process's own namespace of cgroups can't be found from here.
    return None if path is None or "/.." in path else path.rstrip("/")


def _directory_of(path: str) -> str | None:
    mount = next((each for each in _MOUNTS if os.path.exists(f"{each}/cgroup.procs")), None)
    return None if mount is None else mount + path
