"""daemonocle, as its documentation shows it, asked to close what was inherited as the others do."""

from __future__ import annotations

import daemonocle

import job

daemon = daemonocle.Daemon(worker=job.work, umask=0o022, close_open_files=True, pid_file=job.pidfile)
job.begin()
daemon.do_action("start")
