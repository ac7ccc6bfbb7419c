"""The facts of a process, read from /proc by a test from outside or by a program about itself.

Programs under test import this file as ``harness.probe``; it needs nothing but the standard library, and little of
that: a thousand programs import it, and dataclasses, pathlib and typing take longer to come than an interpreter.
"""

from __future__ import annotations

import json
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_STAT_ENV_START = 50 - 3


class _Fields:
    """Fields and nothing else, as a frozen dataclass has them."""

    def __init__(self, **fields: Any) -> None:
        assert fields.keys() == type(self).__annotations__.keys(), sorted(fields)
        self.__dict__.update(fields)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{name} is a fact")

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and vars(other) == vars(self)

    def __hash__(self) -> int:
        return hash(repr(self))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"


class Descriptor(_Fields):
    """An open descriptor: its number, what it is, and whether a program that is exec'd loses it."""

    number: int
    target: str
    close_on_exec: bool


class Facts(_Fields):
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
        """Return the open descriptor of that number."""
        return next(found for found in self.descriptors if found.number == number)

    @property
    def numbers(self) -> tuple[int, ...]:
        """The numbers of the open descriptors."""
        return tuple(found.number for found in self.descriptors)

    def to_json(self) -> dict[str, Any]:
        """Return the facts in what JSON can hold."""
        return {**vars(self), "descriptors": [vars(each) for each in self.descriptors]}

    def but(self, **fields: Any) -> Facts:
        """Return the same facts with some others."""
        return Facts(**{**vars(self), **fields})

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
        with open(f"/proc/{pid}/environ", "rb") as stream:
            environment = stream.read()
        # In the middle of exec the new program's memory is there, and it is not yet known where in it the
        # environment is. Zombies and the kernel's own threads have no memory.
        if environment or _stat(pid)[_STAT_ENV_START] != "0" or "VmSize" not in status_of(pid):
            return environment


def status_of(pid: int) -> dict[str, str]:
    """Read /proc/PID/status as a mapping."""
    lines = _text_of(pid, "status").splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _stat(pid: int) -> list[str]:
    # From the third field on. The second, the name, stands in parentheses and may contain some, and blanks.
    return _text_of(pid, "stat").rpartition(") ")[2].split()


def _text_of(pid: int, name: str) -> str:
    with open(f"/proc/{pid}/{name}", encoding="utf-8", errors="surrogateescape") as stream:
        return stream.read()


def _collect(pid: int, environment: dict[str, str]) -> Facts:
    status = status_of(pid)
    state, *numbers = _stat(pid)[:5]
    ppid, pgid, sid, tty = map(int, numbers)
    limits = _text_of(pid, "limits").splitlines()
    soft, hard = next(line for line in limits if line.startswith("Max core file size")).split()[4:6]
    return Facts(
        pid=pid,
        ppid=ppid,
        pgid=pgid,
        sid=sid,
        tty=tty,
        state=state,
        comm=_text_of(pid, "comm").rstrip("\n"),
        cwd=os.readlink(f"/proc/{pid}/cwd"),
        root=os.readlink(f"/proc/{pid}/root"),
        umask=int(status["Umask"], 8),
        descriptors=_descriptors(pid),
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


def _descriptors(pid: int) -> tuple[Descriptor, ...]:
    found = []
    for number in sorted(int(name) for name in os.listdir(f"/proc/{pid}/fd")):
        try:
            target = os.readlink(f"/proc/{pid}/fd/{number}")
            info = _text_of(pid, f"fdinfo/{number}")
        except FileNotFoundError:  # the one by which the list was read, or closed meanwhile
            continue
        flags = next(line for line in info.splitlines() if line.startswith("flags:")).split()[1]
        found.append(Descriptor(number=number, target=target, close_on_exec=bool(int(flags, 8) & os.O_CLOEXEC)))
    return tuple(found)


def _signals(mask: str) -> tuple[int, ...]:
    bits = int(mask, 16)
    return tuple(number for number in range(1, 65) if bits >> (number - 1) & 1)


def _plain(value: object) -> object:
    if isinstance(value, _Fields):
        return vars(value)
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError(f"{type(value).__name__} is not for JSON: {value!r}")
