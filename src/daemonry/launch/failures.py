"""From an exception in the daemon to the one that the launcher raises."""

from __future__ import annotations

import errno
import os
import sys

from ..errors import DaemonError, DaemonStartError, DaemonTraceback, Terminated, advice_on
from ..steps import filesystem
from ..steps.signals import name_of
from . import messages

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .launcher import Outcome


def prepare() -> None:
    """Import what telling of a failure takes, for a process that can't find its modules any more when it fails."""
    # traceback and linecache import these only when they are used.
    import ast  # noqa: F401
    import tokenize  # noqa: F401

    from ..steps import telling_once  # noqa: F401
    from ..system import advice, frames  # noqa: F401

    messages.prepare()


def failed(step: str, error: BaseException | None, then: BaseException | None = None) -> messages.Failed:
    """Return what the launcher is told of an exception that ended a step, or the body.

    :param error: ``None`` for a body that has ended without one before it said that the daemon is ready.
    :param then: the exception that undoing it met, if any.
    """
    if error is None:
        return messages.Failed(step=step, message="it ended before it was ready", status=0)
    if isinstance(error, DaemonStartError) and error.step:
        step = error.step
    text, is_of_program = _traceback_of(error)
    return messages.Failed(
        step=step,
        message=message_of(error) + (_undoing(then) if then is not None else ""),
        errno=_errno_of(error),
        status=_status_of(error),
        traceback=text,
        of_program=is_of_program and not _says_all(error),
        locked=_kind_of_lock_error(error),
        pid=_pid_of(error),
    )


def _undoing(then: BaseException) -> str:
    return f"; and undoing it: {message_of(then)}"


def message_of(error: BaseException) -> str:
    """Say in a line what an exception means to the one who started the program."""
    if isinstance(error, Terminated):
        return f"ended by {name_of(error.signum)}"
    if isinstance(error, SystemExit):
        # What is no number Python prints at the exit, whatever it is.
        is_number = isinstance(error.code, (int, type(None)))
        return f"exited with status {_status_of(error)}" if is_number else _text_of(error.code)
    if isinstance(error, DaemonStartError):
        return error.message
    if isinstance(error, OSError) and type(error).__str__ is OSError.__str__ and error.strerror:
        parts = [str(part) for part in (error.strerror, error.filename, error.filename2) if part is not None]
        return ": ".join(parts) + _place_of(error) + _advice_on(error)
    text = _text_of(error)
    if text and (isinstance(error, OSError) or _kind_of_lock_error(error)):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _place_of(error: OSError) -> str:
    """Say which line of the program an error of the system comes from, where it doesn't tell what it is about."""
    if error.filename is not None or not _is_in_words_of_the_system(error.strerror, error.errno):
        return ""
    try:
        from ..system import frames

        return frames.place_of(error)
    except Exception:  # no descriptor is left to read the module by: the error itself is told all the same
        return ""


def _is_in_words_of_the_system(text: str | None, number: int | None) -> bool:
    return isinstance(number, int) and text == os.strerror(number)


def _advice_on(error: OSError) -> str:
    try:
        from ..system import advice
    except Exception:  # as above
        return advice_on(error)
    return advice.on(error, filesystem.left())


def _text_of(told: object) -> str:
    # The launcher must be told, whatever an object of the program's own does when it is asked.
    try:
        return str(told)
    except Exception:
        return "it has no text, str() of it fails"


def _traceback_of(error: BaseException) -> tuple[str | None, bool]:
    """Return the text of a traceback, and whether it is of the program's own code."""
    try:
        from ..system import frames

        return frames.text_of(error)
    except Exception:  # no descriptor is left to read the module by: the error itself is told all the same
        return None, False


def _says_all(error: BaseException) -> bool:
    """Whether an exception was raised to say something to the user, and not because code went wrong."""
    return isinstance(error, (DaemonError, KeyboardInterrupt)) or _kind_of_lock_error(error) is not None


def _status_of(error: BaseException) -> int | None:
    if not isinstance(error, SystemExit):
        return None
    if error.code is None:
        return 0
    return error.code if isinstance(error.code, int) else 1


def _errno_of(error: BaseException) -> int | None:
    # The errors of lockfile tell no number; the system's error that they were raised for does.
    for each in (error, error.__cause__, error.__context__):
        number = getattr(each, "errno", None)
        if isinstance(number, int):
            return number
    return None


def _pid_of(error: BaseException) -> int | None:
    pid = getattr(error, "pid", None)
    return pid if isinstance(pid, int) else None


