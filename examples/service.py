"""A service in ten lines: python3 service.py start|run|stop|restart|reload|status|logs|doctor|completion"""

from daemonry import DaemonContext, PIDLockFile
from daemonry.cli import service

context = DaemonContext(pidfile=PIDLockFile("beat.pid"), stdout="beat.log", stderr="beat.log", umask=0o022)
context.signal_map = {"TERM": "request_stop", "HUP": "reopen_streams"}


def main():
    print("up")
    while not context.wait(5):
        print("beat")


if __name__ == "__main__":
    service(context, main)
