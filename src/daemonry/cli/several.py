"""A command for several daemons: one after the other, where one that fails does not keep the others from it."""

from __future__ import annotations

import os

from ..system.forks import fork, go_on_here
from . import places
from .screen import Screen
from .statuses import DONE, USAGE

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable

    from .places import Target

# What the next one would be told, or meet, as well: a mistake in use, Ctrl-C.
_OF_ALL = (USAGE, 130)


def in_turn(options: argparse.Namespace, act: Callable[[], int]) -> int:
    """Do a command for each of the daemons that its words name; return the first status that isn't 0.

    :param act: does it for the daemon that ``options.target`` is by then.
    """
    status, everything = DONE, getattr(options, "all", False)
    daemons = wanted(options.target, everything)
    if everything and not daemons:
        Screen(options.quiet).say("no daemon that this user has started by name runs")
    for target in daemons:
        options.target = target
        own = act()
        status = status or own
        if own in _OF_ALL:
            break
    return status


def wanted(names: Iterable[str], everything: bool) -> list[str | Target]:
    """Return the daemons of these names, each once, or all that may run of those that were started by name."""
    if everything:
        return [target for target in places.all_named() if os.path.lexists(target.pidfile)]
    return [*dict.fromkeys(names)]


def each_apart(daemons: Iterable[str | Target], act: Callable[[str | Target], int]) -> int:
    """Do for each daemon what becomes a daemon itself, in a process of its own; return the first status that isn't 0.

    In such a process it returns what :func:`act` does, which goes on there as if it had been asked alone.
    """
    status = DONE
    for daemon in daemons:
        child = fork()
        if child == 0:
            go_on_here(os.getpid())
            return act(daemon)
        own = _status_of(child)
        status = status or own
        if own in _OF_ALL:
            break
    return status


def _status_of(child: int) -> int:
    try:
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    except KeyboardInterrupt:  # it has got the same, and says what it leaves
        os.waitpid(child, 0)
        raise
    return code if code >= 0 else 128 - code