def _kind_of_lock_error(error: BaseException) -> str | None:
    # Nobody can raise an error of a package that nobody has imported.
    lockfile: Any = sys.modules.get("lockfile")
    if lockfile is None:
        return None
    kinds = {"timeout": lockfile.LockTimeout, "locked": lockfile.AlreadyLocked, "failed": lockfile.LockError}
    return next((name for name, kind in kinds.items() if isinstance(error, kind)), None)


def start_error(step: str, error: BaseException, then: BaseException | None) -> DaemonStartError:
    """Return the error to raise for one that ended a step in this same process."""
    if isinstance(error, DaemonStartError):
        error.step = error.step or step
        if then is not None:
            error.message += _undoing(then)
            error.args = (error.errno, error.message)
        return error
    return _error(failed(step, error, then))


def refused(step: str, error: BaseException) -> DaemonStartError:
    """Return the error to raise in the launcher for one that a step is sure to meet, so that nobody has taken it."""
    return _error(
        messages.Failed(
            step=step,
            message=message_of(error),
            errno=_errno_of(error),
            locked=_kind_of_lock_error(error),
            pid=_pid_of(error),
        )
    )


def error_of(outcome: Outcome) -> DaemonStartError:
    """Return the error to raise in the launcher for the way in which a start went wrong."""
    error = _told(outcome.failed) if outcome.failed is not None and outcome.timeout is None else _found_out(outcome)
    error.survivors = outcome.survivors
    return error


def _told(failure: messages.Failed) -> DaemonStartError:
    error = _error(failure)
    # Who leaves by SystemExit has said why.
    if failure.of_program and failure.status is None:
        _show(error)
    return error


def _show(error: DaemonStartError) -> None:
    if error.traceback:
        error.__cause__ = DaemonTraceback(error.traceback)


def _error(failure: messages.Failed) -> DaemonStartError:
    error = _class_for(failure.locked)(failure.errno, _with_what_was_done(failure))
    error.step = failure.step
    error.pid = failure.pid
    error.status = failure.status
    error.traceback = failure.traceback
    return error


_DOING = {
    "leave_init": "fork",
    "detach": "make the daemon's process and the pipes to it",
    "redirect_streams": "point stdin, stdout and stderr elsewhere",
    "prevent_core_dump": "set the limit of core files",
    "drop_privileges": "give up rights",
    "install_signal_handlers": "install the handlers of signal_map",
}


def _with_what_was_done(failure: messages.Failed) -> str:
    """Return the message; before the system's bare words, what it was that it refused."""
    words, _, advice = failure.message.partition(";")
    if failure.step not in _DOING or not _is_in_words_of_the_system(words, failure.errno):
        return failure.message
    if failure.step in ("leave_init", "detach") and failure.errno == errno.EAGAIN:
        advice = " this user may have no more processes (ulimit -u), or this cgroup may not (pids.max)"
    return f"cannot {_DOING[failure.step]}: {words}{';' if advice else ''}{advice}"


def _class_for(locked: str | None) -> type[DaemonStartError]:
    if locked not in ("locked", "timeout"):
        return DaemonStartError
    from ..pidfile.errors import DaemonAlreadyRunning, DaemonLockTimeout

    return DaemonLockTimeout if locked == "timeout" else DaemonAlreadyRunning


def _of_cut(cut: messages.Cut) -> str:
    if cut.became is None:
        return "the daemon has closed the pipe by which it would say that it is ready; it has been ended"
    return (
        f"the daemon has become another program ({cut.became}) before it was ready, and nobody is left who could say "
        "that it is; it has been ended"
    )


def _found_out(outcome: Outcome) -> DaemonStartError:
    """Return the error for a daemon that could not say itself what was wrong."""
    number, message = None, "the daemon ended without a word"
    ended = outcome.ended
    if outcome.timeout is not None:
        awaited = "the body did not call ready()" if outcome.step == "body" else f"{outcome.step} was not done"
        number = errno.ETIMEDOUT
        message = f"not ready after {outcome.timeout:g} seconds: {awaited}; the daemon has been ended"
    elif outcome.cut is not None:
        message = _of_cut(outcome.cut)
    elif ended is not None and ended.signum is not None:
        message = f"the daemon was killed by {name_of(ended.signum)}"
    elif ended is not None and ended.status is not None:
        message = f"the daemon exited with status {ended.status} before it was ready"
    elif outcome.killed_by is not None:
        message = f"the process that watches over the start was killed by {name_of(outcome.killed_by)}"
    error = DaemonStartError(number, message)
    error.step = outcome.step
    if ended is not None and outcome.timeout is None and outcome.cut is None:
        error.signum, error.status = ended.signum, ended.status
    if outcome.failed is not None:
        # Ended by SIGTERM because it was late, it has told where it was just then.
        error.traceback = outcome.failed.traceback
        if outcome.failed.of_program:
            _show(error)
    return error
