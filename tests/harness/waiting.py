"""Waiting for events, never for an amount of time to pass."""

from __future__ import annotations

import json
import os
import select
import time

from harness.probe import Facts, status_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    T = TypeVar("T")


def wait_for(condition: Callable[[], T], timeout: float = 10, what: str = "the condition") -> T:
    """Return the first true value of a condition; fail when there is none in time.

    For what the kernel has no event for: the condition is asked anew every 5 ms, so the test goes on with the
    event and a slow machine costs nothing but time.
    """
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not in {timeout} s; the last answer was {value!r}")
        time.sleep(0.005)


def wait_for_exit(pid: int, timeout: float = 10) -> None:
    """Return when the process has ended, whoever its parent is; fail when it has not in time.

    It has ended when it is a zombie: how soon init reaps it is none of our business.
    """
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if not ends(pidfd, timeout):
            raise AssertionError(f"process {pid} ({describe(pid)}) has not ended in {timeout} s")
    finally:
        os.close(pidfd)


def ends(pidfd: int, timeout: float) -> bool:
    """Wait for the end of the process that a pidfd stands for; return whether it came in time."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(timeout * 1000))


def is_alive(pid: int) -> bool:
    """Return whether a process of that number runs; a zombie doesn't."""
    try:
        return status_of(pid)["State"][0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def describe(pid: int) -> str:
    """Return a line on a process for a message: its state, its parent and its command."""
    try:
        status = status_of(pid)
        with open(f"/proc/{pid}/cmdline", "rb") as stream:
            command = stream.read().replace(b"\0", b" ").decode(errors="replace").strip()
    except (FileNotFoundError, ProcessLookupError):
        return "gone"
    return f"{status['State']}, parent {status['PPid']}, uid {status['Uid'].split()[0]}: {command}"


def read_json(path: str | os.PathLike[str], timeout: float = 10) -> Any:
    """Return what a program has published at a path, once it has."""
    wait_for(lambda: os.path.exists(path), timeout, f"{os.fspath(path)} appears")
    with open(path, encoding="utf-8") as stream:
        return json.load(stream)


def read_facts(path: str | os.PathLike[str], timeout: float = 10) -> Facts:
    """Return the facts that a program has published at a path, once it has."""
    return Facts.from_json(read_json(path, timeout))
