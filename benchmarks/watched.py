"""A process whose end is noticed when it happens. pidfd_open(2)."""

from __future__ import annotations

import os
import select
import time


class Watched:
    """A process that was there when this was made.

    :ivar gone: when it ended, in nanoseconds of CLOCK_MONOTONIC; None as long as that was not seen.
    """

    def __init__(self, pid: int) -> None:
        self.fd = os.pidfd_open(pid)
        self.gone: int | None = None

    def wait(self, seconds: float) -> int:
        """Wait for its end, and return when that was.

        :raises TimeoutError: when it still runs after that time.
        """
        if self.gone is None:
            poll = select.poll()
            poll.register(self.fd, select.POLLIN)
            if not poll.poll(seconds * 1000):
                raise TimeoutError(f"a process still runs after {seconds} s")
            self.saw_end()
        assert self.gone is not None
        return self.gone

    def is_alive(self) -> bool:
        """Return whether it still runs."""
        try:
            self.wait(0)
        except TimeoutError:
            return True
        return False

    def saw_end(self) -> None:
        """Note that it has just ended."""
        self.gone = time.monotonic_ns()

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self.fd)
