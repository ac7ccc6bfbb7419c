"""A process seen from outside: what it is, since when, whether it still lives, and a signal that can't go astray."""

from __future__ import annotations

import os
import time

from . import bare
from .bare import content_of as content_of  # noqa: PLC0414 - others have it from here
from .closing import close
from .record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


# Milliseconds: a day. poll(2) takes no more than a C int of them, and longer waits are made of many.
_LONGEST_POLL = 86_400_000
# Flags of a process; include/linux/sched.h.
_EXITING = 0x04
_FORKED_ONLY = 0x40
_SECOND = 10**9
TICKS = os.sysconf("SC_CLK_TCK")
"""In how many parts the kernel counts a second."""


class Process(Record):
    """What the system says of one process at one moment.

    ``born`` tells it from every other process that has its number before or after, whatever is done to the clock: ticks
    since the system's start where there is a /proc, else seconds.
    """

    pid: int
    name: str
    state: str
    parent: int
    group: int
    session: int
    started: float
    born: int
    threads: int = 1
    exiting: bool = False
    """Whether the kernel is about to end it: it does nothing any more, and is no zombie yet."""

    @property
    def alive(self) -> bool:
        """Whether it still runs: a zombie has ended, only its parent hasn't asked how.

        One whose first thread alone has ended is called a zombie too, and its other threads run on.
        """
        return self.state not in "ZX" or (self.state == "Z" and self.threads > 1)

    @property
    def printable_name(self) -> str:
        """Its name, which is whatever the process says, with nothing in it that could steer a terminal."""
        return self.name if self.name.isprintable() else ascii(self.name)[1:-1]

    def __str__(self) -> str:
        return f"process {self.pid} ({self.printable_name})" if self.name else f"process {self.pid}"


def look(pid: int) -> Process | None:
    """Return what the process ``pid`` is now, or ``None`` when there is none or it can't be seen.

    Source: proc_pid_stat(5) where there is a /proc, else ps(1).
    """
    found = _from_proc(pid)
    return found if found is not None or os.path.exists("/proc/self/stat") else _from_ps(pid)


def birth_of(pid: int) -> int | None:
    """Return what :func:`look` says of the birth of the process ``pid``, or ``None`` when it answers that."""
    try:
        text = content_of(f"/proc/{pid}/stat")
    except OSError:
        found = look(pid)
        return None if found is None else found.born
    return int(text.rpartition(b")")[2].split(None, 20)[19])


def unseen(pid: int) -> Process:
    """Return what is known of a living process of which the system says nothing."""
    return Process(pid=pid, name="", state="R", parent=0, group=0, session=0, started=0.0, born=0)


def exists(pid: int) -> bool:
    """Whether there is a process of this number, be it one that can't be seen (hidepid=, no /proc); kill(2)."""
    if pid <= 0:  # to kill(2) they mean groups of processes
        return False
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (ProcessLookupError, OverflowError):
        return False
    return True


def _from_proc(pid: int) -> Process | None:
    try:
        text = content_of(f"/proc/{pid}/stat").decode("utf-8", "backslashreplace")
    except OSError:  # it has ended, or hidepid= hides it: both mean that it can't be seen
        return None
    # The name may hold spaces and parentheses of its own, so it ends at the last one.
    start, _, rest = text.rpartition(")")
    state, parent, group, session, *others = rest.split()
    ticks, threads = int(others[15]), int(others[13])
    return Process(
        pid=pid,
        name=start.partition("(")[2],
        state=state,
        parent=int(parent),
        group=int(group),
        session=int(session),
        started=(_start_of_system() + ticks) / TICKS,
        born=ticks,
        threads=threads,
        exiting=threads == 1 and bool(int(others[2]) & _EXITING),
    )


def start_of_system() -> float:
    """Return when the system was started, in seconds since the epoch: the same each time, unless the clock is set."""
    return _start_of_system() / TICKS


def _start_of_system() -> int:
    # Not btime of /proc/stat, which is cut to whole seconds: too coarse to tell a process from a file that it has made.
    # The two clocks can't be read at once; of three pairs of readings the closest counts, to some hundred nanoseconds.
    apart = min(_clocks() for _ in range(3))[1]
    return apart * TICKS // _SECOND


def _clocks() -> tuple[int, int]:
    """Return how long reading took, and how far the clocks of the day and of the system are apart, in nanoseconds."""
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    before, now, after = time.clock_gettime_ns(clock), time.time_ns(), time.clock_gettime_ns(clock)
    return after - before, now - (before + after) // 2


def _from_ps(pid: int) -> Process | None:
    try:
        import calendar
        import subprocess
    except ImportError:  # there may be no modules any more inside another root directory, and no ps either
        return None

    # One by one: what is behind an equals sign is a title to the end of the word, says ps(1) of POSIX.
    columns = [word for name in ("stat", "ppid", "pgid", "lstart", "comm") for word in ("-o", f"{name}=")]
    command = ["ps", "-p", str(pid), *columns]
    # In UTC, for our own TZ need not be the system's, and no hour of it comes twice a year.
    environment = {"LC_ALL": "C", "PATH": os.defpath, "TZ": "UTC0"}
    try:
        answer = subprocess.run(
            command, capture_output=True, encoding="utf-8", errors="backslashreplace", env=environment, check=False
        )
        session = os.getsid(pid)
    except OSError:  # no ps in this root directory, or the process has ended
        return None
    words = answer.stdout.split(None, 8)
    if len(words) < 9:
        return None
    started = calendar.timegm(time.strptime(" ".join(words[3:8]), "%a %b %d %H:%M:%S %Y"))
    return Process(
        pid=pid,
        name=os.path.basename(words[8].strip()),
        state=words[0][0],
        parent=int(words[1]),
        group=int(words[2]),
        session=session,
        started=started,
        born=started,
    )


