"""The flags that say how a program is to run, and what they come to."""

from __future__ import annotations

import os

from . import places
from .refusal import Refusal
from .statuses import NOT_INSTALLED, USAGE

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

SETTLE = 0.5
# Addressed by a service manager to whoever it has started, and to no other process; see sd_notify(3),
# sd_watchdog_enabled(3), sd_listen_fds(3), systemd.exec(5).
_FOR_THE_LAUNCHER = (
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "LISTEN_PID",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
    "SYSTEMD_EXEC_PID",
)
# The flags whose options the context calls otherwise.
_FLAGS = {
    "uid": "--user",
    "gid": "--group",
    "working_directory": "--chdir",
    "chroot_directory": "--chroot",
    "start_timeout": "--timeout",
    "files_preserve": "--preserve-fd",
    "environment": "--env",
    "stdin": "--stdin",
}
# Seconds, as systemd's DefaultTimeoutStartSec=.
LONGEST_START = 90.0


def add_to(parser: argparse.ArgumentParser) -> None:
    """Add the flags to the parser of a command that runs a program."""
    _add_names(parser.add_argument_group("name and files"))
    _add_place(parser.add_argument_group("place and rights"))
    _add_environment(parser.add_argument_group("environment and descriptors"))
    _add_readiness(parser.add_argument_group("when it counts as started"))
    _add_restart(parser.add_argument_group("starting it again"))


