"""From what a user calls a daemon to where it is: one name is one daemon."""

from __future__ import annotations

import os

from ..errors import ControlError
from . import homes
from .homes import Target, absolute, is_name, make_directories, usual

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "Target",
    "absolute",
    "all_named",
    "everywhere",
    "is_name",
    "make_directories",
    "named",
    "of_pidfile",
    "target_of",
    "usual",
]


def named(name: str) -> Target:
    """Return the daemon with this name: with its usual pidfile, the one that it was given, or a former version's."""
    target = usual(name)
    if os.path.lexists(target.pidfile):
        return target
    places = [*_given(target), target, *homes.former(name)]
    for has_left in ("pidfile", "memory"):
        for place in places:
            if os.path.lexists(getattr(place, has_left)):
                return place
    return target


def _given(target: Target) -> Iterator[Target]:
    """Yield the daemon of this name as it was started with a pidfile of its own."""
    if target.memory is None or not os.path.lexists(target.memory):
        return
    from . import memory

    try:
        pidfile = memory.recall(target).get("pidfile")
    except ControlError:  # what others can have written says nothing of a daemon; a restart tells why
        return
    if isinstance(pidfile, str) and pidfile != target.pidfile:
        yield Target(**{**target.fields(), "pidfile": pidfile})


def everywhere(target: Target) -> Iterator[Target]:
    """Yield the daemon, and whatever of its name may be in other places."""
    yield target
    if target.memory is None:
        return
    at_home = usual(target.title)
    for place in (at_home, *_given(at_home), *homes.former(target.title)):
        if place.pidfile != target.pidfile and os.path.lexists(place.pidfile):
            yield place


def target_of(text: str | Target) -> Target:
    """Return the daemon that the user calls so: by its name, or by the path of its pidfile."""
    if isinstance(text, Target):
        return text
    if not is_name(text):
        return of_pidfile(text)
    target = named(text)
    # What `start --pidfile job.pid` has been given is no name, unless there is a daemon that is called so.
    is_file = text.endswith(".pid") and os.path.lexists(text)
    return of_pidfile(text) if is_file and not _is_known(target) else target


def _is_known(target: Target) -> bool:
    return any(path is not None and os.path.lexists(path) for path in (target.pidfile, target.memory))


def of_pidfile(path: str) -> Target:
    """Return the daemon with this pidfile and no name: its log lies beside it, or with the others of its user."""
    pidfile = absolute(path)
    # With a slash, by which it is told from a name when it is asked for.
    return Target(title=path if "/" in path else f"./{path}", pidfile=pidfile, log=homes.log_beside(pidfile))


def all_named() -> Iterator[Target]:
    """Yield the daemons of this user that were started by name."""
    for name in homes.names():
        yield named(name)
