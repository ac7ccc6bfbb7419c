"""Fork, setsid, fork; who waits for whom, and who leaves how.

Three processes take part. The *launcher* waits for reports. Its child, the *witness*, leads the new session and is the
parent of the *daemon*: it alone can say how the daemon ended, and it ends what a failed start has left. When the daemon
is ready the witness leaves, init becomes the daemon's parent, and the launcher exits.
"""

from __future__ import annotations

import os
import select
import signal
import time
from contextlib import contextmanager, suppress

from . import process, report
from .closing import above_two, close
from .forks import fork, give_up_in_children
from .hold import signals_held_off
from .record import Record
from .witness import DYING, GRACE, adopt_orphans, end_session, stay_as_witness

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import FrameType
    from typing import Any


# Seconds that a launcher sleeps at most between two looks at the signals it got.
_ROUND = 1.0


class Outcome(Record):
    """How a start went wrong, for the launcher to raise."""

    step: str
    timeout: float | None
    failed: report.Failed | None
    ended: report.Ended | None
    survivors: tuple[str, ...]
    killed_by: int | None
    """The signal that has killed the witness, so that nobody was left to fork the daemon, or to tell of it."""


class Tie:
    """What ties a daemon to the processes that wait until it is ready."""

    def __init__(self, reporter: report.Reporter, hatch: int, witness: int) -> None:
        self.reporter = reporter
        self.waited_for = True
        self._hatch = report.WritingEnd(hatch)
        self._witness = witness
        give_up_in_children(self)

    @property
    def descriptors(self) -> list[int]:
        """The descriptors that must stay open until the daemon is ready."""
        return [fd for fd in (self.reporter.fd, self._hatch.fd) if fd is not None]

    def release(self) -> None:
        """Let the launcher and the witness go; return when init is the daemon's parent."""
        self.reporter.ready()
        self.waited_for = False
        # The launcher knows that the daemon is up, so nothing of this may end it any more.
        with suppress(OSError):
            self._hatch.write(b"r")
        self.give_up()
        # Its exit and the passing on of its children are one event, but where there are no pidfds only the first half
        # of it can be waited for.
        # Longer than the launcher does, who ends a witness that stays.
        process.wait_for_exit(self._witness, GRACE + 3 * DYING)
        deadline = time.monotonic() + GRACE
        while os.getppid() == self._witness and time.monotonic() < deadline:
            time.sleep(0.001)

    def spare(self) -> list[int]:
        """Answer copies of the descriptors, for a child that will speak for the daemon; see :meth:`resumed`."""
        return [above_two(fd) for fd in self.descriptors]

    def resumed(self, spare: list[int]) -> Tie:
        """Answer the tie in a child, which has given up its own as every child does."""
        return Tie(report.Reporter(spare[0]), spare[1], self._witness)

    def failed(self, failure: report.Failed) -> bool:
        """Tell the launcher what stopped the daemon; answer whether somebody was there to be told."""
        # A start may fail for want of a descriptor, and a module that telling of it takes may have to be read first.
        self._hatch.close()
        return self.reporter.failed(failure)

    def give_up(self) -> None:
        """Close the pipes; called in every process that the daemon forks, so that none keeps the launcher waiting."""
        self.waited_for = False
        self.reporter.give_up()
        self._hatch.close()


def detach(
    timeout: float | None,
    show: Callable[[str], object],
    close_others: Callable[[Iterable[int]], object],
    take_over: Callable[[Tie], object],
    launched: Callable[[], object] = bool,
) -> Outcome | None:
    """Become a daemon's process; answer ``None`` there, or an :class:`Outcome` in the launcher.

    In the launcher of a daemon that gets ready it never returns: what Python would undo at exit now belongs to the
    daemon, so the launcher leaves by ``os._exit(0)``.

    :param timeout: seconds until the daemon must be ready; ``None`` for no limit.
    :param show: called in the launcher with each text of progress.
    :param close_others: closes all descriptors above 2 but the given ones, in the witness.
    :param take_over: called in the daemon with its :class:`Tie` while signals are held off: the first that is
        delivered may raise, and the launcher is to be told of it.
    :param launched: called in the launcher when the daemon is ready, right before it leaves.
    :raises OSError: when the pipes can't be made, or the first process can't be forked.

    Source: daemon(7), SysV daemons, steps 5 to 8, 14 and 15.
    """
    try:
        with _dispositions_for_waiting(), signals_held_off() as mask:
            with _pipes() as pipes:
                witness = fork()
                if witness == 0:
                    take_over(_lead_session(pipes, close_others))
                    return None
                launcher = _Launcher(witness, pipes.take_reports(), timeout, show, launched)
            return launcher.wait(mask)
    except _Ended as end:
        _die_of(end.signum)
        raise


