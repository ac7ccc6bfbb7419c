"""Whose sockets listen, as /proc tells it: the program's own, or a stranger's on the same port."""

from __future__ import annotations

import os
import socket
import sys
from contextlib import suppress

from ..system import process
from ..system.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_LISTENING = "0A"  # TCP_LISTEN, in the kernel's include/net/tcp_states.h


class Listener(Record):
    """A socket that listens: where, and the inode by which its descriptors are known."""

    address: str
    port: int
    inode: int

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


def all_listeners() -> list[Listener]:
    """Return the TCP sockets that listen in this process's network namespace; none where there is no /proc."""
    return [each for table in ("tcp", "tcp6") for each in _in_table(f"/proc/net/{table}")]


def _in_table(path: str) -> Iterator[Listener]:
    # proc_net(5): local_address is field 1, st is 3, inode is 9.
    with suppress(OSError), open(path, encoding="ascii") as file:
        for line in list(file)[1:]:
            fields = line.split()
            if fields[3] == _LISTENING:
                address, _, port = fields[1].partition(":")
                yield Listener(address=_address(address), port=int(port, 16), inode=int(fields[9]))


def _address(text: str) -> str:
    # Words of 32 bits, each as this machine has them in memory.
    words = (int(text[at : at + 8], 16).to_bytes(4, sys.byteorder) for at in range(0, len(text), 8))
    packed = b"".join(words)
    return socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed)


def listeners_of(program: int) -> list[Listener] | None:
    """Return those that the program, or what it has started, has open; ``None`` where that can't be told."""
    listeners = {each.inode: each for each in all_listeners()}
    members = _members(program)
    if not members:
        return None
    found: dict[int, Listener] = {}
    for member in members:
        try:
            found.update({inode: listeners[inode] for inode in _sockets_of(member) if inode in listeners})
        except PermissionError:  # it has become another user's
            return None
    return list(found.values())


def ports_of(pid: int) -> list[int]:
    """Return the ports on which a process itself listens; none where that can't be told."""
    listeners = {each.inode: each.port for each in all_listeners()}
    with suppress(PermissionError):
        return sorted({listeners[inode] for inode in _sockets_of(pid) if inode in listeners})
    return []


def holder_of(port: int) -> process.Process | None:
    """Return a process that listens on a port, ``None`` where that can't be told."""
    inodes = {each.inode for each in all_listeners() if each.port == port}
    for each in process.everything() if inodes else ():
        with suppress(PermissionError):
            if inodes.intersection(_sockets_of(each.pid)):
                return each
    return None


def _members(program: int) -> list[int]:
    """Return the program, those of its session, and its descendants."""
    everything = {each.pid: each for each in process.everything()}
    own = everything.get(program)
    if own is None:
        return []

    def is_member(pid: int) -> bool:
        seen = everything.get(pid)
        while seen is not None and seen.pid != program and seen.session != own.session:
            seen = everything.get(seen.parent)
        return seen is not None

    return [pid for pid in everything if is_member(pid)]


def _sockets_of(pid: int) -> Iterator[int]:
    with suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
        for number in os.listdir(f"/proc/{pid}/fd"):
            with suppress(FileNotFoundError):
                kind, _, inode = os.readlink(f"/proc/{pid}/fd/{number}").partition(":")
                if kind == "socket":
                    yield int(inode[1:-1])
