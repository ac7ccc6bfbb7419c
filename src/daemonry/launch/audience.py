"""Whom an opening has to tell of its fate: the launcher, while it waits; the service manager; the log."""

from __future__ import annotations

import os
import sys

from ..errors import Terminated, ignored, message_in_brief
from ..steps import streams, uncaught

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from ..opening import Opening


class Audience:
    """Hears of an opening's readiness, of its failure and of its end.

    :ivar error_of_close: the exception that closing it has met.
    """

    __slots__ = ("_is_logged", "_opening", "error_of_close")

    def __init__(self, opening: Opening) -> None:
        self._opening = opening
        self._is_logged = False
        self.error_of_close: BaseException | None = None

    @property
    def launcher_waits(self) -> bool:
        """Whether the launcher has yet to hear how the start went."""
        tie = self._opening.tie
        return tie is not None and tie.waited_for

    def announce_ready(self) -> None:
        """Say that the daemon is ready: to the launcher, and to the service manager."""
        self.release_launcher()
        values = self._opening.values
        if values.manager is None:
            return
        # To a manager outside of a container our number is another process's.
        main = {} if values.facts.pid == 1 else {"MAINPID": os.getpid()}
        error = values.manager.tell(READY=1, **main)
        if error is not None:
            # The daemon is up all the same, but the manager may end it for being late: then its log is to say why.
            message = f"cannot tell the service manager that the daemon is ready: {_message_of(error)}"
            uncaught.tell(message, error, values.stderr_discarded, survived=True)

    def release_launcher(self) -> None:
        """Let the launcher go, if it waits."""
        tie = self._opening.tie
        if tie is not None and tie.waited_for:
            tie.release(until_adopted=self._opening.values.manager is not None)

    def hear_of_step(self, error: BaseException) -> None:
        """Tell the service manager what has ended a step."""
        self._tell_manager_of(error, is_of_step=True)

    def hear_of_failure(self, error: BaseException, then: BaseException | None) -> None:
        """Log a failed start where nobody else would hear of it; ``then`` is what undoing it has met."""
        if not isinstance(error, Exception):
            if then is not None:
                self._log("cannot undo a start: ", then)
        elif self._opening.tie is not None:
            # The launcher has left with the word that all is well: whoever reads the log is to know better.
            self._log("", error)

    def hear_of_end(self, error: BaseException | None) -> None:
        """Log what has ended the body, if an exception has, and tell the service manager."""
        # An exit with a number is no failure.
        if error is not None and not (isinstance(error, SystemExit) and isinstance(error.code, (int, type(None)))):
            self._is_logged = True
            self._log_end(error)
        manager = self._opening.values.manager
        if manager is None:
            return
        manager.tell(STOPPING=1)
        if error is None or isinstance(error, Terminated):
            manager.wait_until_heard()
        else:
            self._tell_manager_of(error)

    def hear_of_close(self, error: BaseException) -> None:
        """Log, once, an exception of closing itself."""
        self._is_logged = True
        if error is not self.error_of_close:
            self.error_of_close = error
            self._log("cannot close the daemon: ", error)

    def leave_if_waited_for(self, error: BaseException | None) -> None:
        """Leave the process if the launcher still waits for a body that has ended."""
        if self.launcher_waits:
            self.leave_unready(error or self.error_of_close, "body")

    def leave_without_more(self, error: BaseException) -> None:
        """Leave all the same, whatever has kept the daemon from telling, a signal or want of memory."""
        if self.launcher_waits:
            try:
                self.leave_unready(error, self._opening.step)
            finally:
                os._exit(1)

    def leave_unready(self, error: BaseException | None, step: str, then: BaseException | None = None) -> NoReturn:
        """Leave the process, and tell the launcher why: what has ended a step, and what undoing it has met."""
        # By os._exit: the launcher raises the error, so what stands around the with-block runs there, and only there.
        try:
            self._tell_launcher(error, step, then)
        except BaseException:  # a signal has kept it from telling, or want of memory
            self._tell_launcher(error, step, then)
        finally:
            os._exit(1)

    def _tell_launcher(self, error: BaseException | None, step: str, then: BaseException | None) -> None:
        tie = self._opening.tie
        assert tie is not None
        tie.begin_to_fail()
        from . import failures

        failure = failures.failed(step, error, then)
        if not tie.failed(failure) and not self._is_logged:
            uncaught.tell(failure.message, error, self._opening.values.stderr_discarded)
        if "logging" in sys.modules:
            from ..steps import logs

            logs.flush()
        streams.flush()

    def _tell_manager_of(self, error: BaseException, is_of_step: bool = False) -> None:
        # Whatever goes wrong in this: the error itself is on its way, and nothing may take its place.
        with ignored(Exception):
            manager = self._opening.values_or_unresolved.manager
            if manager is None or manager.address is None:
                return
            from . import failures

            failure = failures.failed(self._opening.step, error)
            # In the launcher the step is "detach", and the one that the daemon has failed in is named by the error.
            where = f"step {failure.step}: " if is_of_step else ""
            number = {} if failure.errno is None else {"ERRNO": failure.errno}
            manager.tell(STATUS=f"{where}{failure.message}", **number)
            manager.wait_until_heard()

    def _log_end(self, error: BaseException) -> None:
        text, discarded = _message_of(error), self._opening.values.stderr_discarded
        try:
            self._teller()(error, text, discarded)
        except Exception:  # as in uncaught
            message = text if isinstance(error, SystemExit) else f"the daemon ends: {text}"
            uncaught.tell_in_brief(message, None if isinstance(error, SystemExit) else error, discarded)

    def _teller(self) -> Callable[[BaseException, str, bool], object]:
        # Whoever stays in the foreground is shown by Python as well what has ended it.
        if self._opening.tie is None:
            with ignored(ImportError, OSError):  # no descriptor is left to read it by: then it is told twice
                from ..steps import telling_once

                return telling_once.tell_of_end
        from ..steps import telling

        return telling.tell_of_end

    def _log(self, what: str, error: BaseException) -> None:
        uncaught.tell(f"{what}{_message_of(error)}", error, self._opening.values.stderr_discarded)


def _message_of(error: BaseException) -> str:
    try:
        from . import failures

        return failures.message_of(error)
    except Exception:  # as in uncaught
        return message_in_brief(error)
