"""The steps: each can be overridden, left out and joined by others, and the one that fails is named.

One program tries them all, each in a process forked for it; what of a daemon's effects the body sees comes back by a
pipe.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from daemonry import DaemonContext
from harness.waiting import read_json, wait_for

if TYPE_CHECKING:
    from harness.daemons import Daemons

STEPS = DaemonContext.steps
# Without an effect of its own that the body could see; only root can change the root directory.
UNSEEN = ("check_options", "leave_init", *(() if os.geteuid() == 0 else ("change_root",)))

# Every step's effect is one that no other step has, so that it shows whether just this one was taken.
ATTEMPTS = """
    import ctypes, fcntl, json, logging.handlers, os, pwd, resource, signal, socket, sys
    from daemonry import DaemonContext, DaemonStartError, PIDLockFile
    from daemonry.manager import notify as sd_notify
    from harness.probe import publish

    sd_notify.PATIENCE = 0.001  # nobody reads what the manager is told until the process has ended
    DETACH = sys.argv[1] == "True"
    NUMBER = 0
    CHROOT = os.geteuid() == 0
    UNSEEN = sys.argv[3].split()
    prctl = ctypes.CDLL(None).prctl
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind("manager")
    manager.setblocking(False)
    signal.signal(signal.SIGQUIT, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (1, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    os.umask(0o022)

    def options(told):
        global held, dead
        # The logging module keeps handlers by weak references only, and so does the test.
        held = logging.handlers.MemoryHandler(100, flushLevel=logging.CRITICAL, target=logging.FileHandler("log"))
        logging.getLogger("held").addHandler(held)
        logging.getLogger("held").warning("written by flush_streams")
        dead = fcntl.fcntl(0, fcntl.F_DUPFD, 200)  # a number that no later file gets
        return dict(
            detach_process=DETACH, files_preserve=[told, manager], pidfile=PIDLockFile(f"{NUMBER}.pid"),
            stdin="/dev/zero", umask=0o077, prevent_core=True, environment={"ONLY": "this"}, no_new_privileges=True,
            chroot_directory=sys.argv[2] if CHROOT else None, working_directory="/tmp",
            signal_map={"USR1": None, "TERM": "terminate"},
        )

    def effects(context):
        "Answer the names of the steps whose effect can be seen."
        try:
            word = manager.recv(100)
        except BlockingIOError:
            word = b""
        return [name for name, seen in {
            "check_options": True,
            "flush_streams": not held.buffer,
            "leave_init": True,
            "detach": os.getpid() != starter,
            "reset_signals": signal.getsignal(signal.SIGQUIT) == signal.SIG_DFL,
            "close_descriptors": not is_open(dead),
            "redirect_streams": os.fstat(0).st_rdev == os.makedev(1, 5),
            "prevent_core_dump": resource.getrlimit(resource.RLIMIT_CORE)[0] == 0,
            "lock_pidfile": context.pidfile.i_am_locking(),
            "change_root": not CHROOT or os.stat("/").st_ino != root,
            "change_working_directory": os.getcwd() == "/tmp",
            "set_umask": os.umask(0o077) == 0o077,
            "clean_environment": dict(os.environ) == {"ONLY": "this"},
            "drop_privileges": prctl(39, 0, 0, 0, 0) == 1,
            "install_signal_handlers": signal.getsignal(signal.SIGUSR1) == signal.SIG_IGN,
            "notify_ready": word.startswith(b"READY=1"),
        }.items() if seen]

    def is_open(fd):
        try:
            return bool(os.fstat(fd))
        except OSError:
            return False

    root = os.stat("/").st_ino

    def attempt(kind, **more):
        "Open a context of that kind in a process of its own; answer all that was said about it."
        global NUMBER, starter
        NUMBER += 1
        reading, told = os.pipe()
        if os.fork() == 0:
            starter = os.getpid()
            os.environ.update(NOTIFY_SOCKET=os.path.abspath("manager"), SYSTEMD_EXEC_PID=str(starter))
            try:
                context = kind(**{**options(told), **more})
                with context:
                    os.write(told, json.dumps({"effects": effects(context)}).encode())
            except DaemonStartError as error:
                os.write(told, json.dumps({
                    "step": error.step, "message": error.message, "launcher": os.getpid() == starter,
                    "traceback": error.traceback}).encode())
            finally:
                os._exit(0)
        os.close(told)
        with open(reading, "rb") as stream:
            answer = json.loads(stream.read() or "null")
        os.wait()
        try:
            while manager.recv(100):
                pass
        except BlockingIOError:
            return answer

    def added(self):
        self.exit_stack.callback(lambda: None)

    def failing(self):
        raise LookupError(f"no luck in {self._opening.step}")
"""


def results(daemons: Daemons, detach: bool, program: str) -> Any:
    jail = daemons.jail()
    (jail / "tmp").mkdir(exist_ok=True)
    daemons.launch(ATTEMPTS + program, detach, jail, " ".join(UNSEEN)).check()
    wait_for(lambda: not daemons.alive(), what="the daemons end")
    return read_json(daemons.directory / "results")


@pytest.fixture(params=[True, False], ids=["detached", "in the foreground"])
def detach(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def seen(*, but: str = "", detach: bool) -> dict[str, list[str]]:
    return {"effects": [step for step in STEPS if step not in (but, *(() if detach else ("detach",)))]}


def test_every_step_is_a_method_with_a_sentence_on_it() -> None:
    assert len(set(STEPS)) == len(STEPS)
    for step in STEPS:
        text = getattr(DaemonContext, step).__doc__
        assert text.strip().split("\n")[0].endswith(".")


def test_the_steps_run_in_the_order_of_the_tuple(daemons: Daemons, detach: bool) -> None:
    program = """
    def traced(name):
        def step(self):
            order.append(name)
            getattr(DaemonContext, name)(self)
            if name == DaemonContext.steps[-1]:
                raise LookupError(" ".join(order))
        return step
    order = []
    Traced = type("Traced", (DaemonContext,), {name: traced(name) for name in DaemonContext.steps})
    publish("results", attempt(Traced, ready="manual"))
    """
    told = results(daemons, detach, program)
    assert told["message"] == f"LookupError: {' '.join(STEPS)}"


def test_all_effects_are_seen_when_nothing_is_changed(daemons: Daemons, detach: bool) -> None:
    """Or the other tests of this file would show nothing."""
    program = """
    publish("results", attempt(DaemonContext))
    """
    assert results(daemons, detach, program) == seen(detach=detach)


def test_each_step_can_be_left_out_and_takes_nothing_but_its_own_effect_along(daemons: Daemons, detach: bool) -> None:
    program = """
    publish("results", {
        name: attempt(type("Without", (DaemonContext,), {
            "steps": tuple(step for step in DaemonContext.steps if step != name)}))
        for name in DaemonContext.steps if name not in UNSEEN})
    """
    expected = {step: seen(but=step, detach=detach) for step in STEPS if step not in UNSEEN}
    assert results(daemons, detach, program) == expected


def test_the_check_of_the_options_can_be_left_out(daemons: Daemons, detach: bool) -> None:
    program = """
    class Unchecked(DaemonContext):
        steps = DaemonContext.steps[1:]
    publish("results", [attempt(Unchecked), attempt(Unchecked, umask="wide")])
    """
    fine, wrong = results(daemons, detach, program)
    assert fine == seen(detach=detach)
    assert wrong["message"].startswith("umask: must be an int")
    assert wrong["launcher"]


def test_each_step_can_be_overridden_and_then_has_no_effect(daemons: Daemons, detach: bool) -> None:
    program = """
    publish("results", {
        name: attempt(type("Overriding", (DaemonContext,), {name: added}))
        for name in DaemonContext.steps if name not in UNSEEN})
    """
    expected = {step: seen(but=step, detach=detach) for step in STEPS if step not in UNSEEN}
    if detach:  # the options still say so, and the step that was given in its place did not fork
        expected["detach"] = seen(but="detach", detach=detach)
    assert results(daemons, detach, program) == expected


def test_each_step_can_be_extended_by_calling_the_base(daemons: Daemons, detach: bool) -> None:
    program = """
    def extended(name):
        def step(self):
            getattr(super(kinds[name], self), name)()
            os.environ["EXTENDED"] = name
            self.extended = name
        return step
    kinds = {}
    for name in DaemonContext.steps:
        kinds[name] = type("Extending", (DaemonContext,), {
            name: extended(name),
            "install_signal_handlers": lambda self: (
                os.environ.pop("EXTENDED", None), DaemonContext.install_signal_handlers(self)),
            **({name: extended(name)} if name == "install_signal_handlers" else {}),
        })
    publish("results", {name: attempt(kind, environment=None) for name, kind in kinds.items()})
    """
    found = results(daemons, detach, program)
    whole = {"effects": [step for step in seen(detach=detach)["effects"] if step != "clean_environment"]}
    assert found == dict.fromkeys(STEPS, whole)


def test_a_step_can_be_added_at_every_place(daemons: Daemons, detach: bool) -> None:
    program = """
    steps = DaemonContext.steps
    def at(place):
        return attempt(type("Adding", (DaemonContext,), {
            "steps": (*steps[:place], "mine", *steps[place:]),
            "mine": lambda self: setattr(self, "mine_ran", self._opening.step)}))
    publish("results", [at(place) for place in range(len(steps) + 1)])
    """
    assert results(daemons, detach, program) == [seen(detach=detach)] * (len(STEPS) + 1)


def test_an_added_step_that_fails_is_named_whatever_its_place(daemons: Daemons, detach: bool) -> None:
    program = """
    steps = DaemonContext.steps
    def at(place):
        return attempt(type("Adding", (DaemonContext,), {
            "steps": (*steps[:place], "mine", *steps[place:]), "mine": failing}), ready="manual")
    publish("results", [at(place) for place in range(len(steps) + 1)])
    """
    found = results(daemons, detach, program)
    assert len(found) == len(STEPS) + 1
    for told in found:
        assert (told["step"], told["message"], told["launcher"]) == ("mine", "LookupError: no luck in mine", True)
        assert "in failing" in told["traceback"]


def test_a_built_in_step_that_fails_is_named(daemons: Daemons, detach: bool) -> None:
    program = """
    publish("results", {
        name: attempt(type("Failing", (DaemonContext,), {name: failing})) for name in DaemonContext.steps})
    """
    found = results(daemons, detach, program)
    for step in STEPS:
        assert (found[step]["step"], found[step]["launcher"]) == (step, True)
        assert found[step]["message"] == f"LookupError: no luck in {step}"


def test_a_step_that_is_no_method_is_named(daemons: Daemons, detach: bool) -> None:
    program = """
    class Wrong(DaemonContext):
        steps = (*DaemonContext.steps[:-1], "bind_scoket", "notify_ready")
    publish("results", attempt(Wrong))
    """
    told = results(daemons, detach, program)
    assert told["step"] == "bind_scoket"
    assert "has no attribute 'bind_scoket'" in told["message"]


def test_the_steps_of_an_instance_of_a_subclass_may_be_its_own(daemons: Daemons) -> None:
    launched = daemons.launch(
        """
        from daemonry import DaemonContext
        class Context(DaemonContext):
            pass
        context = Context(umask=0o022)
        context.steps = ("set_umask",)
        with context:
            import os
            print(oct(os.umask(0)), [str(step) for step in context.plan()])
        """
    ).check()
    assert launched.stdout == "0o22 ['set_umask: 0o022']\n"
