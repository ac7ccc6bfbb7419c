"""The plan: every step with the value that it would use, and not one of them taken."""

from __future__ import annotations

import io
import json
import os
import signal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemonry import DaemonContext, InvalidOption, PIDLockFile
from daemonry.plan import VALUE_OF_STEP, Plan
from telling_programs import told

if TYPE_CHECKING:
    from pathlib import Path

    from harness.daemons import Daemons


def said(context: DaemonContext) -> dict[str, str]:
    return {step.name: str(step) for step in context.plan()}


def test_a_plan_has_the_steps_in_their_order() -> None:
    assert tuple(step.name for step in DaemonContext().plan()) == DaemonContext.steps
    assert set(VALUE_OF_STEP) <= set(DaemonContext.steps)


def test_a_plan_of_nothing_but_defaults_reads_well() -> None:
    found = said(DaemonContext(preserve_logging=False))
    names = {"close_descriptors", "drop_privileges"}
    assert {name: text for name, text in found.items() if name not in names} == {
        "check_options": "check_options",
        "flush_streams": "flush_streams",
        "leave_init": "leave_init: not process 1",
        "detach": "detach: fork, setsid, fork: started by no service manager (nothing says that somebody keeps it)",
        "reset_signals": "reset_signals: mask empty, no longer ignored: none",
        "redirect_streams": "redirect_streams: stdin -> /dev/null, stdout -> /dev/null, stderr -> /dev/null",
        "prevent_core_dump": "prevent_core_dump: RLIMIT_CORE 0",
        "lock_pidfile": "lock_pidfile: none",
        "change_root": "change_root: unchanged",
        "change_working_directory": "change_working_directory: /",
        "set_umask": "set_umask: 0o000",
        "clean_environment": "clean_environment: unchanged",
        "install_signal_handlers": "install_signal_handlers: SIGTSTP -> ignored, SIGTTIN -> ignored, "
        "SIGTTOU -> ignored, SIGTERM -> terminate",
        "notify_ready": "notify_ready: when the body begins",
    }
    assert found["close_descriptors"].startswith("close_descriptors: close what was inherited, leave what is ")
    assert "supplementary groups unchanged" in found["drop_privileges"]


@pytest.mark.parametrize(
    ("options", "step", "text"),
    [
        ({"detach_process": True}, "detach", "fork, setsid, fork: as asked"),
        ({"detach_process": False}, "detach", "stay in the foreground: as asked"),
        (
            {"detach_process": True, "start_timeout": 2.5},
            "detach",
            "fork, setsid, fork: as asked, ready within 2.5 seconds",
        ),
        ({"detach_process": False, "start_timeout": 2}, "detach", "stay in the foreground: as asked"),
        ({"detach_process": False}, "redirect_streams", "stdin unchanged, stdout unchanged, stderr unchanged"),
        (
            {"detach_process": True, "stdin": 0, "stdout": "/dev/full", "stderr": 2},
            "redirect_streams",
            "stdin -> descriptor 0, stdout -> /dev/full, stderr -> descriptor 2",
        ),
        ({"prevent_core": False}, "prevent_core_dump", "unchanged"),
        ({"pidfile": PIDLockFile("/run/never-taken.pid")}, "lock_pidfile", "/run/never-taken.pid"),
        ({"pidfile": io.StringIO("x")}, "lock_pidfile", "<_io.StringIO object"),
        ({"chroot_directory": "/etc/../etc"}, "change_root", "/etc"),
        ({"chroot_directory": "/", "working_directory": "etc"}, "change_working_directory", "/etc"),
        ({"working_directory": "/etc/"}, "change_working_directory", "/etc"),
        ({"umask": 0o27}, "set_umask", "0o027"),
        ({"environment": {"A": "1", "B": "2"}}, "clean_environment", "replaced by 2 variables"),
        ({"environment": {}}, "clean_environment", "replaced by 0 variables"),
        ({"uid": 1, "gid": 54321}, "drop_privileges", "user daemon (1), group 54321, supplementary groups none"),
        ({"uid": 54321, "gid": 1}, "drop_privileges", "user 54321, group daemon (1), supplementary groups none"),
        ({"no_new_privileges": True}, "drop_privileges", "user "),
        ({"signal_map": {}}, "install_signal_handlers", "none"),
        (
            {"signal_map": {"HUP": "reopen_streams", 10: signal.SIG_DFL, signal.SIGUSR2: print}},
            "install_signal_handlers",
            "SIGHUP -> reopen_streams, SIGUSR1 -> default action, SIGUSR2 -> print",
        ),
        ({"ready": "manual"}, "notify_ready", "when the body calls ready()"),
    ],
)
def test_an_option_is_said_as_the_value_that_its_step_will_use(options: dict[str, Any], step: str, text: str) -> None:
    assert said(DaemonContext(**options))[step].startswith(f"{step}: {text}")


