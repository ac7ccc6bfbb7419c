"""sd_notify(3) without libsystemd: what a service manager is told."""

from __future__ import annotations

import array
import os
import select
import sys
import time
from contextlib import contextmanager, suppress

from ..system.closing import close

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

# How long, in seconds, a manager that has stopped reading may hold the daemon up.
PATIENCE = 5.0
# systemd takes messages of up to 4096 bytes, and drops a longer one whole, READY=1 with it.
_LONGEST_VALUE = 2000
# What systemd doesn't call a descriptor by: it would give another name, and the next process wouldn't find it.
_LONGEST_NAME = 255
# Seconds; a watchdog that waits longer, 30 years and more, is none.
_LONGEST_WATCHDOG = 1e9


class Manager:
    """The service manager's ear; without one, talking costs nothing, and one that went away never harms the daemon.

    :param address: the value of NOTIFY_SOCKET; ``None`` or empty for no manager.
    :param watchdog: the seconds within which it wants to hear :meth:`alive`; ``None`` when it doesn't.
    """

    def __init__(self, address: str | None, watchdog: float | None = None) -> None:
        self.address = address or None
        self.watchdog = watchdog
        self._socket: Any = None

    def connect(self) -> None:
        """Open the socket now: after a change of the root directory its path means another place."""
        if self.address is not None and self._socket is None:
            with suppress(OSError):
                self._socket = _open(self.address)

    def close(self) -> None:
        """Close the socket, if it is open."""
        sender, self._socket = self._socket, None
        if sender is not None:
            sender.close()

    def tell(self, **assignments: object) -> OSError | None:
        """Send assignments such as ``READY=1``; see sd_notify(3).

        Return what kept them from being sent; ``None`` when they were, and where there is no manager.
        """
        return self._send(assignments)

    def alive(self) -> None:
        """Say that the daemon is well; to be said at least twice within ``watchdog`` seconds.

        Left unsaid where it has stopped reading: nobody waits for it in an event loop.
        """
        self._send({"WATCHDOG": 1}, patience=0)

    def extend(self, seconds: float) -> None:
        """Ask for so many seconds more, from now on, for the start, the reload or the stop that is under way."""
        self.tell(EXTEND_TIMEOUT_USEC=int(seconds * 1e6))

    @contextmanager
    def reloading(self) -> Iterator[None]:
        """Say that the configuration is read again, and at the end of the block that it has been.

        Source: systemd.service(5), ``Type=notify-reload``.
        """
        self.tell(RELOADING=1, MONOTONIC_USEC=time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000)
        try:
            yield
        finally:
            self.tell(READY=1)

    def store(self, descriptor: int | Any, name: str) -> None:
        """Have it keep a descriptor for this service's next process; see systemd.service(5), FileDescriptorStoreMax=.

        :param descriptor: a number, or an object with a ``fileno()``.
        :param name: what :meth:`~daemonry.DaemonContext.listen_fds` calls it then.
        :raises ValueError: for a name that is empty, longer than 255, or has colons or anything but plain ASCII.
        """
        if not _is_name(name):
            raise ValueError(f"a descriptor can't be stored as {name!r}: up to 255 of ASCII without colons")
        number = descriptor if isinstance(descriptor, int) else descriptor.fileno()
        self._send({"FDSTORE": 1, "FDNAME": name}, number)

    def forget(self, name: str) -> None:
        """Have it close the descriptors that it keeps by this name."""
        self.tell(FDSTOREREMOVE=1, FDNAME=name)

    def wait_until_heard(self, seconds: float | None = None) -> bool:
        """Wait until it has read all that it was told; return whether it has. To be done before an exit.

        :param seconds: how long at most; ``None`` for 5.

        It looks up who has told it something, and an ended process is nobody. Source: sd_notify_barrier(3).
        """
        if self.address is None:
            return True
        with suppress(OSError), _Barrier() as barrier:
            if self._send({"BARRIER": 1}, barrier.writing) is None:
                return barrier.is_passed(PATIENCE if seconds is None else seconds)
        return False  # there was no descriptor left to wait with

    def _send(
        self, assignments: Mapping[str, object], descriptor: int | None = None, patience: float | None = None
    ) -> OSError | None:
        if self.address is None:
            return None
        text = "\n".join(f"{name}={_one_line(value)}" for name, value in assignments.items())
        try:
            if self._socket is not None:
                _send_by(self._socket, text, descriptor, patience)
            else:
                with _open(self.address) as sender:
                    _send_by(sender, text, descriptor, patience)
        except OSError as error:
            return error
        return None


class _Barrier:
    """A pipe whose one end it gets, and closes when it has read what came before it."""

    def __enter__(self) -> _Barrier:
        self._reading, self.writing = os.pipe()
        return self

    def is_passed(self, seconds: float) -> bool:
        """Close our own copy of its end, and wait for it."""
        close(self.writing)
        self.writing = -1
        poll = select.poll()
        poll.register(self._reading, 0)  # POLLHUP is always told
        return bool(poll.poll(seconds * 1000))

    def __exit__(self, *_exc_info: object) -> None:
        for fd in (self._reading, self.writing):
            if fd >= 0:
                close(fd)


def _send_by(sender: Any, text: str, descriptor: int | None, patience: float | None) -> None:
    import socket

    sender.settimeout(PATIENCE if patience is None else patience)
    numbers = [] if descriptor is None else [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor]))]
    sender.sendmsg([text.encode()], numbers)


def _open(address: str) -> Any:
    import socket

    sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | getattr(socket, "SOCK_CLOEXEC", 0))
    try:
        # A name that begins with @ is in Linux's abstract namespace, where it begins with a zero.
        sender.connect("\0" + address[1:] if address.startswith("@") else address)
    except OSError:
        sender.close()
        raise
    return sender


def _is_name(text: str) -> bool:
    return 0 < len(text) <= _LONGEST_NAME and text.isascii() and text.isprintable() and ":" not in text


def _one_line(value: object) -> str:
    # A zero byte has the whole message dropped as well.
    line = " ".join(str(value).splitlines()).replace("\0", "\\0")
    encoded = line.encode("utf-8", "backslashreplace")
    if len(encoded) <= _LONGEST_VALUE:
        return encoded.decode()
    return encoded[:_LONGEST_VALUE].decode(errors="ignore") + "..."


def manager_at(environment: Mapping[str, str], pid: int) -> Manager:
    """Return the manager that the environment tells of, to the process ``pid``."""
    if "socket" not in sys.modules and environment.get("NOTIFY_SOCKET"):
        # Imported while it can still be found: the word is sent from inside another root directory.
        import socket  # noqa: F401
    return Manager(environment.get("NOTIFY_SOCKET"), _watchdog_of(environment, pid))


def _watchdog_of(environment: Mapping[str, str], pid: int) -> float | None:
    # sd_watchdog_enabled(3): without WATCHDOG_PID it is meant for whoever has the variable.
    microseconds = environment.get("WATCHDOG_USEC", "")
    meant = environment.get("WATCHDOG_PID", str(pid)) == str(pid)
    if not meant or not microseconds.isascii() or not microseconds.isdigit():
        return None
    # By way of float, which takes any number of digits.
    seconds = float(microseconds) / 1e6
    return seconds if 0 < seconds < _LONGEST_WATCHDOG else None
