"""Privileges: groups, gid and uid, taken on for good, whatever the program began with; core files; no_new_privs."""

from __future__ import annotations

import errno
import grp
import json
import os
import pwd
import re
import resource
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemonry import DaemonContext, InvalidOption
from daemonry.steps import identity, privileges
from harness.waiting import read_facts, wait_for

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.daemons import Daemons

pytestmark = pytest.mark.reliability("Privileges")

NOBODY = pwd.getpwnam("nobody")
OTHER = pwd.getpwnam("daemon")
NO_USER = next(uid for uid in range(54321, 65000) if uid not in {entry.pw_uid for entry in pwd.getpwall()})
root_only = pytest.mark.root_only("it gives up what only root has")

# Each context is opened in a process of its own, which says by a pipe what it sees of itself.
ATTEMPTS = """
import ctypes, grp, json, os, pwd, resource, sys
from daemonry import DaemonContext
from daemonry.system import libc
from harness.attempts import in_fork
from harness.probe import status_of

NOBODY, OTHER = pwd.getpwnam("nobody"), pwd.getpwnam("daemon")
prctl = ctypes.CDLL(None).prctl

def seen():
    status = status_of(os.getpid())
    ids = {name: [int(word) for word in status[name].split()] for name in ("Uid", "Gid", "Groups")}
    regained = []
    for name, arguments in (
        ("setuid", [0]), ("seteuid", [0]), ("setreuid", [0, 0]), ("setreuid", [-1, 0]), ("setresuid", [0, 0, 0]),
        ("setresuid", [-1, -1, 0]), ("setgid", [0]), ("setegid", [0]), ("setresgid", [0, 0, 0]), ("setgroups", [[0]]),
        ("chroot", ["/"]),
    ):
        try:
            getattr(os, name)(*arguments)
            regained.append(name)
        except (AttributeError, OSError):
            pass
    return {**ids, "regained": regained, "capabilities": int(status["CapPrm"], 16), "pinned": status["NoNewPrivs"]}

def attempt(kind=DaemonContext, prepare=None, **options):
    def give_up(told):
        if prepare is not None:
            prepare()
        with kind(files_preserve=[told], **options):
            return seen()

    return in_fork(give_up, lambda error: {"step": error.step, "message": error.message, "errno": error.errno})
"""


def answers(daemons: Daemons, program: str, *arguments: object, **options: Any) -> Any:
    launched = daemons.launch(ATTEMPTS + f"print(json.dumps({program.strip()}))", *arguments, **options).check()
    return json.loads(launched.stdout)


def dropped_to(uid: int, gid: int, *groups: int) -> dict[str, Any]:
    """Return what is to be seen: all four ids of each kind, and no way back."""
    return {
        "Uid": [uid] * 4,
        "Gid": [gid] * 4,
        "Groups": sorted(groups),
        "regained": [],
        "capabilities": 0,
        "pinned": "0",
    }


# What the options mean


@root_only
@pytest.mark.parametrize("detach", [True, False])
def test_the_ids_are_those_asked_for(daemons: Daemons, detach: bool) -> None:
    """By number or by name; the group is the user's primary one unless another is given; no groups beside it."""
    group = grp.getgrgid(NOBODY.pw_gid).gr_name
    cases: list[tuple[dict[str, Any], tuple[int, int]]] = [
        ({"uid": "nobody"}, (NOBODY.pw_uid, NOBODY.pw_gid)),
        ({"uid": NOBODY.pw_uid}, (NOBODY.pw_uid, NOBODY.pw_gid)),
        ({"uid": "daemon", "gid": group}, (OTHER.pw_uid, NOBODY.pw_gid)),
        ({"uid": "nobody", "gid": OTHER.pw_gid}, (NOBODY.pw_uid, OTHER.pw_gid)),
        ({"uid": NO_USER, "gid": NO_USER + 1}, (NO_USER, NO_USER + 1)),
        ({"uid": NO_USER, "gid": group}, (NO_USER, NOBODY.pw_gid)),
        ({"uid": 2**32 - 2, "gid": 2**32 - 2}, (2**32 - 2, 2**32 - 2)),
    ]
    # The extra groups are what root may have been given at login.
    found = answers(
        daemons,
        f"[attempt(prepare=lambda: os.setgroups([0, 4, 27]), detach_process={detach}, **options)"
        f" for options in {[options for options, _ in cases]!r}]",
    )
    assert found == [dropped_to(*ids) for _, ids in cases]


