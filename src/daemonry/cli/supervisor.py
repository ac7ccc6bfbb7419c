"""A daemon that keeps a program running: it starts it again, passes signals on, and has its logs written."""

from __future__ import annotations

import os
import selectors
import signal
import sys
import time
from collections import deque
from contextlib import suppress

from ..control.schedule import number_of
from ..launch.report import pipe
from ..steps.signals import name_of
from ..system import libc
from ..system.closing import close, put
from ..system.expected import expects
from ..system.record import Record
from . import hints, history, mark
from .guard import STOPS, Guarded
from .homes import history_beside
from .program import ProgramContext
from .scribe import Scribe
from .stamps import AsWritten
from .statuses import INTERRUPTED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any

    from .program import Readiness

LONGEST_PAUSE = 60.0
_PASSED_ON = ("TERM", "INT", "QUIT", "HUP", "USR1", "USR2", "WINCH", "CONT")


class Policy(Record):
    """When a program is started again: ``on_failure`` only, or whenever it ends.

    :ivar pause: ``float``, seconds before the first time, doubled each time up to :data:`LONGEST_PAUSE`.
    :ivar most: ``int``, how often within ``window`` seconds, before it is given up.
    """

    on_failure: bool
    pause: float
    most: int
    window: float


class Pace:
    """Keeps the pauses, and says when it is enough."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._times: deque[float] = deque()
        self._pause = policy.pause

    def next_pause(self, now: float, ran: float) -> float | None:
        """Return how long to wait before the program is started again, ``None`` to give it up.

        :param now: seconds of a clock that only goes forward.
        :param ran: how many seconds it has run this time; after a whole window the pauses begin anew.
        """
        if ran >= self._policy.window:
            self._pause = self._policy.pause
        while self._times and self._times[0] <= now - self._policy.window:
            self._times.popleft()
        if len(self._times) >= self._policy.most:
            return None
        self._times.append(now)
        pause = self._pause
        self._pause = min(max(pause * 2, self._policy.pause), max(LONGEST_PAUSE, self._policy.pause))
        return pause


class Supervisor(ProgramContext):
    """Keeps the program running in the body of its with-block.

    :param form: what becomes of the lines of its logs.
    """

    def __init__(
        self,
        path: str,
        words: list[str],
        readiness: Readiness,
        policy: Policy,
        form: type[AsWritten] = AsWritten,
        **options: Any,
    ) -> None:
        super().__init__(path, words, readiness, **options)
        self.policy = policy
        self.form = form
        # Asked for now: it can't be found any more inside another root directory.
        self.control_process = libc.prctl()
        self.history = history.History()

    def lock_pidfile(self) -> None:
        """Enter the pidfile, and begin the history beside it; its user may not write there any more later."""
        super().lock_pidfile()
        path = getattr(self.pidfile, "path", None)
        if path is not None:
            self.history.open(history_beside(path))

    def detach(self) -> None:
        """Become a daemon's process, and nobody else's, as one does that becomes another program."""
        mark.disown()
        super().detach()

    def keep(self) -> int:
        """Keep the program running until it is to end; return the exit status.

        :raises OSError: when it can't be executed the first time.
        """
        with _Watch(self) as watch:
            self._start_first(watch)
            self._wait_until_up(watch)
            pace = Pace(self.policy)
            while True:
                watch.until_ended()
                pause = self._pause(watch, pace)
                if pause is None or watch.idle(pause):
                    return watch.status
                watch.start_again()

    def _start_first(self, watch: _Watch) -> None:
        try:
            watch.start()
        except OSError as error:
            hint = hints.on_execution(self.path, error.errno)
            raise OSError(error.errno, f"cannot execute {self.path}: {error.strerror}{hint}") from error

    def _wait_until_up(self, watch: _Watch) -> None:
        assert watch.child is not None
        tick = self.progress if self.ticks else bool
        if not self.readiness.wait(watch.child.pid, watch.has_ended, self.progress, tick):
            watch.until_ended()
            # Whoever looks on has stopped it, and knows.
            sys.exit(INTERRUPTED if self._opening.tie is None and watch.stopping else f"the program {watch.ending}")
        if self.started:
            self.progress(self.started.format(pid=os.getpid()))
        self.history.note(stage=history.UP)
        self.ready()

    def _pause(self, watch: _Watch, pace: Pace) -> float | None:
        if watch.stopping or (self.policy.on_failure and watch.status == 0):
            return None
        pause = pace.next_pause(time.monotonic(), watch.ran)
        if pause is None:
            rate = f"{self.policy.most} times in {self.policy.window:g} s"
            watch.scribe.tell(f"{self.words[0]} {watch.ending}; given up, for it was started again {rate}")
            watch.status = watch.status or 1
            self.history.note(stage=history.GIVEN_UP)
        else:
            watch.scribe.tell(f"{self.words[0]} {watch.ending}; it starts again in {pause:g} s")
        return pause


class _Watch:
    """One program after the other, and the signals that come meanwhile.

    A selector and a wake-up descriptor, not threads: nothing here may be lost between two of them, and a process with
    threads is not to fork. What could hold it up, reading and writing, is another process's.
    """

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._selector = selectors.DefaultSelector()
        self._outputs: dict[int, int] = {}
        self.child: Guarded | None = None
        self.status = 0
        self.ending = ""
        self.ran = 0.0
        self.stopping = False
        self._started = 0.0

    def __enter__(self) -> _Watch:
        if self._supervisor.control_process is not None:
            # What a guard leaves that is killed is found below this process.
            with suppress(OSError):
                self._supervisor.control_process(libc.PR_SET_CHILD_SUBREAPER, 1)
        self._listen_to_signals()
        ends = self._open_pipes()
        self.scribe = Scribe(self._outputs, ends, self._supervisor.reopen_streams, self._supervisor.form)
        # From here on the streams of this process, and of the program, lead to the one that writes.
        for stream, end in ends.items():
            put(end, stream, inheritable=True)
        close(*set(ends.values()))
        self._supervisor.readiness.prepare(os.environ)
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self.child is not None:
            self.child.end()
        if exc_info[0] is None:
            self._supervisor.history.note_over()
        signal.set_wakeup_fd(-1)
        self.scribe.end()
        self._selector.close()
        close(*self._outputs, self._woken, self._wakes)

    def _listen_to_signals(self) -> None:
        self._woken, self._wakes = pipe()
        for fd in (self._woken, self._wakes):
            os.set_blocking(fd, False)
        signal.set_wakeup_fd(self._wakes, warn_on_full_buffer=False)
        self._selector.register(self._woken, selectors.EVENT_READ)
        for name in ("CHLD", *_PASSED_ON):
            with suppress(ValueError):  # not a signal of this system
                signal.signal(number_of(name), _ignore)

    def _open_pipes(self) -> dict[int, int]:
        """Open a pipe for each file; return the ends that are written, by stream."""
        # A log that somebody else writes can be reopened while the program runs; one that the program holds can't.
        ends: dict[int, int] = {}
        pipes: dict[Any, int] = {}
        for stream, path in ((1, self._supervisor.stdout), (2, self._supervisor.stderr)):
            if path is not None:
                ends[stream] = pipes[path] if path in pipes else self._open_pipe(stream)
                pipes[path] = ends[stream]
        return ends

    def _open_pipe(self, stream: int) -> int:
        reading, writing = pipe()
        os.set_blocking(reading, False)
        self._outputs[reading] = stream
        return writing

    def start(self) -> None:
        """Start the program."""
        supervisor = self._supervisor
        self.child = Guarded(
            supervisor.path,
            supervisor.words,
            tuple(supervisor.files_preserve or ()),
            supervisor.control_process,
            {} if supervisor.mark is None else {mark.VARIABLE: supervisor.mark},
            lambda: self.scribe.pid,
        )
        self._selector.register(self.child.fd, selectors.EVENT_READ)
        self._started = time.monotonic()
        supervisor.history.note_start(self.child.pid)

    def start_again(self) -> None:
        """Start the program as before; that it can't be executed for the moment counts as an end of it."""
        try:
            self.start()
        except OSError as error:  # an upgrade puts another in its place
            self.child = None
            self.status, self.ran = 1, 0.0
            self.ending = f"cannot be executed: {error.strerror}"
            self._supervisor.history.note_end(self.ending)

    def has_ended(self, seconds: float) -> bool:
        """Serve for some time; return whether the program has ended."""
        deadline = time.monotonic() + seconds
        assert self.child is not None
        while self.child.code is None and (left := deadline - time.monotonic()) > 0:
            self._serve(left)
        return self.child.code is not None

    def until_ended(self) -> None:
        """Serve until the program has ended."""
        if self.child is None:
            return
        while self.child.code is None:
            self._serve(None)
        self._hear_signals()  # Ctrl-C is for both, and the program may have been quicker to end of it
        self.ran = time.monotonic() - self._started
        code = self.child.code
        self.status = code if code >= 0 else 128 - code
        ending = f"exited with status {code}" if code >= 0 else f"was killed by {name_of(-code)}"
        self._supervisor.history.note_end(ending)
        self.ending = ending + self.child.left
        if self.stopping:
            self.status = 0

    def idle(self, seconds: float) -> bool:
        """Serve for some time, or until the end is asked for; return whether it was."""
        deadline = time.monotonic() + seconds
        while not self.stopping and (left := deadline - time.monotonic()) > 0:
            self._serve(left)
        if self.stopping:
            self.status = 0
        return self.stopping

    def _serve(self, timeout: float | None) -> None:
        for key, _ in self._selector.select(timeout):
            if key.fd == self._woken:
                self._hear_signals()
            elif self.child is not None:
                self._selector.unregister(key.fd)
                self.child.hear()

    def _hear_signals(self) -> None:
        with suppress(BlockingIOError):
            for number in os.read(self._woken, 512):
                self._hear(number)

    def _hear(self, number: int) -> None:
        if number in STOPS:
            self.stopping = True
        if number == signal.SIGHUP:
            self.scribe.reopen()
        if number == signal.SIGCHLD:
            self.scribe.go_on()
        elif self.child is not None and self.child.code is None:
            self._pass_on(number, self.child)

    @staticmethod
    def _pass_on(number: int, child: Guarded) -> None:
        # SIGHUP ends a program that doesn't expect it; a rotation of the logs must not.
        if number != signal.SIGHUP or expects(child.pid, number):
            child.signal(number)


def _ignore(_signum: int, _frame: FrameType | None) -> None:
    """Let the signal wake the selector, and do nothing else."""
