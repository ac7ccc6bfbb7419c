"""A failure told: to the program's logging handlers; where standard error is discarded to syslog, else to that."""

from __future__ import annotations

import os
import sys

from ..errors import ignored

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def prepare(discarded: bool) -> None:
    """Load what telling of a failure takes, for a daemon that can't find it any more when it fails."""
    import traceback  # noqa: F401

    if discarded:
        from ..system import last_words  # noqa: F401

        _load_syslog()


def _load_syslog() -> Any:
    _Syslog.is_ours = _Syslog.is_ours or "syslog" not in sys.modules
    import syslog

    return syslog


class _Syslog:
    """Whether nobody but this has loaded the module: whoever else did has a name and a facility of his own in there."""

    is_ours = False
    is_connected = False


def tell(message: str, error: BaseException | None, discarded: bool) -> bool:
    """Log a failure with its traceback: to the handlers that there are, and to syslog where ``stderr`` is discarded.

    What syslog would be told is kept in a file where there is none; see :mod:`daemonry.system.last_words`. With
    ``stderr`` and no handlers Python itself will say it there. A handler that fails is told of as well, and keeps
    nobody else from being told.

    Return whether anybody has been told.
    """
    told, refusals = _tell_handlers(message, error)
    say = _tell_syslog if discarded else _tell_stderr
    if discarded:
        say(_lines_of(message, error))
    for refusal in refusals:
        # Without what it was raised in the wake of: that is the very failure.
        say(_lines_of("a logging handler failed in being told of a failure", refusal, chain=False))
    return told or discarded


def tell_and_go_on(message: str, error: BaseException | None, discarded: bool) -> None:
    """Log a failure that the daemon survives: no exception will say it on ``stderr`` where nobody logs."""
    if not tell(message, error, discarded):
        _tell_stderr([message])


def _tell_stderr(lines: list[str]) -> None:
    # Not by sys.stderr: a signal's handler may have interrupted a write to it, and would make a second one fail.
    with ignored(OSError):
        os.write(2, "".join(f"{line}\n" for line in lines).encode("utf-8", "backslashreplace"))


def _tell_handlers(message: str, error: BaseException | None) -> tuple[bool, list[Exception]]:
    """Return whether a handler has taken it, and what those have raised that have not."""
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


def handlers() -> list[Any]:
    """Return the handlers that a failure is told to."""
    return _handlers_of(_logger_with_handlers())


def _handlers_of(logger: Any) -> list[Any]:
    """Return the handlers that a logger's records come to, in their order."""
    found: list[Any] = []
    while logger is not None:
        found += logger.handlers
        logger = logger.parent if logger.propagate else None
    return found


def _position_of(refusal: Exception, some: list[Any]) -> int:
    """Return how many of the handlers had been reached when one of them, or before them a filter, raised this."""
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


def tell_of_end(error: BaseException, text: str, discarded: bool) -> None:
    """Log the exception that ends a daemon's body.

    :param text: what the exception says.
    """
    if isinstance(error, SystemExit):  # raised for its text, not where code went wrong
        tell(text, None, discarded)
    else:
        tell(f"the daemon ends: {text}", error, discarded)


def connect(discarded: bool) -> None:
    """Open the connection to syslog: inside another root directory there may be no /dev/log."""
    # The program's own stays: its name and its facility can't be asked for.
    syslog = _load_syslog() if discarded else None
    if syslog is not None and _Syslog.is_ours:
        syslog.openlog(logoption=syslog.LOG_PID | syslog.LOG_NDELAY, facility=syslog.LOG_DAEMON)
    # What the program has opened itself can't be asked whether it is connected.
    _Syslog.is_connected = syslog is not None and (not _Syslog.is_ours or _has_syslog())


def _lines_of(message: str, error: BaseException | None, chain: bool = True) -> list[str]:
    lines = message.splitlines()
    if error is not None:
        with ignored(
            ImportError, OSError
        ):  # there is no descriptor left to read it by: the message is told all the same
            import traceback

            told = traceback.format_exception(type(error), error, error.__traceback__, chain=chain)
            lines += "".join(told).splitlines()
    return lines


def _tell_syslog(lines: list[str]) -> None:
    syslog = _load_syslog()
    for line in lines:
        syslog.syslog(syslog.LOG_DAEMON | syslog.LOG_CRIT, _sayable(line))
    if not (_Syslog.is_connected or _has_syslog()):
        from ..system import last_words

        last_words.keep(lines)


def _has_syslog() -> bool:
    """Whether somebody listens there; syslog(3) does not tell."""
    import socket

    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        with ignored(OSError), socket.socket(socket.AF_UNIX, kind) as own:
            own.connect("/dev/log")
            return True
    return False


def _sayable(line: str) -> str:
    # The name of a file need not be text: os.fsdecode() makes surrogates of its bytes, and syslog() refuses those.
    return line.replace("\0", "\\0").encode("utf-8", "backslashreplace").decode()
