"""From when on a log is shown: what a user may say for a time, and the line with which it begins."""

from __future__ import annotations

import os
import re
import time
from datetime import datetime

from .refusal import Refusal
from .statuses import FAILED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

_UNITS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 604800}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(s|min|m|h|d|w)\s*")
# As RFC 3339, Python's logging, nginx and gunicorn write it.
_STAMP = re.compile(
    rb"\[?(\d{4})[-/](\d\d)[-/](\d\d)[T ](\d\d):(\d\d):(\d\d)(?:[.,](\d{1,6})\d*)? ?(Z|[+-]\d\d:?\d\d)?"
)
# Bytes: of a line's beginning that have any time in them, and of a long line that are read at once.
_BEGINNING, _PIECE = 128, 65_536


def moment(text: str) -> float:
    """Return which time is meant, in seconds since the epoch.

    :param text: a length of time, until now (``10m``, ``1h30m``), or a time of this machine's clock (``08:00``,
        ``2026-11-27 08:00``).
    :raises ValueError: when it is neither.
    """
    if _DURATION.sub("", text) == "" and text:
        return time.time() - sum(float(number) * _UNITS[unit] for number, unit in _DURATION.findall(text))
    if re.fullmatch(r"\d\d?:\d\d(:\d\d)?", text):
        text = f"{time.strftime('%Y-%m-%d')} {text:0>5}"
    return datetime.fromisoformat(re.sub("[zZ]$", "+00:00", text)).timestamp()


def start_since(fd: int, when: float, title: str) -> int:
    """Return where in a log the first line begins that was written at a time or later, as an offset in bytes.

    :raises Refusal: when no line of it begins with a time.
    """
    with open(os.dup(fd), "rb") as file:
        low, high = 0, os.fstat(fd).st_size
        end = high
        if high and _first_stamped(file, 0, high) is None:
            advice = "start it with --restart --timestamps, or let the program write the time"
            raise Refusal(f"no line of the log of {title} begins with a time; {advice}", FAILED)
        while low < high:
            middle = (low + high) // 2
            found = _first_stamped(file, middle, high)
            if found is None or found[1] >= when:
                high = middle
            else:
                low = found[0] + 1
        found = _first_stamped(file, low, end)
        return end if found is None else found[0]


def _first_stamped(file: BinaryIO, offset: int, stop: int) -> tuple[int, float] | None:
    """Return where the first line with a time begins, at the offset or behind it and before the stop, and its time."""
    file.seek(max(offset - 1, 0))
    if offset > 0:
        offset += _rest_of_line(file) - 1
    while offset < stop and (beginning := file.readline(_BEGINNING)):
        when = _time_of(beginning)
        if when is not None:
            return offset, when
        offset += len(beginning) + (0 if beginning.endswith(b"\n") else _rest_of_line(file))
    return None


def _rest_of_line(file: BinaryIO) -> int:
    """Read to the end of a line, which may be longer than the memory that there is; return how long that was."""
    length = 0
    while piece := file.readline(_PIECE):
        length += len(piece)
        if piece.endswith(b"\n"):
            break
    return length


def _time_of(line: bytes) -> float | None:
    found = _STAMP.match(line)
    if found is None:
        return None
    *numbers, fraction, offset = found.groups()
    text = "{}-{}-{} {}:{}:{}".format(*(number.decode() for number in numbers))
    zone = (offset or b"").decode().replace("Z", "+0000").replace(":", "")
    try:
        whole = datetime.strptime(text + zone, "%Y-%m-%d %H:%M:%S" + ("%z" if zone else "")).timestamp()
    except (ValueError, OverflowError, OSError):  # no date, or one that this machine's clock can't tell: Go's zero time
        return None
    return whole + float(b"0." + (fraction or b"0"))
