"""Signals held off for the length of a few system calls that belong together."""

from __future__ import annotations

import signal
from contextlib import contextmanager

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


# The mask of the thread and not handlers that only note the signal: a signal that arrives meanwhile is kept by the
# kernel and finds afterwards whichever handler is right then, ours or the default action.
@contextmanager
def signals_held_off() -> Iterator[set[int]]:
    """Deliver no signal to this thread inside the block; yield the mask that was there before."""
    # Asked first and blocked afterwards, inside the try: pthread_sigmask itself runs the handlers that are due, after
    # it has changed the mask, and one that raises would leave everything blocked.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        yield {int(signum) for signum in before}
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
