"""Where a context may be opened, and where it is refused because it would do harm."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from daemonry import DaemonContext, InvalidOption, PIDLockFile
from harness.waiting import read_json, wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from harness.daemons import Daemons

REFUSING = """
    import asyncio, sys, threading
    from daemonry import DaemonContext, DaemonStartError, PIDLockFile
    context = DaemonContext(detach_process=sys.argv[1] == "True")
    def attempt():
        try:
            context.open()
        except DaemonStartError as error:
            print(type(error).__name__, error.step, error.option, error)
            print(context.is_open)
"""


@pytest.mark.reliability("The program's own code")
@pytest.mark.parametrize("detach", [True, False])
@pytest.mark.parametrize(
    ("attempt", "option", "advice"),
    [
        (
            "thread = threading.Thread(target=attempt); thread.start(); thread.join()",
            "open",
            "must be called in the main thread",
        ),
        ("async def main(): attempt()\n    asyncio.run(main())", "open", "an event loop is running"),
        (
            "context.pidfile = PIDLockFile('a.pid'); context.pidfile.acquire(); attempt(); context.pidfile.release()",
            "pidfile",
            "this process holds the lock already",
        ),
        ("context.pidfile = 7; attempt()", "pidfile", "must be a path, or a context manager such as PIDLockFile(path)"),
    ],
)
def test_a_context_is_not_opened_where_it_would_do_harm(
    daemons: Daemons, attempt: str, option: str, advice: str, detach: bool
) -> None:
    launched = daemons.launch(REFUSING + "    " + attempt, detach).check()
    first, second = launched.stdout.splitlines()
    assert first.startswith(f"InvalidOption check_options {option} cannot start the daemon: step check_options: ")
    assert advice in first
    assert second == "False"


def test_a_lock_tried_in_the_launcher_and_released_is_taken_by_the_daemon(daemons: Daemons) -> None:
    launched = daemons.launch(
        """
        import os
        from daemonry import DaemonContext, PIDLockFile
        from harness.probe import publish
        lock = PIDLockFile("daemon.pid")
        with lock:
            pass
        with DaemonContext(pidfile=lock, working_directory="."):
            publish("pid", [lock.read_pid(), os.getpid()])
        """
    ).check()
    told, own = read_json(daemons.directory / "pid")
    assert told == own != launched.pid
    wait_for(lambda: not daemons.alive(), what="the daemon ends")


@pytest.mark.reliability("The program's own code")
def test_a_loop_that_has_ended_does_no_harm(daemons: Daemons) -> None:
    daemons.launch(
        """
        import asyncio
        from daemonry import DaemonContext
        async def nothing(): pass
        asyncio.run(nothing())
        with DaemonContext(detach_process=False):
            asyncio.run(nothing())
        """
    ).check()


@pytest.mark.reliability("The program's own code")
@pytest.mark.parametrize(
    ("opening", "line"), [("with context:\n    pass", "with context:"), ("context.open()", "context.open()")]
)
@pytest.mark.parametrize("detach", [True, False])
def test_threads_are_warned_of_by_name_where_the_context_is_opened(
    daemons: Daemons, opening: str, line: str, detach: bool
) -> None:
    source = f"""\
import threading
from daemonry import DaemonContext
done = threading.Event()
for name in ("reader", "writer"):
    threading.Thread(target=done.wait, name=name, daemon=True).start()
context = DaemonContext(detach_process={detach})
{opening}
done.set()
"""
    launched = daemons.launch(source).check()
    if detach:
        wait_for(lambda: not daemons.alive(), what="the daemon ends")
        assert "RuntimeWarning: these threads will not run in the daemon" in launched.stderr
        assert "reader, writer" in launched.stderr
        assert launched.stderr.splitlines()[1].strip() == line
    else:
        assert launched.stderr == ""


@pytest.mark.parametrize("kind", ["{!r}", "os.fsencode({!r})", "pathlib.Path({!r})", "os.path.relpath({!r})"])
@pytest.mark.parametrize("detach", [True, False])
def test_a_path_as_pidfile_is_a_lock_on_it(daemons: Daemons, kind: str, detach: bool) -> None:
    """Whatever it is written as: in the file is the daemon, a second one is refused, and at the end it is gone."""
    path = daemons.directory / "some.pid"
    daemons.launch(
        f"""
        import os, pathlib
        from daemonry import DaemonContext, PIDLockFile
        from daemonry.pidfile import DaemonAlreadyRunning
        pidfile = {kind.format(str(path))}
        with DaemonContext(pidfile=pidfile, detach_process={detach}, ready="manual", working_directory=".") as context:
            assert context.pidfile == pidfile
            assert PIDLockFile({str(path)!r}).read_pid() == os.getpid()
            if os.fork() == 0:
                try:
                    DaemonContext(pidfile=pidfile, detach_process=False).open()
                except DaemonAlreadyRunning as error:
                    os._exit(error.pid != os.getppid())
            assert os.wait()[1] == 0
            context.ready()
        """
    ).check()
    wait_for(lambda: not daemons.alive(), what="the daemon ends")
    assert not path.exists()


OPENED = """
import logging, sys
from daemonry import DaemonContext, DaemonStartError
logging.basicConfig(filename="log")
context = DaemonContext(detach_process=True, ready=sys.argv[1], working_directory=".")
context.open()
raise ValueError("the real reason")
"""


def test_an_exception_that_ends_a_context_without_a_block_is_logged(daemons: Daemons) -> None:
    daemons.launch(OPENED, "auto").check()
    log = daemons.directory / "log"
    wait_for(lambda: not daemons.alive(), what="the daemon ends")
    assert log.read_text().startswith("CRITICAL:daemonry:")
    assert "ValueError: the real reason\n" in log.read_text()


def test_an_exception_before_a_context_without_a_block_is_ready_is_told_by_the_launcher(daemons: Daemons) -> None:
    launched = daemons.launch(OPENED, "manual")
    assert launched.status == 1
    assert "step body: ValueError: the real reason\n" in launched.stderr


@pytest.mark.reliability("The program's own code")
def test_a_child_that_opens_the_daemons_context_gives_nothing_of_the_daemons_back(daemons: Daemons) -> None:
    daemons.launch(
        """
        import os
        from daemonry import DaemonContext, DaemonStartError, PIDLockFile

        def note(*words):
            with open("said", "a") as file:
                print(*words, file=file)

        with DaemonContext(detach_process=True, working_directory=".", pidfile=PIDLockFile("pid")) as context:
            daemon = os.getpid()
            context.exit_stack.callback(lambda: note("given back", os.getpid() == daemon))
            if os.fork() == 0:
                try:
                    context.open()
                except DaemonStartError as error:
                    note("refused", error.pid == daemon)
                finally:
                    os._exit(0)
            os.wait()
            note("still held", context.pidfile.i_am_locking())
        """
    ).check()
    wait_for(lambda: not daemons.alive(), what="the daemon ends")
    said = (daemons.directory / "said").read_text().splitlines()
    assert said == ["refused True", "still held True", "given back True"]


@pytest.mark.parametrize("option", ["stdout", "stderr"])
def test_a_pidfile_is_not_the_file_of_a_stream_too(option: str, tmp_path: Path) -> None:
    path = tmp_path / "x"
    context = DaemonContext(pidfile=PIDLockFile(path), **{option: path})
    with pytest.raises(InvalidOption, match=rf"pidfile: {path} is the file of {option} already"):
        context.plan()
