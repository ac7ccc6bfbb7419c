"""A daemon in another root directory, where nothing can be looked up or imported any more."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import daemonry
from daemonry import DaemonContext, InvalidOption
from harness.probe import facts_of
from harness.waiting import wait_for

if TYPE_CHECKING:
    from harness.daemons import Daemons

SOURCE = str(Path(daemonry.__file__).parent.parent)
root_only = pytest.mark.root_only("it changes the root directory")


@pytest.fixture(params=[True, False], ids=["detached", "in the foreground"])
def detach(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@root_only
@pytest.mark.parametrize("uid", [None, "nobody"])
def test_the_root_directory_is_the_one_given(daemons: Daemons, uid: str | None, detach: bool) -> None:
    """And the working directory is inside it, so that there is no way out by ``..``; names are looked up before."""
    jail = daemons.jail()
    (jail / "work" / "deep").mkdir(parents=True)
    running = daemons.start(
        """
        import os, signal, sys
        from daemonry import DaemonContext
        jail, uid, detach = sys.argv[1:]
        assert os.getcwd() != "/"
        with DaemonContext(
            chroot_directory=jail, working_directory="/work/deep/", uid=None if uid == "None" else uid,
            detach_process=detach == "True", signal_map={"USR1": lambda *_: None, "TERM": "terminate"},
        ) as context:
            for name in range(9):
                os.chdir("..")
            assert os.listdir(".") == os.listdir("/"), os.listdir(".")
            os.chdir("/work")
            while not context.wait(None):
                pass
        """,
        jail,
        uid,
        detach,
    )
    if detach:
        running.wait().check()
    pid = daemons.survivor()
    wait_for(lambda: facts_of(pid).cwd == str(jail / "work"), what="the body has been where it wanted")
    found = facts_of(pid)
    assert found.root == str(jail)
    assert found.uids[0] == (0 if uid is None else 65534)
    daemons.stop(pid)
    if not detach:
        running.wait().check()


@root_only
@pytest.mark.parametrize(
    ("given", "inside"),
    [("/", "/"), ("sub", "/sub"), ("/sub/../../..", "/"), ("..", "/"), ("relative", "/sub"), ("/absolute", "/sub")],
)
def test_the_working_directory_is_meant_inside_the_new_root(daemons: Daemons, given: str, inside: str) -> None:
    """Also where a symbolic link leads there, which from outside would lead elsewhere."""
    jail = daemons.jail()
    (jail / "sub").mkdir()
    (jail / "relative").symlink_to("sub")
    (jail / "absolute").symlink_to("/sub")
    launched = daemons.launch(
        """
        import os, sys
        from daemonry import DaemonContext
        context = DaemonContext(
            chroot_directory=os.path.relpath(sys.argv[1]), working_directory=sys.argv[2], detach_process=False
        )
        with context:
            print(os.getcwd())
        """,
        jail,
        given,
    ).check()
    assert launched.stdout.strip() == inside


@root_only
@pytest.mark.parametrize("link", ["/etc", "../../../../../../etc", "/sub/../etc"])
def test_a_link_does_not_lead_out_of_the_new_root(daemons: Daemons, link: str, detach: bool) -> None:
    """What it names outside is not taken for what is inside, neither by the check nor by the step."""
    jail = daemons.jail()
    (jail / "sub").mkdir()
    (jail / "escape").symlink_to(link)
    program = """
        import sys
        from daemonry import DaemonContext, DaemonStartError
        context = DaemonContext(
            chroot_directory=sys.argv[1], working_directory="/escape", detach_process=sys.argv[2] == "True"
        )
        try:
            context.open()
        except DaemonStartError as error:
            print(error.step, error.message)
        """
    launched = daemons.launch(program, jail, detach).check()
    assert launched.stdout.strip() == "change_working_directory No such file or directory: /escape"
    assert daemons.alive() == []


@pytest.mark.reliability("Full and broken places")
@root_only
@pytest.mark.parametrize("missing", ["/etc", "/etc/deeper", "/file", "/file/below"])
def test_what_is_missing_inside_is_refused_before_anything_has_changed(daemons: Daemons, missing: str) -> None:
    jail = daemons.jail()
    (jail / "file").touch()
    with pytest.raises(InvalidOption, match=f"working_directory: {jail}{missing}"):
        DaemonContext(chroot_directory=jail, working_directory=missing).plan()


@root_only
def test_the_new_root_may_be_a_link_itself(daemons: Daemons) -> None:
    jail = daemons.jail()
    (daemons.directory / "link").symlink_to(jail.name)
    found = DaemonContext(chroot_directory=daemons.directory / "link", working_directory="/").plan()
    assert f"change_root: {daemons.directory}/link" in map(str, found)


def test_an_ordinary_user_cannot_change_the_root(daemons: Daemons, detach: bool) -> None:
    user = {"user": "nobody"} if os.geteuid() == 0 else {}
    launched = daemons.launch(
        f"""
        from daemonry import DaemonContext, DaemonStartError
        try:
            DaemonContext(chroot_directory="public", detach_process={detach}).open()
        except DaemonStartError as error:
            print(error.step, error.errno, error)
        """,
        **user,
    ).check()
    text = f"cannot start the daemon: step change_root: Operation not permitted: {daemons.public}"
    assert launched.stdout.strip() == f"change_root {errno.EPERM} {text}"
    assert daemons.alive() == []


@pytest.mark.reliability("Full and broken places")
@root_only
@pytest.mark.parametrize("where", ["in the jail", "as another user", "both"])
@pytest.mark.parametrize("at", ["added", "body"])
def test_a_failure_arrives_whole_from_where_nothing_can_be_imported(daemons: Daemons, where: str, at: str) -> None:
    """The interpreter's files can't be read there, and no module that telling takes was loaded by the program."""
    launched = daemons.launch(
        """
        import sys
        from daemonry import DaemonContext, DaemonStartError
        where, at, jail = sys.argv[1:]
        class Nothing:
            def find_spec(name, path=None, target=None):
                raise ImportError(f"{name} can't be read any more")
        class Context(DaemonContext):
            steps = (*DaemonContext.steps, "lose", "added")
            def lose(self):
                sys.meta_path.insert(0, Nothing)
            def added(self):
                if at == "added":
                    self.break_down(1, 0)
            def break_down(self, one, other):
                return one / other + 2
        context = Context(ready="manual")
        if where != "as another user":
            context.chroot_directory = jail
        if where != "in the jail":
            context.uid = "nobody"
        try:
            with context:
                context.break_down(1, 0)
        except DaemonStartError as error:
            print(error.step)
            print(error.message)
            print(error.traceback)
        """,
        where,
        at,
        daemons.jail(),
        plain=True,
        env={"PYTHONPATH": SOURCE},
    ).check()
    step, message, *trace = launched.stdout.splitlines()
    assert (step, message) == (at, "ZeroDivisionError: division by zero")
    assert trace[0] == "Traceback (most recent call last):"
    assert any("break_down" in line for line in trace)
    assert "ZeroDivisionError: division by zero" in trace
    assert launched.stderr == ""


@pytest.mark.reliability("Full and broken places")
@root_only
def test_a_whole_life_takes_no_import_after_the_root_has_changed(daemons: Daemons, detach: bool) -> None:
    daemons.launch(
        f"""
        import os, sys
        from daemonry import DaemonContext, PIDLockFile
        asked = []
        class Watch:
            def find_spec(name, path=None, target=None):
                asked.append(name)
        class Context(DaemonContext):
            def change_root(self):
                super().change_root()
                sys.meta_path.insert(0, Watch)
        context = Context(
            chroot_directory=sys.argv[1], uid="nobody", pidfile=PIDLockFile("daemon.pid"), no_new_privileges=True,
            detach_process={detach}, ready="manual", start_timeout=20, environment={{}}, stdout=1, stderr=2,
        )
        with context:
            context.progress("half way")
            context.ready()
            context.wait(0.001)
            context.request_stop()
            context.reopen_streams()
        print(asked)
        """,
        daemons.jail(),
        plain=True,
        through=("sh", "-c", 'SYSTEMD_EXEC_PID=$$ NOTIFY_SOCKET=/run/nobody-listens exec "$@"', "sh"),
        env={"PYTHONPATH": SOURCE},
    ).check()
    wait_for(lambda: not daemons.alive(), what="the daemon ends")
    written = [path.read_text() for path in daemons.directory.glob("*.out")]
    assert written == ["[]\n"]
    told = "cannot tell the service manager that the daemon is ready: No such file or directory"
    written = [path.read_text() for path in daemons.directory.glob("*.err")]
    # The one is shown by the launcher, the other written by the daemon.
    assert [sorted(text.splitlines()) for text in written] == [[told, "half way"]]
