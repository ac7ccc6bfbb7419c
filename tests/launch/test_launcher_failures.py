"""Every way in which a start can fail, as the launcher tells it; nothing of the start is left."""

from __future__ import annotations

import errno
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import daemonry
from harness.probe import facts_of
from harness.waiting import read_json, wait_for_exit
from launcher_programs import IMPATIENT, failing, program

if TYPE_CHECKING:
    from harness.daemons import Daemons

PLACES = ("step", "body")


@pytest.fixture
def somebody(ordinary_user: str) -> str | None:
    """Return for whom a limit holds: root's processes may exceed it."""
    return ordinary_user if os.geteuid() == 0 else None


def start(daemons: Daemons, text: str, **options: Any) -> dict[str, Any]:
    """Start a program that is to fail; return what its launcher has told, and check that nothing is left."""
    launched = daemons.launch(text, cwd=daemons.public, **options).check()
    assert launched.stdout == "after\n", "what follows the with-block runs once"
    told: dict[str, Any] = read_json(daemons.public / "told")
    assert told["pid_here"] == launched.pid
    assert told["children"] is None, "a child that nobody has waited for"
    assert told["after"] == told["before"]
    assert daemons.alive() == []
    return told


def has_left(daemons: Daemons) -> set[str]:
    return set(os.listdir(daemons.public)) - {"told"}


def said(told: dict[str, Any], **expected: object) -> None:
    """Check the fields of an error; those that are not named must tell nothing."""
    fields = ("errno", "pid", "signum", "status", "survivors")
    nothing = {**dict.fromkeys(fields), "survivors": []}
    assert {name: told[name] for name in fields} == {**nothing, **expected}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    ("work", "message", "fields"),
    [
        ("raise ValueError('no such model')", "ValueError: no such model", {}),
        ("raise LookupError", "LookupError", {}),
        (
            "open('/nowhere/at/all')",
            "No such file or directory: /nowhere/at/all",
            {"errno": errno.ENOENT},
        ),
        ("raise OSError(98, 'port 80 is taken')", "port 80 is taken", {"errno": 98}),
        ("raise OSError('the port is taken')", "the port is taken", {}),
        ("sys.exit(3)", "exited with status 3", {"status": 3}),
        ("sys.exit()", "exited with status 0", {"status": 0}),
        ("sys.exit('it makes no sense')", "it makes no sense", {"status": 1}),
        ("raise KeyboardInterrupt", "KeyboardInterrupt", {}),
        ("os.kill(os.getpid(), signal.SIGTERM)", "ended by SIGTERM", {"status": 0}),
        ("(lambda me: me(me))(lambda me: me(me))", "RecursionError: maximum recursion depth exceeded", {}),
        ("raise RuntimeError('\\x1b[31mred\\r\\x00')", "RuntimeError: \\x1b[31mred\\r\\x00", {}),
        ("raise RuntimeError('\\udc80 half a character')", "RuntimeError: \\udc80 half a character", {}),
        (
            "raise type('Mute', (Exception,), {'__str__': lambda self: 1 / 0})",
            "Mute: it has no text, str() of it fails",
            {},
        ),
    ],
)
def test_an_exception_is_told_with_its_traceback(
    daemons: Daemons, place: str, work: str, message: str, fields: dict[str, Any]
) -> None:
    told = start(daemons, failing(work, place=place))
    said(told, **fields)
    step = "begin_work" if place == "step" else "body"
    assert told["step"] == step
    assert told["message"].startswith(message)
    assert told["text"].startswith(f"cannot start the daemon: step {step}: {message}")
    assert told["traceback"].startswith("Traceback (most recent call last):\n")
    assert ("in begin_work\n" if place == "step" else "in <module>\n") in told["traceback"]
    assert work.splitlines()[0] in told["traceback"]
    assert has_left(daemons) == set()


