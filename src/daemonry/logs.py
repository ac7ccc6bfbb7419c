"""Logging handlers kept, flushed and reopened, and failures that would fall into the null device."""

from __future__ import annotations

import errno
import os
import stat
import sys
import time
from contextlib import suppress
from weakref import WeakSet

from . import other_threads
from .closing import close, put
from .log_file import open_log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType
    from typing import Any

# Where the handlers of the standard library, and most others, hold what they write to.
_FILE_ATTRIBUTES = ("stream", "sock", "socket")
# Seconds that a flush may take in a process whose handlers may be locked for good.
_LONGEST_FLUSH = 2.0


def handlers() -> list[Any]:
    """Answer the handlers of the root logger and of every other; none when nobody has imported logging."""
    logging = sys.modules.get("logging")
    if logging is None:
        return []
    loggers = [logging.getLogger(), *logging.Logger.manager.loggerDict.values()]
    # A PlaceHolder stands for a logger that only has children: it has no handlers.
    return _with_those_behind(handler for logger in loggers for handler in getattr(logger, "handlers", ()))


def _with_those_behind(some: Iterable[Any]) -> list[Any]:
    """Answer the handlers and those that they hand to: a MemoryHandler's target, a QueueHandler's listener's."""
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
    """Answer the descriptors of a logging handler or of a logger's handlers, ``None`` for anything else."""
    logging: Any = sys.modules.get("logging")
    if logging is None:
        return None
    if isinstance(item, logging.LoggerAdapter):
        item = item.logger
    if isinstance(item, logging.Logger):
        return _descriptors(item.handlers)
    return _descriptors([item]) if isinstance(item, logging.Handler) else None


def descriptors() -> list[int]:
    """Answer the descriptors that the handlers write to."""
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
    if other_threads.are_lost():
        other_threads.within(_LONGEST_FLUSH, _flush_each)
    else:
        _flush_each()


def _flush_each() -> None:
    for handler in handlers():
        # Closed, its file full, or a mistake in it: the program meets that again when it uses the handler.
        with suppress(Exception):
            handler.flush()


def let_go(kept: Iterable[int]) -> None:
    """Close the handlers whose descriptors are not ``kept``: they would go on using numbers that are other files'."""
    lost = {number for number in descriptors() if number > 2}.difference(kept)
    for handler in handlers() if lost else ():
        if lost.intersection(_numbers_of(handler)):
            _close(handler)


def disconnect() -> None:
    """Close the connection to syslog, which the C library keeps to itself.

    Closed behind its back, it would notice at the next message, and close the number once more: by then another file's.
    """
    if "syslog" in sys.modules:
        sys.modules["syslog"].closelog()


def _close(handler: Any) -> None:
    files: list[Any] = [getattr(handler, name, None) for name in _FILE_ATTRIBUTES]
    if other_threads.are_lost():
        # Below the lock that may be held for good: the layers above then count as closed, and don't take it.
        for each in files:
            with suppress(AttributeError, ValueError, OSError):
                each.buffer.raw.close()
    for each in (handler, *files):
        # A StreamHandler leaves its stream open, and others have nothing more to close.
        with suppress(AttributeError, ValueError, OSError):
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


_outside_root: WeakSet[Any] = WeakSet()


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
                _outside_root.add(handler)


# The new file is put under the number of the old one. Not by giving the handler another stream: this may run in a
# signal handler that has interrupted the very write.
def reopen() -> list[OSError]:
    """Open again, by its path, each file of a logging handler that a log rotation has moved away.

    Answer the errors of those that can't be opened; they stay as they were.
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
    if handler in _outside_root:
        raise OSError(errno.ENOENT, "it lies outside the root directory", path)
    if _is_at(path, number):
        return
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


def prepare(discarded: bool) -> None:
    """Import what telling of a failure takes, while it can still be found."""
    import traceback  # noqa: F401

    if discarded and "syslog" not in sys.modules:
        import syslog  # noqa: F401

        _Syslog.is_ours = True


class _Syslog:
    """Whether nobody but this has loaded the module: whoever else did has a name and a facility of his own in there."""

    is_ours = False


def tell(message: str, error: BaseException | None, discarded: bool) -> bool:
    """Log a failure with its traceback: to the handlers that there are, and to syslog where ``stderr`` is discarded.

    Where neither is the case Python itself will say it on ``stderr``. A handler that fails is told of as well, and
    keeps nobody else from being told.

    Answer whether anybody has been told.
    """
    told, refusals = _tell_handlers(message, error)
    say = _tell_syslog if discarded else _tell_stderr
    if discarded:
        say(_lines_of(message, error))
    for refusal in refusals:
        # Without what it was raised in the wake of: that is the very failure.
        say(_lines_of("a logging handler failed in being told of a failure", refusal, chain=False))
    return told or discarded


def tell_and_go_on(message: str, error: BaseException, discarded: bool) -> None:
    """Log a failure that the daemon survives: no exception will say it on ``stderr`` where nobody logs."""
    if not tell(message, error, discarded):
        _tell_stderr([message])


def _tell_stderr(lines: list[str]) -> None:
    # Not by sys.stderr: a signal's handler may have interrupted a write to it, and would make a second one fail.
    with suppress(OSError):
        os.write(2, "".join(f"{line}\n" for line in lines).encode("utf-8", "backslashreplace"))


def _tell_handlers(message: str, error: BaseException | None) -> tuple[bool, list[Exception]]:
    """Answer whether a handler has taken it, and what those have raised that have not."""
    logger = _logger_with_handlers()
    if logger is None:
        return False, []
    try:
        logger.critical(message, exc_info=error)
    except Exception as refusal:
        return _tell_those_behind(refusal, logger, message, error)
    return True, []


# Only when one has failed: else it is the logger's to hand round, whatever a program or a library has made of that.
def _tell_those_behind(
    refusal: Exception, logger: Any, message: str, error: BaseException | None
) -> tuple[bool, list[Exception]]:
    logging: Any = sys.modules["logging"]
    raised = (type(error), error, error.__traceback__) if error is not None else None
    record = logger.makeRecord(logger.name, logging.CRITICAL, __file__, 0, message, (), raised)
    some = _handlers_of(logger)
    reached = _position_of(refusal, some)
    told, refusals = reached > 1, [refusal]
    for handler in some[reached:]:
        try:
            handler.handle(record)
            told = True
        except Exception as another:
            refusals.append(another)
    return told, refusals


def _handlers_of(logger: Any) -> list[Any]:
    """Answer the handlers that a logger's records come to, in their order."""
    found: list[Any] = []
    while logger is not None:
        found += logger.handlers
        logger = logger.parent if logger.propagate else None
    return found


