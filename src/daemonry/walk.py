"""The way to a file, gone step by step with root's rights, through no link that others may have put on it."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager

from .closing import close

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

ADVICE = "remove it, or choose a directory that only root can write"
_LOOKING = getattr(os, "O_PATH", 0) | os.O_NOFOLLOW | os.O_CLOEXEC
_ENTERING = _LOOKING | os.O_DIRECTORY
# As many as the kernel follows; see path_resolution(7).
_MOST_LINKS = 40


def is_open_to_others(directory: os.stat_result) -> bool:
    """Whether others than root can put files there, and take away those of others."""
    return directory.st_uid != 0 or others_write(directory)


def others_write(found: os.stat_result) -> bool:
    """Whether the group or everybody may write."""
    return bool(found.st_mode & (stat.S_IWGRP | stat.S_IWOTH))


@contextmanager
def at_directory(path: str) -> Iterator[int]:
    """Hold a directory open, which root reaches through no link of others'."""
    flags = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC
    if os.geteuid() == 0:
        with reached(os.path.join(path, ".")) as (directory, name, _):
            fd = os.open(name, flags, dir_fd=directory)
    else:
        fd = os.open(path, flags)
    try:
        yield fd
    finally:
        close(fd)


@contextmanager
def reached(path: str, lent: bool = False) -> Iterator[tuple[int | None, str, int]]:
    """Go to a file's directory with root's rights, through no link that others may have put on the way.

    Yield the directory's descriptor, the file's name in it, and the flags to open it with.

    :param lent: whether it is for another user; then not even a link of root's is followed in the file's place, where
        others may have moved it.

    Source: path_resolution(7); openat2(2), RESOLVE_NO_SYMLINKS, is stricter than an administrator's own links allow.
    """
    if not hasattr(os, "O_PATH"):  # macOS, where a link can't be held while it is looked at
        guarded = is_open_to_others(os.stat(os.path.dirname(path)))
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
                if self._left and self._enters(name):
                    continue
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

    def _enters(self, name: str) -> bool:
        """Enter what is a directory, and no link to one; answer whether it is."""
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
        if not is_roots and is_open_to_others(os.fstat(self.directory)):
            reason = f"{name} is a link, in a directory that others can write; {ADVICE}"
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
