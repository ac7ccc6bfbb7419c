"""A start that is to end does end, whatever its signals will mean later."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from harness.waiting import read_json, wait_for

if TYPE_CHECKING:
    from harness.daemons import Daemons

LATER_A_WISH = """
    import os, signal
    from daemonry import DaemonContext, DaemonStartError, PIDLockFile
    from harness.probe import publish
    class Context(DaemonContext):
        steps = (*DaemonContext.steps, "last")
        def last(self):
            IN_LAST
    try:
        with Context(
            pidfile=PIDLockFile("pid"), working_directory=os.getcwd(), signal_map={"TERM": "request_stop"},
            ready="manual", start_timeout=TIMEOUT,
        ) as context:
            try:
                publish("half", os.getpid())
                while True:
                    signal.sigtimedwait([], 0.05)
            finally:
                publish("cleaned", True)
    except DaemonStartError as error:
        publish("told", {"step": error.step, "message": error.message})
"""


def program(in_last: str = "pass", timeout: object = None) -> str:
    return LATER_A_WISH.replace("IN_LAST", in_last).replace("TIMEOUT", repr(timeout))


def test_sigterm_in_a_step_ends_a_start_whose_body_would_only_mark_it(daemons: Daemons) -> None:
    daemons.launch(program("os.kill(os.getpid(), signal.SIGTERM)")).check()
    assert read_json(daemons.directory / "told") == {"step": "last", "message": "ended by SIGTERM"}
    assert daemons.alive() == []
    assert not (daemons.directory / "pid").exists()


def test_a_body_that_is_late_is_cleaned_up_though_it_would_only_mark_sigterm(daemons: Daemons) -> None:
    daemons.launch(program(timeout=0.5)).check()
    assert read_json(daemons.directory / "cleaned")
    assert "not ready after 0.5 seconds" in read_json(daemons.directory / "told")["message"]
    assert not (daemons.directory / "pid").exists()


def test_when_the_context_is_closed_a_wish_to_stop_ends_the_program(daemons: Daemons) -> None:
    running = daemons.start(
        """
        import os, signal
        from daemonry import DaemonContext
        from harness.probe import publish
        with DaemonContext(signal_map={"TERM": "request_stop"}, detach_process=False, working_directory=os.getcwd()):
            pass
        publish("closed", True)
        while True:
            signal.sigtimedwait([], 0.05)
        """
    )
    assert read_json(daemons.directory / "closed")
    running.signal(signal.SIGTERM)
    running.wait().check(0)


@pytest.mark.parametrize("stderr", ["'/dev/null'", "open('/dev/null', 'w')", "os.open('/dev/null', os.O_WRONLY)"])
def test_the_null_device_is_discarded_by_whatever_name(daemons: Daemons, stderr: str) -> None:
    """Then a thread's uncaught exception is logged, for nobody would see it."""
    daemons.launch(
        f"""
        import logging, os, threading
        from daemonry import DaemonContext
        logging.basicConfig(filename="log")
        with DaemonContext(stderr={stderr}, working_directory=os.getcwd()):
            thread = threading.Thread(target=lambda: 1 / 0)
            thread.start()
            thread.join()
        """
    ).check()
    wait_for(lambda: not daemons.alive(), what="the daemon ends")
    assert "ZeroDivisionError" in (daemons.directory / "log").read_text()


def test_a_log_reopened_under_the_default_umask_keeps_its_mode(daemons: Daemons) -> None:
    daemons.launch(
        """
        import logging, os
        from daemonry import DaemonContext
        os.umask(0o022)
        logging.basicConfig(filename="log")
        with DaemonContext(working_directory=os.getcwd()) as context:
            os.rename("log", "log.1")
            context.reopen_streams()
            logging.error("here")
        """
    ).check()
    wait_for(lambda: not daemons.alive(), what="the daemon ends")
    assert (daemons.directory / "log").read_text() == "ERROR:root:here\n"
    assert (daemons.directory / "log").stat().st_mode & 0o777 == 0o644


def test_what_undoing_a_refused_start_meets_is_told(daemons: Daemons) -> None:
    launched = daemons.launch(
        """
        import os
        from daemonry import DaemonContext, DaemonStartError
        class Context(DaemonContext):
            steps = ("take", *DaemonContext.steps)
            def take(self):
                self.exit_stack.callback(lambda: 1 / 0)
        try:
            Context(umask=-1, detach_process=False).open()
        except DaemonStartError as error:
            print(error)
        """
    ).check()
    assert "umask: must be" in launched.stdout
    assert "and undoing it: ZeroDivisionError" in launched.stdout


def test_shared_memory_of_the_launcher_leaves_the_daemons_files_alone(daemons: Daemons) -> None:
    """The tracker of multiprocessing is spoken to by a bare number, which is another file's in the daemon."""
    daemons.launch(
        """
        import os
        from multiprocessing import shared_memory
        from daemonry import DaemonContext
        first = shared_memory.SharedMemory(create=True, size=16)
        first.close()
        first.unlink()
        with DaemonContext(working_directory=os.getcwd(), stderr="err"):
            files = [os.open(f"data{number}", os.O_RDWR | os.O_CREAT) for number in range(8)]
            second = shared_memory.SharedMemory(create=True, size=16)
            second.close()
            second.unlink()
        """
    ).check()
    wait_for(lambda: not daemons.alive(), what="the daemon ends")
    assert [(daemons.directory / f"data{number}").read_bytes() for number in range(8)] == [b""] * 8
    assert (daemons.directory / "err").read_text() == ""
