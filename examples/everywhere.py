"""One program for every way to be started: from a shell it becomes a daemon, under whoever keeps daemons it stays.

python3 everywhere.py /srv/everywhere             # cron, systemd, a container, inetd, supervisord, runit, s6 as well
python3 everywhere.py --detach /srv/everywhere    # for a unit of systemd's with Type=forking

It answers each line that it is sent: through the socket in its directory, or on the connection that inetd gives it.
"""

import argparse
import contextlib
import logging
import os
import socket

from daemonry import DaemonContext
from daemonry.manager import OwnFacts, who_started


@contextlib.contextmanager
def listening(path):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        try:
            server.listen()
            yield server
        finally:
            os.unlink(path)


def answer(connection, text):
    with connection, connection.makefile("r") as lines:
        for _ in lines:
            connection.sendall(f"{text}\n".encode())


def main(directory, detach):
    logging.basicConfig(filename=os.path.join(directory, "log"), level=logging.INFO)
    starter = who_started(OwnFacts())
    with DaemonContext(detach_process=detach, umask=0o022, ready="manual") as context:
        print("up", flush=True)
        logging.info("up, started by %s", starter)
        text = f"process {os.getpid()}, started by {starter}"
        if starter.name == "inetd":
            context.ready()
            answer(socket.socket(fileno=0), text)
            return
        with listening(os.path.join(directory, "socket")) as server:
            context.ready()
            while True:
                answer(server.accept()[0], text)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Tell who started this program, in every way to start it.")
    parser.add_argument("--detach", action="store_const", const=True, help="fork, whoever starts it")
    parser.add_argument("directory", type=os.path.abspath)
    options = parser.parse_args()
    main(options.directory, options.detach)
