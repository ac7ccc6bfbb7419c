"""The lines of a supervisor's logs: as the program writes them, or each behind the time at which it was written."""

from __future__ import annotations

import time


class AsWritten:
    """Lines that stay as they are."""

    def put(self, data: bytes) -> bytes:
        """Return what is to be written for a piece of the program's output."""
        return data

    def line(self, text: bytes) -> bytes:
        """Return what is to be written for a line of the supervisor's own."""
        return text


class Stamped(AsWritten):
    """Lines behind the time of their first byte, to the millisecond, with the offset from UTC; RFC 3339."""

    def __init__(self) -> None:
        self._within_line = False

    def put(self, data: bytes) -> bytes:
        """Return what is to be written for a piece of the program's output, which may begin and end within a line."""
        now = stamp()
        begin = b"" if self._within_line else now
        self._within_line = not data.endswith(b"\n")
        return begin + data[:-1].replace(b"\n", b"\n" + now) + data[-1:]

    def line(self, text: bytes) -> bytes:
        """Return what is to be written for a line of the supervisor's own; one that the program has begun ends."""
        end = b"\n" if self._within_line else b""
        self._within_line = False
        return end + self.put(text)


def stamp() -> bytes:
    """Return the time as it stands before a line."""
    now = time.time()
    # From the database that Python has read at its start: there may be none inside another root directory.
    local = time.localtime(now)
    offset = time.strftime("%z", local)
    text = f"{time.strftime('%Y-%m-%dT%H:%M:%S', local)}.{int(now % 1 * 1000):03d}{offset[:3]}:{offset[3:]} "
    return text.encode("ascii")
