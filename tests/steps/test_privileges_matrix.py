"""Privileges given up from every state that a process can begin in, after POS36-C and POS37-C of the CERT C standard.

POS36-C, observe correct revocation order while relinquishing privileges:

* the supplementary groups go first, then the group, then the user: in any other order the rights that it takes are
  gone, and the groups of root stay. Here: ``Groups`` and ``Gid`` are those asked for whenever ``Uid`` is.
* a program that has lowered its effective user for the time being lifts it again to give up the rest. Here: the states
  in which root is only the real or the saved user.

POS37-C, ensure that privilege relinquishment is successful:

* an id that is still 0 behind the effective one lets root be regained. Here: all of real, effective, saved and file
  system's, of user and group, as the kernel tells them.
* the functions differ between systems and between callers with and without capabilities, so what they did is looked at,
  and regaining root is tried. Here: by each function that changes an id, and by capset(2).
* capabilities outlive the change of user where the process has said so (securebits, PR_SET_KEEPCAPS), and inheritable
  ones where nobody has said anything. Here: none is left, in any set, or an error names them.
* what a file may be opened for is judged by the new rights. Here: root's file can't be opened, a new one is the user's.
"""

from __future__ import annotations

import itertools
import json
import pwd
import re
from typing import TYPE_CHECKING, Any

import pytest

from harness.size import is_brief

if TYPE_CHECKING:
    from harness.daemons import Daemons
    from harness.evidence import Cases

pytestmark = [
    pytest.mark.reliability("Privileges"),
    pytest.mark.root_only("only root has what is to be given up"),
]

NOBODY = pwd.getpwnam("nobody")
OTHER = pwd.getpwnam("daemon")
N, M, G = NOBODY.pw_uid, OTHER.pw_uid, NOBODY.pw_gid
NO_USER = next(uid for uid in range(54321, 65000) if uid not in {entry.pw_uid for entry in pwd.getpwall()})

# Each state is made and left in a process of its own, which says by a pipe what it is afterwards, and what it can do.
PROGRAM = """
import ast, ctypes, grp, json, os, pwd, resource, signal, socket, struct, sys, syslog, threading, tokenize, traceback
from daemonry import DaemonContext
from daemonry.steps import accounts, privileges, saved_streams, terminal
from daemonry.system import exit_stack, libc
from harness.attempts import in_fork

C = ctypes.CDLL(None, use_errno=True)
PROC = os.open("/proc", os.O_PATH)
HERE = os.open(".", os.O_RDONLY)
SETS = ("CapInh", "CapPrm", "CapEff", "CapAmb")

def status():
    with open(os.open("thread-self/status", os.O_RDONLY, dir_fd=PROC)) as file:
        return {name: text.strip() for name, _, text in (line.partition(":") for line in file)}

def ids():
    told = status()
    return {name: [int(word) for word in told[name].split()] for name in ("Uid", "Gid", "Groups")}

def prctl(option, *numbers):
    if C.prctl(option, *(ctypes.c_ulong(number) for number in (*numbers, 0, 0, 0, 0)[:4])):
        raise OSError(ctypes.get_errno(), "prctl")

def capset(effective, permitted, inheritable):
    sets = (effective, permitted, inheritable)
    words = [number >> shift & 0xFFFFFFFF for shift in (0, 32) for number in sets]
    if C.capset(struct.pack("Ii", 0x20080522, 0), struct.pack("6I", *words)):
        raise OSError(ctypes.get_errno(), "capset")

def set_fsid(name):
    return lambda: getattr(C, name)(0)

def ways():
    # All by which one may get back to root, or to its group, who is neither.
    return (each for each in all_ways() if "gid" not in each[0] or 0 not in ids()["Gid"])

def all_ways():
    for name in ("setuid", "seteuid", "setgid", "setegid"):
        yield name, lambda: getattr(os, name)(0)
    for kind in ("uid", "gid"):
        for numbers in ((0, 0), (-1, 0), (0, -1)):
            yield f"setre{kind}{numbers}", lambda: getattr(os, f"setre{kind}")(*numbers)
        for numbers in ((0, 0, 0), (-1, 0, -1), (-1, -1, 0), (0, -1, -1)):
            yield f"setres{kind}{numbers}", lambda: getattr(os, f"setres{kind}")(*numbers)
        yield f"setfs{kind}", set_fsid(f"setfs{kind}")
    yield "setgroups", lambda: os.setgroups([0])
    yield "capset", lambda: capset(1 << 7, 1 << 7, 0)
    yield "ambient", lambda: prctl(47, 2, 7)
    yield "open", lambda: os.close(os.open("secret", os.O_RDONLY, dir_fd=HERE))
    yield "chroot", lambda: os.chroot(".")

def regained():
    before, found = ids(), []
    for name, attempt in ways():
        try:
            attempt()
        except OSError:
            pass
        else:
            if "setfs" not in name or ids() != before:
                found.append(name)
    return found

def owner_of_new_file():
    name = f"public/{os.getpid()}"
    os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, dir_fd=HERE))
    found = os.stat(name, dir_fd=HERE)
    os.unlink(name, dir_fd=HERE)
    return [found.st_uid, found.st_gid]

def seen():
    told = status()
    answer = {**ids(), "sets": {name: int(told[name], 16) for name in SETS}, "pinned": told["NoNewPrivs"] == "1"}
    answer["file"] = owner_of_new_file()
    answer["regained"] = regained() if answer["Uid"] != [0] * 4 else []
    return answer

# The states

def become(uids, gids, groups=(), sets=None):
    os.setgroups(groups)
    os.setresgid(*gids)
    if sets is not None:
        prctl(8, 1)
    os.setresuid(*uids)
    if sets is not None:
        capset(sets, sets, sets)
        for number in range(64):
            if sets >> number & 1:
                prctl(47, 2, number)

def lower_for_files_only(name, number):
    getattr(C, name)(number)

def inherit(sets):
    held = int(status()["CapPrm"], 16)
    capset(held, held, sets)

def raise_ambient():
    inherit(1 << 7)
    prctl(47, 2, 7)

def leave_the_files_of_root():
    # Of a server that opens others' files, with root's: its capabilities go, this one stays.
    C.setfsuid(0)
    C.setfsgid(0)
    capset(0, 0, 0)

def in_user_namespace(users, groups=()):
    os.setgroups(groups)
    asking, telling = os.pipe()
    answered, answering = os.pipe()
    parent = os.getpid()
    if os.fork() == 0:  # what may write the maps is outside
        os.read(asking, 1)
        for name, text in (("setgroups", "deny"), ("uid_map", users), ("gid_map", users)):
            with open(f"/proc/{parent}/{name}", "w") as file:
                file.write(text)
        os.write(answering, b".")
        os._exit(0)
    if C.unshare(0x10000000):
        raise OSError(ctypes.get_errno(), "unshare")
    os.write(telling, b".")
    os.read(answered, 1)
    os.wait()
    for each in (asking, telling, answered, answering):
        os.close(each)

def enter(path):
    os.chroot(path)
    os.chdir("/")

def attempt(prepare, options):
    def give_up(told):
        exec(prepare, globals())
        with DaemonContext(files_preserve=[told, PROC, HERE], **options):
            return seen()

    return in_fork(give_up, lambda error: {"step": error.step, "error": str(error)})

print(json.dumps([attempt(*case) for case in json.loads(sys.stdin.read())]))
"""

