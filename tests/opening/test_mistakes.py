"""The mistakes of those who use the library, each with what it is answered: what, on what, why, and what to do."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import daemonry
from daemonry import DaemonContext, PIDLockFile

if TYPE_CHECKING:
    from harness.daemons import Daemons

NAMES: dict[str, Any] = {
    "daemonry": daemonry,
    "DaemonContext": DaemonContext,
    "PIDLockFile": PIDLockFile,
    "signal": signal,
}

# An expression, and what is answered to it. The place is a directory of the test's own.
OF_OPTIONS = {
    # Names
    'DaemonContext(pid_file="/run/x.pid")': "DaemonContext() has no such option: pid_file, did you mean pidfile?",
    "DaemonContext(user='www-data')": "DaemonContext() has no such option: user, did you mean uid?",
    "DaemonContext(logfile='x.log')": "DaemonContext() has no such option: logfile, did you mean stdout or stderr?",
    "DaemonContext(daemonize=True)": "DaemonContext() has no such option: daemonize, did you mean detach_process?",
    "DaemonContext(nothing_near=1)": "DaemonContext() has no such option: nothing_near",
    "DaemonContext('/')": "DaemonContext() takes its options by their names, as in DaemonContext(umask=0o022)",
    # The pidfile
    "DaemonContext(pidfile='').plan()": "pidfile: '' can't be a path",
    "DaemonContext(pidfile=5).plan()": (
        "pidfile: must be a path, or a context manager such as PIDLockFile(path), not 5"
    ),
    "DaemonContext(pidfile=PIDLockFile).plan()": (
        "pidfile: must be a path, or a context manager such as PIDLockFile(path), not <class"
    ),
    "DaemonContext(pidfile='PLACE/x', stdout='PLACE/x').plan()": (
        "pidfile: PLACE/x is the file of stdout already: choose another"
    ),
    "PIDLockFile('/run/x.pid', timeout='5')": "timeout: must be seconds or None, not '5'",
    # Places
    "DaemonContext(working_directory='PLACE/no').plan()": "working_directory: PLACE/no: No such file or directory",
    "DaemonContext(working_directory='PLACE/no/deeper').plan()": (
        "working_directory: PLACE/no/deeper: No such file or directory; there is no directory PLACE/no"
    ),
    "DaemonContext(working_directory='PLACE/file').plan()": "working_directory: PLACE/file is not a directory",
    "DaemonContext(working_directory=None).plan()": "working_directory: must be a path, not None",
    "DaemonContext(chroot_directory='PLACE/file/x').plan()": (
        "chroot_directory: PLACE/file/x: Not a directory; PLACE/file is no directory"
    ),
    "DaemonContext(umask='022').plan()": "umask: must be an int from 0 to 0o777, such as 0o022, not '022'",
    # Streams
    "DaemonContext(stdout='PLACE/no/x.log').plan()": "stdout: PLACE/no does not exist: make it before the start",
    "DaemonContext(stdout='PLACE').plan()": "stdout: PLACE is a directory: name a file in it",
    "DaemonContext(stdout='PLACE/file/x').plan()": "stdout: PLACE/file is not a directory, so no file can be in it",
    "DaemonContext(stderr=closed).plan()": " is closed: open it anew, or give its path",
    "DaemonContext(stderr=4321).plan()": "stderr: 4321 is not open",
    "DaemonContext(stderr=object()).plan()": "stderr: must be None, a path, a descriptor or a file, not <object",
    "DaemonContext(files_preserve=[closed]).plan()": " has no descriptor: I/O operation on closed file",
    "DaemonContext(files_preserve=[4321]).plan()": (
        "files_preserve: 4321 is not open: it would be whatever is opened next; leave it out, or open it before"
    ),
    "DaemonContext(files_preserve='/run/x').plan()": (
        "files_preserve: must be an iterable of files, such as [file], not '/run/x'"
    ),
    # Users
    "DaemonContext(uid='nobdy').plan()": "uid: there is no user 'nobdy'",
    "DaemonContext(uid=54321).plan()": (
        "gid: must be given: user 54321 has no entry in the user database, so no group either"
    ),
    "DaemonContext(gid=-1).plan()": "gid: must be a number or a name, not -1",
    # Signals
    "DaemonContext(signal_map={'SIGHUPP': None}).plan()": (
        "signal_map: 'SIGHUPP' is no signal of this system, did you mean SIGHUP?"
    ),
    "DaemonContext(signal_map={'KILL': None}).plan()": "signal_map: SIGKILL can't be caught or ignored: leave it out",
    "DaemonContext(signal_map={'HUP': 'reopen_stream'}).plan()": (
        "signal_map: 'HUP': 'reopen_stream' is no method of DaemonContext, did you mean reopen_streams?"
    ),
    "DaemonContext(signal_map={'HUP': no_arguments}).plan()": (
        "signal_map: 'HUP': no_arguments can't be called with a number and a frame: "
        "give it two parameters, such as (signum, frame)"
    ),
    "DaemonContext(signal_map={'TERM': 'close'}).plan()": (
        "signal_map: 'TERM': close can't be called with a number and a frame: "
        "give it two parameters, such as (signum, frame)"
    ),
    "DaemonContext(signal_map={'HUP': 3}).plan()": (
        "signal_map: 'HUP': 3 is no handler: give a function, a method's name, or None to ignore it"
    ),
    "DaemonContext(signal_map=[signal.SIGHUP]).plan()": "signal_map: must be a mapping, not [<Signals.SIGHUP: 1>]",
    "DaemonContext(signal_map={'HUP': None, 1: None}).plan()": "signal_map: SIGHUP is given twice: leave one out",
    # The rest
    "DaemonContext(environment={'PORT': 80}).plan()": (
        "environment: 'PORT': 80 can't be a variable: it takes two texts, and no = in the name"
    ),
    "DaemonContext(ready='later').plan()": "ready: must be one of 'auto', 'manual', not 'later'",
    "DaemonContext(start_timeout='30').plan()": (
        "start_timeout: must be a number of seconds above 0, or None for no limit, not '30'"
    ),
    "DaemonContext(detach_process='yes').plan()": "detach_process: must be True, False or None, not 'yes'",
    "daemonry.find('PLACE/text')": (
        "cannot tell by PLACE/text: it holds something else than the number of a process; is this the right path?"
    ),
    "daemonry.find('PLACE')": "cannot tell by PLACE: it is not a regular file; remove it, or choose another path",
}


def no_arguments() -> None:
    """Be what many take for a handler."""


@pytest.mark.parametrize("mistake", OF_OPTIONS)
def test_a_mistake_in_an_option_is_answered_by_what_it_is_and_what_to_do(mistake: str, tmp_path: Path) -> None:
    place = str(tmp_path)
    (tmp_path / "file").touch()
    (tmp_path / "text").write_text("a letter\n" * 99)
    with open(os.devnull) as closed:
        pass
    with pytest.raises((daemonry.DaemonError, TypeError, ValueError)) as caught:
        eval(mistake.replace("PLACE", place), {**NAMES, "closed": closed, "no_arguments": no_arguments})
    said = str(caught.value)
    assert OF_OPTIONS[mistake].replace("PLACE", place) in said
    assert "\n" not in said


# What the start is given besides, what the body does, and what is answered. ``PLACE`` is the launcher's directory.
OF_STARTS = {
    "a relative path, of a file": (
        "",
        "open('data.txt')",
        (
            "step body: No such file or directory: data.txt; data.txt is in PLACE, but the working directory is /: "
            "give its whole path, or working_directory='PLACE'"
        ),
    ),
    "a relative path, of a file to be made": (
        "",
        "open('state/new.txt', 'w')",
        (
            "step body: No such file or directory: state/new.txt; state is in PLACE, but the working directory is /: "
            "give its whole path, or working_directory='PLACE'"
        ),
    ),
    "a path with a directory that is not there": (
        "",
        "open('PLACE/no/data.txt')",
        "step body: No such file or directory: PLACE/no/data.txt; there is no directory PLACE/no",
    ),
    "a path through a file": (
        "",
        "open('PLACE/data.txt/x')",
        "step body: Not a directory: PLACE/data.txt/x; PLACE/data.txt is no directory",
    ),
    "a full disk": (
        "",
        "os.write(os.open('/dev/full', os.O_WRONLY), b'x')",
        (
            "step body: No space left on device, in line 8 of PROGRAM: "
            "os.write(os.open('/dev/full', os.O_WRONLY), b'x'); make room there"
        ),
    ),
    "a port that is taken": (
        "",
        "socket.socket().bind(taken.getsockname())",
        "step body: Address already in use, in line 8 of PROGRAM: socket.socket().bind(taken.getsockname())",
    ),
    "too long a start": (
        "start_timeout=0.3",
        "signal.pause()",
        "step body: not ready after 0.3 seconds: the body did not call ready(); the daemon has been ended",
    ),
    "an end without a word": ("", "pass", "step body: it ended before it was ready"),
    "a pidfile in no directory": (
        "pidfile='PLACE/no/x.pid'",
        "pass",
        "step lock_pidfile: cannot lock PLACE/no/x.pid: No such file or directory: directory PLACE/no",
    ),
}


@pytest.mark.parametrize("mistake", OF_STARTS)
def test_a_mistake_that_the_start_meets_is_answered_in_its_last_line(daemons: Daemons, mistake: str) -> None:
    place = daemons.directory
    (place / "data.txt").touch()
    (place / "state").mkdir()
    options, body, answer = (text.replace("PLACE", str(place)) for text in OF_STARTS[mistake])
    launched = daemons.launch(
        f"""\
