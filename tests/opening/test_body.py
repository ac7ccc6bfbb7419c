"""How the body ends: what is logged, what the pidfile is told, which status the daemon leaves."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from harness.reaper import through
from harness.waiting import is_alive, read_json, wait_for

if TYPE_CHECKING:
    from harness.daemons import Daemons, Launched

# The body is the first argument, the set-up the second. The pidfile publishes what it is told at its exit.
PROGRAM = """
    import gc, logging, os, sys, threading, time
    import daemonry
    from harness.probe import publish
    from harness.waiting import wait_for

    class Pidfile(daemonry.PIDLockFile):
        def __exit__(self, kind, error, trace):
            names = []
            while trace is not None:
                names.append(trace.tb_frame.f_code.co_name)
                trace = trace.tb_next
            publish("exit", [kind.__name__ if kind else None, str(error), names])
            super().__exit__(kind, error, trace)
            self.leave()

        def leave(self):
            pass

    class Outer(Pidfile):
        def leave(self):
            raise OSError(5, "the disk is on fire")

    def fail():
        raise ValueError("bad value") from KeyError("the reason")

    options = {"pidfile": Pidfile("pidfile"), "stderr": "errors"}
    logging.basicConfig(filename="log", format="%(levelname)s %(name)s %(message)s")
    exec(sys.argv[2])
    with daemonry.DaemonContext(working_directory=".", **options) as context:
        publish("pid", os.getpid())
        exec(sys.argv[1])
    publish("after", True)
    """


def run(daemons: Daemons, body: str, set_up: str = "") -> Launched:
    """Run a daemon to its end; its status is the answer's. Nothing of its pidfile may be left."""
    launched = daemons.start(PROGRAM, body, set_up, through=through()).wait()
    assert not (daemons.directory / "pidfile").exists()
    assert daemons.alive() == []
    return launched


def read(daemons: Daemons, name: str) -> str:
    """Return what stands in a file."""
    return (daemons.directory / name).read_text()


def test_an_exception_is_logged_with_its_traceback_and_ends_with_status_1(daemons: Daemons) -> None:
    run(daemons, "fail()").check(1)
    log = read(daemons, "log")
    assert log.startswith("CRITICAL daemonry the daemon ends: ValueError: bad value\n")
    for text in ("\nTraceback (most recent call last):\n", ", in fail\n", "\nKeyError: 'the reason'\n"):
        assert text in log
    assert log.endswith("\nValueError: bad value\n")
    assert log.count("the daemon ends") == log.count("\nValueError") == 1
    # Python's own word, as for any program.
    assert read(daemons, "errors").count("\nValueError: bad value\n") == 1
    assert not (daemons.directory / "after").exists()


def test_the_pidfile_is_told_of_the_real_exception(daemons: Daemons) -> None:
    run(daemons, "fail()").check(1)
    assert read_json(daemons.directory / "exit") == ["ValueError", "bad value", ["<module>", "<module>", "fail"]]


def test_the_pidfile_is_told_of_no_exception_when_there_was_none(daemons: Daemons) -> None:
    run(daemons, "pass").check(0)
    assert read_json(daemons.directory / "exit") == [None, "None", []]
    assert read(daemons, "log") == read(daemons, "errors") == ""
    assert read_json(daemons.directory / "after") is True


def test_without_logging_only_python_itself_says_it(daemons: Daemons) -> None:
    run(daemons, "fail()", "logging.getLogger().handlers.clear(); sys.modules.pop('logging')").check(1)
    assert read(daemons, "log") == ""
    assert read(daemons, "errors").count("bad value") == 2  # once in the traceback's line of code


def test_without_handlers_nothing_is_said_twice(daemons: Daemons) -> None:
    run(daemons, "raise ValueError('bad' + ' value')", "logging.getLogger().handlers.clear()").check(1)
    assert read(daemons, "errors").count("bad value") == 1


