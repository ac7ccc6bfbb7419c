"""What the daemon forks: it holds nothing of the daemon's, gives nothing back in its stead, and ends with its start."""

from __future__ import annotations

import os
import signal
import textwrap
from typing import TYPE_CHECKING

import pytest

from daemonry.pidfile import PIDLockFile
from harness.probe import facts_of
from harness.waiting import is_alive, read_json, wait_for, wait_for_exit
from launcher_programs import IMPATIENT, failing, program

if TYPE_CHECKING:
    from harness.daemons import Daemons

# Each starts a worker that lives until it is told otherwise, and calls it `worker`.
pytestmark = pytest.mark.reliability("The program's own code")

WORKERS = {
    "os.fork": """
        worker = os.fork()
        if worker == 0:
            publish("worker", os.getpid())
            signal.pause()
            os._exit(0)
    """,
    "subprocess": """
        import subprocess
        code = "import os, signal; from harness.probe import publish; publish('worker', os.getpid()); signal.pause()"
        worker = subprocess.Popen([sys.executable, "-c", code], close_fds=False).pid
    """,
    **{
        f"multiprocessing, {method}": f"""
        import multiprocessing, launcher_programs
        worker = multiprocessing.get_context({method!r}).Process(target=launcher_programs.work, args=("worker",))
        worker.start()
    """
        for method in ("fork", "spawn", "forkserver")
    },
}


def with_worker(kind: str, before_ready: bool = False) -> str:
    return program("""
        if __name__ == "__main__":
            context = Context(working_directory=".", pidfile=daemonry.PIDLockFile("pid"), ready="manual")
            context.open()
            signal.signal(signal.SIGUSR1, lambda *_: context.request_stop())
            publish("daemon", os.getpid())
            START
            context.wait()
            context.ready()
            while True:
                signal.sigtimedwait([], 0.05)
    """).replace("    START", WORKERS[kind].replace("\n        ", "\n    "))


@pytest.mark.parametrize("kind", WORKERS)
def test_a_worker_holds_neither_the_pipes_nor_the_lock(daemons: Daemons, kind: str) -> None:
    """Forked before the daemon is ready, and alive when the daemon is killed: the lock is free, the launcher knew."""
    running = daemons.start(with_worker(kind))
    pid = read_json(daemons.directory / "daemon")
    worker = read_json(daemons.directory / "worker")
    held = {found.target for found in facts_of(pid).descriptors if "pipe:" in found.target}
    reports = {found.target for found in facts_of(running.pid).descriptors if "pipe:" in found.target}
    assert reports & held
    others = [facts_of(other) for other in daemons.alive() if other not in (pid, running.pid, facts_of(pid).ppid)]
    assert worker in [other.pid for other in others]
    for other in others:
        targets = [found.target for found in other.descriptors]
        assert not reports.intersection(targets)
        assert not any(target.startswith(str(daemons.directory / "pid")) for target in targets)
    os.kill(pid, signal.SIGUSR1)
    running.wait().check()
    lock = PIDLockFile(daemons.directory / "pid")
    assert lock.is_locked()
    daemons.stop(pid, signal.SIGKILL)
    assert not lock.is_locked()
    with lock:
        assert is_alive(worker)
    for other in daemons.alive():
        daemons.stop(other, signal.SIGKILL)


ENDS = ["os._exit(0)", "sys.exit(0)", "raise ValueError", "pass", "context.close()", "context.terminate(15)"]


@pytest.mark.parametrize("end", ENDS)
def test_a_worker_that_leaves_the_block_gives_nothing_back(daemons: Daemons, end: str) -> None:
    """However it ends: the pidfile stays and is locked, no context manager is left, nobody is told ready."""
    text = program(f"""
        class Other(daemonry.PIDLockFile):
            def __exit__(self, *exc_info):
                with open("left", "a") as file:
                    print(os.getpid(), file=file)
                super().__exit__(*exc_info)
        with Context(working_directory=".", pidfile=Other("pid")) as context:
            context.exit_stack.callback(lambda: open(f"undone-{{os.getpid()}}", "w").close())
            worker = os.fork()
            if worker:
                os.waitpid(worker, 0)
                publish("here", os.getpid())
                context.wait()
            else:
                {end}
    """)
    daemons.launch(text).check()
    pid = read_json(daemons.directory / "here")
    assert PIDLockFile(daemons.directory / "pid").is_locked()
    assert (daemons.directory / "pid").read_text() == f"{pid}\n"
    assert not (daemons.directory / "left").exists()
    daemons.stop(pid)
    assert (daemons.directory / "left").read_text() == f"{pid}\n"
    assert [path.name for path in daemons.directory.glob("undone-*")] == [f"undone-{pid}"]
    assert not (daemons.directory / "pid").exists()


