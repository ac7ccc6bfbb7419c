"""What a service manager is told, as the bytes on his socket; whatever he does, the daemon goes on."""

from __future__ import annotations

import array
import os
import socket
import threading
import time
from contextlib import closing, suppress
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemonry.manager import notify as sd_notify
from daemonry.manager.notify import Manager, manager_at
from harness.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.daemons import Daemons

ROOM = socket.CMSG_SPACE(4 * 8)


class Ear:
    """A manager's end: hears messages, and takes the descriptors that come with them."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address.replace("@", "\0"))
        self.socket.settimeout(10)

    def hear(self) -> tuple[str, list[int]]:
        text, ancillary, _, _ = self.socket.recvmsg(9999, ROOM)
        numbers = array.array("i")
        for _, _, data in ancillary:
            numbers.frombytes(data)
        return text.decode(), list(numbers)


@pytest.fixture(params=["path", "abstract"])
def ear(request: pytest.FixtureRequest, daemons: Daemons) -> Iterator[Ear]:
    heard = Ear(str(daemons.directory / "notify") if request.param == "path" else f"@{daemons.directory}")
    with closing(heard.socket):
        yield heard


def test_an_assignment_is_a_line(ear: Ear) -> None:
    Manager(ear.address).tell(READY=1, STATUS="up and\nrunning", MAINPID=7)
    assert ear.hear() == ("READY=1\nSTATUS=up and running\nMAINPID=7", [])


def test_the_words_for_the_watchdog_and_for_more_time(ear: Ear) -> None:
    manager = Manager(ear.address)
    manager.alive()
    manager.extend(1.5)
    assert ear.hear()[0] == "WATCHDOG=1"
    assert ear.hear()[0] == "EXTEND_TIMEOUT_USEC=1500000"


def test_a_reload_says_when_it_began_and_that_it_is_over_also_when_it_fails(ear: Ear) -> None:
    """systemd 253 compares the time with that of its own request; it is the clock's in microseconds."""
    before = time.monotonic()
    with suppress(ZeroDivisionError), Manager(ear.address).reloading():
        first, _, second = ear.hear()[0].partition("\nMONOTONIC_USEC=")
        assert first == "RELOADING=1"
        assert before - 0.001 <= int(second) / 1e6 <= time.monotonic() + 0.001
        1 / 0  # noqa: B018
    assert ear.hear() == ("READY=1", [])


@pytest.mark.parametrize("as_object", [True, False])
def test_a_descriptor_is_handed_over_to_be_stored(ear: Ear, as_object: bool) -> None:
    one, other = socket.socketpair()
    with one, other:
        Manager(ear.address).store(one if as_object else one.fileno(), "a name")
        text, (number,) = ear.hear()
        assert text == "FDSTORE=1\nFDNAME=a name"
        assert number != one.fileno()
        assert os.path.samestat(os.fstat(number), os.fstat(one.fileno()))
        os.close(number)


def test_a_descriptor_is_forgotten_by_its_name(ear: Ear) -> None:
    Manager(ear.address).forget("a name")
    assert ear.hear() == ("FDSTOREREMOVE=1\nFDNAME=a name", [])


@pytest.mark.parametrize("name", ["", "a:b", "a\nb", "ä", "x" * 256])
def test_a_name_that_systemd_would_not_keep_is_refused(name: str) -> None:
    """By another name the next process would not find it."""
    with pytest.raises(ValueError, match="can't be stored as"):
        Manager(None).store(0, name)


@given(st.text(max_size=5000) | st.builds(lambda text: text * 900, st.text(min_size=1, max_size=9)))
def test_whatever_is_said_is_one_line_of_valid_text_that_systemd_takes(text: str) -> None:
    """It drops messages that are longer than 4096 bytes, or have zero bytes, or are not UTF-8."""
    line = sd_notify._one_line(text)
    assert len(f"STATUS={line}\nERRNO=11111".encode()) < 4096
    assert len(f"x{line}x".splitlines()) == 1
    assert "\0" not in line


# The barrier


