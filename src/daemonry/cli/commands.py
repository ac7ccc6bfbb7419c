"""The way from the words of a command line to a subcommand."""

from __future__ import annotations

import os
import sys

from .command_table import COMMANDS, Command
from .screen import Screen, paint
from .statuses import DONE, FAILED, INTERRUPTED, USAGE, status_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable
    from typing import Any


def perform(words: list[str]) -> int:
    """Do what the words ask for; return the exit status."""
    try:
        status = _perform(words)
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        return _with_nobody_reading()
    return status


def _with_nobody_reading() -> int:
    """Return the status when whoever reads has read enough, as in `daemonry list | head -1`."""
    # What is still to be written at the exit must not fail there once more.
    os.dup2(os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC), 1)
    return FAILED


def _perform(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        print(overview())
        return DONE if words else USAGE
    if words[0] in ("-V", "--version"):
        print(f"daemonry {_version()}")
        return DONE
    if words[0] not in COMMANDS:
        from .unknown import nearest

        near = nearest(words[0], COMMANDS)
        meant = f"did you mean {near}?" if near else "try: daemonry --help"
        Screen().complain(f"there is no command {words[0]!r}; {meant}")
        return USAGE
    return _perform_command(words[0], words[1:])


def _perform_command(name: str, words: list[str]) -> int:
    try:
        options = parse(name, words)
    except SystemExit as end:  # argparse has said why
        return end.code if isinstance(end.code, int) else USAGE
    if COMMANDS[name].several:
        from .several import in_turn

        return in_turn(options, lambda: carry_out(function_of(name), options))
    return carry_out(function_of(name), options)


def carry_out(
    function: Callable[[argparse.Namespace, Screen], int], options: argparse.Namespace, program: str = "daemonry"
) -> int:
    """Call the function of a command; say what went wrong, and return the exit status.

    :param program: in whose name it is said.
    """
    from ..errors import DaemonError

    screen = Screen(options.quiet, program)
    try:
        return function(options, screen)
    except BrokenPipeError:
        return _with_nobody_reading()
    except DaemonError as error:
        screen.complain(str(error))
        return status_of(error)
    except OSError as error:
        # The number of a system's error, which str() would begin with, tells a user nothing.
        about = ": ".join(str(each) for each in (error.strerror, error.filename) if each is not None)
        screen.complain(about or str(error))
        return status_of(error)
    except KeyboardInterrupt:
        return INTERRUPTED


def function_of(name: str) -> Callable[[argparse.Namespace, Screen], int]:
    """Return the function that does a command."""
    command = COMMANDS[name]
    function: Callable[[Any, Screen], int] = getattr(_module(command), command.function)
    return function


def _module(command: Command) -> Any:
    # Not by importlib, whose loading costs `daemonry status` as much as what it asks.
    return __import__(command.module, globals(), fromlist=["*"], level=1)


_PLAIN_FLAGS = {"--json", "-q", "--quiet"}


class _Plain:
    def __init__(self, **options: object) -> None:
        self.__dict__.update(options)


def parse(name: str, words: list[str]) -> Any:
    """Return what the words behind a command mean.

    :raises SystemExit: when that is nothing, or when help is asked for.
    """
    command = COMMANDS[name]
    target = [word for word in words if not word.startswith("-")]
    if command.is_plain and len(target) == 1 and _PLAIN_FLAGS.issuperset(set(words) - set(target)):
        # What monitors ask in a loop: argparse would cost as much as all the rest.
        return _Plain(target=target[0], json="--json" in words, watch=False, quiet=bool({"-q", "--quiet"} & set(words)))
    parser = parser_of(name)
    if command.several:
        # Intermixed, else a flag between two words would end the list of daemons.
        options = parser.parse_intermixed_args(words)
        if bool(options.target) == options.__dict__.get("all", False):
            parser.error(f"say which daemons, by name or pidfile{', or --all' if command.takes_all else ''}")
    elif command.target or "--" not in words:
        options, unknown = parser.parse_known_args(words)
        if unknown:
            parser.error(f"unrecognized arguments: {' '.join(unknown)}{_advice_on(name, words, options, unknown[0])}")
        options.has_program = False
    else:
        # What is behind -- is the program's own, and argparse would drop a second -- of it.
        at = words.index("--")
        options = parser.parse_args(words[:at])
        options.words = [*getattr(options, "words", []), *words[at + 1 :]]
        options.has_program = True
    options.told = words
    return options


def _advice_on(name: str, words: list[str], options: argparse.Namespace, unknown: str) -> str:
    """Return what to put behind a word that is no flag of this command's: it may be the program's own."""
    before = words[: words.index(unknown)] if unknown in words else []  # else it is half of one, such as -qx
    program = next(iter(getattr(options, "words", [])), None)
    if program not in before:
        return ""
    import shlex

    at = len(before) - 1 - before[::-1].index(program)
    meant = shlex.join(["daemonry", name, *words[:at], "--", *words[at:]])
    return f"; what is the program's own stands behind --: {meant}"


def parser_of(name: str) -> argparse.ArgumentParser:
    """Make the parser of one command; the others' flags need not be known for it."""
    import argparse

    command = COMMANDS[name]
    examples = "\n".join(f"  {example}" for example in command.examples)
    parser = argparse.ArgumentParser(
        prog=f"daemonry {name}",
        usage=f"daemonry {name} {command.usage}",
        description=f"{command.summary[0].upper()}{command.summary[1:]}.",
        epilog=f"{'example' if len(command.examples) == 1 else 'examples'}:\n{examples}",
        formatter_class=_formatter,
        allow_abbrev=False,
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="say nothing but errors and answers")
    if command.target and command.several:
        parser.add_argument("target", nargs="*", metavar=command.target, help="the daemons, one after the other")
    elif command.target:
        how_many = "?" if command.is_optional else None
        parser.add_argument("target", nargs=how_many, metavar=command.target, help="the daemon")
    if command.takes_all:
        parser.add_argument("--all", action="store_true", help="all that this user has started by name")
    if command.adds:
        getattr(_module(command), command.adds)(parser)
    return parser


def _formatter(prog: str) -> argparse.HelpFormatter:
    import argparse

    # With a width of its own argparse need not import shutil to ask the terminal.
    return argparse.RawDescriptionHelpFormatter(prog, width=100)


def overview() -> str:
    """Return the help for all commands."""
    width = max(map(len, COMMANDS))
    lines = [f"  {paint(name.ljust(width), 'strong')}  {command.summary}" for name, command in COMMANDS.items()]
    return "\n".join(
        (
            "usage: daemonry COMMAND [options] ...",
            "",
            "Turns any program into a well-behaved daemon, and controls it.",
            "",
            "commands:",
            *lines,
            "",
            "NAME is what --name called a daemon when it was started; PIDFILE is a path, with a slash in it.",
            "",
            "first steps:",
            "  daemonry start --name web --wait-port 8000 -- python3 -m http.server -d /srv/www 8000",
            "  daemonry status web",
            "  daemonry logs -f web",
            "  daemonry stop web",
            "",
            "Each command tells its flags and shows examples: daemonry start --help",
        )
    )


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("daemonry")
    except PackageNotFoundError:  # run from its source
        return "(not installed)"
