"""Fork, setsid, fork; who waits for whom, and who leaves how.

Three processes take part. The *launcher* waits for reports. Its child, the *witness*, leads the new session and is the
parent of the *daemon*: it alone can say how the daemon ended, and it ends what a failed start has left. When the daemon
is ready the witness leaves, init becomes the daemon's parent, and the launcher exits.
"""

from __future__ import annotations

import os
import sys

from ..errors import ignored
from ..system import bare
from ..system.closing import above_two, close
from ..system.forks import fork, give_up_in_children
from ..system.undisturbed import children_kept, signals_held_off
from . import report

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import NoReturn

    from . import messages
    from .launcher import Launcher, Outcome

# Seconds of a start's beginning in which launcher and witness do nothing but wait: there are a dozen words in the
# first millisecond, and each would take the processor from the daemon.
_UNDISTURBED = 0.1


# The step that enters what may be any context manager of the program's.
_HAND_OVER = ("lock_pidfile",)


class Tie:
    """What ties a daemon to the processes that wait until it is ready."""

    def __init__(self, reporter: report.Reporter, hatch: int) -> None:
        self.reporter = reporter
        self.waited_for = True
        self._hatch = report.WritingEnd(hatch)
        give_up_in_children(self)

    @property
    def descriptors(self) -> list[int]:
        """The descriptors that must stay open until the daemon is ready."""
        return [fd for fd in (self.reporter.fd, self._hatch.fd) if fd is not None]

    def tell_of_step(self, name: str, is_idle: bool, is_foreign: bool) -> None:
        """Tell the launcher which step begins: whoever is killed meanwhile is reported with it.

        :param is_idle: whether it has nothing to do.
        :param is_foreign: whether it runs code of the program's own.
        """
        if is_idle and not is_foreign:
            return  # nobody can be killed in it
        if is_foreign or name in _HAND_OVER:
            self.look_closely()
        self.reporter.step(name)

    def look_closely(self) -> None:
        """From now on ask before each word whether the pipes are still ours: the program is about to have its way."""
        self.reporter.look_closely()
        self._hatch.look_closely()

    def release(self, until_adopted: bool = False) -> None:
        """Let the launcher and the witness go, and wait for neither.

        The end of the witness takes as long as the fork that made it, which is long where the program is large. Init
        becomes the daemon's parent by it, and the launcher sees to it before it leaves.

        :param until_adopted: wait for the witness all the same: a service manager that is told of a main process while
            that is another's child takes it for one whose end it won't notice.
        """
        witness = bare.getppid() if until_adopted else None
        self._let_go()
        if witness is not None:
            from ..system import process

            process.wait_for_exit(witness, report.GRACE)

    def _let_go(self) -> None:
        self.reporter.ready()
        self.waited_for = False
        # The launcher knows that the daemon is up, so nothing of this may end it any more.
        with ignored(OSError):
            self._hatch.write(report.READY)
        self.give_up()

    def spare(self) -> list[int]:
        """Return copies of the descriptors, for a child that will speak for the daemon; see :meth:`resumed`."""
        return [above_two(fd) for fd in self.descriptors]

    def resumed(self, spare: list[int]) -> Tie:
        """Return the tie in a child, which has given up its own as every child does."""
        return Tie(report.Reporter(spare[0]), spare[1])

    def begin_to_fail(self) -> None:
        """Tell the witness that the daemon fails, and free a descriptor: to tell the launcher takes one.

        A start may fail for want of one, and what telling of it takes may have to be loaded.
        """
        with ignored(OSError):
            self._hatch.write(report.FAILING)
        self._hatch.close()

    def failed(self, failure: messages.Failed) -> bool:
        """Tell the launcher what stopped the daemon; return whether somebody was there to be told."""
        return self.reporter.failed(failure)

    def give_up(self) -> None:
        """Close the pipes; called in every process that the daemon forks, so that none keeps the launcher waiting."""
        self.waited_for = False
        self.reporter.close()
        self._hatch.close()


def detach(
    timeout: float | None,
    show: Callable[[str], object],
    close_others: Callable[[Iterable[int]], object],
    take_over: Callable[[Tie], object],
    launched: Callable[[], object] = bool,
    remind: Callable[[str], object] = bool,
) -> Outcome | None:
    """Become a daemon's process; return ``None`` there, or an :class:`Outcome` in the launcher.

    In the launcher of a daemon that gets ready it never returns: what Python would undo at exit now belongs to the
    daemon, so the launcher leaves by ``os._exit(0)``.

    :param timeout: seconds until the daemon must be ready; ``None`` for no limit.
    :param show: called in the launcher with each text of progress.
    :param close_others: closes all descriptors above 2 but the given ones, in the witness.
    :param take_over: called in the daemon with its :class:`Tie` while signals are held off: the first that is
        delivered may raise, and the launcher is to be told of it.
    :param remind: called in the launcher with the step that the start has come to when it takes long.
    :param launched: called in the launcher when the daemon is ready, right before it leaves.
    :raises OSError: when the pipes can't be made, or the first process can't be forked.

    Source: daemon(7), SysV daemons, steps 5 to 8, 14 and 15.
    """
    with children_kept(), signals_held_off() as mask:
        with _Pipes() as pipes:
            witness = fork()
            if witness == 0:
                take_over(_lead_session(pipes, close_others))
                return None
            reports = pipes.take_reports()
        said = _said_at_once(reports, timeout)
        if _is_ready(said):
            with ignored(OSError):  # another thread waits for any child, or a sandbox forbids it
                bare.waitpid(witness, 0)
            launched()
            os._exit(0)
        return _launcher(witness, reports)(witness, reports, said, timeout, show, launched, remind).wait(mask)


