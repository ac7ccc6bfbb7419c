"""The controlling terminal, which a program that stays in the foreground gives up with its user.

It is the launcher's: whoever has it as its own can type into it, and root's shell would read that (TIOCSTI, see
ioctl_tty(2); CVE-2016-2568 and its kin), as it can with TIOCLINUX at a console. Both ask for the terminal that the
kernel has noted for the process, not for a descriptor. So the note goes, and nothing else: the process stays in its
session and its group, so that Ctrl-C, Ctrl-Z and a hang-up reach it, and a shell that has started it keeps control of
its job. A new session, as su -c makes, would cut that off, and setsid(2) is refused to the leader of a group.
"""

from __future__ import annotations

import errno
import fcntl
import os
import termios

from ..system.closing import close
from ..system.forks import give_up_in_children


class Terminal:
    """The controlling terminal of the process, if it has one that is of somebody else's session.

    Who leads the session has it alone: nobody is behind it whose input could be forged.
    """

    def __init__(self) -> None:
        self._fd: int | None = None

    @property
    def descriptors(self) -> list[int]:
        """The descriptor by which it is held, which must stay open until it is given up."""
        return [] if self._fd is None else [self._fd]

    def reach(self) -> None:
        """Open it while it can be found, which it may not be inside another root directory, or by another user."""
        if self._fd is None and os.getsid(0) != os.getpid():
            try:
                self._fd = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
            except OSError:  # there is none
                return
            give_up_in_children(self)

    def leave(self) -> None:
        """Have none any more, for good: only who leads a session gets another.

        :raises OSError: when the system refuses.
        """
        if self._fd is None:
            return
        try:
            fcntl.ioctl(self._fd, termios.TIOCNOTTY)
        except OSError as error:
            if error.errno not in (errno.EIO, errno.ENOTTY):  # it has been hung up meanwhile, and is no one's
                raise OSError(error.errno, f"cannot give up the controlling terminal: {error.strerror}") from error
        self.give_up()

    def give_up(self) -> None:
        """Close what :meth:`reach` has opened."""
        close(*self.descriptors)
        self._fd = None
