"""The daemon's parent while it starts: it tells how the daemon ended, and ends what a failed start has left."""

from __future__ import annotations

import os
import time

from ..errors import advice_on, ignored
from ..system import bare, family, process
from ..system.closing import put
from ..system.process import program_become
from . import messages, report
from .report import DYING, FAILING, GRACE, READY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import NoReturn

_ROUND = 0.05


def stay_as_witness(
    daemon: int,
    adopts: bool,
    reporter: report.Reporter,
    hatch: int,
    close_others: Callable[[Iterable[int]], object],
    is_failing: bool,
) -> NoReturn:
    """Stay until the daemon is ready, or has ended and everything of its session with it.

    Called with all signals held off, and they stay so but for the two that it waits for: the terminal's signals, and
    those that end the daemon's process group, are not meant for it.

    :param adopts: whether this process is the parent of orphans.
    :param is_failing: whether the daemon has said already that it fails.
    """
    status = 1
    try:
        status = _Witness(daemon, adopts, reporter, hatch, is_failing).watch(close_others)
    except BaseException as error:
        reporter.failed(_failure_of(error))
    finally:
        os._exit(status)


def _failure_of(error: BaseException) -> messages.Failed:
    if not isinstance(error, OSError):
        return messages.Failed(step="detach", message=f"the daemon's witness failed: {error!r}")
    message = f"the daemon's witness failed: {error.strerror}{advice_on(error)}"
    return messages.Failed(step="detach", message=message, errno=error.errno)


class _Witness:
    def __init__(self, daemon: int, adopts: bool, reporter: report.Reporter, hatch: int, is_failing: bool) -> None:
        self._daemon = daemon
        self._adopts = adopts
        self._reporter = reporter
        self._hatch = hatch
        self._wait_status: int | None = None
        self._asked_to_end = False
        # While it says why, nobody else may write into its pipe: what it says may be longer than what goes in at once.
        self._is_failing = is_failing

    def watch(self, close_others: Callable[[Iterable[int]], object]) -> int:
        """Wait for the first of three things: the daemon is ready, it has ended, or the launcher gives it up."""
        if not self._is_failing:
            self._let_go(close_others)
        poll = bare.poll()
        poll.register(self._hatch, bare.POLLIN)
        poll.register(self._listen_for_signals(), bare.POLLIN)
        self._reap()
        while self._wait_status is None and not self._asked_to_end:
            for fd, _ in poll.poll():
                if fd != self._hatch:
                    self._asked_to_end |= bare.SIGTERM in bare.read(fd, 512)
                elif self._is_ready() or not (self._is_failing or self._is_missed()):
                    return 0
                else:
                    poll.unregister(fd)
            self._reap()
        # Ready first: a daemon may end in its body's first line, and one that is up is nobody's to end.
        if self._has_been_told():
            return 0
        self._end_start()
        return 1

    def _has_been_told(self) -> bool:
        """Whether the daemon has said that it is ready."""
        poll = bare.poll()
        poll.register(self._hatch, bare.POLLIN)
        # An end of file stays to be read once more.
        return bool(poll.poll(0)) and self._is_ready()

    def _is_ready(self) -> bool:
        """Read from the hatch; return whether it says that the daemon is ready, and note if it says that it fails."""
        word = bare.read(self._hatch, 1)
        self._is_failing = self._is_failing or word == FAILING
        return word == READY

    def _is_missed(self) -> bool:
        """Tell the launcher that a daemon which has not ended yet can't say any more that it is ready.

        It may be about to end: of one that has not become another program the launcher waits for that. Return whether
        this process is needed any more: for a launcher, or for an end that may leave something behind.
        """
        self._reap()
        if self._wait_status is not None:
            return True
        became = program_become(self._daemon)
        return self._reporter.cut(messages.Cut(became=became)) or became is None

    def _let_go(self, close_others: Callable[[Iterable[int]], object]) -> None:
        # A pipeline, `prog | tee log`, must end with the launcher.
        null = bare.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            put(null, stream, inheritable=True)
        close_others((self._reporter.fd or 0, self._hatch))

    def _listen_for_signals(self) -> int:
        """Return a descriptor from which the numbers of the signals that arrive can be read.

        A wake-up descriptor, not a pidfd of the daemon: SIGTERM must wake us too, and it works everywhere.
        """
        reading, writing = report.pipe()
        bare.set_blocking(writing, False)
        bare.set_wakeup_fd(writing, warn_on_full_buffer=False)
        for signum in (bare.SIGCHLD, bare.SIGTERM):
            bare.signal(signum, lambda *_: None)
        bare.pthread_sigmask(bare.SIG_UNBLOCK, (bare.SIGCHLD, bare.SIGTERM))
        return reading

    def _reap(self) -> None:
        with ignored(OSError):  # nobody is left, or a sandbox forbids it: then the end of the pipe tells
            while (ended := bare.waitpid(-1, os.WNOHANG))[0]:
                if ended[0] == self._daemon:
                    self._wait_status = ended[1]

    def _has_children(self) -> bool:
        try:
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return False
        return True

    def _end_start(self) -> None:
        # Whatever came of the daemon is below us then, in whichever session: nobody's left, and a start that is refused
        # need not look through all processes of the machine, least of all when it is one of a thousand.
        if self._adopts and not self._has_children():
            self._reporter.ended(_ended(self._wait_status, ()))
            return

        def children() -> Iterable[int]:
            return (self._daemon,) if self._wait_status is None else ()

        own = bare.getpid()
        survivors = end_session(own, children, self._reap)
        strays = [f"{stray}, which left the daemon's session" for stray in family.children() if stray.session != own]
        self._reporter.ended(_ended(self._wait_status, (*survivors, *strays)))


