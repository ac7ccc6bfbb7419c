"""The command: measure, tell, write down."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from . import bounds, leaving_nothing, report
from .bench import Bench
from .checkout import refresh
from .launching import Runner
from .machine import circumstances
from .measures import MEASURES
from .peers import BARE, HERE, OURS, subjects
from .place import quiet_place

# from which the documentation makes its page
PAGE = HERE.parent / "docs" / "benchmarks.json"


def main() -> int:
    """Do what the command line says, and return an exit status."""
    wanted = _parser().parse_args()
    leaving_nothing.adopt_daemons()
    leaving_nothing.end_by_signals()
    refresh()
    with tempfile.TemporaryDirectory(prefix="daemonry-benchmarks-", dir=quiet_place()) as directory:
        try:
            return (hold if wanted.bounds else tell)(Path(directory), wanted)
        finally:
            leaving_nothing.end_all()


def tell(place: Path, wanted: argparse.Namespace) -> int:
    """Measure, print what was found, and write it to a file if one is given."""
    bench = _bench(place, wanted)
    rows = [row.as_data() for name in wanted.only or MEASURES for row in MEASURES[name](bench)]
    found = {**circumstances(bench), "rows": rows}
    print("\n".join(report.lines(rows)))
    is_whole = not (wanted.quick or wanted.only or wanted.subjects)
    output = wanted.output or (PAGE if is_whole else None)
    if output:
        Path(output).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 0


def hold(place: Path, wanted: argparse.Namespace) -> int:
    """Count, print each bound with what was found, and return 1 if one is exceeded."""
    wanted.subjects, wanted.rounds = [BARE, OURS], 3
    bench = _bench(place, wanted)
    found = list(bounds.verdicts(bounds.measured(bench)))
    for holds, line in found:
        print("ok      " if holds else "EXCEEDED", line)
    return 0 if all(holds for holds, _ in found) else 1


def _bench(place: Path, wanted: argparse.Namespace) -> Bench:
    asked = [subject for subject in subjects(place) if not wanted.subjects or subject.name in wanted.subjects]
    return Bench(Runner(place), asked, wanted.rounds or (5 if wanted.quick else 15), wanted.quick)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("benchmarks/run", description="Measure daemonry beside its peers.")
    parser.add_argument("--quick", action="store_true", help="take two minutes: fewer rounds, and not what takes long")
    parser.add_argument("--rounds", type=int, metavar="N", help="turns of each subject (default: 15; with --quick: 5)")
    parser.add_argument("--only", action="append", choices=MEASURES, help="measure this alone; may be repeated")
    parser.add_argument("--subject", dest="subjects", action="append", help="measure this one alone; may be repeated")
    parser.add_argument(
        "--bounds", action="store_true", help="only count, and fail where more is taken than bounds.py says"
    )
    parser.add_argument(
        "--output",
        metavar="FILE",
        help="write what was found to this file, as JSON (default: of a whole run docs/benchmarks.json)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
