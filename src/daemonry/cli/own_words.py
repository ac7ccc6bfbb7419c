"""The words of a Python program that has commands for its own daemon: theirs, and its own beside them."""

from __future__ import annotations

import argparse
import copy

from ..errors import InvalidOption
from ..system.record import Record
from . import asking, own_completion, steering

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .screen import Screen

    Function = Callable[[argparse.Namespace, Screen], int]

# Where argparse puts the command: a name that no option of a program's own will have.
_COMMAND = "command of the service"


class Command(Record):
    """A command of a program's own.

    :ivar summary: ``str``, what its help says.
    :ivar takes: ``str``, what of the program's own may stand behind it: ``all``, its ``options``, ``nothing``.
    :ivar function: what does it; ``None`` for one that opens the context.
    :ivar adds: what adds its flags.
    """

    summary: str
    takes: str = "options"
    function: Function | None = None
    adds: Callable[[argparse.ArgumentParser], None] | None = None


COMMANDS = {
    "start": Command(summary="start it as a daemon", takes="all"),
    "run": Command(summary="run it in the foreground, and show what it writes", takes="all"),
    "stop": Command(summary="stop it", function=steering.stop, adds=steering.add_schedule),
    "restart": Command(summary="stop it, and start it again", takes="all", adds=steering.add_schedule),
    "reload": Command(summary="let it read its configuration again (SIGHUP)", function=steering.reload),
    "status": Command(summary="tell whether it runs", function=asking.status, adds=asking.add_watch),
    "logs": Command(summary="show what it has written", function=asking.logs, adds=asking.add_logs),
    "doctor": Command(
        summary="tell which properties of a well-behaved daemon it has", function=asking.doctor, adds=asking.add_json
    ),
    "completion": Command(
        summary="print what a shell needs to complete these commands",
        takes="nothing",
        function=own_completion.print_script,
        adds=own_completion.add_completion,
    ),
}


class Words:
    """The parser of the commands.

    :param name: of the program.
    :param own: has the program's own arguments; ``None`` when it has none.
    """

    def __init__(self, name: str, own: argparse.ArgumentParser | None) -> None:
        self.name = name
        # Without one of its own, a program has one that takes nothing.
        self._own = own or argparse.ArgumentParser(epilog=f"example: {name} start")
        self._all = argparse.ArgumentParser(
            prog=name,
            description=self._own.description,
            epilog=self._own.epilog,
            formatter_class=self._own.formatter_class,
        )
        commands = self._all.add_subparsers(dest=_COMMAND, required=True, metavar="COMMAND")
        self._parsers = {word: self._add(commands, word, command) for word, command in COMMANDS.items()}

    def parse(self, words: list[str]) -> tuple[str, argparse.Namespace, argparse.Namespace]:
        """Return the command that is named, what the other words mean, and what of that is the program's own.

        :raises SystemExit: when that is nothing, or when help is asked for.
        """
        options = self._all.parse_args(words)
        command = vars(options).pop(_COMMAND)
        own = {name: value for name, value in vars(options).items() if name in self._theirs | {*self._own._defaults}}
        return command, options, argparse.Namespace(**own)

    def candidates(self, before: list[str]) -> list[str]:
        """Return the words that may stand behind these."""
        if not before:
            return [*COMMANDS, "--help"]
        parser = self._parsers.get(before[0])
        return [] if parser is None else own_completion.words_behind(parser, before[-1])

    @property
    def _theirs(self) -> set[str]:
        return {action.dest for action in self._own._actions} - {"help", argparse.SUPPRESS}

    def _add(self, commands: Any, word: str, command: Command) -> argparse.ArgumentParser:
        about = {"help": command.summary, "description": f"{command.summary[0].upper()}{command.summary[1:]}."}
        parser: argparse.ArgumentParser = commands.add_parser(word, **about, **_settings(self._own, command.takes))
        if command.takes == "options":
            _add_options_of(self._own, parser)
        known = len(parser._actions)
        try:
            _add_quiet(parser)
            if command.adds is not None:
                command.adds(parser)
        except argparse.ArgumentError as error:
            raise InvalidOption("parser", str(error)) from error
        for action in parser._actions[known:]:
            if action.dest in self._theirs:
                raise InvalidOption("parser", f"{word} has an argument {action.dest!r} already: call it otherwise")
        return parser


def _settings(own: argparse.ArgumentParser, takes: str) -> dict[str, Any]:
    """Return how a command's words are to be read: as the program's own are."""
    if takes == "nothing":
        return {}
    alike = ("formatter_class", "prefix_chars", "fromfile_prefix_chars", "allow_abbrev")
    settings = {name: getattr(own, name) for name in alike}
    settings["add_help"] = not own.add_help
    return {**settings, **({"parents": [own]} if takes == "all" else {"conflict_handler": "resolve"})}


def _add_options_of(own: argparse.ArgumentParser, parser: argparse.ArgumentParser) -> None:
    """Add the program's own options, by which the context may be found, to a command that only asks or stops.

    Where both have an option of one name, it is the command's. Arguments without a dash are not asked for.
    """
    for action in own._actions:
        if action.option_strings:
            copied = copy.copy(action)
            copied.option_strings = [*action.option_strings]  # of which some may be the command's
            parser._add_action(copied)
        elif argparse.SUPPRESS not in (action.dest, action.default):
            parser.set_defaults(**{action.dest: action.default})
    parser.set_defaults(**own._defaults)


def _add_quiet(parser: argparse.ArgumentParser) -> None:
    spellings = [each for each in ("-q", "--quiet") if each not in parser._option_string_actions]
    parser.add_argument(*spellings, action="store_true", dest="quiet", help="say nothing but errors and answers")
