"""What the steps took is given back, in reverse and once, and a failed start leaves nothing."""

from __future__ import annotations

import contextlib
import itertools
from typing import TYPE_CHECKING, Any

import pytest

from daemonry.system.exit_stack import ExitStack
from harness.waiting import wait_for

if TYPE_CHECKING:
    from harness.daemons import Daemons


@pytest.fixture(params=[True, False], ids=["detached", "in the foreground"])
def detach(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.mark.parametrize("end", ["", "raise LookupError", "context.close()", "sys.exit(0)"])
def test_what_was_taken_is_given_back_in_reverse(daemons: Daemons, detach: bool, end: str) -> None:
    daemons.launch(
        f"""
        import sys
        from daemonry import DaemonContext

        events = open("events", "a", 1)
        class Context(DaemonContext):
            steps = ("check_options", "before", *DaemonContext.steps[1:], "after")
            def before(self):
                self.exit_stack.callback(print, "before", file=events)
            def after(self):
                self.exit_stack.callback(print, "after", file=events)
        class Manager:
            def __enter__(self): pass
            def __exit__(self, *exc_info): print("pidfile", file=events)

        with Context(pidfile=Manager(), files_preserve=[events], detach_process={detach}) as context:
            context.exit_stack.callback(print, "body", file=events)
            {end}
        """
    )
    wait_for(lambda: not daemons.alive(), what="the daemon ends")
    assert (daemons.directory / "events").read_text().split() == ["body", "after", "pidfile", "before"]


@pytest.mark.parametrize(
    ("failing", "detach"), [("step", True), ("step", False), ("undo", True), ("undo", False), ("killed", True)]
)
def test_what_was_taken_is_given_back_once_when_a_start_fails(daemons: Daemons, detach: bool, failing: str) -> None:
    """By the launcher if it was taken before the fork, else by the daemon, and an error on the way hides nothing."""
    launched = daemons.launch(
        f"""
        import os, signal
        from daemonry import DaemonContext, DaemonStartError

        events = open("events", "a", 1)
        launcher = os.getpid()
        def undo(name):
            print(name, "launcher" if os.getpid() == launcher else "daemon", file=events)
            if name == "after" and {failing == "undo"}:
                raise ValueError("can't undo")
        class Context(DaemonContext):
            steps = ("check_options", "before", *DaemonContext.steps[1:], "after", "broken")
            def before(self):
                self.exit_stack.callback(undo, "before")
            def after(self):
                self.exit_stack.callback(undo, "after")
            def broken(self):
                if {failing == "killed"}:
                    os.kill(os.getpid(), signal.SIGKILL)
                raise LookupError("broken")
        try:
            with Context(files_preserve=[events], detach_process={detach}, ready="manual"):
                print("body", file=events)
        except DaemonStartError as error:
            print(error.step, error.message, error.signum)
        """
    ).check()
    told = (daemons.directory / "events").read_text().splitlines()
    before, after = "before launcher", f"after {'daemon' if detach else 'launcher'}"
    assert told == ([before] if failing == "killed" else [after, before])
    assert (
        launched.stdout.strip()
        == {
            "step": "broken LookupError: broken None",
            "undo": "broken LookupError: broken; and undoing it: ValueError: can't undo None",
            "killed": "broken the daemon was killed by SIGKILL 9",
        }[failing]
    )


def test_a_failing_step_leaves_no_process(daemons: Daemons) -> None:
    launched = daemons.launch(
        """
        import os
        from daemonry import DaemonContext
        class Context(DaemonContext):
            def notify_ready(self):
                if os.fork() == 0:
                    import signal
                    signal.pause()
                raise OSError(28, "No space left", "/var/spool/mine")
        with Context():
            pass
        """
    ).check(1)
    assert launched.stderr.splitlines()[-1].startswith(
        "daemonry.errors.DaemonStartError: cannot start the daemon: step notify_ready: No space left: /var/spool/mine"
    )
    assert daemons.alive() == []


def test_what_a_start_in_the_foreground_had_changed_is_put_back(daemons: Daemons) -> None:
    unchanged = "return {name: value for name, value in vars(facts()).items() if name not in ('descriptors', 'state')}"
    launched = daemons.launch(
        f"""
        import os, resource
        from daemonry import DaemonContext, DaemonStartError
        from harness.probe import facts

        def now():
            {unchanged}
        class Context(DaemonContext):
            def notify_ready(self):
                during.update(now())
                raise LookupError
        during = {{}}
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a limit that was lowered takes a capability to be raised
        os.umask(0o027)
        before = now()
        try:
            Context(
                detach_process=False, umask=0, working_directory="/", environment={{"A": "1"}},
                signal_map={{"USR1": None}}
            ).open()
        except DaemonStartError:
            after = now()
        assert before == after, (before, after)
        print(*sorted(name for name in before if before[name] != during[name]))
        """
    ).check()
    assert launched.stdout.split() == ["caught", "cwd", "environment", "ignored", "umask"]


@pytest.mark.parametrize("ready", ["auto", "manual"])
def test_what_a_close_of_the_programs_own_does_last_is_done_whether_or_not_the_daemon_was_ready(
    daemons: Daemons, ready: str
) -> None:
    daemons.launch(
        f"""
        from daemonry import DaemonContext

        class Context(DaemonContext):
            def close(self):
                super().close()
                with open("closed", "a") as file:
                    print("closed", file=file)

        with Context(detach_process=True, working_directory=".", ready={ready!r}):
            raise LookupError
        """
    )
    wait_for(lambda: not daemons.alive(), what="the daemon ends")
    assert (daemons.directory / "closed").read_text() == "closed\n"


@pytest.mark.parametrize("ready", ["auto", "manual"])
def test_a_subclass_may_compare_its_contexts_and_so_be_without_a_hash(
    daemons: Daemons, detach: bool, ready: str
) -> None:
    daemons.launch(
        f"""
        from daemonry import DaemonContext

        class Context(DaemonContext):
            def __eq__(self, other):
                return isinstance(other, Context)

        with Context(detach_process={detach}, working_directory=".", ready={ready!r}) as context:
            context.ready()
            open("up", "x").close()
        """
    ).check()
    wait_for(lambda: not daemons.alive(), what="the daemon ends")
    assert (daemons.directory / "up").exists()


def test_an_interrupt_when_all_steps_are_done_closes_no_stream(daemons: Daemons) -> None:
    """A start in the foreground keeps copies to put back until there is nothing to be put back any more."""
    launched = daemons.launch(
        """
        import atexit, sys
        from daemonry import DaemonContext

        def interrupt(*_):
            raise KeyboardInterrupt

        register, atexit.register = atexit.register, interrupt
        try:
            DaemonContext(detach_process=False, working_directory=".", stdout="out", stderr="err").open()
        except KeyboardInterrupt:
            atexit.register = register
        print("still there", flush=True)
        print("and here", file=sys.stderr, flush=True)
        """
    ).check()
    assert (launched.stdout, launched.stderr) == ("still there\n", "and here\n")


class Leaving:
    """What is left in one of three ways, and what it was told of."""

    def __init__(self, way: str, told: list[object]) -> None:
        self._way = way
        self._told = told

    def __enter__(self) -> str:
        return f"entered {self._way}"

    def __exit__(self, kind: Any, error: Any, trace: Any) -> bool:
        self._told.append((self._way, kind, repr(error), trace is not None))
        if self._way == "raises":
            raise LookupError(len(self._told))
        return self._way == "ends it"


def outcome(kind: Any, ways: tuple[str, ...], fails: bool) -> object:
    """Say all that can be seen of a stack that is left, through a with-block."""
    told: list[object] = []
    try:
        with kind() as stack:
            told.append(stack.enter_context(Leaving(ways[0], told)))
            stack.callback(lambda *words, **named: told.append((words, named)), 1, two=2)
            for way in ways[1:]:
                stack.push(Leaving(way, told))
            stack.push(lambda *exc_info: told.append(exc_info[0]))
            moved = stack.pop_all()
            stack.push(moved)
            if fails:
                raise ValueError
    except Exception as error:
        raised: BaseException | None = error
        while raised is not None:
            told.append(repr(raised))
            raised = raised.__context__
    return told


@pytest.mark.parametrize("ways", [*itertools.product(("goes on", "ends it", "raises"), repeat=3)], ids=", ".join)
def test_it_is_left_as_that_of_the_standard_library(ways: tuple[str, ...]) -> None:
    for fails in (False, True):
        assert outcome(ExitStack, ways, fails) == outcome(contextlib.ExitStack, ways, fails)
