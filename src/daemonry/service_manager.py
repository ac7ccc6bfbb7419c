"""sd-daemon(3) without libsystemd: who started us, what he is told, which sockets he gave."""

from __future__ import annotations

import os
import stat
import sys
from contextlib import suppress

from . import process
from .record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

FIRST_SOCKET = 3
# How long, in seconds, a manager that has stopped reading may hold the daemon up.
PATIENCE = 5.0
_SUPERVISORS = ("supervisord", "runsv", "s6-supervise", "circusd", "perpd", "dinit")


class Facts(Record):
    """What tells who started a process. Environment variables alone don't: every descendant inherits them."""

    pid: int
    parent: int
    parent_name: str
    environment: Mapping[str, str]
    has_terminal: bool
    stdin_is_network_socket: bool


class Starter(Record):
    """Who started a process: ``name`` is ``None`` when it was nobody who keeps daemons."""

    name: str | None
    reason: str

    def __str__(self) -> str:
        return f"{self.name or 'no service manager'} ({self.reason})"


def facts_of_this_process() -> Facts:
    """Answer the facts of the running process."""
    parent = os.getppid()
    found = process.look(parent)
    return Facts(
        pid=os.getpid(),
        parent=parent,
        parent_name=found.name if found is not None else "",
        environment=dict(os.environ),
        has_terminal=_has_terminal(),
        stdin_is_network_socket=_is_network_socket(0),
    )


def _has_terminal() -> bool:
    # Not isatty of a stream, which a pipeline redirects: the name stands for the controlling terminal, see tty(4).
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def _is_network_socket(fd: int) -> bool:
    try:
        if not stat.S_ISSOCK(os.fstat(fd).st_mode):
            return False
    except OSError:
        return False
    import socket

    with suppress(OSError), socket.socket(fileno=os.dup(fd)) as found:
        return found.family in (socket.AF_INET, socket.AF_INET6)
    return False


def who_started(facts: Facts) -> Starter:
    """Answer who started the process with these facts, from evidence that is meant for it or its parent.

    Source: sd_listen_fds(3), systemd.exec(5), inetd(8), launchd.plist(5).
    """
    environment = facts.environment
    service = environment.get("SYSTEMD_EXEC_PID")
    if facts.pid == 1:
        return Starter(name="container", reason="it is process 1")
    if environment.get("DAEMONRY_PID") == str(facts.pid):
        return Starter(name="daemonry", reason="DAEMONRY_PID is its number")
    if environment.get("LISTEN_PID") == str(facts.pid):
        return Starter(name="systemd", reason="LISTEN_PID is its number")
    if service == str(facts.pid):
        return Starter(name="systemd", reason="SYSTEMD_EXEC_PID is its number")
    # A terminal's emulator and tmux may be services too, and what runs in their windows is a child of theirs.
    if service == str(facts.parent) and not facts.has_terminal:
        return Starter(name="systemd", reason="SYSTEMD_EXEC_PID is its parent's number, and it has no terminal")
    if facts.parent_name == "systemd" and "INVOCATION_ID" in environment:
        return Starter(name="systemd", reason="its parent is systemd")
    if facts.parent_name in _SUPERVISORS:
        return Starter(name=facts.parent_name, reason=f"its parent is {facts.parent_name}")
    if facts.stdin_is_network_socket:
        return Starter(name="inetd", reason="its standard input is a network socket")
    if facts.parent == 1 and not facts.has_terminal:
        name = "launchd" if "XPC_SERVICE_NAME" in environment else "init"
        return Starter(name=name, reason="its parent is process 1, and it has no terminal")
    return Starter(name=None, reason="nothing says that somebody keeps it")


def activation_sockets(environment: Mapping[str, str], pid: int) -> tuple[int, ...]:
    """Answer the descriptors that a service manager opened for the process ``pid``; see sd_listen_fds(3)."""
    count = environment.get("LISTEN_FDS", "")
    if environment.get("LISTEN_PID") != str(pid) or not count.isascii() or not count.isdigit():
        return ()
    return tuple(fd for fd in range(FIRST_SOCKET, FIRST_SOCKET + int(count[:6])) if _is_open(fd))


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


class Manager:
    """The service manager's ear; without one, talking costs nothing.

    :param address: the value of NOTIFY_SOCKET, ``None`` or empty for no manager.
    """

    def __init__(self, address: str | None) -> None:
        self.address = address or None
        self._socket: Any = None

    def connect(self) -> None:
        """Open the socket now: after a change of the root directory its path means another place."""
        if self.address is not None and self._socket is None:
            with suppress(OSError):
                self._socket = _open(self.address)

    def tell(self, **assignments: object) -> None:
        """Send assignments such as ``READY=1``; see sd_notify(3).

        A manager that went away, or can't be reached, is no error: it never harms the daemon.
        """
        if self.address is None:
            return
        text = "\n".join(f"{name}={_one_line(value)}" for name, value in assignments.items())
        with suppress(OSError):
            if self._socket is not None:
                self._socket.send(text.encode("utf-8", "backslashreplace"))
                return
            with _open(self.address) as sender:
                sender.send(text.encode("utf-8", "backslashreplace"))

    def close(self) -> None:
        """Close the socket, if it is open."""
        sender, self._socket = self._socket, None
        if sender is not None:
            sender.close()


def _open(address: str) -> Any:
    import socket

    sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | getattr(socket, "SOCK_CLOEXEC", 0))
    try:
        sender.settimeout(PATIENCE)
        # A name that begins with @ is in Linux's abstract namespace, where it begins with a zero.
        sender.connect("\0" + address[1:] if address.startswith("@") else address)
    except OSError:
        sender.close()
        raise
    return sender


def _one_line(value: object) -> str:
    return " ".join(str(value).splitlines())


def manager_of(starter: Starter, environment: Mapping[str, str]) -> Manager:
    """Answer the manager that waits for word of the process; none when NOTIFY_SOCKET was meant for an ancestor."""
    if starter.name is None:
        return Manager(None)
    if "socket" not in sys.modules and environment.get("NOTIFY_SOCKET"):
        # Imported while it can still be found: the word is sent from inside another root directory.
        import socket  # noqa: F401
    return Manager(environment.get("NOTIFY_SOCKET"))
