"""The end of a body in the foreground, told once: what Python will show on stderr, no logging handler writes there."""

from __future__ import annotations

import os
import sys
from _thread import get_ident

from ..errors import ignored
from . import telling

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType
    from typing import Any


def tell_of_end(error: BaseException, text: str, discarded: bool) -> None:
    """Log the exception that ends a body in the foreground, as :func:`~daemonry.steps.telling.tell_of_end` in a daemon.

    Ctrl-C is told in a line, and Python shows nothing of it: that the process ends by SIGINT says it.
    """
    with _handlers_on_stderr_passed_over():
        if not is_mere_interrupt(error):
            telling.tell_of_end(error, text, discarded)
        else:
            _end_quietly(error)
            telling.tell("the daemon ends: interrupted by SIGINT", None, discarded)


def is_mere_interrupt(error: BaseException) -> bool:
    """Whether it is Ctrl-C, and displaces no error that has to be shown with it."""
    return type(error) is KeyboardInterrupt and not any(isinstance(each, Exception) for each in _behind(error))


def _behind(error: BaseException) -> Iterator[BaseException]:
    """Yield what Python shows with an exception."""
    behind = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if behind is not None:
        yield behind
        yield from _behind(behind)


def _end_quietly(error: BaseException) -> None:
    """Have Python show nothing of an interrupt that nobody catches."""
    if sys.excepthook is not sys.__excepthook__:
        return  # the program shows what it likes
    number = id(error)  # not itself, which would keep all that its frames have

    def show(kind: type[BaseException], shown: BaseException, trace: TracebackType | None) -> None:
        sys.excepthook = sys.__excepthook__
        if kind is not KeyboardInterrupt or id(shown) != number:
            sys.__excepthook__(kind, shown, trace)

    sys.excepthook = show


class _handlers_on_stderr_passed_over:
    """Keep what this thread logs from the handlers that write to the very file that stderr is."""

    def __enter__(self) -> None:
        own = get_ident()
        self._filter = lambda record: record.thread != own
        self._handlers = [each for each in telling.handlers() if _writes_to_stderr(each)]
        for each in self._handlers:
            each.addFilter(self._filter)

    def __exit__(self, *_exc_info: object) -> None:
        for each in self._handlers:
            each.removeFilter(self._filter)


def _writes_to_stderr(handler: Any) -> bool:
    with ignored(Exception):  # a stream of the program's own may be without a descriptor, and handlers without a stream
        return os.path.samestat(os.fstat(handler.stream.fileno()), os.fstat(2))
    return False
