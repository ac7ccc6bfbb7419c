"""The facts of a daemon: its parent, its session, no terminal; the same without what Linux alone has."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from harness.probe import facts_of
from harness.waiting import is_alive, read_facts, read_json, wait_for
from launcher_programs import IMPATIENT, failing, program

if TYPE_CHECKING:
    from harness.daemons import Daemons

BODY = program("""
    PRELUDE
    with Context(working_directory=".", ready=WHEN) as context:
        if WHEN == "manual":
            context.progress("loading")
            context.ready()
        publish("facts", facts())
        context.wait()
""")


def body(prelude: str = "pass", when: str = "auto") -> str:
    return BODY.replace("PRELUDE", prelude).replace("WHEN", repr(when))


@pytest.mark.parametrize("when", ["auto", "manual"])
def test_the_facts_that_make_a_daemon(daemons: Daemons, when: str) -> None:
    """When the body begins, or ready() has returned: session, group, terminal; with the launcher's exit the parent."""
    launcher = daemons.launch(body(when=when)).check()
    seen = read_facts(daemons.directory / "facts")
    assert daemons.survivor() == seen.pid
    assert facts_of(seen.pid).ppid == 1
    assert seen.pid not in (seen.sid, seen.pgid, launcher.pid)
    assert seen.sid == seen.pgid, "the group of the session's first process"
    assert seen.sid not in (os.getsid(0), launcher.pid)
    assert not is_alive(seen.sid), "the session has no leader any more"
    assert seen.tty == 0
    assert [seen.descriptor(number).target for number in (0, 1, 2)] == ["/dev/null"] * 3
    daemons.stop(seen.pid)


def test_the_nearest_subreaper_is_the_parent(daemons: Daemons) -> None:
    """A user's systemd is one."""
    text = """
        import ctypes, os, signal, subprocess, sys
        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
        subprocess.run([sys.executable, "daemon.py"], check=True)
        os.wait()
    """
    (daemons.directory / "daemon.py").write_text(body())
    running = daemons.start(text)
    seen = read_facts(daemons.directory / "facts")
    wait_for(lambda: facts_of(seen.pid).ppid == running.pid)
    daemons.stop(seen.pid)
    running.wait().check()


def test_a_daemon_that_opens_a_terminal_does_not_acquire_it(daemons: Daemons) -> None:
    """And a session leader would have: that is what the second fork is for."""
    text = program("""
        def open_terminal():
            master, slave = os.openpty()
            os.open(os.ttyname(slave), os.O_RDWR)
            try:
                os.close(os.open("/dev/tty", os.O_RDWR))
                found = True
            except OSError:
                found = False
            return {"tty": facts()["tty"], "found": found}

        leader = os.fork()
        if leader == 0:
            os.setsid()
            publish("leader", open_terminal())
            os._exit(0)
        os.waitpid(leader, 0)
        with Context(working_directory=".") as context:
            publish("daemon", open_terminal())
            context.wait()
    """)
    daemons.launch(text).check()
    leader = read_json(daemons.directory / "leader")
    assert leader["tty"] != 0
    assert leader["found"]
    assert read_json(daemons.directory / "daemon") == {"tty": 0, "found": False}
    daemons.stop(daemons.survivor())


PORTABLE = {
    "no /proc": "import daemonry.system.process; daemonry.system.process.look = lambda pid: None;"
    "daemonry.system.process.everything = lambda: iter(())",
    "no pidfds": "vars(os).pop('pidfd_open', None); vars(signal).pop('pidfd_send_signal', None)",
    "no prctl": "import daemonry.system.libc; daemonry.system.libc.prctl = lambda: None",
    "no list of descriptors": "import daemonry.steps.descriptors;"
    "daemonry.steps.descriptors.PROC = daemonry.steps.descriptors.DEV = '/nowhere'",
}
PORTABLE["nothing"] = ";".join(PORTABLE.values())


