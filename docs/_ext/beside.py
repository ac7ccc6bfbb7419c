"""The directive ``beside``: daemonry's command beside other tools, from the table in ``docs/beside.json``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

TABLE = Path(__file__).parent.parent / "beside.json"
# Of which a manual says nothing.
_SILENT = "\N{EN DASH}"


def table() -> Any:
    """Return the tools with their manuals, the rows with the tests that show them, and what daemonry lacks."""
    return json.loads(TABLE.read_text(encoding="utf-8"))


def manuals() -> list[str]:
    """Return a line for each tool: which manual says what is said of it."""
    return [f"* {tool['title']}: `{_plain(tool['manual'])} <{tool['url']}>`__" for tool in table()["tools"]]


def rows() -> list[str]:
    """Return the lines of the table, daemonry first."""
    shown = table()
    head = ("", "daemonry", *(tool["title"] for tool in shown["tools"]))
    listed = [(row["what"], row["ours"], *_theirs(row, shown)) for row in shown["rows"]]
    return _table("16 22 16 14 16 20 18 18", head, listed)


def lacking() -> list[str]:
    """Return the lines of the table of what daemonry has not."""
    shown = table()
    head = ("", *(tool["title"] for tool in shown["tools"]))
    return _table("20 16 14 16 20 18 18", head, [(row["what"], *_theirs(row, shown)) for row in shown["lacking"]])


def tests() -> list[str]:
    """Return the lines of a table of the tests that show what is said of daemonry."""
    listed = [(row["what"], ", ".join(f"``{test}``" for test in row["tests"])) for row in table()["rows"]]
    return _table("25 75", ("", "tests"), listed)


def _theirs(row: Any, shown: Any) -> list[str]:
    return [row["theirs"].get(tool["key"], _SILENT) for tool in shown["tools"]]


def _plain(text: str) -> str:
    return text.replace("``", "")


def _table(widths: str, head: tuple[str, ...], listed: list[tuple[str, ...]]) -> list[str]:
    lines = [".. list-table::", "   :header-rows: 1", "   :stub-columns: 1", f"   :widths: {widths}", ""]
    for row in (head, *listed):
        lines += [f"   {'* -' if at == 0 else '  -'} {cell}".rstrip() for at, cell in enumerate(row)]
    return lines


_KINDS = {"": rows, "manuals": manuals, "lacking": lacking, "tests": tests}


def setup(app: object) -> dict[str, bool]:
    """Register the directive."""
    from docutils import nodes
    from docutils.parsers.rst import Directive
    from docutils.statemachine import StringList

    class Beside(Directive):
        """Its argument is what to show; without one it is the table."""

        optional_arguments = 1

        def run(self) -> list[nodes.Node]:
            lines = _KINDS[self.arguments[0] if self.arguments else ""]()
            container = nodes.container()
            self.state.nested_parse(StringList(lines, source=str(TABLE)), self.content_offset, container)
            return container.children

    app.add_directive("beside", Beside)  # type: ignore[attr-defined]
    return {"parallel_read_safe": True}
