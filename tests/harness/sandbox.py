"""A sandbox that refuses system calls by their names, as a container's seccomp profile does."""

from __future__ import annotations

import errno
import platform
from typing import TYPE_CHECKING

from harness.refusal import refuse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

# Linux, asm/unistd.h. Newer machines have the newer form alone of what was called poll: ppoll.
_NAMES = ("poll", "wait4", "waitid", "pidfd_open", "pidfd_send_signal", "close_range", "keyctl", "openat2", "getsid")
_NUMBERS = {
    "x86_64": dict(zip((*_NAMES, "prctl"), (7, 61, 247, 434, 424, 436, 250, 437, 124, 157))),
    "aarch64": dict(zip((*_NAMES, "prctl"), (73, 260, 95, 434, 424, 436, 219, 437, 156, 167))),
}


def knows_this_machine() -> bool:
    """Whether the numbers of this machine's system calls stand above."""
    return platform.machine() in _NUMBERS


def refusing(calls: Iterable[str], error: int = errno.EPERM) -> Callable[[], None]:
    """Return what has these calls refused with an error, in a process and all that come of it.

    Where prctl(2) is among them it has to be the last one, for it is the one by which they are refused.
    """
    numbers = [_NUMBERS[platform.machine()][name] for name in calls]

    def begin() -> None:
        for number in numbers:
            refuse(number, error)

    return begin
