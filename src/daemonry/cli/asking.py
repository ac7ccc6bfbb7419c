"""The commands that only ask: status, list, logs, doctor."""

from __future__ import annotations

import time

from ..control import find_surely, has_crashed
from ..errors import ControlError
from . import places
from .screen import paint, span, table
from .statuses import (
    DONE,
    FAILED,
    IS_DEAD_WITH_PIDFILE,
    IS_NOT_RUNNING,
    IS_RUNNING,
    IS_UNKNOWN,
    NOT_RUNNING,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

    from ..control import Daemon
    from ..doctor import Finding
    from .places import Target
    from .screen import Screen

_WORDS = {
    IS_RUNNING: ("running", "good"),
    IS_DEAD_WITH_PIDFILE: ("dead, and its pidfile is left", "bad"),
    IS_NOT_RUNNING: ("not running", "doubtful"),
    IS_UNKNOWN: ("unknown", "bad"),
}
_MARKS = {True: ("ok", "good"), False: ("not ok", "bad"), None: ("?", "doubtful")}


def add_json(parser: argparse.ArgumentParser) -> None:
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


def status(options: argparse.Namespace, screen: Screen) -> int:
    """Say whether a daemon runs."""
    target = places.target_of(options.target)
    state, daemon, doubt = _state_of(target)
    if options.json:
        screen.answer_json(_facts(target, state, daemon, doubt))
    else:
        word, colour = _WORDS[state]
        screen.answer(f"{target.title}: {paint(word, colour)}{_more(daemon, doubt)}")
    return state


def _state_of(target: Target) -> tuple[int, Daemon | None, str | None]:
    try:
        daemon, has_left_it = has_crashed(target.pidfile)
    except ControlError as error:
        return IS_UNKNOWN, None, str(error)
    if daemon is not None:
        return IS_RUNNING, daemon, None
    return (IS_DEAD_WITH_PIDFILE if has_left_it else IS_NOT_RUNNING), None, None


def _more(daemon: Daemon | None, doubt: str | None) -> str:
    if daemon is None:
        return f": {doubt}" if doubt else ""
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(daemon.started))
    return f", {daemon.process}, since {since} ({span(time.time() - daemon.started)})"


def _facts(target: Target, state: int, daemon: Daemon | None, doubt: str | None) -> dict[str, Any]:
    return {
        "name": target.title,
        "state": ("running", "dead", "", "stopped", "unknown")[state],
        "pid": daemon.pid if daemon else None,
        "started": daemon.started if daemon else None,
        "program": daemon.process.name if daemon else None,
        "pidfile": target.pidfile,
        "log": target.log,
        "reason": doubt,
    }


def list_(options: argparse.Namespace, screen: Screen) -> int:
    """Show the daemons of this user that were started by name."""
    found = [(target, *_state_of(target)) for target in places.all_named()]
    if options.json:
        screen.answer_json([_facts(*each) for each in found])
        return DONE
    rows = [("NAME", "STATE", "PID", "UP", "PROGRAM")] if found else []
    for target, state, daemon, _ in found:
        about = (
            (str(daemon.pid), span(time.time() - daemon.started), daemon.process.printable_name)
            if daemon
            else ("", "", "")
        )
        rows.append((target.title, _WORDS[state][0], *about))
    for line in table(rows):
        screen.answer(line)
    return DONE


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

    end = log_view.copy(fd, _start_of(options, fd, target.title), screen.pass_on)
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
