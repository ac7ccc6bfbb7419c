"""What a start of daemonry may cost at most, in what does not depend on the load.

No change can undo a gain unseen: continuous integration runs ``benchmarks/run --bounds``. Who makes a start cheaper
makes the number smaller here; who has to make it dearer makes the number bigger, and says in the commit what it buys.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from .launching import Setting
from .measures import counts, heaps, starts
from .peers import BARE, OURS
from .rows import Row

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from .bench import Bench


@dataclass(frozen=True)
class Bound:
    """The most that a row may say of daemonry.

    :param most: so many units of the row, or, beside the bare script, so many times what that takes.
    """

    key: str
    most: float
    beside_bare: bool = False


# A little above what the interpreter of continuous integration, CPython 3.11, takes.
BOUNDS = (
    Bound("instructions", 1.88, beside_bare=True),
    Bound("instructions-pidfile", 2.15, beside_bare=True),
    Bound("calls", 72),
    Bound("calls-pidfile", 130),
    Bound("calls-beside", 20),
    Bound("calls-beside-pidfile", 20),
    Bound("modules", 73),
    Bound("modules-pidfile", 88),
    Bound("rss", 1.34, beside_bare=True),
    Bound("rss-pidfile", 1.48, beside_bare=True),
    Bound("faults-objects", 550),
)
# Enough of them that a walk over the heap stands out from all else that is copied.
OBJECTS = 100_000


def verdicts(rows: list[Row], bounds: tuple[Bound, ...] = BOUNDS) -> Iterator[tuple[bool, str]]:
    """Yield for each bound whether it holds, and a line that says so; what could not be counted does not hold."""
    known = {row.key: row for row in rows}
    for bound in bounds:
        row = known.get(bound.key)
        if row is None or not row.values[OURS]:
            yield False, f"{bound.key}: could not be counted"
            continue
        found = _found(bound, row)
        unit = "times the bare script's" if bound.beside_bare else row.unit
        yield found <= bound.most, f"{row.title}: {found:,.4g} {unit}; at most {bound.most:,g}"


def measured(bench: Bench) -> list[Row]:
    """Count what the bounds are about."""
    return [
        *counts.measure(bench),
        *bench.starts(Setting(), starts.standing("", "")),
        *bench.starts(Setting(pidfile=True), starts.standing("-pidfile", ", with a pidfile")),
        *heaps.beside_objects(bench, OBJECTS),
    ]


def _found(bound: Bound, row: Row) -> float:
    found = statistics.median(row.values[OURS])
    return found / statistics.median(row.values[BARE]) if bound.beside_bare else found
