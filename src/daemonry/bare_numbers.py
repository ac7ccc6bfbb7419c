"""What keeps the bare number of a descriptor, and would go on using it for whatever file gets it next."""

from __future__ import annotations

import gc
import signal
import sys
from contextlib import suppress

from .hold import signals_held_off

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

STANDARD_ERROR = 2


def forget(doomed: Callable[[int], bool]) -> None:
    """Have Python itself, and its modules, use no number any more that is ``doomed``; before it is closed."""
    _forget_helpers(doomed)
    _forget_wakeup(doomed)
    _move_crash_reports(doomed)


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


def _move_crash_reports(doomed: Callable[[int], bool]) -> None:
    """Have faulthandler write to standard error, unless its file is known to stay open."""
    handler: Any = sys.modules.get("faulthandler")
    if handler is None or not handler.is_enabled():
        return
    before = _files_of(handler)
    handler.enable(file=STANDARD_ERROR)
    # It refers to its files, that for crashes last, but to none when it was given a number; that it tells nobody.
    if len(before) > len(_files_of(handler)) and not _is_lost(before[-1], doomed):
        handler.enable(file=before[-1])


def _files_of(handler: object) -> list[Any]:
    return [each for each in gc.get_referents(handler) if hasattr(each, "fileno")]


def _is_lost(file: Any, doomed: Callable[[int], bool]) -> bool:
    try:
        return doomed(file.fileno())
    except (OSError, ValueError):  # it is closed, and its number may be another's already
        return True