# What is asked for, and what comes of it to one whose real ids are these: user, group and whether groups are replaced.
CHANGES: dict[str, dict[str, Any]] = {
    "none": {},
    "uid": {"uid": "nobody"},
    "gid": {"gid": OTHER.pw_gid},
    "uid and gid": {"uid": N, "gid": OTHER.pw_gid},
    "initgroups": {"uid": "nobody", "initgroups": True},
}


def answers(daemons: Daemons, asked: list[tuple[str, dict[str, Any]]], *arguments: object) -> list[dict[str, Any]]:
    """Return what each of these states comes to with these options."""
    secret = daemons.directory / "secret"
    secret.write_text("secret\n")
    secret.chmod(0o600)
    launched = daemons.launch(PROGRAM, *arguments, stdin=json.dumps(asked), timeout=300).check()
    found: list[dict[str, Any]] = json.loads(launched.stdout)
    assert len(found) == len(asked)
    return found


def target(change: str, uid: int = 0, gid: int = 0) -> tuple[int, int]:
    """Return the user and the group that a change means to one whose real ids are these."""
    options = CHANGES[change]
    user = N if "uid" in options else uid
    return user, options.get("gid", G if "uid" in options else gid)


def is_down_to(found: dict[str, Any], user: int, group: int, groups: set[int] | None, pinned: bool) -> None:
    """Fail unless the rights are these and no others; ``groups`` are ``None`` where they may stay."""
    assert found["Uid"] == [user] * 4, found
    assert found["Gid"] == [group] * 4, found
    assert groups is None or set(found["Groups"]) - {group} == groups - {group}, found
    assert found["file"] == [user, group], found
    assert found["pinned"] == pinned, found
    if user != 0:
        assert found["regained"] == [], found
        assert set(found["sets"].values()) == {0}, found