class _Ended(BaseException):
    """A signal in the launcher whose default action would leave a half-started daemon behind."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum


def _die_of(signum: int) -> None:
    """End as the default action of the signal would have ended us, so that our parent sees it."""
    signal.signal(signum, signal.SIG_DFL)
    os.kill(os.getpid(), signum)


_STOPS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def _dispositions_for_waiting() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM end the wait, and keep ended children until they are waited for.

    A launcher that ignores SIGCHLD, or whose handler waits for any child, would lose the witness: its number would be
    free, and with it the process group that is to be ended when the start fails.
    """
    before: dict[int, Any] = {each: signal.getsignal(each) for each in (signal.SIGCHLD, *_STOPS)}

    def end(signum: int, _frame: FrameType | None) -> None:
        # First of all, for a second one must not keep us from ending the start: timeout(1) sends two.
        for each in _STOPS:
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt if before[signum] is signal.default_int_handler else _Ended(signum)

    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for signum in _STOPS:
            if before[signum] is signal.SIG_DFL or before[signum] is signal.default_int_handler:
                signal.signal(signum, end)
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:  # None: a handler from outside Python, which can't be put back
                signal.signal(number, handler)


class _Pipes:
    """The pipe of the reports, from daemon and witness to launcher, and the hatch, from daemon to witness."""

    def __init__(self) -> None:
        self.reports = report.pipe()
        try:
            self.hatch = report.pipe()
        except OSError:
            close(*self.reports)
            raise
        self._kept: set[int] = set()

    def take(self, *ends: int) -> None:
        """Let these ends outlive the pipes: from now on they belong to the caller."""
        self._kept.update(ends)

    def take_reports(self) -> int:
        """Take and answer the launcher's end."""
        self.take(self.reports[0])
        return self.reports[0]

    def close_rest(self) -> None:
        """Close every end that nobody in this process took."""
        close(*({*self.reports, *self.hatch} - self._kept))


@contextmanager
def _pipes() -> Iterator[_Pipes]:
    pipes = _Pipes()
    try:
        yield pipes
    finally:
        pipes.close_rest()


def _lead_session(pipes: _Pipes, close_others: Callable[[Iterable[int]], object]) -> Tie:
    """Lead a session of our own and fork the daemon; return there only."""
    reporter = report.Reporter(pipes.reports[1])
    witness = os.getpid()  # not the daemon's parent, asked for later: somebody may have killed the witness by then
    daemon, adopts = 1, False
    try:
        os.setsid()
        adopts = adopt_orphans()
        daemon = fork()
    except BaseException as error:
        _tell_and_leave(reporter, error)
    if daemon:
        stay_as_witness(daemon, adopts, reporter, pipes.hatch[0], close_others)
    pipes.take(pipes.reports[1], pipes.hatch[1])
    return Tie(reporter, pipes.hatch[1], witness)


def _tell_and_leave(reporter: report.Reporter, error: BaseException) -> None:
    # By os._exit, here and in the witness: this process is a copy of the launcher, and must not run what the launcher
    # has to run at its exit.
    try:
        number = error.errno if isinstance(error, OSError) else None
        message = getattr(error, "strerror", None) or str(error) or type(error).__name__
        reporter.failed(report.Failed(step="detach", message=message, errno=number))
    finally:
        os._exit(1)


