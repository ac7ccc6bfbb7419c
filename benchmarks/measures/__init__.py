"""What is measured: a file for each kind of question, each with ``measure(bench)``, which returns its rows."""

from __future__ import annotations

from . import counts, descriptors, heaps, imports, locks, peak, restarts, shell, starts, storms

#: The measures, in the order of the report.
MEASURES = {
    "starts": starts.measure,
    "counts": counts.measure,
    "heaps": heaps.measure,
    "descriptors": descriptors.measure,
    "imports": imports.measure,
    "peak": peak.measure,
    "locks": locks.measure,
    "storms": storms.measure,
    "restarts": restarts.measure,
    "shell": shell.measure,
}
