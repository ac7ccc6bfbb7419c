"""python-daemon, as its documentation shows it."""

from __future__ import annotations

from daemon import DaemonContext

import job

if job.pidfile:
    from daemon.pidfile import TimeoutPIDLockFile

    context = DaemonContext(umask=0o022, pidfile=TimeoutPIDLockFile(job.pidfile))
else:
    context = DaemonContext(umask=0o022)
job.begin()
with context:
    job.work()
