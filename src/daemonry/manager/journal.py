"""Log lines that systemd-journald takes with their priority; see sd-daemon(3)."""

from __future__ import annotations

import logging
import os

# syslog(3)'s numbers, which are also what journalctl -p takes.
_PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
_DEBUG = 7


class JournalFormatter(logging.Formatter):
    """Puts ``<N>`` before every line, as a service's standard error is read by the journal.

    Every line, for each is an entry of its own there: the lines of a traceback are errors too.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the text of a record, with its priority."""
        mark = f"<{priority_of(record.levelno)}>"
        return "\n".join(mark + line for line in super().format(record).split("\n"))


def is_read_by_journal(descriptor: int = 2) -> bool:
    """Return whether what is written to a descriptor, standard error by default, goes to the journal.

    Source: systemd.exec(5), ``JOURNAL_STREAM``; every descendant inherits the variable, wherever its own streams go.
    """
    try:
        status = os.fstat(descriptor)
    except OSError:
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def priority_of(level: int) -> int:
    """Return the syslog priority of a level of the package logging."""
    return next((priority for least, priority in _PRIORITIES if level >= least), _DEBUG)
