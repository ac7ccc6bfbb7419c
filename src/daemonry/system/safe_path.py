"""The way to a file with root's rights, through no link that others may have put on it."""

from __future__ import annotations

import errno
import os
import stat

from .closing import close
from .record import Record
from .user_namespace import is_outsiders

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

ADVICE = "remove it, or choose a directory that only root can write"
STANDING = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC
_LOOKING = getattr(os, "O_PATH", 0) | os.O_NOFOLLOW | os.O_CLOEXEC
_ENTERING = _LOOKING | os.O_DIRECTORY
# As many as the kernel follows; see path_resolution(7).
_MOST_LINKS = 40


class Place(Record):
    """Where a file is, or is to be, and what is known of the way there.

    ``flags`` are to be added to those that open ``name`` in ``directory``, a descriptor; ``None`` where the name is the
    whole path. ``guarded`` says whether others than root can put files there; ``moved``, only of a way gone for another
    user, whether they can put another directory in its place; ``linked``, whether the file is one that a link leads to.
    """

    directory: int | None
    name: str
    flags: int
    guarded: bool
    moved: bool = False
    linked: bool = False


def is_open_to_others(directory: os.stat_result) -> bool:
    """Whether others than root can put files there, and take away those of others."""
    return directory.st_uid != 0 or others_write(directory)


def others_write(found: os.stat_result) -> bool:
    """Whether the group or everybody may write."""
    return bool(found.st_mode & (stat.S_IWGRP | stat.S_IWOTH))


# Directories to which root has gone by a way of its own alone, by their paths: what is still the same one is reached
# right by whatever way.
_reached: dict[str, tuple[int, int]] = {}


def opened_directory(path: str) -> tuple[int, os.stat_result]:
    """Open a directory, which root reaches through no link of others'; return the descriptor, and what it is."""
    before = _reached.pop(path, None)
    if before is not None:
        fd, found = _opened(path)
        if before == (found.st_dev, found.st_ino):
            _reached[path] = before
            return fd, found
        close(fd)
    if os.geteuid() != 0:
        return _opened(path)
    if _is_roots_alone(path):
        fd, found = _opened(path)
        _reached[path] = found.st_dev, found.st_ino
        return fd, found
    with _walked(os.path.join(path, "."), lent=False) as place:
        return _opened(place.name, place.directory)


def _opened(path: str, directory: int | None = None) -> tuple[int, os.stat_result]:
    fd = os.open(path, STANDING, dir_fd=directory)
    try:
        return fd, os.fstat(fd)
    except BaseException:
        close(fd)
        raise


class at_directory:
    """Hold a directory open, as :func:`opened_directory` opens it; the block is given the descriptor."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> int:
        self._fd, _ = opened_directory(self._path)
        return self._fd

    def __exit__(self, *_exc_info: object) -> None:
        close(self._fd)


def reached(path: str, lent: bool = False) -> _AsItIs | _walked:
    """Go to a file's directory with root's rights, through no link that others may have put on the way.

    :param lent: whether it is for another user; then not even a link of root's is followed in the file's place, where
        others may have moved it, and the way ends where others could lead it elsewhere: from there on it is that
        user's.

    Source: path_resolution(7); openat2(2), RESOLVE_NO_SYMLINKS, is stricter than an administrator's own links allow.
    """
    # A link of root's in the file's place may lead where others have theirs, and is followed step by step.
    return _AsItIs(path) if _is_roots_alone(os.path.dirname(path)) and not os.path.islink(path) else _walked(path, lent)


class _AsItIs:
    """The way that the kernel goes by itself."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> Place:
        return Place(directory=None, name=self._path, flags=0, guarded=False)

    def __exit__(self, *_exc_info: object) -> None:
        pass


class _walked:
    """Go there as :func:`reached` does, where others can write on the way."""

    def __init__(self, path: str, lent: bool) -> None:
        self._path = path
        self._lent = lent

    def __enter__(self) -> Place:
        self._walk = _Walk(self._path, self._lent) if hasattr(os, "O_PATH") else None
        if self._walk is None:  # macOS, where a link can't be held while it is looked at
            return self._unwalked()
        try:
            return self._walk.to_its_end()
        except BaseException:
            close(self._walk.directory)
            raise

    def _unwalked(self) -> Place:
        above = os.path.dirname(self._path)
        guarded = is_open_to_others(os.stat(above))
        return Place(
            directory=None,
            name=self._path,
            flags=os.O_NOFOLLOW if guarded else 0,
            guarded=guarded,
            moved=self._lent and _can_be_moved(above),
            linked=os.path.islink(self._path),
        )

    def __exit__(self, *_exc_info: object) -> None:
        if self._walk is not None:
            close(self._walk.directory)


