"""The files of a service directory of s6; servicedir, s6-setuidgid, s6-permafailon, s6-log."""

from __future__ import annotations

import shlex

from . import shell
from .service import Unit, seconds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from .service import Service

# The status of ./finish by which s6-supervise leaves a service down.
_FOR_GOOD = 125
_OWN_PAUSE = 1


def unit(service: Service) -> Unit:
    """Return the file of the service directory that ``service.part`` names.

    The scripts are the shell's and not execline's, so that whoever reads one needs no second language.

    :raises Unsayable: when it can't say what is asked for.
    """
    hint = "the files down-signal and timeout-kill in the service directory say it"
    shell.require_sayable(service, "s6", hint)
    place = f"/etc/s6/sv/{shell.directory_name(service)}"
    if service.part == "log":
        directory = shell.log_directory(service)
        return Unit(text=f"#!/bin/sh\n# {place}/log/run\nexec s6-log t n10 s1000000 {directory}\n")
    if service.part == "finish":
        return Unit(text="\n".join(("#!/bin/sh", f"# {place}/finish", *_finish(service), "")), notes=_pause(service))
    if service.root is None:
        text = shell.run_script(service, f"{place}/run", [*map(shlex.quote, _become(service))])
    else:
        text = shell.run_script(service, f"{place}/run", *_chroot(service, service.root))
    # READY=1 goes to a socket; s6 expects a newline on the descriptor that the file notification-fd names.
    instead = "; it has a protocol of its own, see the file notification-fd and s6-notifyoncheck"
    return Unit(text=text, notes=tuple(shell.notes(service, "s6-supervise", instead)))


def _become(service: Service) -> list[str]:
    user, group = service.user, service.group
    if user is None and group is None:
        return []
    if group is None and service.supplementary:
        return ["s6-setuidgid", str(user)]
    if shell.is_number(user):
        return ["s6-applyuidgid", "-z", "-u", str(user), "-g", str(group)]
    words = ["s6-envuidgid", user or "root"]
    if group is not None:
        words += ["env", f"GID={group}"] if shell.is_number(group) else ["s6-envuidgid", "-g", group]
    # Who has no user's name has named no groups either.
    words += ["env", "GIDLIST="] if not service.supplementary or user is None else []
    return [*words, "s6-applyuidgid", "-z", "-U"]


def _chroot(service: Service, root: str) -> tuple[list[str], tuple[str, ...]]:
    # s6 has no program for it. coreutils' changes the user too, which has to come after the root.
    words = ["chroot", shlex.quote(root)]
    if service.user is None and service.group is None:
        return words, ()
    account = ['--userspec="+$user:+$group"', f'--groups="{shell.groups(service, ",")}"']
    return [words[0], *account, words[1]], shell.lookups(service, ",")


def _finish(service: Service) -> Iterator[str]:
    restart = service.restart
    if restart is None:
        yield f"exit {_FOR_GOOD}"
        return
    if restart.on_failure:
        yield f'[ "$1" != 0 ] || exit {_FOR_GOOD}'
    rest = f"sleep {seconds(restart.pause)}" if restart.pause > _OWN_PAUSE else "true"
    # Every end counts: all statuses, and all signals.
    yield f"exec s6-permafailon {max(1, round(restart.window))} {restart.most + 1} 0-255,1-64 {rest}"


def _pause(service: Service) -> tuple[str, ...]:
    if service.restart is None or service.restart.pause <= _OWN_PAUSE:
        return ()
    milliseconds = round(service.restart.pause * 1000) + 5000
    return (f"--restart-pause: write {milliseconds} to the file timeout-finish, or s6-supervise ends the pause",)
