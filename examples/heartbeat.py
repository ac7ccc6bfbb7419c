"""A periodic task: writes a line to its log every few seconds until it is told to stop.

python3 heartbeat.py heartbeat.pid heartbeat.log 5
kill -HUP  $(cat heartbeat.pid)     # after the log was moved away: goes on in a new one
kill -TERM $(cat heartbeat.pid)     # finishes the round it is in, then stops
"""

import logging
import signal
import sys

from daemonry import DaemonContext, DaemonStartError, PIDLockFile, default_signal_map


def main(pidfile: str, log: str, seconds: float) -> None:
    logging.basicConfig(filename=log, level=logging.INFO, format="%(asctime)s %(message)s")
    context = DaemonContext(pidfile=PIDLockFile(pidfile), umask=0o022)
    context.signal_map = {
        **default_signal_map(),
        signal.SIGTERM: "request_stop",
        signal.SIGHUP: "reopen_streams",
    }
    with context:
        logging.info("up")
        beats = 0
        while not context.wait(seconds):
            beats += 1
            logging.info("beat %d", beats)
        logging.info("stopped after %d beats", beats)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit("usage: heartbeat.py PIDFILE LOG SECONDS")
    try:
        main(sys.argv[1], sys.argv[2], float(sys.argv[3]))
    except DaemonStartError as error:
        sys.exit(f"heartbeat: {error}")
