"""Who the daemon is to be: a user, a group and supplementary groups, found in the databases before anything changes."""

from __future__ import annotations

import errno
import grp
import os
import pwd

from . import libc
from .errors import InvalidOption
from .ids import listed, user_ids
from .record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    Entry = TypeVar("Entry")


class Rights(Record):
    """The ids to run with; ``groups`` is ``None`` when the supplementary groups stay as they are."""

    uid: int
    gid: int
    groups: tuple[int, ...] | None
    no_new_privileges: bool

    def __str__(self) -> str:
        groups = f"supplementary groups {'unchanged' if self.groups is None else listed(self.groups)}"
        locked = ", no new privileges" if self.no_new_privileges else ""
        return f"user {_user_name(self.uid)}, group {_group_name(self.gid)}, {groups}{locked}"


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
    if 0 not in user_ids() and (uid, gid) == (os.getuid(), os.getgid()):
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


def _user_name(uid: int) -> str:
    entry = _entry(uid)
    return f"{entry.pw_name} ({uid})" if entry else str(uid)


def _group_name(gid: int) -> str:
    try:
        return f"{grp.getgrgid(gid).gr_name} ({gid})"
    except KeyError:
        return str(gid)
