"""Shell completion: what the shells run, and the words that they are answered."""

from __future__ import annotations

from . import places
from .command_table import COMMANDS
from .commands import parser_of
from .statuses import DONE

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

    from .screen import Screen

# The words are found by the command itself, so that no list of flags in three languages can be out of date. What stands
# behind -- is another command, which the shell completes as if it stood alone.
SCRIPTS = {
    "bash": """\
_daemonry() {
    local at
    for ((at = 1; at < COMP_CWORD; at++)); do
        if [[ ${COMP_WORDS[at]} == -- ]]; then
            _daemonry_program $((at + 1))
            return
        fi
    done
    local IFS=$'\\n'
    COMPREPLY=($(daemonry complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
_daemonry_program() {
    local name
    for name in _comp_command_offset _command_offset; do
        if declare -F "$name" >/dev/null; then
            "$name" "$1"
            return
        fi
    done
    if ((COMP_CWORD == $1)); then
        local IFS=$'\\n'
        COMPREPLY=($(compgen -c -- "${COMP_WORDS[COMP_CWORD]}"))
    fi
}
complete -o bashdefault -o default -F _daemonry daemonry
""",
    "zsh": """\
#compdef daemonry
_daemonry() {
    local -a candidates
    local at=${words[(i)--]}
    if (( at < CURRENT )); then
        shift at words
        (( CURRENT -= at ))
        _normal
        return
    fi
    candidates=(${(f)"$(daemonry complete "${(@)words[2,CURRENT]}" 2>/dev/null)"})
    if (( $#candidates )); then compadd -a candidates; else _files; fi
}
compdef _daemonry daemonry
""",
    "fish": """\
function __daemonry_complete
    set -l words (commandline -opc) (commandline -ct)
    set -l at (contains -i -- -- $words[..-2])
    if set -q at[1]
        complete -C (string join -- ' ' (string escape -- $words[(math $at + 1)..-2]) $words[-1])
    else
        daemonry complete $words[2..] 2>/dev/null
    end
end
complete -c daemonry -n __fish_use_subcommand -f
complete -c daemonry -a '(__daemonry_complete)'
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
    if asked is not None and asked.nargs is None:
        values = [*(asked.choices or _values_of(asked))]
        if values:
            return values
    flags = [flag for action in actions for flag in action.option_strings]
    positionals = [
        each for action in actions if not action.option_strings for each in action.choices or _values_of(action)
    ]
    names = _names() if before[0] == "restart" else []
    return [*names, *positionals, *flags]


def _values_of(action: argparse.Action) -> Iterable[str]:
    """Return what may stand for a flag's value, or for another word; nothing where that is the shell's to know."""
    find = {"target": _names, "name": _names, "user": _users, "group": _groups, "signal": _signals}.get(action.dest)
    return find() if find is not None else []


def _names() -> Iterable[str]:
    return [target.title for target in places.all_named()]


def _users() -> Iterable[str]:
    import pwd

    return [each.pw_name for each in pwd.getpwall()]


def _groups() -> Iterable[str]:
    import grp

    return [each.gr_name for each in grp.getgrall()]


def _signals() -> Iterable[str]:
    import signal

    return [each.name[3:] for each in signal.Signals]
