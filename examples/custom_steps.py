"""A subclass that overrides one step and adds one: an echo server on a socket of its own.

    python3 custom_steps.py echo.pid echo.sock

The limit of open files is raised beside the one for core files. The socket is bound before the privileges go, so it
may lie where the daemon's later user can't write, and a name that is taken already is an error at the terminal.
"""

import os
import resource
import socket
import sys

from daemonry import DaemonContext, DaemonStartError, PIDLockFile


class EchoDaemon(DaemonContext):
    steps = tuple(
        name
        for step in DaemonContext.steps
        for name in (("bind_socket", step) if step == "drop_privileges" else (step,))
    )

    def __init__(self, address, **options):
        super().__init__(**options)
        self.address = os.path.abspath(address)
        self.socket = None

    def prevent_core_dump(self):
        """Set the limits: no core files, and as many open files as the system grants."""
        super().prevent_core_dump()
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    def bind_socket(self):
        """Listen on the socket; its name goes when the context is closed."""
        self.socket = self.exit_stack.enter_context(socket.socket(socket.AF_UNIX))
        self.socket.bind(self.address)
        self.exit_stack.callback(os.unlink, self.address)
        self.socket.listen()


def main(pidfile, address):
    with EchoDaemon(address, pidfile=PIDLockFile(pidfile), umask=0o027) as context:
        while True:
            connection, _ = context.socket.accept()
            with connection:
                connection.sendall(connection.recv(4096))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: custom_steps.py PIDFILE SOCKET")
    try:
        main(sys.argv[1], sys.argv[2])
    except DaemonStartError as error:
        sys.exit(f"echo: {error}")
