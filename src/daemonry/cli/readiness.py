"""How one knows that a program, of whatever make, is up: it stays, it says so, or its port accepts."""

from __future__ import annotations

import os
import socket
import struct
import time
from contextlib import suppress

from ..system import process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping

    Tell = Callable[[str], object]
    # Whether the program has ended, asked for so many seconds at most.
    Ended = Callable[[float], bool]

_ROUND = 0.05
# Seconds between two words to the one who waits.
_TICK = 1.0
# Seconds after which one who waits is told what the program does instead.
_DOUBT = 2.0


class Settled:
    """The program runs, and has not ended within some seconds: most that fail do so at once."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.awaited = f"until it has run for {seconds:g} s without ending"

    def prepare(self, environment: MutableMapping[str, str]) -> None:
        """Do what has to be done before the program begins."""

    def wait(self, pid: int, ended: Ended, tell: Tell, tick: Tell) -> bool:
        """Return whether the program is up; false when it has ended."""
        return not ended(self._seconds)

    def when_up(self) -> str:
        """Return what is waited for, with the flag that says so."""
        return f"when it has run {self._seconds:g} s without ending (--settle; or see --wait-port, --notify)"

    def when_late(self) -> str:
        """Return what to say when it was not up in time."""
        return f"it was to run for {self._seconds:g} s first: give a --timeout above that, or a shorter --settle"


class Accepting:
    """A port of this machine accepts connections."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.awaited = f"until port {port} accepts"

    def prepare(self, environment: MutableMapping[str, str]) -> None:
        """Do what has to be done before the program begins."""

    def accepts(self) -> bool:
        """Whether somebody answers there now."""
        for host in ("127.0.0.1", "::1"):
            with suppress(OSError), socket.create_connection((host, self.port), timeout=1):
                return True
        return False

    def wait(self, pid: int, ended: Ended, tell: Tell, tick: Tell) -> bool:
        """Return whether the program is up; false when it has ended."""
        clock = _Clock(tick, f"waiting {self.awaited}")
        said = False
        while not self._is_up(pid):
            clock.tick()
            if not said and clock.seconds >= _DOUBT:
                said = True
                self._say_what_is_there_instead(pid, tell)
            # Nobody can be woken by the port of another process.
            if ended(_ROUND):
                return False
        return True

    def when_up(self) -> str:
        """Return what is waited for, with the flag that says so."""
        return f"when its port {self.port} accepts connections at 127.0.0.1 or ::1 (--wait-port)"

    def when_late(self) -> str:
        """Return what to say when it was not up in time."""
        return f"port {self.port} did not accept at 127.0.0.1 or ::1"

    def _is_up(self, pid: int) -> bool:
        """Whether the port accepts, and it isn't a stranger who has it, as far as that can be told."""
        if not self.accepts():
            return False
        from .listeners import listeners_of

        own = listeners_of(pid)
        return own is None or any(each.port == self.port for each in own) or not self._is_listened_to()

    def _is_listened_to(self) -> bool:
        # Not where the table is empty or another network's: then nothing can be told of who it is.
        from .listeners import all_listeners

        return any(each.port == self.port for each in all_listeners())

    def _say_what_is_there_instead(self, pid: int, tell: Tell) -> None:
        from .listeners import listeners_of

        if self.accepts():
            tell(f"port {self.port} accepts, but it is another process that listens there")
        own = listeners_of(pid)
        if own:
            tell(f"it listens on {', '.join(map(str, own))}, and not yet on port {self.port} of this machine")


class Notified:
    """The program says READY=1, as to a service manager; see sd_notify(3)."""

    awaited = "for READY=1"

    def prepare(self, environment: MutableMapping[str, str]) -> None:
        """Open the socket, and tell the program of it."""
        self._environment = environment
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._directory: str | None = None
        if hasattr(socket, "SO_PASSCRED"):
            # In Linux's abstract namespace: it needs no file, which another root directory would not have. Anybody can
            # write to it, so the kernel is asked who did.
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            self._socket.bind(f"\0daemonry-{os.getpid()}-{os.urandom(8).hex()}")
            name = self._socket.getsockname()
            environment["NOTIFY_SOCKET"] = "@" + name[1:].decode()
        else:
            import tempfile

            self._directory = tempfile.mkdtemp(prefix="daemonry-")
            environment["NOTIFY_SOCKET"] = os.path.join(self._directory, "notify")
            self._socket.bind(environment["NOTIFY_SOCKET"])

    def wait(self, pid: int, ended: Ended, tell: Tell, tick: Tell) -> bool:
        """Return whether the program is up; false when it has ended."""
        clock = _Clock(tick, f"waiting {self.awaited}")
        try:
            self._socket.setblocking(False)
            while not ended(_ROUND):
                if self._hear(pid, tell):
                    return True
                clock.tick()
            return False
        finally:
            self.close()

    def when_up(self) -> str:
        """Return what is waited for, with the flag that says so."""
        return "when it says READY=1 (--notify)"

    def when_late(self) -> str:
        """Return what to say when it was not up in time."""
        return "READY=1 never came: a program that doesn't say it (sd_notify) is waited for by --wait-port or --settle"

    def _hear(self, pid: int, tell: Tell) -> bool:
        """Hear what has been said by now; return whether the program is up."""
        ready = False
        with suppress(BlockingIOError):
            while not ready:
                space = socket.CMSG_SPACE(12) if _HAS_SENDER else 0
                data, ancillary, _flags, _address = self._socket.recvmsg(8192, space)
                lines = data.decode("utf-8", "replace").splitlines() if _is_from(pid, ancillary) else []
                for line in lines:
                    if line.startswith("STATUS="):
                        tell(line.partition("=")[2])
                ready = "READY=1" in lines
        return ready

    def close(self) -> None:
        """Give the socket back."""
        self._environment.pop("NOTIFY_SOCKET", None)  # a supervisor starts the program again, and nobody listens then
        self._socket.close()
        if self._directory is not None:
            with suppress(OSError):
                os.unlink(os.path.join(self._directory, "notify"))
                os.rmdir(self._directory)


_HAS_SENDER = hasattr(socket, "SCM_CREDENTIALS")


def _is_from(pid: int, ancillary: list[tuple[int, int, bytes]]) -> bool:
    """Whether the program itself, or one of its session, has sent it: shells and other wrappers start the real one."""
    if not _HAS_SENDER:
        return True
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
            sender, user, _group = struct.unpack_from("iII", data)
            found, program = process.look(sender), process.look(pid)
            if found is None:
                # systemd-notify(1) and the like may have ended before anybody could look. By now this process has the
                # program's rights.
                return sender == pid or user in (0, os.geteuid())
            return sender == pid or (program is not None and found.session == program.session)
    return False


class _Clock:
    def __init__(self, tick: Tell, text: str) -> None:
        self._start = self._last = time.monotonic()
        self._tick = tick
        self._text = text

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._start

    def tick(self) -> None:
        now = time.monotonic()
        if now - self._last >= _TICK:
            self._last = now
            self._tick(f"{self._text}, {int(now - self._start)} s")
