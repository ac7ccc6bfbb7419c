"""A sandbox that refuses system calls, as a container's seccomp profile does."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_PR_SET_NO_NEW_PRIVS = 38
_PR_SET_SECCOMP = 22
_SECCOMP_MODE_FILTER = 2
_LOAD_NUMBER = (0x20, 0, 0, 0)  # BPF_LD | BPF_W | BPF_ABS, offset of seccomp_data.nr
_JUMP_IF_EQUAL = 0x15
_RETURN = 0x06
_ALLOW = 0x7FFF0000
_ERRNO = 0x00050000

# Linux, asm/unistd.h. What a machine doesn't have is called by its newer name there.
_NUMBERS = {
    "x86_64": {
        "poll": 7,
        "ppoll": 271,
        "wait4": 61,
        "waitid": 247,
        "pidfd_open": 434,
        "pidfd_send_signal": 424,
        "close_range": 436,
        "keyctl": 250,
        "openat2": 437,
        "getsid": 124,
        "prctl": 157,
    },
    "aarch64": {
        "poll": 73,
        "ppoll": 73,
        "wait4": 260,
        "waitid": 95,
        "pidfd_open": 434,
        "pidfd_send_signal": 424,
        "close_range": 436,
        "keyctl": 219,
        "openat2": 437,
        "getsid": 156,
        "prctl": 167,
    },
}


def knows_this_machine() -> bool:
    """Whether the numbers of this machine's system calls stand above."""
    return platform.machine() in _NUMBERS


def refusing(calls: Iterable[str], number: int = errno.EPERM) -> Callable[[], None]:
    """Answer what has these system calls refused with the error ``number``, in a process and all that come of it.

    Source: seccomp(2), SECCOMP_SET_MODE_FILTER.
    """
    numbers = [_NUMBERS[platform.machine()][name] for name in calls]
    last = len(numbers)
    jumps = [(_JUMP_IF_EQUAL, last - at, 0, each) for at, each in enumerate(numbers)]
    program = [_LOAD_NUMBER, *jumps, (_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _ERRNO | number)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *each) for each in program))
    header = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(program), ctypes.addressof(code)))
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def install() -> None:
        for arguments in ((_PR_SET_NO_NEW_PRIVS, 1), (_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(header))):
            if prctl(*arguments, *(0,) * (5 - len(arguments))) == -1:
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        _ = code  # it has to live until now

    return install
