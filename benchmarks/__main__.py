"""The command: measure, tell, write down."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from . import leaving_nothing, report
from .bench import Bench
from .checkout import refresh
from .launching import Runner
from .measures import MEASURES
from .peers import subjects
from .place import quiet_place


def main() -> int:
    """Do what the command line says, and return an exit status."""
    wanted = _parser().parse_args()
    leaving_nothing.adopt_daemons()
    leaving_nothing.end_by_signals()
    refresh()
    with tempfile.TemporaryDirectory(prefix="daemonry-benchmarks-", dir=quiet_place()) as directory:
        try:
            bench = _bench(Path(directory), wanted)
            rows = [row.as_data() for name in wanted.only or MEASURES for row in MEASURES[name](bench)]
        finally:
            leaving_nothing.end_all()
    print("\n".join(report.lines(rows)))
    if wanted.output:
        Path(wanted.output).write_text(json.dumps({"rows": rows}, indent=1) + "\n")
    return 0


def _bench(place: Path, wanted: argparse.Namespace) -> Bench:
    asked = [subject for subject in subjects(place) if not wanted.subjects or subject.name in wanted.subjects]
    return Bench(Runner(place), asked, wanted.rounds or (5 if wanted.quick else 15), wanted.quick)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("benchmarks/run", description="Measure daemonry beside its peers.")
    parser.add_argument("--quick", action="store_true", help="take two minutes: fewer rounds, and not what takes long")
    parser.add_argument("--rounds", type=int, metavar="N", help="turns of each subject (default: 15; with --quick: 5)")
    parser.add_argument("--only", action="append", choices=MEASURES, help="measure this alone; may be repeated")
    parser.add_argument("--subject", dest="subjects", action="append", help="measure this one alone; may be repeated")
    parser.add_argument("--output", metavar="FILE", help="write what was found to this file, as JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main())