def _add_names(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--name", type=_name, help="call it so, and put its pidfile and log in their usual places")
    group.add_argument("--pidfile", metavar="FILE", help="where its number and its lock are to be")
    group.add_argument("--output", metavar="FILE", help="append what it writes to this file; the same as both of:")
    group.add_argument("--stdout", metavar="FILE", help="append its standard output to this file")
    group.add_argument("--stderr", metavar="FILE", help="append its standard error to this file")
    group.add_argument("--stdin", metavar="FILE", help="let it read this file (default: /dev/null)")


def _add_place(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--chdir", metavar="DIR", default="/", help="work in this directory (default: /)")
    group.add_argument("--chroot", metavar="DIR", help="make this directory its root; PROGRAM is inside it")
    group.add_argument("--umask", type=_octal, default=0o022, metavar="MASK", help="its umask, octal (default: 022)")
    group.add_argument("--user", help="run it as this user, with that user's groups and home")
    group.add_argument("--group", help="run it with this group")
    group.add_argument("--no-supplementary-groups", action="store_true", help="leave the user's other groups away")
    group.add_argument("--no-new-privileges", action="store_true", help="let it gain no rights by set-uid programs")
    group.add_argument("--allow-core", action="store_true", help="let it write core files")


def _add_environment(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--env", action="append", type=_variable, default=[], metavar="NAME=VALUE", help="set a variable"
    )
    group.add_argument(
        "--clean-env", action="store_true", help="begin with PATH alone, what --user means, and what --env sets"
    )
    group.add_argument(
        "--preserve-fd",
        action="append",
        type=_descriptor,
        default=[],
        metavar="N",
        help="leave this descriptor open in it",
    )


def _add_readiness(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--notify", action="store_true", help="when it says READY=1, as to systemd (sd_notify)")
    group.add_argument("--wait-port", type=_port, metavar="PORT", help="when this port accepts connections")
    group.add_argument(
        "--settle",
        type=_seconds,
        default=SETTLE,
        metavar="SECONDS",
        help=f"else, when it has run this long without ending (default: {SETTLE:g})",
    )
    group.add_argument(
        "--timeout",
        type=_seconds,
        default=LONGEST_START,
        metavar="SECONDS",
        help=f"end it when it is not up by then (default: {LONGEST_START:g}; 0: never)",
    )


def _add_restart(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--restart",
        nargs="?",
        const="always",
        choices=("always", "on-failure"),
        metavar="WHEN",
        help="stay with it and start it again when it ends: always (as without WHEN), or on-failure",
    )
    group.add_argument(
        "--restart-pause",
        type=_seconds,
        default=1.0,
        metavar="SECONDS",
        help="the first pause, then doubled (default: 1)",
    )
    group.add_argument(
        "--restart-limit",
        type=_rate,
        default=(5, 60.0),
        metavar="N/SECONDS",
        help="give up when it would be started again more often than that (default: 5/60)",
    )
    group.add_argument(
        "--timestamps", action="store_true", help="with --restart, write the time before each line of its log"
    )


def _name(text: str) -> str:
    if not places.is_name(text):
        raise ValueError(text)
    return text


def _octal(text: str) -> int:
    if not 0 <= int(text, 8) <= 0o777:
        raise ValueError(text)
    return int(text, 8)


def _variable(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise ValueError(text)
    return name, value


def _descriptor(text: str) -> int:
    try:
        os.fstat(int(text))
    except (OSError, OverflowError) as error:
        raise ValueError(text) from error
    return int(text)


def _port(text: str) -> int:
    if not 0 < int(text) < 65536:
        raise ValueError(text)
    return int(text)


def _seconds(text: str) -> float:
    if not 0 <= float(text) < 1e9:
        raise ValueError(text)
    return float(text)


def _rate(text: str) -> tuple[int, float]:
    count, _, seconds = text.partition("/")
    if int(count) < 0:
        raise ValueError(text)
    return int(count), _seconds(seconds)


# argparse shows these in "invalid ... value: 'x'".
_name.__name__ = "name (letters, digits and _.@-)"
_octal.__name__ = "octal mask"
_variable.__name__ = "NAME=VALUE"
_descriptor.__name__ = "open descriptor"
_port.__name__ = "port"
_seconds.__name__ = "number of seconds"
_rate.__name__ = "N/SECONDS"


def target_of(options: argparse.Namespace) -> places.Target | None:
    """Return the daemon that the flags name, ``None`` for one without a name and without a pidfile."""
    if options.name is None:
        if options.pidfile is None:
            return None
        return places.of_pidfile(options.pidfile)
    usual = places.usual(options.name)
    pidfile = usual.pidfile if options.pidfile is None else places.absolute(options.pidfile)
    return places.Target(title=usual.title, pidfile=pidfile, log=usual.log, memory=usual.memory)


def give_place(options: argparse.Namespace) -> None:
    """Call a daemon that has neither a name nor a pidfile as its program is called; else nobody would find it again.

    :raises Refusal: when that is no name.
    """
    if options.name is not None or options.pidfile is not None or not options.words:
        return
    options.name = _name_of(options.words)
    if options.name is None:
        raise Refusal("say by --name how it is to be called, so that it is found again, and its output", USAGE)


# Programs that run what is behind them.
_INTERPRETERS = ("python", "pypy", "node", "perl", "ruby", "php", "sh", "bash", "dash", "zsh", "ksh")
_ENDINGS = (".py", ".sh", ".js", ".pl", ".rb", ".php")


def _name_of(words: list[str]) -> str | None:
    name: str | None = os.path.basename(words[0])
    if words[0].rpartition("/")[2].rstrip("0123456789.") in _INTERPRETERS and len(words) > 1:
        name = _script_of(words[1:])
    root, end = os.path.splitext(name or "")
    name = root if end in _ENDINGS else name
    return name if name is not None and places.is_name(name) else None


def _script_of(words: list[str]) -> str | None:
    for at, word in enumerate(words):
        if word == "-m":  # Python's
            return words[at + 1] if at + 1 < len(words) else None
        if not word.startswith("-"):
            return os.path.basename(word)
        if word.startswith("-") and not word.startswith("--") and word[-1] in "ce":  # it is a text, and has no name
            return None
    return None


def context_options(options: argparse.Namespace, foreground: bool) -> dict[str, Any]:
    """Return the options of the context.

    :param foreground: whether the program takes this command's place: a stream that no flag names stays what it is, and
        what a service manager has told this command is told to the program.
    """
    return {
        **streams(options, foreground),
        "working_directory": options.chdir,
        "chroot_directory": options.chroot,
        "umask": options.umask,
        "uid": _number_or_name(options.user),
        "gid": _number_or_name(options.group),
        "initgroups": options.user is not None and not options.no_supplementary_groups,
        "no_new_privileges": options.no_new_privileges,
        "prevent_core": False if options.allow_core else None,
        "files_preserve": options.preserve_fd,
        "start_timeout": options.timeout or None,
        "environment": environment_of(options, takes_place=foreground and not options.restart),
        "signal_map": {},
        "ready": "manual",
    }


def streams(options: argparse.Namespace, keep: bool) -> dict[str, str | None]:
    """Return the files of the streams; without a flag, the usual log, or what this command has when that is to keep."""
    target = target_of(options)
    usual = None if keep or target is None else target.log
    output = options.output or usual
    return {"stdin": options.stdin, "stdout": options.stdout or output, "stderr": options.stderr or output}


def flags_of(options: argparse.Namespace) -> dict[str, str]:
    """Return by what name the user knows each option of the context: by the flag, or by what it stands for."""
    log = "--output" if options.output else "the log"
    named = {"pidfile": "--pidfile" if options.pidfile else "the pidfile"}
    named["stdout"] = "--stdout" if options.stdout else log
    named["stderr"] = "--stderr" if options.stderr else log
    return {**_FLAGS, **named}


def _number_or_name(text: str | None) -> int | str | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() else text


def environment_of(options: argparse.Namespace, takes_place: bool) -> dict[str, str]:
    """Return the variables that the program gets.

    :param takes_place: whether it becomes this very process, to which a service manager may have said something.
    """
    found: dict[str, str | None] = dict(os.environ)
    if options.clean_env:
        found = {"PATH": os.environ.get("PATH", os.defpath)}
    if not takes_place:
        for name in _FOR_THE_LAUNCHER:
            found.pop(name, None)
    if options.user is not None:
        from ..steps import accounts

        found.update(accounts.other_login(_number_or_name(options.user)))
    # Else Python holds what it prints to a file, some kilobytes of it, and its log is empty for hours.
    found.setdefault("PYTHONUNBUFFERED", "1")
    found.update(options.env)
    return {name: value for name, value in found.items() if value is not None}


def executable(words: list[str], chroot: str | None, environment: dict[str, str]) -> str:
    """Return the path of the program, inside its root.

    :raises Refusal: when there is none that may be executed.
    """
    import shutil

    program = words[0]
    if chroot is None:
        found = shutil.which(program, path=environment.get("PATH"))
        path = os.path.abspath(found) if found is not None else None
    elif not os.path.isdir(chroot):
        raise Refusal(f"there is no directory {chroot} to be the root", USAGE)
    else:
        directories = [""] if "/" in program else environment.get("PATH", os.defpath).split(":")
        inside = (os.path.normpath(os.path.join("/", directory, program)) for directory in directories)
        path = next((each for each in inside if os.access(chroot + each, os.X_OK)), None)
    if path is None and chroot is None:
        from . import hints

        raise Refusal(hints.on_missing(program, environment.get("PATH")), NOT_INSTALLED)
    if path is None:
        raise Refusal(f"there is no program {program} in {chroot} that may be executed", NOT_INSTALLED)
    return path