@pytest.mark.parametrize(
    ("code", "status", "logged"),
    [
        ("", 0, ""),
        ("0", 0, ""),
        ("None", 0, ""),
        ("3", 3, ""),
        ("True", 1, ""),
        ("-1", 255, ""),
        ("'text'", 1, "text"),
        ("''", 1, ""),
        ("'two\\nlines'", 1, "two\nlines"),
        ("3.5", 1, "3.5"),
        ("(1, 2)", 1, "(1, 2)"),
    ],
)
def test_an_exit_has_its_status_and_its_text_is_logged(daemons: Daemons, code: str, status: int, logged: str) -> None:
    run(daemons, f"sys.exit({code})").check(status)
    assert read(daemons, "log") == (f"CRITICAL daemonry {logged}\n" if status == 1 and code != "True" else "")
    assert read(daemons, "errors") == (f"{logged}\n" if status == 1 and code != "True" else "")
    assert read_json(daemons.directory / "exit")[0] == "SystemExit"


def test_an_interrupt_is_logged_and_ends_the_daemon_as_python_does(daemons: Daemons) -> None:
    running = daemons.start(PROGRAM, "context.wait()", "", through=through())
    daemons.stop(read_json(daemons.directory / "pid"), signal.SIGINT)
    running.wait().check(-signal.SIGINT)
    log = read(daemons, "log")
    assert log.startswith("CRITICAL daemonry the daemon ends: KeyboardInterrupt\nTraceback")
    assert log.count("the daemon ends") == 1
    assert read_json(daemons.directory / "exit")[0] == "KeyboardInterrupt"
    assert not (daemons.directory / "pidfile").exists()


@pytest.mark.reliability("The program's own code")
def test_a_failing_exit_of_the_pidfile_is_logged_and_ends_with_status_1(daemons: Daemons) -> None:
    run(daemons, "pass", "options['pidfile'] = Outer('pidfile')").check(1)
    log = read(daemons, "log")
    assert log.startswith("CRITICAL daemonry cannot close the daemon: the disk is on fire\nTraceback")
    assert log.count("CRITICAL") == 1
    assert not (daemons.directory / "after").exists()


@pytest.mark.reliability("The program's own code")
def test_neither_of_two_exceptions_is_lost_when_the_pidfile_fails_too(daemons: Daemons) -> None:
    run(daemons, "fail()", "options['pidfile'] = Outer('pidfile')").check(1)
    heads = [line for line in read(daemons, "log").splitlines() if line.startswith("CRITICAL")]
    assert heads == [
        "CRITICAL daemonry the daemon ends: ValueError: bad value",
        "CRITICAL daemonry cannot close the daemon: the disk is on fire",
    ]
    errors = read(daemons, "errors")
    assert errors.index("\nValueError: bad value\n") < errors.index("\nOSError: [Errno 5] the disk is on fire\n")


@pytest.mark.reliability("The program's own code")
def test_a_failing_exit_of_the_pidfile_after_sigterm_is_status_1(daemons: Daemons) -> None:
    running = daemons.start(PROGRAM, "context.wait()", "options['pidfile'] = Outer('pidfile')", through=through())
    daemons.stop(read_json(daemons.directory / "pid"))
    running.wait().check(1)
    assert read_json(daemons.directory / "exit")[0] == "Terminated"
    assert read(daemons, "log").startswith("CRITICAL daemonry cannot close the daemon: the disk is on fire\n")


@pytest.mark.reliability("The program's own code")
def test_a_context_manager_that_swallows_the_exception_does_so_and_it_is_logged_all_the_same(daemons: Daemons) -> None:
    set_up = "Pidfile.__exit__ = lambda self, *exc_info: daemonry.PIDLockFile.__exit__(self, *exc_info) or True"
    run(daemons, "fail()", set_up).check(0)
    assert read_json(daemons.directory / "after") is True
    assert read(daemons, "log").startswith("CRITICAL daemonry the daemon ends: ValueError: bad value\n")


