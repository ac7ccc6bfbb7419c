"""What keeps the bare number of a descriptor, and would go on using it for whatever file gets it next."""

from __future__ import annotations

import signal
import sys
from contextlib import suppress

from .hold import signals_held_off

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def forget(doomed: Callable[[int], bool]) -> None:
    """Have Python itself, and its modules, use no number any more that is ``doomed``; before it is closed."""
    _forget_helpers(doomed)
    _forget_wakeup(doomed)


# multiprocessing talks to its helpers by bare numbers, and would go on writing to whatever file gets them.
_HELPERS = {
    "multiprocessing.resource_tracker": ("_resource_tracker", "_fd", ("_fd", "_pid")),
    "multiprocessing.forkserver": (
        "_forkserver",
        "_forkserver_alive_fd",
        ("_forkserver_alive_fd", "_forkserver_address", "_forkserver_pid"),
    ),
}


def _forget_helpers(doomed: Callable[[int], bool]) -> None:
    """Let multiprocessing start helpers of the daemon's own when it needs them: those of the launcher end with it."""
    for module, (instance, descriptor, names) in _HELPERS.items():
        helper = getattr(sys.modules.get(module), instance, None)
        number = getattr(helper, descriptor, None)
        if number is not None and doomed(number):
            for name in names:
                setattr(helper, name, None)


def _forget_wakeup(doomed: Callable[[int], bool]) -> None:
    """Let no signal write its byte into another file; see :func:`signal.set_wakeup_fd`."""
    # It can be asked only by taking it away, and a signal between the two would wake nobody.
    with signals_held_off(), suppress(ValueError):  # not the main thread's, or a number that is none: of no use then
        number = signal.set_wakeup_fd(-1)
        if number >= 0 and not doomed(number):
            # Whether it shall warn can't be asked; asyncio does not want it, for a full pipe wakes all the same.
            signal.set_wakeup_fd(number, warn_on_full_buffer=False)
