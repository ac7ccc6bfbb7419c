"""The unit of the documents under an ordinary user's own systemd."""

from __future__ import annotations

import pwd
import shutil
from typing import TYPE_CHECKING

import pytest

from harness.waiting import wait_for

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

    from harness.units import Units

HOME, RUNTIME = "/var/lib/somebody", "/run/somebody"
# What user@.service does, without the login that would go before it.
INSTANCE = f"""
[Service]
Type=notify
User=nobody
StateDirectory=somebody
RuntimeDirectory=somebody
RuntimeDirectoryMode=0700
Delegate=yes
Environment=HOME={HOME} XDG_RUNTIME_DIR={RUNTIME}
ExecStart=/lib/systemd/systemd --user
"""
UNIT = "~/.config/systemd/user/answer.service"


class Instance:
    """A user's systemd."""

    def __init__(self, units: Units) -> None:
        self.units = units

    def call(self, *words: str) -> subprocess.CompletedProcess[str]:
        environment = (f"HOME={HOME}", f"XDG_RUNTIME_DIR={RUNTIME}")
        return self.units.systemd.run("runuser", "-u", "nobody", "--", "env", *environment, *words)

    def of(self, name: str) -> str:
        return self.call("systemctl", "--user", "show", "--value", "--property", name, "answer").stdout.strip()


@pytest.fixture
def instance(units: Units) -> Iterator[Instance]:
    if shutil.which("runuser") is None:
        pytest.skip("not installed: runuser")
    units.write(UNIT.replace("~", HOME), units.files[UNIT])
    units.write("/etc/systemd/system/instance.service", INSTANCE)
    units.start("instance.service")
    yield Instance(units)
    units.stop("instance.service")


def test_a_user_s_service_is_told_of_and_reloaded_and_stopped_like_the_system_s(instance: Instance) -> None:
    started = instance.call("systemctl", "--user", "start", "answer")
    assert started.returncode == 0, started.stderr + instance.units.status("instance.service")
    uid = pwd.getpwnam("nobody").pw_uid
    assert instance.units.systemd.path(f"/proc/{instance.of('MainPID')}").stat().st_uid == uid
    assert instance.of("StatusText") == f"process {instance.of('MainPID')} answers"
    assert instance.call("systemctl", "--user", "reload", "answer").returncode == 0
    wait_for(lambda: instance.of("SubState") == "running", what="it has reloaded")
    assert instance.call("systemctl", "--user", "stop", "answer").returncode == 0
    assert (instance.of("ActiveState"), instance.of("Result")) == ("inactive", "success")
