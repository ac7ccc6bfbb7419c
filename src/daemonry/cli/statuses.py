"""The exit statuses of the command; those of ``status`` and the higher ones are the LSB's for init scripts."""

from __future__ import annotations

import errno

from ..errors import InvalidOption
from .refusal import Refusal

# Plain numbers: the module enum would cost `daemonry status` more than all that it does.
DONE = 0
FAILED = 1
USAGE = 2
NOT_ALLOWED = 4
NOT_INSTALLED = 5
NOT_RUNNING = 7
# By Ctrl-C, as shells tell it.
INTERRUPTED = 130

# Of `daemonry status` alone.
IS_RUNNING = 0
IS_DEAD_WITH_PIDFILE = 1
IS_NOT_RUNNING = 3
IS_UNKNOWN = 4

_OF_ERRNO = {
    errno.EACCES: NOT_ALLOWED,
    errno.EPERM: NOT_ALLOWED,
    errno.ESRCH: NOT_RUNNING,
}


def status_of(error: BaseException) -> int:
    """Return the exit status for an error that ended the command."""
    if isinstance(error, Refusal):
        return error.status
    if isinstance(error, InvalidOption):
        return USAGE
    return _OF_ERRNO.get(getattr(error, "errno", None) or 0, FAILED)