def test_an_exception_that_cannot_say_its_text_is_logged(daemons: Daemons) -> None:
    set_up = """
class Mute(Exception):
    def __str__(self):
        raise RuntimeError("no words")
options["pidfile"] = daemonry.PIDLockFile("pidfile")
"""
    run(daemons, "raise Mute", set_up).check(1)
    assert read(daemons, "log").startswith("CRITICAL daemonry the daemon ends: Mute")
    assert "in <module>" in read(daemons, "log")
    assert read_json(daemons.directory / "pid") > 0


def test_a_body_that_is_caught_outside_goes_on_there_with_the_pidfile_released(daemons: Daemons) -> None:
    """The with-block ends as one; what stands around it sees the exception itself."""
    launched = daemons.start(
        """
        import os, sys
        import daemonry

        lock = daemonry.PIDLockFile("pidfile")
        context = daemonry.DaemonContext(working_directory=".", pidfile=lock, detach_process=sys.argv[1] == "True")
        try:
            with context:
                raise ValueError("mine")
        except ValueError as error:
            sys.exit(5 if not os.path.exists("pidfile") and not context.is_open and str(error) == "mine" else 6)
        """,
        True,
        through=through(),
    )
    launched.wait().check(5)


def test_sigterm_while_the_exception_is_logged_changes_nothing(daemons: Daemons) -> None:
    """The failure is told whole, and the status is still 1."""
    set_up = """
class Slow(logging.StreamHandler):
    def emit(self, record):
        publish("telling", True)
        wait_for(lambda: os.path.exists("go"), 25)
        super().emit(record)
options["stderr"] = "errors"
logging.getLogger().handlers.insert(0, Slow(open("slow", "w")))
"""
    running = daemons.start(PROGRAM, "fail()", set_up, through=through())
    pid = read_json(daemons.directory / "pid")
    assert read_json(daemons.directory / "telling") is True
    os.kill(pid, signal.SIGTERM)
    (daemons.directory / "go").touch()
    running.wait().check(1)
    for name in ("slow", "log", "errors"):
        assert read(daemons, name).endswith("ValueError: bad value\n"), name
    assert read_json(daemons.directory / "exit")[0] == "ValueError"


THREAD = """
thread = threading.Thread(target=fail, name="worker")
thread.start()
thread.join()
"""
UNRAISABLE = """
class Odd:
    def __del__(self):
        fail()
    def __repr__(self):
        return names[0]
names = {names}
thing = Odd()
del thing
"""
DISCARDED = "options['stderr'] = None; logging.captureWarnings(True)"


def test_an_exception_of_a_thread_is_logged_where_the_streams_are_discarded(daemons: Daemons) -> None:
    run(daemons, THREAD, DISCARDED).check(0)
    log = read(daemons, "log")
    assert log.startswith("CRITICAL daemonry uncaught exception in thread worker\nKeyError")
    assert "\nTraceback" in log
    assert log.endswith("\nValueError: bad value\n")
    assert log.count("CRITICAL") == 1


@pytest.mark.parametrize("names", ["['<odd thing>']", "[]"])
def test_an_unraisable_exception_is_logged_where_the_streams_are_discarded(daemons: Daemons, names: str) -> None:
    """Also when the object can't be shown."""
    run(daemons, UNRAISABLE.format(names=names), DISCARDED).check(0)
    log = read(daemons, "log")
    assert "xception ignored" in log.splitlines()[0]
    assert "__del__" in log.splitlines()[0]
    assert log.endswith("\nValueError: bad value\n")
    assert log.count("CRITICAL") == 1


@pytest.mark.parametrize("body", [THREAD, UNRAISABLE.format(names="['odd']")], ids=["thread", "unraisable"])
def test_where_standard_error_is_kept_python_itself_tells_of_them(daemons: Daemons, body: str) -> None:
    run(daemons, body).check(0)
    assert read(daemons, "log") == ""
    assert read(daemons, "errors").count("\nValueError: bad value\n") == 1


