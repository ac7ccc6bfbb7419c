"""Which signals the process does not get."""

from __future__ import annotations

import errno
import os
from contextlib import suppress

from ..steps.signals import IGNORED_BY_PYTHON, name_of
from .finding import ill, well
from .reading import fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .finding import Answer
    from .reading import Subject


def ignored_signals(subject: Subject) -> Answer:
    """Step 2: none but those without which nothing is lost. An ignored signal is ignored through fork and exec."""
    ignored = _signals_in(subject.field("SigIgn"))
    fact = ", ".join(ignored) or "none"
    lost = [name for name in ignored if name not in (*IGNORED_BY_PYTHON, *_OF_JOB_CONTROL)]
    if not lost:
        return well(fact)
    by_whom = {"SIGHUP": "nohup(1) does so", "SIGINT": "a shell does so for its background jobs"}
    known = next((f" ({text})" for name, text in by_whom.items() if name in lost), "")
    advice = f"unless it means to ignore {', '.join(lost)}, it was started so{known}: reset them to the default"
    return ill(fact, advice)


# The default signal map of PEP 3143 ignores them, and without a terminal they mean nothing.
_OF_JOB_CONTROL = ("SIGTSTP", "SIGTTIN", "SIGTTOU")


def blocked_signals(subject: Subject) -> Answer:
    """Step 3: none that would wait for ever.

    One that some thread does not block is delivered there, and sigwait(3) unblocks what it waits for as long as it
    does; others are read from a descriptor, see signalfd(2).
    """
    masks = [fields(text)["SigBlk"] for text in _status_of_threads(subject)]
    everywhere = set.intersection(*(set(_signals_in(mask)) for mask in masks))
    with suppress(PermissionError):
        for each in subject.descriptors:
            everywhere -= set(_signals_in(fields(each.info).get("sigmask", "0")))
    names = [name for name in _signals_in(masks[0]) if name in everywhere]
    if not names:
        return well("none")
    return ill(", ".join(names), "empty the mask that was inherited, by sigprocmask(2)")


def _status_of_threads(subject: Subject) -> list[str]:
    found = []
    for name in subject.names_in("task"):
        with suppress(FileNotFoundError, ProcessLookupError):  # it has ended since
            found.append(subject.read(f"task/{name}/status"))
    if not found:
        raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))
    return found


def _signals_in(mask: str) -> list[str]:
    bits = int(mask, 16)
    return [name_of(number) for number in range(1, bits.bit_length() + 1) if bits >> (number - 1) & 1]
