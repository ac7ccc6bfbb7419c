"""A service manager's ear, for the variants that have one."""

from __future__ import annotations

import contextlib
import socket
import threading
from pathlib import Path


class Ear:
    """A socket that is listened to; what is sent with a message is closed, as the barrier waits for."""

    def __init__(self, path: Path) -> None:
        self.heard = ""
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        path.chmod(0o666)
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        while message := self._socket.recv(4096):
            self.heard += message.decode() + "\n"

    def close(self) -> None:
        """Hear what is left, and end."""
        with contextlib.closing(self._socket), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as own:
            own.sendto(b"", str(self._path))
            self._thread.join()
        self._path.unlink()