@pytest.mark.parametrize("pinned", [False, True], ids=["", "no new privileges"])
@pytest.mark.parametrize("change", CHANGES)
def test_from_each_combination_of_ids_all_are_down_or_the_error_names_what_stays(
    daemons: Daemons, cases: Cases, change: str, pinned: bool
) -> None:
    """Real, effective and saved user, each root or not, times real, effective and saved group."""
    users = list(itertools.product((0, N, M), repeat=3))
    groups = [(0, 0, 0), (G, 0, M), (M, M, G), (G, G, G)]
    every = list(itertools.product(users, groups))
    # Those that belong to none of the groups and those that do, by turns: each number of a step meets both.
    states = [(u, g, ((), (0, 4))[number % 2]) for number, (u, g) in enumerate(every)][:: 5 if pinned else 1]
    states = states[:: 11 if is_brief() else 1]
    options = {"detach_process": False, "no_new_privileges": pinned, **CHANGES[change]}
    found = answers(daemons, [(f"become({u}, {g}, {extra})", options) for u, g, extra in states])
    for (u, g, extra), told in zip(states, found):
        user, group = target(change, u[0], g[0])
        can = 0 in u or change == "none"
        if "error" in told and not can:
            assert told["step"] == "drop_privileges", told
            assert re.search("cannot (become (user|group)|set the supplementary groups to)", told["error"]), told
            continue
        wanted = set(extra) if change == "none" or (0 not in u and (user, group) == (u[0], g[0])) else set()
        is_down_to(told, user, group, wanted, pinned)
    cases.add(len(states))


# What a process may have besides its ids. In each of these it begins as root, in all of its ids.
STATES = {
    "plain": "",
    "supplementary groups": "os.setgroups([0, 4, 27])",
    "file system's ids apart": "C.setfsuid(1234), C.setfsgid(1234)",
    "inheritable capabilities": "inherit(0xFF)",
    "ambient capabilities": "raise_ambient()",
    "no_new_privs": "prctl(38, 1)",
    "SECBIT_KEEP_CAPS": "prctl(28, 1 << 4)",
    "SECBIT_KEEP_CAPS, locked": "prctl(28, 3 << 4)",
    "SECBIT_NO_SETUID_FIXUP": "prctl(28, 1 << 2)",
    "SECBIT_NO_SETUID_FIXUP, locked": "prctl(28, 3 << 2)",
    "SECBIT_NOROOT, locked": "prctl(28, 3)",
    "all securebits and ambient capabilities": "raise_ambient(), prctl(28, 0x3F)",
    "PR_SET_KEEPCAPS": "prctl(8, 1)",
}
KEPT = ("KEEP", "FIXUP", "all securebits")


@pytest.mark.parametrize("detach", [False, True], ids=["foreground", "detached"])
def test_whatever_root_has_besides_its_ids_is_gone_with_them_or_the_error_names_it(
    daemons: Daemons, cases: Cases, detach: bool
) -> None:
    """Securebits by which capabilities outlive the change, capabilities that are inherited, the file system's ids."""
    every = list(itertools.product(STATES, CHANGES, (False, True)))[:: 7 if is_brief() else 1]
    asked = [
        (STATES[state], {"detach_process": detach, "no_new_privileges": pinned, **CHANGES[change]})
        for state, change, pinned in every
    ]
    for (state, change, pinned), told in zip(every, answers(daemons, asked)):
        user, group = target(change)
        if user != 0 and any(word in state for word in KEPT):
            assert told["step"] == "drop_privileges", (state, told)
            assert "privileges were not dropped: " in told["error"], (state, told)
            assert "capabilities 0x" in told["error"] or "seteuid(0) still succeeds" in told["error"], (state, told)
            continue
        if (state, change, pinned) == ("file system's ids apart", "none", False):
            # Root that stays root gives up nothing, and goes on with what it has set apart.
            assert told["Uid"] == [0, 0, 0, 1234], told
            continue
        wanted = {0, 4, 27} if change == "none" and state == "supplementary groups" else set()
        is_down_to(told, user, group, wanted, pinned or state == "no_new_privs")
    cases.add(len(every))


