"""Subjects from a process that has imported what they import: nine tenths of a start would be the interpreter's own.

As a program it is that process. A subject that it forks becomes the child of whoever started it, as if he had started
the subject himself: he is the reaper, and the process between the two ends at once.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_LONGEST = 65_536


class ForkServer:
    """The process that forks subjects; it ends with the one who has started it."""

    def __init__(self) -> None:
        self._connection, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self.pid = subprocess.Popen(
                (sys.executable, "-I", "-B", __file__, str(theirs.fileno())),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                # Not measured: a measurement makes calls of its own.
                env={name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")},
            ).pid

    def fork(self, directory: Path, options: Mapping[str, object], gate: int) -> int:
        """Start a subject in a directory, which says there what it has to say; return its pid.

        :param gate: the socket on which it waits.
        """
        request = json.dumps({"directory": str(directory), "options": options}).encode()
        with open(directory / "launcher.err", "wb") as errors:
            socket.send_fds(self._connection, [request], [gate, errors.fileno()])
        answer = self._connection.recv(_LONGEST)
        if not answer:
            raise RuntimeError("the process that forks subjects has ended")
        return int(answer)


def await_request(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """Fork a process for each request; return there only, with the request and its descriptors."""
    while True:
        data, descriptors, _, _ = socket.recv_fds(connection, _LONGEST, 2)
        if not data:
            os._exit(0)
        subject = _fork_orphan()
        if subject == 0:
            return json.loads(data), descriptors
        connection.send(str(subject).encode())
        for fd in descriptors:
            os.close(fd)


def _fork_orphan() -> int:
    """Fork a process that has lost its parent when this returns; return its pid, and 0 in that process."""
    reading, writing = os.pipe()
    between = os.fork()
    if between == 0:
        orphan = 1
        try:
            orphan = os.fork()
            if orphan:
                os.write(writing, str(orphan).encode())
        finally:
            if orphan:
                os._exit(0)
        os.close(reading)
        os.close(writing)
        return 0
    os.waitpid(between, 0)
    pid = int(os.read(reading, 32))
    os.close(reading)
    os.close(writing)
    return pid


def main() -> None:
    """Serve requests; go on as the subject in the processes forked for them."""
    sys.path.insert(0, os.path.dirname(__file__))
    import subject  # type: ignore[import-not-found]

    with contextlib.closing(socket.socket(fileno=int(sys.argv[1]))) as connection:
        request, (gate, errors) = await_request(connection)
    os.dup2(errors, 2)
    os.close(errors)
    os.chdir(request["directory"])
    subject.run(request["directory"], gate, request["options"])


if __name__ == "__main__":
    main()
