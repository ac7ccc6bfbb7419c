"""By which file the process is found."""

from __future__ import annotations

import os
import stat
from contextlib import suppress

from .finding import Untold, ill, well
from .pidfile_search import NoPidfile
from .rights import user_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .finding import Answer
    from .pidfile_search import Pidfile
    from .reading import Subject


def pidfile(subject: Subject) -> Answer:
    """Step 12: a file under its name that only its owner can have written, with this process in its first line."""
    try:
        found = subject.pidfile
    except NoPidfile as fault:
        advice = "give it a regular file in a directory that is root's or its own"
        return ill(f"{subject.pidfile_path}: {fault}", advice)
    if found is None:
        return _no_pidfile(subject)
    faults = _faults(found, subject)
    fact = f"{found.path} with {'no number' if found.number is None else f'process {found.number}'}"
    return ill(f"{fact}; {', '.join(faults)}", "remove the file and start the daemon again") if faults else well(fact)


def _no_pidfile(subject: Subject) -> Answer:
    if subject.pidfile_path is None:
        return None, "none among its open files", "name it: most daemons close theirs"
    return ill(f"there is no {subject.pidfile_path}", "start it again: nothing keeps a second one from starting")


def _faults(found: Pidfile, subject: Subject) -> list[str]:
    mode, owner = stat.S_IMODE(found.found.st_mode), found.found.st_uid
    faults = []
    if found.number not in subject.numbers:
        faults.append(f"which is not {subject.pid}")
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        faults.append(f"others may write to it (mode {mode:#o})")
    if owner not in (0, subject.ids("Uid")[1]):
        faults.append(f"it belongs to user {user_name(owner)}")
    if found.found.st_nlink == 0:
        faults.append("it has no name any more")
    return faults


def pidfile_lock(subject: Subject) -> Answer:
    """A seal, or a lock of the kernel, of that process alone: a number outlives it, and comes to mean another."""
    found = None
    with suppress(NoPidfile):
        found = subject.pidfile
    if found is None:
        return None, "no pidfile", ""
    if found.holder == subject.pid:
        return well("held")
    if found.unseen:
        return None, "can't be told: its process can't be seen", "ask where there is a whole /proc"
    holders = None
    with suppress(PermissionError, Untold):
        holders = [each for each in subject.descriptors if os.path.samestat(each.found, found.found) and each.is_locked]
    if holders:
        return well("held")
    if not found.locked:
        return ill("not held", "lock the file for as long as the daemon lives, by fcntl(2) or flock(2)")
    # A supervisor may hold it for the daemon, and so may a parent that shares its opening.
    return well("held" if holders is None else "held by another process")
