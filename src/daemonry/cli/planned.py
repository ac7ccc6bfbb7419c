"""What a start would do, in the words of who runs a program: the steps of the library are its own affair."""

from __future__ import annotations

import shlex

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator
    from typing import Any, Union

    from ..plan import PlannedStep
    from .program import Program
    from .supervisor import Supervisor

    # A step's own name, what an operator calls what comes of it ("" for nothing to be seen), and that.
    Row = tuple[str, str, Union[str, None]]

_CALLED = {
    "leave_init": "process 1",
    "detach": "session",
    "reset_signals": "signals",
    "close_descriptors": "descriptors",
    "redirect_streams": "streams",
    "prevent_core_dump": "core files",
    "lock_pidfile": "pidfile",
    "change_root": "root directory",
    "change_working_directory": "directory",
    "set_umask": "umask",
    "clean_environment": "environment",
    "drop_privileges": "rights",
    "notify_ready": "is up",
}
# Of which nothing is said when there is nothing to do.
_SILENT = ("leave_init", "change_root", "lock_pidfile")


def rows(steps: Iterable[PlannedStep], context: Program | Supervisor, options: argparse.Namespace) -> Iterator[Row]:
    """Yield what each step comes to, and then what is done with the program."""
    for step in steps:
        value: Any = step.value
        silent = value is None or (step.name in _SILENT and value.does_nothing)
        text = _is_up(context, options) if step.name == "notify_ready" else _told(step.name, value)
        yield step.name, "" if silent else _CALLED.get(step.name, ""), text
    program = shlex.join((context.path, *context.words[1:]))
    yield "supervise" if options.restart else "run_program", "program", program
    if options.restart:
        yield "restart", "starts again", _starts_again(options)


def _told(step: str, value: Any) -> str | None:
    if step == "detach":
        return "its own, without a terminal"
    if step == "close_descriptors":
        return _descriptors(value)
    if step == "prevent_core_dump":
        return "left to its limits" if value.does_nothing else "none"
    if step == "set_umask":
        return f"{value.mask:04o}"
    text = None if value is None else str(value)
    return text and text.replace("mask empty", "none blocked").replace("replaced by ", "")


def _descriptors(value: Any) -> str:
    found: dict[bool, list[str]] = {True: [], False: []}
    for number, what, stays, _ in value.fates():
        found[stays].append(f"{number} ({what})")
    told = [f"{'keeps' if stays else 'closes'} {', '.join(those)}" for stays, those in found.items() if those]
    return "; ".join(told) or "none but its streams"


def _is_up(context: Program | Supervisor, options: argparse.Namespace) -> str:
    limit = f"ended if it is not within {options.timeout:g} s" if options.timeout else "waited for without end"
    return f"{context.readiness.when_up()}; {limit}"


def _starts_again(options: argparse.Namespace) -> str:
    when = "when it fails" if options.restart == "on-failure" else "whenever it ends"
    most, window = options.restart_limit
    return f"{when}, after {options.restart_pause:g} s, then longer; given up beyond {most} times in {window:g} s"
