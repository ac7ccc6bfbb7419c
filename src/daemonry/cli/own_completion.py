"""Shell completion of a Python program that has commands for its own daemon."""

from __future__ import annotations

from shlex import quote

from .statuses import DONE

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable

    from .screen import Screen

# The words are found by the program itself, as it is called: there may be several of one name.
SCRIPTS = {
    "bash": """\
FUNCTION() {
    local IFS=$'\\n'
    COMPREPLY=($("${COMP_WORDS[0]}" complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o bashdefault -o default -F FUNCTION PROGRAM
""",
    "zsh": """\
#compdef PROGRAM
FUNCTION() {
    local -a candidates
    candidates=(${(f)"$("${words[1]}" complete "${(@)words[2,CURRENT]}" 2>/dev/null)"})
    if (( $#candidates )); then compadd -a candidates; else _files; fi
}
compdef FUNCTION PROGRAM
""",
    "fish": """\
function FUNCTION
    set -l words (commandline -opc)
    command $words[1] complete $words[2..] (commandline -ct) 2>/dev/null
end
complete -c PROGRAM -n __fish_use_subcommand -f
complete -c PROGRAM -a '(FUNCTION)'
""",
}


def add_completion(parser: argparse.ArgumentParser) -> None:
    """Add what ``completion`` takes."""
    parser.add_argument("shell", choices=tuple(SCRIPTS), help="the shell that is to complete")


def print_script(options: argparse.Namespace, screen: Screen) -> int:
    """Print what a shell needs to complete the commands of the program in whose name is spoken."""
    function = "_" + "".join(letter if letter.isalnum() else "_" for letter in screen.program)
    script = SCRIPTS[options.shell].replace("FUNCTION", function).replace("PROGRAM", quote(screen.program))
    screen.answer(script.rstrip("\n"))
    return DONE


def complete(words: list[str], candidates: Callable[[list[str]], Iterable[str]]) -> int:
    """Print the words that may stand where the last one, begun or empty, stands.

    :param candidates: returns those that may stand behind others.
    """
    *before, begun = words or [""]
    for candidate in candidates(before):
        if candidate.startswith(begun) and (begun or not candidate.startswith("-")):
            print(candidate)
    return DONE


def words_behind(parser: argparse.ArgumentParser, last: str) -> list[str]:
    """Return the words that may stand behind the last one: those that it takes, or all of the command."""
    asked = next((action for action in parser._actions if last in action.option_strings), None)
    if asked is not None and asked.nargs is None:
        return [*map(str, asked.choices or ())]
    places = [str(each) for action in parser._actions if not action.option_strings for each in action.choices or ()]
    return [*places, *(flag for action in parser._actions for flag in action.option_strings)]