def test_a_message_longer_than_the_pipe_is_told_whole(daemons: Daemons) -> None:
    told = start(daemons, failing("raise RuntimeError('x' * 300_000)"))
    assert told["message"] == "RuntimeError: " + "x" * 300_000


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    ("work", "message", "fields"),
    [
        ("os._exit(7)", "the daemon exited with status 7 before it was ready", {"status": 7}),
        ("os._exit(0)", "the daemon exited with status 0 before it was ready", {"status": 0}),
        *(
            (f"os.kill(os.getpid(), {int(signum)})", f"the daemon was killed by {signum.name}", {"signum": signum})
            for signum in (signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT, signal.SIGUSR1)
        ),
        (
            f"os.kill(os.getpid(), {signal.SIGRTMIN + 1})",
            f"the daemon was killed by signal {signal.SIGRTMIN + 1}",
            {"signum": signal.SIGRTMIN + 1},
        ),
        # What the program has closed it can't tell by any more: its witness tells what it has seen.
        ("os.closerange(3, 200); context = None", "the daemon exited with status 1 before it was ready", {"status": 1}),
    ],
)
def test_a_daemon_that_cannot_tell_is_told_of_by_its_witness(
    daemons: Daemons, place: str, work: str, message: str, fields: dict[str, Any]
) -> None:
    told = start(daemons, failing(work, place=place))
    said(told, **fields)
    assert told["step"] == ("begin_work" if place == "step" else "body")
    assert told["message"] == message
    assert told["traceback"] is None


def test_a_killed_daemon_does_not_keep_the_next_from_starting(daemons: Daemons) -> None:
    start(daemons, failing("os.kill(os.getpid(), signal.SIGKILL)"))
    assert has_left(daemons) == {"pid"}
    os.unlink(daemons.public / "told")
    text = program("""
        with Context(working_directory=".", pidfile=daemonry.PIDLockFile("pid")) as context:
            context.wait()
    """)
    daemons.launch(text, cwd=daemons.public).check()
    pid = daemons.survivor()
    assert (daemons.public / "pid").read_text() == f"{pid}\n"
    daemons.stop(pid)
    assert has_left(daemons) == set()


def test_what_the_program_opens_at_the_pipes_number_gets_none_of_our_lines(daemons: Daemons) -> None:
    """Nor is it closed by us, in the daemon or in a worker that it forks."""
    work = """
        found = set(os.listdir("/proc/self/fd"))
        os.closerange(3, 200)
        numbers = [os.open("file", os.O_CREAT | os.O_RDWR) for _ in found]
        worker = os.fork()
        if worker == 0:
            os._exit(sum(os.fstat(number).st_size for number in numbers))
        if os.waitpid(worker, 0)[1] == 0:
            open("worker", "w").close()
    """
    told = start(daemons, failing(work))
    assert (told["step"], told["status"]) == ("begin_work", 1)
    assert (daemons.public / "file").read_bytes() == b""
    assert (daemons.public / "worker").exists()


@pytest.mark.parametrize("place", PLACES)
def test_a_start_that_hangs_is_ended_in_time(daemons: Daemons, place: str) -> None:
    """With the step, the system's word for lateness, and where the daemon was just then."""
    told = start(daemons, failing("signal.pause()", place=place, options="start_timeout=0.75"))
    said(told, errno=errno.ETIMEDOUT)
    assert told["step"] == ("begin_work" if place == "step" else "body")
    awaited = "begin_work was not done" if place == "step" else "the body did not call ready()"
    assert told["message"] == f"not ready after 0.75 seconds: {awaited}; the daemon has been ended"
    assert "signal.pause()" in told["traceback"]
    assert has_left(daemons) == set()


def test_a_start_in_time_is_not_ended(daemons: Daemons) -> None:
    text = program("""
        with Context(working_directory=".", start_timeout=1e300, ready="manual") as context:
            context.ready()
            publish("worked", True)
    """)
    daemons.launch(text).check()
    read_json(daemons.directory / "worked")


@pytest.mark.reliability("Full and broken places")
@pytest.mark.parametrize("which", [1, 2])
def test_a_fork_that_fails_is_told(daemons: Daemons, somebody: str | None, which: int) -> None:
    """The launcher's own, and that of the session's leader."""
    before = f"""
        import resource
        def forbid():
            resource.setrlimit(resource.RLIMIT_NPROC, (0, resource.getrlimit(resource.RLIMIT_NPROC)[1]))
        {"forbid()" if which == 1 else "os.register_at_fork(after_in_child=forbid)"}
    """
    told = start(daemons, failing("pass", before=before), user=somebody)
    said(told, errno=errno.EAGAIN)
    assert told["step"] == "detach"
    assert "Resource temporarily unavailable" in told["message"]
    assert has_left(daemons) == set()


