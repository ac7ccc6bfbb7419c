"""The directives of the manual page daemonry(1), made from the parsers that the command itself reads its words by."""

from __future__ import annotations

from daemonry.cli.command_table import COMMANDS
from daemonry.cli.commands import parser_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    # A flag as it is written, such as "--lines", and what stands behind it, such as "N" or "".
    Spelling = tuple[str, str]
    # All spellings of one flag, and its help.
    Flag = tuple[tuple[Spelling, ...], str]

# argparse's own names for the flags that are in no group.
_NO_GROUP = ("options", "optional arguments")


def flags() -> list[tuple[tuple[str, ...], str, list[Flag]]]:
    """Return all flags of all commands, each once: which commands take them, the title of their group, and they."""
    takers: dict[tuple[str, Flag], list[str]] = {}
    for name in COMMANDS:
        for title, action in _flags_of(parser_of(name)):
            takers.setdefault((title, action), []).append(name)
    found: dict[tuple[tuple[str, ...], str], list[Flag]] = {}
    for (title, flag), names in takers.items():
        found.setdefault((tuple(names), title), []).append(flag)
    return [(names, title, listed) for (names, title), listed in found.items()]


def _flags_of(parser: argparse.ArgumentParser) -> Iterator[tuple[str, Flag]]:
    formatter = parser._get_formatter()
    for group in parser._action_groups:
        title = "" if group.title in _NO_GROUP else str(group.title)
        for action in group._group_actions:
            if action.option_strings:
                spellings = tuple((each, _metavar_of(action)) for each in action.option_strings)
                yield title, (spellings, formatter._expand_help(action))


def _metavar_of(action: argparse.Action) -> str:
    if action.nargs == 0:
        return ""
    metavar = str(action.metavar or action.dest.upper())
    return f"[{metavar}]" if action.nargs == "?" else metavar


def arguments(name: str) -> list[tuple[str, str]]:
    """Return what a command takes beside flags and the daemon: what it is called, and its help."""
    return [
        (str(action.metavar), action.help or "")
        for action in parser_of(name)._actions
        if not action.option_strings and action.dest not in ("target", "words") and action.metavar
    ]


def sentence(text: str) -> str:
    """Return a help, which has neither a capital nor a full stop, as a sentence."""
    return f"{text[0].upper()}{text[1:].rstrip(':')}."


def setup(app: object) -> dict[str, bool]:
    """Register the directives."""
    from docutils import nodes
    from docutils.parsers.rst import Directive

    def written(text: str) -> list[nodes.Node]:
        """Set a usage: names in capitals are for something else, all other words are typed as they are."""
        found: list[nodes.Node] = []
        for word in text.split(" "):
            bare = word.strip("[].")
            kind = nodes.strong if bare and not bare[0].isupper() and bare not in ("options", "|") else nodes.inline
            found += [kind("", word), nodes.Text(" ")]
        return found[:-1]

    class Synopsis(Directive):
        """One line for each command."""

        def run(self) -> list[nodes.Node]:
            block = nodes.line_block()
            for name, command in COMMANDS.items():
                block += nodes.line("", "", *written(f"daemonry {name} {command.usage}"))
            for flag in ("--help", "--version"):
                block += nodes.line("", "", *written(f"daemonry {flag}"))
            return [block]

    class Commands(Directive):
        """Each command with what it does."""

        def run(self) -> list[nodes.Node]:
            listed = nodes.definition_list()
            for name, command in COMMANDS.items():
                term = nodes.term("", "", *written(f"{name} {command.usage}"))
                taken = (f"{argument} is {what}." for argument, what in arguments(name))
                text = " ".join((sentence(command.summary), *taken))
                body = nodes.definition("", nodes.paragraph("", text))
                listed += nodes.definition_list_item("", term, body)
            return [listed]

    class Options(Directive):
        """All flags, under the title of their group or the names of the commands that take them."""

        def run(self) -> list[nodes.Node]:
            return [section(*each) for each in flags()]

    def section(names: tuple[str, ...], title: str, listed: list[Flag]) -> nodes.Node:
        takers = "all commands" if names == tuple(COMMANDS) else ", ".join(names)
        heading = title or f"of {takers}"
        found = nodes.section(ids=[nodes.make_id(f"options {heading}")], names=[f"options {heading}"])
        found += nodes.title("", f"{heading[0].upper()}{heading[1:]}")
        if title:
            found += nodes.paragraph("", f"Taken by {takers}.")
        options = nodes.option_list()
        for spellings, text in listed:
            options += option(spellings, text)
        found += options
        return found

    def option(spellings: tuple[Spelling, ...], text: str) -> nodes.Node:
        group = nodes.option_group()
        for flag, metavar in spellings:
            one = nodes.option("", nodes.option_string("", flag))
            if metavar:
                one += nodes.option_argument("", metavar, delimiter=" ")
            group += one
        description = nodes.description("", nodes.paragraph("", sentence(text)))
        return nodes.option_list_item("", group, description)

    class Examples(Directive):
        """The examples that each command shows in its help."""

        def run(self) -> list[nodes.Node]:
            found: list[nodes.Node] = []
            for command in COMMANDS.values():
                found.append(nodes.paragraph("", f"{sentence(command.summary)[:-1]}:"))
                text = "\n".join(command.examples)
                found.append(nodes.literal_block(text, text, language="none"))
            return found

    for name, directive in (
        ("daemonry-synopsis", Synopsis),
        ("daemonry-commands", Commands),
        ("daemonry-options", Options),
        ("daemonry-examples", Examples),
    ):
        app.add_directive(name, directive)  # type: ignore[attr-defined]
    return {"parallel_read_safe": True}
