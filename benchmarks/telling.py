"""What subjects tell: lines of a word and numbers in a FIFO; and the leash, which ends them with this process."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path


class Ear:
    """Hears what is told through a FIFO."""

    def __init__(self, path: Path) -> None:
        self.fd = fifo(path)
        self._told: list[tuple[str, list[int]]] = []

    def heard(self, kind: str) -> list[list[int]]:
        """Return the numbers of every line that begins with that word, up to now."""
        for line in self._read().decode().splitlines():
            word, *numbers = line.split()
            self._told.append((word, [int(number) for number in numbers]))
        return [numbers for word, numbers in self._told if word == kind]

    def forget(self) -> None:
        """Forget all that was told."""
        self._read()
        self._told.clear()

    def _read(self) -> bytes:
        try:
            return os.read(self.fd, 1 << 20)  # more than a pipe holds
        except BlockingIOError:
            return b""


def fifo(path: Path) -> int:
    """Make a FIFO, and open it for both ways: it has an end of file when this process is gone, and not before."""
    os.mkfifo(path)
    return os.open(path, os.O_RDWR | os.O_NONBLOCK)