def _ended(wait_status: int | None, survivors: tuple[str, ...]) -> messages.Ended:
    if wait_status is None:
        return messages.Ended(survivors=survivors)
    if os.WIFSIGNALED(wait_status):
        return messages.Ended(signum=os.WTERMSIG(wait_status), survivors=survivors)
    return messages.Ended(status=os.WEXITSTATUS(wait_status), survivors=survivors)


def end_session(session: int, children: Callable[[], Iterable[int]], reap: Callable[[], object]) -> tuple[str, ...]:
    """End all processes of a session but the caller: SIGTERM, :data:`GRACE` seconds, SIGKILL.

    :param session: its number, which must be pinned by a process that has not been waited for.
    :param children: returns the caller's own children that still live, for where nobody can be asked for the members.
    :param reap: called between, to wait for children that have ended.

    Return what still lives, as text.
    """
    for signum, patience in ((bare.SIGTERM, GRACE), (bare.SIGKILL, DYING)):
        deadline = time.monotonic() + patience
        told: set[int] = set()
        while (left := _members(session, children)) and time.monotonic() < deadline:
            for pid in left - told:
                _tell(pid, signum, session)
            told |= left
            process.wait_for_exit(next(iter(left)), _ROUND)
            reap()
        reap()
    return tuple(_description(pid) for pid in sorted(_members(session, children)))


def _members(session: int, children: Callable[[], Iterable[int]]) -> set[int]:
    return ({member.pid for member in family.in_session(session)} | set(children())) - {bare.getpid()}


def _tell(pid: int, signum: int, session: int) -> None:
    def still_there() -> bool:
        found = process.look(pid)
        return found is None or found.session == session

    # A member that has become another user's process can't be signalled by one that isn't root: it stays in the list of
    # those that are left.
    with ignored(PermissionError):
        process.send_signal(pid, signum, still_there)


def _description(pid: int) -> str:
    found = process.look(pid)
    if found is None:
        return f"process {pid}"
    return f"{found}, in uninterruptible sleep" if found.state == "D" else str(found)