def test_a_mark_is_set_where_no_new_privileges_are_given() -> None:
    assert said(DaemonContext(no_new_privileges=True))["drop_privileges"].endswith(", no new privileges")
    assert "no new privileges" not in said(DaemonContext())["drop_privileges"]


def test_supplementary_groups_are_said_by_number() -> None:
    groups = ", ".join(map(str, sorted(set(os.getgrouplist("daemon", 4)))))
    context = DaemonContext(uid="daemon", gid=4, initgroups=True)
    assert f"supplementary groups {groups}" in said(context)["drop_privileges"]


def test_each_open_descriptor_is_said_with_what_it_is_and_whether_and_why_it_stays(daemons: Daemons) -> None:
    """By each of the two rules, and with their reasons."""
    own, named, forked = told(
        daemons,
        """
        logging.basicConfig(filename=path("log"))
        file, inherited = open(path("file"), "w"), os.open("/etc/passwd", os.O_RDONLY)
        os.set_inheritable(inherited, True)
        def said(**options):
            (step,) = [each for each in DaemonContext(**options).plan() if each.name == "close_descriptors"]
            return str(step).splitlines()
        answers = [said(), said(files_preserve=[inherited], preserve_logging=False)]
        reading, writing = os.pipe()
        if os.fork() == 0:
            os.write(writing, said()[0].encode())
            os._exit(0)
        tell([*answers, os.read(reading, 999).decode()])
        """,
    )
    log, file = daemons.directory / "log", daemons.directory / "file"
    assert own == [
        "close_descriptors: close what was inherited, leave what is the program's own: files_preserve is not given",
        f"    3 {log} stays: of a logging handler",
        f"    4 {file} stays: the program's own",
        "    5 /etc/passwd is closed: inherited, or made to be",
    ]
    assert named == [
        "close_descriptors: close all not named: files_preserve is given",
        f"    3 {log} is closed: not named",
        f"    4 {file} is closed: not named",
        "    5 /etc/passwd stays: in files_preserve",
    ]
    assert forked == (
        "close_descriptors: close all not named: another process has forked it, and its own files can't be told from "
        "that one's"
    )


def test_an_iterator_of_files_serves_the_plan_and_the_start() -> None:
    context = DaemonContext(files_preserve=iter([1, 2]))
    assert context.plan() == context.plan()
    assert list(context.files_preserve) == [1, 2]


def test_a_plan_takes_no_step(daemons: Daemons) -> None:
    """Of a process that says all of itself before and after, with options for every step."""
    launched = daemons.launch(
        """
        import os, signal, sys
        from daemonry import DaemonContext, PIDLockFile
        from harness.probe import facts

        def now():
            return {name: value for name, value in vars(facts()).items() if name != "state"}

        context = DaemonContext(
            chroot_directory=".", working_directory="/", umask=0o077, uid=os.getuid(), gid=12, no_new_privileges=True,
            pidfile=PIDLockFile("daemon.pid"), detach_process=True, environment={"A": "1"}, stdout="public/log",
            signal_map={"USR1": None, "TERM": "terminate"}, start_timeout=1, files_preserve=[0],
        )
        context.plan()  # what it imports may leave a trace, such as an open file
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        before = now()
        plan = context.plan()
        print(before == now(), context.is_open, [step.name for step in plan] == list(context.steps))
        """
    ).check()
    assert launched.stdout == "True False True\n"
    assert not (daemons.directory / "daemon.pid").exists()
    assert list(daemons.public.iterdir()) == []


