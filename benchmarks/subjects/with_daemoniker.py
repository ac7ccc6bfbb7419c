"""daemoniker, as its documentation shows it, with its handler of signals. It can't do without a pidfile."""

from __future__ import annotations

from daemoniker import Daemonizer, SignalHandler1

import job

path = job.settings["pidfile"]
job.begin()
with Daemonizer() as (_, daemonizer):
    (is_parent,) = daemonizer(path, chdir="/", umask=0o022)
SignalHandler1(path).start()
job.work()
