"""A log opened by its path: made, given to the daemon's user, and never something else that a stranger put there."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager

from .closing import close
from .walk import ADVICE, is_open_to_others, others_write, reached

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

# O_NOCTTY: a terminal named as a log must not become the controlling terminal of a session leader.
_ANY = os.O_CLOEXEC | os.O_NOCTTY
# O_NONBLOCK, until it is open: a FIFO that nobody reads, or another's lease on the file, must not hold a start up.
_APPENDING = os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | _ANY
_MODE = 0o640


def open_input(path: str) -> int:
    """Open a file to read from; answer its descriptor."""
    return os.open(path, os.O_RDONLY | _ANY)


def open_log(path: str, owner: tuple[int, int] | None, mode: int = _MODE) -> int:
    """Open a file to append to, and answer its descriptor; one that is made here gets the mode.

    Where others could put a link to something else in its place, root's rights don't reach what is not the owner's.

    :param owner: the user and the group to whom it is given, by root; ``None`` to give it to nobody.
    :raises OSError: when it can't be opened.

    Source: CERT POS35-C; CVE-2016-1247 is what comes of lending root's rights.
    """
    try:
        number = _opened(path, owner, mode)
    except OSError as error:
        if error.errno == errno.ENXIO:
            raise OSError(error.errno, "nobody reads from it: it is a FIFO, or a socket", path) from error
        error.filename = path  # not its name in a directory alone
        raise
    os.set_blocking(number, True)
    return number


def _opened(path: str, owner: tuple[int, int] | None, mode: int) -> int:
    if owner is None:
        return _open_guarded(path, mode) if os.geteuid() == 0 else _open_or_make(path, _APPENDING, mode)[0]
    if _can_be_moved(os.path.dirname(path)):
        with _rights_of(*owner):
            return _open_or_make(path, _APPENDING, mode)[0]
    return _open_and_give(path, owner, mode)


def _open_or_make(path: str, flags: int, mode: int, directory: int | None = None) -> tuple[int, bool]:
    """Answer the descriptor, and whether the file was made here."""
    try:
        return os.open(path, flags | os.O_CREAT | os.O_EXCL, mode, dir_fd=directory), True
    except FileExistsError:
        pass
    # Not with O_CREAT at once, by which fs.protected_regular keeps root from other users' files in /tmp.
    try:
        return os.open(path, flags, dir_fd=directory), False
    except FileNotFoundError:  # it is a link to a file that isn't there yet, or has just been moved away
        return os.open(path, flags | os.O_CREAT, mode, dir_fd=directory), False


def _open_guarded(path: str, mode: int) -> int:
    """Open a log with root's rights, for root."""
    with reached(path) as (directory, name, flags):
        number, _ = _open_or_make(name, _APPENDING | flags, mode, directory)
        try:
            _require_own(path, number, directory)
        except OSError:
            close(number)
            raise
        return number


def _require_own(path: str, number: int, directory: int | None) -> None:
    """Refuse what others may have put there: another name of some file, a FIFO or a device of theirs."""
    if not is_open_to_others(_directory_of(path, directory)):
        return
    found = os.fstat(number)
    if stat.S_ISREG(found.st_mode) and found.st_nlink > 1:
        raise OSError(errno.EPERM, f"another name of a file, in a directory that others can write; {ADVICE}", path)
    if not stat.S_ISREG(found.st_mode) and found.st_uid != 0:
        raise OSError(errno.EPERM, f"no regular file, in a directory that others can write; {ADVICE}", path)


def _directory_of(path: str, directory: int | None) -> os.stat_result:
    return os.stat(os.path.dirname(path)) if directory is None else os.fstat(directory)


def _can_be_moved(directory: str) -> bool:
    """Whether anybody but root can put another directory, or a link to one, in the place of this one."""
    names = {name for path in (directory, os.path.realpath(directory)) for name in _with_parents(path)}
    for name in names:
        above = os.stat(os.path.dirname(name))
        sticky = above.st_mode & stat.S_ISVTX and os.lstat(name).st_uid == 0
        if above.st_uid != 0 or (others_write(above) and not sticky):
            return True
    return False


def _with_parents(path: str) -> Iterator[str]:
    while path != os.path.dirname(path):
        yield path
        path = os.path.dirname(path)


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


def _open_and_give(path: str, owner: tuple[int, int], mode: int) -> int:
    with reached(path, lent=True) as (directory, name, flags):
        guarded = is_open_to_others(_directory_of(path, directory))
        number, made = _open_or_make(name, _APPENDING | flags, mode, directory)
        try:
            _require_own(path, number, directory)
            found, linked = os.fstat(number), os.path.islink(path)
            plain = stat.S_ISREG(found.st_mode) and found.st_nlink == 1
            if not linked and (made or (plain and not guarded and found.st_uid == 0)):
                os.fchown(number, *owner)
        except OSError:
            close(number)
            raise
        return number
