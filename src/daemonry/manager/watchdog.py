"""A service manager's watchdog, told that the daemon is well for as long as the daemon shows that it is.

Source: sd_watchdog_enabled(3); systemd.service(5), WatchdogSec=.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..context import DaemonContext

# Of the time that the manager waits. sd_watchdog_enabled(3) asks for a half; a busy machine wants some more air.
_PART = 1 / 3


async def feed(context: DaemonContext) -> None:
    """Tell the watchdog that the daemon is well for as long as its event loop goes round.

    To be run as a task of an asyncio loop; it ends at once when there is no watchdog, and else when it is cancelled.
    """
    import asyncio

    manager = context.service_manager
    while manager.watchdog is not None:
        manager.alive()
        await asyncio.sleep(manager.watchdog * _PART)


@contextmanager
def feeding(context: DaemonContext, is_well: Callable[[], object]) -> Iterator[None]:
    """Tell the watchdog that the daemon is well, in a thread, whenever ``is_well()`` returns true.

    For programs that block. The thread alone would be well though all others hang, so it asks, three times within the
    manager's patience: whether the workers have moved on lately, for instance. The manager hears nothing while the
    answer is false, or when asking fails.
    """
    manager, done = context.service_manager, threading.Event()
    if manager.watchdog is None:
        yield
        return
    pause = manager.watchdog * _PART

    def tell() -> None:
        while not done.is_set():
            if is_well():
                manager.alive()
            done.wait(pause)

    thread = threading.Thread(target=tell, name="daemonry watchdog", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
