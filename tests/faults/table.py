"""The counts of a run over all points, as reStructuredText for the page on reliability."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from faults.judging import DEFECT, LOGGED, NOT_MADE, REFUSED, RIGHT, STOPPED, UNTOLD
from faults.judging_kills import EXPECTED

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from faults.judging import Judged

_OF_PHASE = {"start": (RIGHT, REFUSED, UNTOLD, DEFECT), "stop": (STOPPED, LOGGED, DEFECT)}


def tables_of_faults(results: Iterable[Judged]) -> Iterator[str]:
    """Yield a table for each process and phase: a row for each call, a column for each verdict."""
    counts = Counter((_place(each), each.case.call.kind, each.verdict) for each in results if each.verdict != NOT_MADE)
    for place in EXPECTED:
        verdicts = _OF_PHASE[place[1]]
        kinds = sorted({kind for where, kind, _ in counts if where == place})
        rows = [(kind, *(str(counts[place, kind, verdict] or "") for verdict in verdicts)) for kind in kinds]
        total = [str(sum(counts[place, kind, verdict] for kind in kinds)) for verdict in verdicts]
        yield _table(_title(place), ("system call", *verdicts), (*rows, ("all", *total)))


def table_of_kills(results: Iterable[Judged]) -> str:
    """Return a table with a row for each process, phase and signal."""
    counts = Counter((_place(each), each.case.fault, each.verdict) for each in results if each.verdict != NOT_MADE)
    rows = [
        (_title(place), name, ", ".join(f"{verdict}: {counts[place, name, verdict]}" for verdict in (*right, DEFECT)))
        for place, signals in EXPECTED.items()
        for name, right in signals.items()
    ]
    return _table("A signal at each system call", ("at", "signal", "what became of it"), rows)


def _place(result: Judged) -> tuple[str, str]:
    return result.case.call.role, result.case.call.phase


def _title(place: tuple[str, str]) -> str:
    return f"The {place[0]}'s {place[1]}"


def _table(title: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f".. list-table:: {title}", "   :header-rows: 1", ""]
    for row in (head, *rows):
        lines += [f"   {'* -' if at == 0 else '  -'} {cell}".rstrip() for at, cell in enumerate(row)]
    return "\n".join((*lines, ""))
