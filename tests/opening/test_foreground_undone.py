"""Without detaching: what had been changed before a failing step is put back where the kernel allows."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from daemonry import DaemonContext
from telling_programs import launch, told

if TYPE_CHECKING:
    from harness.daemons import Daemons

# A step that fails after all the others but the last.
FAILING = """
class Failing(DaemonContext):
    steps = (*DaemonContext.steps[:-1], "fail")
    def fail(self):
        raise OSError(errno.EBUSY, "no luck", "the file")
"""

# All that a start may change in its process. The mask and the handlers are read from Python, the rest from the kernel.
SNAPSHOT = """
def snapshot():
    seen = facts()
    return {
        "descriptors": [[each.number, each.target, each.close_on_exec] for each in seen.descriptors],
        "streams": [id(sys.stdin), id(sys.stdout), id(sys.stderr)],
        "manners": [[each.errors, each.line_buffering] for each in (sys.stdout, sys.stderr) if each is not None],
        "directory": seen.cwd, "umask": seen.umask, "environment": dict(os.environ),
        "handlers": {number: repr(signal.getsignal(number)) for number in signal.valid_signals()},
        "mask": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
        "core": resource.getrlimit(resource.RLIMIT_CORE)[0], "ids": [seen.uids, seen.gids, seen.groups],
        "hooks": [repr(threading.excepthook), repr(sys.unraisablehook)],
    }

def differences(before, after):
    return {name: [before[name], after[name]] for name in before if before[name] != after[name]}
