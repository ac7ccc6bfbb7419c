"""daemonry, as its tutorial shows it."""

from __future__ import annotations

import job
from daemonry import DaemonContext

if "starters" in job.settings:
    import daemonry.pidfile.errors  # noqa: F401  # which all but one of them need, as the peers' starters have theirs

context = DaemonContext(umask=0o022, pidfile=job.pidfile)
job.begin()
with context:
    job.work()