def _position_of(refusal: Exception, some: list[Any]) -> int:
    """Answer how many of the handlers had been reached when one of them, or before them a filter, raised this."""
    trace, callers = refusal.__traceback__, []
    while trace is not None:
        callers.append(trace.tb_frame.f_locals.get("self"))
        trace = trace.tb_next
    return next((at for at, handler in enumerate(some, 1) if any(handler is each for each in callers)), 0)


def _logger_with_handlers() -> Any:
    logging: Any = sys.modules.get("logging")
    if logging is None:
        return None
    logger = logging.getLogger("daemonry")
    # logging.config disables each logger that it finds unless it is told not to.
    logger = logging.getLogger() if logger.disabled else logger
    return logger if logger.hasHandlers() else None


def tell_of_end(error: BaseException, text: str, discarded: bool) -> bool:
    """Log the exception that ends a daemon's body; an exit with a number is no failure to log.

    :param text: what the exception says.

    Answer whether it was one.
    """
    if not isinstance(error, SystemExit):
        tell(f"the daemon ends: {text}", error, discarded)
        return True
    if isinstance(error.code, (int, type(None))):
        return False
    tell(str(error.code), None, discarded)
    return True


def connect(discarded: bool) -> None:
    """Open the connection to syslog: inside another root directory there may be no /dev/log."""
    # The program's own stays: its name and its facility can't be asked for.
    if discarded and _Syslog.is_ours:
        import syslog

        syslog.openlog(logoption=syslog.LOG_PID | syslog.LOG_NDELAY, facility=syslog.LOG_DAEMON)


def _lines_of(message: str, error: BaseException | None, chain: bool = True) -> list[str]:
    lines = message.splitlines()
    if error is not None:
        import traceback

        told = traceback.format_exception(type(error), error, error.__traceback__, chain=chain)
        lines += "".join(told).splitlines()
    return lines


def _tell_syslog(lines: list[str]) -> None:
    import syslog

    for line in lines:
        syslog.syslog(syslog.LOG_DAEMON | syslog.LOG_CRIT, _sayable(line))


def _sayable(line: str) -> str:
    # The name of a file need not be text: os.fsdecode() makes surrogates of its bytes, and syslog() refuses those.
    return line.replace("\0", "\\0").encode("utf-8", "backslashreplace").decode()


def watch_stray_failures() -> Callable[[], None]:
    """Log the uncaught exceptions of threads and the unraisable ones, too; answer the function that ends it."""
    import threading

    before_thread, before_unraisable = threading.excepthook, sys.unraisablehook

    def in_thread(args: Any) -> None:
        if args.exc_type is not SystemExit:
            name = args.thread.name if args.thread is not None else "unknown"
            tell(f"uncaught exception in thread {name}", _error_of(args), discarded=True)
        before_thread(args)

    def unraisable(args: Any) -> None:
        tell(f"{args.err_msg or 'exception ignored in'} {_repr(args.object)}", _error_of(args), discarded=True)
        before_unraisable(args)

    threading.excepthook, sys.unraisablehook = in_thread, unraisable

    def stop() -> None:
        if threading.excepthook is in_thread:
            threading.excepthook = before_thread
        if sys.unraisablehook is unraisable:
            sys.unraisablehook = before_unraisable

    return stop


def _repr(thing: object) -> str:
    try:
        return repr(thing)
    except Exception:
        return object.__repr__(thing)


def _error_of(args: Any) -> BaseException | None:
    error: BaseException | None = args.exc_value
    trace: TracebackType | None = args.exc_traceback
    return error.with_traceback(trace) if error is not None else None
