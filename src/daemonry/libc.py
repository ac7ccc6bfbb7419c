"""System calls that the standard library does not offer, where the C library has them."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
_LINUX_CAPABILITY_VERSION_3 = 0x20080522
_NO_DESCRIPTOR = 0x7FFFFFFF


def _function(name: str) -> Callable[..., int] | None:
    # ctypes is imported by the one who needs it: not every Python has it, and not every program opens a context.
    try:
        import ctypes

        function: Any = getattr(ctypes.CDLL(None, use_errno=True), name)
    except (ImportError, OSError, AttributeError):
        return None
    function.restype = ctypes.c_int

    def call(*arguments: Any) -> int:
        result: int = function(*arguments)
        if result == -1:
            number = ctypes.get_errno()
            raise OSError(number, f"{name}: {os.strerror(number)}")
        return result

    return call


def close_range() -> Callable[[int, int], object] | None:
    """Answer close_range(2) for a first and a last descriptor, or ``None`` where it is missing.

    Not :func:`os.closerange`: where Python was built without the system call, or the kernel refuses it, that one walks
    from the first number to the last.
    """
    function = _function("close_range")
    if function is None:
        return None
    from ctypes import c_int, c_uint

    def close(first: int, last: int) -> object:
        return function(c_uint(first), c_uint(last), c_int(0))

    try:
        close(_NO_DESCRIPTOR, _NO_DESCRIPTOR)
    except OSError:  # the C library has it, the kernel has not
        return None
    return close


def prctl() -> Callable[[int, int], object] | None:
    """Answer prctl(2) for an option and one number, or ``None`` where it is missing."""
    function = _function("prctl")
    if function is None:
        return None
    from ctypes import c_int, c_ulong

    def control(option: int, value: int) -> object:
        return function(c_int(option), *(c_ulong(number) for number in (value, 0, 0, 0)))

    return control


def capabilities() -> Callable[[], int] | None:
    """Answer a function that tells the process's effective and permitted capabilities as one set of bits, or ``None``.

    See capget(2). Not /proc/self/status: it is asked for inside another root directory.
    """
    function = _function("capget")
    if function is None:
        return None
    from ctypes import c_uint32

    def ask() -> int:
        header = (c_uint32 * 2)(_LINUX_CAPABILITY_VERSION_3, 0)
        data = (c_uint32 * 6)()
        function(header, data)
        low_effective, low_permitted, _, high_effective, high_permitted, _ = data
        return (low_effective | low_permitted) | (high_effective | high_permitted) << 32

    return ask
