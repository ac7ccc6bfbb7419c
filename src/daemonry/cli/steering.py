"""The commands that act on a daemon: stop, reload, signal."""

from __future__ import annotations

import os
import time

from ..control.daemon import DEFAULT_SCHEDULE, find_surely, remove_left_over
from ..control.schedule import number_of, parse
from ..steps.signals import name_of
from . import history, places, unknown
from .refusal import Refusal
from .statuses import DONE, FAILED, NOT_INSTALLED, NOT_RUNNING, USAGE
from .stop_view import how, moving

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from ..control.daemon import Daemon
    from .places import Target
    from .screen import Screen


# As systemd.kill(5) calls them.
CONTROL_GROUP, PROCESS = "control-group", "process"


def add_stop(parser: argparse.ArgumentParser) -> None:
    """Add what ``stop`` takes."""
    add_schedule(parser)
    parser.add_argument(
        "--kill",
        choices=(CONTROL_GROUP, PROCESS),
        default=CONTROL_GROUP,
        metavar="WHAT",
        help="end the daemon and all that belongs to it (control-group, the default), or its process alone (process)",
    )


def add_schedule(parser: argparse.ArgumentParser) -> None:
    """Add what says how something is stopped."""
    parser.add_argument(
        "--schedule",
        default=DEFAULT_SCHEDULE,
        help="signals, and the seconds to wait after each, as start-stop-daemon writes them (default: %(default)s)",
    )


def add_signal(parser: argparse.ArgumentParser) -> None:
    """Add what ``signal`` takes."""
    parser.add_argument("signal", metavar="SIGNAL", help="the signal: USR1, SIGUSR1 or its number")


def stop(options: argparse.Namespace, screen: Screen) -> int:
    """Stop a daemon; one that doesn't run is stopped already, if there has ever been one."""
    _require_schedule(options.schedule)
    doubt = unknown.doubt_of(options.target)
    if doubt is not None:
        raise Refusal(doubt, NOT_INSTALLED)
    stop_target(places.target_of(options.target), options.schedule, screen, getattr(options, "kill", PROCESS))
    return DONE


def _require_schedule(text: str) -> None:
    try:
        parse(text)
    except ValueError as error:
        raise Refusal(str(error), USAGE) from error


def stop_target(target: Target, schedule: str, screen: Screen, kill: str = PROCESS) -> None:
    """Stop the daemon, if it runs, and take away what it leaves.

    :param kill: ``control-group`` to end all that belongs to it as well, also where it has ended itself.
    :raises Refusal: when the schedule is none.
    """
    _require_schedule(schedule)
    daemon = find_surely(target.pidfile)
    if daemon is not None:
        _stop_running(daemon, target, schedule, screen, kill)
    elif kill == PROCESS or not _stop_left_overs(target, schedule, screen):
        screen.say(f"{target.title}: not running")
    if os.path.lexists(target.pidfile):  # a program that knows nothing of its pidfile leaves it behind
        remove_left_over(target.pidfile)
    history.forget(target)


def _stop_running(daemon: Daemon, target: Target, schedule: str, screen: Screen, kill: str) -> None:
    others = None
    if kill == CONTROL_GROUP:
        from . import belonging

        others = belonging.of_running(daemon, target)
        if others.is_supervised and others.is_here:
            advice = "ask from outside; or let the program end by itself: it is started again"
            raise Refusal(f"{target.title} would be stopped from within, and this command with it; {advice}", FAILED)
    start = time.monotonic()
    with moving(f"process {daemon.pid}", target, screen) as told:
        daemon.stop(schedule, told.append, others)
    if others is not None:
        others.clear_up()
    screen.say(f"{target.title}: stopped, process {daemon.pid}, {how(told, start)}")


def _stop_left_overs(target: Target, schedule: str, screen: Screen) -> bool:
    from . import left_overs

    return left_overs.end(target, schedule, screen)


def reload(options: argparse.Namespace, screen: Screen) -> int:
    """Send a daemon SIGHUP, on which it reads its configuration again; not one that would end by it."""
    return _act(options.target, number_of("HUP"), lambda daemon: daemon.reload(), screen)


def signal(options: argparse.Namespace, screen: Screen) -> int:
    """Send a daemon a signal."""
    try:
        number = number_of(options.signal)
    except ValueError as error:
        screen.complain(str(error))
        return USAGE
    return _act(options.target, number, lambda daemon: daemon.signal(number), screen)


def _act(wanted: str | Target, number: int, act: Callable[[Daemon], object], screen: Screen) -> int:
    target = places.target_of(wanted)
    daemon = find_surely(target.pidfile)
    if daemon is None:
        screen.complain(unknown.doubt_of(wanted) or f"{target.title}: not running")
        return NOT_RUNNING
    act(daemon)
    screen.say(f"{target.title}: sent {name_of(number)} to process {daemon.pid}")
    return DONE
