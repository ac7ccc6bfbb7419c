"""A context that is still open when the program exits."""

from __future__ import annotations

import atexit
import sys

from ..steps import streams

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Any

    from ..steps.streams import Stream


class AtExit:
    """What the interpreter calls at its exit for an open context.

    :param end: is given the exception that ends the program, as ``__exit__`` is; with it the context closes.
    """

    def __init__(self, end: Callable[[type[BaseException] | None, BaseException | None, TracebackType | None], Any]):
        self._end = end
        self._shown_before: BaseException | None = None
        self._drop_unwritten: Callable[[], object] = bool

    def expect(self, redirected: tuple[Stream, ...], own: int) -> None:
        """Have the interpreter close the context at the exit of this process, and drop what nobody can write any more.

        :param own: the number of this process.
        """
        self._shown_before = _shown()
        # The first shall be the last to run: after all that may write something at the exit.
        self._drop_unwritten = lambda: streams.drop_unwritten(redirected, own)
        atexit.register(self._drop_unwritten)
        for _ in range(2):  # once more for what a signal has kept the first from: else nothing is left to be done
            atexit.register(self._close)

    def forget(self, but_drop_unwritten: bool = False) -> None:
        """Have it do nothing of that any more, or only drop what nobody can write."""
        atexit.unregister(self._close)
        if not but_drop_unwritten:
            atexit.unregister(self._drop_unwritten)

    def _close(self) -> None:
        # Of a context that was opened without a block nobody tells what has ended it, but Python, which has shown it.
        error = _shown()
        if error is None or error is self._shown_before:
            self._end(None, None, None)
        else:
            self._end(type(error), error, error.__traceback__)


def _shown() -> BaseException | None:
    """Return the uncaught exception that Python has shown last; see sys.last_value."""
    error: BaseException | None = getattr(sys, "last_value", None)
    return error