@pytest.mark.parametrize("detach", [False, True], ids=["foreground", "detached"])
def test_an_ordinary_user_keeps_the_capabilities_that_he_was_given_and_cannot_get_back_to_root_by_them(
    daemons: Daemons, cases: Cases, detach: bool
) -> None:
    """As by systemd's AmbientCapabilities=: on purpose. None may start with one by which he is root at any time."""
    bind, setgid, setuid = 1 << 10, 1 << 6, 1 << 7
    states = [
        (bind, {}, None),
        (bind, {"uid": N}, None),
        (setgid, {}, None),
        (setgid, {"gid": OTHER.pw_gid}, "setegid\\(0\\) still succeeds"),
        (setuid, {}, "capabilities 0x80 let it become root"),
        (setuid, {"uid": M, "gid": G}, "seteuid\\(0\\) still succeeds"),
    ]
    # Which he may not be able to read.
    loaded = "from daemonry.launch import failures, launcher, witness"
    asked = [
        (f"{loaded}; become({(N,) * 3}, {(G,) * 3}, sets={sets})", {"detach_process": detach, **options})
        for sets, options, _ in states
    ]
    for (sets, _, doubt), told in zip(states, answers(daemons, asked)):
        if doubt is not None:
            assert told["step"] == "drop_privileges"
            assert re.search(doubt, told["error"]), told
            continue
        assert (told["Uid"], told["Gid"]) == ([N] * 4, [G] * 4)
        assert set(told["sets"].values()) == {sets}
    cases.add(len(states))


@pytest.mark.parametrize("detach", [False, True], ids=["foreground", "detached"])
def test_files_are_not_opened_as_root_by_one_who_only_has_that_left(daemons: Daemons, detach: bool) -> None:
    """The file system's ids, which no function of the standard library tells."""
    prepare = f"become({(N,) * 3}, {(G,) * 3}, sets=0xC0), leave_the_files_of_root()"
    (found,) = answers(daemons, [(prepare, {"detach_process": detach})])
    is_down_to(found, N, G, None, False)


def test_a_user_without_an_entry_and_a_root_directory_without_etc_take_numbers(daemons: Daemons, cases: Cases) -> None:
    """Names are refused there, before anything has changed; so is a user without a group."""
    jail = daemons.jail()
    plain = {"detach_process": False}
    numbers = {"uid": NO_USER, "gid": NO_USER + 1}
    states = ["", "os.setgroups([0, 4])", f"become(({NO_USER}, 0, 0), (0, 0, 0), (0, 4))"]
    asked = [(state, {**plain, **numbers}) for state in states]
    asked += [(f"enter({str(jail)!r})", {**plain, **options}) for options in (numbers, {"uid": N, "gid": G})]
    for told, (user, group) in zip(answers(daemons, asked), [(NO_USER, NO_USER + 1)] * 4 + [(N, G)]):
        is_down_to(told, user, group, set(), False)
    refused = [
        ("", {"uid": NO_USER}, f"gid: must be given: user {NO_USER} has no entry"),
        ("", {"initgroups": True, **numbers}, f"initgroups: user {NO_USER} has no entry"),
        (f"enter({str(jail)!r})", {"uid": "nobody"}, "uid: there is no user 'nobody'"),
        (f"enter({str(jail)!r})", {"uid": N}, f"gid: must be given: user {N} has no entry"),
        (f"enter({str(jail)!r})", {"initgroups": True}, "initgroups: user 0 has no entry"),
    ]
    found = answers(daemons, [(state, {**plain, **options}) for state, options, _ in refused])
    for told, (_, _, reason) in zip(found, refused):
        assert told["step"] == "check_options", told
        assert reason in told["error"], told
    cases.add(len(asked) + len(refused))


@pytest.mark.parametrize("detach", [False, True], ids=["foreground", "detached"])
def test_in_a_user_namespace_that_denies_groups_or_does_not_know_the_user_the_error_says_so(
    daemons: Daemons, cases: Cases, detach: bool
) -> None:
    """What needs neither works."""
    options = {"detach_process": detach}
    all_users, root_alone = "0 0 70000", "0 0 1"
    states = [
        (f"in_user_namespace({all_users!r})", {**options, "uid": "nobody"}, None),
        (f"in_user_namespace({all_users!r}, [4])", {**options, "uid": "nobody"}, "cannot set the supplementary groups"),
        (f"in_user_namespace({root_alone!r})", {**options, "uid": "nobody"}, f"cannot become group {G}: .*not mapped"),
        (
            f"in_user_namespace({root_alone!r})",
            {**options, "uid": N, "gid": 0},
            f"cannot become user {N}: .*not mapped",
        ),
        (f"in_user_namespace({root_alone!r})", options, None),
        (f"in_user_namespace({root_alone!r}, [4])", {**options, "uid": 0}, None),
        (f"in_user_namespace({root_alone!r}, [4])", {**options, "uid": "root", "initgroups": True}, None),
    ]
    found = answers(daemons, [(state, given) for state, given, _ in states])
    if any("unshare" in told.get("surprise", "") for told in found):
        pytest.skip("no user namespace can be made here")
    for told, (_, given, doubt) in zip(found, states):
        if doubt is None:
            is_down_to(told, *((N, G) if given.get("uid") == "nobody" else (0, 0)), None, False)
            continue
        assert told["step"] == "drop_privileges", told
        assert re.search(doubt, told["error"]), told
    cases.add(len(states))
