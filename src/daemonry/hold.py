"""Signals held off for the length of a few system calls that belong together."""

from __future__ import annotations

from contextlib import contextmanager

from .bare import SIG_BLOCK, SIG_SETMASK, pthread_sigmask, valid_signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

# As plain numbers: those that the module signal answers are made anew each time, one object for each signal.
EVERY_SIGNAL: frozenset[int] = frozenset(valid_signals())


# The mask of the thread and not handlers that only note the signal: a signal that arrives meanwhile is kept by the
# kernel and finds afterwards whichever handler is right then, ours or the default action.
@contextmanager
def signals_held_off() -> Iterator[set[int]]:
    """Deliver no signal to this thread inside the block; yield the mask that was there before."""
    # Asked first and blocked afterwards, inside the try: pthread_sigmask itself runs the handlers that are due, after
    # it has changed the mask, and one that raises would leave everything blocked.
    before: set[int] = pthread_sigmask(SIG_BLOCK, ())
    try:
        pthread_sigmask(SIG_BLOCK, EVERY_SIGNAL)
        yield before
    finally:
        pthread_sigmask(SIG_SETMASK, before)
