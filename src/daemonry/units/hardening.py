"""What a unit of systemd takes from a program that an ordinary one has no use for; systemd.exec(5), SANDBOXING."""

from __future__ import annotations

import os

from . import systemd_words
from .service import Unsayable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from .service import Service

    Directive = tuple[str, str]

# What --allow leaves to a program, and whom that is for.
ALLOWANCES = {
    "bind": "to listen on ports below 1024",
    "devices": "to use hardware through /dev",
    "home": "to write in home directories",
    "network": "other sockets than Unix and Internet ones, such as netlink's",
    "proc": "to read what /proc says of the system, and of others' processes",
}

# Below these systemd makes a service's own directories, and gives them to its user.
_OWN = (
    ("/run/", "RuntimeDirectory"),
    ("/var/lib/", "StateDirectory"),
    ("/var/cache/", "CacheDirectory"),
    ("/var/log/", "LogsDirectory"),
)
_HOMES = ("/home", "/root", "/run/user")
_TEMPORARY = ("/tmp", "/var/tmp")
# What a daemon that begins as root and leaves it by itself needs: its ports, its files, another user, and to end its
# workers. Not CAP_SYS_ADMIN, CAP_SYS_PTRACE, CAP_NET_ADMIN and others, which are for ruling the machine.
ROOTS_CAPABILITIES = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_KILL",
    "CAP_NET_BIND_SERVICE",
    "CAP_SETGID",
    "CAP_SETUID",
)

# Left out, with the reason:
# * MemoryDenyWriteExecute=: Java, Node.js, LuaJIT, PyPy and PCRE's compiler make code at run time, and end where they
#   can't; so do ctypes' callbacks with older versions of libffi. It is for --no-jit.
# * DynamicUser=: its number changes, so files outside its own directories are lost to it; --user says the same better.
# * PrivateUsers=: files of every other user and group would be nobody's, those of the program's own groups among them.
# * PrivateNetwork=, IPAddressDeny=: most services are there to be reached.
_ALWAYS = (
    ("NoNewPrivileges", "yes"),
    ("ProtectSystem", "strict"),
    ("PrivateMounts", "yes"),
    ("ProtectClock", "yes"),
    ("ProtectControlGroups", "yes"),
    ("ProtectHostname", "yes"),
    ("ProtectKernelLogs", "yes"),
    ("ProtectKernelModules", "yes"),
    ("ProtectKernelTunables", "yes"),
    ("RestrictNamespaces", "yes"),
    ("RestrictRealtime", "yes"),
    ("RestrictSUIDSGID", "yes"),
    ("LockPersonality", "yes"),
    ("KeyringMode", "private"),
    ("SystemCallArchitectures", "native"),
    # An error that the program can tell of is better than its death by SIGSYS.
    ("SystemCallErrorNumber", "EPERM"),
    ("SystemCallFilter", "@system-service"),
)


def directives(service: Service) -> Iterator[Directive]:
    """Yield the directives that shut a service in."""
    yield from _ALWAYS
    if not service.is_root:
        # Without root these fail anyway, mostly; now the kernel's code for them is out of reach as well.
        yield "SystemCallFilter", "~@privileged @resources"
        yield "RemoveIPC", "yes"
    yield from _capabilities(service)
    yield from _reach(service)
    if service.no_jit:
        yield "MemoryDenyWriteExecute", "yes"


def _capabilities(service: Service) -> Iterator[Directive]:
    if service.is_root:
        yield "CapabilityBoundingSet", " ".join(ROOTS_CAPABILITIES)
        return
    needed = "CAP_NET_BIND_SERVICE" if "bind" in service.allowed else ""
    yield "CapabilityBoundingSet", needed
    yield "AmbientCapabilities", needed


def _reach(service: Service) -> Iterator[Directive]:
    used = _used(service)
    if not _any_below(_TEMPORARY, used):
        yield "PrivateTmp", "yes"
    if "devices" not in service.allowed:
        yield "PrivateDevices", "yes"
    if "home" not in service.allowed:
        # What is in a home directory could not be reached behind "yes"; --write opens a place in "read-only".
        yield "ProtectHome", "read-only" if _any_below(_HOMES, used) else "yes"
    else:
        yield "ReadWritePaths", " ".join(f"-{place}" for place in _HOMES)
    if "network" not in service.allowed:
        yield "RestrictAddressFamilies", "AF_UNIX AF_INET AF_INET6"
    if "proc" not in service.allowed:
        yield "ProtectProc", "invisible"
        yield "ProcSubset", "pid"


def _used(service: Service) -> tuple[str, ...]:
    # An argument that looks like a path is taken for one: /home/me/job.py has to be seen by the python that runs it.
    # And what a virtual environment calls python often lies in somebody's home.
    program = os.path.realpath(service.command[0])
    named = (*service.command, program, service.directory, service.stdin, service.pidfile, *service.writes)
    return tuple(word for word in named if word is not None and word.startswith("/"))


def _any_below(places: tuple[str, ...], paths: tuple[str, ...]) -> bool:
    return any(is_below(place, path) for place in places for path in paths)


def is_below(place: str, path: str) -> bool:
    """Whether a path is a place, or in it."""
    return os.path.normpath(path) == place or os.path.normpath(path).startswith(f"{place}/")


def written(service: Service) -> Iterator[Directive]:
    """Yield where a service writes: its own directories, and what else it was said to need.

    The logs that the manager opens for it are not among them: their descriptors are open before it is shut in.

    :raises Unsayable: for a pidfile that its user could not make.
    """
    shared = []
    for path in _places(service):
        found = _own_directory(service, path)
        if found is None:
            shared.append(path)
        else:
            yield found
    if shared and service.hardened:
        yield "ReadWritePaths", " ".join(map(systemd_words.path_in_list, shared))


def _places(service: Service) -> list[str]:
    places = [_now_called(path) for path in service.writes]
    if service.kind == "forking" and service.pidfile is not None:
        place = _now_called(os.path.dirname(service.pidfile))
        if place == "/run" and not service.is_root:
            name = os.path.basename(service.pidfile)
            better = f"/run/{name.rpartition('.')[0] or name}/{name}"
            raise Unsayable(
                f"{service.user} can make no pidfile in /run itself; let the program write one in a directory of its "
                f"own, and say so: --pidfile {better}"
            )
        places.append(place)
    # A directory of its own to work in is there to be written to; /srv or /etc need not be.
    if service.root is None and not service.is_root and _own_directory(service, service.directory):
        places.append(_now_called(service.directory))
    return list(dict.fromkeys(places))


def _now_called(path: str) -> str:
    path = os.path.normpath(path)
    return path[4:] if is_below("/var/run", path) else path


def _own_directory(service: Service, path: str) -> Directive | None:
    path = _now_called(path)
    # systemd gives such a directory to the unit's user; one that is there for root's service may be another's.
    if service.is_root and os.path.exists(path) and is_below("/var", path):
        return None
    if is_below("/run/user", path) or os.path.isfile(path) or set(path) & set(' :"'):
        return None
    for place, directive in _OWN:
        if path.startswith(place):
            return directive, systemd_words.path("--write", path[len(place) :])
    return None
