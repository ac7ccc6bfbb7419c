"""Whatever holds the number of a descriptor that is closed lets go of it, and what it held is not lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from telling_programs import launch, told

if TYPE_CHECKING:
    from harness.daemons import Daemons


def test_what_a_frozen_file_holds_is_written_once_into_its_own(daemons: Daemons) -> None:
    launch(
        daemons,
        """
        old = open(path("old"), "w")
        old.write("before the start")
        gc.freeze()
        with DaemonContext(detach_process=True):
            with open(path("new"), "w") as new:
                old.close()
                new.write("new")
        """,
    )
    assert (daemons.directory / "old").read_text() == "before the start"
    assert (daemons.directory / "new").read_text() == "new"


def test_what_was_frozen_stays_frozen(daemons: Daemons) -> None:
    launcher, daemon = told(
        daemons,
        """
        def frozen():
            return gc.get_freeze_count() > 1000 and not any(each is globals() for each in gc.get_objects())
        class Looking(DaemonContext):
            def detach(self):
                before.append(frozen())
                super().detach()
        before = []
        gc.freeze()
        with Looking(detach_process=True):
            tell([before[0], frozen()])
        """,
    )
    assert launcher
    assert daemon


def test_a_program_that_freezes_nothing_has_nothing_frozen(daemons: Daemons) -> None:
    """Python itself may have frozen a few objects."""
    before, after = told(
        daemons,
        """
        before = gc.get_freeze_count()
        with DaemonContext(detach_process=True):
            tell([before, gc.get_freeze_count()])
        """,
    )
    assert after == before


def test_the_ends_of_a_pipe_and_of_a_queue_of_multiprocessing_are_closed_as_objects(daemons: Daemons) -> None:
    """They write to no other file, and close none."""
    assert told(
        daemons,
        """
        import multiprocessing
        reading, writing = multiprocessing.Pipe()
        queue = multiprocessing.SimpleQueue()
        with DaemonContext(detach_process=True):
            new = [os.open(path(str(number)), os.O_RDWR | os.O_CREAT) for number in range(20)]
            refused = 0
            for put in (writing.send, reading.send, queue.put):
                try:
                    put("stray")
                except OSError:
                    refused += 1
            ends = [end.closed for end in (reading, writing, queue._reader, queue._writer)]
            del reading, writing, queue, put
            gc.collect()
            tell([ends, refused, [number for number in new if not is_open(number) or os.fstat(number).st_size]])
        """,
    ) == [[True] * 4, 3, []]


@pytest.mark.parametrize("detach", [True, False])
def test_an_end_of_a_pipe_of_multiprocessing_that_is_preserved_goes_on_working(daemons: Daemons, detach: bool) -> None:
    assert (
        told(
            daemons,
            f"""
        import multiprocessing
        reading, writing = multiprocessing.Pipe(duplex=False)
        with DaemonContext(detach_process={detach}, files_preserve=[reading, writing]):
            writing.send("kept")
            tell(reading.recv())
        """,
        )
        == "kept"
    )


@pytest.mark.parametrize("end", ["memory.close()", "del memory"])
def test_shared_memory_closes_no_other_file_and_can_be_used(daemons: Daemons, end: str) -> None:
    pytest.importorskip("_posixshmem")
    assert told(
        daemons,
        f"""
        from multiprocessing.shared_memory import SharedMemory
        memory = SharedMemory(create=True, size=100)
        memory.buf[0] = 7
        memory.unlink()
        with DaemonContext(detach_process=True):
            new = [os.open("/dev/null", os.O_RDONLY) for _ in range(20)]
            used = memory.buf[0]
            {end}
            gc.collect()
            tell([used, [number for number in new if not is_open(number)]])
        """,
    ) == [7, []]


def test_shared_memory_closes_no_file_that_is_written_at_the_very_end(daemons: Daemons) -> None:
    pytest.importorskip("_posixshmem")
    launch(
        daemons,
        """
        from multiprocessing.shared_memory import SharedMemory
        memory = SharedMemory(create=True, size=100)
        memory.unlink()
        context = DaemonContext(detach_process=False).__enter__()
        # What sys holds goes last.
        sys.new = [open(path(str(number)), "w") for number in range(20)]
        for file in sys.new:
            file.write("new")
        """,
    )
    assert [number for number in range(20) if (daemons.directory / str(number)).read_text() != "new"] == []


@pytest.mark.parametrize("held", ["os.scandir('/')", "[os.scandir('/')]", "walk()", "select.epoll()", "selector()"])
def test_a_directory_that_is_being_read_and_an_epoll_object_close_no_other_file(daemons: Daemons, held: str) -> None:
    assert (
        told(
            daemons,
            f"""
        import select, selectors
        def walk():
            with os.scandir("/") as entries:
                yield from entries
        def selector():
            made = selectors.EpollSelector()
            made.register(os.pipe()[0], selectors.EVENT_READ)
            return made
        held = {held}
        if hasattr(held, "__next__"):
            next(held)
        with DaemonContext(detach_process=True):
            new = [os.open("/dev/null", os.O_RDONLY) for _ in range(20)]
            del held
            gc.collect()
            tell([number for number in new if not is_open(number)])
        """,
        )
        == []
    )


def test_an_epoll_object_that_is_preserved_goes_on_working(daemons: Daemons) -> None:
    assert told(
        daemons,
        """
        import select
        reading, writing = os.pipe()
        kept, closed = select.epoll(), select.epoll()
        closed.close()
        kept.register(reading, select.EPOLLIN)
        with DaemonContext(detach_process=True, files_preserve=[kept, reading, writing]):
            os.write(writing, b"1")
            tell([kept.poll(1) == [(reading, select.EPOLLIN)], closed.closed])
        """,
    ) == [True, True]


def test_a_signal_writes_into_no_other_file(daemons: Daemons) -> None:
    assert told(
        daemons,
        """
        reading, writing = socket.socketpair()
        writing.setblocking(False)
        signal.set_wakeup_fd(writing.fileno())
        with DaemonContext(detach_process=True, signal_map={signal.SIGUSR1: lambda *_: None}):
            new = [os.open(path(str(number)), os.O_RDWR | os.O_CREAT) for number in range(20)]
            for number in new:
                os.set_blocking(number, False)
            os.kill(os.getpid(), signal.SIGUSR1)
            tell([signal.set_wakeup_fd(-1), [number for number in new if os.fstat(number).st_size]])
        """,
    ) == [-1, []]


@pytest.mark.parametrize("detach", [True, False])
def test_a_wakeup_descriptor_that_is_preserved_is_written_to(daemons: Daemons, detach: bool) -> None:
    assert (
        told(
            daemons,
            f"""
        reading, writing = socket.socketpair()
        writing.setblocking(False)
        signal.set_wakeup_fd(writing.fileno())
        usual = {{signal.SIGUSR1: lambda *_: None}}
        with DaemonContext(detach_process={detach}, signal_map=usual, files_preserve=[reading, writing]):
            os.kill(os.getpid(), signal.SIGUSR1)
            tell(reading.recv(9)[0] == signal.SIGUSR1)
        """,
        )
        is True
    )


CRASHING = """
    import faulthandler
    def crash():
        new = [os.open(path(f"new-{number}"), os.O_RDWR | os.O_CREAT) for number in range(20)]
        os.kill(os.getpid(), signal.SIGSEGV)
