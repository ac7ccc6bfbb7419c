"""Root of a user namespace: an ordinary user outside, for whom the system's links lead where they lead that user."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from harness.daemons import Daemons

pytestmark = pytest.mark.root_only("it makes directories of several users, and maps of ids")

# Root of the namespace is this user outside; to where others are known in it, their numbers begin with this one.
ANN, BOB, KNOWN = 1000, 1001, 70_000
ALONE = f"0 {ANN} 1"
# As rootless podman and toolbox map them: the overflow user is one of inside, too.
MANY = f"0 {ANN} 1\n1 {KNOWN} 65535"
NOBODY_INSIDE = KNOWN + 65_534 - 1

PROGRAM = """
import ctypes, json, os, sys
from daemonry.system import safe_path as walk
from daemonry.steps.log_file import open_input, open_log

def enter(users):
    asking, telling = os.pipe()
    answered, answering = os.pipe()
    parent = os.getpid()
    if os.fork() == 0:  # what may write the maps is outside
        os.read(asking, 1)
        for name in ("uid_map", "gid_map"):
            with open(f"/proc/{parent}/{name}", "w") as file:
                file.write(users)
        os.write(answering, b".")
        os._exit(0)
    C = ctypes.CDLL(None, use_errno=True)
    if C.unshare(0x10000000):
        print(json.dumps("no user namespace can be made here"))
        sys.exit()
    os.write(telling, b".")
    os.read(answered, 1)
    os.wait()
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)

enter(sys.argv[1])
capabilities = sys.argv[2]
if capabilities == "none":
    import struct
    ctypes.CDLL(None).capset(struct.pack("Ii", 0x20080522, 0), struct.pack("6I", *[0] * 6))
answers = {}
for way in sys.argv[3:]:
    found = []
    try:
        os.close(open_log(f"{way}/log", None))
        found.append("log")
    except OSError as error:
        found.append(error.strerror)
    try:
        with walk.at_directory(way):
            found.append("directory")
    except OSError as error:
        found.append(error.strerror)
    answers[os.path.basename(way)] = found
print(json.dumps(answers))
"""


@pytest.fixture
def ways(daemons: Daemons) -> dict[str, Path]:
    """Give links to a directory of Ann's, in directories of several owners."""
    home = daemons.directory / "home-of-ann"
    home.mkdir()
    os.chown(home, ANN, ANN)
    places = {"root's": (0, 0o755), "bob's": (BOB, 0o755), "like tmp": (0, 0o1777), "nobody's": (NOBODY_INSIDE, 0o755)}
    links = {}
    for name, (owner, mode) in places.items():
        place = daemons.directory / name
        place.mkdir()
        place.chmod(mode)
        links[name] = place / name
        links[name].symlink_to(home)
        os.chown(place, owner, owner)
        os.chown(links[name], owner, owner, follow_symlinks=False)
    return links


def opened(daemons: Daemons, users: str, ways: dict[str, Path], capabilities: str = "all") -> dict[str, list[str]]:
    """Return what root of such a namespace can open by each of the links."""
    told = json.loads(daemons.launch(PROGRAM, users, capabilities, *ways.values()).check().stdout)
    if isinstance(told, str):
        pytest.skip(told)
    return {
        name: ["refused" if "is a link, in a directory that others can write" in each else each for each in found]
        for name, found in told.items()
    }


YES, NO = ["log", "directory"], ["refused", "refused"]


@pytest.mark.reliability("Hostile files")
def test_the_systems_links_are_followed_and_those_that_others_of_inside_may_have_put_are_not(
    daemons: Daemons, ways: dict[str, Path]
) -> None:
    """Of users of outside it knows no more than the user does whose namespace it is, and has no more rights."""
    assert opened(daemons, ALONE, ways) == {"root's": YES, "bob's": YES, "like tmp": NO, "nobody's": YES}


def test_a_user_of_inside_who_has_the_number_of_those_outside_is_told_from_them(
    daemons: Daemons, ways: dict[str, Path]
) -> None:
    """By what root of inside may write."""
    assert opened(daemons, MANY, ways) == {"root's": YES, "bob's": YES, "like tmp": NO, "nobody's": NO}


def test_without_the_capability_that_would_show_it_nothing_of_theirs_is_followed(
    daemons: Daemons, ways: dict[str, Path]
) -> None:
    found = opened(daemons, MANY, ways, "none")
    assert found == dict.fromkeys(ways, NO)


def test_outside_of_any_such_namespace_nobody_is_taken_for_the_system(daemons: Daemons, ways: dict[str, Path]) -> None:
    """The overflow user is a user like others there."""
    os.chown(ways["nobody's"].parent, 65_534, 65_534)
    os.chown(ways["nobody's"], 65_534, 65_534, follow_symlinks=False)
    found = opened(daemons, f"0 0 {2**32 - 1}", ways)
    assert found == {"root's": YES, "bob's": NO, "like tmp": YES, "nobody's": NO}
