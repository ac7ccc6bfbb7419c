"""Users and groups as the databases of them know them; see passwd(5), group(5) and nsswitch.conf(5)."""

from __future__ import annotations

import errno
import grp
import os
import pwd

from ..errors import InvalidOption
from ..system.ids import user_ids

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    Entry = TypeVar("Entry")


def find(uid: object, gid: object, initgroups: bool) -> tuple[int, int, tuple[int, ...] | None]:
    """Return the numbers of the user, the group and the supplementary groups that these options mean.

    The groups are ``None`` where they stay as they are.

    :raises InvalidOption: when there is no such user or group.
    """
    user, entry = _user(uid)
    group = _group(gid, uid, entry)
    return user, group, _groups(user, group, initgroups, given=not (uid is None and gid is None))


def _user(uid: object) -> tuple[int, pwd.struct_passwd | None]:
    if uid is None:
        return os.getuid(), None
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
    if (uid, gid) == (os.getuid(), os.getgid()) and not _may_set_groups():
        return None  # who asks to be what it is has nothing to drop
    return () if entry is None else _listed_in_database(entry.pw_name, gid)


def _may_set_groups() -> bool:
    if 0 not in user_ids():
        return False
    try:
        # Root of a user namespace that its user made without help may not: its groups stay the user's own.
        with open("/proc/self/setgroups", "rb") as file:
            return file.read().strip() != b"deny"
    except OSError:  # no Linux, or one without user namespaces
        return True


def _listed_in_database(user: str, gid: int) -> tuple[int, ...]:
    # Twice, as in _asked_twice: what could not be read is a group that the user is not in.
    groups = {*os.getgrouplist(user, gid), *os.getgrouplist(user, gid)}
    if groups == {gid} and not _lists_some(grp.getgrall):
        raise InvalidOption("initgroups", f"{_unreadable('group')}, so the groups of user {user} are not known")
    return tuple(sorted(groups))


def _entry(uid: int) -> pwd.struct_passwd | None:
    try:
        return _asked_twice(pwd.getpwuid, uid)
    except KeyError:
        return None


#: The variables that tell a program whose it is; see environ(7).
LOGIN = ("HOME", "LOGNAME", "SHELL", "USER")


def login_variables(uid: int) -> dict[str, str | None]:
    """Return the variables of a user's login; ``None`` for each that a user without an entry hasn't got.

    Source: login(1); systemd.exec(5), "Environment variables in spawned processes".
    """
    entry = _entry(uid)
    if entry is None:
        return dict.fromkeys(LOGIN)
    # Empty fields mean these; see passwd(5).
    values = (entry.pw_dir or "/", entry.pw_name, entry.pw_shell or "/bin/sh", entry.pw_name)
    return dict(zip(LOGIN, values))


def other_login(user: object) -> dict[str, str | None]:
    """Return the variables of the login of a user, by number or name, that this process is not; else none.

    Of one that isn't there none, for it is refused when the options are resolved.
    """
    try:
        uid, _ = _user(user)
    except InvalidOption:
        return {}
    return {} if uid == os.getuid() else login_variables(uid)


def user_name(uid: int) -> str:
    """Return a user's name and number, or the number alone where it has no name."""
    entry = _entry(uid)
    return f"{entry.pw_name} ({uid})" if entry else str(uid)


def group_name(gid: int) -> str:
    """Return a group's name and number, or the number alone where it has no name."""
    try:
        return f"{grp.getgrgid(gid).gr_name} ({gid})"
    except KeyError:
        return str(gid)
