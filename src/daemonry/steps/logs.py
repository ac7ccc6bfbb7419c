"""Logging handlers kept, flushed, let go and reopened."""

from __future__ import annotations

import errno
import os
import stat
import sys
import time

from ..errors import ignored
from ..system import forks, other_threads
from ..system.closing import close, put

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

# Where the handlers of the standard library, and most others, hold what they write to.
_FILE_ATTRIBUTES = ("stream", "sock", "socket")
# Seconds that a flush may take in a process whose handlers may be locked for good.
_LONGEST_FLUSH = 2.0


def handlers() -> list[Any]:
    """Return the handlers of the root logger and of every other; none when nobody has imported logging."""
    logging = sys.modules.get("logging")
    if logging is None:
        return []
    loggers = [logging.getLogger(), *logging.Logger.manager.loggerDict.values()]
    # A PlaceHolder stands for a logger that only has children: it has no handlers.
    return _with_those_behind(handler for logger in loggers for handler in getattr(logger, "handlers", ()))


def _with_those_behind(some: Iterable[Any]) -> list[Any]:
    """Return the handlers and those that they hand to: a MemoryHandler's target, a QueueHandler's listener's."""
    logging: Any = sys.modules["logging"]
    found: dict[int, Any] = {}
    waiting = list(some)
    while waiting:
        handler = waiting.pop(0)
        if isinstance(handler, logging.Handler) and id(handler) not in found:
            found[id(handler)] = handler
            behind = getattr(getattr(handler, "listener", None), "handlers", ())
            waiting += [getattr(handler, "target", None), *behind]
    return list(found.values())


def files_of(item: object) -> list[int] | None:
    """Return the descriptors of a logging handler or of a logger's handlers, ``None`` for anything else."""
    logging: Any = sys.modules.get("logging")
    if logging is None:
        return None
    if isinstance(item, logging.LoggerAdapter):
        item = item.logger
    if isinstance(item, logging.Logger):
        return _descriptors(item.handlers)
    return _descriptors([item]) if isinstance(item, logging.Handler) else None


def descriptors() -> list[int]:
    """Return the descriptors that the handlers write to."""
    return _descriptors(handlers())


def _descriptors(some: Iterable[Any]) -> list[int]:
    if "logging" not in sys.modules:
        return []
    return sorted({number for handler in _with_those_behind(some) for number in _numbers_of(handler)})


def _numbers_of(handler: Any) -> list[int]:
    return [number for name in _FILE_ATTRIBUTES for number in _number_of(getattr(handler, name, None))]


def _number_of(file: Any) -> list[int]:
    # Handlers of others hold all kinds of things under these names: only what tells its descriptor has one.
    try:
        number = file.fileno()
    except (AttributeError, TypeError, ValueError, OSError):
        return []
    return [number] if isinstance(number, int) and number >= 0 else []


def flush_queues() -> None:
    """Let the listeners that hand on what others have queued do so, for some seconds: their threads end with the fork.

    What stays in a queue is handed on by the listener that the daemon starts, and by its launcher as well.
    """
    handlers: Any = sys.modules.get("logging.handlers")
    threading: Any = sys.modules.get("threading")
    if handlers is None or threading is None:
        return
    listeners = [getattr(getattr(each, "_target", None), "__self__", None) for each in threading.enumerate()]
    queues = [each.queue for each in listeners if isinstance(each, handlers.QueueListener)]
    deadline = time.monotonic() + _LONGEST_FLUSH
    while any(map(_has_records, queues)) and time.monotonic() < deadline:
        time.sleep(0.005)


def _has_records(queue: Any) -> bool:
    # Not all kinds of queues count those that are being handed on.
    return bool(getattr(queue, "unfinished_tasks", 0)) or not queue.empty()


def flush() -> None:
    """Write out what the handlers hold; as far as that can be done in some seconds, where it may not be possible."""
    if forks.threads_are_lost():
        other_threads.within(_LONGEST_FLUSH, _flush_each)
    else:
        _flush_each()


def _flush_each() -> None:
    for handler in handlers():
        # Closed, its file full, or a mistake in it: the program meets that again when it uses the handler.
        with ignored(Exception):
            handler.flush()


def let_go(kept: Iterable[int]) -> None:
    """Close the handlers whose descriptors are not ``kept``: they would go on using numbers that are other files'."""
    lost = {number for number in descriptors() if number > 2}.difference(kept)
    for handler in handlers() if lost else ():
        if lost.intersection(_numbers_of(handler)):
            _close(handler)


def _close(handler: Any) -> None:
    files: list[Any] = [getattr(handler, name, None) for name in _FILE_ATTRIBUTES]
    if forks.threads_are_lost():
        # Below the lock that may be held for good: the layers above then count as closed, and don't take it.
        for each in files:
            with ignored(AttributeError, ValueError, OSError):
                each.buffer.raw.close()
    for each in (handler, *files):
        # A StreamHandler leaves its stream open, and others have nothing more to close.
        with ignored(AttributeError, ValueError, OSError):
            each.close()


def renew_files(by: dict[int, Any]) -> None:
    """Give the handlers new objects for the files whose locks may be held for good by a thread of the launcher's.

    :param by: for an object's id the one that has taken its place already, as that of a stream has.
    """
    for handler in handlers():
        for name in _FILE_ATTRIBUTES:
            file = getattr(handler, name, None)
            new = by.get(id(file)) or other_threads.renewed(file)
            if new is not None:
                setattr(handler, name, new)


_outside_root: list[Any] = []


def prepare() -> None:
    """Load what reopening a file takes, for a daemon that can't find it any more inside another root directory."""
    from . import log_file  # noqa: F401


def follow_root(root: str) -> None:
    """Name the files of logging handlers as they are named inside the root directory that has just been changed to.

    So they can be reopened, or rotated by their own handlers.
    """
    logging: Any = sys.modules.get("logging")
    start = root.rstrip("/") + "/"
    for handler in handlers():
        if isinstance(handler, logging.FileHandler):
            if handler.baseFilename.startswith(start):
                handler.baseFilename = handler.baseFilename[len(start) - 1 :]
            else:
                _outside_root.append(handler)


# The new file is put under the number of the old one. Not by giving the handler another stream: this may run in a
# signal handler that has interrupted the very write.
def reopen() -> list[OSError]:
    """Open again, by its path, each file of a logging handler that a log rotation has moved away.

    Return the errors of those that can't be opened; they stay as they were.
    """
    logging: Any = sys.modules.get("logging")
    errors = []
    for handler in handlers():
        if isinstance(handler, logging.FileHandler):
            for number in _number_of(handler.stream):
                try:
                    _reopen(handler, number)
                except OSError as error:
                    errors.append(error)
    return errors


def _reopen(handler: Any, number: int) -> None:
    path = handler.baseFilename
    if any(handler is each for each in _outside_root):
        raise OSError(errno.ENOENT, "it lies outside the root directory", path)
    if _is_at(path, number):
        return
    from .log_file import open_log

    # With the old one's mode: under a daemon's umask of 0 the usual 0o666 would let everybody write.
    mode = stat.S_IMODE(os.fstat(number).st_mode)
    new = open_log(path, None, mode)
    try:
        put(new, number, inheritable=False)
    finally:
        close(new)


def _is_at(path: str, number: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(number))
    except FileNotFoundError:
        return False
