"""What nobody can catch is logged where standard error is discarded: exceptions of threads, and unraisable ones.

What tells of a failure is loaded when there is one: a daemon lives long, and most have none. By then it may be out of
reach, for the library has been replaced or removed, or no descriptor is left to read it by. Then less is told, but it
is; and no error of telling takes the place of the one that is told of.
"""

from __future__ import annotations

import os
import sys

from ..errors import ignored

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def watch() -> Callable[[], None]:
    """Log the uncaught exceptions of threads and the unraisable ones; return the function that ends it."""
    module, name = _hook_of_threads()
    before_thread, before_unraisable = getattr(module, name), sys.unraisablehook

    def in_thread(args: Any) -> None:
        if args.exc_type is not SystemExit:
            name = args.thread.name if args.thread is not None else "unknown"
            _tell(f"uncaught exception in thread {name}", args)
        before_thread(args)

    def unraisable(args: Any) -> None:
        _tell(f"{args.err_msg or 'exception ignored in'} {_repr(args.object)}", args)
        before_unraisable(args)

    setattr(module, name, in_thread)
    sys.unraisablehook = unraisable

    def stop() -> None:
        # Whoever has loaded threading since has got it there, too.
        for place, hook in ((module, name), (sys.modules.get("threading"), "excepthook")):
            if getattr(place, hook, None) is in_thread:
                setattr(place, hook, before_thread)
        if sys.unraisablehook is unraisable:
            sys.unraisablehook = before_unraisable

    return stop


def _hook_of_threads() -> tuple[object, str]:
    """Return the module and the name of the hook: where threading takes it from, as long as nobody has loaded that."""
    if "threading" not in sys.modules:
        import _thread

        if hasattr(_thread, "_excepthook"):
            return _thread, "_excepthook"
    import threading

    return threading, "excepthook"


def _repr(thing: object) -> str:
    try:
        return repr(thing)
    except Exception:
        return object.__repr__(thing)


def _tell(message: str, args: Any) -> None:
    error: BaseException | None = args.exc_value
    tell(message, error.with_traceback(args.exc_traceback) if error is not None else None, discarded=True)


def tell(message: str, error: BaseException | None, discarded: bool, survived: bool = False) -> None:
    """Tell of a failure as :mod:`daemonry.steps.telling` does, or in brief.

    :param survived: whether the daemon goes on all the same.
    """
    try:
        from . import telling

        (telling.tell_and_go_on if survived else telling.tell)(message, error, discarded)
    except Exception:
        tell_in_brief(message, error, discarded, survived)


def tell_in_brief(message: str, error: BaseException | None, discarded: bool, survived: bool = False) -> None:
    """Tell of a failure without what is loaded for it: to the logging handlers, and where ``stderr`` is not kept to
    syslog.

    Where it is kept Python itself says there what ends the program.
    """
    with ignored(Exception):
        _tell_handlers(message, error)
    with ignored(Exception):
        if discarded:
            import syslog

            for line in message.splitlines():
                syslog.syslog(syslog.LOG_DAEMON | syslog.LOG_CRIT, line)
        elif survived:
            os.write(2, f"{message}\n".encode("utf-8", "backslashreplace"))


def _tell_handlers(message: str, error: BaseException | None) -> None:
    logging: Any = sys.modules.get("logging")
    if logging is not None:
        logger = logging.getLogger("daemonry")
        logger = logging.getLogger() if logger.disabled else logger
        if logger.hasHandlers():
            logger.critical(message, exc_info=error)