@pytest.mark.parametrize("missing", PORTABLE)
def test_a_start_needs_nothing_that_linux_alone_has(daemons: Daemons, missing: str) -> None:
    daemons.launch(body(PORTABLE[missing])).check()
    seen = read_facts(daemons.directory / "facts")
    assert facts_of(seen.pid).ppid == 1
    assert not is_alive(seen.sid)
    assert daemons.survivor() == seen.pid
    daemons.stop(seen.pid)


@pytest.mark.parametrize("missing", PORTABLE)
@pytest.mark.parametrize("how", ["os.kill(os.getpid(), signal.SIGKILL)", "raise ValueError"])
def test_a_start_that_fails_leaves_nothing_without_what_linux_alone_has(
    daemons: Daemons, missing: str, how: str
) -> None:
    """No process of its session, no zombie: where nobody can tell the members, their group is killed."""
    work = f"""
        reading, writing = os.pipe()
        if os.fork() == 0:
            os.write(writing, b"x")
            signal.pause()
        os.read(reading, 1)
        {how}
    """
    daemons.launch(failing(work, before=IMPATIENT + PORTABLE[missing])).check()
    told = read_json(daemons.directory / "told")
    assert told["step"] == "begin_work"
    assert (told["signum"] == signal.SIGKILL) == ("SIGKILL" in how)
    assert (told["children"], told["after"]) == (None, told["before"])
    wait_for(lambda: not daemons.alive(), what="what SIGKILL was sent to has ended")


@pytest.mark.parametrize("missing", PORTABLE)
def test_a_start_that_is_given_up_leaves_nothing_without_what_linux_alone_has(daemons: Daemons, missing: str) -> None:
    work = """
        if os.fork() == 0:
            publish("here", os.getpid())
        signal.pause()
    """
    running = daemons.start(failing(work, before=IMPATIENT + PORTABLE[missing]))
    read_json(daemons.directory / "here")
    running.signal(signal.SIGTERM)
    running.wait().check(-signal.SIGTERM)
    wait_for(lambda: not daemons.alive(), what="what SIGKILL was sent to has ended")


def test_a_system_that_no_longer_tells_what_is_open_is_told(daemons: Daemons) -> None:
    """As when no descriptor is left for it: the witness can't let go of the terminal, the daemon not of its files."""
    before = """
        import daemonry.steps.descriptors
        def refuse():
            raise OSError("cannot tell which descriptors are open")
        daemonry.steps.descriptors._open_numbers = refuse
    """
    daemons.launch(failing("pass", before=before)).check()
    told = read_json(daemons.directory / "told")
    assert told["step"] in ("detach", "close_descriptors")
    assert "cannot tell which descriptors are open" in told["message"]
    assert (told["children"], told["after"]) == (None, told["before"])
    assert daemons.alive() == []


def test_a_witness_that_fails_does_not_end_a_daemon_that_gets_ready(daemons: Daemons) -> None:
    text = program("""
        def fail(_kept):
            raise RuntimeError("of the witness")
        class Keeping(Context):
            def close_descriptors(self):
                while os.getppid() == witness:
                    time.sleep(0.005)
        import daemonry.steps.descriptors
        daemonry.steps.descriptors.close_all_except = fail
        witness = None
        os.register_at_fork(after_in_child=lambda: globals().update(witness=witness or os.getpid()))
        with Keeping(working_directory=".") as context:
            publish("facts", facts())
            context.wait()
    """)
    daemons.launch(text).check()
    assert read_facts(daemons.directory / "facts").ppid == 1
    daemons.stop(daemons.survivor())


