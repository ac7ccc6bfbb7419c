"""System calls that the standard library does not offer, where the C library has them."""

from __future__ import annotations

import errno
import os
import sys

from ..errors import ignored

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
_LINUX_CAPABILITY_VERSION_3 = 0x20080522
_KEYCTL_JOIN_SESSION_KEYRING = 1
# The number of keyctl(2), which no C library wraps, by the machine and the bytes of an address there; see syscalls(2).
_KEYCTL = {
    ("x86_64", 8): 250,
    ("x86_64", 4): 288,
    ("i386", 4): 288,
    ("i686", 4): 288,
    ("aarch64", 8): 219,
    ("aarch64", 4): 311,
    ("armv6l", 4): 311,
    ("armv7l", 4): 311,
    ("armv8l", 4): 311,
    ("riscv64", 8): 219,
    ("loongarch64", 8): 219,
    ("ppc64", 8): 271,
    ("ppc64le", 8): 271,
    ("s390x", 8): 280,
}


def _function(name: str) -> Callable[..., int] | None:
    # ctypes is imported by the one who needs it: not every Python has it, and not every program opens a context.
    try:
        import ctypes

        function: Any = getattr(ctypes.CDLL(None, use_errno=True), name)
    except (ImportError, OSError, AttributeError):
        return None
    function.restype = ctypes.c_int

    def call(*arguments: Any) -> int:
        while True:
            result: int = function(*arguments)
            if result != -1:
                return result
            number = ctypes.get_errno()
            if number != errno.EINTR:  # as the standard library does it, see PEP 475
                raise OSError(number, f"{name}: {os.strerror(number)}")

    return call


def flush_stdout() -> None:
    """Write out what C code has printed and stdio still holds, where ctypes is loaded: loading it costs a whole start.

    Not by fflush(NULL), which waits for every thread that reads from a file of stdio, for as long as nothing comes.
    """
    ctypes: Any = sys.modules.get("ctypes")
    if ctypes is None:
        return
    for name in ("stdout", "__stdoutp"):  # as musl and glibc have it, and as macOS and FreeBSD
        with ignored(ValueError, OSError, AttributeError):
            library = ctypes.CDLL(None)
            library.fflush(ctypes.c_void_p.in_dll(library, name))


def blank_variable(name: str) -> None:
    """Overwrite the value of a variable where others read it, in /proc/PID/environ: as this process was started with.

    To be called before it is set anew, which would leave that value where it is. See proc_pid_environ(5).
    """
    try:
        import ctypes

        get = ctypes.CDLL(None).getenv
    except (ImportError, OSError, AttributeError):
        return
    get.restype = ctypes.c_void_p
    place = get(name.encode())
    if place:
        ctypes.memset(place, ord("-"), len(ctypes.string_at(place)))


def prctl() -> Callable[[int, int], object] | None:
    """Return prctl(2) for an option and one number, or ``None`` where it is missing."""
    function = _function("prctl")
    if function is None:
        return None
    from ctypes import c_int, c_ulong

    def control(option: int, value: int) -> object:
        return function(c_int(option), *(c_ulong(number) for number in (value, 0, 0, 0)))

    return control


def join_session_keyring() -> Callable[[], object] | None:
    """Return a function that joins a new session keyring, which has no name, or ``None`` where it can't be asked for.

    Source: keyctl_join_session_keyring(3), session-keyring(7).
    """
    function = _function("syscall")
    if function is None:
        return None
    from ctypes import c_long, c_void_p, sizeof

    number = _KEYCTL.get((os.uname().machine, sizeof(c_void_p)))
    if number is None or os.uname().sysname != "Linux":
        return None
    return lambda: function(c_long(number), c_long(_KEYCTL_JOIN_SESSION_KEYRING), c_void_p(None))


def capabilities() -> Callable[[], int] | None:
    """Return a function that tells the process's effective and permitted capabilities as one set of bits, or ``None``.

    Ambient ones are permitted as well. See capget(2). Not /proc/self/status: it is asked for inside another root
    directory.
    """
    return _told_of_capabilities(lambda effective, permitted, _: effective | permitted)


def inheritable() -> Callable[[], int] | None:
    """Return a function that tells the process's inheritable capabilities as a set of bits, or ``None``."""
    return _told_of_capabilities(lambda _, _permitted, inheritable: inheritable)


def _told_of_capabilities(choose: Callable[[int, int, int], int]) -> Callable[[], int] | None:
    function = _function("capget")
    if function is None:
        return None

    def ask() -> int:
        low, high = _sets(function)
        return choose(*(here | there << 32 for here, there in zip(low, high)))

    return ask


def clear_inheritable() -> Callable[[], None] | None:
    """Return a function that gives up the process's inheritable capabilities, or ``None``; see capset(2)."""
    ask, change = _function("capget"), _function("capset")
    if ask is None or change is None:
        return None
    from ctypes import c_uint32

    def clear() -> None:
        kept = [word for effective, permitted, _ in _sets(ask) for word in (effective, permitted, 0)]
        change((c_uint32 * 2)(_LINUX_CAPABILITY_VERSION_3, 0), (c_uint32 * 6)(*kept))

    return clear


def _sets(capget: Callable[..., int]) -> tuple[list[int], list[int]]:
    """Return the lower and the upper halves of the effective, permitted and inheritable capabilities."""
    from ctypes import c_uint32

    data = (c_uint32 * 6)()
    capget((c_uint32 * 2)(_LINUX_CAPABILITY_VERSION_3, 0), data)
    return list(data[:3]), list(data[3:])
