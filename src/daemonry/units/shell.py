"""The run scripts of service directories: what they have in common, whoever reads them."""

from __future__ import annotations

import os
import re
import shlex

from .service import Unsayable, notes_on_readiness, require_none

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from .service import Service


def require_sayable(service: Service, manager: str, hint: str) -> None:
    """Refuse what no run script can do.

    :param hint: where the schedule of a stop is said instead.
    :raises Unsayable: for such a thing.
    """
    if service.schedule is not None:
        raise Unsayable(f"--schedule: a run script has no word for it; {hint}")
    if service.root is not None and service.directory != "/":
        raise Unsayable(
            f"--chdir with --chroot: under {manager} the program begins in its new root; let it change the "
            "directory by itself"
        )
    require_none(service, manager, no_supplementary_groups=not service.supplementary and service.user is None)
    if is_number(service.user) and not is_number(service.group):
        raise Unsayable(f"--user {service.user}: with a user's number {manager} takes a group's number, by --group")


def is_number(account: str | None) -> bool:
    """Whether an account is given by its number."""
    return account is not None and account.isdigit()


def lookups(service: Service, separator: str) -> tuple[str, ...]:
    """Return the lines that put the ids of user and group, and of the user's other groups, into variables.

    For programs that would look the names up in the new root, where nobody may be known, or know no other groups.

    :param separator: what is to stand between the other groups.
    """
    named = not is_number(service.user) and service.user is not None
    user, group = shlex.quote(service.user or ""), shlex.quote(service.group or "")
    lines = [f"user=$(id -u {user}) || exit 1" if named else f"user={service.user or '$(id -u)'}"]
    if service.group is None:
        lines.append(f"group=$(id -g {user}) || exit 1")
    elif is_number(service.group):
        lines.append(f"group={group}")
    else:
        lines += [f"group=$(getent group {group} | cut -d: -f3)", '[ -n "$group" ] || exit 1']
    if service.supplementary and named:
        # The first one is the user's own.
        lines.append(f"others=$(id -G {user} | cut -s -d' ' -f2- | tr ' ' {separator})")
    return tuple(lines)


def groups(service: Service, separator: str) -> str:
    """Return all groups as a shell puts them together behind those lines."""
    has_others = service.supplementary and service.user is not None and not is_number(service.user)
    return f"$group${{others:+{separator}$others}}" if has_others else "$group"


def run_script(service: Service, path: str, become: list[str], before: tuple[str, ...] = ()) -> str:
    """Return the script that becomes the program.

    :param path: where the script is to lie.
    :param become: the words before the program that change its user and its root, as the shell reads them.
    :param before: the lines that they need.
    """
    words = [*(["setpriv", "--no-new-privs"] if service.no_new_privileges else []), *become]
    command = [*environment(service, bool(words) or "=" not in service.command[0]), *words]
    last = " ".join(("exec", *command, *map(shlex.quote, service.command)))
    return "\n".join(("#!/bin/sh", f"# {path}", *_setting(service), *before, last, ""))


def environment(service: Service, is_safe: bool) -> list[str]:
    """Return the words that set the variables, as a shell reads them.

    :param is_safe: whether the next word has no = in it, with which env(1) would take it for a variable.
    """
    if not service.clean and not service.environment:
        return []
    words = ["env", *(["-i", 'PATH="$PATH"'] if service.clean else [])]
    words += [shlex.quote(f"{name}={value}") for name, value in service.environment]
    return words if is_safe else [*words, "sh", "-c", shlex.quote('exec "$0" "$@"')]


def _setting(service: Service) -> Iterator[str]:
    output, errors = service.stdout, service.stderr
    yield f"exec <{shlex.quote(service.stdin or os.devnull)}"
    if errors is None:
        yield "exec 2>&1"  # to the log service, which reads what the manager has as its standard output
    if output is not None:
        yield f"exec >>{shlex.quote(output)}"
    if errors is not None:
        yield "exec 2>&1" if errors == output else f"exec 2>>{shlex.quote(errors)}"
    if not service.core:
        yield "ulimit -c 0"
    yield f"umask {service.umask:04o}"
    yield f"cd {shlex.quote(service.directory)} || exit 1"


def notes(service: Service, manager: str, instead: str = "") -> Iterator[str]:
    """Yield what was asked for and no run script says."""
    yield from notes_on_readiness(service, manager, instead)
    if service.pidfile is not None:
        yield f"--pidfile: {manager} knows its process without one, and writes none"
    if service.part == "run":
        yield from _notes_on_other_parts(service, manager)


def _notes_on_other_parts(service: Service, manager: str) -> Iterator[str]:
    restart = service.restart
    if restart is None:
        yield f"{manager} starts again what has ended; --part finish prints the script that keeps it from that"
    else:
        yield "--restart, --restart-pause, --restart-limit: --part finish prints the script that heeds them"
    if service.stdout is None:
        yield "its output goes to the log service, which --part log prints"


def directory_name(service: Service) -> str:
    """Return what its directory is to be called."""
    return re.sub(r"[^A-Za-z0-9_.@-]", "_", service.title)


def log_directory(service: Service) -> str:
    """Return where its log goes.

    :raises Unsayable: when it has been told to go elsewhere.
    """
    if service.stdout is not None:
        raise Unsayable(f"--part log: its output goes to {service.stdout}, so there is nothing for a log service")
    return f"/var/log/{directory_name(service)}"
