"""One run of the subject: a start and a stop, with strace at one of its processes for one of the two."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from daemonry import PIDLockFile
from daemonry.pidfile.errors import PIDFileError
from faults.children import Child, are_gone, fork_server, kill_rest
from faults.ear import Ear
from faults.tapping import attach_to
from harness.probe import Facts, facts_of
from harness.waiting import ends, is_alive, wait_for

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator

    from faults.ear import Ear
from faults.tapping import Tap

# Seconds. A start that is given up takes GRACE and DYING of the witness and of the launcher at most, twice.
PATIENCE = 40.0


@dataclass
class Run:
    """What a start and its stop have done and left behind."""

    status: int | None = None
    """The launcher's; negative: the signal; ``None``: it still runs."""
    words: str = ""
    """What it has said on stderr."""
    pids: dict[str, int] = field(default_factory=dict)
    facts: Facts | None = None
    """The daemon's when it is up."""
    pidfile: str | None = None
    """Its text when the daemon is up; ``None`` without a file."""
    held: bool = False
    log: str = ""
    told: str = ""
    """What a service manager has heard."""
    end: int | None = None
    """The daemon's wait status after SIGTERM."""
    left_running: tuple[str, ...] = ()
    left: dict[str, str] = field(default_factory=dict)
    """The files in its place at the end, with their text."""
    calls: tuple[str, ...] = ()
    """What strace has written."""


@contextlib.contextmanager
def place() -> Iterator[Path]:
    """Make a directory for the files of a run, which is removed with them; every user can reach it."""
    path = Path(tempfile.mkdtemp(prefix="daemonry-faults-", dir="/tmp"))
    path.chmod(0o755)
    (path / "jail").mkdir()
    try:
        yield path
    finally:
        shutil.rmtree(path)


def run(directory: Path, options: dict[str, object], tap: Tap | None = None) -> Run:
    """Start the subject in a directory, look at its daemon if there is one, stop that, and look at what is left.

    The caller's process has become the reaper, and has no other children.
    """
    return _Runner(directory, options, tap).run()


class _Runner:
    def __init__(self, directory: Path, options: dict[str, object], tap: Tap | None) -> None:
        self._directory = directory
        self._options = options
        self._tap = tap
        self._strace: subprocess.Popen[bytes] | None = None
        self._result = Run()

    def run(self) -> Run:
        ear = Ear(self._directory / "notify") if self._options.get("notify") else None
        try:
            self._start()
            daemon = self._daemon()
            if daemon is not None:
                self._look_at(daemon)
                self._stop(daemon)
        finally:
            self._result.left_running = self._reap()
            if ear is not None:
                ear.close()
                self._result.told = ear.heard
            self._look_at_rest()
        return self._result

    # The start

    def _start(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours:
            with theirs:
                launcher = self._launch(theirs.fileno())
            gatekeeper = threading.Thread(target=self._keep_gate, args=(ours,))
            gatekeeper.start()
            try:
                self._await_start(launcher)
            finally:
                ours.shutdown(socket.SHUT_RDWR)
                gatekeeper.join()
                launcher.close()

    def _launch(self, gate: int) -> Child:
        (self._directory / "subject.log").unlink(missing_ok=True)  # what a run before this one has said
        launcher = Child(fork_server().fork(self._directory, self._options, gate))
        self._result.pids["launcher"] = launcher.pid
        return launcher

    def _keep_gate(self, connection: socket.socket) -> None:
        while message := connection.recv(64):
            role, pid = message.decode().split()
            self._result.pids[role] = int(pid)
            self._attach(role, "start", int(pid))
            with contextlib.suppress(BrokenPipeError):
                connection.send(b"go")

    def _await_start(self, launcher: Child) -> None:
        if self._stays:
            soon(lambda: self._is_up or launcher.poll() is not None)
        else:
            launcher.wait(PATIENCE)
            if (launcher.status or 0) < 0:  # its daemon may go on without it
                soon(lambda: self._is_up or are_gone())
        self._result.status = launcher.status
        self._result.words = (self._directory / "launcher.err").read_text(errors="replace")

    @property
    def _stays(self) -> bool:
        return self._options.get("detach_process") is False

    # The daemon

    @property
    def _is_up(self) -> bool:
        return "up, " in self._log

    @property
    def _log(self) -> str:
        return _text(self._directory / "subject.log") or ""

    def _daemon(self) -> int | None:
        """Return the daemon's pid once its body serves; ``None`` when there is none."""
        pid = self._result.pids.get("launcher" if self._stays else "daemon")
        if pid is None or (self._result.status or 0) > 0:
            return None
        return pid if soon(lambda: self._is_up or not is_alive(pid)) and is_alive(pid) else None

    def _look_at(self, pid: int) -> None:
        self._detach()
        self._result.facts = facts_of(pid)
        self._result.pidfile = _text(self._directory / "subject.pid")
        self._result.held = _is_held(self._directory / "subject.pid")
        self._result.log = self._log

    def _stop(self, pid: int) -> None:
        pidfd = os.pidfd_open(pid)
        try:
            self._attach("daemon", "stop", pid)
            signal.pidfd_send_signal(pidfd, signal.SIGTERM)
            if ends(pidfd, PATIENCE):
                self._result.end = os.waitpid(pid, 0)[1]
        except (ProcessLookupError, ChildProcessError):  # it has ended before, or its witness has not
            pass
        finally:
            os.close(pidfd)

    # strace

    def _attach(self, role: str, phase: str, pid: int) -> None:
        if self._tap is None or (self._tap.role, self._tap.phase) != (role, phase):
            return
        self._strace, said = attach_to(pid, self._directory / "trace", *self._tap.arguments)
        if "attached" not in said:
            raise RuntimeError(said)

    def _detach(self) -> None:
        if self._strace is None:
            return
        self._strace.send_signal(signal.SIGTERM)
        self._strace.communicate()
        self._strace = None
        self._result.calls = tuple((_text(self._directory / "trace") or "").splitlines())

    # The end

    def _reap(self) -> tuple[str, ...]:
        """Wait for what still ends; answer a line on each process that does not, and kill it."""
        soon(are_gone, 8)
        self._detach()
        return kill_rest()

    def _look_at_rest(self) -> None:
        self._result.log = self._log
        ours = {"launcher.err", "trace", "jail", "subject.log", "subject.out", "logging.log"}
        for name in sorted(set(os.listdir(self._directory)) - ours):
            self._result.left[name] = _text(self._directory / name) or ""


def soon(condition: Callable[[], object], seconds: float = PATIENCE) -> bool:
    """Wait until a condition holds; return whether it does in time."""
    with contextlib.suppress(AssertionError):
        return bool(wait_for(condition, seconds))
    return False


def _text(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace")
    except FileNotFoundError:
        return None


def _is_held(path: Path) -> bool:
    """Whether the pidfile holds a second start off, by its seal or by a lock."""
    try:
        return PIDLockFile(path).is_locked()
    except PIDFileError:
        return False
