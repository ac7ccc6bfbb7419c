"""The program whose system calls fail: a daemon with everything that a daemon commonly has.

Before it opens its context, and in each process that is forked meanwhile, it says who it is and waits until it is told
to go on: so that strace can be attached to that one process, whose calls are then counted from a known place. It says
and hears that on a socket, for nothing else in a start makes the calls that this takes.
"""

from __future__ import annotations

import importlib
import logging
import os
import pkgutil
import signal
import socket
import sys
import time
from typing import Any

import daemonry
from daemonry import DaemonContext, PIDLockFile

# The calls by which Python loads a module are Python's: what a start loads when it needs it is there before.
for _each in pkgutil.walk_packages(daemonry.__path__, "daemonry."):
    if not _each.name.startswith(("daemonry.cli", "daemonry.__main__")):
        importlib.import_module(_each.name)

# Its call marks in what strace has written where the daemon's body begins; nothing else makes it.
MARK = os.sched_yield


class Gate:
    """Where a process of the start waits."""

    ROLES = ("launcher", "witness", "daemon")

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._passed = 0

    def wait(self) -> None:
        role = self.ROLES[self._passed]
        self._passed += 1
        self._connection.send(f"{role} {os.getpid()}".encode())
        self._connection.recv(16)


def context_of(place: str, options: dict[str, Any]) -> DaemonContext:
    """Return the context of a variant; its files are in the directory ``place``."""
    given = dict(options)
    if {"uid", "gid", "initgroups", "no_new_privileges"} & given.keys():
        import ctypes  # noqa: F401 - see above: it is loaded where rights are given up
    if given.pop("log", False):
        logging.basicConfig(filename=f"{place}/logging.log", level=logging.INFO)
    if given.pop("notify", False):
        # As systemd would say it to the process that it has started.
        os.environ.update(NOTIFY_SOCKET=f"{place}/notify", SYSTEMD_EXEC_PID=str(os.getpid()))
    if given.pop("draft", False):
        del os.O_TMPFILE
    if given.pop("pidfile", True):
        given["pidfile"] = PIDLockFile(f"{place}/subject.pid")
    if given.pop("jail", False):
        given["chroot_directory"] = f"{place}/jail"
    if given.pop("stdout", False):
        given["stdout"] = f"{place}/subject.out"
    return DaemonContext(
        **{
            "detach_process": True,
            "stderr": f"{place}/subject.log",
            "umask": 0o027,
            "working_directory": "/",
            "signal_map": {signal.SIGTERM: "terminate", signal.SIGHUP: "reopen_streams", signal.SIGUSR1: None},
            **given,
        }
    )


def serve(context: DaemonContext) -> None:
    """Be the daemon, until it is told to stop."""
    if context.ready == "manual":
        context.progress("loading")
        context.ready()
    MARK()
    sys.stderr.write(f"up, {os.environ.get('GIVEN', 'with the environment it was started in')}\n")
    sys.stdout.flush()
    while True:
        time.sleep(1)  # not signal.pause(), which misses a signal that arrives just before it


def run(place: str, connection: int, options: dict[str, Any]) -> None:
    """Be the program, whose files are in ``place``; ``connection`` is the descriptor of the gate."""
    context = context_of(place, options)
    gate = Gate(socket.socket(fileno=connection))
    os.register_at_fork(after_in_child=gate.wait)
    gate.wait()
    with context:
        serve(context)
