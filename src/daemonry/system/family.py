"""Processes by how they belong together: sessions, children, descendants."""

from __future__ import annotations

import os

from . import bare
from .bare import content_of
from .process import everything, look, numbers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .process import Process


def in_session(session: int) -> list[Process]:
    """Return the living processes of a session; none where there is no /proc."""
    # One call for each process of the machine, and more only for those that it is about.
    members = (look(pid) for pid in numbers() if _session_of(pid) == session)
    return [member for member in members if member is not None and member.session == session and member.alive]


def _session_of(pid: int) -> int | None:
    try:
        return bare.getsid(pid)
    except OSError:  # it has ended, or a sandbox keeps that from us
        return None


def children() -> list[Process]:
    """Return the living children of this process; none where there is no /proc."""
    return [process for process in everything() if process.parent == os.getpid() and process.alive]


def descendants() -> list[Process]:
    """Return the living processes below this one; none where there is no /proc."""
    parents = {process.pid: process for process in everything()}
    own = os.getpid()

    def is_below(seen: Process | None) -> bool:
        while seen is not None and seen.parent != own:
            seen = parents.get(seen.parent)
        return seen is not None

    return [process for process in parents.values() if process.alive and is_below(process)]


def numbers_of_children(pid: int) -> list[int] | None:
    """Return the numbers of a process's children, zombies too; ``None`` where that can't be told without all processes.

    One may be missing while another one ends. Source: proc_pid_tid_children(5); kernels may be made without it.
    """
    try:
        lists = [content_of(f"/proc/{pid}/task/{each}/children", 65_536) for each in os.listdir(f"/proc/{pid}/task")]
    except OSError:
        return None
    return [int(number) for each in lists for number in each.split()]
