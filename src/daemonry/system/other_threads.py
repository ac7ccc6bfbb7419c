"""Other threads of the process that this one was forked from: a lock that one of them held is held for good here.

logging makes its own locks anew in a forked child. Those of the files below, in Python's io, nobody can: so nothing
waits for one of them, and a file gets a new object.
"""

from __future__ import annotations

import _thread
import atexit
import io

from ..errors import ignored
from .closing import above_two, close, put

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import IO, Any


def within(seconds: float, work: Callable[[], object]) -> None:
    """Do some work that may come upon a lock which is held for good; leave it to itself when it takes longer."""
    done = _thread.allocate_lock()
    done.acquire()

    def run() -> None:
        try:
            with ignored(Exception):
                work()
        finally:
            done.release()

    # No signal gets a thread out of waiting for a file's lock. Where no other can be started, it is left undone.
    with ignored(RuntimeError):
        _thread.start_new_thread(run, ())
        done.acquire(timeout=seconds)


def renewed(file: Any) -> IO[str] | None:
    """Return a new object to write to a text file's descriptor by, ``None`` for what is no text file with one.

    What the old one holds is dropped, for it is the launcher's, whose thread writes it. The old one keeps the
    descriptor, and may be used by who has kept it, if its lock is free.
    """
    if not isinstance(file, io.TextIOWrapper) or file.closed:
        return None
    try:
        number = file.fileno()
    except (OSError, ValueError):
        return None
    abandon(file)
    buffering = 1 if file.line_buffering else -1
    return open(number, "w", buffering, file.encoding, file.errors, closefd=False)


_abandoned: list[Any] = []


def abandon(file: object) -> None:
    """Keep an object that nobody may close: by it Python would wait for its lock at the exit, and abort."""
    _abandoned.append(file)


@atexit.register
def _count_as_closed() -> None:
    # Below the lock: the layers above then count as closed, and don't take it.
    for file in _abandoned:
        with ignored(AttributeError, ValueError, OSError):
            _close_raw(file.buffer.raw)


def _close_raw(raw: Any) -> None:
    if not raw.closefd:
        raw.close()
        return
    number = raw.fileno()  # the new object has it still
    copy = above_two(number)
    try:
        raw.close()
        put(copy, number, inheritable=False)
    finally:
        close(copy)