def test_a_plan_says_what_the_daemon_will_do(daemons: Daemons) -> None:
    """It is made of the same values, those of a change made between the two included."""
    launched = daemons.launch(
        """
        import os
        from daemonry import DaemonContext
        context = DaemonContext(umask=0o077, working_directory="public", detach_process=False)
        context.plan()
        context.umask = 0o022
        planned = {step.name: step.value for step in context.plan()}
        with context:
            print(planned["set_umask"].mask == os.umask(0))
            print(planned["change_working_directory"].path == os.getcwd())
        """
    ).check()
    assert launched.stdout.split() == ["True", "True"]


def test_the_plan_of_an_open_context_is_the_one_that_it_has_followed(daemons: Daemons) -> None:
    """Though its lock is held now, and a relative path would mean another place."""
    launched = daemons.launch(
        """
        from daemonry import DaemonContext, PIDLockFile
        context = DaemonContext(
            detach_process=False, pidfile=PIDLockFile("daemon.pid"), working_directory="public", signal_map={}
        )
        before = context.plan()
        with context:
            context.umask = 0o022
            print(context.plan() == before)
        context.working_directory = "/"
        print(context.plan() == before, next(str(step) for step in context.plan() if step.name == 'set_umask'))
        """
    ).check()
    assert launched.stdout == "True\nFalse set_umask: 0o022\n"


# Options that can't be meant


BAD: dict[str, list[tuple[str, Any]]] = {
    "detach": [
        ("detach_process", "yes"),
        ("detach_process", []),
        ("start_timeout", 0),
        ("start_timeout", -1),
        ("start_timeout", "5"),
        ("start_timeout", True),
        ("start_timeout", float("nan")),
    ],
    "close_descriptors": [
        ("files_preserve", 5),
        ("files_preserve", ["/etc/passwd"]),
        ("files_preserve", [None]),
        ("files_preserve", [-1]),
    ],
    "redirect_streams": [
        ("stdin", "/nowhere at all"),
        ("stdout", "/nowhere at all/log"),
        ("stderr", "/etc"),
        ("stdout", 4321),
        ("stdout", object()),
        ("stdout", True),
    ],
    "lock_pidfile": [
        ("pidfile", ""),
        ("pidfile", object()),
        ("pidfile", PIDLockFile),
    ],
    "change_root": [("chroot_directory", "/nowhere at all"), ("chroot_directory", 5)],
    "change_working_directory": [("working_directory", "/nowhere at all"), ("working_directory", None)],
    "set_umask": [("umask", "022"), ("umask", -1)],
    "clean_environment": [("environment", 5), ("environment", {"A": None})],
    "drop_privileges": [("uid", "nobody at all"), ("gid", -1)],
    "install_signal_handlers": [
        ("signal_map", 5),
        ("signal_map", {"SIGNOTHING": None}),
        ("signal_map", {"TERM": "no_such_method"}),
        ("signal_map", {"KILL": None}),
        ("signal_map", {"TERM": None, 15: None}),
    ],
}
EACH_BAD = [(step, option, value) for step, cases in BAD.items() for option, value in cases]


@pytest.mark.parametrize(("step", "option", "value"), EACH_BAD)
def test_what_cannot_be_meant_is_refused_with_the_name_of_the_option(step: str, option: str, value: Any) -> None:
    context = DaemonContext(**{option: value})
    with pytest.raises(InvalidOption, match=f"cannot start the daemon: step check_options: {option}: ") as caught:
        context.plan()
    assert (caught.value.option, caught.value.step) == (option, "check_options")
    assert isinstance(caught.value, ValueError)
    assert not context.is_open