import os, signal, socket
import daemonry

taken = socket.create_server(("127.0.0.1", 0))


with daemonry.DaemonContext(ready="manual", files_preserve=[taken], {options}) as context:
    {body}
"""
    ).check(1)
    said = launched.stderr.splitlines()[-1]
    program = re.escape(answer).replace("PROGRAM", r"\S+program-0\.py")
    assert re.search(f"DaemonStartError: cannot start the daemon: {program}$", said), said
    assert daemons.alive() == []


@pytest.mark.root_only("it gives up root's rights")
@pytest.mark.parametrize(
    ("way", "answer"),
    [
        ("PLACE/secret/x", "user 65534 may not pass through PLACE/secret"),
        ("PLACE/new", "user 65534 may not write in PLACE"),
        ("PLACE/private", "user 65534 may not: it is user 0's, with mode 0600"),
    ],
)
def test_who_may_not_what_is_said_when_permission_is_denied(daemons: Daemons, way: str, answer: str) -> None:
    place = daemons.public
    place.chmod(0o755)
    (place / "secret").mkdir(mode=0o700)
    (place / "private").touch(mode=0o600)
    launched = daemons.launch(
        f"""
        import daemonry
        with daemonry.DaemonContext(ready="manual", uid=65534, gid=65534):
            open({way.replace("PLACE", str(place))!r}, "w")
        """
    ).check(1)
    path, answer = (text.replace("PLACE", str(place)) for text in (way, answer))
    assert launched.stderr.rstrip().endswith(f"step body: Permission denied: {path}; {answer}")


def test_there_are_as_many_answers_as_mistakes_that_were_thought_of() -> None:
    assert len(OF_OPTIONS) + len(OF_STARTS) >= 43
