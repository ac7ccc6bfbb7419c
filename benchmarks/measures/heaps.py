"""Programs that hold much when they open: what a fork must copy, and what nobody should touch."""

from __future__ import annotations

from ..bench import say
from ..launching import Setting
from ..rows import Row
from .starts import opening

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..bench import Bench

OBJECTS = 1_000_000


def measure(bench: Bench) -> list[Row]:
    """Open beside a million small objects, and in programs of 500 MB and 2 GB."""
    rows = beside_objects(bench, OBJECTS)
    for mib in (500,) if bench.quick else (500, 2048):
        if available() < 3 * mib:
            say(f"left out: a program of {mib} MiB, as there is no room for it")
            continue
        question = opening(f"-{mib}", f", in a program that holds {mib} MiB")[0]
        rows += bench.starts(Setting(words=(f"mib={mib}",)), [question], fewer(bench))
    return rows


def beside_objects(bench: Bench, objects: int) -> list[Row]:
    """Open beside small objects, and count the pages that the daemon has to copy."""
    what = f", beside {objects:,} small objects"
    touched = Row("faults-objects", f"pages copied until the body{what}", "pages")
    return bench.starts(
        Setting(words=(f"objects={objects}",)),
        [opening("-objects", what)[0], (touched, lambda start: start.faults)],
        fewer(bench),
    )


def fewer(bench: Bench) -> int:
    """Return how many rounds it is worth: what is to be copied matters more here than chance does."""
    return min(2, bench.rounds) if bench.quick else bench.rounds


def available() -> int:
    """Return how much memory is free for use, in MiB. proc_meminfo(5)."""
    with open("/proc/meminfo") as file:
        sizes = dict(line.split(":") for line in file)
    return int(sizes["MemAvailable"].split()[0]) >> 10
