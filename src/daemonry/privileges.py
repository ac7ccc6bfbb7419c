"""Groups, gid and uid, dropped for good and verified; core files; no_new_privs."""

from __future__ import annotations

import errno
import grp
import os
import pwd
import resource
import sys
import time
from contextlib import contextmanager, nullcontext

from . import libc
from .errors import InvalidOption
from .record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, TypeVar

    Entry = TypeVar("Entry")

_CAP_SETUID = 7
_START_LATER = "start threads after open()"
_LEAVING = 0.1


class Rights(Record):
    """The ids to run with; ``groups`` is ``None`` when the supplementary groups stay as they are."""

    uid: int
    gid: int
    groups: tuple[int, ...] | None
    no_new_privileges: bool

    def __str__(self) -> str:
        groups = f"supplementary groups {'unchanged' if self.groups is None else _listed(self.groups)}"
        locked = ", no new privileges" if self.no_new_privileges else ""
        return f"user {_user_name(self.uid)}, group {_group_name(self.gid)}, {groups}{locked}"


class CoreLimit(Record):
    """Whether core files are prevented."""

    prevent: bool

    def __str__(self) -> str:
        return "RLIMIT_CORE 0" if self.prevent else "unchanged"


def resolve(uid: object, gid: object, initgroups: object, no_new_privileges: object) -> Rights:
    """Answer the ids to run with.

    :param uid: a user's number or name; ``None`` for the real user, which relinquishes set-uid elevation.
    :param gid: a group's number or name; ``None`` for the user's primary group when ``uid`` is given, else the real
        group.
    :param initgroups: whether the supplementary groups become the user's; otherwise they become none.
    :raises InvalidOption: when there is no such user or group.
    """
    # What the verification takes is imported now: inside another root directory it can't be found.
    libc.capabilities()
    user, user_entry = _user(uid)
    group = _group(gid, uid, user_entry)
    return Rights(
        uid=user,
        gid=group,
        groups=_groups(user, group, bool(initgroups), given=not (uid is None and gid is None)),
        no_new_privileges=_no_new_privileges(no_new_privileges),
    )


def _user(uid: object) -> tuple[int, pwd.struct_passwd | None]:
    if uid is None:
        return os.getuid(), _entry(os.getuid())
    if isinstance(uid, str):
        try:
            entry = _asked_twice(pwd.getpwnam, uid)
        except (KeyError, ValueError) as error:  # no such name, or nothing that can be one
            raise InvalidOption("uid", f"there is no user {uid!r}{_unless_unreadable()}", errno.ENOENT) from error
        return entry.pw_uid, entry
    number = _number("uid", uid)
    return number, _entry(number)


def _group(gid: object, uid: object, user: pwd.struct_passwd | None) -> int:
    if isinstance(gid, str):
        try:
            return _asked_twice(grp.getgrnam, gid).gr_gid
        except (KeyError, ValueError) as error:  # no such name, or nothing that can be one
            raise InvalidOption(
                "gid", f"there is no group {gid!r}{_unless_groups_unreadable()}", errno.ENOENT
            ) from error
    if gid is not None:
        return _number("gid", gid)
    if uid is None:
        return os.getgid()
    # Not the real group, which python-daemon takes: for root that is group 0, and a daemon that runs as nobody would
    # still read what root's group may read.
    if user is None:
        raise InvalidOption("gid", f"must be given: {_without_entry(uid)}, so no group either")
    return user.pw_gid


def _asked_twice(look_up: Callable[[Any], Entry], key: object) -> Entry:
    # To the C library an interrupted read of the databases is a name that is not there.
    try:
        return look_up(key)
    except KeyError:
        return look_up(key)


def _without_entry(uid: object) -> str:
    return f"user {uid} has no entry in the user database{_unless_unreadable()}"


# Python tells of a database that can't be read as of a name that is not in it.
def _unless_unreadable() -> str:
    return "" if _lists_some(pwd.getpwall) else f", nor any other: {_unreadable('user')}"


def _unless_groups_unreadable() -> str:
    return "" if _lists_some(grp.getgrall) else f", nor any other: {_unreadable('group')}"


def _lists_some(listed: Callable[[], list[Entry]]) -> bool:
    # Not by root's entry, which is in every one, but which nss-systemd(8) makes up where nothing can be read.
    return bool(listed() or listed())


def _unreadable(kind: str) -> str:
    return f"the {kind} database (see nsswitch.conf(5)) can't be read"


def _number(option: str, value: object) -> int:
    # (uid_t) -1 means "leave as it is" to setresuid(2), so it must never get there.
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**32 - 1:
        raise InvalidOption(option, f"must be a number or a name, not {value!r}")
    return value


def _groups(uid: int, gid: int, initgroups: bool, given: bool) -> tuple[int, ...] | None:
    entry = _entry(uid) if initgroups else None
    if initgroups and entry is None:
        raise InvalidOption("initgroups", f"{_without_entry(uid)}, so no groups either")
    if not (initgroups or given):
        return None  # nobody else's rights are taken on: the groups are the real user's own
    if 0 not in _user_ids() and (uid, gid) == (os.getuid(), os.getgid()):
        # Only root may set groups, and an ordinary user who asks to be himself has nothing to drop.
        return None
    return () if entry is None else _listed_in_database(entry.pw_name, gid)


