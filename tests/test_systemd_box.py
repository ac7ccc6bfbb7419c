"""The box that the tests' systemd runs in: it changes nothing of the machine's, and leaves nothing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness import systemd as box
from harness.systemd import CannotBoot, Systemd
from harness.waiting import wait_for

if TYPE_CHECKING:
    from harness.units import Units


def places_of(directory: str) -> list[str]:
    """Return what there is of a box: its directory, and its control group."""
    group = box._group_here()
    assert group is not None
    return [os.fspath(place) for place in (Path(directory), group / Path(directory).name) if place.exists()]


def test_nothing_is_left_of_it(systemd: Systemd) -> None:
    """Neither processes nor files nor control groups, also beside another one."""
    second = Systemd()
    inside = [int(line) for group in second._group.rglob("cgroup.procs") for line in group.read_text().split()]
    assert second._init in inside
    assert len(places_of(second._directory)) == 2
    second.write("/etc/daemonry-written-inside", "")
    assert not os.path.exists("/etc/daemonry-written-inside")
    assert not systemd.path("/etc/daemonry-written-inside").exists()
    second.close()
    assert places_of(second._directory) == []
    wait_for(lambda: not any(os.path.exists(f"/proc/{pid}/root/etc") for pid in inside), what="all have ended")
    assert systemd.check("systemctl", "is-system-running") == "running\n"


@pytest.mark.usefixtures("systemd")
def test_one_that_cannot_boot_says_why_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    directory = f"/var/tmp/daemonry-systemd-test-{os.getpid()}"
    monkeypatch.setattr(box.tempfile, "mkdtemp", lambda **_: os.mkdir(directory) or directory)
    monkeypatch.setattr(box, "_BOOT", "echo no mounts today >&2; exit 32")
    with pytest.raises(CannotBoot, match=r"unshare has ended with status 32; its console says: no mounts today$"):
        Systemd()
    assert places_of(directory) == []


def test_the_units_of_the_page_are_valid_to_systemd_itself(units: Units) -> None:
    """`systemd-analyze verify` ends with 0 and says nothing."""
    found = [path for path in units.files if path.startswith("/etc/systemd/system/")]
    assert len(found) > 7
    done = units.systemd.run("systemd-analyze", "verify", "--man=no", *found)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
