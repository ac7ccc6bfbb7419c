"""The pidfile as a lock of the package lockfile."""

from __future__ import annotations

from lockfile import LockBase

from .lock import PidfileLock, require_seconds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .lock import AnyPath

__all__ = ["PIDLockFile", "TimeoutPIDLockFile"]


class PIDLockFile(PidfileLock, LockBase):
    """A pidfile that is held by the process that wrote it, for as long as that lives.

    The file is sealed: it says which process wrote it, and where. It exists, whole, from :meth:`acquire` to
    :meth:`release`; after a crash it is left over, holds nobody off, and the next one takes it away. When somebody else
    has deleted or replaced the file, a second start becomes possible; a successor's file is never removed.

    Forked children don't have it, whatever they do, and nor do programs that the process starts; a program that the
    process itself becomes by exec has it. Nothing is kept open for it, except a lock of the kernel where a seal can't
    be tried by all who may ask: without a /proc, and in a PID namespace (a container).

    Signals are held off while the file is published and while it is released, not while waiting.

    :param path: the pidfile, made absolute at once.
    :param threaded: there for the interface of ``lockfile``; the lock belongs to the process.
    :param timeout: the default of :meth:`acquire`, in seconds.
    """

    def __init__(self, path: AnyPath, threaded: bool = False, timeout: float | None = None) -> None:
        PidfileLock.__init__(self, path, timeout)
        LockBase.__init__(self, self.path, False, timeout)
        self.unique_name = self.path


class TimeoutPIDLockFile(PIDLockFile):
    """A :class:`PIDLockFile` whose default timeout is its second argument, as in python-daemon.

    :param acquire_timeout: seconds to wait for a holder; ``None`` not to wait.
    """

    def __init__(
        self,
        path: AnyPath,
        acquire_timeout: float | None = None,
        threaded: bool = False,
        timeout: float | None = None,
    ) -> None:
        super().__init__(path, threaded, timeout if acquire_timeout is None else acquire_timeout)

    @property
    def acquire_timeout(self) -> float | None:
        """The default of :meth:`acquire`, in seconds."""
        seconds: float | None = self.timeout
        return seconds

    @acquire_timeout.setter
    def acquire_timeout(self, seconds: float | None) -> None:
        require_seconds(seconds)
        self.timeout = seconds
