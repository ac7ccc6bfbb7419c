"""The interface of PEP 3143: options by keyword and by assignment, open and close, and who may open."""

from __future__ import annotations

import inspect
import os
import signal
from typing import TYPE_CHECKING, Any

import pytest

from daemonry import DaemonContext, PIDLockFile, default_signal_map
from daemonry.options import Options
from harness.waiting import read_json, wait_for

if TYPE_CHECKING:
    from harness.daemons import Daemons

OF_PEP_3143: dict[str, Any] = {
    "files_preserve": None,
    "chroot_directory": None,
    "working_directory": "/",
    "umask": 0,
    "pidfile": None,
    "detach_process": None,
    "signal_map": default_signal_map(),
    "uid": None,
    "gid": None,
    "prevent_core": True,
    "stdin": None,
    "stdout": None,
    "stderr": None,
}
OF_OUR_OWN: dict[str, Any] = {
    "initgroups": False,
    "ready": "auto",
    "start_timeout": None,
    "environment": None,
    "no_new_privileges": False,
    "preserve_logging": True,
}
DEFAULTS = {**OF_PEP_3143, **OF_OUR_OWN}
OTHERS: dict[str, Any] = {
    "files_preserve": [1],
    "chroot_directory": "/etc",
    "working_directory": "/tmp",
    "umask": 0o027,
    "pidfile": PIDLockFile("/tmp/daemonry-never-taken.pid"),
    "detach_process": False,
    "signal_map": {"HUP": None, signal.SIGTERM: "terminate"},
    "uid": os.getuid(),
    "gid": 12,
    "prevent_core": False,
    "stdin": "/dev/zero",
    "stdout": "/dev/full",
    "stderr": 2,
    "initgroups": True,
    "ready": "manual",
    "start_timeout": 3,
    "environment": {"A": "1"},
    "no_new_privileges": True,
    "preserve_logging": False,
}


class Free(DaemonContext):
    """A subclass as users write them, with attributes of its own."""


def said(context: DaemonContext) -> list[str]:
    return [str(step) for step in context.plan()]


# The names


@pytest.mark.parametrize("name", ["open", "close", "is_open", "terminate", "__enter__", "__exit__", *OF_PEP_3143])
def test_every_name_of_pep_3143_is_there(name: str) -> None:
    assert hasattr(DaemonContext(), name)


@pytest.mark.parametrize("name", DEFAULTS)
def test_an_option_has_its_default(name: str) -> None:
    assert getattr(DaemonContext(), name) == DEFAULTS[name]


def test_the_table_of_this_test_has_every_option() -> None:
    slots = {name.replace("_ready_when", "ready").lstrip("_") for name in Options.__slots__}
    assert slots == set(DEFAULTS) == set(OTHERS)


@pytest.mark.parametrize("name", OTHERS)
def test_an_option_is_given_by_keyword_or_assigned(name: str) -> None:
    by_keyword = DaemonContext(**{name: OTHERS[name]})
    assigned = DaemonContext()
    setattr(assigned, name, OTHERS[name])
    assert getattr(by_keyword, name) == getattr(assigned, name) == OTHERS[name]
    assert said(by_keyword) == said(assigned)
    # Whether these show depends on the user, and on the files that are open.
    if name not in {"preserve_logging", "files_preserve", "initgroups", "uid"}:
        assert said(by_keyword) != said(DaemonContext())


def test_nothing_is_looked_at_before_open() -> None:
    DaemonContext(uid="nobody at all", umask="wide", working_directory=3, chroot_directory="/nowhere")


def test_the_default_signal_map_of_one_context_is_not_that_of_another() -> None:
    DaemonContext().signal_map.clear()
    assert DaemonContext().signal_map == default_signal_map()


@pytest.mark.parametrize("kind", [DaemonContext, Free])
def test_a_misspelt_keyword_is_an_error(kind: type[DaemonContext]) -> None:
    with pytest.raises(TypeError, match="wroking_directory"):
        kind(wroking_directory="/")


