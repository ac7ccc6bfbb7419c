"""Without detaching: the same steps in the same process, errors raised directly, and opened again at will."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from telling_programs import METHODS, launch, told

if TYPE_CHECKING:
    from harness.daemons import Daemons

# A step that fails after all the others but the last.
FAILING = """
class Failing(DaemonContext):
    steps = (*DaemonContext.steps[:-1], "fail")
    def fail(self):
        raise OSError(errno.EBUSY, "no luck", "the file")
"""


def test_the_process_stays_what_it_was(daemons: Daemons) -> None:
    """No fork, no new session, no new parent; the launcher is the daemon."""
    launched = launch(
        daemons,
        """
        os.register_at_fork(before=lambda: print("forked"))
        before = [os.getpid(), os.getppid(), os.getsid(0), os.getpgrp()]
        with DaemonContext(detach_process=False) as context:
            print(before == [os.getpid(), os.getppid(), os.getsid(0), os.getpgrp()], context.is_open)
        print(context.is_open)
        """,
    )
    assert launched.stdout == "True True\nFalse\n"


def test_the_other_steps_are_the_same(daemons: Daemons) -> None:
    found = told(
        daemons,
        """
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
        os.dup2(0, 50)
        with DaemonContext(detach_process=False, umask=0o027, environment={"ONLY": "this"}):
            seen = facts()
            tell([seen.numbers, seen.cwd, seen.umask, seen.environment, seen.core_limit, seen.blocked,
                  signal.SIGUSR1 in seen.ignored, signal.SIGTSTP in seen.ignored, signal.SIGTERM in seen.caught])
        """,
        plain=True,
    )
    assert found == [[0, 1, 2], "/", 0o027, {"ONLY": "this"}, ["0", "0"], [], False, True, True]


def test_streams_stay_as_they_are_unless_they_are_given(daemons: Daemons) -> None:
    launched = launch(
        daemons,
        """
        names = [sys.stdin, sys.stdout, sys.stderr]
        with DaemonContext(detach_process=False, stderr=path("log")):
            print(sys.stdin.read(), [one is other for one, other in zip(names, [sys.stdin, sys.stdout, sys.stderr])])
            print("to the log", file=sys.stderr)
        """,
        stdin="some input",
    )
    assert launched.stdout == "some input [True, True, True]\n"
    assert launched.stderr == ""
    assert (daemons.directory / "log").read_text() == "to the log\n"


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
@pytest.mark.parametrize(
    "stand_in",
    [
        "sys.stdout = open(path('other'), 'w', buffering=1)",
        "sys.stdout = io.StringIO()",
        "sys.stdout = None",
        "sys.stdout.close()",
    ],
)
def test_what_a_program_put_for_sys_stdout_stays_there_and_works(daemons: Daemons, stand_in: str, method: str) -> None:
    """The file of a test's capture, for instance, is open still."""
    assert told(
        daemons,
        method,
        stand_in,
        """
        before, was = sys.stdout, target(1)
        usable = before is not None and not before.closed
        with DaemonContext(detach_process=False):
            if usable:
                print("text")
            tell([sys.stdout is before, target(1) == was, not usable or not before.closed])
        """,
    ) == [True, True, True]
    other = daemons.directory / "other"
    assert not other.exists() or other.read_text() == "text\n"


def test_a_stream_that_was_closed_is_open_and_discarded(daemons: Daemons) -> None:
    """Its name in sys, which was None, writes to it."""
    found = told(
        daemons,
        """
        context = DaemonContext(detach_process=False)
        planned = [str(step.value) for step in context.plan() if step.name == "redirect_streams"]
        with context:
            print("text", file=sys.stderr)
            tell([planned, target(2), sys.stderr.fileno()])
        """,
        preexec=_close_stderr,
    )
    assert found == [["stdin unchanged, stdout unchanged, stderr -> /dev/null"], "/dev/null", 2]


def _close_stderr() -> None:
    os.close(2)


def test_a_file_that_got_the_number_of_a_closed_stream_is_left_alone(daemons: Daemons) -> None:
    """What the program prints doesn't get into it."""
    assert told(
        daemons,
        """
        data = open(path("data"), "w", buffering=1)
        assert data.fileno() == 2
        with DaemonContext(detach_process=False):
            print("text", file=sys.stderr)
            data.write("data")
            data.flush()
            tell([target(2), sys.stderr])
        """,
        preexec=_close_stderr,
    ) == [str(daemons.directory / "data"), None]
    assert (daemons.directory / "data").read_text() == "data"


