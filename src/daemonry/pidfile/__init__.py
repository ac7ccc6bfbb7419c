"""The pidfile as a lock, and the file on disk that it is made on."""

from __future__ import annotations

from ..system import handing_on

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .as_lockfile import PIDLockFile, TimeoutPIDLockFile
    from .errors import DaemonAlreadyRunning, DaemonLockTimeout, PIDFileError, PIDFileLocked, PIDFileLockTimeout

__all__ = [
    "DaemonAlreadyRunning",
    "DaemonLockTimeout",
    "PIDFileError",
    "PIDFileLockTimeout",
    "PIDFileLocked",
    "PIDLockFile",
    "TimeoutPIDLockFile",
]

__getattr__, __dir__ = handing_on(
    __name__,
    {
        "DaemonAlreadyRunning": "errors",
        "DaemonLockTimeout": "errors",
        "PIDFileError": "errors",
        "PIDFileLockTimeout": "errors",
        "PIDFileLocked": "errors",
        "PIDLockFile": "as_lockfile",
        "TimeoutPIDLockFile": "as_lockfile",
    },
)