"""

ALL_OPTIONS = """
options = dict(
    detach_process=False, umask=0o077, environment={"ONLY": "this"}, working_directory=HERE,
    signal_map={"USR1": None, "HUP": "terminate", "TERM": "request_stop"},
    stdin="/dev/zero", stdout=path("log"), stderr=path("err"),
)
signal.signal(signal.SIGUSR2, signal.SIG_IGN)
signal.signal(signal.SIGHUP, lambda *_: None)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGWINCH])
os.umask(0o013)
os.chdir("/usr")
"""


@pytest.mark.parametrize(
    ("step", "given"),
    [*((name, "all") for name in DaemonContext.steps if name != "check_options"), ("notify_ready", "default")],
)
def test_everything_is_put_back_when_a_step_fails(daemons: Daemons, step: str, given: str) -> None:
    """Each step in turn fails when its work is done."""
    found = told(
        daemons,
        SNAPSHOT,
        ALL_OPTIONS,
        f"""
        if {given!r} == "default":
            options = dict(detach_process=False)
        def fail(self):
            getattr(DaemonContext, {step!r})(self)
            raise RuntimeError("no luck")
        Failing = type("Failing", (DaemonContext,), {{{step!r}: fail}})
        context = Failing(**options)
        context.plan()
        before = snapshot()
        try:
            context.open()
        except DaemonStartError as error:
            tell([error.step, differences(before, snapshot())])
        """,
    )
    assert found == [step, {}]


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)], ids=str)
def test_streams_that_were_closed_are_closed_again_when_a_step_fails(daemons: Daemons, closed: tuple[int, ...]) -> None:
    def close() -> None:
        for number in closed:
            os.close(number)

    assert told(
        daemons,
        FAILING,
        """
        was = [[is_open(number) for number in range(3)], [sys.stdin, sys.stdout, sys.stderr]]
        try:
            Failing(detach_process=False, stdout=path("log")).open()
        except DaemonStartError:
            is_now = [[is_open(number) for number in range(3)], [sys.stdin, sys.stdout, sys.stderr]]
            tell(is_now == was)
        """,
        preexec=close,
    )


def test_a_stream_is_put_back_as_inheritable_as_it_was(daemons: Daemons) -> None:
    assert told(
        daemons,
        FAILING,
        """
        os.set_inheritable(0, False)
        try:
            Failing(detach_process=False).open()
        except DaemonStartError:
            tell([os.get_inheritable(number) for number in range(3)])
        """,
    ) == [False, True, True]


def test_an_object_that_was_put_in_sys_is_taken_away_again(daemons: Daemons) -> None:
    launched = launch(
        daemons,
        FAILING,
        """
        out = io.StringIO()
        try:
            with Failing(detach_process=False, stdout=out):
                pass
        except DaemonStartError:
            print("back", target(1) == path("0.out"))
        """,
    )
    assert launched.stdout == "back True\n"


def test_what_is_printed_while_a_start_fails_is_where_stdout_was_given(daemons: Daemons) -> None:
    launched = launch(
        daemons,
        """
        class Failing(DaemonContext):
            def set_umask(self):
                sys.stdout.write("during")
                raise OSError(errno.EBUSY, "no luck")
        sys.stdout.write("before ")
        try:
            Failing(detach_process=False, stdout=path("log")).open()
        except DaemonStartError:
            print("after")
        """,
        env={"PYTHONUNBUFFERED": None},
    )
    assert launched.stdout == "before after\n"
    assert (daemons.directory / "log").read_text() == "during"


def test_the_limit_of_core_files_is_put_back_where_the_kernel_allows_it(daemons: Daemons) -> None:
    """That is, for who may raise a hard limit; for others it is no second error."""
    limits, may_raise, message = told(
        daemons,
        FAILING,
        """
        def lower_and_raise():
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            resource.setrlimit(resource.RLIMIT_CORE, (1000, 2000))
        resource.setrlimit(resource.RLIMIT_CORE, (1000, 2000))
        pid = os.fork()
        if pid == 0:
            try:
                lower_and_raise()
                os._exit(0)
            finally:
                os._exit(1)
        may_raise = os.waitpid(pid, 0)[1] == 0
        try:
            Failing(detach_process=False).open()
        except DaemonStartError as error:
            tell([resource.getrlimit(resource.RLIMIT_CORE), may_raise, str(error)])
        """,
    )
    assert limits == ([1000, 2000] if may_raise else [0, 0])
    assert message == "cannot start the daemon: step fail: no luck: the file"


def test_the_pidfile_is_released_when_a_later_step_fails(daemons: Daemons) -> None:
    assert told(
        daemons,
        FAILING,
        """
        from daemonry import PIDLockFile
        lock = PIDLockFile(path("pid"))
        before = facts().numbers
        try:
            Failing(detach_process=False, pidfile=lock).open()
        except DaemonStartError:
            tell([os.path.exists(path("pid")), lock.is_locked(), facts().numbers == before])
        """,
    ) == [False, False, True]


def test_any_other_pidfile_gets_the_error_that_ends_the_start(daemons: Daemons) -> None:
    assert told(
        daemons,
        FAILING,
        """
        class Lock:
            def __enter__(self): return self
            def __exit__(self, *exc_info): self.told = exc_info
        lock = Lock()
        try:
            Failing(detach_process=False, pidfile=lock).open()
        except DaemonStartError as error:
            tell([lock.told[0] is OSError, lock.told[1] is error.__cause__])
        """,
    ) == [True, True]


@pytest.mark.parametrize("error", ["KeyboardInterrupt", "SystemExit(3)"])
def test_what_is_no_failure_goes_on_as_it_is_and_everything_is_put_back(daemons: Daemons, error: str) -> None:
    found = told(
        daemons,
        SNAPSHOT,
        ALL_OPTIONS,
        f"""
        class Failing(DaemonContext):
            def notify_ready(self):
                raise {error}
        context = Failing(**options)
        context.plan()
        before = snapshot()
        try:
            context.open()
        except BaseException as raised:
            tell([repr(raised), differences(before, snapshot())])
        """,
    )
    assert found == ["KeyboardInterrupt()" if error == "KeyboardInterrupt" else "SystemExit(3)", {}]


def test_refused_options_change_nothing(daemons: Daemons) -> None:
    assert told(
        daemons,
        SNAPSHOT,
        """
        os.dup2(0, 60)
        import daemonry.plan
        context = DaemonContext(detach_process=False, umask=-1)
        before = snapshot()
        try:
            context.open()
        except InvalidOption as error:
            tell([error.option, differences(before, snapshot())])
        """,
    ) == ["umask", {}]
