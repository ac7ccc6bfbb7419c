"""The three streams as they were, to be put back by a program that stays in its process."""

from __future__ import annotations

import errno
import os
import sys

from ..system.closing import above_two, close, put
from .streams import NAMES, flush_one, is_open
from .sys_streams import behave

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from .streams import Stream


class Saved:
    """What :func:`~daemonry.steps.streams.redirect` changes, as it was before.

    It knows its copies: a step of the user's own may close every descriptor that it doesn't know, and a file opened
    later gets the number.
    """

    def __init__(self, streams: Sequence[Stream]) -> None:
        self._names = {stream.name: getattr(sys, stream.name) for stream in streams}
        self._manners = {stream.name: _manners_of(getattr(sys, stream.name)) for stream in streams}
        self._inherited = {
            stream.number: os.get_inheritable(stream.number) for stream in streams if is_open(stream.number)
        }
        self._copies: dict[int, int] = {}
        self._files: dict[int, os.stat_result] = {}
        try:
            for number in self._inherited:
                self._copies[number] = above_two(number)
                self._files[number] = os.fstat(self._copies[number])
        except BaseException:
            # Whoever makes it has nothing yet that could be forgotten.
            close(*self._copies.values())
            raise

    def put_back(self) -> None:
        """Point everything where it pointed.

        :raises OSError: with EBADF, when the program has closed what that takes; the others are put back.
        """
        lost = [NAMES[number] for number in self._copies if not self._has(number)]
        for name, stream in self._names.items():
            flush_one(getattr(sys, name))
            setattr(sys, name, stream)
            behave(stream, **self._manners[name])
        for number, name in enumerate(NAMES):
            if number in self._copies:
                if self._has(number):
                    put(self._copies[number], number, inheritable=self._inherited[number])
            elif name in self._names and is_open(number):
                close(number)
        self.forget()
        if lost:
            raise OSError(
                errno.EBADF, f"the program has closed the copies of {', '.join(lost)}: they can't be put back"
            )

    def forget(self) -> None:
        """Close what putting it back takes."""
        for number in filter(self._has, tuple(self._copies)):
            close(self._copies.pop(number))

    def _has(self, number: int) -> bool:
        try:
            return os.path.samestat(os.fstat(self._copies[number]), self._files[number])
        except OSError:
            return False


def _manners_of(current: Any) -> dict[str, Any]:
    names = ("line_buffering", "write_through", "errors") if hasattr(current, "reconfigure") else ()
    return {name: getattr(current, name) for name in names}
