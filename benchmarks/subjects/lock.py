"""A lock, by itself: taken and given back many times, held until it is killed, or waited for.

lock   whose
path   where
do     cycle, hold or wait
"""

from __future__ import annotations

import fcntl
import os
import time

import job

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Pair = tuple[Callable[[], Any], Callable[[], Any]]

CYCLES = 200
PATIENCE = 3.0  # seconds that a waiter waits


class Bare:
    """A lock of the kernel on a file with the number of its holder, and nothing against any race."""

    def __init__(self, path: str, wait: bool) -> None:
        self._path = path
        self._flags = fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB)

    def acquire(self) -> None:
        """Take it."""
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        fcntl.lockf(self._fd, self._flags)
        os.ftruncate(self._fd, 0)
        os.write(self._fd, b"%d\n" % os.getpid())

    def release(self) -> None:
        """Give it back."""
        os.unlink(self._path)
        os.close(self._fd)


def bare(path: str, wait: bool) -> Pair:
    lock = Bare(path, wait)
    return lock.acquire, lock.release


def daemonry(path: str, wait: bool) -> Pair:
    from daemonry import PIDLockFile

    lock = PIDLockFile(path)
    return (lambda: lock.acquire(timeout=PATIENCE if wait else 0)), lock.release


def python_daemon(path: str, wait: bool) -> Pair:
    from daemon.pidfile import TimeoutPIDLockFile

    lock = TimeoutPIDLockFile(path, PATIENCE if wait else 0)
    return lock.acquire, lock.release


def pep3143daemon(path: str, wait: bool) -> Pair:
    from pep3143daemon import PidFile

    lock = PidFile(path)
    return lock.acquire, lock.release


def filelock(path: str, wait: bool) -> Pair:
    from filelock import FileLock

    lock = FileLock(path, timeout=PATIENCE if wait else 0)
    return lock.acquire, lock.release


def portalocker(path: str, wait: bool) -> Pair:
    from portalocker import Lock

    lock = Lock(path, timeout=PATIENCE if wait else 0)
    return lock.acquire, lock.release


def cycle(acquire: Callable[[], Any], release: Callable[[], Any]) -> None:
    acquire()
    release()
    begun = time.monotonic_ns()
    for _ in range(CYCLES):
        acquire()
        release()
    job.tell(f"cycled {(time.monotonic_ns() - begun) // CYCLES}\n")


def hold(acquire: Callable[[], Any], _release: Callable[[], Any]) -> None:
    acquire()
    job.tell(f"held {os.getpid()} {time.monotonic_ns()}\n")
    job.wait_for_end()


def main() -> None:
    kind, do = job.settings["lock"], job.settings["do"]
    pair = globals()[kind](job.settings["path"], do == "wait")
    if do == "wait":
        job.tell(f"waits {os.getpid()}\n")
    (cycle if do == "cycle" else hold)(*pair)


main()
