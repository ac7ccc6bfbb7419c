"""From what a user calls a daemon to its files: the FHS's places for root, the XDG's for others."""

from __future__ import annotations

import os
from contextlib import suppress

from ..record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


class Target(Record):
    """A daemon as the user named it.

    :ivar title: ``str``, what it is called in messages.
    :ivar pidfile: ``str``.
    :ivar log: ``str``, where a start by name writes, or ``None``.
    :ivar memory: ``str``, the file that remembers how it was started, or ``None``.
    """

    title: str
    pidfile: str
    log: str | None = None
    memory: str | None = None


def is_name(text: str) -> bool:
    """Whether this can be the name of a daemon, and of files; what has a slash in it is a path, digits are a pid."""
    allowed = text[:1] in _LETTERS and all(letter in _LETTERS + "_.@-" for letter in text)
    return allowed and text != "" and not text.isdigit()


def named(name: str) -> Target:
    """Return the daemon with this name."""
    runtime = runtime_directory()
    return Target(
        title=name,
        pidfile=os.path.join(runtime, f"{name}.pid"),
        log=os.path.join(_log_directory(), f"{name}.log"),
        memory=os.path.join(runtime, "daemonry", f"{name}.json"),
    )


def target_of(text: str | Target) -> Target:
    """Return the daemon that the user calls so: by its name, or by the path of its pidfile."""
    if isinstance(text, Target):
        return text
    return named(text) if is_name(text) else of_pidfile(text)


def of_pidfile(path: str) -> Target:
    """Return the daemon with this pidfile and no name: its log lies beside it, or with the others of its user."""
    pidfile = absolute(path)
    directory, name = os.path.split(pidfile)
    if directory == runtime_directory():  # which is memory's
        directory = _log_directory()
    stem = name[: -len(".pid")] if name.endswith(".pid") else name
    # Where there is no directory, it is the pidfile that can't be made, and is told of.
    log = os.path.join(directory, f"{stem}.log") if os.path.isdir(directory) else None
    return Target(title=path, pidfile=pidfile, log=log)


def absolute(path: str) -> str:
    """Return the path from the root; as it is, where the working directory has gone: who asks for it is told that."""
    try:
        return os.path.abspath(path)
    except OSError:
        return path


def runtime_directory() -> str:
    """Return where pidfiles are: the FHS, 3.15; the XDG Base Directory Specification."""
    if os.geteuid() == 0:
        return "/run" if os.path.isdir("/run") else "/var/run"
    return os.environ.get("XDG_RUNTIME_DIR") or _log_directory()


def _log_directory() -> str:
    if os.geteuid() == 0:
        return "/var/log"
    return os.environ.get("XDG_STATE_HOME") or os.path.join(os.path.expanduser("~"), ".local", "state")


def make_directories(target: Target) -> None:
    """Make what a start by name writes into; nobody else may write there, whatever the umask is.

    :raises OSError: when that can't be.
    """
    for path in (target.pidfile, target.log, target.memory):
        if path is not None:
            _make(os.path.dirname(path), 0o755 if os.geteuid() == 0 else 0o700)


def _make(directory: str, mode: int) -> None:
    # Not os.makedirs, which makes the directories above with the umask's mode alone.
    if os.path.isdir(directory):
        return
    _make(os.path.dirname(directory), mode)
    with suppress(FileExistsError):  # by another start in this moment, or it is a file: who writes into it is told so
        os.mkdir(directory, mode)


def all_named() -> Iterator[Target]:
    """Yield the daemons of this user that were started by name."""
    try:
        names = os.listdir(os.path.join(runtime_directory(), "daemonry"))
    except OSError:  # none has ever been
        names = []
    for name in sorted(names):
        stem, dot, end = name.rpartition(".")
        if (dot, end) == (".", "json") and is_name(stem):
            yield named(stem)