@pytest.mark.reliability("Full and broken places")
@pytest.mark.parametrize("free", range(12))
def test_too_few_descriptors_are_told(daemons: Daemons, free: int) -> None:
    """However many are left: the launcher raises its error, or the daemon starts; nothing else is opened to say so."""
    text = program("""
        import resource
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        holes = [os.dup(2) for _ in range(40)]
        os.closerange(holes[-1] - FREE + 1, holes[-1] + 1)
        resource.setrlimit(resource.RLIMIT_NOFILE, (holes[-1] + 1, before[1]))
        try:
            with Context(working_directory=".") as context:
                resource.setrlimit(resource.RLIMIT_NOFILE, before)
                publish("worked", True)
        except daemonry.DaemonStartError as error:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
            tell("told", error)
    """).replace("FREE", str(free))
    daemons.launch(text).check()
    if not (daemons.directory / "told").exists():
        assert free >= 4, "what two pipes take"
        read_json(daemons.directory / "worked")
        return
    told = read_json(daemons.directory / "told")
    assert told["errno"] == errno.EMFILE
    assert told["step"] in ("check_options", "detach", "close_descriptors", "redirect_streams")
    assert told["children"] is None


def test_an_uncaught_error_ends_the_launcher_with_the_reason(daemons: Daemons) -> None:
    launched = daemons.launch(
        """
        import daemonry
        class Context(daemonry.DaemonContext):
            def set_umask(self):
                raise ValueError("no umask today")
        with Context():
            pass
        """
    ).check(1)
    last = launched.stderr.splitlines()[-1]
    assert last.endswith("DaemonStartError: cannot start the daemon: step set_umask: ValueError: no umask today")
    assert "in the daemon" in launched.stderr
    assert launched.stderr.count('raise ValueError("no umask today")') == 1
    assert daemons.alive() == []


@pytest.mark.parametrize("work", ["open('/nowhere')", "raise ValueError"])
def test_where_the_programs_code_failed_the_cause_is_the_daemons_traceback(daemons: Daemons, work: str) -> None:
    """Also where the system has refused something, which the message says: the line that asked for it it can't."""
    told = start(daemons, failing(work))
    assert told["cause"].startswith('in the daemon\n"""\nTraceback')
    assert work in told["cause"]
    assert told["traceback"] in told["cause"]


@pytest.mark.parametrize("work", ["sys.exit('no model')", "raise daemonry.DaemonStartError(5, 'no model')"])
def test_who_says_himself_why_he_ends_is_shown_without_a_traceback(daemons: Daemons, work: str) -> None:
    told = start(daemons, failing(work))
    assert told["message"] == "no model"
    assert told["cause"] == "None"
    assert work in told["traceback"]


@pytest.mark.parametrize(
    "step", ["check_options", "flush_streams", "detach", "reset_signals", "begin_work", "notify_ready"]
)
def test_the_error_names_a_step_on_either_side_of_the_fork(daemons: Daemons, step: str) -> None:
    text = failing("raise ValueError('here')").replace(
        "begin_work(self):\n        raise", f"{step}(self):\n        raise"
    )
    told = start(daemons, text)
    said(told)
    assert told["step"] == step
    assert "ValueError: here" in told["text"]
    assert has_left(daemons) == set()


def test_a_second_failure_while_the_first_is_undone_is_told_too(daemons: Daemons) -> None:
    work = """
        self.exit_stack.callback(lambda: 1 / 0)
        raise ValueError("first")
    """
    told = start(daemons, failing(work))
    assert told["message"] == "ValueError: first; and undoing it: ZeroDivisionError: division by zero"


def test_a_program_that_catches_the_error_can_start_again(daemons: Daemons) -> None:
    text = program("""
        class Once(Context):
            def begin_work(self):
                if attempt == 0:
                    raise ValueError("not yet")
        context = Once(working_directory=".", pidfile=daemonry.PIDLockFile("pid"))
        for attempt in range(2):
            try:
                context.open()
            except daemonry.DaemonStartError as error:
                tell("told", error)
            else:
                break
        publish("facts", facts())
        context.wait()
    """)
    daemons.launch(text).check()
    assert read_json(daemons.directory / "told")["message"] == "ValueError: not yet"
    pid = daemons.survivor()
    assert read_json(daemons.directory / "facts")["pid"] == pid
    daemons.stop(pid)
    assert not (daemons.directory / "pid").exists()


