"""The commands that run a program: start, run, restart, plan."""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager
from functools import partial

from ..control.daemon import remove_left_over
from ..errors import DaemonStartError, InvalidOption, Terminated
from . import history, memory, places, preconditions, program_options
from .refusal import Refusal
from .statuses import DONE, FAILED, USAGE, status_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from types import FrameType
    from typing import Any

    from ..plan import PlannedStep
    from .memory import Memory
    from .places import Target
    from .program import Program, Readiness
    from .screen import Screen
    from .start_notes import StartNotes
    from .supervisor import Supervisor

# For what a start has left that has failed.
_AFTER_FAILURE = "TERM/5/KILL/5"
# The user has given a program and flags, and knows nothing of options, of steps and of what becomes what.
_THEIRS_BY_OURS = {
    ": step run_program: ": ": ",
    ": step body: ": ": ",
    ": step check_options: ": ": ",
    ": the daemon ": ": the program ",
    ": not ready after ": ": the program was not up after ",
    ": run_program was not done; the daemon has been ended": "; it has been ended",
    ": the body did not call ready(); the daemon has been ended": "; it has been ended",
}


def add_program(parser: argparse.ArgumentParser) -> None:
    """Add the flags of a program and the program itself."""
    program_options.add_to(parser)
    parser.add_argument("--clean", action="store_true", help="first end what a dead daemon of this name has left")
    parser.add_argument("words", nargs="*", metavar="-- PROGRAM ARG", help="the program, and its arguments")


def add_restart(parser: argparse.ArgumentParser) -> None:
    """Add what ``restart`` takes: a daemon, or a program as for ``start``."""
    from .steering import add_stop

    add_stop(parser)
    add_program(parser)


def add_plan(parser: argparse.ArgumentParser) -> None:
    """Add what ``plan`` takes."""
    parser.add_argument("--json", action="store_true", help="answer in JSON")
    add_program(parser)


def start(options: argparse.Namespace, screen: Screen) -> int:
    """Start a program as a daemon."""
    program_options.give_place(options)
    target = _target(options)
    preconditions.refuse_running(target)
    preconditions.refuse_left_overs(target, options.clean, screen)
    preconditions.refuse_taken_port(options)
    preconditions.forget_the_dead(target)
    context = _context(options, foreground=False)
    context.show = screen.move if screen.moves else screen.say
    context.ticks = screen.moves
    title = target.title if target is not None else options.words[0]
    context.started = "" if screen.quiet else f"{title}: started, process {{pid}}"
    log = program_options.streams(options, keep=False)["stdout"]
    with _sigterm_unwinds(), memory.drafted(target, log and places.absolute(log), options.told) as draft:
        context.launched = partial(_keep, draft, context.notes, screen)
        return _open(context, target, screen)


def _keep(draft: Memory | None, notes: StartNotes, screen: Screen) -> None:
    try:
        if draft is not None:
            draft.keep(notes.pid)
    except OSError as error:  # the daemon is up all the same
        screen.complain(f"it is not kept how it was started, for a restart: {error.filename2}: {error.strerror}")


@contextmanager
def _sigterm_unwinds() -> Iterator[None]:
    """Let SIGTERM, of timeout(1) for one, end the block as Ctrl-C does: a half-started daemon's files are to go too."""

    def end(signum: int, _frame: FrameType | None) -> None:
        signal.signal(signum, signal.SIG_IGN)  # a second one must not cut short what the first one began
        raise Terminated(signum)

    own = os.getpid()
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, end)
    try:
        yield
    except Terminated as error:
        if os.getpid() == own:  # by the signal, so that the parent sees it
            signal.signal(error.signum, signal.SIG_DFL)
            os.kill(own, error.signum)
        raise


def run(options: argparse.Namespace, screen: Screen) -> int:
    """Run a program in the foreground, in the place of this command."""
    target = _target(options)
    preconditions.refuse_running(target)
    preconditions.refuse_left_overs(target, options.clean, screen)
    preconditions.forget_the_dead(target)
    context = _context(options, foreground=True)
    return _open(context, target, screen)


def _context(options: argparse.Namespace, foreground: bool) -> Program | Supervisor:
    _require_program(options)
    settings = program_options.context_options(options, foreground)
    path = program_options.executable(options.words, options.chroot, settings["environment"])
    settings["detach_process"] = not foreground
    target = _target(options)
    if target is not None and target.memory is not None:
        # Also for a plan: a file in a directory that isn't there would be refused. It stays, for a start
        # at the same time may count on it.
        places.make_directories(target)
    settings["pidfile"] = _pidfile(options)
    if not options.restart:
        if options.timestamps:
            reason = "without a supervisor the program itself writes its log"
            raise Refusal(f"--timestamps takes --restart: {reason}", USAGE)
        from .program import Program

        context: Program | Supervisor = Program(path, options.words, _readiness(options), **settings)
    else:
        context = _supervisor(path, options, settings)
    context.flags = program_options.flags_of(options)
    return context


def _supervisor(path: str, options: argparse.Namespace, settings: dict[str, Any]) -> Supervisor:
    from .stamps import AsWritten, Stamped
    from .supervisor import Policy, Supervisor

    most, window = options.restart_limit
    policy = Policy(on_failure=options.restart == "on-failure", pause=options.restart_pause, most=most, window=window)
    form = Stamped if options.timestamps else AsWritten
    return Supervisor(path, options.words, _readiness(options), policy, form, **settings)


def _target(options: argparse.Namespace) -> Target | None:
    """Return the daemon that the flags name.

    :raises Refusal: when its pidfile is its log, which would be taken for what a dead daemon has left, and emptied.
    """
    target = program_options.target_of(options)
    if target is not None:
        streams = program_options.streams(options, keep=False)
        for log in filter(None, (streams["stdout"], streams["stderr"])):
            if _is_same(log, target.pidfile):
                raise Refusal(f"{log} can't be both pidfile and log; choose another path for one of them", USAGE)
    return target