# Errors


def test_an_error_is_raised_directly_with_step_number_and_cause(daemons: Daemons) -> None:
    assert told(
        daemons,
        FAILING,
        """
        pid = os.getpid()
        context = Failing(detach_process=False)
        try:
            context.open()
        except DaemonStartError as error:
            cause = error.__cause__
            tell([error.step, error.errno == errno.EBUSY, str(error), repr(type(cause)), cause.filename,
                  "in fail" in error.traceback, os.getpid() == pid, context.is_open])
        """,
    ) == [
        "fail",
        True,
        "cannot start the daemon: step fail: no luck: the file",
        "<class 'OSError'>",
        "the file",
        True,
        True,
        False,
    ]


def test_an_uncaught_error_is_on_the_terminal_and_the_status(daemons: Daemons) -> None:
    launched = launch(daemons, FAILING, "with Failing(detach_process=False): print('body')", status=1)
    assert launched.stdout == ""
    assert launched.stderr.rstrip().endswith("DaemonStartError: cannot start the daemon: step fail: no luck: the file")


# Again


def test_a_start_that_failed_can_be_tried_again(daemons: Daemons) -> None:
    assert told(
        daemons,
        """
        from daemonry import PIDLockFile
        class FailsOnce(DaemonContext):
            failed = False
            def notify_ready(self):
                if not self.failed:
                    self.failed = True
                    raise OSError(errno.EBUSY, "no luck")
                super().notify_ready()
        lock = PIDLockFile(path("pid"))
        context = FailsOnce(detach_process=False, stdout=path("log"), pidfile=lock)
        try:
            context.open()
        except DaemonStartError:
            first = [context.is_open, lock.is_locked()]
        context.open()
        print("text")
        tell([first, context.is_open, lock.read_pid() == os.getpid(), len(facts().numbers)])
        context.close()
        """,
    ) == [[False, False], True, True, 3]
    assert (daemons.directory / "log").read_text() == "text\n"


@pytest.mark.parametrize("detach", ["False", "None"])
def test_a_closed_context_can_be_opened_again(daemons: Daemons, detach: str) -> None:
    """It takes the lock again, redirects again, and nothing piles up."""
    assert (
        told(
            daemons,
            f"""
        from daemonry import PIDLockFile
        os.environ["SYSTEMD_EXEC_PID"] = str(os.getpid())
        lock = PIDLockFile(path("pid"))
        context = DaemonContext(detach_process={detach}, stdout=path("log"), pidfile=lock)
        seen = []
        for round in range(3):
            with context:
                print("round", round)
                seen.append([context.is_open, lock.is_locked(), len(facts().numbers)])
            seen.append([context.is_open, lock.is_locked(), len(facts().numbers)])
        tell(seen)
        """,
        )
        == [[True, True, 3], [False, False, 3]] * 3
    )
    assert (daemons.directory / "log").read_text() == "round 0\nround 1\nround 2\n"


def test_opening_twice_and_closing_twice_do_nothing_more(daemons: Daemons) -> None:
    assert told(
        daemons,
        """
        class Counting(DaemonContext):
            count = 0
            def set_umask(self):
                self.count += 1
                super().set_umask()
        context = Counting(detach_process=False)
        context.close()
        context.open(), context.open()
        number = os.open("/dev/null", os.O_RDONLY)
        context.open()
        still = is_open(number)
        context.close(), context.close()
        tell([context.count, still, context.is_open])
        """,
    ) == [1, True, False]


def test_nothing_stays_open_of_a_start_that_went_well(daemons: Daemons) -> None:
    """Neither the copies of the streams for the case that it went wrong."""
    assert told(
        daemons,
        """
        with DaemonContext(detach_process=False, stdout=path("log"), stderr=path("log"), stdin="/dev/zero"):
            tell(facts().numbers)
        """,
    ) == [0, 1, 2]


def test_what_is_printed_to_a_manager_s_pipe_comes_line_by_line(daemons: Daemons) -> None:
    """And not in pieces of some kilobytes; a start that fails leaves that as it was."""
    assert told(
        daemons,
        """
        class Failing(DaemonContext):
            def set_umask(self):
                raise LookupError
        before = sys.stdout.line_buffering
        try:
            Failing(detach_process=False).open()
        except DaemonStartError:
            failed = sys.stdout.line_buffering
        with DaemonContext(detach_process=False):
            tell([before, failed, sys.stdout.line_buffering])
        """,
        env={"PYTHONUNBUFFERED": None},
    ) == [False, False, True]
