"""What has to hold before a program is started."""

from __future__ import annotations

import os

from ..control.daemon import DEFAULT_SCHEDULE, find_surely, remove_left_over
from . import history, places
from .refusal import Refusal
from .statuses import FAILED

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from .places import Target
    from .screen import Screen


def refuse_running(target: Target | None) -> None:
    # The lock decides; this one only says it before anything else can be in the way, such as the daemon's own port.
    for place in places.everywhere(target) if target is not None else ():
        daemon = find_surely(place.pidfile)
        if daemon is not None:
            raise Refusal(f"{place.title} is running already: {daemon.process}", FAILED)


def forget_the_dead(target: Target | None) -> None:
    """Take away what the dead of this name have left: pidfiles where they would be found first, and histories."""
    for place in places.everywhere(target) if target is not None else ():
        history.forget(place)
        if target is not None and place.pidfile != target.pidfile:
            remove_left_over(place.pidfile)


def refuse_left_overs(target: Target | None, clean: bool, screen: Screen) -> None:
    """Refuse to start beside what a dead daemon has left, and to forget it with its pidfile; or end it."""
    if target is not None and os.path.lexists(target.pidfile):
        from . import left_overs

        if clean:
            left_overs.end(target, DEFAULT_SCHEDULE, screen)
        else:
            left_overs.refuse(target)


def refuse_taken_port(options: argparse.Namespace) -> None:
    if options.wait_port is not None:
        from .readiness import Accepting

        if Accepting(options.wait_port).accepts():
            from .listeners import holder_of

            holder = holder_of(options.wait_port) or "somebody else"
            raise Refusal(f"port {options.wait_port} accepts already: {holder} has it", FAILED)