def _is_roots_alone(directory: str) -> bool:
    """Whether root alone can write to this directory and can change the way there, and none on it is a link.

    Then the kernel may go that way by itself: nobody can change it meanwhile.
    """
    try:
        root = found = os.lstat("/")
        way = ""
        for name in filter(None, directory.split("/")):
            above, way = found, f"{way}/{name}"
            found = os.lstat(way)
            if not stat.S_ISDIR(found.st_mode) or name == ".." or _can_be_replaced(above, found.st_uid):
                return False
            if found.st_dev != root.st_dev:
                # What is mounted on demand is looked at, and not what lies below it; see autofs(5).
                found = os.stat(f"{way}/.")
    except OSError:  # whoever opens it will say it
        return False
    return not is_open_to_others(found)


def _can_be_moved(directory: str) -> bool:
    """Whether anybody but root can put another directory, or a link to one, in the place of this one."""
    names = {name for path in (directory, os.path.realpath(directory)) for name in _with_parents(path)}
    return any(_can_be_replaced(os.stat(os.path.dirname(name)), os.lstat(name).st_uid) for name in names)


def _with_parents(path: str) -> Iterator[str]:
    while path != os.path.dirname(path):
        yield path
        path = os.path.dirname(path)


def _can_be_replaced(directory: os.stat_result, owner: int) -> bool:
    """Whether others than root can put something else in the place of what has this owner there."""
    is_kept = directory.st_uid == 0 and bool(directory.st_mode & stat.S_ISVTX) and owner == 0
    return is_open_to_others(directory) and not is_kept


class _Walk:
    """Steps from the root directory to a file."""

    def __init__(self, path: str, lent: bool) -> None:
        self._path = path
        self._lent = lent
        self._left = path.split("/")[::-1]
        self._links = 0
        self._moved = self._linked = False
        self.directory = os.open("/", STANDING)
        """Where it has come to."""

    def to_its_end(self) -> Place:
        """Go on until only the file's name is left, or until the way is another's."""
        while True:
            name = self._left.pop()
            if self._moved:
                return Place(directory=None, name=self._path, flags=0, guarded=True, moved=True)
            if self._left and name in ("", "."):
                continue
            try:
                if self._left and self._enters(name):
                    continue
                step = os.open(name or ".", _LOOKING, dir_fd=self.directory)
            except FileNotFoundError:
                if self._left:
                    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self._path) from None
                return self._place(name, os.O_NOFOLLOW)
            try:
                flags = self._go(name, step)
            finally:
                close(step)
            if flags is not None:
                return self._place(name or ".", flags)

    def _place(self, name: str, flags: int) -> Place:
        guarded = is_open_to_others(os.fstat(self.directory))
        return Place(directory=self.directory, name=name, flags=flags, guarded=guarded, linked=self._linked)

    def _enters(self, name: str) -> bool:
        """Enter what is a directory, and no link to one; return whether it is."""
        # Before anything is looked at: O_PATH alone doesn't mount what is mounted on demand, so that the walk would go
        # on in the empty directory below it; see open(2).
        try:
            self._enter(os.open(name, _ENTERING, dir_fd=self.directory))
        except OSError as error:
            # ENOTDIR is what Linux says of a link, too.
            if error.errno not in (errno.ENOTDIR, errno.ELOOP):
                raise
            return False
        return True

    def _go(self, name: str, step: int) -> int | None:
        """Go one step; return the flags to open the file with, if this is the last."""
        found = os.fstat(step)
        if stat.S_ISLNK(found.st_mode) and not self._is_of_proc():
            self._follow(name, found, os.readlink("", dir_fd=step))
        elif not self._left:
            # The kernel's own links, such as /proc/self/fd/1, are followed by the kernel: their text may be no path.
            return 0 if stat.S_ISLNK(found.st_mode) else os.O_NOFOLLOW
        elif stat.S_ISLNK(found.st_mode):
            self._enter(os.open(name, STANDING, dir_fd=self.directory))
        else:
            self._enter(os.dup(step))
        return None

    def _enter(self, directory: int) -> None:
        before, self.directory = self.directory, directory
        try:
            if self._lent:
                self._moved |= _can_be_replaced(os.fstat(before), os.fstat(directory).st_uid)
        finally:
            close(before)

    def _follow(self, name: str, link: os.stat_result, target: str) -> None:
        self._links += 1
        here = os.fstat(self.directory)
        if self._left and self._lent and _can_be_replaced(here, link.st_uid):
            self._moved = True
            return
        is_roots = link.st_uid == 0 and (self._left or not self._lent)
        if not is_roots and is_open_to_others(here) and not self._is_of_the_system(here):
            reason = f"{name} is a link, in a directory that others can write; {ADVICE}"
            raise OSError(errno.ELOOP, reason, self._path)
        if self._links > _MOST_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), self._path)
        self._linked |= not self._left
        if target.startswith("/"):
            self._restart()
        self._left += target.split("/")[::-1]

    def _restart(self) -> None:
        before, self.directory = self.directory, os.open("/", STANDING)
        close(before)

    def _is_of_the_system(self, here: os.stat_result) -> bool:
        # Root of a user namespace is an ordinary user outside, and takes the system's links as that user does.
        return not self._lent and not others_write(here) and is_outsiders(here, self.directory)

    def _is_of_proc(self) -> bool:
        try:
            return os.stat("/proc/self").st_dev == os.fstat(self.directory).st_dev
        except OSError:
            return False
