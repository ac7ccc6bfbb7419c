"""A bare script: what every page on daemons shows, and what the kernel charges for it. It tells nobody how it went."""

from __future__ import annotations

import os

import job

if job.pidfile:
    import fcntl


def become_daemon() -> None:
    """Fork, lead a session, fork again; leave directory, umask, streams and descriptors behind."""
    if os.fork():
        os._exit(0)
    os.setsid()
    if os.fork():
        os._exit(0)
    os.chdir("/")
    os.umask(0o022)
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))


def lock(path: str) -> int:
    """Take a pidfile, and return its descriptor; whoever comes second ends with BlockingIOError."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.ftruncate(fd, 0)
    os.write(fd, b"%d\n" % os.getpid())
    return fd


job.begin()
become_daemon()
if job.pidfile:
    lock(job.pidfile)
job.work()
