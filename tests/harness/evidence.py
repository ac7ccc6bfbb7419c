"""What a run has shown of daemonry's reliability: a row for each property, for docs/reliability.rst."""

from __future__ import annotations

import json
import platform
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

HELD = "held"
FAILED = "failed"
NOT_RUN = "not run"


@dataclass
class Row:
    """One property: a test's name is its sentence."""

    kind: str
    sentence: str
    verdicts: Counter[str] = field(default_factory=Counter)
    """How many cases came to which verdict."""
    tables: list[str] = field(default_factory=list)
    """What the test has to show besides, as reStructuredText."""


class Cases:
    """What one test counts of its cases; one that counts nothing is a single case."""

    def __init__(self) -> None:
        self.verdicts: Counter[str] = Counter()
        self.tables: list[str] = []

    def add(self, number: int = 1, verdict: str = HELD) -> None:
        """Count cases that came to a verdict."""
        self.verdicts[verdict] += number

    def show(self, table: str) -> None:
        """Give a table to the page."""
        self.tables.append(table)


class Evidence:
    """The rows of a run, in the order in which its tests ran."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str], Row] = {}

    def take(self, kind: str, name: str, outcome: str, cases: Cases) -> None:
        """Take in what became of one test, by the outcome that pytest tells."""
        sentence = sentence_of(name)
        row = self._rows.setdefault((kind, sentence), Row(kind, sentence))
        if outcome == "passed":
            row.verdicts.update(cases.verdicts or {HELD: 1})
            row.tables += cases.tables
        else:
            row.verdicts[NOT_RUN if outcome == "skipped" else FAILED] += 1

    def write(self, path: Path) -> None:
        """Write the rows, and what they were seen with, as JSON."""
        told = {
            "python": f"{platform.python_implementation()} {platform.python_version()}",
            "system": f"{platform.system()} {'.'.join(platform.release().split('.')[:2])}, {platform.machine()}",
            "rows": [vars(row) for row in self._rows.values()],
        }
        path.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


def sentence_of(name: str) -> str:
    """Return the sentence that a test's name is."""
    words = name.partition("[")[0].removeprefix("test_").replace("_", " ")
    return f"{words[:1].upper()}{words[1:]}."
