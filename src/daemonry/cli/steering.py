"""The commands that act on a daemon: stop, reload, signal."""

from __future__ import annotations

import os
import threading
import time
from contextlib import contextmanager

from ..control import DEFAULT_SCHEDULE, find_surely, remove_left_over
from ..schedule import number_of, parse
from ..signals import name_of
from . import places
from .refusal import Refusal
from .statuses import DONE, NOT_RUNNING, USAGE

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

    from ..control import Daemon
    from .places import Target
    from .screen import Screen

_ROUND = 0.2


def add_stop(parser: argparse.ArgumentParser) -> None:
    """Add what ``stop`` takes."""
    parser.add_argument(
        "--schedule",
        default=DEFAULT_SCHEDULE,
        help="signals, and the seconds to wait after each, as start-stop-daemon writes them (default: %(default)s)",
    )


def add_signal(parser: argparse.ArgumentParser) -> None:
    """Add what ``signal`` takes."""
    parser.add_argument("signal", metavar="SIGNAL", help="the signal: USR1, SIGUSR1 or its number")


def stop(options: argparse.Namespace, screen: Screen) -> int:
    """Stop a daemon; one that doesn't run is stopped already."""
    stop_target(places.target_of(options.target), options.schedule, screen)
    return DONE


def stop_target(target: Target, schedule: str, screen: Screen) -> None:
    """Stop the daemon, if it runs, and take away what it leaves.

    :raises Refusal: when the schedule is none.
    """
    try:
        parse(schedule)
    except ValueError as error:
        raise Refusal(str(error), USAGE) from error
    daemon = find_surely(target.pidfile)
    if daemon is None:
        screen.say(f"{target.title}: not running")
    else:
        start = time.monotonic()
        with _moving(daemon, target, screen) as told:
            daemon.stop(schedule, told.append)
        screen.say(f"{target.title}: stopped, process {daemon.pid}, after {time.monotonic() - start:.1f} s")
    if os.path.lexists(target.pidfile):  # a program that knows nothing of its pidfile leaves it behind
        remove_left_over(target.pidfile)


@contextmanager
def _moving(daemon: Daemon, target: Target, screen: Screen) -> Iterator[list[object]]:
    """Show a line that moves while the daemon takes its time; yield the list of what it was told."""
    told: list[object] = []
    if not screen.moves:
        yield told
        return
    done, start = threading.Event(), time.monotonic()

    def show() -> None:
        while not done.wait(_ROUND):
            last = next((str(item) for item in reversed(told) if not str(item)[:1].isdigit()), "")
            screen.move(f"{target.title}: stopping process {daemon.pid}, {last}, {time.monotonic() - start:.1f} s")

    thread = threading.Thread(target=show, daemon=True)
    thread.start()
    try:
        yield told
    finally:
        done.set()
        thread.join()


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
        screen.complain(f"{target.title}: not running")
        return NOT_RUNNING
    act(daemon)
    screen.say(f"{target.title}: sent {name_of(number)} to process {daemon.pid}")
    return DONE
