"""What is to be given back, in reverse."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from typing import Any, TypeVar

    Entered = TypeVar("Entered")


# Not contextlib's: its module, with what that brings along, is a third of an interpreter's own start.
class ExitStack:
    """A stack of exits, as :class:`contextlib.ExitStack` is one: left, it leaves all that is on it, the last one first.

    Each exit is told of the exception that is on its way, and may raise another, or end it, as in with-blocks one
    inside the other.
    """

    def __init__(self) -> None:
        self._exits: list[Callable[..., Any]] = []

    def __enter__(self) -> ExitStack:
        return self

    def __exit__(self, *exc_info: Any) -> bool:
        handled = sys.exc_info()[1]
        coming, is_new, is_ended = exc_info[1], False, False
        while self._exits:
            try:
                if self._exits.pop()(*_told_of(coming)):
                    coming, is_new, is_ended = None, False, True
            except BaseException as another:
                _put_behind(another, coming, handled)
                coming, is_new = another, True
        if is_new:
            _raise_as_it_is(coming)
        return is_ended and exc_info[1] is not None

    def push(self, exit_: Any) -> Any:
        """Leave this by its ``__exit__``, or call it as one if it has none; return it."""
        leave = getattr(type(exit_), "__exit__", None)
        self._exits.append(exit_ if leave is None else lambda *exc_info: leave(exit_, *exc_info))
        return exit_

    def callback(self, function: Callable[..., Any], /, *words: Any, **named: Any) -> Callable[..., Any]:
        """Call the function with these arguments, whatever has happened; return it."""

        def call(*_exc_info: object) -> None:
            function(*words, **named)

        self._exits.append(call)
        return function

    def enter_context(self, manager: AbstractContextManager[Entered]) -> Entered:
        """Enter a context manager, to be left with the others; return what its ``__enter__`` returns."""
        entered = type(manager).__enter__(manager)
        self.push(manager)
        return entered

    def pop_all(self) -> ExitStack:
        """Move all to a new stack, and return that."""
        other = ExitStack()
        other._exits, self._exits = self._exits, other._exits
        return other

    def close(self) -> None:
        """Leave all at once."""
        self.__exit__(None, None, None)


def _told_of(error: BaseException | None) -> tuple[Any, Any, Any]:
    return (None, None, None) if error is None else (type(error), error, error.__traceback__)


def _put_behind(error: BaseException, before: BaseException | None, handled: BaseException | None) -> None:
    """Let an error have the one before for its context, where Python has given it the one handled around the stack."""
    context = error.__context__
    while context is not None and context is not before:
        if context is handled:
            error.__context__ = before
            return
        error, context = context, context.__context__


def _raise_as_it_is(error: Any) -> None:
    context = error.__context__
    try:
        raise error
    finally:
        error.__context__ = context
