"""A program in the foreground that gives up root at root's terminal can't type into it, and stays the shell's job."""

from __future__ import annotations

import json
import os
import shlex
import sys
from typing import TYPE_CHECKING, Any

import pytest

from harness.waiting import read_json, wait_for

if TYPE_CHECKING:
    from harness.daemons import Daemons

pytestmark = [pytest.mark.reliability("Privileges"), pytest.mark.root_only("it gives up what only root has")]

PROGRAM = """
import fcntl, json, os, sys, termios
from daemonry import DaemonContext
def attempt(call):
    try:
        call()
    except OSError as error:
        return type(error).__name__
    return "done"
before = os.getsid(0), os.getpgid(0)
told = open("told", "w")
options = json.loads(sys.argv[1])
with DaemonContext(detach_process=False, files_preserve=[told], **options):
    typed = attempt(lambda: fcntl.ioctl(0, termios.TIOCSTI, b"x"))
    opened = attempt(lambda: os.open("/dev/tty", os.O_RDWR))
    same = (os.getsid(0), os.getpgid(0)) == before
    json.dump({"typed": typed, "opened": opened, "same": same, "is a terminal": os.isatty(0)}, told)
    told.flush()
"""


def seen_at_terminal(daemons: Daemons, leader: bool = False, **options: Any) -> dict[str, Any]:
    """Return what a program can do at a terminal after it has opened a context there."""
    terminal = daemons.terminal(PROGRAM, json.dumps(options), leader=leader)
    assert terminal.wait() == 0, terminal.output
    found: dict[str, Any] = read_json(daemons.directory / "told", timeout=0)
    return found


def test_who_gives_up_root_has_roots_terminal_no_more(daemons: Daemons) -> None:
    """It reads and writes there, in its session and its group as before, and neither types into it nor opens it."""
    found = seen_at_terminal(daemons, uid="nobody")
    assert found["typed"] != "done"
    assert (found["opened"], found["same"], found["is a terminal"]) == ("OSError", True, True)


@pytest.mark.parametrize("furnished", [False, True], ids=["empty", "with a terminal"])
def test_nor_inside_another_root_directory(daemons: Daemons, furnished: bool) -> None:
    """In which it can't be found any more, or can again."""
    jail = daemons.jail()
    if furnished:
        (jail / "dev").mkdir()
        os.mknod(jail / "dev" / "tty", 0o20666, os.makedev(5, 0))
        (jail / "dev" / "tty").chmod(0o666)
    found = seen_at_terminal(daemons, uid="nobody", chroot_directory=str(jail))
    assert found["typed"] != "done"
    assert found["opened"] == ("OSError" if furnished else "FileNotFoundError")


def test_who_leads_the_session_keeps_the_terminal_which_is_its_own(daemons: Daemons) -> None:
    assert seen_at_terminal(daemons, leader=True, uid="nobody")["opened"] == "done"


def test_who_stays_who_it_is_keeps_it(daemons: Daemons) -> None:
    assert seen_at_terminal(daemons)["opened"] == "done"


SHELL = """
import os
os.environ.update(PS1="", ENV="", PS2="")
os.execvp("sh", ["sh", "-i"])
"""


# The words in quotes: what the shell echoes of its command line is not what is waited for. And nothing is forked later:
# a shell that Ctrl-Z reaches between vfork and exec waits for a child that is stopped, and is not.
JOB = """
sleep 600 &
trap 'kill $!; exit 1' INT
trap 'echo goes "on"' CONT
if (: < /dev/tty) 2> /dev/null; then echo has a "terminal"; else echo has "none"; fi
while :; do wait; done
"""


@pytest.mark.parametrize("flags", [(), ("--restart",)], ids=["run", "kept running"])
def test_a_program_that_is_run_as_another_user_is_still_the_shells_job(
    daemons: Daemons, flags: tuple[str, ...]
) -> None:
    """Ctrl-Z stops it, fg lets it go on, Ctrl-C ends it, and the shell goes on."""
    shell = daemons.terminal(SHELL)
    run = (sys.executable, "-m", "daemonry", "run", "--user", "nobody", *flags, "--", "sh", "-c", JOB)
    shell.write(f"{shlex.join(run)}\n")
    shell.read_until("has none")
    shell.write("\x1a")
    shell.read_until("Stopped")
    shell.write("fg\n")
    shell.read_until("goes on")
    shell.write("\x03")
    wait_for(lambda: len(daemons.alive()) == 1, what="the job has ended, and the shell has not")
    shell.write("echo shell $((40 + 2)); exit\n")
    shell.read_until("shell 42")
    shell.wait()
