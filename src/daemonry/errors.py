"""The exceptions that daemonry raises."""

from __future__ import annotations

import errno as numbers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from contextlib import suppress

    ignored = suppress
else:
    # Not contextlib.suppress: its module is a third of an interpreter's own start.
    class ignored:
        """Leave the block without a word at an error of one of these kinds."""

        def __init__(self, *kinds):
            self._kinds = kinds

        def __enter__(self):
            pass

        def __exit__(self, _kind, error, _trace):
            return isinstance(error, self._kinds)


class DaemonError(Exception):
    """The base class of every error of this library's own."""


class DaemonStartError(DaemonError, OSError):
    """A program could not become a daemon.

    Raised by :meth:`DaemonContext.open` in the launcher, where a terminal still shows it, whichever process the
    error happened in.

    :ivar step: ``str``, the name of the step that failed; ``"body"`` when the steps were done and the body of the
        with-block ended before the daemon was ready.
    :ivar errno: ``int``, the system's error number, or ``None`` when the failure was not the system's.
    :ivar pid: ``int``, the process that is in the way (the holder of a lock), or ``None``.
    :ivar signum: ``int``, the signal that killed the daemon, or ``None``.
    :ivar status: ``int``, the exit status with which the daemon ended by itself, or ``None``.
    :ivar traceback: ``str``, the daemon's traceback, or ``None`` when no exception was seen there. The program's own
        frames; where it has none, all that there are.
    :ivar survivors: tuple of ``str``, the processes of this start that could not be ended.
    """

    step: str | None = None
    pid: int | None = None
    signum: int | None = None
    status: int | None = None
    traceback: str | None = None
    survivors: tuple[str, ...] = ()

    def __init__(self, errno: int | None, message: str) -> None:
        super().__init__(errno, message)
        self.message = message

    def __str__(self) -> str:
        place = f"step {self.step}: " if self.step else ""
        left = f"; still running: {', '.join(self.survivors)}" if self.survivors else ""
        return f"cannot start the daemon: {place}{self.message}{left}"


def start_error_in_brief(step: str, error: BaseException) -> DaemonStartError:
    """Return the error to raise for one that ended a step, where nothing more can be loaded to tell of it."""
    raised = error
    if not isinstance(raised, DaemonStartError):
        advice = advice_on(error) if isinstance(error, OSError) else ""
        words = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raised = DaemonStartError(getattr(error, "errno", None), f"{words}{advice}")
    raised.step = raised.step or step
    return raised


def message_in_brief(error: BaseException) -> str:
    """Say in a line what an exception is, where nothing more can be loaded to say what it means."""
    try:
        text = str(error)
    except Exception:  # it is the program's own
        text = ""
    if isinstance(error, (SystemExit, DaemonError)) and text:
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


class InvalidOption(DaemonStartError, ValueError):
    """An option of a context can't be meant as it stands; nothing has been changed yet.

    :ivar option: ``str``, the name of the option.
    """

    step = "check_options"
    option: str | None = None

    def __init__(self, option: str, message: str, errno: int | None = None) -> None:
        super().__init__(errno, f"{option}: {message}")
        self.option = option

    def __reduce__(self) -> tuple[object, ...]:
        return _unpickled_option, (self.errno, self.message), self.__dict__


def _unpickled_option(errno: int | None, message: str) -> InvalidOption:
    option, _, rest = message.partition(": ")
    return InvalidOption(option, rest, errno)


class ControlError(DaemonError, OSError):
    """A daemon can't be asked after, or not be acted on.

    :ivar errno: ``int``, the system's error number, or ``None``.
    :ivar pidfile: ``str``, the pidfile by which it was to be found.
    :ivar pid: ``int``, the process in question, or ``None``.
    """

    def __init__(self, errno: int | None, message: str, pidfile: str, pid: int | None = None) -> None:
        super().__init__(errno, message)
        self.message = message
        self.pidfile = pidfile
        self.pid = pid

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.errno, self.message, self.pidfile, self.pid)


class NotRunning(ControlError, ProcessLookupError):
    """The daemon has ended, or given up its pidfile."""


class StillRunning(ControlError, TimeoutError):
    """The daemon has not ended, though the schedule for stopping it is at its end."""


class DaemonTraceback(Exception):
    """The cause of a :class:`DaemonStartError` where the program's own code failed: its traceback, in another process.

    So an error that nobody catches shows both.
    """

    def __str__(self) -> str:
        return f'in the daemon\n"""\n{self.args[0]}"""'


class Terminated(SystemExit):
    """Ends the with-block because of a signal; uncaught, the program ends with status 0.

    :ivar signum: ``int``, the signal that asked for it.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(0)
        self.signum = signum

    def __str__(self) -> str:
        import signal

        try:
            return f"ended by {signal.Signals(self.signum).name}"
        except ValueError:  # one without a name
            return f"ended by signal {self.signum}"

    def __reduce__(self) -> tuple[type[Terminated], tuple[int]]:
        return type(self), (self.signum,)


_ADVICE = {
    numbers.EMFILE: "raise the limit, see ulimit -n",
    numbers.ENOSPC: "make room there",
    numbers.EDQUOT: "this user's share of that file system is used up: make room there",
    numbers.ENFILE: "all that the system allows are open, see lsof(8)",
    numbers.ESTALE: "its server no longer knows it: mount it anew, or choose a local place",
}


def advice_on(error: OSError) -> str:
    """Return what to do about an error of the system, to be put behind it; empty where nothing more is known."""
    # An OSError of the program's own may have anything there.
    advice = _ADVICE.get(error.errno) if isinstance(error.errno, int) else None
    return f"; {advice}" if advice else ""
