"""Where the files of named daemons lie: by the user alone, whatever the environment of who asks.

Root's lie in the FHS's places. Those of others lie in the home that the user database has: it lives as long as they do,
which a session's directory doesn't, and cron, su and a login agree on it.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress

from ..system import process
from ..system.record import Record
from .refusal import Refusal
from .statuses import NOT_ALLOWED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
_ADVICE = "let DAEMONRY_HOME name a directory for pidfiles and logs"
# machine-id(5); its place before that, which the BSDs' dbus has; FreeBSD's own.
_MACHINE_IDS = ("/etc/machine-id", "/var/lib/dbus/machine-id", "/etc/hostid")
_DIGITS = 8


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


class _Home(Record):
    """The directories of pidfiles, of logs, and of what is remembered."""

    pidfiles: str
    logs: str
    memories: str

    def target(self, name: str) -> Target:
        return Target(
            title=name,
            pidfile=os.path.join(self.pidfiles, f"{name}.pid"),
            log=os.path.join(self.logs, f"{name}.log"),
            memory=os.path.join(self.memories, f"{name}.json"),
        )


def is_name(text: str) -> bool:
    """Whether this can be the name of a daemon, and of files; what has a slash in it is a path, digits are a pid."""
    allowed = text[:1] in _LETTERS and all(letter in _LETTERS + "_.@-" for letter in text)
    return allowed and text != "" and not text.isdigit()


def usual(name: str) -> Target:
    """Return the daemon with this name where a start by name has it.

    :raises Refusal: when this user has no home, and no other place is chosen.
    """
    return _home().target(name)


def _home() -> _Home:
    chosen = os.environ.get("DAEMONRY_HOME")
    if chosen:
        return _all_in(absolute(chosen))
    if os.geteuid() == 0:
        run = "/run" if os.path.isdir("/run") else "/var/run"
        return _Home(pidfiles=run, logs="/var/log", memories=os.path.join(run, "daemonry"))
    # A home may be shared by machines, each with processes of its own.
    return _all_in(os.path.join(_state(), "daemonry", *_machine()))


def _all_in(directory: str) -> _Home:
    return _Home(pidfiles=directory, logs=directory, memories=directory)


def _state() -> str:
    from ..steps import accounts

    home = accounts.login_variables(os.geteuid())["HOME"]
    if home is None:
        message = f"user {os.geteuid()} is not in the user database, and so has no home where daemons are kept by name"
        raise Refusal(f"{message}; {_ADVICE}, or say by --pidfile and --output where it is to be", NOT_ALLOWED)
    return os.path.join(home, ".local", "state")


def _machine() -> Iterator[str]:
    """Yield what tells this machine from others, where there is something that stays the same; a name may change."""
    for path in _MACHINE_IDS:
        with suppress(OSError):
            # A part of it, for the whole is confidential; see machine-id(5).
            found = process.content_of(path)[:_DIGITS].decode("ascii", "replace")
            if len(found) == _DIGITS and set(found) <= set("0123456789abcdef"):
                yield found
                return


def former(name: str) -> Iterator[Target]:
    """Yield where a start by name of another version may have put it: where the environment of a session said, and
    what stands there without one.
    """
    for home in _former_homes():
        yield home.target(name)


def _former_homes() -> Iterator[_Home]:
    if os.environ.get("DAEMONRY_HOME") or os.geteuid() == 0:
        return
    state = _state()
    logs = os.environ.get("XDG_STATE_HOME") or state
    own = os.path.join(os.path.expanduser("~"), ".local", "state")
    yield _all_in(os.path.join(state, "daemonry"))  # before the machine had an id
    for directory in dict.fromkeys((*_sessions(), logs, own, state)):
        yield _Home(pidfiles=directory, logs=logs, memories=os.path.join(directory, "daemonry"))


def _sessions() -> Iterator[str]:
    if os.environ.get("XDG_RUNTIME_DIR"):
        yield os.environ["XDG_RUNTIME_DIR"]
    yield f"/run/user/{os.geteuid()}"  # pam_systemd(8)


def log_beside(pidfile: str) -> str | None:
    """Return where a daemon with this pidfile and no name writes, ``None`` where its directory is not there."""
    directory, name = os.path.split(pidfile)
    if directory in ("/run", "/var/run"):  # which is memory's
        directory = "/var/log"
    stem = name[: -len(".pid")] if name.endswith(".pid") else name
    # Where there is no directory, it is the pidfile that can't be made, and is told of.
    return os.path.join(directory, f"{stem}.log") if os.path.isdir(directory) else None


def history_beside(pidfile: str) -> str:
    """Return where the history of the daemon with this pidfile is, if a supervisor has kept one."""
    return f"{pidfile}.history"


def absolute(path: str) -> str:
    """Return the path from the root; as it is, where the working directory has gone: who asks for it is told that."""
    try:
        return os.path.abspath(path)
    except OSError:
        return path


def make_directories(target: Target) -> None:
    """Make the home of what a start by name writes; nobody else may write there, whatever the umask is.

    Not the directory of a pidfile or a log that the user has put elsewhere: that is a mistake in typing it.

    :raises OSError: when that can't be.
    """
    if target.memory is not None:
        _make(os.path.dirname(target.memory), 0o755 if os.geteuid() == 0 else 0o700)


def _make(directory: str, mode: int) -> None:
    # Not os.makedirs, which makes the directories above with the umask's mode alone.
    if os.path.isdir(directory):
        return
    _make(os.path.dirname(directory), mode)
    try:
        os.mkdir(directory, mode)
    except FileExistsError:  # by another start in this moment, or it is a file: who writes into it is told so
        return
    except OSError as error:
        raise OSError(error.errno, f"cannot make {directory}: {_why(error)}; {_ADVICE}") from error


def _why(error: OSError) -> str:
    is_homes = error.errno in (errno.EACCES, errno.EROFS, errno.EPERM)
    return f"{error.strerror}{', so there is no home for daemons with a name' if is_homes else ''}"


def names() -> Iterator[str]:
    """Yield the names under which this user has started daemons, each once."""
    found = set[str]()
    with suppress(Refusal):  # of who has no home, none can ever have been
        for home in (_home(), *_former_homes()):
            with suppress(OSError):  # none has ever been there
                found.update(os.listdir(home.memories))
    for name in sorted(found):
        stem, dot, end = name.rpartition(".")
        if (dot, end) == (".", "json") and is_name(stem):
            yield stem
