"""What a service is, whoever manages it, and what comes of asking a manager for it."""

from __future__ import annotations

import os
import re
import signal

from ..errors import DaemonError
from ..system.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..control.schedule import Schedule

# The files of a service directory.
PARTS = ("run", "finish", "log")
# What systemd and useradd(8) agree on; a colon or a space would mean something in most units.
_ACCOUNT = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.-]*\$?")


class Unsayable(DaemonError):
    """A manager can't be told this, or it makes no sense there."""


class Unit(Record):
    """What a manager is given.

    :ivar text: ``str``, the file, with the newline at its end.
    :ivar notes: tuple of ``str``, what the user asked for and the file doesn't say.
    """

    text: str
    notes: tuple[str, ...] = ()


class Restart(Record):
    """When a program is started again.

    :ivar on_failure: ``bool``, only after a failure; else whenever it ends.
    :ivar pause: ``float``, seconds before that.
    :ivar most: ``int``, how often within ``window`` seconds before it is given up.
    """

    on_failure: bool
    pause: float
    most: int
    window: float


class Service(Record):
    """A program, and all that is said of how it is to run.

    :ivar title: ``str``, what it is called; ``is_named`` is whether the user has called it so.
    :ivar command: tuple of ``str``, its absolute path, inside its root, and its arguments.
    :ivar kind: ``str``, systemd's ``Type=``, or ``None`` for the usual one.
    :ivar notify: ``bool``, whether it says ``READY=1``.
    :ivar wait_port: ``int``, the port that accepts when it is up, or ``None``.
    :ivar settle: ``float``, seconds, or ``None`` when they were not asked for.
    :ivar timeout: ``float``, seconds for the start, 0 for ever, or ``None`` when they were not asked for.
    :ivar supplementary: ``bool``, whether it has its user's other groups.
    :ivar clean: ``bool``, whether the manager's own variables are kept from it.
    :ivar restart: :class:`Restart`, or ``None`` to start it once.
    :ivar schedule: how it is stopped, or ``None`` for the manager's own way.
    :ivar writes: tuple of ``str``, paths that it writes to besides those that the options name.
    :ivar allowed: frozenset of ``str``, what hardening leaves to it; see :mod:`daemonry.units.hardening`.
    :ivar part: ``str``, one of :data:`PARTS`.
    """

    title: str
    command: tuple[str, ...]
    is_named: bool = False
    kind: str | None = None
    reload: bool = False
    pidfile: str | None = None
    notify: bool = False
    wait_port: int | None = None
    settle: float | None = None
    timeout: float | None = None
    directory: str = "/"
    root: str | None = None
    umask: int = 0o022
    user: str | None = None
    group: str | None = None
    supplementary: bool = True
    no_new_privileges: bool = False
    core: bool = False
    environment: tuple[tuple[str, str], ...] = ()
    clean: bool = False
    stdin: str | None = None
    stdout: str | None = None
    stderr: str | None = None
    restart: Restart | None = None
    schedule: Schedule | None = None
    hardened: bool = True
    no_jit: bool = False
    writes: tuple[str, ...] = ()
    allowed: frozenset[str] = frozenset()
    part: str = "run"

    @property
    def is_root(self) -> bool:
        """Whether it keeps root's user."""
        return self.user in (None, "root", "0")


def require_sane(service: Service) -> None:
    """Refuse what no manager could be told.

    :raises Unsayable: for a path that is relative, and for names that can be no user's.
    """
    paths = {
        "--pidfile": service.pidfile,
        "--chdir": service.directory,
        "--chroot": service.root,
        "--stdin": service.stdin,
        "--stdout (or --output)": service.stdout,
        "--stderr (or --output)": service.stderr,
        **{f"--write {path}": path for path in service.writes},
    }
    for flag, path in paths.items():
        if path is not None and not os.path.isabs(path):
            raise Unsayable(
                f"{flag}: {path!r} is relative; a manager has no directory that you are in, so write it "
                f"from the root: {os.path.abspath(path or '.')}"
            )
    for flag, account in (("--user", service.user), ("--group", service.group)):
        if account is not None and not _ACCOUNT.fullmatch(account):
            raise Unsayable(f"{flag}: {account!r} is no name and no number of an account")


def require_none(service: Service, manager: str, **asked: bool) -> None:
    """Refuse the flags that a manager has no word for.

    :param asked: by the flag without its dashes, whether it was given.
    :raises Unsayable: when one was.
    """
    for flag, given in asked.items():
        if given:
            name = flag.replace("_", "-")
            raise Unsayable(f"--{name}: {manager} has no word for it; leave it away, or use another --manager")


def notes_on_readiness(service: Service, manager: str, instead: str = "") -> list[str]:
    """Say of each way to know that a program is up, that a manager doesn't wait for it.

    :param instead: what the user can do.
    """
    asked = {
        "--notify": service.notify,
        "--wait-port": service.wait_port is not None,
        "--settle": service.settle is not None,
        "--timeout": service.timeout is not None,
    }
    flags = [flag for flag, given in asked.items() if given]
    if not flags:
        return []
    return [f"{', '.join(flags)}: {manager} counts the program as started when it is executed{instead}"]


def seconds(value: float) -> str:
    """Write seconds without an exponent, and without a zero too many."""
    return f"{value:.6f}".rstrip("0").rstrip(".")


def signal_name(number: int) -> str:
    """Return the name of a signal, or its number if it has none."""
    try:
        return signal.Signals(number).name
    except ValueError:  # most of the real-time signals
        return str(number)
