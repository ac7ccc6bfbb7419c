"""The kernel's locks on an open file that only who may write to it can have."""

from __future__ import annotations

import errno
import fcntl
import os
from typing import TYPE_CHECKING

import pytest

from daemonry.pidfile import kernel_lock

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


def test_a_turn_belongs_to_the_opening_so_that_two_threads_keep_each_other_out(two: tuple[int, int]) -> None:
    first, second = two
    assert kernel_lock.holder(first) is None
    assert kernel_lock.try_lock(first)
    assert kernel_lock.try_lock(first)  # its own
    assert not kernel_lock.try_lock(second)
    assert kernel_lock.holder(second) == -1, "the kernel doesn't tell whose it is"


def test_a_lock_for_life_is_told_with_its_process_and_no_child_has_it(daemons: Daemons, file: Path) -> None:
    """Not even one that C code forks, which no hook of Python's sees."""
    daemons.launch(
        """
        import ctypes, os, sys
        from daemonry.pidfile import kernel_lock
        fd = os.open(sys.argv[1], os.O_RDWR)
        assert kernel_lock.hold(fd) and kernel_lock.hold(fd)
        libc = ctypes.PyDLL(None)
        child = libc.fork()
        if child == 0:
            other = os.open(sys.argv[1], os.O_RDONLY)
            libc._exit(kernel_lock.holder(other) != os.getppid() or kernel_lock.try_lock(fd) or kernel_lock.hold(fd))
        assert os.waitpid(child, 0)[1] == 0
        """,
        file,
    ).check()


def test_asking_takes_nothing_and_works_on_a_file_that_may_only_be_read(two: tuple[int, int], file: Path) -> None:
    reading = os.open(file, os.O_RDONLY)
    try:
        for _ in range(3):
            assert kernel_lock.holder(reading) is None
        assert kernel_lock.try_lock(two[0])
        assert kernel_lock.holder(reading) is not None
    finally:
        os.close(reading)


@pytest.mark.reliability("Hostile files")
def test_who_may_but_read_the_file_has_no_lock_that_counts(two: tuple[int, int], file: Path) -> None:
    reading = os.open(file, os.O_RDONLY)
    try:
        for function in (kernel_lock.try_lock, kernel_lock.hold):
            with pytest.raises(OSError, match="Bad file descriptor"):
                function(reading)
        fcntl.fcntl(reading, fcntl.F_OFD_SETLK, kernel_lock._asked(fcntl.F_RDLCK))
        fcntl.flock(reading, fcntl.LOCK_EX)
        assert kernel_lock.holder(two[0]) is None
    finally:
        os.close(reading)


def test_a_part_of_the_file_that_somebody_locks_counts_as_locked(daemons: Daemons, file: Path) -> None:
    """Anywhere in the file."""
    daemons.launch(
        """
        import fcntl, os, sys
        from daemonry.pidfile import kernel_lock
        with open(sys.argv[1], "r+") as file:
            fcntl.lockf(file, fcntl.LOCK_EX, 1, 1 << 40)
            if os.fork() == 0:
                fd = os.open(sys.argv[1], os.O_RDWR)
                os._exit(kernel_lock.holder(fd) != os.getppid() or kernel_lock.try_lock(fd))
            assert os.waitstatus_to_exitcode(os.wait()[1]) == 0
        """,
        file,
    ).check()


def test_what_is_no_open_file_is_the_system_s_error(file: Path) -> None:
    reading = os.open(file, os.O_RDONLY)
    os.close(reading)
    for function in (kernel_lock.try_lock, kernel_lock.hold, kernel_lock.holder):
        with pytest.raises(OSError, match="Bad file descriptor") as caught:
            function(reading)
        assert caught.value.errno == errno.EBADF


@pytest.mark.parametrize(
    "without", ["del fcntl.F_OFD_SETLK", "fcntl.F_OFD_SETLK = 9999"], ids=["missing", "unknown to the kernel"]
)
def test_without_locks_of_an_opening_it_is_one_of_the_process(daemons: Daemons, file: Path, without: str) -> None:
    daemons.launch(
        f"""
        import fcntl, os, sys
        {without}
        from daemonry.pidfile import kernel_lock
        fd = os.open(sys.argv[1], os.O_RDWR)
        assert kernel_lock.try_lock(fd)
        if os.fork() == 0:
            other = os.open(sys.argv[1], os.O_RDWR)
            os._exit(kernel_lock.try_lock(other) or kernel_lock.holder(other) != os.getppid())
        assert os.wait()[1] == 0
        """,
        file,
    ).check()


def test_this_kernel_has_open_file_description_locks() -> None:
    """Else everything else here has shown the portable kind only."""
    assert hasattr(fcntl, "F_OFD_SETLK")
