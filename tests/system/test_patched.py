"""Programs whose libraries replace what Python waits by, or have threads, or a loop: they start, work and stop."""

from __future__ import annotations

import importlib.util
import signal
from typing import TYPE_CHECKING

import pytest

from harness.waiting import read_json, wait_for
from launcher_programs import UNMEASURED, program

if TYPE_CHECKING:
    from harness.daemons import Daemons

PATCHES = {
    "gevent": "from gevent import monkey; monkey.patch_all()",
    "gevent, os alone": "from gevent import monkey; monkey.patch_os()",
    "eventlet": "import eventlet; eventlet.monkey_patch()",
}
# A task of the library's that goes on while the daemon waits for its stop, and a thread.
TASKS = {
    "gevent": "import gevent; gevent.sleep(0); spawn = gevent.spawn",
    "gevent, os alone": "spawn = lambda work: threading.Thread(target=work).start()",
    "eventlet": "import eventlet; eventlet.sleep(0); spawn = eventlet.spawn",
}
PATCHED = """
    import warnings
    warnings.simplefilter("ignore")
    FIRST
    SECOND
    TASKS
    entries = [f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd")]
    # What a loop of the library's has opened already.
    loops = [
        int(os.path.basename(entry)) for entry in entries
        if os.path.lexists(entry) and os.readlink(entry).startswith("anon_inode:")
    ]
    def work():
        time.sleep(0.01)
        publish("worked", True)
    with Context(
        working_directory=".", pidfile=daemonry.PIDLockFile("pid"), files_preserve=loops, stderr="err", SIGNALS
    ) as context:
        publish("pid of", os.getpid())
        spawn(work)
        while not context.wait(30):
            pass
        publish("stopped", True)
"""


def _has(library: str) -> None:
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} has no release for this Python")


@pytest.mark.reliability("The program's own code")
@pytest.mark.parametrize("order", ["before", "after"])
@pytest.mark.parametrize("patch", PATCHES)
def test_a_patched_program_starts_works_and_stops(daemons: Daemons, patch: str, order: str) -> None:
    """Whether it was patched before daemonry was imported or after."""
    _has(patch.partition(",")[0])
    imports = "import daemonry.context, daemonry.pidfile"
    both = (PATCHES[patch], imports) if order == "before" else (imports, PATCHES[patch])
    text = PATCHED.replace("FIRST", both[0]).replace("SECOND", both[1]).replace("TASKS", TASKS[patch])
    text = text.replace("SIGNALS", "signal_map={'TERM': 'request_stop'}")
    daemons.launch(program(text), env=UNMEASURED).check()
    pid = daemons.survivor()
    assert read_json(daemons.directory / "worked")
    daemons.stop(pid)
    assert read_json(daemons.directory / "stopped")
    assert not (daemons.directory / "pid").exists()


@pytest.mark.reliability("The program's own code")
@pytest.mark.parametrize("patch", PATCHES)
def test_a_patched_program_is_told_why_it_did_not_start(daemons: Daemons, patch: str) -> None:
    _has(patch.partition(",")[0])
    text = program(f"""
        import warnings
        warnings.simplefilter("ignore")
        {PATCHES[patch]}
        class Failing(Context):
            def begin_work(self):
                raise ValueError("here")
        try:
            Failing().open()
        except daemonry.DaemonStartError as error:
            tell("told", error)
    """)
    daemons.launch(text, env=UNMEASURED).check()
    told = read_json(daemons.directory / "told")
    assert (told["step"], told["message"], told["children"]) == ("begin_work", "ValueError: here", None)
    assert daemons.alive() == []


@pytest.mark.reliability("The program's own code")
@pytest.mark.parametrize("patch", PATCHES)
def test_ctrl_c_ends_the_start_of_a_patched_program(daemons: Daemons, patch: str) -> None:
    _has(patch.partition(",")[0])
    text = program(f"""
        import warnings
        warnings.simplefilter("ignore")
        {PATCHES[patch]}
        with Context(working_directory=".", ready="manual") as context:
            publish("half", os.getpid())
            context.wait()
    """)
    running = daemons.start(text, env=UNMEASURED)
    read_json(daemons.directory / "half")
    running.signal(signal.SIGINT)
    assert running.wait().stderr.splitlines()[-1] == "KeyboardInterrupt"
    assert daemons.alive() == []


@pytest.mark.reliability("The program's own code")
def test_a_program_that_has_run_uvloop_starts(daemons: Daemons) -> None:
    _has("uvloop")
    text = program("""
        import asyncio, uvloop
        def run():
            loop = uvloop.new_event_loop()
            loop.run_until_complete(asyncio.sleep(0))
            loop.close()
        run()
        with Context(working_directory="."):
            run()
            publish("worked", True)
    """)
    daemons.launch(text, env=UNMEASURED).check()
    assert read_json(daemons.directory / "worked")


@pytest.mark.reliability("The program's own code")
def test_a_program_with_the_threads_of_numpys_library_starts(daemons: Daemons) -> None:
    _has("numpy")
    text = program("""
        import numpy
        numpy.ones((300, 300)) @ numpy.ones((300, 300))
        with Context(working_directory="."):
            publish("worked", float((numpy.ones((300, 300)) @ numpy.ones((300, 300)))[0, 0]))
    """)
    daemons.launch(text, env=UNMEASURED, python=("-W", "error")).check()
    assert read_json(daemons.directory / "worked") == 300
    wait_for(lambda: not daemons.alive())


def test_a_context_in_another_thread_is_refused_whatever_threading_says(daemons: Daemons) -> None:
    """What is patched may take a task for the main thread."""
    text = program("""
        import warnings
        warnings.simplefilter("ignore")
        def work():
            threading.main_thread = threading.current_thread
            try:
                Context().open()
            except daemonry.DaemonStartError as error:
                tell("told", error)
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    """)
    daemons.launch(text).check()
    assert "must be called in the main thread" in read_json(daemons.directory / "told")["message"]
