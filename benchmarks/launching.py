"""One start of one subject: launched, seen to its body, looked at while it idles, ended."""

from __future__ import annotations

import os
import select
import signal
import time
from contextlib import contextmanager
from dataclasses import dataclass

from . import leaving_nothing
from .watched import Watched

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
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
    """

    pidfile: bool = False
    words: tuple[str, ...] = ()
    descriptors: int = 0
    nofile: int | None = None


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


class Runner:
    """Starts one subject at a time, with a directory for what is between it and the subject."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.pidfile = place / "daemon.pid"
        self._told = self._fifo("told")
        self._leash = self._fifo("leash")
        self._null = os.open(os.devnull, os.O_RDWR)

    def _fifo(self, name: str) -> int:
        os.mkfifo(self.place / name)
        # For both ways, so that it has no end of file while this process lives, and has one when it is gone.
        return os.open(self.place / name, os.O_RDWR | os.O_NONBLOCK)

    @contextmanager
    def start(self, subject: Subject, setting: Setting, keep_pidfile: bool = False) -> Iterator[Start]:
        """Start a subject; in the block its body runs, and behind it nothing of it is left.

        :raises Refused: when it ends without having come up.
        """
        if not keep_pidfile:
            self.pidfile.unlink(missing_ok=True)
        executed = time.monotonic_ns()
        launcher = Watched(self._launch([*subject.words, *self.words_for(setting)], setting))
        try:
            pid, opened, up, modules = self.hear("up", launcher)
            yield Start(subject.name, pid, executed, opened, up, modules, faults_of(pid), launcher)
        finally:
            leaving_nothing.end_all()
            self._drain()
            launcher.close()

    def run_to_end(self, tool: list[str], subject: Subject, setting: Setting) -> int:
        """Run a subject below a tool, wait for the end of every process, and return the daemon's number.

        :param setting: its words must have ``marks``, or the daemon would not end.
        """
        self.pidfile.unlink(missing_ok=True)
        launcher = Watched(self._launch([*tool, *subject.words, *self.words_for(setting)], setting))
        try:
            daemon = self.hear("up", launcher)[0]
            leaving_nothing.wait_for_all()
            return daemon
        finally:
            leaving_nothing.end_all()
            self._drain()
            launcher.close()

    def words_for(self, setting: Setting) -> list[str]:
        """Return the words of the job."""
        return [f"place={self.place}", *([f"pidfile={self.pidfile}"] if setting.pidfile else ()), *setting.words]

    def _launch(self, words: list[str], setting: Setting) -> int:
        if setting.nofile is not None:
            words = ["/bin/sh", "-c", 'ulimit -n "$1" && shift && exec "$@"', "sh", str(setting.nofile), *words]
        output = os.open(self.place / "output", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        streams = [(os.POSIX_SPAWN_DUP2, fd, stream) for stream, fd in enumerate((self._null, output, output))]
        with _inheritable(self._null, setting.descriptors):
            launcher = os.posix_spawnp(words[0], words, environment(), file_actions=streams)
        os.close(output)
        return launcher

    def hear(self, kind: str, launcher: Watched) -> list[int]:
        """Wait for a line of that kind, and return its numbers; note the end of the launcher meanwhile.

        :raises Refused: when every process is gone before.
        """
        poll = select.poll()
        poll.register(self._told, select.POLLIN)
        poll.register(launcher.fd, select.POLLIN)
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            events = dict(poll.poll(_ROUND))
            if launcher.fd in events:
                launcher.saw_end()
                poll.unregister(launcher.fd)
            if self._told in events:
                for line in os.read(self._told, 65_536).decode().splitlines():
                    word, *numbers = line.split()
                    if word == kind:
                        return [int(number) for number in numbers]
            if not events and not leaving_nothing.reap():
                break
        raise Refused((self.place / "output").read_text(errors="replace")[-2000:])

    def _drain(self) -> None:
        try:
            while os.read(self._told, 65_536):
                pass
        except BlockingIOError:
            return


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
    copies = [os.dup(fd) for _ in range(count)]
    try:
        for copy in copies:
            os.set_inheritable(copy, True)
        yield
    finally:
        for copy in copies:
            os.close(copy)