@pytest.mark.parametrize("end", ["os._exit(0)", "sys.exit(0)", "raise ValueError", "self.ready()"])
@pytest.mark.parametrize("detach", [True, False])
def test_a_worker_of_a_step_that_leaves_it_undoes_no_step(daemons: Daemons, end: str, detach: bool) -> None:
    """Nor does it report a failure: the start goes on, and gets ready."""
    text = program(f"""
        class Forking(Context):
            def begin_work(self):
                self.exit_stack.callback(lambda: open(f"undone-{{os.getpid()}}", "w").close())
                worker = os.fork()
                if worker == 0:
                    {end}
                    os._exit(0)
                os.waitpid(worker, 0)
        with Forking(
            working_directory=".", pidfile=daemonry.PIDLockFile("pid"), detach_process={detach}
        ) as context:
            publish("here", os.getpid())
            context.wait()
    """)
    running = daemons.start(text)
    pid = read_json(daemons.directory / "here")
    assert PIDLockFile(daemons.directory / "pid").is_locked()
    assert list(daemons.directory.glob("undone-*")) == []
    assert daemons.survivor() == pid
    daemons.stop(pid)
    running.wait().check()
    assert [path.name for path in daemons.directory.glob("undone-*")] == [f"undone-{pid}"]


def test_a_worker_says_neither_ready_nor_progress(daemons: Daemons) -> None:
    text = program("""
        with Context(working_directory=".", ready="manual") as context:
            worker = os.fork()
            if worker == 0:
                context.progress("of the worker")
                context.ready()
                os._exit(0)
            os.waitpid(worker, 0)
            context.progress("of the daemon")
            signal.signal(signal.SIGUSR1, lambda *_: context.request_stop())
            publish("here", os.getpid())
            context.wait()
            context.ready()
            while True:
                signal.sigtimedwait([], 0.05)
    """)
    running = daemons.start(text)
    pid = read_json(daemons.directory / "here")
    wait_for(lambda: running.stderr == "of the daemon\n")
    assert running.process.poll() is None
    os.kill(pid, signal.SIGUSR1)
    running.wait().check()
    daemons.stop(pid)


def test_a_worker_does_not_share_the_wake_up(daemons: Daemons) -> None:
    """Its wish wakes itself and not the daemon, and the daemon's wish not the worker."""
    text = program("""
        with Context(working_directory=".") as context:
            context.wait(0.001)
            worker = os.fork()
            if worker == 0:
                assert not context.wait(0.001)
                context.request_stop()
                publish("worker woke", context.wait(30))
                os._exit(0)
            os.waitpid(worker, 0)
            publish("daemon slept", context.wait(0.05))
            sleeper = os.fork()
            if sleeper == 0:
                signal.signal(signal.SIGUSR1, lambda *_: publish("sleeper slept", not context.wait(0.05)))
                publish("sleeper", os.getpid())
                signal.pause()
                os._exit(0)
            while not os.path.exists("sleeper"):
                time.sleep(0.005)
            context.request_stop()
            os.kill(sleeper, signal.SIGUSR1)
            publish("daemon woke", context.wait(30))
            os.waitpid(sleeper, 0)
    """)
    daemons.launch(text).check()
    assert read_json(daemons.directory / "worker woke") is True
    assert read_json(daemons.directory / "daemon slept") is False
    assert read_json(daemons.directory / "sleeper slept") is True
    assert read_json(daemons.directory / "daemon woke") is True
    wait_for(lambda: not daemons.alive())


@pytest.mark.parametrize("place", ["step", "body"])
@pytest.mark.parametrize(
    "end", ["raise ValueError", "os._exit(3)", "os.kill(os.getpid(), signal.SIGKILL)", "sys.exit()"]
)
def test_the_workers_of_a_start_that_fails_are_ended_too(daemons: Daemons, place: str, end: str) -> None:
    """Children, orphans, process groups of their own, and those that don't heed SIGTERM."""
    work = f"""
        reading, writing = os.pipe()
        def fork(prepare=lambda: None, leave=False):
            if os.fork() == 0:
                if leave and os.fork():
                    os._exit(0)
                prepare()
                os.write(writing, b"x")
                while True:
                    signal.sigtimedwait([], 0.05)
        fork()
        fork(leave=True)
        fork(lambda: os.setpgid(0, 0))
        fork(lambda: signal.signal(signal.SIGTERM, signal.SIG_IGN))
        for _ in range(4):
            os.read(reading, 1)
        {end}
    """
    daemons.launch(failing(work, before=IMPATIENT, place=place)).check()
    told = read_json(daemons.directory / "told")
    assert told["step"] == ("begin_work" if place == "step" else "body")
    assert told["survivors"] == []
    assert told["children"] is None
    assert daemons.alive() == []


