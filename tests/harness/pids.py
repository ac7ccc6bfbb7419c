"""The number that the next process gets, in a pid namespace of one's own."""

from __future__ import annotations

import time

from harness.waiting import wait_for


def next_is(number: int) -> None:
    """Let the next process, or thread, have this number; the caller is root in the namespace. pid_namespaces(7)."""
    # No number comes round within one tick of the clock by which processes are dated.
    start = time.clock_gettime(time.CLOCK_BOOTTIME)
    wait_for(lambda: time.clock_gettime(time.CLOCK_BOOTTIME) - start > 0.03)
    with open("/proc/sys/kernel/ns_last_pid", "w", encoding="ascii") as file:
        file.write(str(number - 1))
