"""Many starters of one pidfile at the same moment: when the winner is up, and when all others are gone."""

from __future__ import annotations

from .. import storm
from ..launching import Setting
from ..rows import Row

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..bench import Bench

STARTERS = 200


def measure(bench: Bench) -> list[Row]:
    """Let 200 processes open at once, each of which has imported what it needs before."""
    starters = 50 if bench.quick else STARTERS
    what = f", {starters} starters of one pidfile"
    up = Row("storm-up", f"the first body begins{what}", "ms")
    gone = Row("storm-gone", f"all but the daemon are gone{what}", "ms")
    bodies = Row("storm-bodies", f"bodies that run{what}; one is right", "bodies", base=None)
    setting = Setting(pidfile=True, words=(f"starters={starters}",))
    subjects = bench.able(setting)

    def once(name: str) -> list[tuple[Row, float]]:
        seen = storm.watch(bench.runner, subjects[name], setting)
        return [(up, seen.up / 1e6), (gone, seen.gone / 1e6), (bodies, seen.bodies)]

    bench.take_turns([up, gone, bodies], subjects, once, 2 if bench.quick else bench.rounds)
    return [up, gone, bodies]
