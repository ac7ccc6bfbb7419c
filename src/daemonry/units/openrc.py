"""A service script of OpenRC; openrc-run(8), supervise-daemon(8)."""

from __future__ import annotations

import math
import re
import shlex

from ..control.schedule import FOREVER, Send, Wait
from .service import Unit, Unsayable, notes_on_readiness, require_none, signal_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..control.schedule import Schedule
    from .service import Service

# What neither eval nor the splitting before it changes.
_PLAIN = re.compile(r"[A-Za-z0-9_@%+=:,./-]+")
# Seconds, ten years: what is longer than a service is up counts as for ever.
_ALWAYS = 10 * 365 * 86400


def unit(service: Service) -> Unit:
    """Return the service script for a service.

    :raises Unsayable: when OpenRC can't be told what is asked for.
    """
    refused = not service.supplementary and service.user is not None
    # supervise-daemon calls initgroups(3) for every user.
    require_none(
        service,
        "OpenRC",
        no_supplementary_groups=refused,
        part=service.part != "run",
        stdin=service.stdin is not None,
    )
    if service.restart is not None and service.restart.on_failure:
        raise Unsayable("--restart on-failure: supervise-daemon doesn't look at how a program ended; use --restart")
    if service.group is not None and service.user is None:
        raise Unsayable("--group: OpenRC takes a group beside a user only; add --user")
    _require_plain(service)
    words = _Words()
    lines = [f"{name}={value}" for name, value in _settings(service, words)]
    head = ("#!/sbin/openrc-run", "")
    functions = ("", "depend() {", "\tneed net", "\tuse logger", "}", *_start_pre(service), "")
    return Unit(text="\n".join((*head, *words.lines, *lines, *functions)), notes=tuple(_notes(service)))


def _start_pre(service: Service) -> Iterator[str]:
    logs = dict.fromkeys(path for path in (service.stdout, service.stderr) if path is not None)
    if service.user is None or not logs:
        return
    # The logs are opened by the user, who can make none in /var/log.
    owner = ":".join(filter(None, (service.user, service.group)))
    yield from ("", "start_pre() {")
    yield from (f"\tcheckpath --file --mode 0640 --owner {owner} {shlex.quote(log)}" for log in logs)
    yield "}"


def _require_plain(service: Service) -> None:
    # What starts the program evaluates these, what stops it takes them as they stand.
    for flag, path in (("the program", service.command[0]), ("--pidfile", service.pidfile), ("--chroot", service.root)):
        if path is not None and not _PLAIN.fullmatch(path):
            raise Unsayable(f"{flag}: OpenRC stops no service whose path has blanks or such characters in it: {path!r}")


class _Words:
    """Words that OpenRC splits and gives to eval: what that would change is put into variables, and named there."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def of(self, *words: str) -> str:
        """Return the value of a setting from which eval makes these words."""
        return shlex.quote(" ".join(map(self._named, words)))

    def _named(self, word: str) -> str:
        if _PLAIN.fullmatch(word):
            return word
        name = f"word_{len(self.lines) + 1}"
        self.lines.append(f"{name}={shlex.quote(word)}")
        return f'"${name}"'


def _settings(service: Service, words: _Words) -> Iterator[tuple[str, str]]:
    yield "name", shlex.quote(service.title)
    # Not start-stop-daemon: it finds what it is to stop by the executable, which for a script is the interpreter, and
    # on Debian it is dpkg's, which lacks flags that OpenRC gives it.
    yield "supervisor", "supervise-daemon"
    yield from _command(service, words)
    yield "pidfile", service.pidfile or '"/run/${RC_SVCNAME}.pid"'
    yield "umask", f"{service.umask:04o}"
    if service.user is not None:
        yield "command_user", ":".join(filter(None, (service.user, service.group)))
    if service.root is not None:
        yield "chroot", service.root
    yield "directory", words.of(service.directory)
    for name, log in (("output_log", service.stdout), ("error_log", service.stderr)):
        if log is not None:
            yield name, words.of(_inside(service.root, log))
    if not service.core:
        yield "rc_ulimit", "'-c 0'"
    yield from _start_and_stop(service)


def _inside(root: str | None, log: str) -> str:
    # They are opened when the root has been changed.
    if root is None:
        return log
    if not log.startswith(f"{root.rstrip('/')}/"):
        raise Unsayable(f"{log}: OpenRC opens logs inside {root}; give one that is there, such as {root}/log")
    return log[len(root.rstrip("/")) :]


def _command(service: Service, words: _Words) -> Iterator[tuple[str, str]]:
    path, *arguments = service.command
    flags = [part for each in service.environment for part in ("--env", "=".join(each))]
    if service.no_new_privileges:
        flags.append("--no-new-privs")
    yield "command", path
    if arguments:
        yield "command_args", words.of(*arguments)
    if flags:
        yield "supervise_daemon_args", words.of(*flags)


def _start_and_stop(service: Service) -> Iterator[tuple[str, str]]:
    if service.schedule is not None:
        yield "retry", shlex.quote(_retry(service.schedule))
    if service.restart is None:
        yield "respawn_max", "1"  # 0 would be without an end
        yield "respawn_period", str(_ALWAYS)
    else:
        yield "respawn_delay", str(max(1, math.ceil(service.restart.pause)))  # 0 is refused
        yield "respawn_max", str(max(1, service.restart.most))
        yield "respawn_period", str(max(1, math.ceil(service.restart.window)))


def _retry(schedule: Schedule) -> str:
    items = schedule.once if not schedule.again else (*schedule.once, FOREVER, *schedule.again)
    return "/".join(signal_name(item.signum) if isinstance(item, Send) else _whole(item) for item in items)


def _whole(item: object) -> str:
    return str(math.ceil(item.seconds)) if isinstance(item, Wait) else str(item)


def _notes(service: Service) -> Iterator[str]:
    yield from notes_on_readiness(service, "OpenRC")
    if service.restart is None:
        yield "supervise-daemon starts again what has ended, and can't be told never to; it will do so once"
    if service.clean:
        yield "--clean-env: OpenRC's own variables can't be taken away; beside PATH they are few"
    if service.pidfile is not None:
        yield "--pidfile: there will be the number of supervise-daemon, not of the program"
