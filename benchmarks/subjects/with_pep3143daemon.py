"""pep3143daemon, as its documentation shows it."""

from __future__ import annotations

from pep3143daemon import DaemonContext, PidFile

import job

context = DaemonContext(umask=0o022, pidfile=PidFile(job.pidfile) if job.pidfile else None)
job.begin()
with context:
    job.work()
