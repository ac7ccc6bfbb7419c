"""The facts of a process, read from /proc by a test from outside or by a program about itself.

Programs under test import this file as ``harness.probe``; it needs nothing but the standard library.
"""

from __future__ import annotations

import dataclasses
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_STAT_ENV_START = 50 - 3


@dataclass(frozen=True)
class Descriptor:
    """An open descriptor: its number, what it is, and whether a program that is exec'd loses it."""

    number: int
    target: str
    close_on_exec: bool


@dataclass(frozen=True)
class Facts:
    """What the kernel knows of one process at one moment."""

    pid: int
    ppid: int
    pgid: int
    sid: int
    tty: int
    """The controlling terminal's device number, 0 for none."""
    state: str
    """One letter, see proc(5): R, S, D, T, Z, ..."""
    comm: str
    cwd: str
    root: str
    umask: int
    descriptors: tuple[Descriptor, ...]
    blocked: tuple[int, ...]
    ignored: tuple[int, ...]
    caught: tuple[int, ...]
    uids: tuple[int, ...]
    """Real, effective, saved, file system."""
    gids: tuple[int, ...]
    groups: tuple[int, ...]
    core_limit: tuple[str, str]
    """Soft and hard, as text: a number or ``unlimited``."""
    environment: dict[str, str]
    """Seen from outside: as the process was exec'd. Of the process itself: as it is now."""
    capabilities: int
    """The effective set."""
    no_new_privileges: bool

    def descriptor(self, number: int) -> Descriptor:
        """Answer the open descriptor of that number."""
        return next(found for found in self.descriptors if found.number == number)

    @property
    def numbers(self) -> tuple[int, ...]:
        """The numbers of the open descriptors."""
        return tuple(found.number for found in self.descriptors)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Facts:
        """Build the facts that :func:`publish` has written."""
        known: dict[str, Any] = {name: tuple(item) if isinstance(item, list) else item for name, item in value.items()}
        known["descriptors"] = tuple(Descriptor(**item) for item in value["descriptors"])
        return cls(**known)


def facts_of(pid: int) -> Facts:
    """Read the facts of any process that this one may look into: its user's own, every one for root.

    The process is raised as missing (``ProcessLookupError`` or ``FileNotFoundError``) when it has ended.
    """
    entries = environment_of(pid).split(b"\0")
    pairs = (os.fsdecode(entry).partition("=") for entry in entries if b"=" in entry)
    return _collect(pid, {name: value for name, _, value in pairs})


def facts() -> Facts:
    """Read the facts of this very process. A root directory without /proc takes a test outside."""
    return _collect(os.getpid(), dict(os.environ))


def publish(path: str | os.PathLike[str], value: object) -> None:
    """Write a value as JSON in such a way that no reader sees half of it; facts may stand anywhere in it."""
    path = os.fspath(path)
    unfinished = f"{path}.{os.getpid()}"
    with open(unfinished, "w", encoding="utf-8") as stream:
        json.dump(value, stream, default=_plain)
    os.replace(unfinished, path)


def environment_of(pid: int) -> bytes:
    """Read /proc/PID/environ; of a process that is just becoming another program, when it has become it."""
    while True:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
        # In the middle of exec the new program's memory is there, and it is not yet known where in it the
        # environment is. Zombies and the kernel's own threads have no memory.
        if environment or _stat(pid)[_STAT_ENV_START] != "0" or "VmSize" not in status_of(pid):
            return environment


def status_of(pid: int) -> dict[str, str]:
    """Read /proc/PID/status as a mapping."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _stat(pid: int) -> list[str]:
    # From the third field on. The second, the name, stands in parentheses and may contain some, and blanks.
    return Path(f"/proc/{pid}/stat").read_text(errors="surrogateescape").rpartition(") ")[2].split()


def _collect(pid: int, environment: dict[str, str]) -> Facts:
    process = Path(f"/proc/{pid}")
    status = status_of(pid)
    state, *numbers = _stat(pid)[:5]
    ppid, pgid, sid, tty = map(int, numbers)
    limits = process.joinpath("limits").read_text().splitlines()
    soft, hard = next(line for line in limits if line.startswith("Max core file size")).split()[4:6]
    return Facts(
        pid=pid,
        ppid=ppid,
        pgid=pgid,
        sid=sid,
        tty=tty,
        state=state,
        comm=process.joinpath("comm").read_text().rstrip("\n"),
        cwd=os.readlink(process / "cwd"),
        root=os.readlink(process / "root"),
        umask=int(status["Umask"], 8),
        descriptors=_descriptors(process),
        blocked=_signals(status["SigBlk"]),
        ignored=_signals(status["SigIgn"]),
        caught=_signals(status["SigCgt"]),
        uids=tuple(map(int, status["Uid"].split())),
        gids=tuple(map(int, status["Gid"].split())),
        groups=tuple(map(int, status["Groups"].split())),
        core_limit=(soft, hard),
        environment=environment,
        capabilities=int(status["CapEff"], 16),
        no_new_privileges=status["NoNewPrivs"] == "1",
    )


def _descriptors(process: Path) -> tuple[Descriptor, ...]:
    found = []
    for number in sorted(int(name) for name in os.listdir(process / "fd")):
        try:
            target = os.readlink(process / "fd" / str(number))
            info = process.joinpath("fdinfo", str(number)).read_text()
        except FileNotFoundError:  # the one by which the list was read, or closed meanwhile
            continue
        flags = next(line for line in info.splitlines() if line.startswith("flags:")).split()[1]
        found.append(Descriptor(number, target, bool(int(flags, 8) & os.O_CLOEXEC)))
    return tuple(found)


def _signals(mask: str) -> tuple[int, ...]:
    bits = int(mask, 16)
    return tuple(number for number in range(1, 65) if bits >> (number - 1) & 1)


def _plain(value: object) -> object:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError(f"{type(value).__name__} is not for JSON: {value!r}")
