"""A unit of systemd; systemd.unit(5), systemd.service(5), systemd.exec(5)."""

from __future__ import annotations

from ..control.schedule import Send, Wait
from . import hardening, systemd_words
from .service import Unit, Unsayable, require_none, seconds, signal_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from .hardening import Directive
    from .service import Service

KINDS = ("notify", "notify-reload", "exec", "simple", "forking", "oneshot")
# What systemd 252 puts into the environment of every system service; PATH stays, and NOTIFY_SOCKET is an answer to
# what the unit asks for. systemd.exec(5), ENVIRONMENT VARIABLES IN SPAWNED PROCESSES.
_MANAGERS_VARIABLES = (
    *("LANG", "LANGUAGE", "HOME", "LOGNAME", "USER", "SHELL", "INVOCATION_ID", "JOURNAL_STREAM", "SYSTEMD_EXEC_PID"),
    *("RUNTIME_DIRECTORY", "STATE_DIRECTORY", "CACHE_DIRECTORY", "LOGS_DIRECTORY"),
)


def unit(service: Service) -> Unit:
    """Return the unit for a service.

    :raises Unsayable: when a unit can't say what is asked for.
    """
    kind = service.kind or ("notify" if service.notify else "exec")
    _require_sayable(service, kind)
    sections = {
        "Unit": [*_of_unit(service)],
        "Service": [*_of_service(service, kind)],
        "Install": [("WantedBy", "multi-user.target")],
    }
    texts = (_section(name, directives) for name, directives in sections.items())
    return Unit(text="\n".join(texts), notes=tuple(_notes(service, kind)))


def _section(name: str, directives: list[Directive]) -> str:
    return "".join((f"[{name}]\n", *(f"{name}={value}\n" for name, value in directives)))


def _require_sayable(service: Service, kind: str) -> None:
    # initgroups(3) is called for every User=, and SupplementaryGroups= adds to what that finds.
    refused = not service.supplementary and service.user is not None
    require_none(service, "a unit of systemd", no_supplementary_groups=refused, part=service.part != "run")
    if kind == "forking" and service.pidfile is None:
        raise Unsayable("--type forking: say where the program writes its number, by --pidfile or --name")
    if kind == "oneshot" and service.restart is not None and not service.restart.on_failure:
        raise Unsayable("--type oneshot: systemd starts what has ended well not again; use --restart on-failure")
    if kind == "oneshot" and service.reload:
        raise Unsayable("--reload: a program of --type oneshot has ended by the time it counts as started")
    if service.notify and not kind.startswith("notify"):
        raise Unsayable(f"--notify: with --type {kind} systemd doesn't listen for READY=1; use --type notify")


def _notes(service: Service, kind: str) -> Iterator[str]:
    if service.wait_port is not None or service.settle is not None:
        flag = "--settle" if service.wait_port is None else "--wait-port"
        what = "it says READY=1" if kind.startswith("notify") else "it has ended" if kind == "oneshot" else (
            "its first process has ended" if kind == "forking" else "it is executed")  # fmt: skip
        yield f"{flag}: systemd can't wait for that; the unit counts as started when {what}"
    if service.pidfile is not None and kind != "forking":
        yield "--pidfile: systemd knows its process without one, and writes none"
    if service.is_root and service.hardened:
        yield "it runs as root, with few of root's rights; give it a user of its own by --user if it need not be root"
    if kind == "notify-reload":
        yield "--type notify-reload: this takes systemd 253 or newer"
    if not service.hardened and (service.allowed or service.writes or service.no_jit):
        yield "--allow, --write and --no-jit: nothing is shut in with --no-hardening"


def _of_unit(service: Service) -> Iterator[Directive]:
    yield "Description", systemd_words.text(service.title)
    yield "After", "network.target"
    if service.restart is not None:
        yield "StartLimitIntervalSec", seconds(service.restart.window)
        # The first start counts for systemd, and is no restart.
        yield "StartLimitBurst", str(service.restart.most + 1)


def _of_service(service: Service, kind: str) -> Iterator[Directive]:
    yield "Type", kind
    if kind.startswith("notify"):
        yield "NotifyAccess", "main"
    if kind == "forking" and service.pidfile is not None:
        yield "PIDFile", systemd_words.path("--pidfile", service.pidfile)
    yield "ExecStart", systemd_words.command_line(service.command)
    if service.reload and kind != "notify-reload":
        # With + it is the machine's own kill, which a new root need not have.
        yield "ExecReload", f"{'+' if service.root else ''}/bin/kill -HUP $MAINPID"
    yield from _start_and_stop(service, kind)
    yield from _rights(service)
    yield from _place(service)
    yield from hardening.written(service)
    if service.hardened:
        yield from hardening.directives(service)


def _start_and_stop(service: Service, kind: str) -> Iterator[Directive]:
    if service.timeout is not None:
        yield "TimeoutStartSec", seconds(service.timeout) if service.timeout else "infinity"
    elif kind != "oneshot":  # how long a job takes is not how long a start may
        yield "TimeoutStartSec", "90"
    if service.restart is not None:
        yield "Restart", "on-failure" if service.restart.on_failure else "always"
        yield "RestartSec", seconds(service.restart.pause)
    yield from _stop(service)


def _stop(service: Service) -> Iterator[Directive]:
    if service.schedule is None:
        return
    items = service.schedule.once
    shape = tuple(type(item) for item in items)
    is_one = shape in ((Send, Wait), (Send, Wait, Send, Wait)) and not service.schedule.again
    if not is_one or not isinstance(items[0], Send) or not isinstance(items[1], Wait):
        raise Unsayable(
            f"--schedule {service.schedule}: a unit says one signal, how long it is waited, and a last "
            "signal, as in TERM/30/KILL/5"
        )
    yield "KillSignal", signal_name(items[0].signum)
    yield "TimeoutStopSec", seconds(items[1].seconds)
    if len(items) == 2:
        yield "SendSIGKILL", "no"
    elif isinstance(items[2], Send):
        yield "FinalKillSignal", signal_name(items[2].signum)


def _rights(service: Service) -> Iterator[Directive]:
    if service.user is not None:
        yield "User", service.user
    if service.group is not None:
        yield "Group", service.group
    yield "UMask", f"{service.umask:04o}"
    yield "LimitCORE", "infinity" if service.core else "0"
    if service.no_new_privileges and not service.hardened:
        yield "NoNewPrivileges", "yes"


def _place(service: Service) -> Iterator[Directive]:
    if service.is_named:
        yield "SyslogIdentifier", service.title
    if service.root is not None:
        yield "RootDirectory", systemd_words.path("--chroot", service.root)
    if service.directory != "/":
        yield "WorkingDirectory", systemd_words.path("--chdir", service.directory)
    for name, value in service.environment:
        yield "Environment", systemd_words.assignment(name, value)
    if service.clean:
        given = dict(service.environment)
        yield "UnsetEnvironment", " ".join(name for name in _MANAGERS_VARIABLES if name not in given)
    if service.stdin is not None:
        yield "StandardInput", f"file:{systemd_words.path('--stdin', service.stdin)}"
    for directive, flag, log in (
        ("StandardOutput", "--stdout", service.stdout),
        ("StandardError", "--stderr", service.stderr),
    ):
        if log is not None:
            yield directive, f"append:{systemd_words.path(flag, log)}"
