"""A system call refused from now on, as by a container's profile or an older kernel; seccomp(2)."""

from __future__ import annotations

import ctypes
import struct

# Load the number of the system call; is it this one? Then answer with the error, else allow.
_LOAD, _IS, _ANSWER, _ERROR, _ALLOW = 0x20, 0x15, 0x06, 0x00050000, 0x7FFF0000
_PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS, _FILTER = 22, 38, 2


def refuse(call: int, error: int) -> None:
    """Have a system call, by its number, fail with an error in this process and in all that come of it."""
    steps = ((_LOAD, 0, 0, 0), (_IS, 0, 1, call), (_ANSWER, 0, 0, _ERROR | error), (_ANSWER, 0, 0, _ALLOW))
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(steps), ctypes.addressof(code)))
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    for option, number, argument in ((_PR_SET_NO_NEW_PRIVS, 1, None), (_PR_SET_SECCOMP, _FILTER, program)):
        rest = argument if argument is not None else ctypes.c_ulong(0)
        assert prctl(option, ctypes.c_ulong(number), rest, ctypes.c_ulong(0), ctypes.c_ulong(0)) == 0
