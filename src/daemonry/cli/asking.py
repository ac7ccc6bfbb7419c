"""The commands that only ask: status, list, logs, doctor."""

from __future__ import annotations

from ..control.daemon import find_surely
from . import places
from .screen import paint
from .sight import facts_of, look_at
from .statuses import DONE, FAILED, IS_NOT_RUNNING, NOT_RUNNING

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from ..doctor import Finding
    from .places import Target
    from .screen import Screen
    from .sight import Sight

_MARKS = {True: ("ok", "good"), False: ("not ok", "bad"), None: ("?", "doubtful")}


def add_json(parser: argparse._ActionsContainer) -> None:
    """Add what a command takes that can answer a program."""
    parser.add_argument("--json", action="store_true", help="answer in JSON")


def add_logs(parser: argparse.ArgumentParser) -> None:
    """Add what ``logs`` takes."""
    parser.add_argument("-f", "--follow", action="store_true", help="go on with what is written, until Ctrl-C")
    parser.add_argument("-n", "--lines", type=_count, metavar="N", help="the last N lines (default: 10, or all since)")
    parser.add_argument(
        "--since", type=_moment, metavar="TIME", help="the lines since 08:00, or '2026-11-27 08:00', or for 10m"
    )


def _count(text: str) -> int:
    if int(text) < 0:
        raise ValueError(text)
    return int(text)


def _moment(text: str) -> float:
    from .since import moment

    return moment(text)


# argparse shows these in "invalid ... value: 'x'".
_count.__name__ = "number of lines"
_moment.__name__ = "time (08:00, 2026-11-27 08:00) or length of time (10m, 1h30m)"


def add_watch(parser: argparse.ArgumentParser) -> None:
    """Add what a command takes that can go on looking."""
    how = parser.add_mutually_exclusive_group()
    add_json(how)
    how.add_argument("-w", "--watch", action="store_true", help="look again and again, until Ctrl-C")


def status(options: argparse.Namespace, screen: Screen) -> int:
    """Say whether a daemon runs; of none in particular, all that were started by name."""
    if options.target is None:
        sights = _show_all(options, screen)
        return max((each.status for each in sights), default=IS_NOT_RUNNING)
    target = places.target_of(options.target)
    if options.json:
        sight = look_at(target)
        screen.answer_json(facts_of(sight))
        return sight.status
    from . import showing

    if options.watch:
        showing.watch(screen, lambda: showing.lines_of(look_at(target)))
    sight = look_at(target)
    for line in showing.lines_of(sight):
        screen.answer(line)
    return sight.status


def list_(options: argparse.Namespace, screen: Screen) -> int:
    """Show the daemons of this user that were started by name."""
    _show_all(options, screen)
    return DONE


def _show_all(options: argparse.Namespace, screen: Screen) -> list[Sight]:
    """Show all, and return what was seen."""
    if options.json:
        sights = _look_at_all()
        screen.answer_json([facts_of(each) for each in sights])
        return sights
    from . import showing
    from .screen import width

    if options.watch:
        showing.watch(screen, lambda: showing.table_of(_look_at_all(), width()))
    sights = _look_at_all()
    for line in showing.table_of(sights, width()):
        screen.answer(line)
    if not sights:
        screen.say("no daemon of this user was started by name: daemonry start --name web -- PROGRAM")
    return sights


def _look_at_all() -> list[Sight]:
    return [look_at(target) for target in places.all_named()]


def logs(options: argparse.Namespace, screen: Screen) -> int:
    """Show what a daemon has written, and go on with what it writes, if that is wanted."""
    from . import log_search, log_view

    target = places.target_of(options.target)
    fd = log_search.open_log_of(target)

    def look() -> int | None:
        try:
            return log_search.open_log_of(target)
        except OSError:  # it is being moved, or the daemon has ended, and its log is where it was
            return None

    start = _start_of(options, fd, target.title)
    end = log_view.copy(fd, start, screen.pass_on)
    if options.since is not None and end == start:
        screen.say(f"{target.title}: nothing was written since then")
    if options.follow:
        log_view.follow(fd, end, screen.pass_on, look)
    return DONE


def _start_of(options: argparse.Namespace, fd: int, title: str) -> int:
    from . import log_view

    if options.since is None:
        return log_view.start_of_last(fd, 10 if options.lines is None else options.lines)
    from .since import start_since

    since = start_since(fd, options.since, title)
    return since if options.lines is None else max(since, log_view.start_of_last(fd, options.lines))


def doctor(options: argparse.Namespace, screen: Screen) -> int:
    """Examine a process: which properties of a well-behaved daemon does it have?"""
    from ..doctor import examine

    pid, pidfile = _patient(options.target)
    if pid is None:
        screen.complain(f"{places.target_of(options.target).title}: not running")
        return NOT_RUNNING
    findings = examine(pid, pidfile)
    if options.json:
        screen.answer_json([each.fields() for each in findings])
    else:
        _show(findings, screen)
    return FAILED if any(each.ok is False for each in findings) else DONE


def _patient(wanted: str | Target) -> tuple[int | None, str | None]:
    if isinstance(wanted, str) and wanted.isascii() and wanted.isdigit():
        return int(wanted), None
    target = places.target_of(wanted)
    daemon = find_surely(target.pidfile)
    return (daemon.pid, target.pidfile) if daemon is not None else (None, None)


def _show(findings: tuple[Finding, ...], screen: Screen) -> None:
    width = max(len(each.name) for each in findings)
    for each in findings:
        mark, colour = _MARKS[each.ok]
        screen.answer(f"{paint(mark.ljust(6), colour)}  {each.name.ljust(width)}  {each.fact}")
        if each.advice:
            screen.answer(f"{' ' * (width + 10)}{each.advice}")
