"""Who the daemon is to be, and whether anything has to be given up for that."""

from __future__ import annotations

import errno

from ..errors import InvalidOption
from ..system import ids
from ..system.record import Record


class Rights(Record):
    """The ids to run with; ``groups`` is ``None`` when the supplementary groups stay as they are.

    ``change`` is false where the process was that already, and nothing else, when it was asked; ``other_user`` is true
    where it was another user's, as its real user tells.
    """

    uid: int
    gid: int
    groups: tuple[int, ...] | None
    no_new_privileges: bool
    change: bool = True
    other_user: bool = False

    @property
    def does_nothing(self) -> bool:
        """Whether nothing had to be done when it was asked."""
        return not self.change

    def __str__(self) -> str:
        user, group = _names(self.uid, self.gid)
        groups = f"supplementary groups {'unchanged' if self.groups is None else ids.listed(self.groups)}"
        locked = ", no new privileges" if self.no_new_privileges else ""
        return f"user {user}, group {group}, {groups}{locked}"

    @property
    def are_taken_on(self) -> bool:
        """Whether nothing has to be done still: no step of the program's own has changed the ids."""
        return not self.change and ids.are(self.uid, self.gid, ids.user_ids(), ids.group_ids())


def resolve(uid: object, gid: object, initgroups: object, no_new_privileges: object) -> Rights:
    """Return the ids to run with.

    :param uid: a user's number or name; ``None`` for the real user, which relinquishes set-uid elevation.
    :param gid: a group's number or name; ``None`` for the user's primary group when ``uid`` is given, else the real
        group.
    :param initgroups: whether the supplementary groups become the user's; otherwise they become none.
    :raises InvalidOption: when there is no such user or group.
    """
    users, group_ids = ids.user_ids(), ids.group_ids()
    own = users[0]
    if uid is None and gid is None and not initgroups:
        user, group, groups = own, group_ids[0], None
    else:
        # The databases are asked, and what reads them is loaded, where somebody is named.
        from . import accounts

        user, group, groups = accounts.find(uid, gid, bool(initgroups))
    pinned = _no_new_privileges(no_new_privileges)
    change = pinned or groups is not None or not ids.are_all(user, group, users, group_ids)
    if change:
        # What giving up takes is read now: as another user, or inside another root directory, it can't be found.
        from . import privileges

        privileges.prepare()
    return Rights(
        uid=user,
        gid=group,
        groups=groups,
        no_new_privileges=pinned,
        change=change,
        other_user=user != own,
    )


def _no_new_privileges(wanted: object) -> bool:
    if not wanted:
        return False
    from ..system import libc

    if libc.prctl() is None:
        raise InvalidOption("no_new_privileges", "this system has no prctl(2)", errno.ENOSYS)
    return True


def _names(uid: int, gid: int) -> tuple[str, str]:
    try:
        from . import accounts
    except ImportError:  # inside another root directory, whose databases would be another system's, too
        return str(uid), str(gid)
    return accounts.user_name(uid), accounts.group_name(gid)
