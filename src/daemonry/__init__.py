"""Turn a program into a well-behaved Unix daemon, in the style of PEP 3143.

::

    from daemonry import DaemonContext

    with DaemonContext(pidfile="/run/web.pid", stderr="/var/log/web.log"):
        serve_forever()

:func:`find` finds it again by its pidfile; :func:`daemonry.cli.service` gives a program the commands start, stop and
status, and the command ``daemonry`` gives them to any program.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .context import DaemonContext
    from .control.daemon import find
    from .errors import DaemonError, DaemonStartError, InvalidOption, Terminated
    from .pidfile.as_lockfile import PIDLockFile, TimeoutPIDLockFile
    from .pidfile.errors import DaemonAlreadyRunning, DaemonLockTimeout
    from .steps.descriptors import own_files
    from .steps.signals import default_signal_map

__all__ = [
    "DaemonAlreadyRunning",
    "DaemonContext",
    "DaemonError",
    "DaemonLockTimeout",
    "DaemonStartError",
    "InvalidOption",
    "PIDLockFile",
    "Terminated",
    "TimeoutPIDLockFile",
    "default_signal_map",
    "find",
    "own_files",
]

_PLACES = {
    "DaemonAlreadyRunning": "pidfile.errors",
    "DaemonContext": "context",
    "DaemonError": "errors",
    "DaemonLockTimeout": "pidfile.errors",
    "DaemonStartError": "errors",
    "InvalidOption": "errors",
    "PIDLockFile": "pidfile.as_lockfile",
    "Terminated": "errors",
    "TimeoutPIDLockFile": "pidfile.as_lockfile",
    "default_signal_map": "steps.signals",
    "find": "control.daemon",
    "own_files": "steps.descriptors",
}
_ROOMS = ("control", "manager", "pidfile")


# Imported when asked for: a context without a pidfile has no use for the package lockfile, which brings socket and
# threading along, and who only asks after a daemon has none for the context.
def __getattr__(name: str) -> object:
    if name in _PLACES:
        return getattr(_imported(_PLACES[name]), name)
    if name in _ROOMS:
        return _imported(name)
    if name == "__version__":
        from importlib.metadata import version

        return version(__name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *_ROOMS, "__version__"])


# Not by the package importlib, whose own imports cost as much as some files of this one.
def _imported(place: str) -> object:
    return __import__(f"{__name__}.{place}", fromlist=["*"])