@pytest.mark.parametrize("kind", [DaemonContext, Free, Options])
def test_the_signature_that_tools_see_names_every_option(kind: type[Options]) -> None:
    """Though what is misspelt gets advice: no parameter takes whatever comes."""
    parameters = inspect.signature(kind).parameters
    assert set(parameters) == set(DEFAULTS)
    assert all(each.kind is inspect.Parameter.KEYWORD_ONLY for each in parameters.values())
    assert parameters["umask"].annotation == "int"


def test_a_type_error_of_a_subclass_is_its_own() -> None:
    class Own(DaemonContext):
        def _set_up(self) -> None:
            raise TypeError("of its own")

    with pytest.raises(TypeError, match=r"^of its own$"):
        Own()


def test_an_option_is_given_by_its_name_only() -> None:
    with pytest.raises(TypeError):
        DaemonContext("/")


@pytest.mark.parametrize("name", ["wroking_directory", "detach", "step", "Umask"])
def test_a_misspelt_attribute_is_an_error(name: str) -> None:
    context = DaemonContext()
    if name != "detach":
        with pytest.raises(AttributeError, match=name):
            setattr(context, name, 1)
    else:  # a method's name: it isn't overwritten by a slip either
        with pytest.raises(AttributeError, match="read-only"):
            context.detach = True


def test_a_subclass_may_have_attributes_of_its_own() -> None:
    context = Free()
    context.port = 80
    assert context.port == 80


def test_a_subclass_with_slots_is_as_strict() -> None:
    class Strict(DaemonContext):
        __slots__ = ("port",)

    context = Strict()
    context.port = 80
    with pytest.raises(AttributeError):
        context.prot = 80


def test_what_the_context_tells_of_itself_cannot_be_assigned() -> None:
    for name in ("is_open", "exit_stack"):
        with pytest.raises(AttributeError):
            setattr(DaemonContext(), name, True)


def test_ready_is_the_option_and_the_call() -> None:
    context = DaemonContext(ready="manual")
    assert context.ready == "manual"
    context.ready = "auto"
    assert context.ready == "auto"
    assert context.ready() is None


# Open and close


@pytest.mark.parametrize("detach", [True, False])
def test_open_and_close_twice_do_nothing_the_second_time(daemons: Daemons, detach: bool) -> None:
    daemons.launch(
        """
        import os, sys
        from daemonry import DaemonContext
        from harness.probe import publish

        events = []
        class Context(DaemonContext):
            steps = (*DaemonContext.steps, "added")
            def added(self):
                events.append(f"opened, {self.is_open}")
                self.exit_stack.callback(events.append, "closed")

        context = Context(detach_process=sys.argv[1] == "True", working_directory=os.getcwd())
        events.append(context.is_open)
        context.close()
        with context as same:
            events.append(same is context)
            pid = os.getpid()
            context.open()
            events.append((context.is_open, os.getpid() == pid))
            context.close()
            events.append(context.is_open)
            context.close()
        events.append(context.is_open)
        publish("events", events)
        """,
        detach,
    ).check()
    expected = [False, "opened, False", True, [True, True], "closed", False, False]
    assert read_json(daemons.directory / "events") == expected
    wait_for(lambda: not daemons.alive(), what="the daemon ends")


def test_a_context_can_be_opened_again_after_it_was_closed(daemons: Daemons) -> None:
    daemons.launch(
        """
        from daemonry import DaemonContext, PIDLockFile
        lock = PIDLockFile("again.pid")
        context = DaemonContext(detach_process=False, pidfile=lock, working_directory=".")
        for umask in (0o027, 0o022):
            context.umask = umask
            with context:
                import os
                print(lock.i_am_locking(), oct(os.umask(0)))
            print(lock.is_locked())
        """,
    ).check()
    (launched,) = [path.read_text() for path in daemons.directory.glob("*.out")]
    assert launched.split() == ["True", "0o27", "False", "True", "0o22", "False"]