MUTE = f"""{IMPATIENT}
class Mute(Context):
    def begin_work(self):
        os.close(self._opening.tie._hatch.fd)
with Mute(working_directory="."):
    publish("up", facts())
    signal.pause()
"""


def test_a_launcher_leaves_though_the_daemon_can_not_tell_its_witness(daemons: Daemons) -> None:
    """Once it is said that the daemon is up, it stays up, and nobody waits for ever."""
    daemons.launch(program(MUTE)).check()
    pid = read_json(daemons.directory / "up")["pid"]
    assert daemons.survivor() == pid
    assert facts_of(pid).ppid == 1
    daemons.stop(pid)


@pytest.mark.parametrize("place", PLACES)
def test_a_daemon_that_becomes_another_program_before_it_is_ready_has_failed_at_once(
    daemons: Daemons, place: str
) -> None:
    """The pipes end with the exec, so nobody waits for what that program will never say; nor does it live on."""
    told = start(daemons, failing("os.execvp('sleep', ['sleep', '60'])", place=place))
    said(told)
    assert told["step"] == ("begin_work" if place == "step" else "body")
    assert told["message"].startswith("the daemon has become another program (sleep) before it was ready")
    assert daemons.alive() == []


def test_a_daemon_that_closes_the_pipes_and_lives_on_is_not_waited_for(daemons: Daemons) -> None:
    before = IMPATIENT + "daemonry.launch.launcher.DYING = 0.2"
    told = start(daemons, failing("os.closerange(3, 200); signal.pause()", before=before, place="body"))
    said(told)
    assert told["message"].startswith("the daemon has closed the pipe by which it would say that it is ready")
    assert daemons.alive() == []


def test_another_program_whose_launcher_is_gone_is_let_live(daemons: Daemons) -> None:
    """Nobody is left to be told, and its witness, whom nobody needs, leaves."""
    text = program("""
        with Context(working_directory=".", ready="manual"):
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
            publish("pid", {"pid": os.getpid(), "witness": os.getppid()})
            signal.sigwait([signal.SIGUSR1])
            os.execvp("sleep", ["sleep", "60"])
    """)
    running = daemons.start(text)
    pids = read_json(daemons.directory / "pid")
    running.signal(signal.SIGKILL)
    running.wait()
    os.kill(pids["pid"], signal.SIGUSR1)
    wait_for_exit(pids["witness"])
    assert daemons.survivor() == pids["pid"]
    daemons.stop(pids["pid"])


@pytest.mark.parametrize("limit", [3, 4, 5])
def test_without_a_descriptor_to_load_by_what_telling_of_it_takes_the_reason_is_told(
    daemons: Daemons, limit: int
) -> None:
    """A program at its limit, in which nothing has failed before."""
    launched = daemons.launch(
        f"""
        import resource
        from daemonry import DaemonContext, DaemonStartError

        resource.setrlimit(resource.RLIMIT_NOFILE, ({limit}, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        try:
            DaemonContext(detach_process=True).open()
        except DaemonStartError as error:
            print(error.step, error.errno, error)
        """,
        plain=True,
        env={"PYTHONPATH": str(Path(daemonry.__path__[0]).parent)},
    ).check()
    # Who is not root may have asked for more by then.
    step, told = launched.stdout.split(" ", 1)
    assert step in ("detach", "check_options")
    assert told.startswith(f"{errno.EMFILE} cannot start the daemon: step {step}: ")
    assert told.endswith("Too many open files; raise the limit, see ulimit -n\n")
    assert daemons.alive() == []


def test_a_launcher_that_cannot_load_what_sees_to_the_start_ends_it(daemons: Daemons) -> None:
    launched = daemons.launch(
        """
        import sys
        import daemonry

        sys.modules["daemonry.launch.launcher"] = None
        try:
            with daemonry.DaemonContext(detach_process=True, ready="manual") as context:
                context.wait()
        except daemonry.DaemonStartError as error:
            print(error.step, error)
        """
    ).check()
    assert launched.stdout.startswith("detach cannot start the daemon: step detach: ModuleNotFoundError: ")
    assert daemons.alive() == []
