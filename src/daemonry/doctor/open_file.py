"""A file that the process has open, as /proc tells it; see proc_pid_fd(5), proc_pid_fdinfo(5)."""

from __future__ import annotations

import os
import stat

from ..system.record import Record

DELETED = " (deleted)"


class Descriptor(Record):
    """An open descriptor of the process; ``found`` is the file behind it, ``info`` what fdinfo says."""

    number: int
    target: str
    found: os.stat_result
    info: str

    def __str__(self) -> str:
        return f"{self.number} {self.target}"

    @property
    def has_lost_its_name(self) -> bool:
        # Either alone can be wrong: a file that got its name after it was opened is still shown as deleted, some file
        # systems of users count no links, and any file may be named so.
        return self.target.endswith(DELETED) and self.found.st_nlink == 0

    @property
    def is_temporary(self) -> bool:
        """Whether it has no name on purpose, so that nobody else finds it; see open(2), O_TMPFILE."""
        places = ("/memfd:", "/dev/shm/", "/tmp/", "/var/tmp/")
        without_a_name = getattr(os, "O_TMPFILE", -1)
        return self.target.startswith(places) or self.flags & without_a_name == without_a_name

    @property
    def is_terminal(self) -> bool:
        return stat.S_ISCHR(self.found.st_mode) and _is_screen(
            os.major(self.found.st_rdev), os.minor(self.found.st_rdev)
        )

    @property
    def is_locked(self) -> bool:
        """Whether the process has a lock by it, of whichever of the three kinds."""
        return any(line.startswith("lock:") for line in self.info.splitlines())

    @property
    def flags(self) -> int:
        return next((int(line[6:], 8) for line in self.info.splitlines() if line.startswith("flags:")), 0)


def _is_screen(major: int, minor: int) -> bool:
    """Whether somebody sits there: a pseudo-terminal's slave, a virtual console, /dev/tty or /dev/console.

    Not a serial line, which is what some daemons are there for, nor the master side of a pseudo-terminal.

    Source: Linux, Documentation/admin-guide/devices.txt.
    """
    return 136 <= major <= 143 or (major == 4 and minor < 64) or (major == 5 and minor < 2)
