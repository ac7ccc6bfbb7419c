"""Ending: when a start fails or a body is done, what was taken is given back, and whoever waits is told how it went."""

from __future__ import annotations

import atexit
import os
import sys

from . import signals, streams
from .errors import Terminated, ignored, start_error_in_brief
from .options import Options
from .plan import Plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import ExitStack
    from types import TracebackType
    from typing import Any, NoReturn

    from .detach import Tie
    from .errors import DaemonStartError
    from .plan import PlannedStep

opened: dict[int, Ending] = {}
"""The contexts that are open, by number: a subclass may be without a hash."""


class Onlooker:
    """Whoever has a context opened for a user, and tells him of it; this one tells nothing."""

    def has_begun(self, step: str) -> None:
        """Be told of a step; called in the process that takes it."""

    def has_launched(self) -> None:
        """Be told, in the launcher, that the daemon is ready; it must not raise."""


class Ending(Options):
    """What a context has taken since it began to open, and how it gives that back."""

    #: The names of the methods that :meth:`open` calls, in this order.
    steps: tuple[str, ...] = ()

    __slots__ = (
        "__weakref__",
        "_closing",
        "_drop_unwritten",
        "_ended_by",
        "_ending",
        "_exit_stack",
        "_foreign",
        "_forgotten_when_open",
        "_leaving",
        "_logged",
        "_onlooker",
        "_opener",
        "_opening",
        "_pidfile_entered",
        "_plan",
        "_ready_said",
        "_shown_before",
        "_step",
        "_stop_watching",
        "_stop_wish",
        "_suppressed",
        "_terminated",
        "_tie",
        "_told",
        "_was_asked_to_stop",
    )

    # Not an __init__ of its own: its signature, which tools show and check, would have to repeat every option.
    def _set_up(self) -> None:
        self._stop_wish = signals.StopWish()
        self._exit_stack: ExitStack | None = None
        self._onlooker: Onlooker | None = None
        self._leaving = False
        self._start_over()

    def _start_over(self) -> None:
        self._plan: Plan | None = None
        self._tie: Tie | None = None
        self._forgotten_when_open: ExitStack | None = None
        self._foreign: frozenset[str] = frozenset()
        """The steps whose methods are the program's own."""
        self._step = ""
        self._opener: int | None = None
        self._opening: int | None = None
        self._leaving = self._pidfile_entered = self._ready_said = self._terminated = self._was_asked_to_stop = False
        self._closing = self._ending = self._logged = self._suppressed = False
        self._drop_unwritten: Callable[[], object] = bool
        self._ended_by: Any = (None, None, None)
        self._told: BaseException | None = None
        self._stop_watching: Callable[[], object] = bool
        self._shown_before: BaseException | None = None

    @property
    def is_open(self) -> bool:
        """Whether this process has opened the context and not closed it yet."""
        return self._opener is not None and self._opener == os.getpid()

    @property
    def exit_stack(self) -> ExitStack:
        """A stack of what is to be given back; :meth:`close`, or a start that fails, unwinds it in reverse.

        A step of a subclass pushes on it what undoes what it did.
        """
        if self._exit_stack is None:
            self._exit_stack = _new_stack()
        return self._exit_stack

    def plan(self) -> tuple[PlannedStep, ...]:
        """Return the steps that :meth:`open` would take, each with the value it would use, and take none.

        Of an open context they are those that it has taken.

        :raises InvalidOption: when an option can't be meant as it stands.
        """
        return (self._values if self.is_open else Plan(self, self.steps)).resolved()

    @property
    def _values(self) -> Plan:
        # Resolved as a whole when first asked for, before anything has changed: so also in a context that leaves out
        # check_options nothing is looked up inside the new root directory.
        if self._plan is None:
            plan = Plan(self, self.steps, self._opening)
            plan.resolve()
            self._plan = plan
        return self._plan

    def close(self) -> None:
        """Give back what the steps took, in reverse; on a closed context, or in a forked child, do nothing.

        The end of the with-block calls it, and the program's exit, so that a subclass may extend it.
        """
        self._close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        """Log the exception that ends the body, if one does, and :meth:`close`; an exception goes on from here."""
        if self._ending:
            return False
        try:
            return self._end(kind, error, trace)
        finally:
            # What a signal has kept it from; nothing, when all is done.
            self._ending = self._closing = False
            self._end(kind, error, trace)
            # Last: a signal must not take the place of the error that is on its way, nor of the program's own status.
            self._ending, self._leaving = False, self._was_asked_to_stop

    def _close_at_exit(self) -> None:
        try:
            # Of a context that was opened without a block nobody tells what has ended it, but Python, who has shown it.
            error = _shown()
            if error is None or error is self._shown_before:
                Ending.__exit__(self, None, None, None)
            else:
                Ending.__exit__(self, type(error), error, error.__traceback__)
        finally:
            # What else is cleaned up at the exit must not be cut short by SIGTERM: the process is ending anyway.
            self._leaving = True

    def _end(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> bool:
        """Close by the method that a subclass may have extended: whatever it does, what the steps took goes back."""
        try:
            if self.is_open:
                self._leaving = self._ending = True
                self._ended_by = kind, error, trace
                self._close_wholly()
        except BaseException as another:
            self._tell_of_close(another)
            raise
        self._leave_if_waited_for(error)
        return self._suppressed

    def _close_wholly(self) -> None:
        try:
            self.close()
        finally:
            # What a subclass has left out, or a signal has kept it from; nothing, when all is done.
            self._close()

    # The signals are not held off: what it calls may be the program's own and take its time, and with other threads the
    # mask of this one keeps no handler from running in it. An exception from a handler finds it in one of two states,
    # open and to be closed again, or on a way that does all the rest.
    def _close(self) -> None:
        if not self.is_open or self._closing:
            return
        try:
            self._leaving = self._closing = True
            try:
                self._logged = self._log_end(self._ended_by[1])
                self._tell_manager_of_stop(self._ended_by[1])
            finally:
                self._suppressed = self._give_back()
        except BaseException as another:
            self._tell_of_close(another)
            raise
        finally:
            self._give_back()  # what a signal has kept it from; nothing, when all is given back
            self._have_closed()

    def _give_back(self) -> bool:
        try:
            return self._exit_stack is not None and bool(self._exit_stack.__exit__(*self._ended_by))
        finally:
            self._stop_watching()

    def _have_closed(self) -> None:
        self._forget()
        wished, error = self._stop_wish.made, self._ended_by[1] or self._told
        self._stop_wish.forget()
        # Who was asked to stop has stopped: that its log is full is no failure of the stop. A program that ends of
        # itself gets the status by which Python tells of what it could not write.
        self._forget_exit(but_unwritten=wished or self._terminated)
        # A second SIGTERM must not cut short what follows a first one, up to the exit.
        self._was_asked_to_stop = wished or isinstance(error, Terminated)
        self._opener, self._ended_by = None, (None, None, None)
        opened.pop(id(self), None)
        if not self._ending:  # else what a subclass does behind this is done first
            self._leave_if_waited_for(error)
            self._leaving = self._was_asked_to_stop

    def _expect_exit(self) -> None:
        self._shown_before = _shown()
        # The first shall be the last to run: after all that may write something at the exit.
        redirected, own = self._values.redirected, self._opening or 0
        self._drop_unwritten = lambda: streams.drop_unwritten(redirected, own)
        atexit.register(self._drop_unwritten)
        for _ in range(2):  # once more for what a signal has kept the first from: else nothing is left to be done
            atexit.register(self._close_at_exit)

    def _forget_exit(self, but_unwritten: bool = False) -> None:
        atexit.unregister(self._close_at_exit)
        if not but_unwritten:
            atexit.unregister(self._drop_unwritten)

    def _tell_of_close(self, error: BaseException) -> None:
        self._logged = True
        if error is not self._told:
            self._told = error
            self._log("cannot close the daemon: ", error)

    def _give_up(self, error: BaseException) -> NoReturn:
        """Leave :meth:`open` by an error, which a signal may have raised after the last step."""
        if self.is_open:
            Ending.__exit__(self, type(error), error, error.__traceback__)
            raise error
        self._fail(error)

    def _fail(self, error: BaseException) -> NoReturn:
        try:
            self._leave_with(error)
        except BaseException:
            if self._is_opening:  # a signal has kept it from giving all back
                self._leave_with(error)
            raise
        finally:
            self._leave_without_more(error)

    def _leave_with(self, error: BaseException) -> NoReturn:
        """Undo the steps, and leave with the error in the way that this process can."""
        if not self._is_opening:  # a worker that a step has forked: there is nothing that it could give back
            raise error
        self._leaving = True
        self._tell_manager_of(error, is_of_step=True)
        then = self._unwind(error)
        if self._is_waited_for:
            self._leave_unready(error, self._step, then)
        if not isinstance(error, Exception):
            if then is not None:
                self._log("cannot undo a start: ", then)
            raise error
        if self._tie is not None:
            # The launcher has left with the word that all is well: whoever reads the log is to know better.
            self._log("", error)
        raised = self._start_error(error, then)
        # An error of our own says all in its message; the frames that it came through would push that off the screen.
        raise raised.with_traceback(None) from (raised.__cause__ if raised is error else error)

    def _unwind(self, error: BaseException) -> BaseException | None:
        """Unwind the exit stack; answer the error that this met itself."""
        then = None
        for _ in range(2):  # the second time for what a signal has kept the first from: else all is given back by then
            try:
                if self._exit_stack is not None:
                    self._exit_stack.__exit__(type(error), error, error.__traceback__)
            except BaseException as another:
                then = then or (another if another is not error else None)
        self._stop_watching()
        self._forget_exit()
        self._opening = None
        # Where the launcher has yet to be told, a signal must not keep it from being told.
        self._leaving = self._is_waited_for
        return then

    def _tell_manager_of_stop(self, error: BaseException | None) -> None:
        manager = self._values.manager
        if manager is None:
            return
        manager.tell(STOPPING=1)
        if error is None or isinstance(error, Terminated):
            manager.wait_until_heard()
        else:
            self._tell_manager_of(error)

    def _tell_manager_of(self, error: BaseException, is_of_step: bool = False) -> None:
        # Whatever goes wrong in this: the error itself is on its way, and nothing may take its place.
        with ignored(Exception):
            manager = (self._plan or Plan(self, self.steps)).manager
            if manager is None or manager.address is None:
                return
            from . import failures

            told = failures.failed(self._step, error)
            where = f"step {told.step}: " if is_of_step else ""
            manager.tell(STATUS=f"{where}{told.message}", **({} if told.errno is None else {"ERRNO": told.errno}))
            manager.wait_until_heard()

    def _log_end(self, error: BaseException | None) -> bool:
        """Log the exception that ends the body; answer whether it is one, for an exit with a number is no failure."""
        if error is None or (isinstance(error, SystemExit) and isinstance(error.code, (int, type(None)))):
            return False
        from . import failures

        self._teller()(error, failures.message_of(error), self._values.stderr_discarded)
        return True

    def _teller(self) -> Callable[[BaseException, str, bool], object]:
        # Whoever stays in the foreground is shown by Python as well what has ended it.
        if self._tie is None:
            with ignored(ImportError, OSError):  # no descriptor is left to read it by: then it is told twice
                from . import telling_once

                return telling_once.tell_of_end
        from . import telling

        return telling.tell_of_end

    def _log(self, what: str, error: BaseException) -> None:
        from . import failures, telling

        telling.tell(f"{what}{failures.message_of(error)}", error, self._values.stderr_discarded)

    def _start_error(self, error: BaseException, then: BaseException | None) -> DaemonStartError:
        try:
            from . import failures
        except Exception:  # no descriptor is left to read the module by
            return start_error_in_brief(self._step, error)
        return failures.start_error(self._step, error, then)

    @property
    def _is_waited_for(self) -> bool:
        return self._tie is not None and self._tie.waited_for

    @property
    def _is_opening(self) -> bool:
        return self._opening is not None and self._opening == os.getpid()

    def _leave_if_waited_for(self, error: BaseException | None) -> None:
        if self._is_waited_for:
            error = error or self._told
            self._leave_unready(error, "body", logged=self._logged)

    def _leave_without_more(self, error: BaseException) -> None:
        """Leave all the same, whatever has kept the daemon from telling, a signal or want of memory."""
        if self._is_waited_for:
            try:
                self._leave_unready(error, self._step)
            finally:
                os._exit(1)

    def _leave_unready(
        self, error: BaseException | None, step: str, then: BaseException | None = None, logged: bool = False
    ) -> NoReturn:
        # By os._exit: the launcher raises the error, so what stands around the with-block runs there, and only there.
        try:
            self._tell_launcher(error, step, then, logged)
        except BaseException:  # a signal has kept it from telling, or want of memory
            self._tell_launcher(error, step, then, logged)
        finally:
            os._exit(1)

    def _tell_launcher(self, error: BaseException | None, step: str, then: BaseException | None, logged: bool) -> None:
        assert self._tie is not None
        self._tie.begin_to_fail()
        from . import failures

        failure = failures.failed(step, error, then)
        if not self._tie.failed(failure) and not logged:
            from . import telling

            telling.tell(failure.message, error, self._values.stderr_discarded)
        if "logging" in sys.modules:
            from . import logs

            logs.flush()
        streams.flush()

    def _undo_on_failure(self, put_back: Callable[[], object], forget: Callable[[], object] = bool) -> None:
        """Undo a change if a later step fails; a daemon that has forked takes its changes with it.

        ``forget`` is called instead when all steps are done.
        """
        if self._tie is None:
            self.exit_stack.callback(lambda: put_back() if self._is_opening else None)
            self._forgotten_when_open = self._forgotten_when_open or _new_stack()
            self._forgotten_when_open.callback(forget)

    def _forget(self) -> None:
        if self._forgotten_when_open is not None:
            self._forgotten_when_open.close()


def _new_stack() -> ExitStack:
    # Loaded when something has to be given back: with what it brings along it is a third of an interpreter's own start.
    from contextlib import ExitStack

    return ExitStack()


def _shown() -> BaseException | None:
    """Return the uncaught exception that Python has shown last; see sys.last_value."""
    error: BaseException | None = getattr(sys, "last_value", None)
    return error
