"""The most memory that a start takes while it opens, all of its processes together."""

from __future__ import annotations

import threading

from ..launching import Setting
from ..rows import Row
from .heaps import OBJECTS, fewer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..bench import Bench


def measure(bench: Bench) -> list[Row]:
    """Open beside a million small objects, and watch the pages that are nobody's but a process's own."""
    row = Row("peak", f"most memory while opening, beside {OBJECTS:,} small objects", "MiB")
    setting = Setting(words=(f"objects={OBJECTS}",))
    subjects = bench.able(setting)

    def once(name: str) -> list[tuple[Row, float]]:
        watch = _Watch()
        try:
            with bench.runner.start(subjects[name], setting) as start:
                start.wait_for_launcher()
        finally:
            most = watch.stop()
        return [(row, most / 1024)]

    bench.take_turns([row], subjects, once, fewer(bench))
    return [row]


class _Watch:
    """Notes the most anonymous memory of the machine, in KiB above what it was at first.

    Not the sum of what each process has: while they are asked one after the other, pages go from shared to one's own.
    So what else the machine does meanwhile is counted too, and shows in the spread.
    """

    def __init__(self) -> None:
        self._before = self._most = _anonymous()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()

    def _look(self) -> None:
        while not self._stopped.wait(0.0005):
            self._most = max(self._most, _anonymous())

    def stop(self) -> int:
        """Return the most that was seen."""
        self._stopped.set()
        self._thread.join()
        return self._most - self._before


def _anonymous() -> int:
    with open("/proc/meminfo") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("AnonPages:"))
