"""What ``files_preserve`` takes, refuses and keeps alive."""

from __future__ import annotations

import errno
import io
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from daemonry import DaemonContext, InvalidOption
from daemonry.steps.descriptors import Closing
from harness.shown import shown
from telling_programs import METHODS, launch, told

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from harness.daemons import Daemons

by_each_method = pytest.mark.parametrize("method", [pytest.param(text, id=name) for name, text in METHODS.items()])


def kept(files: Any) -> tuple[int, ...]:
    """Return what a context would leave open for such a value of ``files_preserve``."""
    plan = DaemonContext(files_preserve=files, preserve_logging=False, detach_process=True).plan()
    (closing,) = [step.value for step in plan if step.name == "close_descriptors"]
    assert isinstance(closing, Closing)
    return closing.kept


@pytest.fixture
def file(tmp_path: Path) -> Iterator[io.TextIOWrapper]:
    """Give an open file."""
    with open(tmp_path / "file", "w") as opened:
        yield opened


@by_each_method
def test_each_kind_of_item_stays_open_and_goes_on_working(daemons: Daemons, method: str) -> None:
    """An int, files of text, bytes and none buffered, a socket, a logging handler, a logger, an adapter of one."""
    assert told(
        daemons,
        method,
        """
        number = os.open(path("int"), os.O_WRONLY | os.O_CREAT, 0o600)
        text, binary = open(path("text"), "w"), open(path("binary"), "wb")
        raw = open(path("raw"), "wb", buffering=0)
        ours, theirs = socket.socketpair()
        handler = logging.FileHandler(path("handler"))
        logger, adapted = logging.getLogger("a"), logging.getLogger("b")
        logger.addHandler(logging.FileHandler(path("logger")))
        adapted.addHandler(logging.FileHandler(path("adapter")))
        adapter = logging.LoggerAdapter(adapted, {})
        lost = open(path("lost"), "w")
        files = [number, text, binary, raw, ours, theirs, handler, logger, adapter]
        same = list(files)
        with DaemonContext(detach_process=True, files_preserve=files, preserve_logging=False):
            os.write(number, b"int")
            text.write("text"), text.close()
            binary.write(b"binary"), binary.close()
            raw.write(b"raw")
            ours.send(b"socket")
            handler.emit(logging.makeLogRecord({"msg": "handler"}))
            logger.critical("logger")
            adapter.critical("adapter")
            written = {name: open(path(name)).read().strip() for name in (
                "int", "text", "binary", "raw", "handler", "logger", "adapter")}
            tell([all(each == name for name, each in written.items()), theirs.recv(9).decode(), is_open(lost.fileno()),
                  len(files) == len(same) and all(one is other for one, other in zip(files, same))])
        """,
    ) == [True, "socket", False, True]


@pytest.mark.parametrize(
    "container",
    [list, tuple, set, frozenset, iter, lambda items: (item for item in items), dict.fromkeys],
    ids=["list", "tuple", "set", "frozenset", "iterator", "generator", "keys"],
)
def test_any_iterable_will_do(file: io.TextIOWrapper, container: Callable[[list[object]], object]) -> None:
    other = os.dup(file.fileno())
    try:
        assert kept(container([file, other, other, file])) == (file.fileno(), other)
    finally:
        os.close(other)


@pytest.mark.parametrize("empty", [None, [], (), set(), {}, iter(())], ids=shown)
def test_nothing_may_be_preserved(empty: object) -> None:
    assert kept(empty) == ()


@pytest.mark.parametrize("how", ["keyword", "attribute"])
def test_a_generator_is_still_good_after_plan(daemons: Daemons, how: str) -> None:
    assert told(
        daemons,
        f"""
        number = os.dup(0)
        os.set_inheritable(number, True)
        context = DaemonContext(detach_process=True)
        if {how!r} == "keyword":
            context = DaemonContext(detach_process=True, files_preserve=(each for each in [number]))
        else:
            context.files_preserve = (each for each in [number])
        context.plan(), context.plan()
        with context:
            tell(facts().numbers == (0, 1, 2, number))
        """,
    )


def test_a_range_of_numbers_of_which_few_are_open_may_be_preserved(daemons: Daemons) -> None:
    """As programs do that inherit descriptors of which they know nothing but the numbers."""
    assert told(
        daemons,
        """
        for number in (70, 90, 110):
            os.dup2(0, number)
        with DaemonContext(detach_process=True, files_preserve=range(80, 100)):
            tell(facts().numbers)
        """,
    ) == [0, 1, 2, 90]


@pytest.mark.parametrize("number", [4321, 2**31 - 1, 2**31, 2**32 + 10, 2**70])
def test_a_number_that_is_not_open_is_refused_by_name(number: int) -> None:
    """What is opened next might get it, and be kept, or passed on, in its place."""
    with pytest.raises(InvalidOption, match=f"files_preserve: {number} is not open: ") as caught:
        kept([number])
    assert caught.value.errno == errno.EBADF


def test_a_file_whose_descriptor_was_closed_behind_its_back_is_refused(daemons: Daemons) -> None:
    launched = launch(
        daemons,
        """
        file = open("/dev/null")
        os.close(file.fileno())
        try:
            DaemonContext(files_preserve=[file]).plan()
        except InvalidOption as error:
            print(error.errno, "name='/dev/null'" in error.message)
        os.open("/dev/null", os.O_RDONLY)  # for the file to close
        """,
    )
    assert launched.stdout == f"{errno.EBADF} True\n"


def test_the_three_streams_may_be_named_and_are_redirected_all_the_same(daemons: Daemons) -> None:
    assert told(
        daemons,
        """
        with DaemonContext(detach_process=True, files_preserve=[0, sys.stdout, sys.stderr]):
            tell([facts().numbers, target(0), target(1), target(2)])
        """,
    ) == [[0, 1, 2], *["/dev/null"] * 3]


