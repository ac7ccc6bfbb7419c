"""What is measured: a file for each kind of question, each with ``measure(bench)``, which returns its rows."""

from __future__ import annotations

from . import counts, heaps, peak, starts, storms

#: The measures, in the order of the report.
MEASURES = {
    "starts": starts.measure,
    "counts": counts.measure,
    "heaps": heaps.measure,
    "peak": peak.measure,
    "storms": storms.measure,
}
