"""Signals held off for a few system calls: none is lost, and the mask is as before, whatever happens."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING

import pytest

from daemonry.system.undisturbed import signals_held_off

if TYPE_CHECKING:
    from collections.abc import Iterator


class Rung(Exception):
    """Raised by the handler."""


@pytest.fixture
def heard() -> Iterator[list[int]]:
    """Return the signals SIGUSR1 and SIGUSR2 that have been delivered."""
    found: list[int] = []
    before = [signal.signal(number, lambda signum, _: found.append(signum)) for number in NUMBERS]
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    yield found
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    for number, handler in zip(NUMBERS, before):
        signal.signal(number, handler)


NUMBERS = (signal.SIGUSR1, signal.SIGUSR2)


def send(signum: int) -> None:
    """Send a signal to the main thread itself: a test runner has others, which would take what this one holds off."""
    signal.pthread_kill(threading.main_thread().ident or 0, signum)


def mask() -> set[int]:
    return {int(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, ())}


def test_a_signal_is_delivered_after_the_block(heard: list[int]) -> None:
    before = mask()
    with signals_held_off() as outside:
        assert outside == before
        send(signal.SIGUSR1)
        assert heard == []
        assert mask() >= set(map(int, NUMBERS))
    assert heard == [signal.SIGUSR1]
    assert mask() == before


def test_blocks_nest(heard: list[int]) -> None:
    with signals_held_off():
        with signals_held_off() as outside:
            send(signal.SIGUSR1)
            assert signal.SIGUSR1 in outside
        assert heard == []
    assert heard == [signal.SIGUSR1]


def test_what_was_blocked_before_stays_blocked(heard: list[int]) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
    with signals_held_off():
        send(signal.SIGUSR2)
    assert heard == []
    assert signal.SIGUSR2 in mask()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR2})
    assert heard == [signal.SIGUSR2]


def test_an_exception_in_the_block_puts_the_mask_back(heard: list[int]) -> None:
    before = mask()
    with pytest.raises(LookupError), signals_held_off():
        raise LookupError
    assert mask() == before


@pytest.mark.parametrize("when", ["before", "inside"])
def test_a_handler_that_raises_puts_the_mask_back(heard: list[int], when: str) -> None:
    """Also one that is due just when the block begins."""

    def ring(*_: object) -> None:
        raise Rung

    before = mask()
    signal.signal(signal.SIGUSR1, ring)

    def run() -> None:
        with signals_held_off():
            send(signal.SIGUSR1)

    if when == "inside":
        with pytest.raises(Rung):
            run()
    else:
        for _ in range(200):
            thread = threading.Thread(target=send, args=(signal.SIGUSR1,))
            try:
                thread.start()
                with signals_held_off():
                    pass
                thread.join()
            except Rung:
                thread.join()
            else:
                pytest.fail("the signal was lost")
            assert mask() == before
    assert mask() == before


def test_the_block_is_of_this_thread_alone(heard: list[int]) -> None:
    found: list[set[int]] = []
    with signals_held_off():
        pass
    go, done = threading.Event(), threading.Event()
    thread = threading.Thread(target=lambda: (go.wait(), found.append(mask()), done.set()))
    before = mask()
    thread.start()
    with signals_held_off():
        go.set()
        done.wait()
    thread.join()
    assert found == [before]