@pytest.mark.parametrize("leave", ["return", "sys.exit(0)", "raise ValueError"])
def test_what_open_took_is_given_back_when_the_program_ends_without_close(daemons: Daemons, leave: str) -> None:
    launched = daemons.launch(
        f"""
        import sys
        from daemonry import DaemonContext, PIDLockFile
        from harness.probe import publish

        def main():
            context = DaemonContext(pidfile=PIDLockFile("daemon.pid"), working_directory=".")
            context.open()
            context.exit_stack.callback(publish, "undone", context.pidfile.read_pid())
            {leave}

        main()
        """
    ).check()
    assert read_json(daemons.directory / "undone") != launched.pid
    wait_for(lambda: not daemons.alive(), what="the daemon ends")
    assert not (daemons.directory / "daemon.pid").exists()


def test_after_close_nothing_is_left_for_the_exit(daemons: Daemons) -> None:
    launched = daemons.launch(
        """
        import atexit
        from daemonry import DaemonContext
        before = atexit._ncallbacks()
        context = DaemonContext(detach_process=False)
        context.open()
        opened = atexit._ncallbacks()
        context.close()
        atexit._clear()
        print(opened - before)
        context.open()
        """
    ).check()
    assert launched.stdout == "3\n"


@pytest.mark.parametrize("suppress", [True, False])
def test_what_the_pidfile_suppresses_is_suppressed(daemons: Daemons, suppress: bool) -> None:
    launched = daemons.launch(
        f"""
        from daemonry import DaemonContext
        class Manager:
            def __enter__(self): pass
            def __exit__(self, *exc_info):
                print(exc_info[0].__name__, exc_info[1], exc_info[2].tb_lineno > 0)
                return {suppress}
        with DaemonContext(detach_process=False, pidfile=Manager()) as context:
            raise KeyError("gone")
        print("after", context.is_open)
        """
    )
    assert launched.stdout == "KeyError 'gone' True\n" + ("after False\n" if suppress else "")
    assert launched.status == (0 if suppress else 1)


def test_a_forked_child_has_not_opened_the_context(daemons: Daemons) -> None:
    """It neither closes what is its parent's, in any way, nor says that it is ready."""
    daemons.launch(
        """
        import os, sys
        from daemonry import DaemonContext, PIDLockFile
        from harness.probe import publish

        lock = PIDLockFile("daemon.pid")
        with DaemonContext(pidfile=lock, working_directory=".", ready="manual") as context:
            context.exit_stack.callback(print, "undone", file=open("log", "a", 1))
            pid = os.fork()
            if pid == 0:
                publish("child", [context.is_open, lock.i_am_locking()])
                context.ready()
                context.close()
                sys.exit(0)
            os.waitpid(pid, 0)
            waited_for = context._opening.tie.waited_for
            publish("parent", [context.is_open, lock.i_am_locking(), waited_for, open("log").read()])
            context.ready()
        """
    ).check()
    assert read_json(daemons.directory / "child") == [False, False]
    assert read_json(daemons.directory / "parent") == [True, True, True, ""]
    wait_for(lambda: not daemons.alive(), what="the daemon ends")
    assert (daemons.directory / "log").read_text() == "undone\n"


def test_a_forked_child_may_open_a_context_of_its_own(daemons: Daemons) -> None:
    daemons.launch(
        """
        import os
        from daemonry import DaemonContext, DaemonStartError, PIDLockFile
        from harness.probe import publish

        with DaemonContext(pidfile=PIDLockFile("one.pid"), working_directory=".") as context:
            pid = os.fork()
            if pid == 0:
                try:
                    context.open()
                except DaemonStartError as error:
                    publish("same", [error.step, error.pid == os.getppid(), str(error)])
                with DaemonContext(pidfile=PIDLockFile("two.pid"), working_directory=".") as other:
                    publish("other", [other.is_open, other.pidfile.read_pid() == os.getpid()])
                os._exit(0)
            publish("status", [os.waitpid(pid, 0)[1], context.pidfile.i_am_locking()])
        """
    ).check()
    step, is_parents, text = read_json(daemons.directory / "same")
    assert (step, is_parents) == ("lock_pidfile", True), text
    assert read_json(daemons.directory / "other") == [True, True]
    assert read_json(daemons.directory / "status") == [0, True]
    wait_for(lambda: not daemons.alive(), what="the daemons end")
