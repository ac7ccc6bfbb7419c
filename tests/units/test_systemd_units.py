"""The unit that `daemonry unit` prints is right for a program that uses daemonry, hardened as it is."""

from __future__ import annotations

import pwd
import sys
from typing import TYPE_CHECKING

import pytest

from daemonry.cli.commands import parse
from daemonry.cli.units import service_of
from daemonry.units import write

if TYPE_CHECKING:
    from harness.units import Units

PROGRAM = """
import os, signal
from daemonry import DaemonContext
with DaemonContext(ready="manual", signal_map={"TERM": "request_stop"}) as context:
    context.progress(f"user {os.getuid()}")
    context.ready()
    context.wait()
"""


@pytest.mark.parametrize("kills", [False, True])
@pytest.mark.parametrize("user", ["games", None])
def test_a_hardened_unit_lets_a_daemon_start_and_stop(units: Units, user: str | None, kills: bool) -> None:
    """Also where a forbidden system call kills: nothing is asked for that the daemon has already."""
    units.write("/usr/lib/hardened.py", PROGRAM)
    words = ["--manager", "systemd", "--name", "hardened", "--notify", *(["--user", user] if user else [])]
    text = write("systemd", service_of(parse("unit", [*words, "--", sys.executable, "/usr/lib/hardened.py"]))).text
    if kills:
        text = text.replace("SystemCallErrorNumber=EPERM\n", "")
    units.write("/etc/systemd/system/hardened.service", text)
    units.start("hardened.service")
    assert units.of("hardened.service", "StatusText") == f"user {pwd.getpwnam(user or 'root').pw_uid}"
    units.stop("hardened.service")
    assert units.of("hardened.service", "Result") == "success"
