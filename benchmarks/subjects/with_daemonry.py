"""daemonry, as its tutorial shows it."""

from __future__ import annotations

import job
from daemonry import DaemonContext

if job.pidfile:
    from daemonry import PIDLockFile

    context = DaemonContext(umask=0o022, pidfile=PIDLockFile(job.pidfile))
else:
    context = DaemonContext(umask=0o022)
job.begin()
with context:
    job.work()
