"""The directives ``measured`` and ``measured-with``: what a run of ``benchmarks/run`` found, as it wrote it down."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bars import svg

FIGURES = Path(__file__).parent.parent / "benchmarks.json"
OURS = "daemonry"


def run() -> Any:
    """Return what the run wrote down."""
    return json.loads(FIGURES.read_text(encoding="utf-8"))


def circumstances() -> list[str]:
    """Return the lines of a list of the machine and the versions."""
    found = run()
    machine = found["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    return [
        f"Measured on {found['date']}, in {found['rounds']} rounds:",
        "",
        f"* {machine['python']} on {machine['system']}; {machine['processors']}; {machine['memory']};",
        f"* as {machine['user']}; pidfiles {machine['pidfiles']}; {machine['limit']};",
        f"* {versions}.",
    ]


def table(row: dict[str, Any]) -> list[str]:
    """Return the lines of a table of one question."""
    base = row["base"]
    head = ("", row["unit"], "quartiles", *([f"beside {base}", "quartiles"] if base else ()))
    lines = [".. list-table::", "   :header-rows: 1", ""]
    for cells in (head, *(_cells(name, figures, base) for name, figures in row["figures"].items())):
        lines += [f"   {'* -' if at == 0 else '  -'} {cell}".rstrip() for at, cell in enumerate(cells)]
    return [*lines, "", *(f"* {name} {note}" for name, note in row["notes"].items()), ""]


def _cells(name: str, figures: dict[str, Any], base: str | None) -> tuple[str, ...]:
    cells = (f"**{name}**" if name == OURS else name, *_spread(figures["value"], ",g"))
    if base is None:
        return cells
    return (*cells, *(_spread(figures["ratio"], ".2f") if figures["ratio"] else ("", "")))


def _spread(spread: list[float], form: str) -> tuple[str, str]:
    low, median, high = (format(value, form) for value in spread)
    return median, "" if low == high else f"{low} to {high}"


def plot(row: dict[str, Any]) -> str:
    """Return the bars of one question, as SVG."""
    bars = [(name, each["value"], f"{each['value'][1]:,g} {row['unit']}") for name, each in row["figures"].items()]
    return svg(row["title"], bars, OURS)


def setup(app: object) -> dict[str, bool]:
    """Register the directives."""
    from docutils import nodes
    from docutils.parsers.rst import Directive
    from docutils.statemachine import StringList

    def parsed(directive: Directive, lines: list[str]) -> list[nodes.Node]:
        container = nodes.container()
        directive.state.nested_parse(StringList(lines, source=str(FIGURES)), directive.content_offset, container)
        return list(container.children)

    class Measured(Directive):
        """Its arguments are keys of rows, each of which gets a plot and a table."""

        required_arguments = 1
        final_argument_whitespace = True

        def run(self) -> list[nodes.Node]:
            rows = {row["key"]: row for row in run()["rows"]}
            shown: list[nodes.Node] = []
            for row in (rows[key] for key in self.arguments[0].split() if key in rows):
                shown += parsed(self, [f"*{row['title']}*"])
                shown.append(nodes.raw("", plot(row), format="html"))
                shown += parsed(self, table(row))
            return shown

    class MeasuredWith(Directive):
        """The machine and the versions."""

        def run(self) -> list[nodes.Node]:
            return parsed(self, circumstances())

    app.add_directive("measured", Measured)  # type: ignore[attr-defined]
    app.add_directive("measured-with", MeasuredWith)  # type: ignore[attr-defined]
    return {"parallel_read_safe": True}
