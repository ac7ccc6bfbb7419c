"""The root directory, the working directory, the umask and the environment of a daemon."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import daemonry
from daemonry import DaemonContext, InvalidOption
from daemonry.steps import filesystem
from harness.probe import Facts
from harness.waiting import read_facts, read_json, wait_for

if TYPE_CHECKING:
    from harness.daemons import Daemons

SOURCE = str(Path(daemonry.__file__).parent.parent)
root_only = pytest.mark.root_only("it changes the root directory")

PUBLISH = """
    import os
    from daemonry import DaemonContext
    from harness.probe import facts, publish
    here = os.getcwd()
    with DaemonContext({options}, ready="manual") as context:
        seen = facts()
        os.umask(0)  # or nobody could read the file
        publish(f"{{here}}/public/facts", seen)
        context.ready()
"""


def facts_with(daemons: Daemons, options: str, **more: Any) -> Facts:
    daemons.launch(PUBLISH.format(options=options), **more).check()
    wait_for(lambda: not daemons.alive(), what="the daemon ends")
    return read_facts(daemons.public / "facts")


@pytest.fixture(params=[True, False], ids=["detached", "in the foreground"])
def detach(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


# Working directory


@pytest.mark.parametrize("path", ["here", "'./public/../public/'", "here.encode()", "Path(here)"])
def test_the_working_directory_is_the_one_given(daemons: Daemons, path: str, detach: bool) -> None:
    """As it was meant where the program was started, whatever the kind of path."""
    options = f"working_directory={path}, detach_process={detach}"
    found = facts_with(daemons, options.replace("Path(", "__import__('pathlib').Path("))
    assert found.cwd == str(daemons.public if "public" in path else daemons.directory)


def test_the_default_working_directory_is_the_root(daemons: Daemons, detach: bool) -> None:
    assert facts_with(daemons, f"detach_process={detach}").cwd == "/"


def test_a_relative_directory_is_meant_where_open_is_called(daemons: Daemons) -> None:
    launched = daemons.launch(
        """
        import os
        from daemonry import DaemonContext
        context = DaemonContext(working_directory="public", detach_process=False)
        os.mkdir("deeper"), os.mkdir("deeper/public"), os.chdir("deeper")
        with context:
            print(os.getcwd())
        """
    ).check()
    assert launched.stdout.strip() == str(daemons.directory / "deeper" / "public")


VARIABLE = ": it takes two texts, and no = in the name"


@pytest.mark.parametrize(
    ("option", "path", "message", "number"),
    [
        ("working_directory", "/nowhere at all", "/nowhere at all: No such file or directory", errno.ENOENT),
        ("working_directory", "/etc/passwd", "/etc/passwd is not a directory", None),
        (
            "working_directory",
            "/etc/passwd/x",
            "/etc/passwd/x: Not a directory; /etc/passwd is no directory",
            errno.ENOTDIR,
        ),
        ("working_directory", "", "'' can't be a path", None),
        ("working_directory", "/a\0b", r"'/a\x00b' can't be a path", None),
        ("working_directory", "/\ud800", r"'/\ud800' can't be a path", None),
        ("working_directory", None, "must be a path, not None", None),
        ("working_directory", 3, "must be a path, not 3", None),
        ("chroot_directory", "/nowhere at all", "/nowhere at all: No such file or directory", errno.ENOENT),
        ("chroot_directory", "/etc/passwd", "/etc/passwd is not a directory", None),
        ("chroot_directory", "", "'' can't be a path", None),
        ("chroot_directory", 3, "must be a path, not 3", None),
        ("umask", -1, "must be an int from 0 to 0o777, such as 0o022, not -1", None),
        ("umask", 0o1000, "must be an int from 0 to 0o777, such as 0o022, not 512", None),
        ("umask", "022", "must be an int from 0 to 0o777, such as 0o022, not '022'", None),
        ("umask", True, "must be an int from 0 to 0o777, such as 0o022, not True", None),
        ("umask", None, "must be an int from 0 to 0o777, such as 0o022, not None", None),
        ("environment", ["A=1"], "must be a mapping or None, not ['A=1']", None),
        ("environment", {"A": 1}, "'A': 1 can't be a variable" + VARIABLE, None),
        ("environment", {1: "A"}, "1: 'A' can't be a variable" + VARIABLE, None),
        ("environment", {"": "A"}, "'': 'A' can't be a variable" + VARIABLE, None),
        ("environment", {"A=B": "C"}, "'A=B': 'C' can't be a variable" + VARIABLE, None),
        ("environment", {"A": "B\0C"}, r"'A': 'B\x00C' can't be a variable" + VARIABLE, None),
        ("environment", {"A\0": "B"}, r"'A\x00': 'B' can't be a variable" + VARIABLE, None),
        ("environment", {"A": "\ud800"}, r"'A': '\ud800' can't be a variable" + VARIABLE, None),
    ],
)
def test_what_cannot_be_meant_is_refused(option: str, path: object, message: str, number: int | None) -> None:
    with pytest.raises(InvalidOption) as caught:
        DaemonContext(**{option: path}).plan()
    assert (caught.value.option, caught.value.errno) == (option, number)
    assert str(caught.value) == f"cannot start the daemon: step check_options: {option}: {message}"


@pytest.mark.reliability("Full and broken places")
def test_a_working_directory_that_goes_after_the_check_is_an_error_of_its_step(daemons: Daemons, detach: bool) -> None:
    launched = daemons.launch(
        f"""
        import os
        from daemonry import DaemonContext, DaemonStartError
        os.mkdir("short-lived")
        class Context(DaemonContext):
            steps = ("check_options", "remove", *DaemonContext.steps[1:])
            def remove(self):
                os.rmdir(here)
        here = os.path.abspath("short-lived")
        try:
            Context(working_directory="short-lived", detach_process={detach}).open()
        except DaemonStartError as error:
            print(error.step, error.errno, error.message == "No such file or directory: " + here)
        """
    ).check()
    assert launched.stdout.split() == ["change_working_directory", str(errno.ENOENT), "True"]


@pytest.mark.reliability("Full and broken places")
def test_a_program_whose_own_directory_is_gone_becomes_a_daemon_all_the_same(daemons: Daemons, detach: bool) -> None:
    (daemons.directory / "gone").mkdir()
    program = PUBLISH.format(options=f"detach_process={detach}").replace(
        "here = os.getcwd()", "here = os.getcwd(); os.mkdir('gone/x'); os.chdir('gone/x'); os.rmdir(here + '/gone/x')"
    )
    daemons.launch(program).check()
    assert read_facts(daemons.public / "facts").cwd == "/"
    wait_for(lambda: not daemons.alive(), what="the daemon ends")


FOREIGN_MODULE = """
import os
open({proof!r}, "a").write(__file__)
"""
IMPORT_LATE = """
    import sys
    sys.path[0] = {entry}  # as for `python -c`, a prompt, or a program from standard input
    from daemonry import DaemonContext
    for name in {names}:
        sys.modules.pop(name, None)
    with DaemonContext(working_directory="public", detach_process={detach}, ready="manual"):
        import colorsys, own_of_the_program
        raise ValueError("an error that takes modules to be told")
