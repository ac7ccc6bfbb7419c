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
# O_NONBLOCK, until it is open: a FIFO that nobody reads, or another's lease on the file, must not hold a start up.
_APPENDING = os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | _ANY
_MODE = 0o640
_LOOKING = getattr(os, "O_PATH", 0) | os.O_NOFOLLOW | os.O_CLOEXEC
# As many as the kernel follows; see path_resolution(7).
_MOST_LINKS = 40
_ADVICE = "remove it, or choose a directory that only root can write"


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
    if not _is_open_to_others(os.stat(os.path.dirname(path)) if directory is None else os.fstat(directory)):
        return
    found = os.fstat(number)
    if stat.S_ISREG(found.st_mode) and found.st_nlink > 1:
        raise OSError(errno.EPERM, f"another name of a file, in a directory that others can write; {_ADVICE}", path)
    if not stat.S_ISREG(found.st_mode) and found.st_uid != 0:
        raise OSError(errno.EPERM, f"no regular file, in a directory that others can write; {_ADVICE}", path)


@contextmanager
def reached(path: str, lent: bool = False) -> Iterator[tuple[int | None, str, int]]:
    """Go to a file's directory with root's rights, through no link that others may have put on the way.

    Yield the directory's descriptor, the file's name in it, and the flags to open it with.

    :param lent: whether it is for another user; then not even a link of root's is followed in the file's place, where
        others may have moved it.

    Source: path_resolution(7); openat2(2), RESOLVE_NO_SYMLINKS, is stricter than an administrator's own links allow.
    """
    if not hasattr(os, "O_PATH"):  # macOS, where a link can't be held while it is looked at
        guarded = _is_open_to_others(os.stat(os.path.dirname(path)))
        yield None, path, os.O_NOFOLLOW if guarded else 0
        return
    walk = _Walk(path, lent)
    try:
        name, flags = walk.to_its_end()
        yield walk.directory, name, flags
    finally:
        close(walk.directory)


class _Walk:
    """Steps from the root directory to a file."""

    def __init__(self, path: str, lent: bool) -> None:
        self._path = path
        self._lent = lent
        self._left = path.split("/")[::-1]
        self._links = 0
        self.directory = os.open("/", os.O_PATH | os.O_CLOEXEC)
        """Where it has come to."""

    def to_its_end(self) -> tuple[str, int]:
        """Go on until only the file's name is left; answer it, with the flags to open it with."""
        while True:
            name = self._left.pop() or "."
            try:
                step = os.open(name, _LOOKING, dir_fd=self.directory)
            except FileNotFoundError:
                if self._left:
                    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self._path) from None
                return name, os.O_NOFOLLOW
            try:
                flags = self._go(name, step)
            finally:
                close(step)
            if flags is not None:
                return name, flags

    def _go(self, name: str, step: int) -> int | None:
        """Go one step; answer the flags to open the file with, if this is the last."""
        found = os.fstat(step)
        if stat.S_ISLNK(found.st_mode) and not self._is_of_proc():
            self._follow(name, found, os.readlink("", dir_fd=step))
        elif not self._left:
            # The kernel's own links, such as /proc/self/fd/1, are followed by the kernel: their text may be no path.
            return 0 if stat.S_ISLNK(found.st_mode) else os.O_NOFOLLOW
        elif stat.S_ISLNK(found.st_mode):
            self._enter(os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self.directory))
        else:
            self._enter(os.dup(step))
        return None

    def _enter(self, directory: int) -> None:
        before, self.directory = self.directory, directory
        close(before)

    def _follow(self, name: str, link: os.stat_result, target: str) -> None:
        self._links += 1
        is_roots = link.st_uid == 0 and (self._left or not self._lent)
        if not is_roots and _is_open_to_others(os.fstat(self.directory)):
            reason = f"{name} is a link, in a directory that others can write; {_ADVICE}"
            raise OSError(errno.ELOOP, reason, self._path)
        if self._links > _MOST_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), self._path)
        if target.startswith("/"):
            self._enter(os.open("/", os.O_PATH | os.O_CLOEXEC))
        self._left += target.split("/")[::-1]

    def _is_of_proc(self) -> bool:
        try:
            return os.stat("/proc/self").st_dev == os.fstat(self.directory).st_dev
        except OSError:
            return False


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


def _is_open_to_others(directory: os.stat_result) -> bool:
    """Whether others than root can put files there, and take away those of others."""
    return directory.st_uid != 0 or _others_write(directory)


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


def _open_and_give(path: str, owner: tuple[int, int], mode: int) -> int:
    guarded = _is_open_to_others(os.stat(os.path.dirname(path)))
    with reached(path, lent=True) as (directory, name, flags):
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
