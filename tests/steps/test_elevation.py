"""Elevation: what a set-uid or set-gid program has beyond its user's rights is given up, saved ids included."""

from __future__ import annotations

import itertools
import json
import os
import pwd
import shutil
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import daemonry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.daemons import Daemons

pytestmark = [
    pytest.mark.reliability("Privileges"),
    pytest.mark.root_only("only root can make a program that is elevated"),
]

NOBODY = pwd.getpwnam("nobody")
OTHER = pwd.getpwnam("daemon")
N, M = NOBODY.pw_uid, OTHER.pw_uid
SOURCE = str(Path(daemonry.__file__).parent.parent)

# Every state is tried in a process of its own, which says by a pipe what became of its ids.
FROM_STATES = """
import json, os, sys
# Only root may be able to read them where this Python is.
import ast, ctypes, resource, socket, syslog, threading, tokenize, traceback
from daemonry import DaemonContext
from daemonry.steps import accounts, privileges, saved_streams, terminal
from daemonry.system import exit_stack
from harness.attempts import in_fork
from harness.probe import status_of

def ids():
    status = status_of(os.getpid())
    return [[int(word) for word in status[name].split()] for name in ("Uid", "Gid", "Groups")]

def attempt(uids, gids, groups, options):
    def give_up(told):
        os.setgroups(groups)
        os.setresgid(*gids)
        os.setresuid(*uids)
        with DaemonContext(files_preserve=[told], detach_process=False, **options):
            answer = ids()
            for regain in ("os.seteuid(0)", "os.setuid(0)", "os.setresuid(-1, -1, 0)"):
                try:
                    exec(regain)
                    answer.append(regain)
                except OSError:
                    pass
        return answer

    return in_fork(give_up, str)

print(json.dumps([attempt(*case) for case in json.loads(sys.argv[1])]))
"""


def from_states(daemons: Daemons, cases: Sequence[tuple[Any, ...]]) -> list[Any]:
    answer: list[Any] = json.loads(daemons.launch(FROM_STATES, json.dumps(cases)).check().stdout)
    return answer


def test_by_default_whatever_is_beyond_the_real_user_is_given_up(daemons: Daemons) -> None:
    """From each state of real, effective and saved user, whose real one isn't root."""
    states = [(real, effective, saved) for real in (N, M) for effective in (0, N, M) for saved in (0, N, M)]
    found = from_states(daemons, [(uids, (N, N, N), [], {}) for uids in states])
    assert found == [[[real] * 4, [N] * 4, []] for real, _, _ in states]


def test_by_default_whatever_is_beyond_the_real_group_is_given_up(daemons: Daemons) -> None:
    """The supplementary groups stay: they are the real user's own."""
    states = list(itertools.product((N, M), (0, N, M), (0, N, M)))
    found = from_states(daemons, [((N, N, N), gids, [4, 27], {}) for gids in states])
    assert found == [[[N] * 4, [real] * 4, [4, 27]] for real, _, _ in states]


def test_a_user_that_is_given_is_taken_on_from_each_state_that_root_is_in(daemons: Daemons) -> None:
    """Also where root is only the real or the saved user, and no group of root's is left."""
    states = [state for state in itertools.product((0, N, M), repeat=3) if 0 in state]
    found = from_states(daemons, [(uids, (N, N, N), [0, 4], {"uid": "nobody"}) for uids in states])
    assert found == [[[N] * 4, [N] * 4, []]] * len(states)


def test_the_user_himself_can_be_given_by_an_elevated_program(daemons: Daemons) -> None:
    options = {"uid": N, "gid": M, "initgroups": True}
    found = from_states(daemons, [((N, 0, 0), (N, 0, 0), [0, 4], options), ((N, M, M), (N, M, M), [4], {"uid": N})])
    assert found == [[[N] * 4, [M] * 4, [M]], [[N] * 4, [N] * 4, [4]]]


def test_an_elevation_to_another_user_than_root_does_not_give_the_right_to_a_third(daemons: Daemons) -> None:
    (found,) = from_states(daemons, [((N, M, M), (N, N, N), [], {"uid": "games"})])
    assert found.startswith("cannot start the daemon: step drop_privileges: ")


