"""Shell completion: what the shells run, and the words that they are answered."""

from __future__ import annotations

from . import places
from .commands import COMMANDS, parser_of
from .statuses import DONE

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

    from .screen import Screen

# The words are found by the command itself, so that no list of flags in three languages can be out of date.
SCRIPTS = {
    "bash": """\
_daemonry() {
    local IFS=$'\\n'
    COMPREPLY=($(daemonry complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o bashdefault -o default -F _daemonry daemonry
""",
    "zsh": """\
#compdef daemonry
_daemonry() {
    local -a candidates
    candidates=(${(f)"$(daemonry complete "${(@)words[2,CURRENT]}" 2>/dev/null)"})
    if (( $#candidates )); then compadd -a candidates; else _files; fi
}
compdef _daemonry daemonry
""",
    "fish": """\
complete -c daemonry -n __fish_use_subcommand -f
complete -c daemonry -a '(daemonry complete (commandline -opc)[2..] (commandline -ct) 2>/dev/null)'
""",
}


def add_completion(parser: argparse.ArgumentParser) -> None:
    """Add what ``completion`` takes."""
    parser.add_argument("shell", choices=sorted(SCRIPTS), help="the shell that is to complete")


def completion(options: argparse.Namespace, screen: Screen) -> int:
    """Print what a shell needs to complete the commands."""
    screen.answer(SCRIPTS[options.shell].rstrip("\n"))
    return DONE


def complete(words: list[str]) -> int:
    """Print the words that may stand where the last one, begun or empty, stands."""
    *before, begun = words or [""]
    for candidate in _candidates(before):
        if candidate.startswith(begun) and (begun or not candidate.startswith("-")):
            print(candidate)
    return DONE


def _candidates(before: list[str]) -> Iterable[str]:
    if not before:
        return [*COMMANDS, "--help", "--version"]
    if before[0] not in COMMANDS or "--" in before:
        return []
    actions = parser_of(before[0])._actions
    asked = next((action for action in actions if before[-1] in action.option_strings), None)
    if asked is not None and asked.choices and asked.nargs is None:
        return [*asked.choices]
    flags = [flag for action in actions for flag in action.option_strings]
    if before[0] == "completion":
        return [*SCRIPTS, *flags]
    names = [target.title for target in places.all_named()] if _takes_name(before) else []
    return [*names, *flags]


def _takes_name(before: list[str]) -> bool:
    return bool(COMMANDS[before[0]].target) or before[0] == "restart"