"""


@pytest.mark.parametrize("entry", ["", "."])
def test_no_module_comes_from_the_working_directory(daemons: Daemons, entry: str, detach: bool) -> None:
    """A relative entry of sys.path goes on meaning the directory in which the program was started."""
    names = ("json", "traceback", "linecache", "tokenize", "ast", "syslog", "textwrap", "colorsys", "grp", "resource")
    for name in names:
        text = FOREIGN_MODULE.format(proof=str(daemons.directory / "proof"))
        (daemons.public / f"{name}.py").write_text(text, encoding="utf-8")
    (daemons.directory / "own_of_the_program.py").write_text("", encoding="utf-8")
    program = IMPORT_LATE.format(entry=repr(entry), names=names, detach=detach)
    failed = daemons.launch(program)
    failed.check(1)
    assert "an error that takes modules to be told" in failed.stderr
    assert not (daemons.directory / "proof").exists()


def test_sys_path_is_put_back_by_a_start_in_the_foreground_that_fails(daemons: Daemons) -> None:
    """Nothing of a start that failed is left."""
    daemons.launch(
        """
        import sys
        from daemonry import DaemonContext
        class Failing(DaemonContext):
            def set_umask(self):
                assert "" not in sys.path
                raise ValueError
        sys.path[0] = ""
        before = list(sys.path)
        try:
            Failing(detach_process=False).open()
        except Exception:
            sys.exit(sys.path != before)
        """
    ).check()


# Umask


@pytest.mark.parametrize("umask", [None, 0o027, 0o777])
def test_the_umask_is_the_one_given_and_0_by_default(daemons: Daemons, umask: int | None, detach: bool) -> None:
    option = "" if umask is None else f", umask={umask}"
    assert facts_with(daemons, f"detach_process={detach}{option}").umask == (umask or 0)


@given(st.integers(0, 0o777))
def test_a_umask_says_itself_in_octal(mask: int) -> None:
    text = str(filesystem.resolve_umask(mask))
    assert len(text) == 5
    assert int(text, 8) == mask


@given(st.one_of(st.integers(max_value=-1), st.integers(min_value=0o1000), st.floats(), st.text(), st.booleans()))
def test_nothing_else_is_a_umask(mask: object) -> None:
    with pytest.raises(InvalidOption):
        filesystem.resolve_umask(mask)


# Environment


def test_the_environment_stays_by_default(daemons: Daemons, detach: bool) -> None:
    found = facts_with(daemons, f"detach_process={detach}", env={"OF_THE_LAUNCHER": "yes"})
    assert found.environment["OF_THE_LAUNCHER"] == "yes"


@pytest.mark.parametrize("variables", [{}, {"PATH": "/bin", "EMPTY": "", "ODD": "a=b\udc80\n"}])
def test_the_environment_is_replaced_by_the_one_given(
    daemons: Daemons, variables: dict[str, str], detach: bool
) -> None:
    """For the program and for what it executes."""
    daemons.launch(
        f"""
        import json, os, subprocess
        from daemonry import DaemonContext
        from harness.probe import publish
        here = os.getcwd()
        given = {variables!r}
        with DaemonContext(environment=given, detach_process={detach}, ready="manual") as context:
            given["LATER"] = "1"
            seen = dict(os.environ)
            passed = subprocess.run(["/usr/bin/env", "-0"], stdout=subprocess.PIPE).stdout
            publish(f"{{here}}/seen", [seen, os.fsdecode(passed)])
            context.ready()
        """
    ).check()
    seen, passed = read_json(daemons.directory / "seen")
    assert seen == variables
    assert sorted(passed.split("\0")) == sorted(["", *(f"{name}={value}" for name, value in variables.items())])
    wait_for(lambda: not daemons.alive(), what="the daemon ends")


def test_a_path_is_told_as_text() -> None:
    assert filesystem.text_of(b"/\xff", "x") == "/\udcff"
    assert filesystem.text_of(Path("/a"), "x") == "/a"
    assert json.dumps(filesystem.text_of("/ä", "x"))
