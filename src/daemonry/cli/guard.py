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

from ..control.schedule import number_of
from ..control.stopping import deliver, go_on
from ..launch.report import DYING, GRACE, pipe
from ..steps.descriptors import close_all_except
from ..system import family, libc, process
from ..system.forks import fork
from ..system.undisturbed import signals_held_off

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from types import FrameType
    from typing import NoReturn

    from ..system.process import Process

    Control = Callable[[int, int], object]

# The signals by which the program, and all that belongs to it, is to end.
STOPS = tuple(map(number_of, ("TERM", "INT", "QUIT")))
_ROUND, _LOOK = 0.05, 0.2  # seconds
_MOST_NAMED = 5


class Guarded:
    """A program as its supervisor sees it, who is not its parent.

    :param path: its file, and ``words``, its name and arguments.
    :param passed: the descriptors above 2 that it gets.
    :param control: prctl(2), where there is one.
    :param variables: what is set in its environment.
    :param beside: returns which child of the supervisor's is no program's.
    :raises OSError: when it can't be executed, or no process forked.

    :ivar pid: ``int``, the program's number.
    :ivar fd: ``int``, a descriptor that can be read when :meth:`hear` has something to hear.
    :ivar code: ``int``, how the program has ended, as subprocess.Popen.returncode says it; ``None`` until then.
    :ivar left: ``str``, a clause that says what it had left, ``""`` for nothing.
    """

    def __init__(
        self,
        path: str,
        words: list[str],
        passed: Sequence[int],
        control: Control | None,
        variables: Mapping[str, str],
        beside: Callable[[], int],
    ) -> None:
        self.code: int | None = None
        self.left = ""
        self._beside = beside
        self._heard = b""
        orders, reports = pipe(), pipe()
        with signals_held_off():
            self._guard = fork()
            if self._guard == 0:
                _Guard(orders[0], reports[1], control, variables).watch(path, words, passed)
        os.close(orders[0])
        os.close(reports[1])
        self._orders, self.fd = orders[1], reports[0]
        self.pid = self._number_of_program(path)
        found = process.look(self.pid)
        self._born = found.born if found is not None else None

    def _number_of_program(self, path: str) -> int:
        word, number, _ = self._next_report()
        if word == "started":
            return number
        self._let_go()
        if word == "failed" and number:
            raise OSError(number, os.strerror(number), path)
        raise OSError(None, "the process that was to start it failed, or was killed", path)

    def _next_report(self) -> tuple[str, int, str]:
        while b"\n" not in self._heard and (data := os.read(self.fd, 512)):
            self._heard += data
        line, _, self._heard = self._heard.partition(b"\n")
        word, _, rest = line.decode("utf-8", "replace").partition(" ")
        number, _, text = rest.partition(" ")
        return word, int(number or 0), text

    def hear(self) -> None:
        """Hear how the program has ended, when the descriptor can be read."""
        word, number, text = self._next_report()
        if word == "ended":
            self.code, self.left = number, text
            self._let_go()
        else:  # somebody has killed the guard, and nobody is there who could be told how the program ends
            self._let_go()
            self._kill()
            self.code = -signal.SIGKILL

    def _kill(self) -> None:
        """Kill the program, and what the guard has left to this process."""

        def is_still_meant() -> bool:
            found = process.look(self.pid)
            return found is None or found.born == self._born

        with suppress(PermissionError):
            process.send_signal(self.pid, signal.SIGKILL, is_still_meant)
        process.wait_for_exit(self.pid, DYING, self._born)
        self.left = _told_of((), _end_children(self._beside))

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
    """The process between: the program's parent, and that of all that it, and what it has started, leaves.

    So it needn't look for what belongs to the program: when it has no children left, nothing does.
    """

    def __init__(self, orders: int, reports: int, control: Control | None, variables: Mapping[str, str]) -> None:
        self._orders = orders
        self._reports = reports
        self._control = control
        self._variables = variables
        self._program = 0
        self._code: int | None = None
        self._spread: _Spread | None = None

    def watch(self, path: str, words: list[str], passed: Sequence[int]) -> NoReturn:
        """Start the program, and stay until it has ended, or the supervisor has, and it with that."""
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
        os.environ.update(self._variables, DAEMONRY_PID=str(os.getpid()))
        if self._control is not None:
            # As long as it doesn't change its user, it ends also with a guard that is killed.
            self._control(libc.PR_SET_PDEATHSIG, signal.SIGKILL)

    def _let_go(self, woken: int, wakes: int) -> None:
        for stream in (0, 1, 2):
            os.dup2(woken, stream)  # which takes nothing; inside another root there need be no /dev/null
        close_all_except((self._orders, self._reports, woken, wakes))

    def _stay(self, woken: int) -> None:
        poll = select.poll()
        poll.register(self._orders, select.POLLIN)
        poll.register(woken, select.POLLIN)
        ending = None
        while self._reap() and not (ending is not None and ending.is_over):
            if self._code is not None:
                ending = ending or _Ending(self._spread)
                self._hear(poll.poll(ending.go_on()), woken)
            else:
                self._hear(poll.poll(), woken)
        left = "" if ending is None else ending.told()
        with suppress(BrokenPipeError):
            os.write(self._reports, f"ended {self._code} {left}\n".encode())

    def _hear(self, ready: list[tuple[int, int]], woken: int) -> None:
        for fd, _ in ready:
            if fd == self._orders:
                self._obey()
            else:
                with suppress(BlockingIOError):
                    os.read(woken, 512)

    def _obey(self) -> None:
        numbers = os.read(self._orders, 64)
        if not numbers:
            self._end_all()
        for number in numbers:
            self._send(number)
            if number in STOPS:
                self._spread = _Spread(number)
                self._spread.reach_all_beside(self._program)

    def _send(self, number: int) -> None:
        # Our own child, which nobody has waited for yet; it may have become another user's.
        with suppress(PermissionError):
            if self._code is None:
                os.kill(self._program, number)
                if number in STOPS:
                    go_on(process.look(self._program))

    def _end_all(self) -> NoReturn:
        self._send(signal.SIGKILL)
        _end_children()
        os._exit(0)

    def _reap(self) -> bool:
        """Wait for the children that have ended, and note how the program did; return whether any are left."""
        try:
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                if ended[0] == self._program:
                    self._code = os.waitstatus_to_exitcode(ended[1])
        except ChildProcessError:
            return False
        return True


