"""What the process has open."""

from __future__ import annotations

import pwd

from .finding import ill, well
from .place import HOMES, is_below

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .finding import Answer
    from .open_file import Descriptor
    from .reading import Subject


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
    odd = {str(each): reason for each in others if (reason := _oddity(each, _home_of(subject)))}
    if not odd:
        return well(f"{len(others)} open" if others else "none")
    faults = ", ".join(f"{descriptor} ({reason})" for descriptor, reason in odd.items())
    return ill(f"{len(others)} open, among them {faults}", "close what was inherited at the start, by close_range(2)")


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
