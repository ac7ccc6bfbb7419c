"""All cases, two at a time, in processes that are the daemons' reapers."""

from __future__ import annotations

import multiprocessing
import random
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING

from faults.children import become_reaper
from faults.injecting import faults, perform
from faults.recording import record
from faults.variants import VARIANTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from faults.injecting import Case
    from faults.judging import Judged
    from faults.recording import Recording

_AT_A_TIME = 2
_SEED = 3143


def judged(shares: Mapping[str, float], cases: Callable[[str, Recording], Iterable[Case]] = faults) -> Iterator[Judged]:
    """Yield what became of each case of the variants named.

    :param shares: how much of each variant, from 0 to 1; which of its cases depends on a fixed seed.
    :param cases: answers the cases of a variant.
    """
    chance = random.Random(_SEED)
    # Spawned, for one who runs the tests may have threads, and children that a reaper must not wait for.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(_AT_A_TIME, context, become_reaper) as pool:
        recordings = dict(zip(shares, pool.map(record, [VARIANTS[name] for name in shares])))
        chosen = [
            case for name, share in shares.items() for case in cases(name, recordings[name]) if chance.random() < share
        ]
        options = [VARIANTS[case.variant] for case in chosen]
        references = [recordings[case.variant].reference for case in chosen]
        yield from pool.map(perform, chosen, options, references)
