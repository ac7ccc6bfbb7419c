"""The command that writes a service manager's unit: unit."""

from __future__ import annotations

import os
import shutil

from ..control import schedule
from ..units import MANAGERS, PARTS, Service, Unsayable, write
from ..units.hardening import ALLOWANCES
from ..units.service import Restart, require_sane
from ..units.systemd import KINDS
from . import program_options, running
from .refusal import Refusal
from .statuses import DONE, NOT_INSTALLED, USAGE

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from .screen import Screen

# Managers whose services are directories of several files.
_IN_PARTS = ("runit", "s6")
# Where a manager of the machine puts what daemonry.cli.places puts there for root, whoever writes the unit.
_RUNTIME_DIRECTORY = "/run"


def add_unit(parser: argparse.ArgumentParser) -> None:
    """Add what ``unit`` takes."""
    group = parser.add_argument_group("the unit")
    group.add_argument(
        "--manager", choices=MANAGERS, required=True, metavar="MANAGER", help=f"whose: {', '.join(MANAGERS)}"
    )
    group.add_argument(
        "--type",
        choices=KINDS,
        metavar="TYPE",
        help=f"systemd: its Type=, {', '.join(KINDS)} (default: notify with --notify, else exec)",
    )
    group.add_argument("--reload", action="store_true", help="systemd: it reads its configuration again on SIGHUP")
    group.add_argument("--schedule", help="how to stop it, as in TERM/30/KILL/5 (default: the manager's own way)")
    group.add_argument(
        "--part", choices=PARTS, default="run", metavar="PART", help=f"runit, s6: {', '.join(PARTS)} (default: run)"
    )
    _add_hardening(parser.add_argument_group("what systemd lets the program do"))
    running.add_program(parser)


def _add_hardening(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--write", action="append", default=[], metavar="PATH", help="let it write here; else only where flags say so"
    )
    allowances = "; ".join(f"{name}, {what}" for name, what in ALLOWANCES.items())
    group.add_argument(
        "--allow", action="append", default=[], choices=ALLOWANCES, metavar="WHAT", help=f"let it do more: {allowances}"
    )
    group.add_argument("--no-jit", action="store_true", help="it makes no code while it runs: let it not be able to")
    group.add_argument("--no-hardening", action="store_true", help="let it do all that its user may")


def unit(options: argparse.Namespace, screen: Screen) -> int:
    """Print the unit that runs a program as ``start`` would."""
    _refuse_others(options)
    try:
        service = service_of(options)
        require_sane(service)
        written = write(options.manager, service)
    except Unsayable as error:
        raise Refusal(str(error), USAGE) from error
    for note in (*_notes(options, service), *written.notes):
        screen.say(f"note: {note}")
    # With the bytes of the words as they were typed, also those that are no text.
    screen.pass_on(os.fsencode(written.text))
    return DONE


def _refuse_others(options: argparse.Namespace) -> None:
    """Refuse flags that mean something to another manager only."""
    if not options.words:
        message = "no program is given; write it behind --: daemonry unit --manager systemd -- /usr/sbin/nginx -g ..."
        raise Refusal(message, USAGE)
    if options.preserve_fd:
        raise Refusal(
            "--preserve-fd: a manager starts the program, and has none of your descriptors; a socket of "
            "systemd's is said in a .socket unit",
            USAGE,
        )
    for_systemd = ("type", "reload", "write", "allow", "no_jit", "no_hardening")
    given = [f"--{name.replace('_', '-')}" for name in for_systemd if getattr(options, name)]
    if given and options.manager != "systemd":
        raise Refusal(f"{', '.join(given)}: that is for --manager systemd only; leave it away", USAGE)
    if options.part != "run" and options.manager not in _IN_PARTS:
        raise Refusal(f"--part {options.part}: a service of {options.manager} is one file; leave --part away", USAGE)


def service_of(options: argparse.Namespace) -> Service:
    """Return the service that the flags ask for.

    :raises Refusal: for a program that is not there.
    :raises Unsayable: for a schedule that is none.
    """
    return Service(
        title=options.name or os.path.basename(options.words[0]),
        is_named=options.name is not None,
        command=(_path_of(options), *options.words[1:]),
        kind=options.type,
        reload=options.reload,
        pidfile=_pidfile(options),
        notify=options.notify,
        wait_port=options.wait_port,
        settle=options.settle if _is_given("--settle", options) else None,
        timeout=options.timeout if _is_given("--timeout", options) else None,
        directory=options.chdir,
        root=options.chroot,
        umask=options.umask,
        user=options.user,
        group=options.group,
        supplementary=not options.no_supplementary_groups,
        no_new_privileges=options.no_new_privileges,
        core=options.allow_core,
        environment=tuple(dict(options.env).items()),
        clean=options.clean_env,
        stdin=options.stdin,
        stdout=options.stdout or options.output,
        stderr=options.stderr or options.output,
        restart=_restart(options),
        schedule=_schedule(options),
        hardened=not options.no_hardening,
        no_jit=options.no_jit,
        writes=tuple(options.write),
        allowed=frozenset(options.allow),
        part=options.part,
    )


def _path_of(options: argparse.Namespace) -> str:
    program: str = options.words[0]
    # A unit may be for another machine, so an absolute path need not lead anywhere here.
    if os.path.isabs(program):
        return program
    if options.chroot is not None:
        return program_options.executable(options.words, options.chroot, dict(os.environ))
    found = shutil.which(program)
    if found is None:
        raise Refusal(f"there is no program {program} here; give its absolute path if it is elsewhere", NOT_INSTALLED)
    return os.path.abspath(found)


def _pidfile(options: argparse.Namespace) -> str | None:
    if options.pidfile is None and options.name is not None and options.type == "forking":
        return f"{_RUNTIME_DIRECTORY}/{options.name}.pid"
    given: str | None = options.pidfile
    return given


def _is_given(flag: str, options: argparse.Namespace) -> bool:
    """Whether a flag that has a default was typed: only then a manager that can't heed it is worth a word."""
    words = options.told[: options.told.index("--")] if "--" in options.told else options.told
    return any(word == flag or word.startswith(f"{flag}=") for word in words)


def _restart(options: argparse.Namespace) -> Restart | None:
    if not options.restart:
        return None
    most, window = options.restart_limit
    return Restart(on_failure=options.restart == "on-failure", pause=options.restart_pause, most=most, window=window)


def _schedule(options: argparse.Namespace) -> schedule.Schedule | None:
    try:
        return None if options.schedule is None else schedule.parse(options.schedule)
    except ValueError as error:
        raise Unsayable(f"--schedule: {error}") from error


def _notes(options: argparse.Namespace, service: Service) -> list[str]:
    inside = (service.root or "") + service.command[0]
    found = []
    if not os.access(inside, os.X_OK):
        found.append(f"there is no program {inside} here that may be executed; the unit is for where there is one")
    if options.restart is None and any(_is_given(flag, options) for flag in ("--restart-pause", "--restart-limit")):
        found.append("--restart-pause and --restart-limit mean nothing without --restart")
    if options.timestamps:
        found.append("--timestamps: the service manager has the log, and may write times in it")
    return found
