"""A pseudo-terminal with a program on it, as a terminal emulator, sshd or tmux starts one."""

from __future__ import annotations

import errno
import fcntl
import os
import select
import signal
import subprocess
import termios
import time
from typing import TYPE_CHECKING

from harness.waiting import describe

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Terminal:
    """The user's side of a terminal whose session a program leads.

    ``Daemons.terminal`` makes them, and closes them at the test's end.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], directory: os.PathLike[str]) -> None:
        self._master, slave = os.openpty()
        os.set_blocking(self._master, False)
        self._read = bytearray()
        try:
            self._process = subprocess.Popen(
                command,
                stdin=slave,
                stdout=slave,
                stderr=slave,
                env=environment,
                cwd=directory,
                start_new_session=True,
                preexec_fn=_take_terminal,
            )
        finally:
            os.close(slave)
        self._pidfd = os.pidfd_open(self._process.pid)

    @property
    def pid(self) -> int:
        """The pid of the session's leader."""
        return self._process.pid

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The session's leader itself."""
        return self._process

    @property
    def output(self) -> str:
        """All that has been written to the terminal by now (line ends are ``\\r\\n``)."""
        self._drain()
        return self._read.decode(errors="replace")

    def write(self, text: str) -> None:
        """Type something; ``\\x03`` is Ctrl-C."""
        os.write(self._master, text.encode())

    def read_until(self, text: str, timeout: float = 10) -> str:
        """Return the output when it contains a text; fail when it doesn't in time."""
        deadline = time.monotonic() + timeout
        while text not in self.output:
            left = deadline - time.monotonic()
            if left <= 0 or not self._drain(left):
                raise AssertionError(f"the terminal shows {self.output!r}, and not {text!r}")
        return self.output

    def hang_up(self) -> None:
        """Close the user's side: the kernel sends SIGHUP to the session's leader and the foreground group."""
        if self._master >= 0:
            self._drain()
            os.close(self._master)
            self._master = -1

    def signal(self, number: int) -> None:
        """Send a signal to the session's leader."""
        signal.pidfd_send_signal(self._pidfd, number)

    def wait(self, timeout: float = 30) -> int:
        """Return the leader's exit status (negative: the signal) when it has ended, reading meanwhile."""
        deadline = time.monotonic() + timeout
        while not self._drain(max(0, deadline - time.monotonic()), self._pidfd):
            if time.monotonic() > deadline:
                raise AssertionError(
                    f"the session's leader has not ended in {timeout} s ({describe(self.pid)}); "
                    f"the terminal shows {self.output!r}"
                )
        status = self._process.wait()
        self._drain()
        return status

    def close(self) -> None:
        """Give back what the object holds, when the leader has ended."""
        self.hang_up()
        self._process.wait()
        os.close(self._pidfd)

    def _drain(self, timeout: float = 0, pidfd: int = -1) -> bool:
        """Read what comes; return whether the awaited did: something to read, or the exit."""
        poll = select.poll()
        if self._master >= 0:
            poll.register(self._master, select.POLLIN)
        if pidfd >= 0:
            poll.register(pidfd, select.POLLIN)
        ready = [descriptor for descriptor, _ in poll.poll(timeout * 1000)]
        came = self._master in ready and self._read_all()
        return pidfd in ready if pidfd >= 0 else came

    def _read_all(self) -> bool:
        found = False
        while True:
            try:
                piece = os.read(self._master, 65536)
            except BlockingIOError:
                return found
            except OSError as error:  # nobody has the other side open, for the moment or for good
                if error.errno != errno.EIO:
                    raise
                return found
            found = True
            self._read += piece


def _take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
