"""HOME, LOGNAME, SHELL and USER are those of the user that the daemon becomes, not those of root that started it."""

from __future__ import annotations

import json
import os
import pwd
from typing import TYPE_CHECKING, Any

import pytest

from daemonry import DaemonContext
from harness.probe import facts_of

if TYPE_CHECKING:
    from harness.commands import Daemonry
    from harness.daemons import Daemons

pytestmark = pytest.mark.root_only("only root becomes another user")

NOBODY = pwd.getpwnam("nobody")
NO_USER = next(uid for uid in range(54321, 65000) if uid not in {entry.pw_uid for entry in pwd.getpwall()})
OF_NOBODY = {"HOME": NOBODY.pw_dir, "LOGNAME": "nobody", "SHELL": NOBODY.pw_shell, "USER": "nobody"}
OF_ROOT = {"HOME": "/root", "LOGNAME": "root", "SHELL": "/bin/bash", "USER": "root"}
SLEEP = ("--settle", "0", "--", "sleep", "600")


def login(environment: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name in OF_ROOT}


PROGRAM = """
import json, os, subprocess, sys
from daemonry import DaemonContext
from harness.attempts import in_fork
def seen(options):
    def become(told):
        with DaemonContext(files_preserve=[told], detach_process=False, **options):
            # For the programs that it starts, too.
            listed = subprocess.run(["env", "-0"], stdout=subprocess.PIPE, check=True).stdout.decode()
            return [dict(os.environ), dict(each.split("=", 1) for each in listed.split(chr(0)) if each)]
    return in_fork(become, str)
print(json.dumps([seen(options) for options in json.loads(sys.argv[1])]))
"""


def seen_by(daemons: Daemons, *options: dict[str, Any]) -> list[dict[str, str]]:
    """Return these four variables, and KEPT, of a program of root's that opens a context with each of the options."""
    told = json.loads(daemons.launch(PROGRAM, json.dumps(options), env={**OF_ROOT, "KEPT": "1"}).check().stdout)
    for own, childs in told:
        assert login(own) == login(childs)
    return [{**login(own), **({"KEPT": own["KEPT"]} if "KEPT" in own else {})} for own, _ in told]


@pytest.mark.reliability("Privileges")
def test_they_are_the_users_in_the_user_database(daemons: Daemons) -> None:
    """By name or by number; nothing else of the environment is touched."""
    assert seen_by(daemons, {"uid": "nobody"}, {"uid": NOBODY.pw_uid, "gid": 0}) == [{**OF_NOBODY, "KEPT": "1"}] * 2


def test_they_stay_where_the_user_stays(daemons: Daemons) -> None:
    assert seen_by(daemons, {}, {"uid": 0}, {"gid": NOBODY.pw_gid}) == [{**OF_ROOT, "KEPT": "1"}] * 3


def test_a_user_without_an_entry_has_none(daemons: Daemons) -> None:
    assert seen_by(daemons, {"uid": NO_USER, "gid": NO_USER}) == [{"KEPT": "1"}]


def test_an_environment_that_is_given_is_taken_to_the_letter(daemons: Daemons) -> None:
    given = {"HOME": "/srv", "PATH": os.defpath}
    assert seen_by(daemons, {"uid": "nobody", "environment": given}) == [{"HOME": "/srv"}]


def test_the_plan_shows_them() -> None:
    def planned(**options: Any) -> str:
        return next(str(step) for step in DaemonContext(**options).plan() if step.name == "clean_environment")

    of_nobody = ", ".join(f"{name}={value}" for name, value in OF_NOBODY.items())
    assert planned(uid="nobody") == f"clean_environment: {of_nobody}"
    assert planned(uid=NO_USER, gid=5) == "clean_environment: no HOME, no LOGNAME, no SHELL, no USER"
    replaced = "replaced by 1 variables, HOME=/srv, no LOGNAME, no SHELL, no USER"
    assert planned(uid="nobody", environment={"HOME": "/srv"}) == f"clean_environment: {replaced}"


@pytest.mark.parametrize(
    ("flags", "wanted"),
    [
        ((), OF_NOBODY),
        (("--clean-env",), OF_NOBODY),
        (("--env", "HOME=/srv"), {**OF_NOBODY, "HOME": "/srv"}),
    ],
    ids=["", "clean", "given"],
)
def test_the_command_sets_them_unless_it_is_told_otherwise(
    daemonry: Daemonry, flags: tuple[str, ...], wanted: dict[str, str]
) -> None:
    pid = daemonry.start("--user", "nobody", *flags, *SLEEP)
    assert login(facts_of(pid).environment) == wanted
    daemonry("stop", daemonry.name).check()


def test_the_command_shows_them_in_its_plan(daemonry: Daemonry) -> None:
    said = daemonry("plan", "--user", "nobody", "--", "sleep", "1").check().stdout
    assert f"HOME={NOBODY.pw_dir}, LOGNAME=nobody" in said
