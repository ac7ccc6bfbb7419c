"""Control of daemons: is it running? Stop it, reload it, wait for it, by its pidfile and never by a number alone."""

from __future__ import annotations

from ..system import handing_on

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .daemon import (
        ControlError,
        Daemon,
        NotRunning,
        StillRunning,
        find,
        find_or_left_over,
        find_surely,
        remove_left_over,
    )
    from .schedule import Schedule, Send, Wait

__all__ = [
    "ControlError",
    "Daemon",
    "NotRunning",
    "Schedule",
    "Send",
    "StillRunning",
    "Wait",
    "find",
    "find_or_left_over",
    "find_surely",
    "remove_left_over",
]

__getattr__, __dir__ = handing_on(
    __name__,
    {
        "ControlError": "daemon",
        "Daemon": "daemon",
        "NotRunning": "daemon",
        "Schedule": "schedule",
        "Send": "schedule",
        "StillRunning": "daemon",
        "Wait": "schedule",
        "find": "daemon",
        "find_surely": "daemon",
        "find_or_left_over": "daemon",
        "remove_left_over": "daemon",
    },
)