class _Launcher:
    """The process that waits until the daemon is ready."""

    def __init__(
        self,
        witness: int,
        reports: int,
        timeout: float | None,
        show: Callable[[str], object],
        launched: Callable[[], object],
    ) -> None:
        self._launched = launched
        self._witness = witness
        self._reports = reports
        self._reader = report.Reader()
        self._timeout = timeout
        self._show = show
        self._step = "detach"
        self._ready = False
        self._failed: report.Failed | None = None
        self._ended: report.Ended | None = None
        self._deadline: float = float("inf") if timeout is None else time.monotonic() + timeout
        self._survivors: tuple[str, ...] = ()

    def wait(self, mask: set[int]) -> Outcome:
        """Wait until the daemon is ready, then leave; return only when it will not be.

        :param mask: the signals that are held off while it listens; around it all are.
        """
        try:
            in_time = self._listen_under(mask)
        except BaseException:
            self._end_start()
            raise
        if self._ready and self._stays_ready():
            self._reap()
            self._launched()
            os._exit(0)
        killed_by = self._signal_of_witness() if in_time and self._ended is None else None
        late = not in_time and self._failed is None
        if not in_time or self._ended is None:
            self._end_start()
        else:
            self._forget()
        return Outcome(
            step=self._step,
            timeout=self._timeout if late else None,
            failed=self._failed,
            ended=self._ended,
            survivors=self._survivors,
            killed_by=killed_by,
        )

    def _stays_ready(self) -> bool:
        """See the witness off; answer false when SIGTERM had it end the start in the moment when that was done."""
        # It leaves when the daemon tells it to. A daemon that could not must not keep the launcher here: it is up.
        if not process.wait_for_exit(self._witness, GRACE + 2 * DYING):
            with suppress(ProcessLookupError):
                os.kill(self._witness, signal.SIGKILL)
        with suppress(OSError):  # what it has said can't be read: that the daemon is ready could
            self._hear_rest()
        if self._ended is not None:
            self._failed = report.Failed(step=self._step, message="ended by SIGTERM in the moment it was ready")
        return self._ended is None

    def _hear_rest(self) -> None:
        poll = select.poll()
        poll.register(self._reports, select.POLLIN)
        while self._ended is None and poll.poll(0) and (data := os.read(self._reports, 65_536)):
            for record in self._reader.feed(data):
                self._hear(record)

    def _signal_of_witness(self) -> int | None:
        """Answer which signal has killed the witness; its pipe is closed a moment before it can be waited for."""
        if not hasattr(os, "waitid") or not process.wait_for_exit(self._witness, _ROUND):
            return None
        try:
            # Left unreaped: its number is still needed.
            ended = os.waitid(os.P_PID, self._witness, os.WEXITED | os.WNOWAIT)
        except OSError:  # another thread waits for any child
            return None
        return ended.si_status if ended is not None and ended.si_code in (os.CLD_KILLED, os.CLD_DUMPED) else None

    def _listen_under(self, mask: set[int]) -> bool:
        everything = signal.valid_signals()
        try:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            return self._listen()
        finally:
            signal.pthread_sigmask(signal.SIG_BLOCK, everything)

    def _end_start(self) -> None:
        """End a start that is given up, with everything that it forked in its session."""
        # Our own child that nobody has waited for yet: the number is surely its own. But another thread may have.
        with suppress(ProcessLookupError):
            os.kill(self._witness, signal.SIGTERM)
        self._deadline = time.monotonic() + GRACE + 2 * DYING
        self._ready = False
        self._show = lambda _text: None  # it may take for ever, and nothing could interrupt it now
        self._listen()
        if self._ended is None:
            # It has left by the hatch in this very moment, or somebody has killed it: its session is still pinned.
            with suppress(ProcessLookupError):
                os.kill(self._witness, signal.SIGKILL)
            self._survivors = end_session(self._witness, tuple, lambda: None)
        self._forget()

    def _forget(self) -> None:
        if self._ended is not None:
            self._survivors += self._ended.survivors
            # It leaves by itself now, and may have something to write before, such as what coverage has measured.
            process.wait_for_exit(self._witness, DYING)
        # Where /proc couldn't be asked for the members of the session, this reaches all but those that left its group.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._witness, signal.SIGKILL)
        self._reap()
        close(self._reports)

    def _reap(self) -> None:
        with suppress(ChildProcessError):  # another thread waits for any child
            os.waitpid(self._witness, 0)

    def _listen(self) -> bool:
        """Hear the reports until the daemon is ready or has ended; answer false at the deadline."""
        poll = select.poll()
        poll.register(self._reports, select.POLLIN)
        while not self._ready and self._ended is None:
            # What was said in time counts, even if this process was stopped, or the machine asleep, until it is late.
            left = max(0.0, self._deadline - time.monotonic())
            # In rounds: a signal that arrives just before the call is noticed by Python at its end only.
            if not poll.poll(min(left, _ROUND) * 1000):
                if left == 0:
                    return False
                continue
            data = os.read(self._reports, 65_536)
            if not data:
                return True
            for record in self._reader.feed(data):
                self._hear(record)
        return True

    def _hear(self, record: Record) -> None:
        if isinstance(record, report.Step):
            self._step = record.name
        elif isinstance(record, report.Progress):
            self._show(record.text)
        elif isinstance(record, report.Ready):
            self._ready = True
        elif isinstance(record, report.Ended):
            self._ended = record
        elif isinstance(record, report.Failed):
            self._failed = record
            # It only has to leave now, and the witness to clean up after it.
            self._deadline = time.monotonic() + 2 * (GRACE + DYING)
