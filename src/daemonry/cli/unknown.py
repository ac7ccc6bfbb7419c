"""Of a daemon that doesn't run: whether one that is called so was ever known, and which one may be meant."""

from __future__ import annotations

import os

from ..control.daemon import ControlError, find
from . import places

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .places import Target


def doubt_of(wanted: str | Target) -> str | None:
    """Return what is to be said instead of "not running", ``None`` where the daemon has run, or may have.

    A path may be that of any daemon's pidfile, which is gone when it has ended.

    :param wanted: what the user calls it, or one that is known without that.
    """
    if not isinstance(wanted, str) or "/" in wanted:
        return None
    if any(map(os.path.lexists, _traces_of(places.target_of(wanted)))):
        return None
    if wanted.isdigit():
        meant = _named_with(int(wanted))
        why = f"{wanted} is a number, and a daemon is found by its name or its pidfile"
        return f"{why}; did you mean {meant}, which has it?" if meant else f"{why}; see: daemonry list"
    near = nearest(wanted, (each.title for each in places.all_named()))
    meant = f"did you mean {near}?" if near else "see: daemonry list"
    return f"no daemon of the name {wanted} was ever known; {meant}"


def _traces_of(target: Target) -> Iterator[str]:
    yield target.pidfile
    if target.memory is not None and target.log is not None:  # it is called by a name, and they are its own
        yield from (target.memory, target.log)


def _named_with(number: int) -> str | None:
    for each in places.all_named():
        try:
            daemon = find(each.pidfile)
        except ControlError:  # it can't be told whose that one is
            continue
        if daemon is not None and daemon.pid == number:
            return each.title
    return None


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return which of these may be meant by a word, ``None`` for none."""
    from difflib import get_close_matches

    return next(iter(get_close_matches(word, list(known), n=1)), None)
