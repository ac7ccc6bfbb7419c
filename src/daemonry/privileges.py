"""Groups, gid and uid, dropped for good and verified; core files; no_new_privs."""

from __future__ import annotations

import errno
import grp
import os
import pwd
import resource

from . import libc
from .errors import InvalidOption
from .record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_CAP_SETUID = 7


class Rights(Record):
    """The ids to run with; ``groups`` is ``None`` when the supplementary groups stay as they are."""

    uid: int
    gid: int
    groups: tuple[int, ...] | None
    no_new_privileges: bool

    def __str__(self) -> str:
        groups = (
            "supplementary groups unchanged"
            if self.groups is None
            else f"supplementary groups {', '.join(map(str, self.groups)) or 'none'}"
        )
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
            entry = pwd.getpwnam(uid)
        except (KeyError, ValueError) as error:  # no such name, or nothing that can be one
            raise InvalidOption("uid", f"there is no user {uid!r}", errno.ENOENT) from error
        return entry.pw_uid, entry
    number = _number("uid", uid)
    return number, _entry(number)


def _group(gid: object, uid: object, user: pwd.struct_passwd | None) -> int:
    if isinstance(gid, str):
        try:
            return grp.getgrnam(gid).gr_gid
        except (KeyError, ValueError) as error:  # no such name, or nothing that can be one
            raise InvalidOption("gid", f"there is no group {gid!r}", errno.ENOENT) from error
    if gid is not None:
        return _number("gid", gid)
    if uid is None:
        return os.getgid()
    # Not the real group, which python-daemon takes: for root that is group 0, and a daemon that runs as nobody would
    # still read what root's group may read.
    if user is None:
        raise InvalidOption("gid", f"must be given: user {uid} has no entry in the user database, so no group either")
    return user.pw_gid


def _number(option: str, value: object) -> int:
    # (uid_t) -1 means "leave as it is" to setresuid(2), so it must never get there.
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**32 - 1:
        raise InvalidOption(option, f"must be a number or a name, not {value!r}")
    return value


def _groups(uid: int, gid: int, initgroups: bool, given: bool) -> tuple[int, ...] | None:
    if initgroups:
        entry = _entry(uid)
        if entry is None:
            raise InvalidOption("initgroups", f"user {uid} has no entry in the user database, so no groups either")
        wanted = tuple(sorted(set(os.getgrouplist(entry.pw_name, gid))))
    elif given:
        wanted = ()
    else:
        return None  # nobody else's rights are taken on: the groups are the real user's own
    if 0 not in _user_ids() and (uid, gid) == (os.getuid(), os.getgid()):
        # Only root may set groups, and an ordinary user who asks to be himself has nothing to drop.
        return None
    return wanted


def _no_new_privileges(wanted: object) -> bool:
    if wanted and libc.prctl() is None:
        raise InvalidOption("no_new_privileges", "this system has no prctl(2)", errno.ENOSYS)
    return bool(wanted)


def _entry(uid: int) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwuid(uid)
    except KeyError:
        return None


def _user_name(uid: int) -> str:
    entry = _entry(uid)
    return f"{entry.pw_name} ({uid})" if entry else str(uid)


def _group_name(gid: int) -> str:
    try:
        return f"{grp.getgrgid(gid).gr_name} ({gid})"
    except KeyError:
        return str(gid)


def drop(rights: Rights) -> None:
    """Take on the ids for good: supplementary groups, group, user; real, effective and saved.

    :raises OSError: when the system refuses, or when afterwards there is any doubt.

    Source: daemon(7), step 13; CERT POS36-C and POS37-C.
    """
    was_root = 0 in _user_ids()
    before = _user_ids(), _group_ids()
    if rights.groups is not None and set(os.getgroups()) != set(rights.groups):
        if was_root and os.geteuid() != 0:
            # A program that has lowered its rights for the time being: only the effective root may set groups.
            os.seteuid(0)
        os.setgroups(rights.groups)
    _set_ids(rights)
    if rights.no_new_privileges:
        control = libc.prctl()
        if control is None:
            raise OSError(errno.ENOSYS, "prctl(2) can't be reached any more")
        control(libc.PR_SET_NO_NEW_PRIVS, 1)
    _verify(rights, was_root, changed=before != (_user_ids(), _group_ids()))


def _user_ids() -> tuple[int, ...]:
    return os.getresuid() if hasattr(os, "getresuid") else (os.getuid(), os.geteuid())


def _group_ids() -> tuple[int, ...]:
    return os.getresgid() if hasattr(os, "getresgid") else (os.getgid(), os.getegid())


def _set_ids(rights: Rights) -> None:
    # The group first: without root's rights it couldn't be changed any more.
    if hasattr(os, "setresuid"):
        # Not asked for what is so already: a sandbox (SystemCallFilter=~@privileged) may end whoever asks.
        if set(_group_ids()) != {rights.gid}:
            os.setresgid(rights.gid, rights.gid, rights.gid)
        if set(_user_ids()) != {rights.uid}:
            os.setresuid(rights.uid, rights.uid, rights.uid)
        return
    # macOS: setregid and setreuid set the saved id, too, to the new effective one; see setreuid(2).
    os.setregid(rights.gid, rights.gid)
    os.setreuid(rights.uid, rights.uid)


def _verify(rights: Rights, was_root: bool, changed: bool) -> None:
    doubts = []
    if set(_user_ids()) != {rights.uid}:
        doubts.append(f"the user ids are {_user_ids()}, not {rights.uid}")
    if set(_group_ids()) != {rights.gid}:
        doubts.append(f"the group ids are {_group_ids()}, not {rights.gid}")
    # The kernel may list the primary group among them, or leave it out.
    if rights.groups is not None and set(os.getgroups()) - {rights.gid} != set(rights.groups) - {rights.gid}:
        doubts.append(f"the supplementary groups are {os.getgroups()}, not {list(rights.groups)}")
    if rights.uid != 0:
        doubts += _ways_back(rights, was_root) if was_root or changed else _way_up()
    if doubts:
        raise OSError(errno.EPERM, f"privileges were not dropped: {'; '.join(doubts)}")


def _ways_back(rights: Rights, was_root: bool) -> list[str]:
    found = []
    for name, attempt in (("seteuid", os.seteuid), ("setuid", os.setuid)):
        if _succeeds(attempt):
            # Whoever catches the error must not go on as root.
            _set_ids(rights)
            found.append(f"{name}(0) still succeeds")
    ask = libc.capabilities()
    # Capabilities of somebody who never was root were given to him on purpose, as systemd's AmbientCapabilities= does.
    if was_root and ask is not None and ask():
        found.append(f"capabilities {ask():#x} outlive the change of user (securebits?)")
    return found


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
