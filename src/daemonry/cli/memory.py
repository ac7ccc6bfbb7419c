"""How a daemon was started: kept when it is up, and believed only where nobody else can have written it."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager, suppress

from ..errors import ControlError
from ..system import process
from ..system.safe_path import at_directory
from . import cgroup, trusted
from .homes import make_directories

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from .homes import Target


class Memory:
    """The words of one start, and where they are kept; in a draft, until it has succeeded.

    :param pidfile: by which it is found, and ``log``, what it writes to.
    :param words: those behind ``daemonry start``.
    """

    def __init__(self, path: str, pidfile: str, log: str | None, words: list[str]) -> None:
        self._path = path
        self._draft = f"{path}.{os.getpid()}"
        directory = os.stat(".")
        self._kept: dict[str, Any] = {
            "words": words,
            "pidfile": pidfile,
            "log": log,
            "directory": os.getcwd(),
            "owner": directory.st_uid,
            "inode": directory.st_ino,
        }

    def write(self) -> None:
        """Write the draft. Not in the memory itself, which may be that of a daemon that runs, or gets up first."""
        drop_dead_drafts(self._path)
        # For its owner alone, for there may be passwords among the words, and whoever writes here chooses what is
        # executed by the next restart.
        fd = os.open(self._draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with open(fd, "wb") as file:
            os.fchmod(fd, 0o600)
            file.write(json.dumps(self._kept).encode())

    def keep(self, pid: int) -> None:
        """Let it be the memory, now that the daemon, ``pid``, is up and holds the pidfile."""
        self._kept["process"] = [pid, process.birth_of(pid)]
        self._kept["cgroup"] = any(number == pid for number, _, _ in cgroup.of_daemons(pid))
        self.write()
        os.replace(self._draft, self._path)

    def forget(self) -> None:
        """Take the draft away, if there is one."""
        with suppress(FileNotFoundError):
            os.unlink(self._draft)


def drop_dead_drafts(path: str) -> bool:
    """Take away what starts of this memory have left that were killed; return whether there was any."""
    directory, name = os.path.split(path)
    dropped = False
    for each in os.listdir(directory) if os.path.isdir(directory) else ():
        stem, _, number = each.rpartition(".")
        if stem == name and number.isdigit() and (int(number) == os.getpid() or not process.exists(int(number))):
            with suppress(FileNotFoundError):
                os.unlink(os.path.join(directory, each))
                dropped = True
    return dropped


@contextmanager
def drafted(target: Target | None, log: str | None, words: list[str]) -> Iterator[Memory | None]:
    """Have a draft of the memory during a start; ``None`` for a daemon without a name."""
    if target is None or target.memory is None:
        yield None
        return
    make_directories(target)
    memory, own = Memory(target.memory, target.pidfile, log, words), os.getpid()
    memory.write()
    try:
        yield memory
    finally:
        if os.getpid() == own:  # and not the daemon, which has become another process
            memory.forget()


_ADVICE = "say it again, after --"


def recall(target: Target, advice: str = _ADVICE) -> dict[str, Any]:
    """Return what was kept.

    :param advice: what to tell the user otherwise.
    :raises ControlError: when nothing was, or others can have written it.
    """
    try:
        data = trusted.bytes_of(target.memory) if target.memory is not None else None
        kept: Any = json.loads(data) if data is not None else None
    except (OSError, ValueError, RecursionError) as error:
        why = f" ({error.strerror})" if isinstance(error, OSError) else ""
        raise _is_unknown(target, advice, f"{target.memory} can't be read{why}") from error
    if data is None:
        raise _is_unknown(target, advice)
    if not _is_memory(kept):
        raise _is_unknown(target, advice, f"{target.memory} is not what `daemonry start` has written")
    known: dict[str, Any] = kept
    return known


def log_of(target: Target) -> str | None:
    """Return what a daemon wrote to when it was started last; the usual log where that isn't known."""
    try:
        log = recall(target).get("log")
    except ControlError:
        return target.log
    return log if isinstance(log, str) else target.log


def start_of(target: Target, pid: int, born: int) -> dict[str, Any] | None:
    """Return what was kept if it was of the start of this very process, which so was given a session of its own."""
    try:
        kept = recall(target)
    except ControlError:
        return None
    return kept if kept.get("process") == [pid, born] else None


def _is_unknown(target: Target, advice: str, reason: str | None = None) -> ControlError:
    why = f": {reason}" if reason is not None else ""
    message = f"nobody knows how {target.title} was started{why}; {advice}"
    return ControlError(None, message, target.pidfile)


def _is_memory(kept: Any) -> bool:
    if not isinstance(kept, dict):
        return False
    words = kept.get("words")
    return isinstance(words, list) and all(isinstance(each, str) for each in [*words, kept.get("directory")])


def enter(target: Target, kept: dict[str, Any]) -> None:
    """Go to the directory of the start.

    :raises ControlError: when somebody else has put another one in its place, from where he would have his own program
        started.
    :raises OSError: when it is gone.
    """
    with at_directory(kept["directory"]) as fd:
        found = os.fstat(fd)
        is_same = (found.st_uid, found.st_ino) == (kept.get("owner"), kept.get("inode"))
        if found.st_uid not in (0, os.geteuid()) and not is_same:
            raise _is_unknown(target, _ADVICE, f"{kept['directory']}, where that was, is another directory now")
        os.fchdir(fd)
