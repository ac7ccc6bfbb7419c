"""The kernel's lock on an open file, in both kinds."""

from __future__ import annotations

import errno
import fcntl
import os
from typing import TYPE_CHECKING

import pytest

from daemonry import kernel_lock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from harness.daemons import Daemons


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "file").touch()
    return tmp_path / "file"


@pytest.fixture
def two(file: Path) -> Iterator[tuple[int, int]]:
    """Give two openings of one file."""
    first, second = os.open(file, os.O_RDWR), os.open(file, os.O_RDWR)
    yield first, second
    os.close(first)
    os.close(second)


def test_it_belongs_to_the_opening_and_not_to_the_process(two: tuple[int, int]) -> None:
    first, second = two
    assert not kernel_lock.is_locked(first)
    assert kernel_lock.try_lock(first)
    assert kernel_lock.try_lock(first)  # its own
    assert not kernel_lock.is_locked(first)  # by another opening: no
    assert kernel_lock.is_locked(second)
    assert not kernel_lock.try_lock(second)
    kernel_lock.unlock(first)
    assert not kernel_lock.is_locked(second)
    assert kernel_lock.try_lock(second)
    assert not kernel_lock.try_lock(first)


def test_closing_another_descriptor_of_the_file_does_not_lose_it(file: Path, two: tuple[int, int]) -> None:
    """As it would be with the older locks of POSIX, by a reader in any library."""
    assert kernel_lock.try_lock(two[0])
    file.read_bytes()
    assert kernel_lock.is_locked(two[1])


def test_copies_of_the_descriptor_have_it_until_the_last_is_closed(two: tuple[int, int], file: Path) -> None:
    opening = os.open(file, os.O_RDWR)
    copy = os.dup(opening)
    assert kernel_lock.try_lock(opening)
    os.close(opening)
    assert kernel_lock.is_locked(two[0])
    assert not kernel_lock.is_locked(copy)
    os.close(copy)
    assert not kernel_lock.is_locked(two[0])


def test_asking_takes_nothing_and_works_on_a_file_that_may_only_be_read(two: tuple[int, int], file: Path) -> None:
    reading = os.open(file, os.O_RDONLY)
    try:
        for _ in range(3):
            assert not kernel_lock.is_locked(reading)
            assert kernel_lock.try_lock(two[0])
            assert kernel_lock.is_locked(reading)
            kernel_lock.unlock(two[0])
    finally:
        os.close(reading)


def test_a_part_of_the_file_that_somebody_locks_counts_as_locked(daemons: Daemons, file: Path) -> None:
    """By an old lock of POSIX in another process, anywhere in the file."""
    daemons.launch(
        """
        import fcntl, os, sys
        from daemonry import kernel_lock
        with open(sys.argv[1], "r+") as file:
            fcntl.lockf(file, fcntl.LOCK_EX, 1, 1 << 40)
            if os.fork() == 0:
                fd = os.open(sys.argv[1], os.O_RDWR)
                os._exit(kernel_lock.is_locked(fd) * 2 + kernel_lock.try_lock(fd))
            assert os.waitstatus_to_exitcode(os.wait()[1]) == 2
        """,
        file,
    ).check()


def test_what_is_no_open_file_is_the_system_s_error(file: Path) -> None:
    reading = os.open(file, os.O_RDONLY)
    os.close(reading)
    for function in (kernel_lock.try_lock, kernel_lock.is_locked, kernel_lock.unlock):
        with pytest.raises(OSError, match="Bad file descriptor") as caught:
            function(reading)
        assert caught.value.errno == errno.EBADF


# The portable kind: the program under test has no open-file-description locks.
FLOCK = """
    import fcntl, os, sys
    del fcntl.F_OFD_SETLK, fcntl.F_OFD_GETLK
    from daemonry import kernel_lock
    one, two = (os.open(sys.argv[1], os.O_RDWR) for _ in range(2))
"""
# The kernel refuses the command, as one that doesn't know it does: the constants are there, but of a nonsense number.
UNKNOWN = FLOCK.replace("del fcntl.F_OFD_SETLK, fcntl.F_OFD_GETLK", "fcntl.F_OFD_SETLK = fcntl.F_OFD_GETLK = 9999")


@pytest.mark.parametrize("without", [FLOCK, UNKNOWN], ids=["missing", "unknown to the kernel"])
def test_without_open_file_description_locks_it_is_flock(daemons: Daemons, file: Path, without: str) -> None:
    daemons.launch(
        without
        + """
    assert not kernel_lock.is_locked(one)
    assert kernel_lock.try_lock(one)
    assert kernel_lock.try_lock(one)
    assert kernel_lock.is_locked(two)
    assert not kernel_lock.try_lock(two)
    file = os.open(sys.argv[1], os.O_RDONLY)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pass
    else:
        sys.exit("it is no flock")
    kernel_lock.unlock(one)
    assert not kernel_lock.is_locked(two)
    assert not kernel_lock.is_locked(one)
    assert kernel_lock.try_lock(two)
    """,
        file,
    ).check()


def test_with_flock_a_starter_looks_again_when_one_who_asks_is_in_the_way(daemons: Daemons, file: Path) -> None:
    daemons.launch(
        FLOCK
        + """
    import threading
    for _ in range(20):  # one of them is enough: on a busy machine the other may keep it for longer than one looks
        fcntl.flock(two, fcntl.LOCK_SH)
        other = threading.Timer(0.001, fcntl.flock, (two, fcntl.LOCK_UN))
        other.start()
        taken = kernel_lock.try_lock(one)
        other.join()
        if taken:
            break
    assert taken
    """,
        file,
    ).check()


def test_with_flock_what_is_no_open_file_is_the_system_s_error(daemons: Daemons, file: Path) -> None:
    daemons.launch(
        FLOCK
        + """
    import errno
    os.close(one)
    for function in (kernel_lock.try_lock, kernel_lock.is_locked, kernel_lock.unlock):
        try:
            function(one)
        except OSError as error:
            assert error.errno == errno.EBADF
        else:
            sys.exit("no error")
    """,
        file,
    ).check()


def test_this_kernel_has_open_file_description_locks() -> None:
    """Else everything else here has shown the portable kind only."""
    assert hasattr(fcntl, "F_OFD_SETLK")
