"""Signals held off, and ended children kept, for the length of a few system calls that belong together."""

from __future__ import annotations

from .bare import SIG_BLOCK, SIG_DFL, SIG_SETMASK, SIGCHLD, getsignal, pthread_sigmask, signal, valid_signals

# As plain numbers: those that the module signal returns are made anew each time, one object for each signal.
EVERY_SIGNAL: frozenset[int] = frozenset(valid_signals())
# To be gone through each time, which is cheaper than with a set.
_ALL = tuple(EVERY_SIGNAL)


# The mask of the thread and not handlers that only note the signal: a signal that arrives meanwhile is kept by the
# kernel and finds afterwards whichever handler is right then, ours or the default action.
class signals_held_off:
    """Deliver no signal to this thread inside the block; the block is given the mask that was there before."""

    def __enter__(self) -> set[int]:
        before: set[int] = pthread_sigmask(SIG_BLOCK, ())
        self._before = before
        try:
            pthread_sigmask(SIG_BLOCK, _ALL)
        except BaseException:  # it runs the handlers that are due after it has changed the mask, and one has raised
            pthread_sigmask(SIG_SETMASK, before)
            raise
        return before

    def __exit__(self, *_exc_info: object) -> None:
        pthread_sigmask(SIG_SETMASK, self._before)


class children_kept:
    """Keep children that are forked inside the block until they are waited for, where SIGCHLD is ignored or handled.

    They would vanish unseen, or a handler would wait for any child: nobody could say how one has ended, and its number
    would be free, and with it the process group that is to be ended when a start fails.
    """

    def __enter__(self) -> None:
        self._before = getsignal(SIGCHLD)
        if self._before != SIG_DFL:
            signal(SIGCHLD, SIG_DFL)

    def __exit__(self, *_exc_info: object) -> None:
        if self._before not in (SIG_DFL, None):  # None: a handler from outside Python, which can't be put back
            signal(SIGCHLD, self._before)
