"""Descriptors: as many as are inherited, and as many as there might be."""

from __future__ import annotations

import resource

from ..launching import Setting
from ..rows import Row
from .heaps import fewer
from .starts import opening

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..bench import Bench


def measure(bench: Bench) -> list[Row]:
    """Open with more and more descriptors that were inherited, and below higher and higher limits for them."""
    highest = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    room = min(16_384, highest)
    inherited = [count for count in (0, 100, 1_000, 10_000) if count + 100 < room]
    limits = [*(limit for limit in (1_024, 16_384, 131_072) if limit < highest), highest]
    if bench.quick:
        inherited, limits = [inherited[0], inherited[-1]], [limits[0], limits[-1]]
    rows: list[Row] = []
    for count in inherited:
        question = opening(f"-inherited-{count}", f", {count:,} descriptors inherited")[0]
        rows += bench.starts(Setting(pidfile=True, descriptors=count, nofile=room), [question], fewer(bench))
    for limit in limits:
        question = opening(
            f"-limit-{'highest' if limit == highest else limit}", f", at most {limit:,} descriptors (RLIMIT_NOFILE)"
        )[0]
        rows += bench.starts(Setting(pidfile=True, nofile=limit), [question], fewer(bench))
    return rows