class _Spread:
    """One signal for all that is below this process, once each."""

    def __init__(self, signum: int) -> None:
        self._signum = signum
        self._reached: set[tuple[int, int]] = set()

    def reach_all_beside(self, program: int) -> None:
        """Send it to all but the program, which has it."""
        # Most programs are alone, which is told sooner than who else there is.
        is_alone = family.numbers_of_children(os.getpid()) == [program] and family.numbers_of_children(program) == []
        if not is_alone:
            self._reach([each for each in family.descendants() if each.pid != program])

    def reach_new(self) -> list[Process]:
        """Send it to those who have not had it yet; return them."""
        return self._reach([each for each in family.descendants() if (each.pid, each.born) not in self._reached])

    def _reach(self, those: list[Process]) -> list[Process]:
        for each in those:
            self._reached.add((each.pid, each.born))
            with suppress(PermissionError):
                deliver(each, self._signum)
        return those


class _Ending:
    """The end of what a program has left.

    :param spread: the signal by which all of it was to end; ``None`` where the program has ended of its own accord.
    """

    def __init__(self, spread: _Spread | None) -> None:
        self._spread = spread or _Spread(signal.SIGTERM)
        # Who has it stopped says how long that may take: the next signal will be the supervisor's end.
        self._deadline = float("inf") if spread is not None else time.monotonic() + GRACE
        self._ended: list[Process] = []
        self._survivors: list[Process] = []
        self.is_over = False

    def go_on(self) -> float:
        """Have those end who have joined what is left, or kill all; return for how many milliseconds to wait."""
        self._ended += self._spread.reach_new()
        left = max(0.0, self._deadline - time.monotonic())
        if left == 0:
            self._survivors = _end_children()
            self.is_over = True
        # Nobody is woken by what is forked far below meanwhile.
        return min(left, _LOOK) * 1000

    def told(self) -> str:
        """Return a clause that says what there was."""
        return _told_of(self._ended, self._survivors)


def _told_of(ended: Iterable[Process], survivors: Sequence[Process]) -> str:
    alive = {(each.pid, each.born) for each in survivors}
    gone = [each for each in ended if (each.pid, each.born) not in alive]
    return _clause("what it left was ended", gone) + _clause("it left what can't be ended", survivors)


def _clause(what: str, left: Sequence[Process]) -> str:
    names = [str(each) for each in left[:_MOST_NAMED]] + ["..."] * (len(left) > _MOST_NAMED)
    return f", and {what}: {', '.join(names)}" if left else ""


def _end_children(beside: Callable[[], int] = int) -> list[Process]:
    """Kill this process's children, then what they have left to it, and so on; return what can't be ended.

    :param beside: returns which one is to stay.
    """
    deadline = time.monotonic() + DYING
    while left := [each for each in family.children() if each.pid != beside()]:
        if time.monotonic() > deadline:
            break
        for each in left:  # our own children, which nobody else waits for
            with suppress(ProcessLookupError, PermissionError):
                os.kill(each.pid, signal.SIGKILL)
        process.wait_for_exit(left[0].pid, _ROUND)
        for each in left:
            with suppress(ChildProcessError):
                os.waitpid(each.pid, os.WNOHANG)
    return left


def _ignore(_signum: int, _frame: FrameType | None) -> None:
    """Let the signal wake who waits, and do nothing else."""
