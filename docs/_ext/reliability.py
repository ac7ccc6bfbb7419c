"""The directive ``shown``: what the tests of reliability have shown, from what their last whole run wrote down."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

EVIDENCE = Path(__file__).parent.parent / "reliability.json"


def evidence() -> Any:
    """Return what the run wrote down."""
    return json.loads(EVIDENCE.read_text(encoding="utf-8"))


def kinds() -> list[str]:
    """Return what was shown, in the order of the run."""
    return list(dict.fromkeys(row["kind"] for row in evidence()["rows"]))


def summary() -> list[str]:
    """Return the lines of a table of all kinds with their numbers."""
    counts: dict[str, Counter[str]] = {kind: Counter() for kind in kinds()}
    properties = Counter(row["kind"] for row in evidence()["rows"])
    for row in evidence()["rows"]:
        counts[row["kind"]].update(row["verdicts"])
    rows = [
        (kind, str(properties[kind]), f"{_total(verdicts):,}", _told(verdicts)) for kind, verdicts in counts.items()
    ]
    every = sum(map(_total, counts.values()))
    return _table(
        "45 12 12 80",
        ("what is hurt", "properties", "cases", "what became of them"),
        [*rows, ("all", str(_total(properties)), f"{every:,}", "")],
    )


def of_kind(kind: str) -> list[str]:
    """Return the lines of a table of all properties of one kind, and of the tables that its tests gave."""
    rows = [row for row in evidence()["rows"] if row["kind"] == kind]
    listed = [(row["sentence"], f"{_total(row['verdicts']):,}", _told(row["verdicts"])) for row in rows]
    lines = _table("70 10 45", ("what holds", "cases", "what became of them"), listed)
    for row in rows:
        for table in row["tables"]:
            lines += ["", *table.splitlines()]
    return lines


def _total(counts: dict[str, int]) -> int:
    return sum(counts.values())


def _told(verdicts: dict[str, int]) -> str:
    return ", ".join(f"{verdict}: {number:,}" for verdict, number in verdicts.items())


def _table(widths: str, head: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    lines = [".. list-table::", "   :header-rows: 1", f"   :widths: {widths}", ""]
    for row in (head, *rows):
        lines += [f"   {'* -' if at == 0 else '  -'} {cell}".rstrip() for at, cell in enumerate(row)]
    return lines


def setup(app: object) -> dict[str, bool]:
    """Register the directive."""
    from docutils import nodes
    from docutils.parsers.rst import Directive
    from docutils.statemachine import StringList

    class Shown(Directive):
        """A kind is its argument; without one it is the table of all kinds, below what they were seen with."""

        optional_arguments = 1
        final_argument_whitespace = True

        def run(self) -> list[nodes.Node]:
            seen = evidence()
            lines = [f"Seen with {seen['python']} on {seen['system']}.", "", *summary()]
            if self.arguments:
                lines = of_kind(self.arguments[0])
            container = nodes.container()
            self.state.nested_parse(StringList(lines, source=str(EVIDENCE)), self.content_offset, container)
            return container.children

    app.add_directive("shown", Shown)  # type: ignore[attr-defined]
    return {"parallel_read_safe": True}