@root_only
def test_a_group_alone_may_change(daemons: Daemons) -> None:
    found = answers(daemons, "attempt(prepare=lambda: os.setgroups([4]), gid=OTHER.pw_gid)")
    assert (found["Uid"], found["Gid"], found["Groups"]) == ([0] * 4, [OTHER.pw_gid] * 4, [])


@root_only
def test_root_stays_root_with_its_groups_by_default(daemons: Daemons) -> None:
    found = answers(daemons, "attempt(prepare=lambda: os.setgroups([4, 27]))")
    assert (found["Uid"], found["Gid"], found["Groups"]) == ([0] * 4, [0] * 4, [4, 27])


@root_only
def test_the_user_s_own_groups_are_taken_on_with_initgroups(daemons: Daemons) -> None:
    """Those of the group database, which no real user of a fresh machine is in: so another is laid over it."""
    groups = daemons.directory / "group"
    lines = [f"{entry.gr_name}:x:{entry.gr_gid}:" for entry in grp.getgrall() if entry.gr_gid < 60000]
    lines += ["one:x:61001:nobody", "two:x:61002:daemon,nobody", "three:x:61003:daemon"]
    groups.write_text("".join(f"{line}\n" for line in lines))
    mounted = ("unshare", "--mount", "sh", "-c", f'mount --bind {groups} /etc/group && exec "$@"', "sh")
    _require_unshare("--mount")
    found = answers(
        daemons,
        "[attempt(prepare=lambda: os.setgroups([0, 4]), initgroups=True, uid=uid, gid=gid)"
        " for uid, gid in (('nobody', None), (NOBODY.pw_uid, 7), ('nobody', 61001))]",
        through=mounted,
    )
    uid, gid = NOBODY.pw_uid, NOBODY.pw_gid
    assert found == [
        dropped_to(uid, gid, gid, 61001, 61002),
        dropped_to(uid, 7, 7, 61001, 61002),
        dropped_to(uid, 61001, 61001, 61002),
    ]


@root_only
def test_root_s_own_groups_can_be_initialised_too(daemons: Daemons) -> None:
    found = answers(daemons, "attempt(prepare=lambda: os.setgroups([4, 27]), initgroups=True)")
    assert found["Uid"] == [0] * 4
    assert set(found["Groups"]) == set(os.getgrouplist("root", 0))


@pytest.mark.parametrize(
    ("options", "option", "message", "number"),
    [
        ({"uid": "no such user"}, "uid", "there is no user 'no such user'", errno.ENOENT),
        ({"gid": "no such group"}, "gid", "there is no group 'no such group'", errno.ENOENT),
        ({"uid": ""}, "uid", "there is no user ''", errno.ENOENT),
        ({"uid": "65534"}, "uid", "there is no user '65534'", errno.ENOENT),
        ({"uid": NO_USER}, "gid", f"must be given: user {NO_USER} has no entry in the user database", None),
        ({"uid": NO_USER, "gid": 5, "initgroups": True}, "initgroups", f"user {NO_USER} has no entry", None),
        ({"uid": -1}, "uid", "must be a number or a name, not -1", None),
        ({"gid": -1}, "gid", "must be a number or a name, not -1", None),
        ({"uid": 2**32 - 1, "gid": 5}, "uid", "must be a number or a name, not 4294967295", None),
        ({"uid": 5, "gid": 2**32 - 1}, "gid", "must be a number or a name, not 4294967295", None),
        ({"uid": True}, "uid", "must be a number or a name, not True", None),
        ({"gid": 5.0}, "gid", "must be a number or a name, not 5.0", None),
        ({"uid": b"nobody"}, "uid", "must be a number or a name, not b'nobody'", None),
        ({"uid": "no\0body"}, "uid", r"there is no user 'no\\x00body'", None),
        ({"gid": "no\0group"}, "gid", r"there is no group 'no\\x00group'", None),
        ({"uid": "\ud800"}, "uid", r"there is no user '\\ud800'", None),
    ],
)
def test_what_cannot_be_meant_is_refused(
    options: dict[str, Any], option: str, message: str, number: int | None
) -> None:
    with pytest.raises(InvalidOption, match=f"step check_options: {option}: {message}") as caught:
        DaemonContext(**options).plan()
    assert caught.value.option == option
    assert number is None or caught.value.errno == number


