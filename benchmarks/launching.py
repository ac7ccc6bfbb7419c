"""One start of one subject: launched, seen to its body, looked at while it idles, ended."""

from __future__ import annotations

import os
import resource
import select
import signal
import time
from contextlib import closing, contextmanager
from dataclasses import dataclass

from . import leaving_nothing
from .telling import Ear, fifo
from .watched import Watched

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from .peers import Subject

PATIENCE = 60.0
_ROUND = 50  # milliseconds


class Refused(RuntimeError):
    """A subject did not come up; the text says what it wrote."""


@dataclass(frozen=True)
class Setting:
    """What a subject is started with.

    :param pidfile: whether it takes one.
    :param words: words for ``subjects/job.py``.
    :param descriptors: how many descriptors it inherits above its streams.
    :param nofile: its RLIMIT_NOFILE, soft and hard; None for this process's.
    :param keeps_pidfile: whether a pidfile stays that is there from before.
    """

    pidfile: bool = False
    words: tuple[str, ...] = ()
    descriptors: int = 0
    nofile: int | None = None
    keeps_pidfile: bool = False


@dataclass(frozen=True)
class Start:
    """What was seen of one start; times are nanoseconds of CLOCK_MONOTONIC.

    :param name: the subject's.
    :param executed: when the launcher was executed.
    :param opened: when it began to open.
    :param up: when the daemon's body began.
    :param modules: how many modules the daemon has loaded then.
    :param faults: how many pages it has touched for the first time since it was forked.
    """

    name: str
    pid: int
    executed: int
    opened: int
    up: int
    modules: int
    faults: int
    launcher: Watched

    def wait_for_launcher(self) -> int:
        """Return when the launcher was gone."""
        return self.launcher.wait(PATIENCE)

    def terminate(self) -> int:
        """Send SIGTERM, and return how many nanoseconds later the daemon was gone."""
        daemon = Watched(self.pid)
        try:
            told = time.monotonic_ns()
            os.kill(self.pid, signal.SIGTERM)
            return daemon.wait(PATIENCE) - told
        finally:
            daemon.close()


class Launcher(Watched):
    """The process that was executed.

    :ivar executed: when that was.
    """

    def __init__(self, words: list[str], streams: tuple[int, int, int]) -> None:
        actions = [(os.POSIX_SPAWN_DUP2, fd, stream) for stream, fd in enumerate(streams)]
        self.executed = time.monotonic_ns()
        self._pid = os.posix_spawnp(words[0], words, environment(), file_actions=actions)
        super().__init__(self._pid)

    def exit_status(self) -> int:
        """Wait for it, and return its exit status; negative for a signal."""
        return leaving_nothing.wait_for(self._pid)


class Runner:
    """Starts one subject at a time, with a directory for what is between it and the subject."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.pidfile = place / "daemon.pid"
        self.ear = Ear(place / "told")
        self._leash = fifo(place / "leash")
        self._null = os.open(os.devnull, os.O_RDWR)

    @contextmanager
    def start(self, subject: Subject, setting: Setting) -> Iterator[Start]:
        """Start a subject; in the block its body runs, and behind it nothing of it is left but its pidfile.

        :raises Refused: when it ends without having come up.
        """
        with self.launched(subject, setting) as launcher:
            pid, opened, up, modules = self.hear("up", launcher)
            yield Start(subject.name, pid, launcher.executed, opened, up, modules, faults_of(pid), launcher)

    def run_to_end(self, tool: list[str], subject: Subject, setting: Setting) -> int:
        """Run a subject below a tool, wait for the end of every process, and return the daemon's number.

        :param setting: its words must have ``marks``, or the daemon would not end.
        """
        with self.launched(subject, setting, tool) as launcher:
            daemon = self.hear("up", launcher)[0]
            leaving_nothing.wait_for_all()
            return daemon

    @contextmanager
    def launched(self, subject: Subject, setting: Setting, tool: Sequence[str] = ()) -> Iterator[Launcher]:
        """Execute a subject; behind the block nothing of it is left but its pidfile."""
        if not setting.keeps_pidfile:
            self.pidfile.unlink(missing_ok=True)
        words = [*_limited(setting.nofile), *tool, *subject.words, *self.words_for(setting)]
        with self.leaving_nothing():
            with _inheritable(self._null, setting.descriptors):
                launcher = self.run(words)
            with closing(launcher):
                yield launcher

    @contextmanager
    def leaving_nothing(self) -> Iterator[None]:
        """End, behind the block, all that was started in it."""
        try:
            yield
        finally:
            leaving_nothing.end_all()
            self.ear.forget()

    def run(self, words: list[str]) -> Launcher:
        """Execute a program, with its output in a file of which :meth:`said` tells."""
        output = os.open(self.place / "output", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
        try:
            return Launcher(words, (self._null, output, output))
        finally:
            os.close(output)

    def words_for(self, setting: Setting) -> list[str]:
        """Return the words of the job."""
        return [f"place={self.place}", *([f"pidfile={self.pidfile}"] if setting.pidfile else ()), *setting.words]

    def said(self) -> str:
        """Return the end of what the subject has written."""
        said = (self.place / "output").read_text(errors="replace")[-2000:]
        return said.replace(f"{self.place}/", "")

    def hear(self, kind: str, launcher: Watched) -> list[int]:
        """Wait for the first line of that kind, and return its numbers; note the end of the launcher meanwhile.

        :raises Refused: when every process is gone before.
        """
        poll = select.poll()
        poll.register(self.ear.fd, select.POLLIN)
        poll.register(launcher.fd, select.POLLIN)
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            events = dict(poll.poll(_ROUND))
            if launcher.fd in events:
                launcher.saw_end()
                poll.unregister(launcher.fd)
            heard = self.ear.heard(kind)
            if heard:
                return heard[0]
            if not events and not leaving_nothing.reap():
                break
        raise Refused(self.said())


def _limited(nofile: int | None) -> list[str]:
    return [] if nofile is None else ["/bin/sh", "-c", 'ulimit -n "$1" && shift && exec "$@"', "sh", str(nofile)]


def environment() -> dict[str, str]:
    """Return what every subject finds: nothing of this program's, and no chance, which would be in the counts."""
    return {"PATH": os.environ.get("PATH", os.defpath), "HOME": "/", "LANG": "C.UTF-8", "PYTHONHASHSEED": "0"}


def faults_of(pid: int) -> int:
    """Return how many pages a process has touched for the first time. proc_pid_stat(5), minflt."""
    with open(f"/proc/{pid}/stat") as file:
        return int(file.read().rpartition(")")[2].split()[7])


def memory_of(pid: int) -> tuple[int, int]:
    """Return RSS and PSS of a process in KiB. proc_pid_smaps(5)."""
    with open(f"/proc/{pid}/smaps_rollup") as file:
        sizes = {line.split(":")[0]: line.split()[1] for line in file if line.endswith("kB\n")}
    return int(sizes["Rss"]), int(sizes["Pss"])


@contextmanager
def _inheritable(fd: int, count: int) -> Iterator[None]:
    """Let what is executed in the block inherit that many copies of a descriptor."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    copies: list[int] = []
    try:
        copies.extend(os.dup(fd) for _ in range(count))
        for copy in copies:
            os.set_inheritable(copy, True)
        yield
    finally:
        for copy in copies:
            os.close(copy)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