def _is_same(one: str, other: str) -> bool:
    try:
        return os.path.realpath(one) == os.path.realpath(other)
    except OSError:  # the working directory is gone: whoever opens them will say it
        return False


def _require_program(options: argparse.Namespace) -> None:
    if not options.words:
        raise Refusal("no program is given; write it behind --: daemonry start --name web -- redis-server", USAGE)


def _pidfile(options: argparse.Namespace) -> Any:
    target = program_options.target_of(options)
    if target is None:
        return None
    from ..pidfile.as_lockfile import PIDLockFile

    return PIDLockFile(target.pidfile)


def _readiness(options: argparse.Namespace) -> Readiness:
    from .readiness import Accepting, Notified, Settled

    if options.notify:
        return Notified()
    if options.wait_port is not None:
        return Accepting(options.wait_port)
    return Settled(options.settle)


def _open(context: Program | Supervisor, target: Target | None, screen: Screen) -> int:
    try:
        context.open()
    except DaemonStartError as error:
        try:
            _tell_failure(error, context, screen)
        finally:
            if error.step != "lock_pidfile":  # else there is none of ours, and what is in the way has been told
                _clear(target, screen)
        return status_of(error)
    except (KeyboardInterrupt, Terminated):
        _clear(target, screen)
        raise
    try:
        with context:
            return context.keep()
    except SystemExit as end:
        if not isinstance(end.code, str):
            raise
        screen.complain(end.code)  # in the foreground: a launcher is told of it as of an error of the start
        return FAILED
    return FAILED  # the context has swallowed what went wrong, and told of it


def _clear(target: Target | None, screen: Screen) -> None:
    # The program knows nothing of its pidfile, and has left it; and maybe more.
    if target is None:
        return
    history.forget(target)
    if os.path.lexists(target.pidfile):
        from . import left_overs

        try:
            left_overs.end(target, _AFTER_FAILURE, screen)
        finally:
            remove_left_over(target.pidfile)


def _tell_failure(error: DaemonStartError, context: Program | Supervisor, screen: Screen) -> None:
    screen.complain(_text_of(error, context) + _hint_on(error, context))
    for line in context.notes.last_words(context.stdout, context.stderr):
        screen.say(f"  {line}")


def _hint_on(error: DaemonStartError, context: Program | Supervisor) -> str:
    if isinstance(error, InvalidOption) or context.chroot_directory is not None:
        return ""
    from . import hints

    directory = os.fsdecode(context.working_directory)
    return hints.on_failure(error, context.words, os.path.abspath(directory), context.readiness)


def _text_of(error: DaemonStartError, context: Program | Supervisor) -> str:
    text = str(error)
    for ours, theirs in _THEIRS_BY_OURS.items():
        text = text.replace(ours, theirs)
    if isinstance(error, InvalidOption) and error.option in context.flags:
        text = text.replace(f": {error.option}: ", f": {context.flags[error.option]}: ", 1)
    return text


def restart(options: argparse.Namespace, screen: Screen) -> int:
    """Stop a daemon, if it runs, and start it: as it was started last, or as is said behind ``--``."""
    if options.all or (not options.has_program and len(options.words) > 1):
        return _restart_several(options, screen)
    from .steering import stop_target

    schedule, kill = options.schedule, options.kill
    if not options.has_program:
        options = _as_before(options)
    target = _target(options)
    if target is None:
        raise Refusal("say which daemon, by --name or by --pidfile", USAGE)
    # Refused before the old one is stopped: a typing error must not cost a service.
    _planned(_context(options, foreground=False))
    for place in [each for each in places.everywhere(target) if os.path.lexists(each.pidfile)] or [target]:
        stop_target(place, schedule, screen, kill)
    return start(options, screen)


def _restart_several(options: argparse.Namespace, screen: Screen) -> int:
    if options.all and (options.words or options.name):
        raise Refusal("--all names all daemons, each as it was started: give no name and no program with it", USAGE)
    from .commands import carry_out
    from .several import each_apart, wanted

    def restart_one(daemon: str | Target) -> int:
        options.words, options.all = [daemon], False
        return carry_out(restart, options)

    return each_apart(wanted(options.words, options.all), restart_one)


def _as_before(options: argparse.Namespace) -> argparse.Namespace:
    from .commands import parse

    names = options.words or ([options.name] if options.name else [])
    if len(names) != 1:
        raise Refusal("say which daemon, by its name, or a program behind --", USAGE)
    target = places.target_of(names[0])
    kept = memory.recall(target)
    memory.enter(target, kept)
    remembered: argparse.Namespace = parse("restart", kept["words"])
    program_options.give_place(remembered)
    return remembered


def plan(options: argparse.Namespace, screen: Screen) -> int:
    """Tell what ``start`` would do with the same flags, or refuse."""
    from . import planned
    from .tables import aligned

    program_options.give_place(options)
    preconditions.refuse_running(_target(options))
    preconditions.refuse_taken_port(options)
    context = _context(options, foreground=False)
    rows = [*planned.rows(_planned(context), context, options)]
    if options.json:
        screen.answer_json([{"step": step, "what": what or None, "value": value} for step, what, value in rows])
    else:
        for line in aligned([(what, str(value)) for _, what, value in rows if what]):
            screen.answer(line)
    return DONE


def _planned(context: Program | Supervisor) -> tuple[PlannedStep, ...]:
    try:
        return context.plan()
    except InvalidOption as error:
        raise Refusal(_text_of(error, context), USAGE) from error
