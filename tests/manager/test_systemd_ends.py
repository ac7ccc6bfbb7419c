"""A daemon's own control group below a unit's, and below that of an ordinary user's systemd, where it may be made."""

from __future__ import annotations

import re
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from test_systemd_user import HOME, INSTANCE, Instance

from harness.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.units import Units

# It leaves the session and its parent, and clears the environment: nothing but the group holds what it starts.
PROGRAM = "-- sh -c 'setsid env -i sleep 60 & exec sleep 50'"
COMMAND = f"{sys.executable} -m daemonry"
UNIT = f"""
[Service]
Type=forking
PIDFile={{run}}/held.pid
ExecStart={COMMAND} start --settle 0 --pidfile {{run}}/held.pid --output /dev/null {PROGRAM}
ExecStop={COMMAND} stop {{run}}/held.pid
"""


@pytest.fixture
def instance(units: Units) -> Iterator[Instance]:
    units.write("/etc/systemd/system/instance.service", INSTANCE)
    units.write(f"{HOME}/.config/systemd/user/held.service", UNIT.format(run="%t"))
    units.start("instance.service")
    yield Instance(units)
    units.stop("instance.service")


def groups_of(units: Units, command: str) -> set[str]:
    """Return the control groups of the processes with this command line."""
    wanted, found = command.replace(" ", "\0") + "\0", set()
    for each in units.systemd.path("/proc").glob("[1-9]*"):
        with suppress(OSError):
            if (each / "cmdline").read_text() == wanted:
                found.add((each / "cgroup").read_text().splitlines()[-1].partition("::")[2])
    return found


def groups_where_runs(units: Units, command: str) -> set[str]:
    """Return the same once the shell, for which nobody waits with ``--settle 0``, has executed it."""
    return wait_for(lambda: groups_of(units, command), what=f"{command} runs")


def test_a_unit_that_uses_the_command_is_main_process_and_rest(units: Units) -> None:
    """systemd finds the main process below its unit, and the command stops all of it."""
    units.write("/etc/systemd/system/held.service", UNIT.format(run="/run"))
    units.start("held.service")
    (group,) = groups_where_runs(units, "sleep 50")
    assert re.search(r"/system.slice/held.service/daemonry\.[\d.]+$", group)
    assert groups_where_runs(units, "sleep 60") == {group}
    assert units.systemd.run("cat", f"/proc/{units.of('held.service', 'MainPID')}/comm").stdout == "sleep\n"
    units.stop("held.service")
    assert groups_of(units, "sleep 60") == set()
    assert units.of("held.service", "Result") == "success"


def test_an_ordinary_user_makes_one_below_his_own_systemd(instance: Instance) -> None:
    started = instance.call("systemctl", "--user", "start", "held")
    assert started.returncode == 0, started.stderr
    (group,) = groups_where_runs(instance.units, "sleep 60")
    assert re.search(r"/held.service/daemonry\.[\d.]+$", group)
    assert instance.call(*COMMAND.split(), "stop", "/run/somebody/held.pid").returncode == 0
    assert groups_of(instance.units, "sleep 60") == set()
