"""The directive ``daemonry-unit``: a command and what it prints, which is made by the command itself."""

from __future__ import annotations

import shlex

from daemonry.cli.commands import parse
from daemonry.cli.units import service_of
from daemonry.units import write


def printed(line: str) -> str:
    """Return what ``daemonry unit ...`` prints.

    :param line: the command as it is typed.
    """
    _, name, *words = shlex.split(line)
    assert name == "unit", line
    options = parse(name, words)
    return write(options.manager, service_of(options)).text


def setup(app: object) -> dict[str, bool]:
    """Register the directive."""
    from docutils import nodes
    from docutils.parsers.rst import Directive

    class Unit(Directive):
        """The command is its argument; an option ``language`` says how the answer is coloured."""

        required_arguments = 1
        final_argument_whitespace = True
        option_spec = {"language": str}  # noqa: RUF012 (docutils reads it so)

        def run(self) -> list[nodes.Node]:
            line = " ".join(self.arguments[0].split())
            text = printed(line)
            command = nodes.literal_block("", f"$ {line}", language="console")
            answer = nodes.literal_block("", text, language=self.options.get("language", "none"))
            return [command, answer]

    app.add_directive("daemonry-unit", Unit)  # type: ignore[attr-defined]
    return {"parallel_read_safe": True}
