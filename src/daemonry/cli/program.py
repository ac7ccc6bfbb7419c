"""A daemon that becomes another program, and is up when that is."""

from __future__ import annotations

import ctypes  # noqa: F401 - so that a start is the parent of what the program leaves, and can name it
import errno
import os
import signal

from ..context import DaemonContext
from ..launch.messages import Failed
from ..launch.report import pipe
from ..steps.signals import name_of
from ..system import process
from ..system.forks import fork
from ..system.undisturbed import signals_held_off
from . import cgroup, hints, mark
from .start_notes import StartNotes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn, Union

    from .readiness import Accepting, Notified, Settled

    Readiness = Union[Settled, Accepting, Notified]


class ProgramContext(DaemonContext):
    """Has a program where other daemons have their body.

    :param path: the program's file, inside its root.
    :param words: its name and its arguments.
    :param readiness: how one knows that it is up.

    :ivar show: called in the launcher with each message to the user.
    :ivar launched: called in the launcher when the program is up; it must not raise.
    :ivar ticks: ``bool``, whether messages that only say how long it has been waited are wanted.
    :ivar mark: ``str``, by which what belongs to it is known, ``None`` in the foreground.
    :ivar notes: what the launcher knows of the files that the program writes to.
    :ivar started: ``str``, what the user is told when it is up; ``{pid}`` is its number.
    :ivar flags: by option's name, what the user calls it.
    """

    def __init__(self, path: str, words: list[str], readiness: Readiness, **options: Any) -> None:
        super().__init__(**options)
        self.path = path
        self.words = words
        self.readiness = readiness
        self.show: Callable[[str], object] = bool
        self.launched: Callable[[], object] = bool
        self.ticks = False
        self.started = ""
        self.flags: dict[str, str] = {}
        self.mark: str | None = None
        self.notes = StartNotes()

    def show_progress(self, text: str) -> None:
        """Show what the program, or who waits for it, has to say."""
        self.show(text)

    def detach(self) -> None:
        """Become a daemon's process, with a cgroup of its own where this user may make one."""
        place = cgroup.place_for_new() if self.detach_process else None
        super().detach()
        if self.detach_process:
            self.mark = mark.of_this_process()
        if place is not None and self.mark is not None:
            cgroup.join_new(place, self.mark)

    def redirect_streams(self) -> None:
        """Point the streams where they shall point, and note for the launcher which files they are now."""
        super().redirect_streams()
        self.notes.note()

    def _has_launched(self) -> None:
        self.launched()

    def _say_what_it_waits_for(self, step: str) -> None:
        if step not in ("run_program", "body"):
            super()._say_what_it_waits_for(step)
        elif self.ticks:
            self.show(f"waiting {self.readiness.awaited}; Ctrl-C ends the start")


class Program(ProgramContext):
    """Becomes the program."""

    steps = (*DaemonContext.steps, "run_program")

    def run_program(self) -> None:
        """Become the program. execve(2)."""
        for number in self.files_preserve or ():
            os.set_inheritable(number, True)
        # What the program finds ignored it goes on ignoring, and Python ignores these; see subprocess.Popen.
        for name in ("SIGPIPE", "SIGXFZ", "SIGXFSZ"):
            if hasattr(signal, name):
                signal.signal(getattr(signal, name), signal.SIG_DFL)
        os.environ["DAEMONRY_PID"] = str(os.getpid())
        if self.mark is not None:
            os.environ[mark.VARIABLE] = self.mark
        with self._herald():
            self._execute()

    def keep(self) -> int:
        """Return the exit status; not called, for by then this process is the program."""
        raise AssertionError("the program was not executed")

    def _herald(self) -> _Herald:
        if self._opening.tie is None:
            return _Herald(None)
        self.readiness.prepare(os.environ)
        return _Herald(self)

    def _execute(self) -> None:
        try:
            os.execv(self.path, self.words)
        except OSError as error:
            hint = hints.on_execution(self.path, error.errno)
            message = f"cannot execute {self.path}: {error.strerror}{hint}"
            raise OSError(error.errno, message) from error

    def tell_when_up(self, pid: int, tie: Any) -> None:
        """Wait until the program is up, and let the launcher go; say nothing when it ends before: its witness does."""
        tell = tie.reporter.progress

        def has_ended(seconds: float) -> bool:
            return process.wait_for_exit(pid, seconds)

        if self.readiness.wait(pid, has_ended, tell, tell if self.ticks else bool):
            if self.started:
                tell(self.started.format(pid=pid))
            tie.release()


class _Herald:
    """A process that speaks for the program, which knows nothing of its launcher, until it is up.

    It is no child of the program's, which would find a child that it never forked: it is the witness's, as everything
    is that the daemon forks and leaves.

    It ends when the program does. What is sent to the session, by those who end a start for one, is not meant for it,
    and the daemon's handlers, whose copies it has, must not raise here: signals stay held off.
    """

    def __init__(self, program: Program | None) -> None:
        self._program = program

    def __enter__(self) -> None:
        if self._program is None:
            return
        tie, daemon = self._program._opening.tie, os.getpid()
        assert tie is not None
        spare, (executed, self._executes) = tie.spare(), pipe()
        try:
            with signals_held_off():
                child = fork()
                if child == 0:
                    self._leave(lambda: _speak(self._program, daemon, tie.resumed(spare), executed))
            # Without it nobody would ever say that the program is up, so that is not begun.
            _require_forked(os.waitpid(child, 0)[1])
        finally:
            for fd in (*spare, executed):
                os.close(fd)

    def _leave(self, speak: Callable[[], object]) -> NoReturn:
        """In the child, which has nothing to do but to leave another to the daemon's parent."""
        # By os._exit: it is a copy of the daemon, and must give back nothing of it.
        status = 1
        try:
            if os.fork() == 0:
                os.close(self._executes)
                speak()
            status = 0
        except OSError as error:
            status = error.errno or 1
        finally:
            os._exit(status)

    def __exit__(self, *_exc_info: object) -> None:
        """Come here only when there is nothing to herald: the daemon itself says why."""
        if self._program is not None:
            os.write(self._executes, b"x")
            os.close(self._executes)


def _require_forked(wait_status: int) -> None:
    number = os.waitstatus_to_exitcode(wait_status)
    if number:
        # A signal, the kernel's when it wants memory, is no number of an error.
        reason = (
            os.strerror(number) if number > 0 else f"the process that was to do it was killed by {name_of(-number)}"
        )
        advice = (
            "; no more processes may run; see ulimit -u, and TasksMax= or pids.max" if number == errno.EAGAIN else ""
        )
        raise OSError(max(number, 0) or None, f"cannot fork who tells when the program is up: {reason}{advice}")


def _speak(program: Program | None, daemon: int, tie: Any, executed: int) -> None:
    assert program is not None
    try:
        # Closed unwritten by a successful exec, or by the daemon's end.
        if os.read(executed, 1) == b"":
            os.close(executed)
            program.tell_when_up(daemon, tie)
    except Exception as error:
        tie.failed(Failed(step="run_program", message=f"cannot tell when the program is up: {error!r}"))
    finally:
        tie.give_up()