@given(st.one_of(st.integers(max_value=-1), st.integers(min_value=2**32 - 1)), st.sampled_from(["uid", "gid"]))
def test_a_number_that_is_no_id_is_refused(number: int, option: str) -> None:
    """(uid_t) -1 above all, which means to setresuid(2) that the id stays as it is."""
    with pytest.raises(InvalidOption, match=option):
        identity.resolve(**{"uid": 5, "gid": 5, option: number}, initgroups=False, no_new_privileges=False)


@given(st.integers(0, 2**32 - 2), st.integers(0, 2**32 - 2))
def test_any_other_number_is_taken_as_it_is(uid: int, gid: int) -> None:
    rights = identity.resolve(uid, gid, False, False)
    assert (rights.uid, rights.gid) == (uid, gid)
    assert rights.groups in ((), None)
    assert str(uid) in str(rights)


@root_only
@pytest.mark.reliability("Full and broken places")
def test_a_user_database_that_can_not_be_read_is_told_as_that(daemons: Daemons) -> None:
    """In a mount namespace whose /etc is empty."""
    launched = daemons.launch(
        """
        from daemonry import DaemonContext, DaemonStartError
        for options in ({"uid": "nobody"}, {"gid": "nogroup"}):
            try:
                DaemonContext(**options).open()
            except DaemonStartError as error:
                print(error.step, error)
        """,
        through=("unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /etc; exec "$@"', "sh"),
    ).check()
    told = "check_options cannot start the daemon: step check_options: {0}: there is no {1} {2!r}, nor any other: "
    unreadable = "the {1} database (see nsswitch.conf(5)) can't be read"
    asked = (("uid", "user", "nobody"), ("gid", "group", "nogroup"))
    assert launched.stdout.splitlines() == [(told + unreadable).format(*each) for each in asked]


# An ordinary user


def ordinary() -> Mapping[str, str]:
    """Return what makes a program an ordinary user's, also when root runs the tests."""
    return {"user": "nobody"} if os.geteuid() == 0 else {}


@pytest.mark.parametrize("detach", [True, False])
@pytest.mark.parametrize("options", ["", "uid=os.getuid()", "gid=os.getgid()", "uid=os.getuid(), initgroups=True"])
def test_an_ordinary_user_who_asks_to_be_himself_is_let_be(daemons: Daemons, options: str, detach: bool) -> None:
    found = answers(
        daemons,
        f"[attempt(detach_process={detach}, {options}), os.getresuid(), os.getresgid(), os.getgroups()]",
        **ordinary(),
    )
    seen, uids, gids, groups = found
    assert seen == {**dropped_to(uids[0], gids[0], *groups)}


@pytest.mark.parametrize("detach", [True, False])
@pytest.mark.parametrize("options", ["uid='root'", "uid=0, gid=0", "uid=os.getuid() ^ 1, gid=os.getgid()", "gid=0"])
def test_an_ordinary_user_cannot_become_another(daemons: Daemons, options: str, detach: bool) -> None:
    launched = daemons.launch(
        f"""
        import os
        from daemonry import DaemonContext, DaemonStartError, PIDLockFile
        try:
            DaemonContext({options}, detach_process={detach}, pidfile=PIDLockFile("public/daemon.pid")).open()
        except DaemonStartError as error:
            print(error.step, error.errno, error)
        """,
        **ordinary(),
    ).check()
    what = f"cannot (become (user|group) [0-9]+|set the supplementary groups to none): {os.strerror(errno.EPERM)}"
    refused = f"cannot start the daemon: step drop_privileges: {what}; that takes root, with CAP_SET[UG]ID"
    assert re.match(f"drop_privileges {errno.EPERM} {refused}", launched.stdout)
    assert list(daemons.public.iterdir()) == []
    assert daemons.alive() == []


# Verified


@root_only
@pytest.mark.parametrize(
    ("prepare", "doubt"),
    [
        ("prctl(28, 1 << 2, 0, 0, 0)", "seteuid\\(0\\) still succeeds"),  # SECBIT_NO_SETUID_FIXUP
        ("prctl(28, 1 << 4, 0, 0, 0)", "capabilities 0x[0-9a-f]+ outlive the change of user"),  # SECBIT_KEEP_CAPS
        ("prctl(8, 1, 0, 0, 0)", "capabilities 0x[0-9a-f]+ outlive the change of user"),  # PR_SET_KEEPCAPS
    ],
)
@pytest.mark.parametrize("detach", [True, False])
def test_capabilities_that_would_outlive_the_change_are_an_error(
    daemons: Daemons, prepare: str, doubt: str, detach: bool
) -> None:
    found = answers(daemons, f"attempt(prepare=lambda: {prepare}, detach_process={detach}, uid='nobody')")
    assert found["step"] == "drop_privileges"
    assert found["errno"] == errno.EPERM
    assert re.match(f"privileges were not dropped: .*{doubt}", found["message"])


@root_only
def test_they_are_found_inside_another_root_directory_too(daemons: Daemons) -> None:
    """Where nothing can be imported any more, and when no step before has imported what it takes."""
    launched = daemons.launch(
        """
        import fcntl, os, sys, termios
        from daemonry import DaemonContext, DaemonStartError
        class Context(DaemonContext):
            steps = tuple(step for step in DaemonContext.steps if step != "close_descriptors")
        assert "ctypes" not in sys.modules
        os.setgroups([])
        try:
            Context(detach_process=False, uid="nobody", chroot_directory=sys.argv[1]).open()
        except DaemonStartError as error:
            print(error.step, error.message)
        """,
        daemons.jail(),
        plain=True,
        through=("setpriv", "--securebits", "+keep_caps_locked,+no_setuid_fixup,+no_setuid_fixup_locked"),
        env={"PYTHONPATH": os.path.dirname(os.path.dirname(privileges.__file__))},
    ).check()
    assert launched.stdout.startswith("drop_privileges privileges were not dropped: ")
    assert "capabilities" in launched.stdout


@root_only
@pytest.mark.parametrize("missing", ["setuid", "setgid"])
def test_what_the_kernel_refuses_is_an_error(daemons: Daemons, missing: str) -> None:
    found = answers(
        daemons, "attempt(uid='nobody')", through=("setpriv", "--bounding-set", f"-{missing}", "--inh-caps", "-all")
    )
    what = {
        "setuid": f"cannot become user {NOBODY.pw_uid}",
        "setgid": "cannot (become group|set the supplementary groups)",
    }
    assert (found["step"], found["errno"]) == ("drop_privileges", errno.EPERM)
    assert re.match(f"{what[missing]}.*: {os.strerror(errno.EPERM)}; that takes root, with CAP_", found["message"])


@pytest.mark.parametrize(
    ("wrong", "doubt"),
    [
        ({"uid": NO_USER}, f"the user ids are {os.getresuid()}, not {NO_USER}"),
        ({"gid": NO_USER}, f"the group ids are {os.getresgid()}, not {NO_USER}"),
        ({"groups": (NO_USER,)}, f"the supplementary groups are {os.getgroups()}, not [{NO_USER}]"),
    ],
)
def test_ids_that_are_not_those_asked_for_are_noticed(daemons: Daemons, wrong: dict[str, Any], doubt: str) -> None:
    launched = daemons.launch(
        f"""
        import os
        from daemonry.steps import identity, privileges
        own = {{"uid": os.getuid(), "gid": os.getgid(), "groups": tuple(os.getgroups()), "no_new_privileges": False}}
        if os.getuid() != 0:
            privileges._verify(identity.Rights(**own), was_root=False, changed=True)
        try:
            privileges._verify(identity.Rights(**{{**own, **{wrong!r}}}), was_root=False, changed=True)
        except OSError as error:
            print(error.errno, error)
        """
    ).check()
    assert doubt in launched.stdout
    assert launched.stdout.startswith(f"{errno.EPERM} ")


@root_only
def test_a_way_back_that_is_found_is_not_left_open(daemons: Daemons) -> None:
    """Whoever catches the error goes on with the ids that he asked for, not as root."""
    launched = daemons.launch(
        """
        import os
        from daemonry import DaemonContext, DaemonStartError
        try:
            with DaemonContext(detach_process=False, working_directory=os.getcwd()):
                pass
        except DaemonStartError as error:
            os.write(1, f"{error.step} {os.getresuid()}".encode())
        """,
        through=(
            *("setpriv", "--reuid", str(NOBODY.pw_uid), "--regid", str(NOBODY.pw_gid), "--clear-groups"),
            *("--inh-caps", "+setuid,+dac_read_search", "--ambient-caps", "+setuid,+dac_read_search"),
        ),
        plain=True,
        cwd="/",
    ).check()
    assert launched.stdout == f"drop_privileges {(NOBODY.pw_uid,) * 3}"


@root_only
def test_without_the_saved_ids_calls_the_portable_ones_do_the_same(daemons: Daemons) -> None:
    found = answers(
        daemons,
        """[attempt(uid="nobody", prepare=lambda: [
            delattr(os, name) for name in ("setresuid", "setresgid", "getresuid", "getresgid")
        ])]""",
        through=("setpriv", "--groups", "4,27"),
    )
    assert found == [dropped_to(NOBODY.pw_uid, NOBODY.pw_gid)]


@root_only
def test_without_a_way_to_ask_for_capabilities_the_ids_are_verified_all_the_same(daemons: Daemons) -> None:
    found = answers(
        daemons,
        """[attempt(uid="nobody", prepare=lambda: (setattr(libc, "_function", lambda name: None), more()))
            for more in (int, lambda: prctl(28, 1 << 2, 0, 0, 0))]""",
    )
    fine, kept = found
    assert fine == dropped_to(NOBODY.pw_uid, NOBODY.pw_gid)
    assert "seteuid(0) still succeeds" in kept["message"]


# Core files and no_new_privs


@pytest.mark.parametrize("prevent", [True, False])
@pytest.mark.parametrize("detach", [True, False])
def test_core_files_are_prevented_unless_they_are_wanted(daemons: Daemons, prevent: bool, detach: bool) -> None:
    daemons.launch(
        """
        import os, sys
        from daemonry import DaemonContext
        from harness.probe import facts, publish
        with DaemonContext(
            prevent_core=sys.argv[1] == "True", detach_process=sys.argv[2] == "True", working_directory=os.getcwd()
        ):
            publish("facts", facts())
        """,
        prevent,
        detach,
        preexec=lambda: resource.setrlimit(resource.RLIMIT_CORE, (4096, 4096)),
    ).check()
    limit = read_facts(daemons.directory / "facts").core_limit
    assert limit == (("0", "0") if prevent else ("4096", "4096"))
    wait_for(lambda: not daemons.alive(), what="the daemon ends")


def test_what_would_pin_the_privileges_has_to_be_there(daemons: Daemons) -> None:
    """It is refused before anything has changed, and an error of the step where it is lost on the way."""
    found = answers(
        daemons,
        """[
            attempt(no_new_privileges=True, prepare=lambda: setattr(libc, "_function", lambda name: None)),
            attempt(type("Losing", (DaemonContext,), {"set_umask": lambda self: setattr(libc, "prctl", lambda: None)}),
                    no_new_privileges=True, detach_process=False),
        ]""",
    )
    assert [(told["step"], told["errno"]) for told in found] == [
        ("check_options", errno.ENOSYS),
        ("drop_privileges", errno.ENOSYS),
    ]


def _require_unshare(*options: str) -> None:
    command = shutil.which("unshare")
    if command is None or subprocess.run([command, *options, "true"], capture_output=True, check=False).returncode:
        pytest.skip(f"unshare {' '.join(options)} is not allowed here")
