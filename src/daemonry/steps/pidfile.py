"""The option ``pidfile``: the lock that it means, and what can be none."""

from __future__ import annotations

import os

from ..errors import InvalidOption
from ..system.record import Record
from . import filesystem

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from . import streams


class Pidfile(Record):
    """The context manager that is entered as the pidfile."""

    lock: Any

    @property
    def does_nothing(self) -> bool:
        """Whether there is none."""
        return self.lock is None

    def __str__(self) -> str:
        return "none" if self.lock is None else str(getattr(self.lock, "path", None) or repr(self.lock))


def lock_of(pidfile: Any) -> Any:
    """Return the lock that the option means: a path is that of a :class:`~daemonry.pidfile.lock.PidfileLock`.

    :raises InvalidOption: when it is a text that can't be a path.
    """
    if not isinstance(pidfile, (str, bytes, os.PathLike)):
        return pidfile
    path = filesystem.text_of(pidfile, "pidfile")
    from ..pidfile.lock import PidfileLock

    return PidfileLock(path)


def require_file_of_its_own(lock: Any, found: Iterable[streams.Stream]) -> None:
    path = getattr(lock, "path", None)
    for stream in found:
        # The log would be taken for a left-over, and taken away.
        if (
            isinstance(path, str)
            and isinstance(stream.source, str)
            and os.path.realpath(stream.source) == os.path.realpath(path)
        ):
            raise InvalidOption("pidfile", f"{path} is the file of {stream.name} already: choose another")


def require_usable_lock(lock: Any) -> None:
    if lock is None:
        return
    kinds = {f"{kind.__module__}.{kind.__qualname__}" for kind in type(lock).__mro__}
    if not (hasattr(type(lock), "__enter__") and hasattr(type(lock), "__exit__")):
        raise InvalidOption("pidfile", f"must be a path, or a context manager such as PIDLockFile(path), not {lock!r}")
    if "lockfile.sqlitelockfile.SQLiteLockFile" in kinds:
        raise InvalidOption("pidfile", "SQLiteLockFile has a connection, which the closing of descriptors would cut")
    if "lockfile.pidlockfile.PIDLockFile" in kinds and not os.path.isabs(lock.path):
        raise InvalidOption("pidfile", f"{lock.path} is relative: from another directory it could not be released")
    if getattr(lock, "i_am_locking", bool)():
        raise InvalidOption("pidfile", "this process holds the lock already; release it, the daemon will take it")
