"""A file of a stream opened by its path, and never something else that a stranger put there.

A log is made where it is missing, and given to the daemon's user.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager

from ..system.closing import close
from ..system.safe_path import ADVICE, reached

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..system.safe_path import Place

# O_NOCTTY: a terminal named as a log must not become the controlling terminal of a session leader.
# O_NONBLOCK, until it is open: a FIFO that nobody reads, or writes, or another's lease on the file, must not hold a
# start up.
_ANY = os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
_READING = os.O_RDONLY | _ANY
_APPENDING = os.O_WRONLY | os.O_APPEND | _ANY
_MODE = 0o640


def open_input(path: str, owner: tuple[int, int] | None) -> int:
    """Open a file to read from, and return its descriptor.

    Where others could put something else in its place, it is opened with the owner's rights, and root, for itself,
    follows no link of theirs and takes no FIFO. Of a FIFO that nobody writes to the daemon reads an end of file.

    :param owner: the user and the group of a daemon that gives up root's rights; ``None`` for one that does not.
    :raises OSError: when it can't be opened.
    """
    with _told_with(path, "it is a socket"):
        number = _opened_to_read(path, owner)
    os.set_blocking(number, True)
    return number


def open_log(path: str, owner: tuple[int, int] | None, mode: int = _MODE) -> int:
    """Open a file to append to, and return its descriptor; one that is made here gets the mode.

    Where others could put a link to something else in its place, root's rights don't reach what is not the owner's.

    :param owner: the user and the group to whom it is given, by root; ``None`` to give it to nobody.
    :raises OSError: when it can't be opened.

    Source: CERT POS35-C; CVE-2016-1247 is what comes of lending root's rights.
    """
    with _told_with(path, "nobody reads from it: it is a FIFO, or a socket"):
        number = _opened_to_append(path, owner, mode)
    os.set_blocking(number, True)
    return number


@contextmanager
def _told_with(path: str, without_other_end: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENXIO:
            raise OSError(error.errno, without_other_end, path) from error
        error.filename = path  # not its name in a directory alone
        raise


def _opened_to_read(path: str, owner: tuple[int, int] | None) -> int:
    if owner is None and os.geteuid() != 0:
        return os.open(path, _READING)
    with reached(path, lent=owner is not None) as place:
        if owner is not None and (place.moved or place.guarded):
            with _rights_of(*owner):
                return os.open(path, _READING)
        number = os.open(place.name, _READING | place.flags, dir_fd=place.directory)
        with _closed_if_refused(number):
            _require_own(path, number, place)
        return number


def _opened_to_append(path: str, owner: tuple[int, int] | None, mode: int) -> int:
    if owner is None and os.geteuid() != 0:
        return _open_or_make(path, _APPENDING, mode)[0]
    with reached(path, lent=owner is not None) as place:
        if owner is not None and place.moved:
            with _rights_of(*owner):
                return _open_or_make(path, _APPENDING, mode)[0]
        number, made = _open_or_make(place.name, _APPENDING | place.flags, mode, place.directory)
        with _closed_if_refused(number):
            _require_own(path, number, place)
            if owner is not None:
                _give(number, owner, place, made)
        return number


def _open_or_make(path: str, flags: int, mode: int, directory: int | None = None) -> tuple[int, bool]:
    """Return the descriptor, and whether the file was made here."""
    try:
        return os.open(path, flags | os.O_CREAT | os.O_EXCL, mode, dir_fd=directory), True
    except FileExistsError:
        pass
    # Not with O_CREAT at once, by which fs.protected_regular keeps root from other users' files in /tmp.
    try:
        return os.open(path, flags, dir_fd=directory), False
    except FileNotFoundError:  # it is a link to a file that isn't there yet, or has just been moved away
        return os.open(path, flags | os.O_CREAT, mode, dir_fd=directory), False


@contextmanager
def _closed_if_refused(number: int) -> Iterator[None]:
    try:
        yield
    except OSError:
        close(number)
        raise


def _require_own(path: str, number: int, place: Place) -> None:
    """Refuse what others may have put there: another name of some file, a FIFO or a device of theirs."""
    if not place.guarded:
        return
    found = os.fstat(number)
    if stat.S_ISREG(found.st_mode) and found.st_nlink > 1:
        raise OSError(errno.EPERM, f"another name of a file, in a directory that others can write; {ADVICE}", path)
    if not stat.S_ISREG(found.st_mode) and found.st_uid != 0:
        raise OSError(errno.EPERM, f"no regular file, in a directory that others can write; {ADVICE}", path)


def _give(number: int, owner: tuple[int, int], place: Place, made: bool) -> None:
    found = os.fstat(number)
    plain = stat.S_ISREG(found.st_mode) and found.st_nlink == 1
    if not place.linked and (made or (plain and not place.guarded and found.st_uid == 0)):
        os.fchown(number, *owner)


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
