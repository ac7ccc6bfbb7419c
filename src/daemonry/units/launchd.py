"""A property list of launchd; launchd.plist(5)."""

from __future__ import annotations

import math
import plistlib
import signal

from ..control.schedule import Send, Wait
from .service import Unit, Unsayable, notes_on_readiness, require_none

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from .service import Service


def unit(service: Service) -> Unit:
    """Return the property list for a service.

    :raises Unsayable: when launchd can't be told what is asked for.
    """
    require_none(service, "launchd", no_new_privileges=service.no_new_privileges, part=service.part != "run")
    if any("\r" in word for word in (*service.command, *map("=".join, service.environment))):
        raise Unsayable("a property list can't tell a carriage return from a newline; leave it out of the words")
    found = {name: value for name, value in _keys(service).items() if value is not None}
    try:
        text = plistlib.dumps(found, sort_keys=False).decode()
    except (ValueError, UnicodeEncodeError) as error:
        raise Unsayable(f"a property list has text alone, without control characters: {error}") from error
    return Unit(text=text, notes=tuple(_notes(service)))


def _keys(service: Service) -> dict[str, Any]:
    limits = None if service.core else {"Core": 0}
    restart = service.restart
    return {
        "Label": service.title,
        "ProgramArguments": list(service.command),
        "RunAtLoad": True,
        "KeepAlive": restart and ({"SuccessfulExit": False} if restart.on_failure else True),
        "ThrottleInterval": restart and math.ceil(restart.pause),
        "ExitTimeOut": _longest_stop(service),
        "AbandonProcessGroup": False,
        "UserName": service.user,
        "GroupName": service.group,
        "InitGroups": None if service.user is None else service.supplementary,
        "Umask": service.umask,
        "RootDirectory": service.root,
        "WorkingDirectory": service.directory,
        "EnvironmentVariables": dict(service.environment) or None,
        "StandardInPath": service.stdin,
        "StandardOutPath": service.stdout,
        "StandardErrorPath": service.stderr,
        "SoftResourceLimits": limits,
        "HardResourceLimits": limits,
    }


def _longest_stop(service: Service) -> int | None:
    if service.schedule is None:
        return None
    kinds = [item.signum if isinstance(item, Send) else None for item in service.schedule.once]
    first = service.schedule.once[1] if len(kinds) > 1 else None
    if kinds != [signal.SIGTERM, None, signal.SIGKILL, None] or service.schedule.again or not isinstance(first, Wait):
        raise Unsayable(
            f"--schedule {service.schedule}: launchd sends SIGTERM, waits, and sends SIGKILL; write it as "
            "in TERM/30/KILL"
        )
    # For launchd 0 is for ever.
    return max(1, math.ceil(first.seconds))


def _notes(service: Service) -> Iterator[str]:
    yield from notes_on_readiness(service, "launchd")
    if service.pidfile is not None:
        yield "--pidfile: launchd knows its process without one, and writes none"
    if service.clean:
        yield "--clean-env: launchd's own variables can't be taken away; they are few"
    if service.restart is not None:
        yield "--restart-limit: launchd never gives up; it waits ThrottleInterval from one start to the next"