def everything() -> Iterator[Process]:
    """Yield every process that can be seen; none where there is no /proc."""
    for pid in numbers():
        process = look(pid)
        if process is not None:
            yield process


def numbers() -> list[int]:
    """Return the numbers of all processes; none where there is no /proc."""
    try:
        return [int(name) for name in os.listdir("/proc") if name.isdigit()]
    except FileNotFoundError:
        return []


def program_become(pid: int) -> str | None:
    """Return the name of the program that a process has become since it was forked, ``None`` if it is a fork's copy.

    ``None`` as well where that can't be seen. Source: proc_pid_stat(5), ``flags``; PF_FORKNOEXEC in linux/sched.h.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            name, _, rest = file.read().decode("utf-8", "backslashreplace").rpartition(")")
    except OSError:
        return None
    return None if int(rest.split()[6]) & _FORKED_ONLY else name.partition("(")[2]


def send_signal(pid: int, signum: int, still_meant: Callable[[], bool]) -> bool:
    """Send a signal to ``pid`` if ``still_meant()`` once the number can't pass to another process any more.

    Return whether it was sent; a process that has ended is no error.

    :raises PermissionError: when it belongs to somebody else.
    :raises ValueError: when it is no process's number: to kill(2), 0 and below mean groups of them, and -1 all.
    """
    if pid <= 0:
        raise ValueError(f"{pid} is not the number of a process")
    try:
        handle = _open_pidfd(pid)
        if handle is None:
            return _send_by_number(pid, signum, still_meant)
        with handle:
            return _send_by_pidfd(handle.fd, pid, signum, still_meant)
    except ProcessLookupError:
        return False


def _send_by_pidfd(fd: int, pid: int, signum: int, still_meant: Callable[[], bool]) -> bool:
    if not still_meant():
        return False
    try:
        bare.pidfd_send_signal(fd, signum)
    except ProcessLookupError:
        raise
    except OSError:  # somebody else's process, which kill(2) says as well, or a sandbox that forbids this call alone
        return _send_by_number(pid, signum, still_meant)
    return True


def _send_by_number(pid: int, signum: int, still_meant: Callable[[], bool]) -> bool:
    if not still_meant():
        return False
    bare.kill(pid, signum)
    return True


def wait_for_exit(pid: int, timeout: float | None, born: int | None = None) -> bool:
    """Wait until the process ``pid`` has ended; return whether it has.

    Wakes at the exit where the kernel has pidfds. A handler of a signal that raises ends the wait.

    :param timeout: seconds to wait at most; ``None`` for ever.
    :param born: which of all processes that have or had this number is meant; ``None`` for the one that has it now.
    """
    try:
        handle = _open_pidfd(pid)
    except ProcessLookupError:
        return True
    deadline = None if timeout is None else time.monotonic() + timeout
    if handle is None:
        return _watch_for_exit(pid, deadline, born)
    with handle:
        if born is not None and not _is(pid, born):
            return True
        try:
            return _await_exit(handle, deadline)
        except OSError:  # no memory for it: looking now and then takes none
            return _watch_for_exit(pid, deadline, born)


def _await_exit(handle: _Pidfd, deadline: float | None) -> bool:
    poll = bare.poll()
    poll.register(handle.fd, bare.POLLIN)
    while True:
        left = _left(deadline) * 1000
        if poll.poll(min(left, _LONGEST_POLL)):
            return True
        if left <= _LONGEST_POLL:
            return False


def _left(deadline: float | None) -> float:
    return float("inf") if deadline is None else max(0.0, deadline - time.monotonic())


class _Pidfd:
    """A descriptor that stands for one process, whatever becomes of its number; see pidfd_open(2)."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def __enter__(self) -> _Pidfd:
        return self

    def __exit__(self, *_exc_info: object) -> None:
        close(self.fd)


def _open_pidfd(pid: int) -> _Pidfd | None:
    if not (hasattr(os, "pidfd_open") and bare.pidfd_send_signal is not None):
        return None
    try:
        return _Pidfd(os.pidfd_open(pid))
    except ProcessLookupError:
        raise
    except OSError:  # an older kernel, a sandbox that forbids the call, or no descriptor left: do without
        return None


def _is(pid: int, born: int | None) -> bool:
    found = look(pid)
    return found is not None and found.alive and born in (None, found.born)


def _watch_for_exit(pid: int, deadline: float | None, born: int | None) -> bool:
    while _is(pid, born):
        left = _left(deadline)
        if left <= 0:
            return False
        bare.sleep(min(left, 0.02))
    return True
