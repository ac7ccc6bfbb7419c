"""A file server: offers a directory by HTTP on this machine's own address, and is controlled as other services are.

    python3 fileserver.py --pidfile web.pid --log web.log --port 8000 . start
    python3 fileserver.py --pidfile web.pid --log web.log . status

The commands are start (what it does without one), run, stop, restart, reload, status, logs and doctor. It is ready only
when it listens, so a port that is in use is an error message at the terminal and status 1.
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
        raise OSError(error.errno, f"cannot listen on port {port}: {error.strerror}") from error


def main(options: argparse.Namespace) -> None:
    directory = os.path.abspath(options.directory)
    context = DaemonContext(
        pidfile=PIDLockFile(options.pidfile), stdout=options.log, stderr=options.log, umask=0o022, ready="manual"
    )
    context.signal_map = {**default_signal_map(), "SIGHUP": "reopen_streams"}

    def serve() -> None:
        with listen(options.port, directory) as server:
            context.progress(f"serving {directory} at http://127.0.0.1:{server.server_port}/")
            context.ready()
            server.serve_forever()

    service(context, serve, options.command or ["start"])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Offer a directory by HTTP on 127.0.0.1, as a daemon.")
    parser.add_argument("--pidfile", required=True)
    parser.add_argument("--log", required=True)
    parser.add_argument("--port", type=int, default=8000, help="0 takes any that is free (default: 8000)")
    parser.add_argument("directory")
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND", help="start (the default), stop, ...")
    main(parser.parse_args())