def test_it_waits_until_the_manager_has_read_all(ear: Ear) -> None:
    manager = Manager(ear.address)
    manager.tell(STOPPING=1)
    answers: list[bool] = []
    waiting = threading.Thread(target=lambda: answers.append(manager.wait_until_heard()))
    waiting.start()
    assert ear.hear() == ("STOPPING=1", [])
    text, (number,) = ear.hear()
    assert text == "BARRIER=1"
    assert waiting.is_alive()
    os.close(number)
    waiting.join(10)
    assert answers == [True]


def test_a_manager_who_does_not_take_descriptors_has_heard_when_he_has_read(ear: Ear) -> None:
    """The kernel closes what came with a message that is read without them."""
    answers: list[bool] = []
    waiting = threading.Thread(target=lambda: answers.append(Manager(ear.address).wait_until_heard()))
    waiting.start()
    assert ear.socket.recv(99) == b"BARRIER=1"
    waiting.join(10)
    assert answers == [True]


def test_a_manager_who_does_not_read_is_waited_for_as_long_as_was_said(ear: Ear) -> None:
    begun = time.monotonic()
    assert Manager(ear.address).wait_until_heard(0.05) is False
    assert 0.05 <= time.monotonic() - begun < 5


def test_a_manager_who_goes_away_is_not_waited_for(ear: Ear) -> None:
    answers: list[bool] = []
    waiting = threading.Thread(target=lambda: answers.append(Manager(ear.address).wait_until_heard(60)))
    waiting.start()
    wait_for(lambda: ear.socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT), what="it has been asked")
    ear.socket.close()
    waiting.join(10)
    assert not waiting.is_alive()


def test_nobody_has_heard_all_that_he_was_told() -> None:
    assert Manager(None).wait_until_heard() is True


def test_a_wait_leaves_no_descriptor_open(ear: Ear) -> None:
    before = os.listdir("/proc/self/fd")
    Manager(ear.address).wait_until_heard(0)
    Manager("/nobody").wait_until_heard(0)
    assert os.listdir("/proc/self/fd") == before


# A manager that is not there


@pytest.mark.parametrize("address", [None, "", "/no/such", "@nobody", "x" * 300, "/etc/passwd", "\udcff"])
def test_one_who_is_not_there_is_told_without_harm(address: str | None) -> None:
    manager = Manager(address)
    manager.connect()
    manager.tell(READY=1)
    manager.store(0, "x")
    with manager.reloading():
        manager.alive()
    assert manager.wait_until_heard(0) is not address  # true only where there is nobody to hear
    manager.close()


def test_one_who_goes_away_behind_an_open_connection_is_told_without_harm(ear: Ear) -> None:
    manager = Manager(ear.address)
    manager.connect()
    manager.tell(READY=1)
    assert ear.hear() == ("READY=1", [])
    ear.socket.close()
    manager.tell(STOPPING=1)
    assert manager.wait_until_heard(0) is False
    manager.close()


# The watchdog's variables

NUMBERS = st.sampled_from(["", "0", "00", "x", "-1", " 5", "5 ", "+5", "1.5", "\u0665", "18446744073709551615"])


@given(
    st.none() | NUMBERS | st.integers(0, 10**16).map(str) | st.text(max_size=5) | st.just("9" * 5000),
    st.none() | st.sampled_from(["", "76", "77", "077", "x"]),
)
def test_there_is_a_watchdog_just_where_there_is_a_time_and_it_is_meant_for_the_process(
    microseconds: str | None, pid: str | None
) -> None:
    given_here = {"WATCHDOG_USEC": microseconds, "WATCHDOG_PID": pid}
    found = manager_at({name: value for name, value in given_here.items() if value is not None}, 77).watchdog
    is_number = microseconds is not None and microseconds.isascii() and microseconds.isdigit()
    expected = is_number and len(microseconds or "") < 5000 and 0 < int(microseconds or 0) < 10**15
    assert found == (int(microseconds or 0) / 1e6 if expected and pid in (None, "77") else None)
    assert found is None or found / 3 < threading.TIMEOUT_MAX
