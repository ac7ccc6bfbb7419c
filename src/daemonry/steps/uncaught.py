"""What nobody can catch is logged where standard error is discarded: exceptions of threads, and unraisable ones."""

from __future__ import annotations

import sys

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
    from . import telling

    error: BaseException | None = args.exc_value
    telling.tell(message, error.with_traceback(args.exc_traceback) if error is not None else None, discarded=True)
