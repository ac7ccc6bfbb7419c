"""The program's own code fails, in every place where it runs: the launcher's words are true, and nothing is left."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest
from own_code_programs import judged, with_block

from daemonry import DaemonContext
from harness.size import is_brief

if TYPE_CHECKING:
    from harness.daemons import Daemons
    from harness.evidence import Cases

pytestmark = pytest.mark.reliability("The program's own code")

# How code of the program's own may end: what is said of it, and with which status Python ends a process for it.
ENDS = {
    "raise ValueError('no')": ("ValueError: no", 1),
    "raise Odd('odd')": ("Odd: odd", 1),
    "raise MemoryError": ("MemoryError", 1),
    "raise StopIteration": ("StopIteration", 1),
    "raise GeneratorExit": ("GeneratorExit", 1),
    "raise KeyboardInterrupt": ("KeyboardInterrupt", -signal.SIGINT),
    "sys.exit(3)": ("exited with status 3", 3),
    "os._exit(7)": ("the daemon exited with status 7 before it was ready", 7),
    "os.kill(os.getpid(), signal.SIGKILL)": ("the daemon was killed by SIGKILL", -signal.SIGKILL),
}
EXCEPTIONS = ("ValueError", "MemoryError", "StopIteration")
AT_ONCE = ("os._exit(7)", "os.kill(os.getpid(), signal.SIGKILL)")
IN_LAUNCHER = ("check_options", "flush_streams", "leave_init")
FOREGROUND = {"daemon": "", "foreground": "detach_process=False"}


def some(programs: dict[str, str]) -> dict[str, str]:
    """Return all of them, or every tenth where only the rest of the tests is asked for."""
    return dict(list(programs.items())[:: 10 if is_brief() else 1])


def test_a_step_that_ends_in_any_way_is_named_and_the_start_has_failed(daemons: Daemons, cases: Cases) -> None:
    """Instead of what the step does, or when it is done; on both sides of the fork."""
    programs = {
        f"{step}|{end}|{when}": with_block(
            "tell('body')",
            before=f"""
            class Own(Context):
                def {step}(self):
                    {f"super().{step}()" if when == "after" else "pass"}
                    {end}
            """,
            kind="Own",
        )
        for step in DaemonContext.steps
        for end in ENDS
        for when in ("instead", "after")
    }
    for name, result in judged(daemons, some(programs)).items():
        step, end, when = name.split("|")
        message, status = ENDS[end]
        raised = message.partition(":")[0]
        assert "body" not in result.files, name
        assert result.others == [], name
        if (step not in IN_LAUNCHER and (step, when) != ("detach", "instead")) or raised in EXCEPTIONS:
            assert (result.launcher, result.told) == (1, f"{step}: {message}"), name
        elif end in AT_ONCE:
            assert (result.launcher, result.told) == (status, ""), name
        else:
            assert (result.launcher, result.told) == (status, "SystemExit" if end == "sys.exit(3)" else raised), name
        cases.add()


# Where something of the program's own runs once the daemon is up: in the body, and while it is closed.
PLACES = {
    "body": "{end}",
    "handler": "signal.signal(signal.SIGUSR1, handle); os.kill(os.getpid(), signal.SIGUSR1); signal.pause()",
    "exit stack": "context.exit_stack.callback(handle)",
    "pidfile": "context.pidfile.at_exit = handle",
}
OWN = """
def handle(*_):
    {end}
class Own(PIDLockFile):
    at_enter = at_exit = staticmethod(lambda: None)
    def __enter__(self):
        super().__enter__()
        self.at_enter()
    def __exit__(self, *exc_info):
        super().__exit__(*exc_info)
        self.at_exit()
class Late(Context):
    def notify_ready(self):
        raise LookupError("late")
"""


def test_what_ends_in_a_daemon_that_is_up_has_its_own_status_and_all_is_given_back(
    daemons: Daemons, cases: Cases
) -> None:
    """In the body, in a handler, in what the exit stack calls, in the pidfile's exit."""
    programs = {
        f"{place}|{end}|{way}": with_block(
            f"tell('body')\n{text.format(end=end)}",
            options=f"pidfile=Own(f'{{HERE}}/pid'), {FOREGROUND[way]}",
            before=OWN.format(end=end),
        )
        for place, text in PLACES.items()
        for end in ENDS
        for way in FOREGROUND
    }
    for name, result in judged(daemons, some(programs)).items():
        place, end, way = name.split("|")
        status = ENDS[end][1]
        assert [result.launcher, *result.others] == ([0, status] if way == "daemon" else [status]), name
        assert (result.pidfile is None) == (end not in AT_ONCE or place == "pidfile"), name
        assert "body" in result.files, name
        cases.add()


@pytest.mark.parametrize("place", ["enter", "exit"])
def test_a_pidfile_of_the_programs_own_that_fails_during_the_start_is_told_with_the_error_that_it_met(
    daemons: Daemons, place: str, cases: Cases
) -> None:
    """When it is entered, or when it is left because a later step has failed."""
    kind = "Context" if place == "enter" else "Late"
    programs = {
        end: with_block(
            "tell('body')", "pidfile=Own(f'{HERE}/pid')", f"{OWN.format(end=end)}\nOwn.at_{place} = handle", kind
        )
        for end in ENDS
    }
    for end, result in judged(daemons, programs).items():
        message, _ = ENDS[end]
        undoing = f"notify_ready: LookupError: late; and undoing it: {message}"
        by_witness = f"notify_ready: {message}" if end in AT_ONCE else undoing
        assert result.told == (f"lock_pidfile: {message}" if place == "enter" else by_witness)
        assert (result.launcher, result.others) == (1, [])
        cases.add()


