"""Where the process stands among others: its session, its terminal, its parent."""

from __future__ import annotations

import os

from ..system import process
from .finding import Untold, ill, well
from .reading import Subject

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .finding import Answer


def session(subject: Subject) -> Answer:
    """Steps 6 and 7: a session away from any terminal's, which it does not lead."""
    number = subject.process.session
    if subject.numbers[-1] == 1:
        return well("that of process 1")
    if number == 0:
        raise Untold("its session was made outside of this PID namespace")
    if number == subject.pid:
        return _of_leader(subject)
    # The number can't be another process's: it is not given out again while there is a session of that name.
    leader = process.look(number)
    if leader is None and process.exists(number):
        raise Untold(f"process {number}, which leads its session, can't be seen")
    if leader is None or not leader.alive:
        return well(f"session {number}, which nobody leads any more")
    advice = f"call setsid(2) in a child and fork again; if it is a worker of {leader}, examine that"
    return ill(f"session {number}, led by {leader}", advice)


def _of_leader(subject: Subject) -> Answer:
    # A leader gets a controlling terminal by opening one without O_NOCTTY. A service manager makes each service the
    # leader of a session on purpose, to end and tell them apart, and a new-style daemon is not to fork; so there it
    # is no fault of the daemon's.
    fact = f"session {subject.pid}, which it leads"
    try:
        starter = subject.starter(subject.environment)
    except PermissionError:
        starter = subject.starter({})
        if starter.name in _NO_MANAGER:
            advice = "as its user or root one sees whether a service manager has started it, whose services may"
            return None, fact, advice
    if starter.name in _NO_MANAGER:
        return ill(fact, "fork again after setsid(2): a session's leader can get a controlling terminal by open(2)")
    return well(f"{fact}, as services do; started by {starter}")


# init(1) also inherits what nobody keeps.
_NO_MANAGER = (None, "init", "launchd")


def controlling_terminal(subject: Subject) -> Answer:
    """Step 6: none, whose hanging up or Ctrl-C would end it."""
    number = subject.terminal
    if number == 0:
        return well("none")
    # As proc_pid_stat(5) packs them, which is not as os.major() expects.
    major, minor = number >> 8 & 0xFFF, number & 0xFF | number >> 12 & 0xFFF00
    return ill(_terminal_name(major, minor), "call setsid(2) in a child, before the second fork")


def _terminal_name(major: int, minor: int) -> str:
    if 136 <= major <= 143:
        return f"/dev/pts/{(major - 136) * 256 + minor}"
    known = os.path.realpath(f"/sys/dev/char/{major}:{minor}")
    return f"/dev/{os.path.basename(known)}" if os.path.isdir(known) else f"device {major}:{minor}"


def parent(subject: Subject) -> Answer:
    """Steps 8 and 15: init, or another process whose trade it is to wait for daemons."""
    number = subject.process.parent
    if number == 0:
        return well("none in this PID namespace")
    above = process.look(number)
    if above is None:
        raise Untold(f"process {number}, its parent, can't be seen")
    # A subreaper can't be told by /proc: it is known by its name or by its place.
    keeps = number == 1 or above.name in _REAPERS or subject.starter({}).name is not None or _is_init(number)
    if keeps:
        return well(str(above))
    advice = f"fork, and let the parent exit when the daemon is ready; if it is a worker of {above}, examine that"
    return ill(str(above), advice)


# Cut to 15 characters, as the kernel cuts them.
_REAPERS = (
    *("init", "systemd", "launchd", "inetd", "xinetd", "tini", "dumb-init", "docker-init", "catatonit"),
    *("conmon", "containerd-shim"),
)


def _is_init(pid: int) -> bool:
    """Whether it is process 1 of a container."""
    try:
        with Subject.of(pid) as other:
            return other.numbers[-1] == 1
    except (OSError, Untold):
        return False
