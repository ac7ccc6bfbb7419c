"""A file server: offers a directory by HTTP on this machine's own address, and is controlled as other services are.

    python3 fileserver.py start --pidfile web.pid --log web.log --port 8000 .
    python3 fileserver.py status --pidfile web.pid

The commands are start, run, stop, restart, reload, status, logs, doctor and completion. It is ready only when it
listens, so a port that is in use is an error message at the terminal and status 1.
"""

import argparse
import functools
import os
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

from daemonry import DaemonContext, PIDLockFile, default_signal_map
from daemonry.cli import service


def listen(port: int, directory: str) -> ThreadingHTTPServer:
    handler = functools.partial(SimpleHTTPRequestHandler, directory=directory)
    try:
        return ThreadingHTTPServer(("127.0.0.1", port), handler)
    except OSError as error:
        # Which says all: no traceback is shown of it.
        raise SystemExit(f"cannot listen on port {port}: {error.strerror}") from error


def context_of(options: argparse.Namespace) -> DaemonContext:
    context = DaemonContext(
        pidfile=PIDLockFile(options.pidfile), stdout=options.log, stderr=options.log, umask=0o022, ready="manual"
    )
    context.signal_map = {**default_signal_map(), "SIGHUP": "reopen_streams"}
    options.context = context
    # The daemon works in another directory.
    options.directory = os.path.abspath(options.directory)
    return context


def serve(options: argparse.Namespace) -> None:
    with listen(options.port, options.directory) as server:
        options.context.progress(f"serving {options.directory} at http://127.0.0.1:{server.server_port}/")
        options.context.ready()
        server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Offer a directory by HTTP on 127.0.0.1, as a daemon.")
    parser.add_argument("--pidfile", default="web.pid", help="default: web.pid")
    parser.add_argument("--log", default="web.log", help="default: web.log")
    parser.add_argument("--port", type=int, default=8000, help="0 takes any that is free (default: 8000)")
    parser.add_argument("directory", nargs="?", default=".", help="default: this one")
    service(context_of, serve, parser=parser)
