"""Logging handlers kept, flushed and reopened, and failures that would fall into the null device."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import TracebackType
    from typing import Any

# Where the handlers of the standard library, and most others, hold what they write to.
_FILE_ATTRIBUTES = ("stream", "sock", "socket")


def handlers() -> list[Any]:
    """Answer the handlers of the root logger and of every other; none when nobody has imported logging."""
    logging = sys.modules.get("logging")
    if logging is None:
        return []
    loggers = [logging.getLogger(), *logging.Logger.manager.loggerDict.values()]
    # A PlaceHolder stands for a logger that only has children: it has no handlers.
    found = [handler for logger in loggers for handler in getattr(logger, "handlers", ())]
    return list(dict.fromkeys(each for handler in found for each in _with_targets(handler)))


def _with_targets(handler: Any) -> Iterator[Any]:
    seen = set()
    while handler is not None and id(handler) not in seen:
        seen.add(id(handler))
        yield handler
        handler = getattr(handler, "target", None)


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
    files = [
        getattr(each, name, None) for handler in some for each in _with_targets(handler) for name in _FILE_ATTRIBUTES
    ]
    return sorted({number for file in files for number in _number_of(file)})


def _number_of(file: Any) -> list[int]:
    # Handlers of others hold all kinds of things under these names: only what tells its descriptor has one.
    try:
        number = file.fileno()
    except (AttributeError, TypeError, ValueError, OSError):
        return []
    return [number] if isinstance(number, int) and number >= 0 else []


def flush() -> None:
    """Write out what the handlers hold."""
    for handler in handlers():
        try:
            handler.flush()
        except (ValueError, OSError):  # closed, or its file is full: the handler meets that again when it is used
            continue


# The new file is put under the number of the old one. Not by giving the handler another stream: this may run in a
# signal handler that has interrupted the very write.
def reopen() -> None:
    """Open again, by its path, each file of a logging handler that a log rotation has moved away.

    :raises OSError: when one can't be opened; it stays as it was then.
    """
    logging: Any = sys.modules.get("logging")
    for handler in handlers():
        if isinstance(handler, logging.FileHandler) and handler.stream is not None and _was_moved(handler):
            new = os.open(handler.baseFilename, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
            try:
                os.dup2(new, handler.stream.fileno(), inheritable=False)
            finally:
                os.close(new)


def _was_moved(handler: Any) -> bool:
    try:
        return not os.path.samestat(os.stat(handler.baseFilename), os.fstat(handler.stream.fileno()))
    except FileNotFoundError:
        return True


def prepare(discarded: bool) -> None:
    """Import what telling of a failure takes, while it can still be found."""
    import traceback  # noqa: F401

    if discarded:
        import syslog  # noqa: F401


def tell(message: str, error: BaseException | None, discarded: bool) -> None:
    """Log a failure with its traceback: to the handlers that there are, and to syslog where ``stderr`` is discarded.

    Where neither is the case Python itself will say it on ``stderr``.
    """
    logging: Any = sys.modules.get("logging")
    if logging is not None and logging.getLogger("daemonry").hasHandlers():
        logging.getLogger("daemonry").critical(message, exc_info=error)
    if discarded:
        _tell_syslog(message, error)


def tell_of_end(error: BaseException, discarded: bool) -> None:
    """Log the exception that ends a daemon's body; an exit with a number is no failure to log."""
    if not isinstance(error, SystemExit):
        tell(f"the daemon ends: {type(error).__name__}: {error}", error, discarded)
    elif not isinstance(error.code, (int, type(None))):
        tell(str(error.code), None, discarded)


def connect(discarded: bool) -> None:
    """Open the connection to syslog: inside another root directory there may be no /dev/log."""
    if discarded:
        import syslog

        syslog.openlog(logoption=syslog.LOG_PID | syslog.LOG_NDELAY, facility=syslog.LOG_DAEMON)


def _tell_syslog(message: str, error: BaseException | None) -> None:
    import syslog

    lines = [message]
    if error is not None:
        import traceback

        lines += "".join(traceback.format_exception(type(error), error, error.__traceback__)).splitlines()
    for line in lines:
        syslog.syslog(syslog.LOG_DAEMON | syslog.LOG_CRIT, line.replace("\0", "\\0"))


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
        tell(f"{args.err_msg or 'exception ignored in'} {args.object!r}", _error_of(args), discarded=True)
        before_unraisable(args)

    threading.excepthook, sys.unraisablehook = in_thread, unraisable

    def stop() -> None:
        if threading.excepthook is in_thread:
            threading.excepthook = before_thread
        if sys.unraisablehook is unraisable:
            sys.unraisablehook = before_unraisable

    return stop


def _error_of(args: Any) -> BaseException | None:
    error: BaseException | None = args.exc_value
    trace: TracebackType | None = args.exc_traceback
    return error.with_traceback(trace) if error is not None else None
