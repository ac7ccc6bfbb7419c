"""Turn a program into a well-behaved Unix daemon, in the style of PEP 3143."""

from __future__ import annotations

from .context import DaemonContext
from .errors import DaemonError, DaemonStartError, InvalidOption, Terminated
from .signals import default_signal_map

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .pidfile import DaemonAlreadyRunning, DaemonLockTimeout, PIDLockFile, TimeoutPIDLockFile

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
]

_OF_PIDFILE = ("DaemonAlreadyRunning", "DaemonLockTimeout", "PIDLockFile", "TimeoutPIDLockFile")


# Imported when asked for: the package lockfile brings socket and threading along, which a program without a pidfile
# has no use for.
def __getattr__(name: str) -> object:
    import importlib

    if name in _OF_PIDFILE:
        return getattr(importlib.import_module(".pidfile", __name__), name)
    if name == "pidfile":
        return importlib.import_module(".pidfile", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