def _listed_in_database(user: str, gid: int) -> tuple[int, ...]:
    # Twice, as in _asked_twice: what could not be read is a group that the user is not in.
    groups = {*os.getgrouplist(user, gid), *os.getgrouplist(user, gid)}
    if groups == {gid} and not _lists_some(grp.getgrall):
        raise InvalidOption("initgroups", f"{_unreadable('group')}, so the groups of user {user} are not known")
    return tuple(sorted(groups))


def _no_new_privileges(wanted: object) -> bool:
    if wanted and libc.prctl() is None:
        raise InvalidOption("no_new_privileges", "this system has no prctl(2)", errno.ENOSYS)
    return bool(wanted)


def _entry(uid: int) -> pwd.struct_passwd | None:
    try:
        return _asked_twice(pwd.getpwuid, uid)
    except KeyError:
        return None


def _listed(groups: tuple[int, ...]) -> str:
    return ", ".join(map(str, groups)) or "none"


def _user_name(uid: int) -> str:
    entry = _entry(uid)
    return f"{entry.pw_name} ({uid})" if entry else str(uid)


def _group_name(gid: int) -> str:
    try:
        return f"{grp.getgrgid(gid).gr_name} ({gid})"
    except KeyError:
        return str(gid)


def drop(rights: Rights) -> None:
    """Take on the ids for good: supplementary groups, group, user; real, effective, saved, and the file system's.

    :raises OSError: when the system refuses, or when afterwards there is any doubt.

    Source: daemon(7), step 13; CERT POS36-C and POS37-C.
    """
    was_root = 0 in _user_ids()
    before = _user_ids(), _group_ids()
    with _as_root() if was_root else nullcontext():
        if rights.groups is not None and set(os.getgroups()) != set(rights.groups):
            with _named(f"set the supplementary groups to {_listed(rights.groups)}", "CAP_SETGID"):
                os.setgroups(rights.groups)
        _set_ids(rights)
    cleared = was_root and rights.uid != 0 and _clear_inheritable()
    if rights.no_new_privileges:
        control = libc.prctl()
        if control is None:
            raise OSError(errno.ENOSYS, "prctl(2) can't be reached any more")
        control(libc.PR_SET_NO_NEW_PRIVS, 1)
    _verify(rights, was_root, changed=before != (_user_ids(), _group_ids()), cleared=cleared)


@contextmanager
def _as_root() -> Iterator[None]:
    """Lift what a program has lowered for the time being: only the effective root may set groups and others' ids."""
    lowered = os.geteuid()
    if lowered != 0:
        os.seteuid(0)
    try:
        yield
    except BaseException:
        # Whoever catches the error goes on with what he had.
        if os.geteuid() == 0 != lowered:
            os.seteuid(lowered)
        raise


@contextmanager
def _named(what: str, capability: str) -> Iterator[None]:
    """Say of an error of the system what could not be done, and what it takes."""
    advice = {
        errno.EPERM: f"; that takes root, with {capability}, and a user namespace that allows it",
        errno.EINVAL: "; it is not mapped in this user namespace",
        errno.EAGAIN: "; that user may have no more processes (RLIMIT_NPROC)",
    }
    try:
        yield
    except OSError as error:
        text = f"cannot {what}: {error.strerror}{advice.get(error.errno or 0, '')}"
        raise OSError(error.errno, text) from error


def _clear_inheritable() -> bool:
    """Answer whether there was something to clear."""
    # What the kernel leaves of root when the user changes; see capabilities(7). A program with capabilities of its own
    # (setcap) that is executed later would get them; CVE-2022-24769.
    held, clear = libc.inheritable(), libc.clear_inheritable()
    if held is None or clear is None or not held():
        return False
    clear()
    return True


def _user_ids() -> tuple[int, ...]:
    return os.getresuid() if hasattr(os, "getresuid") else (os.getuid(), os.geteuid())


def _group_ids() -> tuple[int, ...]:
    return os.getresgid() if hasattr(os, "getresgid") else (os.getgid(), os.getegid())


def _all_ids() -> tuple[set[int], set[int]]:
    """Answer all that the process is known as: the users, and the groups."""
    users, groups = set(_user_ids()), set(_group_ids())
    # Whose files it opens, which a server for others' files sets apart; see setfsuid(2). Each thread has its own, and
    # only the kernel's text tells it without changing it.
    try:
        with open("/proc/thread-self/status", "rb") as file:
            told = {line[:4]: line for line in file if line.startswith((b"Uid:", b"Gid:"))}
    except OSError:  # inside another root directory; who could get there could also set them
        return users, groups
    return users | {int(told[b"Uid:"].split()[-1])}, groups | {int(told[b"Gid:"].split()[-1])}


