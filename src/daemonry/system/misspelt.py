"""What may be meant by an option that there is not; loaded when one is given."""

from __future__ import annotations

from difflib import get_close_matches

from . import frames

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

# What such options are called elsewhere: in python-daemon, start-stop-daemon(8), daemonize(1), systemd.exec(5), click.
_CALLED_ELSEWHERE = {
    "chroot": "chroot_directory",
    "root_directory": "chroot_directory",
    "chdir": "working_directory",
    "cwd": "working_directory",
    "workdir": "working_directory",
    "user": "uid",
    "group": "gid",
    "groups": "initgroups",
    "lock": "pidfile",
    "lockfile": "pidfile",
    "env": "environment",
    "timeout": "start_timeout",
    "signals": "signal_map",
    "handlers": "signal_map",
    "log": "stdout or stderr",
    "logfile": "stdout or stderr",
    "output": "stdout or stderr",
    "daemonize": "detach_process",
    "fork": "detach_process",
    "foreground": "detach_process",
}


def told_of(error: TypeError, name: str, positions: Iterable[object], options: dict[str, Any], called: Any) -> None:
    """Have the error say what of these arguments a class does not take; called in its handler.

    :param called: the function that has refused them.
    """
    known = called.__code__.co_varnames[: called.__code__.co_argcount + called.__code__.co_kwonlyargcount][1:]
    unknown = [each for each in options if each not in known]
    if unknown:
        meant = "; ".join(_meant_by(each, known) for each in unknown)
        error.args = (f"{name}() has no such option: {meant}",)
    elif positions:
        error.args = (f"{name}() takes its options by their names, as in {name}(umask=0o022)",)
    frames.hide(error)


def _meant_by(given: str, known: Iterable[str]) -> str:
    near = get_close_matches(given.lower(), known, n=1)
    meant = _CALLED_ELSEWHERE.get(given.lower()) or (near[0] if near else None)
    return f"{given}, did you mean {meant}?" if meant else given