def test_a_witness_that_is_gone_before_the_daemon_runs_is_not_waited_for(daemons: Daemons) -> None:
    text = program("""
        def kill_parent():
            global witness
            if witness is None:
                witness = os.getpid()
            else:
                os.kill(witness, signal.SIGKILL)
                while os.getppid() == witness:
                    time.sleep(0.001)
        witness = None
        os.register_at_fork(after_in_child=kill_parent)
        with Context(working_directory=".") as context:
            publish("took", time.monotonic() - begun)
            context.wait()
    """).replace("witness = None", "witness, begun = None, time.monotonic()", 1)
    daemons.launch(text).check()
    assert read_json(daemons.directory / "took", timeout=30) < 4, "no patience is spent on init"
    daemons.stop(daemons.survivor())


THREADS = """
    running = threading.Event()
    for name in ("poller", "sender"):
        threading.Thread(target=running.wait, name=name, daemon=True).start()
"""


def test_threads_are_warned_of_by_name(daemons: Daemons) -> None:
    """Once, at the line that opens the context, and with no warning of Python's own beside it."""
    text = program(f"{THREADS}\nwith Context(working_directory='.') as context:  # here\n    context.wait()\n")
    launched = daemons.launch(text, python=("-W", "always")).check()
    warning, line = launched.stderr.splitlines()
    assert warning.endswith(
        "RuntimeWarning: these threads will not run in the daemon, start them after open(): poller, sender"
    )
    assert line.strip().endswith("# here")
    daemons.stop(daemons.survivor())


def test_threads_are_no_reason_for_a_process_that_is_left_where_warnings_are_errors(daemons: Daemons) -> None:
    daemons.launch(failing("pass", before=THREADS), python=("-W", "error")).check()
    told = read_json(daemons.directory / "told")
    assert told["step"] == "check_options"
    assert "RuntimeWarning: these threads will not run in the daemon" in told["message"]
    assert told["children"] is None
    assert daemons.alive() == []


@pytest.mark.parametrize("python", [("-W", "error"), ("-W", "error", "-X", "dev")])
def test_a_start_warns_of_nothing_else(daemons: Daemons, python: tuple[str, ...]) -> None:
    """Also where the step that warns of threads is left out: the fork itself doesn't raise in the parent."""
    text = program(f"""
        {THREADS.replace(chr(10), chr(10) + " " * 4)}
        class Unchecked(Context):
            steps = Context.steps[1:]
        with Unchecked(working_directory=".") as context:
            publish("facts", facts())
            context.wait()
    """)
    launched = daemons.launch(text, python=python).check()
    assert launched.stderr == ""
    pid = read_facts(daemons.directory / "facts").pid
    daemons.stop(pid)


def test_a_context_can_not_be_opened_in_a_thread(daemons: Daemons) -> None:
    text = program("""
        def start():
            try:
                Context(working_directory=".").open()
            except daemonry.DaemonStartError as error:
                tell("told", error)
        thread = threading.Thread(target=start)
        thread.start()
        thread.join()
    """)
    daemons.launch(text).check()
    told = read_json(daemons.directory / "told")
    assert (told["kind"], told["step"], told["children"]) == ("InvalidOption", "check_options", None)
    assert "main thread" in told["message"]


def test_the_daemon_inherits_the_launchers_dispositions_and_none_of_its_waiting(daemons: Daemons) -> None:
    """What the wait changes in the launcher is not the daemon's: here with the steps left out that undo it."""
    text = program("""
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
        class Bare(daemonry.DaemonContext):
            steps = ("detach",)
        with Bare() as context:
            publish("facts", facts())
            publish("handlers", snapshot()["handlers"])
            context.wait()
    """)
    daemons.launch(text).check()
    pid = daemons.survivor()
    seen = facts_of(pid)
    assert signal.SIGCHLD in seen.ignored
    assert seen.blocked == (signal.SIGUSR2,)
    handlers = read_json(daemons.directory / "handlers")
    assert handlers[str(int(signal.SIGTERM))] == str(signal.SIG_DFL)
    assert "default_int_handler" in handlers[str(int(signal.SIGINT))]
    daemons.stop(pid, signal.SIGKILL)
