"""A log opened by its path: made, given to the daemon's user, and never something else that a stranger put there."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager

from .closing import close

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

# O_NOCTTY: a terminal named as a log must not become the controlling terminal of a session leader.
_ANY = os.O_CLOEXEC | os.O_NOCTTY
_APPENDING = os.O_WRONLY | os.O_APPEND | _ANY


def open_input(path: str) -> int:
    """Open a file to read from; answer its descriptor."""
    return os.open(path, os.O_RDONLY | _ANY)


def open_log(path: str, owner: tuple[int, int] | None) -> int:
    """Open a file to append to, and answer its descriptor; one that is made here gets mode 0640.

    Where others could put a link to something else in its place, root's rights don't reach what is not the owner's.

    :param owner: the user and the group to whom it is given, by root; ``None`` to give it to nobody.
    :raises OSError: when it can't be opened.

    Source: CERT POS35-C; CVE-2016-1247 is what comes of lending root's rights.
    """
    if owner is None:
        return _open_or_make(path, _APPENDING)[0]
    if _can_be_moved(os.path.dirname(path)):
        with _rights_of(*owner):
            return _open_or_make(path, _APPENDING)[0]
    return _open_and_give(path, owner)


def _open_or_make(path: str, flags: int) -> tuple[int, bool]:
    """Answer the descriptor, and whether the file was made here."""
    try:
        return os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o640), True
    except FileExistsError:
        pass
    # Not with O_CREAT at once, by which fs.protected_regular keeps root from other users' files in /tmp.
    try:
        return os.open(path, flags), False
    except FileNotFoundError:  # it is a link to a file that isn't there yet, or has just been moved away
        return os.open(path, flags | os.O_CREAT, 0o640), False


def _can_be_moved(directory: str) -> bool:
    """Whether anybody but root can put another directory, or a link to one, in the place of this one."""
    names = {name for path in (directory, os.path.realpath(directory)) for name in _with_parents(path)}
    for name in names:
        above = os.stat(os.path.dirname(name))
        sticky = above.st_mode & stat.S_ISVTX and os.lstat(name).st_uid == 0
        if above.st_uid != 0 or (_others_write(above) and not sticky):
            return True
    return False


def _with_parents(path: str) -> Iterator[str]:
    while path != os.path.dirname(path):
        yield path
        path = os.path.dirname(path)


def _others_write(found: os.stat_result) -> bool:
    return bool(found.st_mode & (stat.S_IWGRP | stat.S_IWOTH))


@contextmanager
def _rights_of(uid: int, gid: int) -> Iterator[None]:
    groups, group = os.getgroups(), os.getegid()
    try:
        os.setgroups([gid])
        os.setegid(gid)
        os.seteuid(uid)
        yield
    finally:
        os.seteuid(0)
        os.setegid(group)
        os.setgroups(groups)


def _open_and_give(path: str, owner: tuple[int, int]) -> int:
    directory = os.stat(os.path.dirname(path))
    guarded = directory.st_uid != 0 or _others_write(directory)
    number, made = _open_or_make(path, _APPENDING | os.O_NOFOLLOW if guarded else _APPENDING)
    try:
        found = os.fstat(number)
        plain = stat.S_ISREG(found.st_mode) and found.st_nlink == 1 and not os.path.islink(path)
        if guarded and stat.S_ISREG(found.st_mode) and found.st_nlink > 1:
            raise OSError(errno.EPERM, "another name of a file, in a directory that others can write", path)
        if made or (plain and not guarded and found.st_uid == 0):
            os.fchown(number, *owner)
    except OSError:
        close(number)
        raise
    return number
