"""Where a daemon writes: the very file that it has open, or its usual log, and nothing that others have put there."""

from __future__ import annotations

import errno
import os
import stat

from ..control.daemon import find_surely
from ..errors import ControlError
from ..system import process
from ..system.closing import close
from ..system.safe_path import at_directory, is_open_to_others
from .log_view import READING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..control.daemon import Daemon
    from .places import Target

# As many as the kernel follows; see path_resolution(7).
_MOST_LINKS = 40
_ADVICE = "look at it as its user"


def open_log_of(target: Target) -> int:
    """Open the log of a daemon, and return its descriptor.

    :raises ControlError: when nobody knows where it writes.
    :raises OSError: when it can't be opened, or root would be shown what others have put there.
    """
    fd = _open_stream_of(target)
    if fd is None:
        fd = open_last_log_of(target)
    if fd is None:
        reason = f"nobody knows where {target.title} writes: it has no file, or can't be seen"
        raise ControlError(None, reason, target.pidfile)
    return fd


def open_last_log_of(target: Target) -> int | None:
    """Open what a daemon wrote to when it was started last, ``None`` when there is no such file.

    :raises OSError: as :func:`open_log_of` does.
    """
    log = target.log
    if target.memory is not None:
        from . import memory

        log = memory.log_of(target)
    return open_guarded(log) if log is not None and os.path.lexists(log) else None


def _open_stream_of(target: Target) -> int | None:
    """Open what the daemon itself has open as its standard output, or as its standard error."""
    try:
        daemon = find_surely(target.pidfile)
    except ControlError:
        return None
    if daemon is None:
        return None
    # A supervisor has a child that writes its logs.
    for pid in (daemon.pid, *(each.pid for each in process.everything() if each.parent == daemon.pid)):
        for number in (1, 2):
            fd = _open_regular(f"/proc/{pid}/fd/{number}")
            if fd is not None and _is_its_own(fd, pid, daemon):
                return fd
            if fd is not None:
                close(fd)
    return None


def _open_regular(link: str) -> int | None:
    try:
        if not stat.S_ISREG(os.stat(link).st_mode):
            return None
        fd = os.open(link, READING)
    except OSError:  # there is no /proc, or it is another user's
        return None
    if stat.S_ISREG(os.fstat(fd).st_mode):
        return fd
    close(fd)
    return None


def _is_its_own(fd: int, pid: int, daemon: Daemon) -> bool:
    """Whether what root has opened there could be read by that process, the daemon or its child, too.

    It may hold a file by O_PATH that it can't open; see open(2).
    """
    found = process.look(pid)
    if not daemon.is_running or found is None or daemon.pid not in (pid, found.parent):  # another has the number by now
        return False
    return os.geteuid() != 0 or bool({0, os.fstat(fd).st_uid} & _users_of(pid))


def _users_of(pid: int) -> set[int]:
    # Not the owner of /proc/PID, which is root where the process has changed its user; proc_pid_status(5).
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            return {int(word) for line in file if line.startswith(b"Uid:") for word in line.split()[1:]}
    except OSError:
        return set()


def open_guarded(path: str) -> int:
    """Open a log by its path to read it, and return its descriptor; root follows no link of others'.

    :raises OSError: also when it is no regular file, or may be another one that others have put there.
    """
    if os.geteuid() != 0:
        return _regular(os.open(path, READING), path)
    return _opened_by_root(os.path.abspath(path), _MOST_LINKS)


def _opened_by_root(path: str, links: int) -> int:
    above, name = os.path.split(path)
    with at_directory(above) as directory:
        guarded = is_open_to_others(os.fstat(directory))
        try:
            fd = os.open(name, READING | os.O_NOFOLLOW, dir_fd=directory)
        except OSError as error:
            error.filename = path  # not its name in a directory alone
            # ELOOP of Linux and macOS, EMLINK of FreeBSD: it is a link.
            if links == 0 or error.errno not in (errno.ELOOP, errno.EMLINK):
                raise
            if guarded:
                raise OSError(errno.EPERM, f"a link, in a directory that others can write; {_ADVICE}", path) from error
            target = os.readlink(name, dir_fd=directory)
            return _opened_by_root(os.path.join(above, target), links - 1)
        _regular(fd, path)
        if guarded and not _is_in_its_place(os.fstat(fd), os.fstat(directory)):
            close(fd)
            raise OSError(errno.EPERM, f"not surely its own, in a directory that others can write; {_ADVICE}", path)
        return fd


def _regular(fd: int, path: str) -> int:
    if stat.S_ISREG(os.fstat(fd).st_mode):
        return fd
    close(fd)
    raise OSError(errno.EINVAL, "not a regular file", path)


def _is_in_its_place(found: os.stat_result, directory: os.stat_result) -> bool:
    """Whether nobody but its owner can have put the file there, in a directory that others can write."""
    if found.st_uid == 0 and not (directory.st_uid == 0 and directory.st_mode & stat.S_ISVTX):
        return False
    return found.st_nlink == 1
