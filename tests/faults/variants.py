"""The options that the subject is run with."""

from __future__ import annotations

import os

# Whole. Each has a pidfile, a log, a umask, a working directory and a signal map.
BASE: dict[str, dict[str, object]] = {
    "auto": {"ready": "auto"},
    "manual": {"ready": "manual"},
}

# Sampled, unless all is asked for.
OTHERS: dict[str, dict[str, object]] = {
    "no pidfile": {"pidfile": False},
    "foreground": {"detach_process": False},
    "stdout": {"stdout": True},
    "environment": {"environment": {"GIVEN": "with one of its own"}},
    "logging": {"log": True},
    "no unnamed files": {"draft": True},
    "service manager": {"notify": True, "ready": "manual"},
}

OF_ROOT: dict[str, dict[str, object]] = {
    "another user": {"uid": "nobody"},
    "all rights": {"uid": "nobody", "initgroups": True, "no_new_privileges": True},
    "another root": {"jail": True},
}

VARIANTS = {**BASE, **OTHERS, **(OF_ROOT if os.geteuid() == 0 else {})}
