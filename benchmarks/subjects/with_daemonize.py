"""daemonize, as its documentation shows it. It can't do without a pidfile."""

from __future__ import annotations

from daemonize import Daemonize

import job

daemon = Daemonize(app="benchmark", pid=job.settings["pidfile"], action=job.work)
job.begin()
daemon.start()
