"""How a daemon is stopped: which signals it gets, and how long it may take after each."""

from __future__ import annotations

import math
import signal

from ..steps.signals import name_of
from ..system.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Union

    Item = Union["Send", "Wait"]

FOREVER = "forever"
# Seconds that a signal without a time behind it, the last one, is given to have its effect.
_LAST_WAIT = 5.0
# Microseconds: nobody waits more exactly.
_DECIMALS = 6


class Send(Record):
    """Send the signal ``signum``."""

    signum: int

    def __str__(self) -> str:
        name = name_of(self.signum)
        return name[3:] if name.startswith("SIG") else f"-{self.signum}"


class Wait(Record):
    """Wait for the process's end, ``seconds`` at most."""

    seconds: float

    def __str__(self) -> str:
        # No exponent, which would not be read again.
        return f"{self.seconds:.{_DECIMALS}f}".rstrip("0").rstrip(".")


class Schedule(Record):
    """What is done ``once``, and then over and ``again`` until the process has ended."""

    once: tuple[Item, ...]
    again: tuple[Item, ...] = ()

    def items(self) -> Iterator[Item]:
        """Yield what to do, one after the other; without an end if there is something to do again."""
        yield from self.once
        while self.again:
            yield from self.again

    def __str__(self) -> str:
        again = (FOREVER, *self.again) if self.again else ()
        return "/".join(map(str, (*self.once, *again)))


def parse(text: str | float | Schedule) -> Schedule:
    """Return the schedule that is written as in ``TERM/30/KILL/5``; see start-stop-daemon(8), ``--retry``.

    A name, or a number with a ``-`` before it, is a signal; a number is seconds; what follows ``forever`` is done over
    and over. A single number of seconds is what it is there: TERM, that time, KILL, that time.

    :raises ValueError: for what says no schedule.
    """
    if isinstance(text, Schedule):
        return text
    words = _written(text).split("/")
    if len(words) == 1 and _is_seconds(words[0]):
        words = ["TERM", words[0], "KILL", words[0]]
    before, after = words, []
    if FOREVER in words:
        at = words.index(FOREVER)
        before, after = words[:at], words[at + 1 :]
        if not any(_is_seconds(word) and float(word) > 0 for word in after):
            raise ValueError(f"schedule {text!r}: what is done for ever has to wait between, as in TERM/{FOREVER}/5")
    once, again = tuple(_item(word, text) for word in before), tuple(_item(word, text) for word in after)
    if not any(isinstance(item, Send) for item in (*once, *again)):
        raise ValueError(f"schedule {text!r}: it sends no signal; write one as in TERM/30/KILL/5")
    if isinstance((*once, *again)[-1], Send) and not again:
        once = (*once, Wait(seconds=_LAST_WAIT))
    return Schedule(once=once, again=again)


def _written(text: str | float) -> str:
    if isinstance(text, (int, float)) and not 0 <= text < math.inf:  # written out, -9 would be the signal
        raise ValueError(f"schedule {text!r}: {text!r} is no number of seconds")
    return f"{text:.{_DECIMALS}f}" if isinstance(text, float) else str(text)


def _item(word: str, text: object) -> Item:
    if _is_seconds(word):
        return Wait(seconds=round(float(word), _DECIMALS))
    try:
        return Send(signum=number_of(word.removeprefix("-")))
    except ValueError as error:
        raise ValueError(f"schedule {text!r}: {error}") from None


def _is_seconds(word: str) -> bool:
    try:
        return math.isfinite(float(word)) and word.strip("0123456789.") == ""
    except ValueError:
        return False


def number_of(name: str) -> int:
    """Return the number of the signal ``name``: ``TERM``, ``SIGTERM``, ``term`` or ``15``.

    :raises ValueError: when there is no such signal.
    """
    if name.isascii() and name.isdigit():
        if int(name) in signal.valid_signals():
            return int(name)
    else:
        full = name.upper() if name.upper().startswith("SIG") else f"SIG{name.upper()}"
        # Not SIG_IGN and the like, which the module has too.
        if isinstance(found := getattr(signal, full, None), signal.Signals):
            return int(found)
    raise ValueError(f"{name!r} is no signal of this system; write a name such as TERM, or a number")
