"""Nobody is taken for a daemon: by a copy of its file, by another's number in it, or by its own given out again."""

from __future__ import annotations

import os
import shutil
import signal
import time
from typing import TYPE_CHECKING

import pytest
from control_programs import (  # noqa: F401 - three are fixtures
    BECOME,
    WAYS,
    hasty,
    locked,
    path_of_pidfile,
    refused,
    sleeping_stranger,
    started,
    stop_by,
)

from daemonry.control import daemon as control
from harness.waiting import wait_for
from pidfile_programs import unshared

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from harness.daemons import Daemons


@pytest.mark.parametrize("copy", [shutil.copy, shutil.copy2], ids=["cp", "cp -p"])
def test_a_copy_of_a_daemon_s_pidfile_finds_nobody(
    daemons: Daemons, path: Path, copy: Callable[[Path, Path], Path]
) -> None:
    """Free, or locked by another process; over a file that another daemon has left as well."""
    victim = started(daemons, path)
    other = path.with_name("other.pid")
    copy(path, other)
    assert stop_by(other) is None
    fd = locked(other)
    refused(other, f"it is locked, but not by process {victim.pid}")
    os.close(fd)
    other.unlink()
    dead = started(daemons, other)
    daemons.stop(dead.pid, signal.SIGKILL)
    copy(path, other)
    assert stop_by(other) is None
    assert victim.is_running
    victim.stop()


def test_a_daemon_s_number_written_into_a_file_that_is_left_over_finds_nobody(daemons: Daemons, path: Path) -> None:
    victim = started(daemons, path)
    other = path.with_name("other.pid")
    dead = started(daemons, other)
    daemons.stop(dead.pid, signal.SIGKILL)
    sealed = other.stat()
    other.write_text(f"{victim.pid}\n")
    assert stop_by(other) is None
    os.utime(other, ns=(sealed.st_atime_ns, sealed.st_mtime_ns))
    assert stop_by(other) is None, "the seal put back is another's"
    os.utime(other, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    assert stop_by(other) is None, "and the victim's is that of another file"
    assert victim.is_running
    victim.stop()


@pytest.mark.parametrize("back", ["not dated", "with its old date", "with a date of whole seconds"])
@pytest.mark.parametrize("kind", ["context", "program"])
def test_a_held_file_whose_number_was_overwritten_reaches_neither_the_stranger_nor_the_daemon(
    daemons: Daemons, path: Path, stranger: int, kind: str, back: str
) -> None:
    if kind == "context":
        found = started(daemons, path)
    else:
        daemons.start(BECOME, path, "/bin/sleep", "1000")
        wait_for(lambda: control.find(path) is not None and control.find(path).process.name == "sleep")
        found = control.find(path)
    sealed = path.stat()
    path.write_text(f"{stranger}\n")
    if back == "with its old date":
        os.utime(path, ns=(sealed.st_atime_ns, sealed.st_mtime_ns))
    elif back == "with a date of whole seconds":
        now = int(time.time()) + 1
        os.utime(path, (now, now))
    assert stop_by(path) is None
    for act in (found.reload, lambda: found.signal(signal.SIGKILL)):
        with pytest.raises(control.NotRunning, match="is not its own any more"):
            act()
    assert found.is_running
    daemons.stop(found.pid)
    assert stop_by(path) is None


def test_a_file_put_in_the_place_of_a_daemon_s_own_finds_nobody(daemons: Daemons, path: Path, stranger: int) -> None:
    """While it runs: neither the stranger whose number it has nor, by what was found before, the daemon."""
    found = started(daemons, path)
    for number in (stranger, found.pid):
        path.unlink()
        path.write_text(f"{number}\n")
        path.chmod(0o644)
        assert stop_by(path) is None
        with pytest.raises(control.NotRunning, match="is not its own any more"):
            found.signal(signal.SIGKILL)
    assert found.is_running
    daemons.stop(found.pid)


# In a pid namespace of its own: a daemon is killed, or ends, and a stranger gets its number.
RECYCLED = """
    {way}
    import errno, os, signal, sys
    from daemonry.control import daemon as control
    from daemonry.pidfile import kernel_lock
    from daemonry.pidfile import PIDLockFile
    from harness.pids import next_is
    path, end = sys.argv[1], int(sys.argv[2])

    def child(work):
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            work()
            os.write(writing, b"up")
            while True:
                signal.pause()
        os.close(writing)
        assert os.read(reading, 2) == b"up"
        os.close(reading)
        return pid

    first = child(PIDLockFile(path).acquire)
    found = control.find(path)
    assert found.pid == first and found.is_running
    os.kill(first, end)
    os.waitpid(first, 0)
    next_is(first)
    assert child(lambda: None) == first
    text = open(path).read()
    assert text == f"{{first}}\\n"

    def untouched():
        assert os.waitpid(first, os.WNOHANG) == (0, 0)
        assert control.find(path) is None and not found.is_running and found.wait(0) and found.wait()
        found.stop()
        for act in (found.reload, lambda: found.signal(signal.SIGKILL)):
            try:
                act()
            except control.NotRunning as error:
                assert error.errno == errno.ESRCH and "has ended" in str(error)
            else:
                sys.exit("it was sent")
        assert os.waitpid(first, os.WNOHANG) == (0, 0)

    untouched()
    fd = os.open(path, os.O_RDWR)
    assert kernel_lock.try_lock(fd)
    try:
        control.find(path)
    except control.ControlError as error:
        print(error)
    os.close(fd)
    os.utime(path)
    untouched()
    assert control.remove_left_over(path) is False  # it might be its writer, being older: no reason to signal it
    os.utime(path, (1, 1))
    untouched()
    assert control.remove_left_over(path) is True
    # Another daemon takes the pidfile.
    second = child(PIDLockFile(path).acquire)
    try:
        found.signal(signal.SIGKILL)
    except control.NotRunning:
        assert control.find(path).pid == second
    print("untouched")
"""


@pytest.mark.root_only("it makes a pid namespace, in which it says what the next pid is")
@pytest.mark.parametrize("way", WAYS)
def test_a_stranger_who_gets_the_number_of_a_daemon_is_not_taken_for_it(daemons: Daemons, path: Path, way: str) -> None:
    launched = daemons.launch(
        RECYCLED.format(way=WAYS[way]),
        path,
        int(signal.SIGKILL),
        through=unshared("--pid", "--fork", "--mount-proc", "--kill-child"),
    ).check()
    doubt, end = launched.stdout.splitlines()
    assert doubt.startswith(f"cannot tell by {path}: it is locked, but not by process ")
    assert end == "untouched"