def set_id_python(directory: Path, mode: int, owner: int, group: int) -> Path:
    """Return a copy of the interpreter that runs with its owner's rights."""
    if os.statvfs(directory).f_flag & os.ST_NOSUID:
        pytest.skip(f"{directory} is on a file system without set-uid programs")
    copy = directory / f"python-{mode:o}"
    shutil.copy(os.path.realpath(sys.executable), copy)
    os.chown(copy, owner, group)
    copy.chmod(mode)
    return copy


@pytest.mark.parametrize("mode", [0o4755, 0o2755, 0o6755], ids=oct)
@pytest.mark.parametrize("detach", [True, False])
def test_a_real_set_uid_program_becomes_its_user(daemons: Daemons, mode: int, detach: bool) -> None:
    """A copy of the interpreter with the bits set, started by an ordinary user."""
    python = set_id_python(daemons.directory, mode, 0, OTHER.pw_gid)
    main = "import runpy, sys; sys.argv[:] = sys.argv[2:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    if not mode & stat.S_ISUID and not (readable_by_all(sys.base_prefix) and readable_by_all(SOURCE)):
        pytest.skip("only root can read this Python's library")
    launched = daemons.launch(
        f"""
        import json, os
        from daemonry import DaemonContext
        def ids():
            status = open("/proc/self/status").read().splitlines()
            return [[int(word) for word in line.split()[1:]] for line in status if line[:4] in ("Uid:", "Gid:")]
        told = open("public/ids", "w")
        json.dump(ids(), told)
        print(file=told, flush=True)
        with DaemonContext(files_preserve=[told], detach_process={detach}, ready="manual") as context:
            json.dump(ids(), told)
            told.close()
            context.ready()
        """,
        through=(str(python), "-c", main),
        plain=True,
        env={"PYTHONHOME": sys.base_prefix, "PYTHONPATH": SOURCE, "PYTHONDONTWRITEBYTECODE": "1"},
        preexec=become_nobody,
    ).check()
    elevated, left = map(json.loads, (daemons.public / "ids").read_text().splitlines())
    uid = 0 if mode & stat.S_ISUID else N
    gid = OTHER.pw_gid if mode & stat.S_ISGID else NOBODY.pw_gid
    assert elevated == [[N, uid, uid, uid], [NOBODY.pw_gid, gid, gid, gid]]
    assert left == [[N] * 4, [NOBODY.pw_gid] * 4]
    assert launched.stderr == ""


def become_nobody() -> None:
    os.setgroups([])
    os.setresgid(*[NOBODY.pw_gid] * 3)
    os.setresuid(*[N] * 3)


def readable_by_all(path: str) -> bool:
    directories = [Path(path), *Path(path).parents]
    return all(directory.stat().st_mode & stat.S_IXOTH for directory in directories)


@pytest.mark.parametrize("pinned", [True, False])
@pytest.mark.parametrize("detach", [True, False])
def test_no_program_that_is_executed_later_gains_rights(daemons: Daemons, pinned: bool, detach: bool) -> None:
    """A set-uid program gives its rights to a daemon's child, unless no_new_privileges is set."""
    if os.statvfs(daemons.directory).f_flag & os.ST_NOSUID:
        pytest.skip("the tests' files are on a file system without set-uid programs")
    program = daemons.directory / "set-uid-id"
    shutil.copy(str(shutil.which("id")), program)
    program.chmod(0o4755)
    daemons.launch(
        """
        import os, subprocess, sys
        from daemonry import DaemonContext
        from harness.probe import facts, publish, status_of
        with DaemonContext(
            uid="nobody", no_new_privileges=sys.argv[2] == "True", detach_process=sys.argv[3] == "True",
            working_directory=os.getcwd(), ready="manual",
        ) as context:
            uid = subprocess.run([sys.argv[1], "-u"], capture_output=True, text=True, check=True).stdout
            publish("public/seen", [status_of(os.getpid())["NoNewPrivs"], int(uid)])
            context.ready()
        """,
        program,
        pinned,
        detach,
    ).check()
    assert json.loads((daemons.public / "seen").read_text()) == (["1", N] if pinned else ["0", 0])