CLOSING = """
    logging.basicConfig(filename=f"{{HERE}}/log")
    class Own(Context):
        def close(self):
            tell("closing", os.path.exists(f"{{HERE}}/pid"))
            {before}
            super().close()
            {after}
"""


@pytest.mark.parametrize("way", FOREGROUND)
def test_a_close_of_the_programs_own_is_called_at_the_end_of_the_block_and_all_is_given_back_whatever_it_does(
    daemons: Daemons, way: str, cases: Cases
) -> None:
    """It fails before the library's own, or after it, or never calls that."""
    programs = {
        f"{when}|{end}": with_block(
            "tell('body')",
            FOREGROUND[way],
            CLOSING.format(before=end if when == "before" else "pass", after=end if when == "after" else "pass"),
            "Own",
        )
        for when in ("before", "after")
        for end in ("pass", "return", *ENDS)
    }
    for name, result in judged(daemons, programs).items():
        when, end = name.split("|")
        message, status = ENDS.get(end, ("", 0))
        assert [result.launcher, *result.others] == ([0, status] if way == "daemon" else [status]), name
        assert (result.pidfile is None) == (end not in AT_ONCE or when == "after"), name
        assert result.files["closing"] == "True\n", name
        fails = end in ENDS and end not in AT_ONCE
        assert result.files["log"].count(f"cannot close the daemon: {message}") == fails, name
        cases.add()


def test_a_close_of_the_programs_own_is_called_at_the_exit_too(daemons: Daemons, cases: Cases) -> None:
    programs = {
        end: f"{CLOSING.format(before=end, after='pass')}\n    context = Own()\n    context.open()\n"
        for end in ("pass", "return", "raise ValueError('no')", "raise Odd('odd')")
    }
    for end, result in judged(daemons, programs).items():
        assert (result.launcher, result.others, result.pidfile) == (0, [0], None), end
        assert result.files["closing"] == "True\n", end
        cases.add()


def test_a_body_that_fails_before_it_is_ready_is_told_whatever_its_close_does(daemons: Daemons, cases: Cases) -> None:
    programs = {
        end: with_block("raise LookupError('mine')", "ready='manual'", CLOSING.format(before=end, after="pass"), "Own")
        for end in ("pass", "return", "raise ValueError('no')", "raise Odd('odd')", "sys.exit(0)")
    }
    for end, result in judged(daemons, programs).items():
        assert (result.launcher, result.others, result.pidfile) == (1, [], None), end
        assert result.told == "body: LookupError: mine", end
        cases.add()


ATEXIT = ("1 / 0", "sys.exit(3)", "raise Odd", "os._exit(5)")


@pytest.mark.parametrize("when", ["in the launcher", "in the body", "of a start that fails"])
def test_what_fails_at_the_exit_takes_nothing_along(daemons: Daemons, when: str, cases: Cases) -> None:
    """Registered before the start or in the body: the pidfile has gone by then, and the launcher has its answer."""
    programs = {}
    for end in ATEXIT:
        register = f"atexit.register(lambda: exec({end!r}, globals()))"
        first = "" if when == "in the body" else register
        body = f"{register}\nup(context)" if when == "in the body" else "up(context)"
        fails = when == "of a start that fails"
        programs[end] = with_block(
            "raise LookupError('no')" if fails else body, f"ready={'manual' * fails or 'auto'!r}", first
        )
    for end, result in judged(daemons, programs).items():
        status = 5 if "_exit" in end else None
        if when == "of a start that fails":
            assert (result.launcher, result.others) == (status or 1, []), end
            assert result.told == "body: LookupError: no", end
        else:
            assert (result.launcher, result.others) == (0, [status or 0]), end
        assert result.pidfile is None, end
        cases.add()


@pytest.mark.parametrize("other", ["x.pid", "y.pid"])
def test_a_second_context_in_the_same_process_does_not_take_the_first_ones_lock_away(
    daemons: Daemons, other: str
) -> None:
    """Neither the same pidfile by another object, nor by closing what it doesn't know."""
    launched = daemons.launch(
        """
        import sys
        from daemonry import DaemonAlreadyRunning, DaemonContext, PIDLockFile, find
        first = PIDLockFile("x.pid")
        with DaemonContext(detach_process=False, working_directory=".", pidfile=first):
            try:
                DaemonContext(detach_process=False, working_directory=".", pidfile=PIDLockFile(sys.argv[1])).open()
                print("open")
            except DaemonAlreadyRunning as error:
                print("refused", error.pid is not None)
            print(first.i_am_locking(), first.is_locked())
        """,
        other,
    ).check()
    assert launched.stdout.splitlines() == ["refused True" if other == "x.pid" else "open", "True True"]
    assert not (daemons.directory / "x.pid").exists()