def test_a_thread_that_exits_is_no_failure(daemons: Daemons) -> None:
    run(daemons, "thread = threading.Thread(target=sys.exit, args=(3,)); thread.start(); thread.join()", DISCARDED)
    assert read(daemons, "log") == ""


def test_hooks_of_the_programs_own_are_called_too_and_stay(daemons: Daemons) -> None:
    """Those from before are called after ours and are back when the daemon has closed; later ones are left."""
    set_up = f"""
{DISCARDED}
def own(args):
    publish("own", args.exc_type.__name__)
def later(args):
    publish("later", args.exc_type.__name__)
threading.excepthook = own
options["pidfile"] = None
import atexit
atexit.register(lambda: publish("hooks", [threading.excepthook is own, sys.unraisablehook is later]))
"""
    run(daemons, f"{THREAD}\nsys.unraisablehook = later", set_up).check(0)
    assert read_json(daemons.directory / "own") == "ValueError"
    assert read(daemons, "log").count("CRITICAL") == 1
    assert read_json(daemons.directory / "hooks") == [True, True]


def test_the_hooks_go_when_the_daemon_has_closed(daemons: Daemons) -> None:
    set_up = f"""
{DISCARDED}
before = threading.excepthook, sys.unraisablehook
import atexit
atexit.register(lambda: publish("same", before == (threading.excepthook, sys.unraisablehook)))
"""
    run(daemons, "publish('inside', before == (threading.excepthook, sys.unraisablehook))", set_up).check(0)
    assert read_json(daemons.directory / "inside") is False
    assert read_json(daemons.directory / "same") is True


def test_a_logger_that_a_configuration_has_disabled_does_not_swallow_the_failure(daemons: Daemons) -> None:
    """``logging.config`` disables all loggers that it finds, unless it is told not to."""
    body = """
logging.getLogger("daemonry")
import logging.config
logging.config.dictConfig({
    "version": 1,
    "handlers": {"new": {"class": "logging.FileHandler", "filename": "new"}},
    "root": {"handlers": ["new"]},
})
fail()
"""
    run(daemons, body).check(1)
    assert read(daemons, "new").startswith("the daemon ends: ValueError: bad value\nKeyError")


def test_an_exception_before_the_daemon_is_ready_is_logged_once_and_told_once(daemons: Daemons) -> None:
    launched = run(daemons, "fail()", "options['ready'] = 'manual'").check(1)
    assert "step body: ValueError: bad value" in launched.stderr
    assert read(daemons, "log").count("CRITICAL") == 1
    assert read_json(daemons.directory / "exit")[0] == "ValueError"


def test_an_exception_that_no_launcher_hears_of_any_more_is_logged_once(daemons: Daemons) -> None:
    body = "wait_for(lambda: os.path.exists('go'), 25); fail()"
    launcher = daemons.start(PROGRAM, body, "options['ready'] = 'manual'")
    pid = read_json(daemons.directory / "pid")
    launcher.signal(signal.SIGKILL)
    launcher.wait()
    (daemons.directory / "go").touch()
    wait_for(lambda: not is_alive(pid), what="the daemon ends")
    assert read(daemons, "log").count("CRITICAL daemonry the daemon ends: ValueError: bad value\n") == 1
    assert read(daemons, "log").count("CRITICAL") == 1
    wait_for(lambda: not daemons.alive(), what="nothing is left")


@pytest.mark.parametrize(("body", "status"), [("fail()", 1), ("sys.exit(3)", 3), ("sys.exit('text')", 1), ("0", 0)])
def test_in_the_foreground_the_body_ends_the_same_way(daemons: Daemons, body: str, status: int) -> None:
    run(daemons, body, "options['detach_process'] = False").check(status)
    assert (read(daemons, "log") != "") == (status == 1)
