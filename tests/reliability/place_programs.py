"""Places that are full, cannot be written or are gone: a small file system for the programs of one test."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.reaper import through
from harness.waiting import read_json, wait_for
from pidfile_programs import unshared

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.daemons import Daemons, Running

# Where a program has its log, by the way in which it writes it.
LOGS = ("stdout", "stderr", "stream", "FileHandler", "RotatingFileHandler")

# Starts with pidfile, working directory and log in these places (none where the argument is empty), and lives until
# SIGTERM. What stops the start is printed. SIGUSR1 has it log a text and publish what became of it.
SUBJECT = """
    import logging, logging.handlers, os, signal, sys
    import daemonry
    from harness.probe import publish

    way, log, pidfile, directory, detach = sys.argv[1:]
    home = os.getcwd()
    options = {}
    if way.endswith("Handler"):
        kind = logging.handlers.RotatingFileHandler if way.startswith("Rotating") else logging.FileHandler
        more = {"maxBytes": 8000, "backupCount": 2} if way.startswith("Rotating") else {}
        logging.getLogger().addHandler(kind(log, **more))
    elif log:
        options["stdout" if way == "stdout" else "stderr"] = log
    if pidfile:
        options["pidfile"] = daemonry.PIDLockFile(pidfile)
    if directory:
        options["working_directory"] = directory
    said = 0

    def say(*_):
        global said
        said += 1
        lost = None
        try:
            if way in ("stdout", "stderr"):
                print(f"text {said} " + "x" * 5000, file=getattr(sys, way))
            else:
                logging.error(f"text {said} " + "x" * 5000)
        except OSError as error:
            lost = error.errno
        if way in ("stdout", "stderr"):
            print("half a line, ", end="", file=getattr(sys, way))
        publish(f"{home}/said-{said}", lost)

    signal_map = {"USR1": say, "TERM": "terminate", "HUP": "reopen_streams"}
    try:
        context = daemonry.DaemonContext(detach_process=detach == "True", signal_map=signal_map, **options)
        context.open()
    except daemonry.DaemonStartError as error:
        print(error.step, error.errno, error, sep="\\n")
        sys.exit(1)
    with context:
        if way == "stream":
            logging.getLogger().addHandler(logging.StreamHandler())
        publish(f"{home}/up", os.getpid())
        while True:
            context.wait()
"""


class Place:
    """A directory with a file system of its own, seen by the programs that are started ``through`` it."""

    def __init__(self, path: Path, home: Path, holder: int, mount: tuple[str, ...]) -> None:
        self.path = path
        self.inside = Path(f"/proc/{holder}/root{path}")
        """The same directory, for the test."""
        enter = ("nsenter", f"--target={holder}", "--mount")
        self.through = (*enter, "sh", "-c", 'cd "$0" && exec "$@"', str(home))
        self._enter = enter
        self._mount = mount

    def break_down(self) -> None:
        """Let the kernel find an error on the disk; see ext4(5), ``errors=remount-ro``."""
        device = subprocess.run(
            [*self._enter, "findmnt", "-no", "SOURCE", str(self.path)], capture_output=True, text=True, check=True
        )
        Path(f"/sys/fs/ext4/{os.path.basename(device.stdout.strip())}/trigger_fs_error").write_text("broken")

    def mend(self) -> None:
        """Mount the disk anew, to be written to."""
        for command in (("umount", self.path), (*self._mount, self.path)):
            subprocess.run([*self._enter, *command], check=True)

    def fill(self) -> None:
        """Fill it to the last byte."""
        with open(self.inside / "filling", "wb", buffering=0) as file:
            try:
                while True:
                    file.write(b"x" * 512)
            except OSError:
                pass

    def make_room(self) -> None:
        """Take away what fills it."""
        (self.inside / "filling").unlink()

    def names(self) -> list[str]:
        """Return what is there, but for what fills it."""
        return sorted(set(os.listdir(self.inside)) - {"filling"})


@contextmanager
def mounted(daemons: Daemons, options: str = "size=64k") -> Iterator[Place]:
    """Mount a small file system that stays until the end of the block, whoever comes and goes in it."""
    with _held(daemons, "mount", "-t", "tmpfs", "-o", options, "none") as place:
        yield place


@contextmanager
def breakable(daemons: Daemons) -> Iterator[Place]:
    """Mount a file system of a disk, which the kernel lets nobody write to any more once it is found broken."""
    image = daemons.directory / "image"
    image.write_bytes(bytes(2**22))
    tried = subprocess.run(
        ["mkfs.ext4", "-q", "-O", "^has_journal", image], capture_output=True, text=True, check=False
    )
    if tried.returncode:
        pytest.skip(f"no such file system can be made here: {tried.stderr.strip()}")
    with _held(daemons, "mount", "-o", "loop,errors=remount-ro", str(image)) as place:
        yield place


@contextmanager
def _held(daemons: Daemons, *mount: str) -> Iterator[Place]:
    path = daemons.directory / "mounted"
    path.mkdir()
    hold = '"$@" && echo mounted && exec cat'
    command = [*unshared("--mount"), "sh", "-c", hold, "sh", *mount, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        if holder.stdout.readline() != b"mounted\n":
            pytest.skip(f"it cannot be mounted here: {holder.communicate()[1].decode().strip()}")
        yield Place(path, daemons.directory, holder.pid, mount)
        holder.communicate()


def started(daemons: Daemons, place: Place, *words: object) -> tuple[int, Running]:
    """Start the subject; return its pid, and what ends with the daemon's status."""
    up = daemons.directory / "up"
    up.unlink(missing_ok=True)
    # Buffered as Python does it by default: what can't be written is held until the exit.
    env = {"PYTHONUNBUFFERED": None}
    running = daemons.start(SUBJECT, *words, through=(*through(), *place.through), env=env)
    wait_for(lambda: up.exists() or running.process.poll() is not None, what="it is up")
    return read_json(up, timeout=0), running


def say(daemons: Daemons, pid: int, number: int) -> int | None:
    """Let the subject log its text of that number; return the error that the program itself met."""
    os.kill(pid, signal.SIGUSR1)
    lost: int | None = read_json(daemons.directory / f"said-{number}")
    return lost


@pytest.fixture(name="detach", params=[True, False], ids=["detached", "in the foreground"])
def is_detached(request: pytest.FixtureRequest) -> bool:
    """Whether a program becomes a daemon; a test file gets this by importing it."""
    return bool(request.param)
