"""What a stranger may have put where a pidfile shall be."""

from __future__ import annotations

import errno
import os
import socket
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

NOBODY = 4194305  # no number of a process: more than the kernel gives out


def symlink_to_file(path: Path) -> None:
    path.with_name("precious").write_text("text")
    path.symlink_to(path.with_name("precious"))


def symlink_to_pidfile(path: Path) -> None:
    path.with_name("other.pid").write_text(f"{NOBODY}\n")
    path.symlink_to(path.with_name("other.pid"))


def symlink_to_nothing(path: Path) -> None:
    path.symlink_to(path.with_name("nothing"))


def symlink_to_itself(path: Path) -> None:
    path.symlink_to(path)


def fifo(path: Path) -> None:
    os.mkfifo(path)


def directory(path: Path) -> None:
    path.mkdir()
    path.joinpath("precious").write_text("text")


def unix_socket(path: Path) -> None:
    listening = socket.socket(socket.AF_UNIX)
    here = os.getcwd()
    os.chdir(path.parent)  # its address is short
    try:
        listening.bind(path.name)
    finally:
        os.chdir(here)
    listening.close()


def hard_link(path: Path) -> None:
    path.with_name("precious").write_text("text\n")
    path.with_name("precious").chmod(0o600)
    os.link(path.with_name("precious"), path)


def hard_link_that_looks_like_a_draft(path: Path) -> None:
    """Its second name begins as a draft's does, but it is another file's name."""
    hard_link(path)
    path.with_name(f".{path.name}.1.abc").write_text("another file")


def world_writable(path: Path) -> None:
    path.write_text(f"{NOBODY}\n")
    path.chmod(0o646)


def group_writable(path: Path) -> None:
    path.write_text(f"{NOBODY}\n")
    path.chmod(0o664)


HOSTILE = [
    (symlink_to_file, "symbolic link", errno.ELOOP),
    (symlink_to_pidfile, "symbolic link", errno.ELOOP),
    (symlink_to_nothing, "symbolic link", errno.ELOOP),
    (symlink_to_itself, "symbolic link", errno.ELOOP),
    (fifo, "not a regular file", errno.EINVAL),
    (directory, "not a regular file", errno.EISDIR),
    (unix_socket, "not a regular file", errno.ENXIO),
    (hard_link, r"it has 2 names \(hard links\)", errno.EPERM),
    (hard_link_that_looks_like_a_draft, r"it has 2 names \(hard links\)", errno.EPERM),
    (world_writable, r"others may write to it \(mode 0o646\)", errno.EPERM),
    (group_writable, r"others may write to it \(mode 0o664\)", errno.EPERM),
]


def snapshot(directory: Path) -> dict[str, tuple[int, int, int, bytes | str | None]]:
    """Return all that can be told of the files of a directory."""
    found = {}
    for each in sorted(directory.rglob("*")):
        seen = each.lstat()
        text: bytes | str | None = None
        if stat.S_ISREG(seen.st_mode):
            text = each.read_bytes()
        elif stat.S_ISLNK(seen.st_mode):
            text = os.readlink(each)
        found[str(each)] = (seen.st_ino, seen.st_mode, seen.st_nlink, text)
    return found
