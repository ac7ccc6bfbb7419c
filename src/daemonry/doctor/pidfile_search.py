"""The pidfile of the process: the one that is given, or one among the files that it has open."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress

from ..pidfile import kernel_lock
from ..pidfile.reading import holder_of, opened, pid_in
from ..system.record import Record
from .open_file import DELETED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from ..pidfile.reading import Holder
    from .open_file import Descriptor


class Pidfile(Record):
    """A pidfile: ``number`` is the process on its first line, ``path`` as far as it is known.

    ``holder`` is the process whose seal it bears; ``unseen`` is whether that lives and can't be seen from here.
    """

    path: str
    found: os.stat_result
    number: int | None
    locked: bool
    holder: int | None
    unseen: bool


class NoPidfile(Exception):
    """What is wrong with what is at the pidfile's path."""


def at(path: str) -> Pidfile | None:
    """:raises NoPidfile: when what is there is none."""
    try:
        with opened(path) as found:
            return None if found is None else _behind(found[1], path, holder_of(found[1], found[0]))
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM):
            raise PermissionError(error.errno, str(error)) from error
        raise NoPidfile(str(error).rpartition(f"{path}: ")[2]) from error


def among(
    descriptors: tuple[Descriptor, ...],
    numbers: list[int],
    reopened: Callable[[Descriptor], AbstractContextManager[int]],
) -> Pidfile | None:
    """Look for one that has any of the process's numbers, else for one that it has locked."""
    candidates = []
    for each in descriptors:
        # No larger than postmaster.pid gets. To open a file is not without effects, see fcntl(2), "Leases".
        if stat.S_ISREG(each.found.st_mode) and 0 < each.found.st_size <= 4096:
            with suppress(OSError), reopened(each) as fd:
                candidates.append((_behind(fd, _path_of(each), None), each.is_locked))
    own = [found for found, _ in candidates if found.number in numbers]
    locked = [found for found, is_locked in candidates if is_locked and found.path.endswith(".pid")]
    return next(iter((*own, *locked)), None)


def _behind(fd: int, path: str, holder: Holder | None) -> Pidfile:
    return Pidfile(
        path=path,
        found=os.fstat(fd),
        number=pid_in(fd),
        locked=kernel_lock.holder(fd) is not None,
        holder=holder.pid if holder is not None and holder.certain else None,
        unseen=holder is not None and holder.is_unseen,
    )


def _path_of(descriptor: Descriptor) -> str:
    """Return the file's name, also when it got that after it was opened, as a file of O_TMPFILE does."""
    if not descriptor.target.endswith(DELETED) or descriptor.has_lost_its_name:
        return descriptor.target
    directory = os.path.dirname(descriptor.target)
    with suppress(OSError), os.scandir(directory) as entries:
        for entry in entries:
            if entry.inode() == descriptor.found.st_ino and os.path.samestat(entry.stat(), descriptor.found):
                return entry.path
    return descriptor.target
