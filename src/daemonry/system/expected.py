"""Whether a process expects a signal, as /proc tells it."""

from __future__ import annotations

import os

from ..errors import ignored


def expects(pid: int, signum: int) -> bool | None:
    """Return whether a process has a handler for a signal, or holds it off to take it when it likes; see signalfd(2).

    ``None`` where that can't be told. Source: proc_pid_status(5), SigBlk and SigCgt.
    """
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            sets = [int(line.split()[1], 16) for line in file if line.startswith((b"SigBlk:", b"SigCgt:"))]
    except OSError:
        return None
    if any(each >> (signum - 1) & 1 for each in sets):
        return True
    # One that waits in sigwait(3) holds off nothing of what it waits for, as long as it does.
    return None if not sets or _waits_for_signals(pid) else False


def _waits_for_signals(pid: int) -> bool:
    waits = False
    with ignored(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/wchan", "rb") as file:
                waits |= b"sigtimedwait" in file.read()
    return waits
