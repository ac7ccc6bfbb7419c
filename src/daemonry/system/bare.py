"""The calls of a start as the interpreter made them, whatever has been put in their places since, or before.

gevent and eventlet replace functions of ``os``, ``signal``, ``select`` and ``time`` by such as switch to another of the
program's tasks while they wait. A start has no tasks to switch to: its processes have one thing each to wait for, in a
copy of the program whose loop is another process's.
"""

from __future__ import annotations

# What the modules of these names in the standard library are made of; nobody patches these. And nobody pays for the
# enumerations of the module signal, whose loading is half an interpreter's own start.
import _signal  # type: ignore[import-not-found]
from _signal import (
    SIG_BLOCK,
    SIG_DFL,
    SIG_IGN,
    SIG_SETMASK,
    SIG_UNBLOCK,
    SIGCHLD,
    SIGCONT,
    SIGINT,
    SIGKILL,
    SIGPIPE,
    SIGTERM,
    default_int_handler,
    getsignal,
    pthread_sigmask,
    set_wakeup_fd,
    signal,
    sigpending,
    sigwait,
    valid_signals,
)
from posix import (
    O_CLOEXEC,
    O_RDONLY,
    close,
    dup2,
    fork,
    fstat,
    getpid,
    getppid,
    getsid,
    kill,
    killpg,
    open,
    pipe,
    read,
    set_blocking,
    setsid,
    waitpid,
    write,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    import select as _select
    import time as _time
    from types import ModuleType
    from typing import Any

__all__ = [
    "POLLIN",
    "SIGCHLD",
    "SIGCONT",
    "SIGINT",
    "SIGKILL",
    "SIGNALS",
    "SIGNAL_NAMES",
    "SIGPIPE",
    "SIGTERM",
    "SIG_BLOCK",
    "SIG_DFL",
    "SIG_IGN",
    "SIG_SETMASK",
    "SIG_UNBLOCK",
    "close",
    "content_of",
    "default_int_handler",
    "dup2",
    "fork",
    "fstat",
    "getpid",
    "getppid",
    "getsid",
    "getsignal",
    "in_main_thread",
    "kill",
    "killpg",
    "open",
    "pidfd_send_signal",
    "pipe",
    "poll",
    "pthread_sigmask",
    "read",
    "set_blocking",
    "set_wakeup_fd",
    "setsid",
    "signal",
    "sigpending",
    "sigwait",
    "sleep",
    "valid_signals",
    "waitpid",
    "write",
]

SIGNALS: dict[str, int] = {
    name: number for name, number in sorted(vars(_signal).items()) if name.startswith("SIG") and "_" not in name
}
"""The numbers of this system's signals by their names; of several names for one number the usual is the first."""
SIGNAL_NAMES: dict[int, str] = {number: name for name, number in reversed(list(SIGNALS.items()))}
"""The usual names of this system's signals by their numbers."""

pidfd_send_signal: Any = getattr(_signal, "pidfd_send_signal", None)
_NO_DESCRIPTOR = 0x7FFFFFFF


def _as_made(module: ModuleType, name: str) -> ModuleType:
    """Return the module, or a new copy of it if somebody has replaced or deleted its function ``name``."""
    if type(getattr(module, name, None)) is type(len):
        return module
    spec = module.__spec__
    assert spec is not None
    assert spec.loader is not None
    copy = spec.loader.create_module(spec)
    if copy is None:
        return module
    spec.loader.exec_module(copy)
    return copy


# Those of them that are modules of C themselves, so that there is nothing below them.
if not TYPE_CHECKING:
    import select
    import time

    _select, _time = _as_made(select, "poll"), _as_made(time, "sleep")
    del select, time

poll = _select.poll
POLLIN = _select.POLLIN
sleep = _time.sleep


def content_of(path: str, most: int = 4096) -> bytes:
    """Return what a short file of /proc holds, of a longer one its beginning."""
    # Not by open(), which asks six times what kind of a file it is before it reads.
    fd = open(path, O_RDONLY | O_CLOEXEC)
    try:
        return read(fd, most)
    finally:
        close(fd)


def in_main_thread() -> bool:
    """Whether this is the thread in which signal handlers can be installed, and run.

    Not asked of ``threading``: what that calls the main thread may be a task of gevent's or eventlet's.
    """
    try:
        set_wakeup_fd(_NO_DESCRIPTOR)
    except ValueError:
        return False
    except OSError:  # it has come as far as looking for the descriptor, and nothing is changed
        pass
    return True
