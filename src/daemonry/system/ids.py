"""The ids of the process: its users and its groups, as the kernel tells them."""

from __future__ import annotations

import os

from .bare import content_of

_CAP_SETUID = 7
# More than any kernel has written yet.
_LONGEST_STATUS = 65_536


def user_ids() -> tuple[int, ...]:
    """Return the real and the effective user, and the saved one where the system tells it."""
    return os.getresuid() if hasattr(os, "getresuid") else (os.getuid(), os.geteuid())


def group_ids() -> tuple[int, ...]:
    """Return the real and the effective group, and the saved one where the system tells it."""
    return os.getresgid() if hasattr(os, "getresgid") else (os.getgid(), os.getegid())


def are(user: int, group: int, users: tuple[int, ...], groups: tuple[int, ...]) -> bool:
    """Whether these ids of the process are this user and this group: real, effective and saved."""
    return set(users) == {user} and set(groups) == {group}


def are_all(user: int, group: int, users: tuple[int, ...], groups: tuple[int, ...]) -> bool:
    """Whether the process is this user and this group and nothing else, nor can become it.

    Of root only what two system calls tell: it may become whatever it is not, so that there is nothing to give up.
    """
    if not are(user, group, users, groups):
        return False
    if user == 0:
        return True
    told = _status()
    if told is None:  # who gives up rights has more to ask
        return False
    return all_ids(told) == ({user}, {group}) and not int(told[b"CapPrm"][0], 16) >> _CAP_SETUID & 1


def all_ids(told: dict[bytes, list[bytes]] | None = None) -> tuple[set[int], set[int]]:
    """Return all that the process is known as: the users, and the groups.

    :param told: the kernel's text, if it has been read already.
    """
    told = told or _status()
    if told is None:  # inside another root directory; who could get there could also set them
        return set(user_ids()), set(group_ids())
    # The fourth: whose files it opens, which a server for others' files sets apart; see setfsuid(2). Each thread has
    # its own, and only the kernel's text tells it without changing it.
    return {int(word) for word in told[b"Uid"]}, {int(word) for word in told[b"Gid"]}


def effective_capabilities() -> int:
    """Return the capabilities that count for this thread, as a set of bits; none where the kernel doesn't tell."""
    told = _status()
    return int(told[b"CapEff"][0], 16) if told is not None else 0


def _status() -> dict[bytes, list[bytes]] | None:
    """Return what the kernel tells of this thread, ``None`` where there is no /proc of Linux; proc_pid_status(5)."""
    try:
        text = content_of("/proc/thread-self/status", _LONGEST_STATUS)
    except OSError:
        return None
    lines = (line.partition(b":") for line in text.splitlines())
    told = {name: words.split() for name, _, words in lines}
    return told if {b"Uid", b"Gid", b"CapPrm", b"CapEff"} <= told.keys() else None


def listed(groups: tuple[int, ...]) -> str:
    """Name the groups by their numbers."""
    return ", ".join(map(str, groups)) or "none"
