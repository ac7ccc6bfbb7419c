"""sd_listen_fds(3) without libsystemd: the descriptors that a service manager gave."""

from __future__ import annotations

import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping, MutableMapping

    # Names and numbers.
    Given = tuple[tuple[str, int], ...]

FIRST = 3
_VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")
_UNNAMED = "unknown"


def given(environment: Mapping[str, str], pid: int) -> Given:
    """Return the names and the numbers of the descriptors that were meant for the process ``pid``, and are open."""
    count = environment.get("LISTEN_FDS", "")
    if environment.get("LISTEN_PID") != str(pid) or not count.isascii() or not count.isdigit():
        return ()
    names = environment.get("LISTEN_FDNAMES", "").split(":")
    names += [_UNNAMED] * int(count[:6])
    numbers = range(FIRST, FIRST + int(count[:6]))
    return tuple((name or _UNNAMED, fd) for name, fd in zip(names, numbers) if _is_open(fd))


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def is_socket(fd: int) -> bool:
    """Return whether a descriptor is a socket."""
    return stat.S_ISSOCK(os.fstat(fd).st_mode)


def sockets(found: Given) -> list[tuple[str, socket.socket]]:
    """Return them, which are sockets, as such, close-on-exec."""
    import socket

    return [(name, socket.socket(fileno=fd)) for name, fd in files(found)]


def files(found: Given) -> list[tuple[str, int]]:
    """Return them as they are, close-on-exec."""
    for _, fd in found:
        os.set_inheritable(fd, False)
    return list(found)


def listen_fds(
    environment: MutableMapping[str, str] | None = None, pid: int | None = None
) -> list[tuple[str, socket.socket]]:
    """Return the sockets that a service manager opened for this process, each with its name, and own them from now on.

    The variables are taken out of the environment, so a second call returns nothing. An open context has a method of
    this name, which also works when its environment was replaced.

    Source: sd_listen_fds(3); systemd.socket(5), ``FileDescriptorName=``.
    """
    variables = os.environ if environment is None else environment
    meant = given(variables, os.getpid() if pid is None else pid)
    found = sockets(tuple(each for each in meant if is_socket(each[1])))
    forget(variables)
    return found


def forget(environment: MutableMapping[str, str]) -> None:
    """Take out the variables: no program that is started from here shall think that they are its own."""
    for name in _VARIABLES:
        environment.pop(name, None)
