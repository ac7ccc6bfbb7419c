"""What becomes of users and groups where the databases of them can't be read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pidfile_programs import unshared

if TYPE_CHECKING:
    from harness.daemons import Daemons, Launched

root_only = pytest.mark.root_only("it lays other databases over the machine's")

REFUSED = """
import os, pwd, resource, sys
from daemonry import DaemonContext, DaemonStartError
NOBODY = pwd.getpwnam("nobody")
def refusal(**options):
    try:
        plan = DaemonContext(**options).plan()
    except DaemonStartError as error:
        return error.message
    return next(str(step) for step in plan if step.name == "drop_privileges")
"""
UNREADABLE = "the {} database (see nsswitch.conf(5)) can't be read"


def launch_with(daemons: Daemons, database: str, text: str, program: str) -> Launched:
    """Run a program where this file of /etc has this text."""
    laid = daemons.directory / database
    laid.write_text(text)
    mounted = f'mount --bind {laid} /etc/{database} && exec "$@"'
    return daemons.launch(REFUSED + program, through=(*unshared("--mount"), "sh", "-c", mounted, "sh")).check()


@root_only
def test_groups_that_cannot_be_read_are_not_dropped_silently(daemons: Daemons) -> None:
    """The C library answers the primary group alone, and root's entry may be made up; nss-systemd(8)."""
    said = launch_with(daemons, "group", "", "print(refusal(uid='nobody', initgroups=True))").stdout
    assert said == f"initgroups: {UNREADABLE.format('group')}, so the groups of user nobody are not known\n"


@root_only
@pytest.mark.parametrize("entry", ["root:x:0:", "nobody:x:{gid}:", "some:x:61001:nobody"])
def test_a_group_database_that_knows_one_group_will_do(daemons: Daemons, entry: str) -> None:
    """As a container's."""
    gid, groups = 61000, 61001 if "61001" in entry else ""
    program = f"print(refusal(uid='nobody', gid={gid}, initgroups=True))"
    said = launch_with(daemons, "group", f"{entry.format(gid=gid)}\n", program).stdout
    assert f"supplementary groups {gid}{f', {groups}' if groups else ''}" in said


@root_only
def test_who_asks_to_be_himself_needs_no_group_database(daemons: Daemons) -> None:
    program = """
from daemonry.steps import identity
uid, gid = NOBODY.pw_uid, NOBODY.pw_gid
identity.resolve(0, 0, False, False)  # whose imports nobody may not be able to read
os.setgroups([]), os.setresgid(gid, gid, gid), os.setresuid(uid, uid, uid)
print(identity.resolve(uid, gid, True, False))
"""
    said = launch_with(daemons, "group", "", program).stdout
    assert "supplementary groups unchanged" in said


@root_only
def test_a_users_number_is_not_blamed_for_a_database_that_cannot_be_read(daemons: Daemons) -> None:
    program = "print(refusal(uid=5), refusal(uid=5, gid=5, initgroups=True), sep='\\n')"
    said = launch_with(daemons, "passwd", "", program).stdout
    why = f"user 5 has no entry in the user database, nor any other: {UNREADABLE.format('user')}"
    assert said.splitlines() == [
        f"gid: must be given: {why}, so no group either",
        f"initgroups: {why}, so no groups either",
    ]


def test_neither_is_it_where_no_more_files_may_be_open(daemons: Daemons) -> None:
    """Everything that the look-up imports is there before."""
    launched = daemons.launch(
        REFUSED
        + """
from daemonry.steps import identity
identity.resolve(NOBODY.pw_uid, None, False, False)
resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
try:
    identity.resolve(NOBODY.pw_uid, None, False, False)
except DaemonStartError as error:
    os.write(1, error.message.encode())
os._exit(0)
"""
    ).check()
    assert UNREADABLE.format("user") in launched.stdout
