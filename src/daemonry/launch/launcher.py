"""The process that waits until the daemon is ready, and says what has become of the start."""

from __future__ import annotations

import os
import time

from ..errors import ignored
from ..system import bare
from ..system.closing import close
from ..system.record import Record
from ..system.undisturbed import EVERY_SIGNAL
from . import messages
from .report import DYING, GRACE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import Any


# Seconds that a launcher sleeps at most between two looks at the signals it got.
_ROUND = 1.0
# Seconds after which a launcher says what it waits for.
PATIENCE = 5.0
# Seconds in which the pipe tells of the witness's end, as a rule.
_SOON = 0.1


class Outcome(Record):
    """How a start went wrong, for the launcher to raise."""

    step: str
    timeout: float | None
    failed: messages.Failed | None
    ended: messages.Ended | None
    survivors: tuple[str, ...]
    killed_by: int | None
    """The signal that has killed the witness, so that nobody was left to fork the daemon, or to tell of it."""
    cut: messages.Cut | None = None


class Killed(BaseException):
    """A signal in the launcher whose default action would leave a half-started daemon behind."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum

    def die_of_it(self) -> None:
        """End as the default action of the signal would have ended us, so that our parent sees it."""
        bare.signal(self.signum, bare.SIG_DFL)
        bare.kill(bare.getpid(), self.signum)


_STOPS = (bare.SIGINT, bare.SIGTERM)


class _stops_end_the_wait:
    """Let Ctrl-C and SIGTERM end the wait, where they would end the process."""

    def __enter__(self) -> None:
        self._before: dict[int, Any] = {each: bare.getsignal(each) for each in _STOPS}
        for signum in _STOPS:
            if self._before[signum] in (bare.SIG_DFL, bare.default_int_handler):
                bare.signal(signum, self._end)

    def _end(self, signum: int, _frame: FrameType | None) -> None:
        # First of all, for a second one must not keep us from ending the start: timeout(1) sends two.
        for each in _STOPS:
            bare.signal(each, bare.SIG_IGN)
        raise KeyboardInterrupt if self._before[signum] is bare.default_int_handler else Killed(signum)

    def __exit__(self, *_exc_info: object) -> None:
        _put_back(self._before)


def _put_back(handlers: dict[int, Any]) -> None:
    for number, handler in handlers.items():
        if handler is not None:  # None: a handler from outside Python, which can't be put back
            bare.signal(number, handler)


class Launcher:
    """What the launcher knows of a start, and does until it is over."""

    def __init__(
        self,
        witness: int,
        reports: int,
        said: bytes,
        timeout: float | None,
        show: Callable[[str], object],
        launched: Callable[[], object],
        remind: Callable[[str], object],
    ) -> None:
        self._launched = launched
        self._remind = remind
        self._reminds_at = time.monotonic() + PATIENCE
        self._witness = witness
        self._reports = reports
        self._said = said
        self._reader = messages.Reader()
        self._timeout = timeout
        self._show = show
        self._step = "detach"
        self._ready = self._heard_all = False
        self._failed: messages.Failed | None = None
        self._ended: messages.Ended | None = None
        self._cut: messages.Cut | None = None
        self._deadline: float = float("inf") if timeout is None else time.monotonic() + timeout
        self._survivors: tuple[str, ...] = ()

    def wait(self, mask: set[int]) -> Outcome:
        """Wait until the daemon is ready, then leave; return only when it will not be.

        :param mask: the signals that are held off while it listens; around it all are.
        """
        try:
            with _stops_end_the_wait():
                in_time = self._listen_under(mask)
        except BaseException as error:
            self._end_start()
            if isinstance(error, Killed):
                error.die_of_it()  # as soon as the signals are no longer held off
            raise
        if self._ready and self._stays_ready():
            self._reap()
            self._launched()
            os._exit(0)
        late = not in_time and self._failed is None and self._cut is None
        killed_by = self._signal_of_witness() if in_time and self._ended is None else None
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
            cut=None if in_time else self._cut,
        )

    def _stays_ready(self) -> bool:
        """See the witness off; return false when SIGTERM had it end the start in the moment when that was done."""
        # It leaves when the daemon tells it to. A daemon that could not must not keep the launcher here: it is up.
        if not self._is_gone(0 if self._cut else GRACE + 2 * DYING):
            with ignored(ProcessLookupError):
                bare.kill(self._witness, bare.SIGKILL)
        with ignored(OSError):  # what it has said can't be read: that the daemon is ready could
            self._hear_rest()
        if self._ended is not None:
            self._failed = messages.Failed(step=self._step, message="ended by SIGTERM in the moment it was ready")
        return self._ended is None

    def _is_gone(self, patience: float) -> bool:
        """Wait until the witness has ended: the pipe tells it, unless a process of the program's still has that."""
        with ignored(OSError):  # it can't be waited for so; that the daemon is ready has been said
            if self._heard_all or self._await_end(min(patience, _SOON)):
                return True
        from ..system import process

        return process.wait_for_exit(self._witness, patience)

    def _hear_rest(self) -> None:
        while self._ended is None and self._has_news(0):
            self._hear_some()

    def _signal_of_witness(self) -> int | None:
        """Return which signal has killed the witness; its pipe is closed a moment before it can be waited for."""
        from ..system import process

        if not hasattr(os, "waitid") or not process.wait_for_exit(self._witness, _ROUND):
            return None
        try:
            # Left unreaped: its number is still needed.
            ended = os.waitid(os.P_PID, self._witness, os.WEXITED | os.WNOWAIT)
        except OSError:  # another thread waits for any child
            return None
        return ended.si_status if ended is not None and ended.si_code in (os.CLD_KILLED, os.CLD_DUMPED) else None

    def _listen_under(self, mask: set[int]) -> bool:
        try:
            bare.pthread_sigmask(bare.SIG_SETMASK, mask)
            self._hear_each(self._said)
            return self._listen()
        finally:
            bare.pthread_sigmask(bare.SIG_BLOCK, EVERY_SIGNAL)

    def _end_start(self) -> None:
        """End a start that is given up, with everything that it forked in its session."""
        # Our own child that nobody has waited for yet: the number is surely its own. But another thread may have.
        with ignored(ProcessLookupError):
            bare.kill(self._witness, bare.SIGTERM)
            bare.kill(self._witness, bare.SIGCONT)  # somebody may have stopped it
        self._deadline = time.monotonic() + GRACE + 2 * DYING
        self._ready = False
        # These may take for ever, and nothing could interrupt them now.
        self._show, self._reminds_at = lambda _text: None, float("inf")
        with ignored(OSError):  # a sandbox that forbids to wait: nobody is heard then
            self._listen()
        if self._ended is None:
            # It has left by the hatch in this very moment, or somebody has killed it: its session is still pinned.
            with ignored(ProcessLookupError):
                bare.kill(self._witness, bare.SIGKILL)
            from .witness import end_session

            self._survivors = end_session(self._witness, tuple, lambda: None)
        self._forget()

    def _forget(self) -> None:
        if self._ended is not None:
            self._survivors += self._ended.survivors
            from ..system import process

            # It leaves by itself now, and may have something to write before, such as what coverage has measured.
            process.wait_for_exit(self._witness, DYING)
        # Where /proc couldn't be asked for the members of the session, this reaches all but those that left its group.
        with ignored(ProcessLookupError, PermissionError):
            bare.killpg(self._witness, bare.SIGKILL)
        self._reap()
        close(self._reports)

    def _reap(self) -> None:
        with ignored(OSError):  # another thread waits for any child, or a sandbox forbids it
            bare.waitpid(self._witness, 0)

    def _await_end(self, seconds: float) -> bool:
        """Wait until nobody is left who could report, and return whether; what they say meanwhile waits in the pipe."""
        poll = bare.poll()
        poll.register(self._reports, 0)
        return bool(poll.poll(min(seconds, max(0.0, self._deadline - time.monotonic())) * 1000))

    def _listen(self) -> bool:
        """Hear the reports until the daemon is ready or has ended; return false at the deadline."""
        while not (self._ready or self._ended or self._heard_all):
            # What was said in time counts, even if this process was stopped, or the machine asleep, until it is late.
            left = max(0.0, self._deadline - time.monotonic())
            # In rounds: a signal that arrives just before the call is noticed by Python at its end only.
            if self._has_news(min(left, _ROUND)):
                self._hear_some()
            elif left == 0:
                return False
            elif time.monotonic() > self._reminds_at:
                self._reminds_at = float("inf")
                self._remind(self._step)
        return True

    def _has_news(self, seconds: float) -> bool:
        if self._heard_all:
            return False
        poll = bare.poll()
        poll.register(self._reports, bare.POLLIN)
        return bool(poll.poll(seconds * 1000))

    def _hear_some(self) -> None:
        data = bare.read(self._reports, 65_536)
        self._heard_all = not data
        self._hear_each(data)

    def _hear_each(self, data: bytes) -> None:
        for record in self._reader.feed(data):
            self._hear(record)

    def _hear(self, record: Record) -> None:
        if isinstance(record, messages.Step):
            self._step = record.name
        elif isinstance(record, messages.Progress):
            self._show(record.text)
        elif isinstance(record, messages.Ready):
            self._ready = True
        elif isinstance(record, messages.Ended):
            self._ended = record
        elif isinstance(record, messages.Failed):
            self._failed = record
            # It only has to leave now, and the witness to clean up after it.
            self._deadline = time.monotonic() + 2 * (GRACE + DYING)
        elif isinstance(record, messages.Cut):
            self._hear_of_cut(record)

    def _hear_of_cut(self, cut: messages.Cut) -> None:
        self._cut = cut
        # One that has closed the pipe may be on its way to its end; another program isn't.
        self._deadline = min(self._deadline, time.monotonic() + (0 if cut.became else GRACE + DYING))
