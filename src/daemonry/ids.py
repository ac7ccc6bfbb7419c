"""The ids of the process: its users and its groups, as the kernel tells them."""

from __future__ import annotations

import os


def user_ids() -> tuple[int, ...]:
    """Return the real and the effective user, and the saved one where the system tells it."""
    return os.getresuid() if hasattr(os, "getresuid") else (os.getuid(), os.geteuid())


def group_ids() -> tuple[int, ...]:
    """Return the real and the effective group, and the saved one where the system tells it."""
    return os.getresgid() if hasattr(os, "getresgid") else (os.getgid(), os.getegid())


def all_ids() -> tuple[set[int], set[int]]:
    """Answer all that the process is known as: the users, and the groups."""
    users, groups = set(user_ids()), set(group_ids())
    # Whose files it opens, which a server for others' files sets apart; see setfsuid(2). Each thread has its own, and
    # only the kernel's text tells it without changing it.
    try:
        with open("/proc/thread-self/status", "rb") as file:
            told = {line[:4]: line for line in file if line.startswith((b"Uid:", b"Gid:"))}
    except OSError:  # inside another root directory; who could get there could also set them
        return users, groups
    return users | {int(told[b"Uid:"].split()[-1])}, groups | {int(told[b"Gid:"].split()[-1])}


def listed(groups: tuple[int, ...]) -> str:
    """Name the groups by their numbers."""
    return ", ".join(map(str, groups)) or "none"
