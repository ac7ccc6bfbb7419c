"""The files of a service directory of runit; runsv(8), chpst(8), svlogd(8)."""

from __future__ import annotations

import shlex

from . import shell
from .service import Unit, seconds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from .service import Service

# runsv itself waits so long before it starts again what has run for less.
_OWN_PAUSE = 1


def unit(service: Service) -> Unit:
    """Return the file of the service directory that ``service.part`` names.

    :raises Unsayable: when it can't say what is asked for.
    """
    hint = "runit sends SIGTERM; an executable file control/t in the service directory does something else"
    shell.require_sayable(service, "runit", hint)
    place = f"/etc/sv/{shell.directory_name(service)}"
    if service.part == "log":
        return Unit(text=_log(service, place))
    if service.part == "finish":
        return Unit(text="\n".join(("#!/bin/sh", f"# {place}/finish", *_finish(service), "")), notes=_limit(service))
    text = shell.run_script(service, f"{place}/run", *_become(service))
    return Unit(text=text, notes=tuple(shell.notes(service, "runsv")))


def _become(service: Service) -> tuple[list[str], tuple[str, ...]]:
    root = ["-/", shlex.quote(service.root)] if service.root is not None else []
    if service.user is None and service.group is None:
        return (["chpst", *root] if root else []), ()
    if not service.supplementary and not root and not _has_number(service):
        return ["chpst", "-u", shlex.quote(":".join(filter(None, (service.user, service.group))))], ()
    # chpst gives a user no groups but those that it is told, and looks names up in the new root.
    account = f'":$user:{shell.groups(service, ":")}"'
    return ["chpst", "-u", account, *root], shell.lookups(service, ":")


def _has_number(service: Service) -> bool:
    return shell.is_number(service.user) or shell.is_number(service.group)


def _finish(service: Service) -> Iterator[str]:
    down = "exec sv down ."
    if service.restart is None:
        yield down
        return
    if service.restart.on_failure:
        yield f'[ "$1" != 0 ] || {down}'
    if service.restart.pause > _OWN_PAUSE:
        yield f"exec sleep {seconds(service.restart.pause)}"


def _limit(service: Service) -> tuple[str, ...]:
    return () if service.restart is None else ("--restart-limit: runsv never gives up",)


def _log(service: Service, place: str) -> str:
    directory = shell.log_directory(service)
    return f"#!/bin/sh\n# {place}/log/run\nmkdir -p {directory}\nexec svlogd -tt {directory}\n"
