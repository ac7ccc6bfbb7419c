"""Who started a process: somebody who keeps daemons, or a user at a terminal."""

from __future__ import annotations

import os
import stat

from ..errors import ignored
from ..system import bare
from ..system.closing import close
from ..system.record import Record, once

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from .notify import Manager

# Who keeps a program in the foreground. Not monit, which starts programs that detach, and waits until they have.
_SUPERVISORS = ("supervisord", "runsv", "s6-supervise", "supervise", "supervise-daemon", "circusd", "perpd", "dinit")
# Bytes; of a command line the beginning will do.
_LONGEST_COMMAND = 65_536
_CONTAINER_INITS = ("tini", "docker-init", "podman-init", "catatonit", "dumb-init")


class Facts(Record):
    """What tells who started a process. Environment variables alone don't: every descendant inherits them.

    ``parent_name`` is the program's, ``""`` where it can't be seen.
    """

    pid: int
    parent: int
    parent_name: str
    environment: Mapping[str, str]
    has_terminal: bool
    stdin_is_network_socket: bool


class Starter(Record):
    """Who started a process: ``name`` is ``None`` when it was nobody who keeps daemons."""

    name: str | None
    reason: str

    def __str__(self) -> str:
        return f"{self.name or 'no service manager'} ({self.reason})"


class OwnFacts:
    """The :class:`Facts` of the running process, each found out when it is asked for."""

    def __init__(self, pid: int | None = None) -> None:
        self.environment: Mapping[str, str] = os.environ
        self.pid = bare.getpid() if pid is None else pid

    @once
    def parent(self) -> int:
        """Return the number of the parent."""
        return bare.getppid()

    @once
    def parent_name(self) -> str:
        """Return the name of the parent's program."""
        return program_of(self.parent)

    @once
    def has_terminal(self) -> bool:
        """Return whether the process has a controlling terminal."""
        return _has_terminal()

    @once
    def stdin_is_network_socket(self) -> bool:
        """Return whether standard input is one."""
        return _is_network_socket(0)


def program_of(pid: int) -> str:
    """Return the name of the program that a process runs, ``""`` when it can't be seen.

    Of a Python program it is the script's or the module's, whichever way the interpreter was called.

    Source: proc_pid_comm(5), proc_pid_cmdline(5); ps(1) where there is no /proc.
    """
    try:
        name = bare.content_of(f"/proc/{pid}/comm")[:-1].decode("utf-8", "backslashreplace")
    except OSError:  # it has ended, or hidepid= hides it: both mean that it can't be seen
        return "" if os.path.exists("/proc/self/stat") else _name_without_proc(pid)
    return _script_of(pid) or name if name.startswith("python") else name


def _name_without_proc(pid: int) -> str:
    try:
        from ..system import process
    except ImportError:  # the program has left its files, and ps with them
        return ""
    found = process.look(pid)
    return "" if found is None else found.name


def _script_of(pid: int) -> str:
    try:
        words = os.fsdecode(bare.content_of(f"/proc/{pid}/cmdline", _LONGEST_COMMAND)).split("\0")[1:-1]
    except OSError:
        return ""
    for at, word in enumerate(words):
        if word == "-c":
            return ""
        if word == "-m":
            return "".join(words[at + 1 : at + 2]).rpartition(".")[2]
        if not word.startswith("-"):
            return os.path.basename(word)
    return ""


def _has_terminal() -> bool:
    # Not isatty of a stream, which a pipeline redirects: the name stands for the controlling terminal, see tty(4).
    try:
        close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def _is_network_socket(fd: int) -> bool:
    try:
        if not stat.S_ISSOCK(os.fstat(fd).st_mode):
            return False
    except OSError:
        return False
    import socket

    with ignored(OSError), socket.socket(fileno=os.dup(fd)) as found:
        return found.family in (socket.AF_INET, socket.AF_INET6)
    return False


def who_started(facts: Facts | OwnFacts) -> Starter:
    """Return who started the process with these facts, from evidence that is meant for it and for nobody else.

    Source: sd_listen_fds(3), systemd.exec(5), inetd(8), launchd.plist(5), supervisord's "Subprocess Environment".
    """
    environment = facts.environment
    if facts.pid == 1:
        return Starter(name="container", reason="it is process 1")
    if environment.get("DAEMONRY_PID") == str(facts.pid):
        return Starter(name="daemonry", reason="DAEMONRY_PID is its number")
    if environment.get("LISTEN_PID") == str(facts.pid):
        return Starter(name="systemd", reason="LISTEN_PID is its number")
    # A parent's number there is no evidence: that may be a shell around the program, and as well a service that starts
    # a daemon, as deployment agents, CI runners, terminals and tmux do.
    if environment.get("SYSTEMD_EXEC_PID") == str(facts.pid):
        return Starter(name="systemd", reason="SYSTEMD_EXEC_PID is its number")
    if facts.parent_name == "systemd" and "INVOCATION_ID" in environment:
        return _started_by_systemd(facts)
    # Linux cuts a process's name to 15 characters.
    supervisor = next((name for name in _SUPERVISORS if facts.parent_name in (name, name[:15])), None)
    if supervisor is not None:
        return Starter(name=supervisor, reason=f"its parent is {supervisor}")
    # Where no parent can be looked at: every descendant has it, also a shell's at a terminal.
    if facts.parent_name == "" and "SUPERVISOR_ENABLED" in environment and not facts.has_terminal:
        return Starter(name="supervisord", reason="SUPERVISOR_ENABLED is set, and it has no terminal")
    if facts.stdin_is_network_socket:
        return Starter(name="inetd", reason="its standard input is a network socket")
    if facts.parent == 1:
        return _started_by_process_1(facts)
    return Starter(name=None, reason="nothing says that somebody keeps it")


def _started_by_systemd(facts: Facts | OwnFacts) -> Starter:
    # Since version 248 it says whom it has executed. Anybody else is an orphan, which a service has left to it.
    if _is_said_to_another(facts):
        return Starter(name=None, reason="its parent is systemd, but SYSTEMD_EXEC_PID is another process's number")
    return Starter(name="systemd", reason="its parent is systemd")


def _is_said_to_another(facts: Facts | OwnFacts) -> bool:
    return facts.environment.get("SYSTEMD_EXEC_PID", str(facts.pid)) != str(facts.pid)


def _started_by_process_1(facts: Facts | OwnFacts) -> Starter:
    if not facts.has_terminal:
        # launchd gives programs that a terminal has started the name 0.
        name = "launchd" if facts.environment.get("XPC_SERVICE_NAME", "0") != "0" else "init"
        return Starter(name=name, reason="its parent is process 1, and it has no terminal")
    # `docker run -it --init`. A shell may be process 1 too, and what it leaves behind, `(prog &)`, becomes its child.
    if facts.parent_name in _CONTAINER_INITS:
        return Starter(name="container", reason=f"its parent is process 1, {facts.parent_name}")
    return Starter(name=None, reason="its parent is process 1, but it has a terminal")


def manager_of(starter: Starter, facts: Facts | OwnFacts) -> Manager | None:
    """Return the manager that waits for word of the process.

    ``None`` where nobody does, and where what it is told of one was meant for an ancestor.
    """
    if not any(facts.environment.get(name) for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC")):
        return None
    # Whoever is a service, as supervisord may be, gives what systemd has told it to all that it starts.
    if starter.name is None or _is_said_to_another(facts):
        return None
    from .notify import manager_at

    return manager_at(facts.environment, facts.pid)
