"""daemonry, as its tutorial shows it."""

from __future__ import annotations

import job
from daemonry import DaemonContext

context = DaemonContext(umask=0o022, pidfile=job.pidfile)
job.begin()
with context:
    job.work()
