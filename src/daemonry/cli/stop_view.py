"""What a user sees of a stop: a line that moves while it takes its time, and what it took."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from signal import SIGKILL

from ..control.schedule import Send

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..control.schedule import Item
    from .places import Target
    from .screen import Screen

_ROUND = 0.2


def how(told: list[Item], start: float) -> str:
    """Return how long it took since the start, by the monotonic clock, and whether SIGKILL was needed."""
    killed = any(isinstance(item, Send) and item.signum == SIGKILL for item in told)
    return f"after {time.monotonic() - start:.1f} s{', by SIGKILL' if killed else ''}"


@contextmanager
def moving(what: str, target: Target, screen: Screen) -> Iterator[list[Item]]:
    """Show a line that moves while something takes its time to end; yield the list of what it was told."""
    told: list[Item] = []
    if not screen.moves:
        yield told
        return
    done, start = threading.Event(), time.monotonic()

    def show() -> None:
        while not done.wait(_ROUND):
            last = next((str(item) for item in reversed(told) if isinstance(item, Send)), "")
            screen.move(f"{target.title}: stopping {what}, {last}, {time.monotonic() - start:.1f} s")

    thread = threading.Thread(target=show, daemon=True)
    thread.start()
    try:
        yield told
    finally:
        done.set()
        thread.join()