@pytest.mark.parametrize("end", ["raise ValueError('no')", "signal.pause()", "os.kill(os.getpid(), signal.SIGKILL)"])
def test_a_worker_that_left_the_session_is_named_and_let_live(daemons: Daemons, end: str) -> None:
    """Where ctypes is loaded: to load it, so as to become the parent of orphans, takes longer than all else."""
    before = "import ctypes"
    work = f"""
        reading, writing = os.pipe()
        if os.fork() == 0:
            os.setsid()
            publish("stray", os.getpid())
            os.write(writing, b"x")
            signal.pause()
        os.read(reading, 1)
        {end}
    """
    options = "start_timeout=0.75" if "pause" in end else ""
    daemons.launch(failing(work, before=before, options=options)).check()
    told = read_json(daemons.directory / "told")
    pid = read_json(daemons.directory / "stray")
    (survivor,) = told["survivors"]
    assert survivor.startswith(f"process {pid} (")
    assert survivor.endswith("), which left the daemon's session")
    assert told["text"].endswith(f"; still running: {survivor}")
    assert daemons.alive() == [pid]
    daemons.stop(pid, signal.SIGKILL)


def test_a_worker_that_left_before_the_witness_was_at_work_is_named_too(daemons: Daemons) -> None:
    """The first thing that the daemon does is to leave an orphan in a session of its own."""
    before = """
        import ctypes
        def leave():
            global forks
            forks += 1
            if forks == 2 and os.fork() == 0:
                if os.fork() == 0:
                    os.setsid()
                    publish("stray", os.getpid())
                    signal.pause()
                os._exit(0)
        forks = 0
        os.register_at_fork(after_in_child=leave)
    """
    work = """
        while not os.path.exists("stray"):
            time.sleep(0.005)
        raise ValueError
    """
    daemons.launch(failing(work, before=before)).check()
    pid = read_json(daemons.directory / "stray")
    assert any(f"process {pid} (" in survivor for survivor in read_json(daemons.directory / "told")["survivors"])
    daemons.stop(pid, signal.SIGKILL)


@pytest.mark.root_only("a launcher that gives up its rights after it was started with them")
def test_a_worker_whom_the_launcher_may_not_end_is_named(daemons: Daemons, ordinary_user: str) -> None:
    """It has become another user's process: an unprivileged launcher's SIGKILL does not reach it."""
    before = """
        import json, pwd
        daemonry.launch.launcher.DYING = daemonry.launch.witness.DYING = 0.2
        # It gives up its rights by itself, and then may not be able to read where the library is.
        from daemonry.launch import failures, launcher, witness
        from daemonry.steps import telling
        from daemonry.system import exit_stack, family, process
        failures.prepare()
        user = pwd.getpwnam("nobody").pw_uid
        def gain():
            if os.path.exists("working"):
                os.setresuid(0, 0, 0)
        os.register_at_fork(after_in_child=gain)
        # The step before detach, when everything that it takes has been imported.
        Context.flush_streams = lambda self: os.setresuid(user, user, 0)
        Context.steps = tuple(name for name in Context.steps if name != "drop_privileges")
    """
    work = """
        open("working", "w").close()
        if os.fork() == 0:
            publish("worker", os.getpid())
            while True:
                signal.sigtimedwait([], 0.05)
        while not os.path.exists("worker"):
            time.sleep(0.005)
        raise ValueError
    """
    daemons.launch(failing(work, before=IMPATIENT + textwrap.dedent(before)), cwd=daemons.public).check()
    pid = read_json(daemons.public / "worker")
    (survivor,) = read_json(daemons.public / "told")["survivors"]
    assert survivor.startswith(f"process {pid} (")
    assert daemons.alive() == [pid]
    daemons.stop(pid, signal.SIGKILL)


def test_a_ready_daemons_workers_are_let_live(daemons: Daemons) -> None:
    """The witness ends what a failed start has left, and nothing else."""
    daemons.launch(with_worker("os.fork").replace("context.wait()", "pass", 1)).check()
    worker = read_json(daemons.directory / "worker")
    pid = read_json(daemons.directory / "daemon")
    assert daemons.alive() == sorted((pid, worker))
    daemons.stop(pid)
    daemons.stop(worker)
    wait_for_exit(worker)


def test_what_a_child_gives_up(daemons: Daemons) -> None:
    """Each owner once, also when another can't; not again in a grandchild; not one that is collected."""
    text = """
        import gc, os
        from daemonry.system.forks import give_up_in_children
        class Owner:
            def __init__(self, name, error=None):
                self.name, self.error = name, error
                give_up_in_children(self)
            def give_up(self):
                print(self.name, flush=True)
                if self.error:
                    raise self.error
        owners = [Owner("good"), Owner("bad", OSError("no")), Owner("fine")]
        Owner("collected")
        gc.collect()
        for generation in range(3):
            child = os.fork()
            if child:
                break
        else:
            os._exit(0)
        if child:
            os.waitpid(child, 0)
    """
    launched = daemons.launch(text).check()
    assert sorted(launched.stdout.split()) == ["bad", "fine", "good"]
    assert launched.stderr == ""
