"""Root's way to a file, through directories that are mounted when somebody comes to them; autofs(5)."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from pidfile_programs import unshared

if TYPE_CHECKING:
    from pathlib import Path

    from harness.daemons import Daemons, Launched

pytestmark = pytest.mark.root_only("only root's way is gone step by step, and only root mounts")

_CANNOT = 77
# Mounts a directory on another one when the kernel asks for it, as systemd does for an .automount, and runs a program
# meanwhile. The kernel doesn't ask for what the mounting process group itself looks at.
AUTOMOUNT = f"""
import ctypes, fcntl, os, signal, struct, sys
place, behind, command = sys.argv[1], sys.argv[2], sys.argv[3:]
C = ctypes.CDLL(None, use_errno=True)
def mount(source, kind, flags, options):
    if C.mount(source.encode(), place.encode(), kind, flags, options.encode()):
        sys.exit({_CANNOT})
os.setpgid(0, 0)
asked, asking = os.pipe()
mount("none", b"autofs", 0, f"fd={{asking}},pgrp={{os.getpid()}},minproto=5,maxproto=5,direct")
trigger = os.open(place, os.O_RDONLY)
program = os.fork()
if program == 0:
    os.setpgid(0, 0)
    os.execv(command[0], command)
mounting = os.fork()
if mounting == 0:
    while True:
        token = struct.unpack_from("3I", os.read(asked, 4096))[2]
        mount(behind, None, 4096, "")  # MS_BIND
        fcntl.ioctl(trigger, 0x9360, token)  # AUTOFS_IOC_READY
status = os.waitpid(program, 0)[1]
os.kill(mounting, signal.SIGKILL)
os.waitpid(mounting, 0)
sys.exit(os.WEXITSTATUS(status) if os.WIFEXITED(status) else 1)
"""


@pytest.fixture
def behind(daemons: Daemons) -> Path:
    """Give the directory that will be mounted."""
    directory = daemons.directory / "behind"
    directory.mkdir()
    return directory


def launch_at(daemons: Daemons, place: Path, behind: Path, program: str) -> Launched:
    """Run a program that comes to an automounted directory, its first argument."""
    place.mkdir()
    through = (*unshared("--mount"), sys.executable, "-c", AUTOMOUNT, str(place), str(behind))
    launched = daemons.launch(program, place, through=through)
    if launched.status == _CANNOT:
        pytest.skip("the kernel mounts no autofs here")
    return launched.check()


@pytest.mark.parametrize("linked", [False, True], ids=["", "by a link"])
def test_a_pidfile_can_be_where_a_directory_is_mounted_on_demand(daemons: Daemons, behind: Path, linked: bool) -> None:
    place = daemons.directory / "mounted"
    (daemons.directory / "link").symlink_to("mounted")
    launched = launch_at(
        daemons,
        place,
        behind,
        f"""
        import os, sys
        from daemonry import DaemonContext, PIDLockFile
        place = {"'link'" if linked else "sys.argv[1]"}
        lock = PIDLockFile(f"{{place}}/x.pid")
        with DaemonContext(detach_process=False, working_directory=".", pidfile=lock):
            print(os.listdir(place))
        """,
    )
    assert launched.stdout == "['x.pid']\n"
    assert os.listdir(behind) == os.listdir(place) == []


@pytest.mark.parametrize(
    "look",
    ["at_directory(sys.argv[1])", "reached(f'{sys.argv[1]}/x')", "reached(f'{sys.argv[1]}/below/x')"],
)
def test_whatever_is_looked_for_first_mounts_it(daemons: Daemons, behind: Path, look: str) -> None:
    (behind / "below").mkdir()
    launched = launch_at(
        daemons,
        daemons.directory / "mounted",
        behind,
        f"""
        import os, sys
        from daemonry.system.safe_path import at_directory, reached
        with {look} as found:
            if not isinstance(found, int):
                found = found.directory or os.path.dirname(found.name)
            print(os.stat(found).st_ino)
        """,
    )
    assert launched.stdout == f"{(behind / 'below' if 'below' in look else behind).stat().st_ino}\n"


def test_who_can_write_there_is_asked_of_what_was_mounted(daemons: Daemons, behind: Path) -> None:
    """And not of the directory below it: in one that all can write, a file of root's is not given to the user."""
    behind.chmod(0o777)
    (behind / "log").write_text("of root\n")
    launch_at(
        daemons,
        daemons.directory / "mounted",
        behind,
        """
        import sys
        from daemonry.steps.log_file import open_log
        open_log(f"{sys.argv[1]}/log", (65534, 65534))
        """,
    )
    assert (behind / "log").stat().st_uid == 0


SWAPPED = """
import os, sys
from daemonry.system.safe_path import at_directory
base = sys.argv[1]
os.umask(0)
for name in ("way", "way/run", "private"):
    os.mkdir(f"{base}/{name}", 0o755)

def went_to():
    with at_directory(f"{base}/way/run") as directory:
        return os.fstat(directory).st_ino

print(went_to() == os.stat(f"{base}/way/run").st_ino)
os.chmod(f"{base}/way", MODE)
os.rename(f"{base}/way/run", f"{base}/way/before")
os.symlink(f"{base}/private", f"{base}/way/run")
os.lchown(f"{base}/way/run", 65534, 65534)
try:
    print("was led to", went_to())
except OSError as error:
    print(error.strerror)
"""


@pytest.mark.parametrize("mode", ["0o777", "0o1777"])
def test_a_way_that_was_roots_alone_once_is_looked_at_again_when_it_leads_elsewhere(
    daemons: Daemons, mode: str
) -> None:
    """Root has let others write there since, and one of them has put a link in the directory's place."""
    base = daemons.directory / "base"
    base.mkdir()
    first, then = daemons.launch(SWAPPED.replace("MODE", mode), base).check().stdout.splitlines()
    assert first == "True"
    assert then.startswith("run is a link, in a directory that others can write; ")


STICKY = """
import os, sys
from daemonry.system.safe_path import reached
base = sys.argv[1]
os.umask(0)
os.mkdir(f"{base}/tmp", 0o755)
os.chmod(f"{base}/tmp", 0o1777)
for name, owner in (("roots", 0), ("nobodys", 65534)):
    os.mkdir(f"{base}/tmp/{name}", 0o755)
    os.chown(f"{base}/tmp/{name}", owner, owner)
    with reached(f"{base}/tmp/{name}/file") as place:
        print(name, place.directory is None, place.guarded)
with reached(f"{base}/tmp/file") as place:
    print("tmp", place.directory is None, place.guarded)
"""


def test_roots_own_directory_in_one_where_each_may_take_away_his_own_is_reached_without_steps(daemons: Daemons) -> None:
    """Nobody else can put something in its place; where that holds not, root goes step by step."""
    base = daemons.directory / "base"
    base.mkdir()
    assert daemons.launch(STICKY, base).check().stdout.splitlines() == [
        "roots True False",
        "nobodys False True",
        "tmp False True",
    ]