@by_each_method
def test_a_preserved_item_keeps_its_manners_at_exec(daemons: Daemons, method: str) -> None:
    """Preserving makes nothing inheritable that was not, and takes it from nothing that was."""
    assert told(
        daemons,
        method,
        """
        os.dup2(0, 50, inheritable=True), os.dup2(0, 51, inheritable=False)
        with DaemonContext(detach_process=True, files_preserve=[50, 51]):
            tell([os.get_inheritable(50), os.get_inheritable(51)])
        """,
    ) == [True, False]


@pytest.mark.parametrize("detach", [True, False])
def test_sockets_of_a_service_manager_stay_open(daemons: Daemons, detach: bool) -> None:
    """Those that LISTEN_FDS counts for this very process, and none above them."""
    assert told(
        daemons,
        f"""
        made = fcntl.fcntl(socket.socket(socket.AF_UNIX).detach(), fcntl.F_DUPFD_CLOEXEC, 50)
        for number in (3, 4, 5):
            os.dup2(made, number)
        os.close(made)
        os.environ.update(LISTEN_FDS="2", LISTEN_PID=str(os.getpid()))
        with DaemonContext(detach_process={detach}):
            tell([facts().numbers, os.environ["LISTEN_PID"] == str(os.getpid())])
        """,
    ) == [[0, 1, 2, 3, 4], True]


def test_sockets_that_were_meant_for_another_process_are_closed(daemons: Daemons) -> None:
    assert told(
        daemons,
        """
        os.dup2(0, 3)
        os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getppid()))
        with DaemonContext(detach_process=True):
            tell(facts().numbers)
        """,
    ) == [0, 1, 2]


# Refusals


class Numberless:
    """Has a method of the right name that answers the wrong thing."""

    def __init__(self, answer: Callable[[], object]) -> None:
        self.fileno = answer


def closed_file() -> object:
    with open(os.devnull) as opened:
        return opened


def closed_socket() -> object:
    with socket.socket() as made:
        return made


def raising(error: Exception) -> Callable[[], object]:
    def fileno() -> object:
        raise error

    return fileno


@pytest.mark.parametrize(
    "item",
    [
        pytest.param(closed_file(), id="closed-file"),
        pytest.param(closed_socket(), id="closed-socket"),
        pytest.param(io.StringIO(), id="StringIO"),
        pytest.param(io.BytesIO(), id="BytesIO"),
        -1,
        -(2**70),
        True,
        False,
        None,
        1.0,
        "3",
        b"3",
        Path("/"),
        object(),
        [3],
        socket.socket,
        pytest.param(Numberless(lambda: None), id="fileno-None"),
        pytest.param(Numberless(lambda: -1), id="fileno-negative"),
        pytest.param(Numberless(lambda: "3"), id="fileno-text"),
        pytest.param(Numberless(raising(OSError("gone"))), id="fileno-OSError"),
        pytest.param(Numberless(raising(ValueError("gone"))), id="fileno-ValueError"),
        pytest.param(Numberless(raising(AttributeError("gone"))), id="fileno-AttributeError"),
    ],
)
def test_an_item_without_a_descriptor_is_refused_by_name(item: object) -> None:
    with pytest.raises(
        InvalidOption, match=r"^cannot start the daemon: step check_options: files_preserve: "
    ) as caught:
        kept([1000, item])
    assert caught.value.option == "files_preserve"
    assert caught.value.step == "check_options"


@pytest.mark.parametrize("value", [7, True, 1.0, object(), "3", "", b"\x03"], ids=shown)
def test_what_is_no_iterable_of_files_is_refused_by_name(value: object) -> None:
    with pytest.raises(InvalidOption, match="files_preserve: must be an iterable of files"):
        kept(value)


def test_a_file_by_itself_is_refused_with_advice_and_not_read(tmp_path: Path) -> None:
    """A file is an iterable too, of its lines."""
    path = tmp_path / "file"
    path.write_text("one\ntwo\n")
    for mode in ("r", "a"):
        with open(path, mode) as opened:
            with pytest.raises(InvalidOption, match=r"files_preserve: must be an iterable of files, such as \[file\]"):
                kept(opened)
            if mode == "r":
                assert opened.read() == "one\ntwo\n"


@pytest.mark.parametrize("detach", [True, False])
def test_a_refusal_comes_before_any_fork_and_closes_nothing(daemons: Daemons, detach: bool) -> None:
    launched = launch(
        daemons,
        f"""
        os.register_at_fork(before=lambda: print("forked"))
        os.dup2(0, 60)
        try:
            DaemonContext(detach_process={detach}, files_preserve=[io.StringIO()]).open()
        except InvalidOption as error:
            print(error.option, is_open(60))
        """,
    )
    assert launched.stdout == "files_preserve True\n"


def test_a_list_is_never_changed(file: io.TextIOWrapper) -> None:
    items = [file, file.fileno(), file, 2]
    kept(items)
    assert items == [file, file.fileno(), file, 2]


def test_a_failed_start_leaves_the_launchers_files_as_they_were(daemons: Daemons) -> None:
    """What it had not written is written once, by the launcher."""
    launch(
        daemons,
        """
        old = open(path("old"), "w")
        old.write("once")
        class Failing(DaemonContext):
            def set_umask(self):
                raise OSError(errno.EPERM, "no")
        try:
            Failing(detach_process=True).open()
        except DaemonStartError:
            old.write(" and once")
            old.close()
        """,
    )
    assert (daemons.directory / "old").read_text() == "once and once"