def _said_at_once(reports: int, timeout: float | None) -> bytes:
    """Wait a moment for the end of all who report, and return what they have said; nothing when they go on."""
    # Until then the launcher takes no time from the daemon, which most need no longer; signals wait as long.
    with ignored(OSError):  # a sandbox forbids to wait: then who sees to the start ends it
        poll = bare.poll()
        poll.register(reports, 0)
        if poll.poll(min(_UNDISTURBED, timeout or _UNDISTURBED) * 1000):
            return bare.read(reports, 65_536)
    return b""


def _is_ready(said: bytes) -> bool:
    """Whether they have said that the daemon is ready, and nothing else that anybody has to see to."""
    *steps, ready, rest = said.split(b"\n") if b"\n" in said else (b"", b"")
    return (ready, rest) == (b"ready", b"") and all(each.startswith(b"step ") for each in steps)


def _launcher(witness: int, reports: int) -> type[Launcher]:
    """Load what sees to a start that takes longer, or fails."""
    try:
        from .launcher import Launcher
    except BaseException:
        with ignored(ProcessLookupError):
            bare.kill(witness, bare.SIGKILL)
            bare.killpg(witness, bare.SIGKILL)  # whose number is its own until it is waited for
        bare.waitpid(witness, 0)
        close(reports)
        raise
    return Launcher


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
        """Take and return the launcher's end."""
        self.take(self.reports[0])
        return self.reports[0]

    def __enter__(self) -> _Pipes:
        return self

    def __exit__(self, *_exc_info: object) -> None:
        """Close every end that nobody in this process took."""
        close(*({*self.reports, *self.hatch} - self._kept))


def _lead_session(pipes: _Pipes, close_others: Callable[[Iterable[int]], object]) -> Tie:
    """Lead a session of our own and fork the daemon; return there only."""
    reporter = report.Reporter(pipes.reports[1])
    daemon, adopts = 1, False
    try:
        bare.setsid()
        adopts = _adopt_orphans()
        daemon = fork()
    except BaseException as error:
        close(*pipes.hatch)  # to tell of it may take a descriptor
        _tell_and_leave(reporter, error)
    if daemon:
        close(pipes.reports[0], pipes.hatch[1])  # it is to notice when nobody else has them any more
        _stay(daemon, adopts, reporter, pipes.hatch[0], close_others)
    pipes.take(pipes.reports[1], pipes.hatch[1])
    return Tie(reporter, pipes.hatch[1])


def _stay(
    daemon: int, adopts: bool, reporter: report.Reporter, hatch: int, close_others: Callable[[Iterable[int]], object]
) -> NoReturn:
    """Be the witness: leave when the daemon is ready, which most are at once; see to it when this one isn't."""
    try:
        # Until then this process takes nothing from the daemon, neither time nor pages.
        word = _word_on(hatch)
        if word == report.READY:
            os._exit(0)
        from .witness import stay_as_witness
    except BaseException as error:
        _tell_and_leave(reporter, error)
    stay_as_witness(daemon, adopts, reporter, hatch, close_others, word == report.FAILING)


def _word_on(hatch: int) -> bytes:
    """Return what the daemon says soon, if it says anything; an end of file stays to be read once more."""
    poll = bare.poll()
    poll.register(hatch, bare.POLLIN)
    return bare.read(hatch, 1) if poll.poll(_UNDISTURBED * 1000) else b""


def _adopt_orphans() -> bool:
    """Become the parent of what the daemon forks and leaves, so that it can be named, and leaves no zombie.

    Called before the daemon is forked, which might leave something sooner than its witness is at work.

    Where there is no such thing init is that parent, as it will be after the start, and so it is where nobody has
    loaded ctypes: that takes longer than all the rest of a start. Return whether this process is.
    """
    if "ctypes" not in sys.modules:
        return False
    from ..system import libc

    control = libc.prctl()
    if control is None:
        return False
    try:
        control(libc.PR_SET_CHILD_SUBREAPER, 1)
    except OSError:
        return False
    return True


def _tell_and_leave(reporter: report.Reporter, error: BaseException) -> NoReturn:
    # By os._exit, here and in the witness: this process is a copy of the launcher, and must not run what the launcher
    # has to run at its exit.
    try:
        from . import messages

        number = error.errno if isinstance(error, OSError) else None
        message = getattr(error, "strerror", None) or str(error) or type(error).__name__
        reporter.failed(messages.Failed(step="detach", message=message, errno=number))
    finally:
        os._exit(1)