"""


@pytest.mark.parametrize("given", ["old", "old.fileno()"])
@pytest.mark.parametrize("also", ["", "faulthandler.register(signal.SIGUSR2)"])
def test_the_report_of_a_crash_goes_to_standard_error_when_its_file_is_closed(
    daemons: Daemons, given: str, also: str
) -> None:
    launch(
        daemons,
        CRASHING,
        f"""
        old = open(path("old"), "w")
        faulthandler.enable(file={given})
        {also}
        with DaemonContext(detach_process=True, stderr=path("errors")):
            crash()
        """,
    )
    assert "Segmentation fault" in (daemons.directory / "errors").read_text()
    assert [each.name for each in daemons.directory.glob("new-*") if each.stat().st_size] == []


@pytest.mark.parametrize("also", ["", "faulthandler.register(signal.SIGUSR2)"])
def test_the_report_of_a_crash_goes_to_its_file_when_that_is_preserved(daemons: Daemons, also: str) -> None:
    launch(
        daemons,
        CRASHING,
        f"""
        old = open(path("old"), "w")
        faulthandler.enable(file=old)
        {also}
        with DaemonContext(detach_process=True, stderr=path("errors"), files_preserve=[old]):
            crash()
        """,
    )
    assert "Segmentation fault" in (daemons.directory / "old").read_text()
    assert (daemons.directory / "errors").read_text() == ""
