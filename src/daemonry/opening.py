"""One opening of a context: the steps are taken, what they took is given back, and whoever waits is told.

It is in one of these stages, in the process that opens the context; :class:`~daemonry.launch.audience.Audience` tells.

========== =============================================== ============================================
stage      begins when                                     an exception that ends it is told to
========== =============================================== ============================================
opening    ``open()`` is called                            the launcher or, without one, the caller
open       the steps are done, the body has to say more    the launcher
ready      the body, or its beginning, says so             the log
closing    the block, the program or ``close()`` ends it   the log; the launcher, if it still waits
closed     all is given back                               whoever called ``open()`` or ``close()``
========== =============================================== ============================================
"""

from __future__ import annotations

import os

from .errors import DaemonStartError, Terminated, start_error_in_brief
from .launch.at_exit import AtExit
from .launch.audience import Audience
from .plan import Plan
from .system import forks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Any, NoReturn

    from .body import Body
    from .launch.detach import Tie
    from .system.exit_stack import ExitStack

STAGES = OPENING, OPEN, READY, CLOSING, CLOSED = ("opening", "open", "ready", "closing", "closed")
_FORKING = ("leave_init", "detach")
opened: set[Opening] = set()
"""Those whose contexts are open."""


class Opening:
    """What a context has taken since it began to open, and how it gives that back.

    :param stack: what was pushed on the context's exit stack before.
    """

    def __init__(self, context: Body, stack: ExitStack | None = None) -> None:
        self.context = context
        self.stage = CLOSED
        self.process: int | None = None  # until it begins
        self.step = ""
        self.tie: Tie | None = None
        self.audience = Audience(self)
        self.is_pidfile_entered = self.is_ready_said = self.is_terminated = False
        self.is_leaving = False  # while it leaves, a signal ends nothing any more
        self.stop_watching: Callable[[], object] = bool
        self.foreign: frozenset[str] = frozenset()
        """The steps whose methods are the program's own."""
        self._plan: Plan | None = None
        self._stack = stack
        self._forgotten_when_open: ExitStack | None = None
        self._is_closing = self._is_ending = self._is_suppressed = self._was_asked_to_stop = False
        self._ended_by: Any = (None, None, None)
        self._at_exit = AtExit(self._end_at_exit)

    @property
    def is_opening(self) -> bool:
        """Whether this process is taking the steps."""
        return self.stage == OPENING and self.process == os.getpid()

    @property
    def is_open(self) -> bool:
        """Whether this process has taken the steps, and not given back yet what they took."""
        return self.stage in (OPEN, READY, CLOSING) and self.process == os.getpid()

    @property
    def is_inside_another(self) -> bool:
        """Whether another context of this process is open."""
        return any(other.is_open for other in list(opened) if other is not self)

    @property
    def values(self) -> Plan:
        """What the steps use."""
        # Resolved as a whole when first asked for, before anything has changed: so also in a context that leaves out
        # check_options nothing is looked up inside the new root directory.
        if self._plan is None:
            plan = Plan(self.context, self.context.steps, self.process)
            plan.resolve()
            self._plan = plan
        return self._plan

    @property
    def values_or_unresolved(self) -> Plan:
        """The same; where they could not be resolved, each is when it is asked for."""
        return self._plan or Plan(self.context, self.context.steps)

    @property
    def stack(self) -> ExitStack:
        """What is to be given back."""
        self._stack = self._stack or _new_stack()
        return self._stack

    def leave_stack_to_the_next(self) -> ExitStack | None:
        """Return what the next opening goes on with: nothing that belongs to another process, whose child this is."""
        return None if self.stage != CLOSED and self.process != os.getpid() else self._stack

    def run(self) -> None:
        """Take the steps; return in the daemon only."""
        self.process, self.stage = os.getpid(), OPENING
        try:
            self._run()
        except BaseException:
            if self.tie is not None and self.tie.waited_for:
                # No memory is left to call what leaves: before Python 3.11 each call of a function takes some.
                os._exit(1)
            raise

    def _run(self) -> None:
        try:
            try:
                self._take_steps()
            except BaseException as error:
                self._give_up(error)
        except BaseException as another:
            if self.is_opening or self.is_open:  # a signal was delivered before the error was in hand
                self._give_up(another.__context__ or another)
            raise

    def _take_steps(self) -> None:
        # Looked up here, for a daemon that touches little after its fork copies little.
        self.foreign = frozenset(name for name in self.context.steps if not self._is_ours(name))
        for name in self.context.steps:
            self._take_step(name)
        self._begin_body()

    def _take_step(self, name: str) -> None:
        self.step = name
        if self.context._onlooker is not None:
            self.context._onlooker.has_begun(name)
        if self.tie is not None:
            self.tie.tell_of_step(name, name in self.values.idle, name in self.foreign)
        getattr(self.context, name)()
        if name in _FORKING and name in self.foreign:
            self.goes_on_here()  # however it was done: the process that came out of it is the one that opens

    def _is_ours(self, step: str) -> bool:
        """Whether a step's method is this library's, so that it runs none of the program's own code."""
        return getattr(getattr(type(self.context), step, None), "__module__", "").startswith(f"{__package__}.")

    def goes_on_here(self) -> None:
        """Note that it goes on in this process, which has just been forked."""
        self.process = os.getpid()
        forks.go_on_here(self.process)

    def take_over(self, tie: Tie) -> None:
        """Go on with the start in the daemon, which the launcher waits for."""
        self.goes_on_here()
        self.tie = tie
        # What was taken before the fork is given back once: by the launcher when the start fails, else by the daemon.
        if self._stack is not None:
            inherited = self._stack.pop_all()
            self._stack.push(lambda *ending: not self.audience.launcher_waits and inherited.__exit__(*ending))

    def undo_on_failure(self, put_back: Callable[[], object], forget: Callable[[], object] = bool) -> None:
        """Undo a change if a later step fails; a daemon that has forked takes its changes with it.

        ``forget`` is called instead when all steps are done.
        """
        if self.tie is None:
            self.stack.callback(lambda: put_back() if self.is_opening else None)
            self._forgotten_when_open = self._forgotten_when_open or _new_stack()
            self._forgotten_when_open.callback(forget)

    def _begin_body(self) -> None:
        is_ready = self.is_ready_said or not self.values.readiness.manual
        if self.is_ready_said:
            self.audience.announce_ready()
        elif is_ready:
            # notify_ready is left out or overridden: nobody else would let the launcher go.
            self.audience.release_launcher()
        elif self.tie is not None:
            self.tie.tell_of_step("body", is_idle=False, is_foreign=True)
        assert self.process is not None
        self._at_exit.expect(self.values.redirected, self.process)
        opened.add(self)
        self.stage = READY if is_ready else OPEN
        # Behind that: what is forgotten can't be put back, and is by a start that fails.
        self._forget()

    def declare_ready(self) -> None:
        """Tell whoever waits that the daemon is ready, once, and only by the daemon itself."""
        if self.is_ready_said or not (self.is_open or self.is_opening):
            return
        self.is_ready_said = True
        # Said by a step, it waits for the steps that a subclass has put behind: one of them may still fail.
        if self.stage == OPEN:
            self.stage = READY
        if self.is_open:
            self.audience.announce_ready()

    def end(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> bool:
        """Tell of the exception that ends the body, if one does, and close; return whether a manager suppresses it."""
        if self._is_ending:
            return False
        try:
            return self._end(kind, error, trace)
        finally:
            # What a signal has kept it from; nothing, when all is done.
            self._is_ending = self._is_closing = False
            self._end(kind, error, trace)
            # Last: a signal must not take the place of the error that is on its way, nor of the program's own status.
            self._is_ending, self.is_leaving = False, self._was_asked_to_stop

    def _end(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> bool:
        """Close by the method that a subclass may have extended: whatever it does, what the steps took goes back."""
        try:
            if self.is_open:
                self.is_leaving = self._is_ending = True
                self._ended_by = kind, error, trace
                self._close_wholly()
        except BaseException as another:
            self.audience.hear_of_close(another)
            raise
        self.audience.leave_if_waited_for(error)
        return self._is_suppressed

    def _close_wholly(self) -> None:
        try:
            self.context.close()
        finally:
            # What a subclass has left out, or a signal has kept it from; nothing, when all is done.
            self.close()

    # The signals are not held off: what it calls may be the program's own and take its time, and with other threads the
    # mask of this one keeps no handler from running in it. An exception from a handler finds it in one of two states,
    # open and to be closed again, or on a way that does all the rest.
    def close(self) -> None:
        """Give back what the steps took; closed, or in a forked child, do nothing."""
        if not self.is_open or self._is_closing:
            return
        try:
            self.is_leaving = self._is_closing = True
            self.stage = CLOSING
            try:
                self.audience.hear_of_end(self._ended_by[1])
            finally:
                self._is_suppressed = self._give_back()
        except BaseException as another:
            self.audience.hear_of_close(another)
            raise
        finally:
            self._give_back()  # what a signal has kept it from; nothing, when all is given back
            self._have_closed()

    def _give_back(self) -> bool:
        try:
            return self._stack is not None and bool(self._stack.__exit__(*self._ended_by))
        finally:
            self.stop_watching()

    def _have_closed(self) -> None:
        self._forget()
        wish, error = self.context._stop_wish, self._ended_by[1] or self.audience.error_of_close
        wished = wish.made
        wish.forget()
        # Who was asked to stop has stopped: that its log is full is no failure of the stop. A program that ends of
        # itself gets the status by which Python tells of what it could not write.
        self._at_exit.forget(but_drop_unwritten=wished or self.is_terminated)
        # A second SIGTERM must not cut short what follows a first one, up to the exit.
        self._was_asked_to_stop = wished or isinstance(error, Terminated)
        self.stage, self._ended_by = CLOSED, (None, None, None)
        opened.discard(self)
        if not self._is_ending:  # else what a subclass does behind this is done first
            self.audience.leave_if_waited_for(error)
            self.is_leaving = self._was_asked_to_stop

    def _forget(self) -> None:
        if self._forgotten_when_open is not None:
            self._forgotten_when_open.close()

    def _give_up(self, error: BaseException) -> NoReturn:
        """Leave by an error, which a signal may have raised after the last step."""
        if self.is_open:
            self.end(type(error), error, error.__traceback__)
            raise error
        self._fail(error)

    def _fail(self, error: BaseException) -> NoReturn:
        try:
            self._leave_with(error)
        except BaseException:
            if self.is_opening:  # a signal has kept it from giving all back
                self._leave_with(error)
            raise
        finally:
            self.audience.leave_without_more(error)

    def _leave_with(self, error: BaseException) -> NoReturn:
        """Undo the steps, and leave with the error in the way that this process can."""
        if not self.is_opening:  # a worker that a step has forked: there is nothing that it could give back
            raise error
        self.is_leaving = True
        self.audience.hear_of_step(error)
        then = self._unwind(error)
        if self.audience.launcher_waits:
            self.audience.leave_unready(error, self.step, then)
        self.audience.hear_of_failure(error, then)
        if not isinstance(error, Exception):
            raise error
        raised = self._start_error(error, then)
        # An error of our own says all in its message; the frames that it came through would push that off the screen.
        raise raised.with_traceback(None) from (raised.__cause__ if raised is error else error)

    def _start_error(self, error: BaseException, then: BaseException | None) -> DaemonStartError:
        try:
            from .launch import failures
        except Exception:  # no descriptor is left to read the module by
            return start_error_in_brief(self.step, error)
        return failures.start_error(self.step, error, then)

    def _unwind(self, error: BaseException) -> BaseException | None:
        """Unwind the exit stack; return the error that this met itself."""
        then = None
        for _ in range(2):  # the second time for what a signal has kept the first from: else all is given back by then
            try:
                if self._stack is not None:
                    self._stack.__exit__(type(error), error, error.__traceback__)
            except BaseException as another:
                then = then or (another if another is not error else None)
        self.stop_watching()
        self._at_exit.forget()
        self.stage = CLOSED
        # Where the launcher has yet to be told, a signal must not keep it from being told.
        self.is_leaving = self.audience.launcher_waits
        return then

    def _end_at_exit(self, *ending: Any) -> None:
        try:
            self.end(*ending)
        finally:
            # What else is cleaned up at the exit must not be cut short by SIGTERM: the process is ending anyway.
            self.is_leaving = True


def _new_stack() -> ExitStack:
    # A daemon that has nothing to give back does without.
    from .system.exit_stack import ExitStack

    return ExitStack()