@pytest.mark.parametrize(("step", "option", "value"), EACH_BAD)
def test_an_option_is_looked_at_only_where_its_step_is_one_of_the_context(step: str, option: str, value: Any) -> None:
    class Without(DaemonContext):
        steps = tuple(each for each in DaemonContext.steps if each != step)

    assert len(Without(**{option: value}).plan()) == len(DaemonContext.steps) - 1


@pytest.mark.parametrize("when", ["", "now", None, "Manual"])
@pytest.mark.parametrize("steps", [DaemonContext.steps, ()])
def test_when_the_daemon_is_ready_is_looked_at_always(when: str | None, steps: tuple[str, ...]) -> None:
    """For the launcher waits for it whatever the steps."""

    class Context(DaemonContext):
        pass

    Context.steps = steps
    with pytest.raises(InvalidOption, match="ready: must be one of 'auto', 'manual', not"):
        Context(ready=when).plan()


def test_a_context_without_the_step_that_forks_stays_in_the_foreground() -> None:
    class Staying(DaemonContext):
        steps = tuple(step for step in DaemonContext.steps if step != "detach")

    text = said(Staying(detach_process=True))["redirect_streams"]
    assert text == "redirect_streams: stdin unchanged, stdout unchanged, stderr unchanged"


def test_the_files_of_a_context_without_drop_privileges_stay_the_user_s() -> None:
    class Staying(DaemonContext):
        steps = tuple(step for step in DaemonContext.steps if step != "drop_privileges")

    assert next(step for step in Staying(uid="nobody").plan() if step.name == "redirect_streams").value.owner is None


@pytest.mark.parametrize(
    ("option", "value"),
    [("umask", "022"), ("uid", "nobody at all"), ("pidfile", "a\0.pid"), ("signal_map", {"X": None})],
)
def test_what_cannot_be_meant_costs_no_fork_and_changes_nothing(daemons: Daemons, option: str, value: Any) -> None:
    launched = daemons.launch(
        f"""
        import os, sys
        from daemonry import DaemonContext, DaemonStartError
        before = os.getpid(), os.getcwd(), dict(os.environ), os.listdir("/proc/self/fd")
        sys.addaudithook(lambda event, _: event == "os.fork" and print(event))
        try:
            DaemonContext(**{{{option!r}: {value!r}}}, stdout="log").open()
        except DaemonStartError as error:
            print(error.option, before == (os.getpid(), os.getcwd(), dict(os.environ), os.listdir("/proc/self/fd")))
        """
    ).check()
    assert launched.stdout == f"{option} True\n"
    assert not (daemons.directory / "log").exists()


@given(st.sets(st.sampled_from(DaemonContext.steps)))
def test_any_choice_of_the_steps_has_a_plan(steps: set[str]) -> None:
    chosen = [step for step in DaemonContext.steps if step in steps]
    assert [step.name for step in Plan(DaemonContext(), chosen).resolved()] == chosen


@given(st.integers(0, 0o777), st.booleans(), st.dictionaries(st.sampled_from("ABC"), st.text("xyz= \n")))
def test_two_contexts_with_the_same_options_have_the_same_plan(
    umask: int, core: bool, variables: dict[str, str]
) -> None:
    options: dict[str, Any] = {"umask": umask, "prevent_core": core, "environment": variables, "signal_map": {}}
    one, other = DaemonContext(**options).plan(), DaemonContext(**options).plan()
    assert one == other
    assert list(map(str, one)) == list(map(str, other))
    assert json.dumps(list(map(str, one)))


def test_each_value_is_resolved_once(tmp_path: Path) -> None:
    """The step uses what was checked, whatever has become of the world meanwhile."""
    (tmp_path / "work").mkdir()
    plan = Plan(DaemonContext(working_directory=tmp_path / "work"), DaemonContext.steps)
    plan.resolved()
    (tmp_path / "work").rmdir()
    assert plan.working_directory.path == str(tmp_path / "work")
    assert plan.resolved() == plan.resolved()
