"""The job of every subject: build what the program shall hold, open, say when the body began, wait to be ended.

A subject is run as a script, with words NAME=VALUE for its arguments. Nothing is imported here that Python has not
loaded itself, so that it adds the same little to each.

place      the directory of the runner's two FIFOs, ``told`` and ``leash``
pidfile    where the pidfile shall be; without it the subject takes none
import     modules that the program uses anyway, with commas between
objects    how many small objects it holds
mib        how many MiB it holds in one piece
marks      if given: system calls before open() and in the body by which a trace is cut, and an end in the body
pause      seconds that each forked process takes longer
starters   how many processes open at once
"""

from __future__ import annotations

import os
import sys
import time

settings = dict(word.split("=", 1) for word in sys.argv[1:])
place = settings["place"]
pidfile = settings.get("pidfile")
opened = 0
held: list[object] = []

for name in filter(None, settings.get("import", "").split(",")):
    __import__(name)


def begin() -> None:
    """Do what the program does before it opens, and look at the clock."""
    global opened  # noqa: PLW0603
    hold()
    if "pause" in settings:
        os.register_at_fork(after_in_child=lambda: time.sleep(float(settings["pause"])))
    if "starters" in settings:
        start_many(int(settings["starters"]))
    if "marks" in settings:
        os.access("/mark-open", os.F_OK)
    opened = time.monotonic_ns()


def work() -> None:
    """Be the body: look at the clock, tell, and wait for the end of the runner or for a signal."""
    up = time.monotonic_ns()
    if "marks" in settings:
        os.access("/mark-body", os.F_OK)
        tell(f"up {os.getpid()} {opened} {up} {len(sys.modules)}\n")
        os._exit(0)
    tell(f"up {os.getpid()} {opened} {up} {len(sys.modules)}\n")
    wait_for_end()


def wait_for_end() -> None:
    """Wait until the runner is gone; a signal ends the wait sooner."""
    # Without waiting for somebody who writes, for that is the runner.
    leash = os.open(place + "/leash", os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(leash, True)
    os.read(leash, 1)


def tell(line: str) -> None:
    """Write a line to the runner; when that is gone, fail."""
    told = os.open(place + "/told", os.O_WRONLY | os.O_NONBLOCK)
    os.write(told, line.encode())
    os.close(told)


def hold() -> None:
    """Fill the heap."""
    if "objects" in settings:
        import gc

        gc.disable()  # while they are made it would look at all of them again and again
        count = int(settings["objects"])
        held.extend({"number": number, "name": str(number), "parts": [number]} for number in range(count))
        gc.collect()  # now, as in a program that runs for a while, or the daemon's first collection touches them all
        gc.enable()
    if "mib" in settings:
        held.append(bytearray(b"x") * (int(settings["mib"]) << 20))


def start_many(starters: int) -> None:
    """Return in that many children at the same moment; the parent tells when they are gone, and ends."""
    gate, opening = os.pipe()
    ready, hand = os.pipe()
    for _ in range(starters):
        if not os.fork():
            os.close(opening)
            os.write(hand, b".")
            os.close(hand)
            os.read(gate, 1)
            os.close(gate)
            return
    for _ in range(starters):
        os.read(ready, 1)
    opened_at = time.monotonic_ns()
    os.close(opening)
    failed = sum(os.wait()[1] != 0 for _ in range(starters))
    tell(f"gone {os.getpid()} {opened_at} {time.monotonic_ns()} {failed}\n")
    os._exit(0)
