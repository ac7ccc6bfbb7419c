"""The process, read from /proc as it is asked for."""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager, suppress
from functools import cached_property

from ..manager import starter as service_manager
from ..system import process
from . import pidfile_search
from .finding import Untold
from .open_file import Descriptor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from .pidfile_search import Pidfile

_READING = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class Subject:
    """One process, each fact read when it is first asked for.

    Through a descriptor on its directory in /proc, which never comes to mean another process of the same number;
    ``None`` where there is no such directory or it is hidden.
    """

    def __init__(self, pid: int, directory: int | None) -> None:
        self.pid = pid
        self.pidfile_path: str | None = None
        self._directory = directory

    @classmethod
    @contextmanager
    def of(cls, pid: int) -> Iterator[Subject]:
        try:
            directory = os.open(f"/proc/{pid}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            yield cls(pid, None)
            return
        try:
            yield cls(pid, directory)
        finally:
            os.close(directory)

    def require_alive(self) -> None:
        """:raises ProcessLookupError: when it has ended."""
        try:
            state = self.read("stat").rpartition(") ")[2][:1]
        except Untold:  # no /proc, or none that shows it
            found = process.look(self.pid)
            state = found.state if found is not None else "R" if process.exists(self.pid) else "X"
        except PermissionError:
            return
        except OSError:
            state = "X"
        if state in "ZX":
            why = "it has ended, only its parent has not asked how" if state == "Z" else os.strerror(errno.ESRCH)
            raise ProcessLookupError(errno.ESRCH, f"there is no process {self.pid}: {why}")

    def read(self, name: str) -> str:
        with open(os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self.directory), "rb") as file:
            return os.fsdecode(file.read())

    def link(self, name: str) -> str:
        return os.readlink(name, dir_fd=self.directory)

    def stat(self, name: str) -> os.stat_result:
        return os.stat(name, dir_fd=self.directory)

    def names_in(self, name: str) -> list[str]:
        fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self.directory)
        try:
            return sorted(os.listdir(fd), key=int)
        finally:
            os.close(fd)

    @property
    def directory(self) -> int:
        if self._directory is None:
            raise Untold("/proc does not show it")
        return self._directory

    @cached_property
    def process(self) -> process.Process:
        found = process.look(self.pid)
        if found is None:
            raise Untold("neither /proc nor ps(1) shows it")
        return found

    @cached_property
    def status(self) -> dict[str, str]:
        return fields(self.read("status"))

    def field(self, name: str) -> str:
        if name not in self.status:
            raise Untold(f"the kernel does not tell {name}")
        return self.status[name]

    def ids(self, name: str) -> list[int]:
        return [int(word) for word in self.field(name).split()]

    @property
    def terminal(self) -> int:
        """The number of its controlling terminal's device, 0 for none."""
        return int(self.read("stat").rpartition(") ")[2].split()[4])

    @property
    def numbers(self) -> list[int]:
        """Its numbers from our PID namespace down to its own; see pid_namespaces(7)."""
        return [int(word) for word in self.status.get("NSpid", str(self.pid)).split()]

    @cached_property
    def environment(self) -> dict[str, str]:
        pairs = (each.partition("=") for each in self.read("environ").split("\0"))
        return {name: value for name, _, value in pairs}

    def starter(self, environment: dict[str, str]) -> service_manager.Starter:
        parent = self.process.parent
        facts = service_manager.Facts(
            pid=self.numbers[-1],
            parent=parent,
            parent_name=service_manager.program_of(parent),
            environment=environment,
            has_terminal=self.terminal != 0,
            stdin_is_network_socket=False,  # a socket's family is not to be seen from outside
        )
        return service_manager.who_started(facts)

    @cached_property
    def descriptors(self) -> tuple[Descriptor, ...]:
        found = []
        for name in self.names_in("fd"):
            with suppress(FileNotFoundError):  # closed since
                found.append(self._descriptor(name))
        return tuple(found)

    def _descriptor(self, name: str) -> Descriptor:
        return Descriptor(
            number=int(name),
            target=self.link(f"fd/{name}"),
            found=self.stat(f"fd/{name}"),
            info=self.read(f"fdinfo/{name}"),
        )

    @contextmanager
    def reopened(self, descriptor: Descriptor) -> Iterator[int]:
        """Open anew the file behind a descriptor, whatever it is called by now."""
        fd = os.open(f"fd/{descriptor.number}", _READING, dir_fd=self.directory)
        try:
            yield fd
        finally:
            os.close(fd)

    @cached_property
    def pidfile(self) -> Pidfile | None:
        """:raises NoPidfile: when what is at the path is none."""
        if self.pidfile_path is None:
            return pidfile_search.among(self.descriptors, self.numbers, self.reopened)
        return pidfile_search.at(self.pidfile_path)


def fields(text: str) -> dict[str, str]:
    return {name: value.strip() for name, _, value in (line.partition(":") for line in text.splitlines())}