def _set_ids(rights: Rights) -> None:
    # The group first: without root's rights it couldn't be changed any more.
    if hasattr(os, "setresuid"):
        users, groups = _all_ids()
        # Not asked for what is so already: a sandbox (SystemCallFilter=~@privileged) may end whoever asks.
        if groups != {rights.gid}:
            with _named(f"become group {rights.gid}", "CAP_SETGID"):
                os.setresgid(rights.gid, rights.gid, rights.gid)
        if users != {rights.uid}:
            with _named(f"become user {rights.uid}", "CAP_SETUID"):
                os.setresuid(rights.uid, rights.uid, rights.uid)
        return
    # macOS: setregid and setreuid set the saved id, too, to the new effective one; see setreuid(2).
    with _named(f"become group {rights.gid}", "CAP_SETGID"):
        os.setregid(rights.gid, rights.gid)
    with _named(f"become user {rights.uid}", "CAP_SETUID"):
        os.setreuid(rights.uid, rights.uid)


def _verify(rights: Rights, was_root: bool, changed: bool, cleared: bool = False) -> None:
    doubts = []
    users, groups = _all_ids()
    if users != {rights.uid}:
        doubts.append(f"the user ids are {_with(_user_ids(), users)}, not {rights.uid}")
    if groups != {rights.gid}:
        doubts.append(f"the group ids are {_with(_group_ids(), groups)}, not {rights.gid}")
    # The kernel may list the primary group among them, or leave it out.
    if rights.groups is not None and set(os.getgroups()) - {rights.gid} != set(rights.groups) - {rights.gid}:
        doubts.append(f"the supplementary groups are {os.getgroups()}, not {list(rights.groups)}")
    if rights.uid != 0:
        doubts += _ways_back(rights, was_root) if was_root or changed else _way_up()
        doubts += _left_to_threads(cleared) if was_root else []
    if doubts:
        raise OSError(errno.EPERM, f"privileges were not dropped: {'; '.join(doubts)}")


def _with(told: tuple[int, ...], all_of_them: set[int]) -> tuple[int, ...]:
    return (*told, *sorted(all_of_them - set(told)))


def _ways_back(rights: Rights, was_root: bool) -> list[str]:
    found = []
    attempts = {"seteuid": os.seteuid, "setuid": os.setuid}
    if rights.gid != 0:
        attempts["setegid"] = os.setegid
    for name, attempt in attempts.items():
        if _succeeds(attempt):
            # Whoever catches the error must not go on as root.
            _set_ids(rights)
            found.append(f"{name}(0) still succeeds")
    ask = libc.capabilities()
    # Capabilities of somebody who never was root were given to him on purpose, as systemd's AmbientCapabilities= does.
    if was_root and ask is not None and ask():
        found.append(f"capabilities {ask():#x} outlive the change of user (securebits?)")
    held = libc.inheritable()
    if was_root and held is not None and held():
        found.append(f"inheritable capabilities {held():#x} outlive the change of user")
    return found


def _left_to_threads(cleared: bool) -> list[str]:
    # The C library changes the ids of all threads; capset(2) and securebits are of the calling one alone.
    found = _held_by_threads()
    if found:
        # One that was joined may not have left the kernel yet.
        time.sleep(_LEAVING)
        found = _held_by_threads()
    if found is None:
        threading = sys.modules.get("threading")
        others = cleared and threading is not None and threading.active_count() > 1
        return [f"other threads keep inheritable capabilities; {_START_LATER}"] if others else []
    return [f"thread {name} keeps capabilities {held:#x}; {_START_LATER}" for name, held in found.items()]


def _held_by_threads() -> dict[str, int] | None:
    """Answer the inheritable and the permitted capabilities of the other threads that have any."""
    try:
        names = {*os.listdir("/proc/self/task")} - {os.path.basename(os.readlink("/proc/thread-self"))}
    except OSError:  # inside another root directory
        return None
    told = {name: _held_by_thread(name) for name in names}
    return {name: held for name, held in told.items() if held}


def _held_by_thread(name: str) -> int:
    try:
        with open(f"/proc/self/task/{name}/status", "rb") as file:
            sets = [int(line.split()[1], 16) for line in file if line.startswith((b"CapInh:", b"CapPrm:"))]
    except (FileNotFoundError, ProcessLookupError):  # it has ended
        return 0
    return sets[0] | sets[1]


def _way_up() -> list[str]:
    # Of one who has given up nothing, and whom a sandbox may end for the attempt.
    ask = libc.capabilities()
    held = ask() if ask is not None else 0
    return [f"capabilities {held:#x} let it become root"] if held & 1 << _CAP_SETUID else []


def _succeeds(attempt: Callable[[int], None]) -> bool:
    try:
        attempt(0)
    except OSError:
        return False
    return True


def prevent_core_dump(limit: CoreLimit) -> Callable[[], None]:
    """Set the limit of core files to zero; answer the function that puts it back, where the kernel allows.

    Source: core(5), getrlimit(2).
    """
    before = resource.getrlimit(resource.RLIMIT_CORE)
    if not limit.prevent:
        return lambda: None
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Raising the hard limit again takes root; who is not loses nothing but core files of a program that didn't start.
    return lambda: _restore_core(before)


def _restore_core(before: tuple[int, int]) -> None:
    try:
        resource.setrlimit(resource.RLIMIT_CORE, before)
    except (ValueError, OSError):
        return
