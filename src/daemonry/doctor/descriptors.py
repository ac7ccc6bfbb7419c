"""What the process has open."""

from __future__ import annotations

import os
import pwd

from .finding import ill, well
from .place import HOMES, is_below

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .finding import Answer
    from .open_file import Descriptor
    from .reading import Subject

# How many of a process's descriptors are told one by one.
_TOLD = 20


def standard_descriptors(subject: Subject) -> Answer:
    """Step 9: open, so that no other file gets their numbers, and on no terminal."""
    found = [each for each in subject.descriptors if each.number <= 2]
    closed = sorted({0, 1, 2} - {each.number for each in found})
    fact = ", ".join([*map(str, found), *(f"{number} closed" for number in closed)])
    faults = [f"{number} is closed: a file opened later gets its number" for number in closed]
    faults += [f"{each.number} is a terminal" for each in found if each.is_terminal]
    faults += [f"{each.number} is a deleted file: what is written there is lost" for each in found if _is_lost(each)]
    return ill(fact, f"{'; '.join(faults)}; point it at /dev/null or a log") if faults else well(fact)


def _is_lost(descriptor: Descriptor) -> bool:
    return descriptor.has_lost_its_name and not descriptor.is_temporary


def other_descriptors(subject: Subject) -> Answer:
    """Step 1: nothing that was open by accident where it was started."""
    others = [each for each in subject.descriptors if each.number > 2]
    odd = {each.number: reason for each in others if (reason := _oddity(each, _home_of(subject)))}
    # Those at which something is wrong first, for there may be thousands of the others.
    told = sorted(others, key=lambda each: each.number not in odd)[: max(_TOLD, len(odd))]
    texts = [f"{each} ({', '.join(filter(None, (_origin(each), odd.get(each.number))))})" for each in told]
    more = len(others) - len(told)
    fact = ", ".join(texts + [f"and {more} more"] * bool(more)) or "none"
    return (
        ill(fact, "close what was inherited at the start; its own files it has to close itself") if odd else well(fact)
    )


def _origin(descriptor: Descriptor) -> str:
    """Say how it came to be open, as far as that shows: what is close-on-exec has come through no exec."""
    return "its own" if descriptor.flags & os.O_CLOEXEC else "inherited, or to be"


def _oddity(descriptor: Descriptor, own_home: str) -> str:
    if descriptor.is_terminal:
        return "a terminal"
    if _is_lost(descriptor):
        return "deleted: if it is a log, reopen it"
    if is_below(descriptor.target, HOMES) and not is_below(descriptor.target, (own_home,)):
        return "in a home directory"
    return ""


def _home_of(subject: Subject) -> str:
    try:
        return pwd.getpwuid(subject.ids("Uid")[1]).pw_dir
    except KeyError:
        return ""
