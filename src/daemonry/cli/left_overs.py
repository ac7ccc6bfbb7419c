"""What a daemon has left that has ended without its pidfile: ended, or told of to whoever would start another one."""

from __future__ import annotations

import time

from ..control import stopping
from . import belonging, listeners
from .refusal import Refusal
from .statuses import FAILED
from .stop_view import how, moving

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..system.process import Process
    from .places import Target
    from .screen import Screen


def end(target: Target, schedule: str, screen: Screen) -> bool:
    """End it; return whether there was any."""
    others = belonging.left_by(target)
    if others is None:
        return False
    named, start = ", ".join(map(str, others.members())), time.monotonic()
    with moving(named, target, screen) as told:
        stopping.end(others, schedule, told.append, target.pidfile)
    others.clear_up()
    screen.say(f"{target.title}: had ended; stopped what it had left: {named}, {how(told, start)}")
    return True


def refuse(target: Target) -> None:
    """Refuse to start beside it.

    :raises Refusal: when there is any.
    """
    left = belonging.left_by(target)
    if left is not None:
        raise Refusal(
            f"{target.title} has ended, but what it started runs on: {', '.join(map(_with_ports, left.members()))}; "
            f"end it by `daemonry stop {target.title}`, or start with --clean",
            FAILED,
        )


def _with_ports(left: Process) -> str:
    ports = listeners.ports_of(left.pid)
    named = f"port{'s' if ports[1:] else ''} {', '.join(map(str, ports))}"
    return f"{left}, which has {named}" if ports else str(left)
