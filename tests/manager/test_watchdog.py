"""The watchdog hears that the daemon is well as long as it is: the loop goes round, or the workers move on."""

from __future__ import annotations

import asyncio
import select
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from daemonry.manager.notify import Manager
from daemonry.manager.watchdog import feed, feeding
from harness.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.daemons import Daemons

SECONDS = 0.09


class Context:
    """All that they ask of a context: DaemonContext would be open only in a daemon."""

    def __init__(self, manager: Manager) -> None:
        self.service_manager = manager


@pytest.fixture
def ear(daemons: Daemons) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(str(daemons.directory / "notify"))
        heard.settimeout(10)
        yield heard


@pytest.fixture
def context(ear: socket.socket) -> Context:
    return Context(Manager(ear.getsockname(), SECONDS))


def is_silent(ear: socket.socket) -> bool:
    """Return whether nothing is said for longer than the manager would wait."""
    poll = select.poll()
    poll.register(ear, select.POLLIN)
    while poll.poll(0):  # what has been said by now
        ear.recv(99)
    return not poll.poll(3 * SECONDS * 1000)


def test_it_is_fed_more_than_twice_within_the_manager_s_time(context: Context, ear: socket.socket) -> None:
    async def listen() -> float:
        loop = asyncio.get_running_loop()
        feeder = asyncio.create_task(feed(context))  # type: ignore[arg-type]
        ear.setblocking(False)
        assert await loop.sock_recv(ear, 99) == b"WATCHDOG=1"
        begun = loop.time()
        for _ in range(3):
            assert await loop.sock_recv(ear, 99) == b"WATCHDOG=1"
        feeder.cancel()
        return loop.time() - begun

    assert asyncio.run(listen()) >= SECONDS * 0.9


def test_a_loop_that_does_not_go_round_does_not_feed(context: Context, ear: socket.socket) -> None:
    async def block() -> bool:
        feeder = asyncio.create_task(feed(context))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        silent = is_silent(ear)
        feeder.cancel()
        return silent

    assert asyncio.run(block())


def test_without_a_watchdog_nothing_runs() -> None:
    context = Context(Manager(None))
    asyncio.run(asyncio.wait_for(feed(context), 10))  # type: ignore[arg-type]
    with feeding(context, lambda: 1 / 0):  # type: ignore[arg-type]
        assert "daemonry watchdog" not in [thread.name for thread in threading.enumerate()]


def test_a_thread_feeds_as_long_as_the_workers_are_well_and_again_when_they_are(
    context: Context, ear: socket.socket
) -> None:
    well = threading.Event()
    well.set()
    with feeding(context, well.is_set):  # type: ignore[arg-type]
        assert [ear.recv(99) for _ in range(3)] == [b"WATCHDOG=1"] * 3
        well.clear()
        wait_for(lambda: is_silent(ear), what="it is no longer fed")
        well.set()
        assert ear.recv(99) == b"WATCHDOG=1"
    assert is_silent(ear)
    assert "daemonry watchdog" not in [thread.name for thread in threading.enumerate()]


def test_the_end_of_the_block_does_not_wait_for_the_next_meal(ear: socket.socket) -> None:
    context = Context(Manager(ear.getsockname(), 3000.0))
    with feeding(context, lambda: True):  # type: ignore[arg-type]
        assert ear.recv(99) == b"WATCHDOG=1"


def test_asking_that_fails_ends_the_feeding_and_is_told(
    context: Context, ear: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: told.append(repr(args.exc_value)))
    with feeding(context, lambda: 1 / 0):  # type: ignore[arg-type]
        wait_for(lambda: told, what="it is told")
        assert is_silent(ear)
    assert told == ["ZeroDivisionError('division by zero')"]
