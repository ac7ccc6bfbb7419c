"""What `status` and `list` show of daemons: a line, a few lines, or a table."""

from __future__ import annotations

import os
import time

from .screen import one_line, paint, span
from .sight import FAILED, RESTARTING, RUNNING, STOPPED, UNKNOWN, Details, details_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ..system.process import Process
    from .homes import Target
    from .screen import Screen
    from .sight import Sight

_WORDS = {
    RUNNING: ("running", "good"),
    RESTARTING: ("restarting", "doubtful"),
    FAILED: ("failed", "bad"),
    STOPPED: ("not running", "doubtful"),
    UNKNOWN: ("unknown", "bad"),
}
_TITLES = ("NAME", "STATE", "PID", "USER", "UP", "MEMORY", "RESTARTS", "LAST END", "SUPERVISOR", "COMMAND")
# What an operator can do without where the terminal is narrow, first what is told by `status NAME` alone.
_SPARE = ("SUPERVISOR", "LAST END", "USER", "MEMORY", "RESTARTS", "UP")
_LAST_LINES = 5
# Seconds from one look to the next, ECMA-48: cursor home (CUP), erase to the right (EL) and below (ED).
_ROUND = 2.0
_HOME, _TO_THE_RIGHT, _BELOW = "\x1b[H", "\x1b[K", "\x1b[J"


def lines_of(sight: Sight) -> Iterator[str]:
    """Yield the lines that tell of one daemon."""
    word, colour = _WORDS[sight.word]
    yield f"{sight.target.title}: {paint(word, colour)}{_more(sight)}"
    if sight.supervisor is not None:
        yield from _about_supervised(sight, sight.supervisor)
    elif sight.word == FAILED:
        yield from _about_failed(sight)


def _more(sight: Sight) -> str:
    if sight.reason is not None:
        return f": {sight.reason}"
    if sight.program is not None:
        return f", {sight.program}, since {_since(sight.program.started)}"
    if sight.word == RESTARTING and sight.past is not None:
        return f": the program {sight.past.ending or 'is being started'}"
    return ""


def _since(moment: float) -> str:
    return f"{_moment(moment)} ({span(time.time() - moment)})"


def _moment(moment: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(moment))


def _about_supervised(sight: Sight, supervisor: Process) -> Iterator[str]:
    details = details_of(sight.program) if sight.program is not None else Details()
    yield from _about("command", details.command)
    yield from _about("user", details.user)
    yield from _about("memory", _size(details.memory))
    yield from _about("started", _times(sight))
    yield from _about("last end", _last_end(sight))
    yield from _about("supervisor", f"{supervisor}, since {_since(supervisor.started)}")


def _about_failed(sight: Sight) -> Iterator[str]:
    yield from _about("started", _times(sight))
    yield from _about("last end", _last_end(sight))
    written, lines = _last_words_of(sight.target)
    if lines:
        yield f"  {'last lines':10}  of {_moment(written)} ({span(time.time() - written)} ago):"
        for line in lines:
            yield f"    {line}"


def _about(what: str, text: str) -> Iterator[str]:
    if text:
        yield f"  {what:10}  {text}"


def _times(sight: Sight) -> str:
    starts = sight.past.starts if sight.past is not None else 0
    return f"{starts} time{'s' if starts != 1 else ''}" if starts else ""


def _last_end(sight: Sight) -> str:
    past = sight.past
    if past is None or not past.ended:
        return ""
    return f"{_moment(past.ended)} ({span(time.time() - past.ended)} ago): {past.ending}"


def _size(count: int | None) -> str:
    return "" if count is None else f"{count / 1e6:.1f} MB"


def _last_words_of(target: Target) -> tuple[float, list[str]]:
    """Return when a daemon that has ended last wrote, and its last lines, as far as this user may read them."""
    from ..system.closing import close
    from . import log_search, log_view

    try:
        fd = log_search.open_last_log_of(target)
    except OSError:  # what lies there isn't surely the daemon's
        return 0.0, []
    if fd is None:
        return 0.0, []
    try:
        return os.fstat(fd).st_mtime, [one_line(line) for line in log_view.last_words(fd, _LAST_LINES, 0)]
    finally:
        close(fd)


def table_of(sights: Iterable[Sight], most: int | None) -> list[str]:
    """Return the lines of a table of daemons.

    :param most: how many columns it may take; ``None`` for as many as it needs.
    """
    from . import tables

    rows = [_TITLES, *map(_row, sights)]
    return tables.fitted(rows, most, _SPARE) if rows[1:] else []


def _row(sight: Sight) -> tuple[str, ...]:
    program, past, supervisor = sight.program, sight.past, sight.supervisor
    details = details_of(program) if program is not None else Details()
    return (
        sight.target.title,
        _WORDS[sight.word][0],
        str(program.pid) if program is not None else "",
        details.user,
        span(time.time() - program.started) if program is not None else "",
        _size(details.memory),
        str(max(past.starts - 1, 0)) if past is not None else "",
        f"{past.ending}, {span(time.time() - past.ended)} ago" if past is not None and past.ended else "",
        str(supervisor.pid) if supervisor is not None else "",
        details.command,
    )


def watch(screen: Screen, draw: Callable[[], Iterable[str]]) -> None:
    """Show the lines again and again, in the place of the ones before on a terminal, until an exception ends it."""
    from .screen import height

    while True:
        lines, most = list(draw()), height()
        if most is None:
            screen.answer("\n".join([time.strftime("%Y-%m-%d %H:%M:%S"), *lines, ""]))
        else:
            screen.pass_on(_painted_over(lines, most).encode())
        time.sleep(_ROUND)


def _painted_over(lines: list[str], most: int) -> str:
    # The last line stays free: at its end a terminal would scroll.
    if len(lines) > most - 1:
        lines = [*lines[: most - 2], f"... and {len(lines) - most + 2} more lines"]
    return f"{_HOME}{''.join(f'{line}{_TO_THE_RIGHT}{chr(10)}' for line in lines)}{_BELOW}"
