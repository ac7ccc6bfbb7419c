"""A process between a supervisor and its program, by which the program, and what it has started, ends with the former.

The kernel's own way, PR_SET_PDEATHSIG, is forgotten when a program changes its user, as most servers do; prctl(2). An
end of file is not: it comes however the supervisor ends.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from contextlib import suppress

from .. import libc, process
from ..descriptors import close_all_except
from ..forks import fork
from ..hold import signals_held_off
from ..report import pipe
from ..witness import DYING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import FrameType
    from typing import NoReturn

    Control = Callable[[int, int], object]

_ROUND = 0.05


class Guarded:
    """A program as its supervisor sees it, who is not its parent.

    :param path: its file, and ``words``, its name and arguments.
    :param passed: the descriptors above 2 that it gets.
    :param control: prctl(2), where there is one.
    :raises OSError: when it can't be executed, or no process forked.

    :ivar pid: ``int``, the program's number.
    :ivar fd: ``int``, a descriptor that can be read when :meth:`hear` has something to hear.
    :ivar code: ``int``, how the program has ended, as subprocess.Popen.returncode says it; ``None`` until then.
    """

    def __init__(self, path: str, words: list[str], passed: Sequence[int], control: Control | None) -> None:
        self.code: int | None = None
        self._heard = b""
        orders, reports = pipe(), pipe()
        with signals_held_off():
            self._guard = fork()
            if self._guard == 0:
                _Guard(orders[0], reports[1], control).watch(path, words, passed)
        os.close(orders[0])
        os.close(reports[1])
        self._orders, self.fd = orders[1], reports[0]
        self.pid = self._number_of_program(path)
        found = process.look(self.pid)
        self._born = found.born if found is not None else None

    def _number_of_program(self, path: str) -> int:
        word, number = self._next_report()
        if word == "started":
            return number
        self._let_go()
        if word == "failed" and number:
            raise OSError(number, os.strerror(number), path)
        raise OSError(None, "the process that was to start it failed, or was killed", path)

    def _next_report(self) -> tuple[str, int]:
        while b"\n" not in self._heard and (data := os.read(self.fd, 64)):
            self._heard += data
        line, _, self._heard = self._heard.partition(b"\n")
        word, _, number = line.decode().partition(" ")
        return word, int(number or 0)

    def hear(self) -> None:
        """Hear how the program has ended, when the descriptor can be read."""
        word, number = self._next_report()
        if word == "ended":
            self.code = number
        else:  # somebody has killed the guard, and nobody is there who could be told how the program ends
            self._kill()
            self.code = -signal.SIGKILL
        self._let_go()

    def _kill(self) -> None:
        def is_still_meant() -> bool:
            found = process.look(self.pid)
            return found is None or found.born == self._born

        with suppress(PermissionError):
            process.send_signal(self.pid, signal.SIGKILL, is_still_meant)
        process.wait_for_exit(self.pid, DYING, self._born)

    def signal(self, number: int) -> None:
        """Have a signal sent to the program, which can't be another process then."""
        with suppress(BrokenPipeError):  # it has just ended
            os.write(self._orders, bytes([number]))

    def end(self) -> None:
        """Kill the program and what it has started."""
        if self.code is None:
            self.code = -signal.SIGKILL
            self._let_go()

    def _let_go(self) -> None:
        os.close(self._orders)
        os.close(self.fd)
        os.waitpid(self._guard, 0)


class _Guard:
    """The process between: the program's parent."""

    def __init__(self, orders: int, reports: int, control: Control | None) -> None:
        self._orders = orders
        self._reports = reports
        self._control = control
        self._program = 0

    def watch(self, path: str, words: list[str], passed: Sequence[int]) -> NoReturn:
        """Start the program, and stay until it has ended, or the supervisor has, and it with him."""
        try:
            woken, wakes = self._listen_for_children()
            if self._start(path, words, passed):
                self._let_go(woken, wakes)
                self._stay(woken)
        finally:
            os._exit(0)

    def _listen_for_children(self) -> tuple[int, int]:
        """Return a pipe that can be read when a child has ended; all other signals stay held off."""
        woken, wakes = pipe()
        for fd in (woken, wakes):
            os.set_blocking(fd, False)
        signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _ignore)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGCHLD,))
        if self._control is not None:
            # What the program leaves becomes this process's, so that it is found when the supervisor has ended.
            with suppress(OSError):
                self._control(libc.PR_SET_CHILD_SUBREAPER, 1)
        return woken, wakes

    def _start(self, path: str, words: list[str], passed: Sequence[int]) -> bool:
        try:
            child = subprocess.Popen(
                words,
                executable=path,
                pass_fds=tuple(passed),
                preexec_fn=self._become_program,  # noqa: PLW1509 - there is no other thread
            )
        except (OSError, subprocess.SubprocessError) as error:
            os.write(self._reports, b"failed %d\n" % (getattr(error, "errno", None) or 0))
            return False
        child.returncode = 0  # it is waited for here, with all others
        self._program = child.pid
        os.write(self._reports, b"started %d\n" % child.pid)
        return True

    def _become_program(self) -> None:
        """Run in the program's process, before it is the program."""
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        os.environ["DAEMONRY_PID"] = str(os.getpid())
        if self._control is not None:
            # As long as it doesn't change its user, it ends also with a guard that is killed.
            self._control(libc.PR_SET_PDEATHSIG, signal.SIGKILL)

    def _let_go(self, *pipe_of_signals: int) -> None:
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        for stream in (0, 1, 2):
            os.dup2(null, stream)
        close_all_except((self._orders, self._reports, *pipe_of_signals))

    def _stay(self, woken: int) -> None:
        poll = select.poll()
        poll.register(self._orders, select.POLLIN)
        poll.register(woken, select.POLLIN)
        while True:
            for fd, _ in poll.poll():
                if fd == self._orders:
                    self._obey()
                else:
                    with suppress(BlockingIOError):
                        os.read(woken, 512)
            code = self._reap()
            if code is not None:
                with suppress(BrokenPipeError):
                    os.write(self._reports, b"ended %d\n" % code)
                return

    def _obey(self) -> None:
        numbers = os.read(self._orders, 64)
        if not numbers:
            self._end_all()
        for number in numbers:
            os.kill(self._program, number)  # our own child, which nobody has waited for yet

    def _reap(self) -> int | None:
        """Wait for the children that have ended; return how the program did, if it has."""
        code = None
        with suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                if ended[0] == self._program:
                    code = os.waitstatus_to_exitcode(ended[1])
        return code

    def _end_all(self) -> NoReturn:
        """Kill the program, then what it has left to this process, and so on, until nothing is left."""
        deadline = time.monotonic() + DYING
        children = {self._program}
        while children and time.monotonic() < deadline:
            for child in children:
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(child, signal.SIGKILL)
            process.wait_for_exit(next(iter(children)), _ROUND)
            self._reap()
            children = {each.pid for each in process.children()}
        os._exit(0)


def _ignore(_signum: int, _frame: FrameType | None) -> None:
    """Let the signal wake who waits, and do nothing else."""
