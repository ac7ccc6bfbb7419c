"""Logging handlers: what a daemon logs lands where it did before, and only there."""

from __future__ import annotations

import os
import re
import socket
import struct
import threading
from typing import TYPE_CHECKING

import pytest

from daemonry.steps import logs
from harness.probe import facts_of
from harness.waiting import read_json, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from harness.daemons import Daemons

# The set-up is the first argument; it may use the names below, and name the handler that is to be closed at the end.
PROGRAM = """
    import logging, logging.handlers, os, queue, sys
    import daemonry
    from harness.probe import facts, publish

    logging.getLogger().setLevel(logging.DEBUG)
    root, named = logging.getLogger(), logging.getLogger("some.name")
    options = {}
    exec(sys.argv[1])
    named.info("before")
    with daemonry.DaemonContext(working_directory=".", **options) as context:
        for name in ("first", "second", "third"):
            with open(name, "w") as file:
                file.write(f"{name}\\n")
        named.info("after")
        logging.getLogger("other").info("elsewhere")
        publish("facts", facts())
        logging.shutdown()
    """


def run(daemons: Daemons, set_up: str) -> list[str]:
    """Run a daemon with this set-up to its end; return the names of the files that it has written a log line to."""
    daemons.launch(PROGRAM, set_up).check()
    wait_for(lambda: not daemons.alive(), what="the daemon ends")
    assert [(daemons.directory / name).read_text() for name in ("first", "second", "third")] == [
        "first\n",
        "second\n",
        "third\n",
    ]
    files = [each for each in daemons.directory.iterdir() if each.is_file() and not each.name.startswith("program")]
    return sorted(each.name for each in files if re.search(r"after|elsewhere", each.read_text()))


def lines(path: Path) -> list[str]:
    """Return the lines of a file."""
    return path.read_text().splitlines()


def test_a_file_handler_of_the_root_logger(daemons: Daemons) -> None:
    assert run(daemons, "logging.basicConfig(filename='log', format='%(name)s %(message)s')") == ["log"]
    assert lines(daemons.directory / "log") == ["some.name before", "some.name after", "other elsewhere"]


def test_file_handlers_of_named_loggers(daemons: Daemons) -> None:
    set_up = """
named.addHandler(logging.FileHandler("log"))
named.propagate = False
logging.getLogger("other").addHandler(logging.FileHandler("others", delay=True))
logging.getLogger("a.b.c.d")
logging.getLogger("a.b").addHandler(logging.NullHandler())
"""
    assert run(daemons, set_up) == ["log", "others"]
    assert lines(daemons.directory / "log") == ["before", "after"]
    assert lines(daemons.directory / "others") == ["elsewhere"]


def test_a_rotating_file_handler_rotates_on(daemons: Daemons) -> None:
    set_up = "root.addHandler(logging.handlers.RotatingFileHandler('log', maxBytes=8, backupCount=5))"
    assert run(daemons, set_up) == ["log", "log.1"]
    assert lines(daemons.directory / "log") == ["elsewhere"]
    assert lines(daemons.directory / "log.1") == ["after"]
    assert lines(daemons.directory / "log.2") == ["before"]


def test_a_memory_handler_and_its_target(daemons: Daemons) -> None:
    """What it held at the start is written once, what comes later when it is flushed."""
    set_up = "root.addHandler(logging.handlers.MemoryHandler(100, target=logging.FileHandler('log')))"
    assert run(daemons, set_up) == ["log"]
    assert lines(daemons.directory / "log") == ["before", "after", "elsewhere"]


def test_a_memory_handler_in_front_of_another(daemons: Daemons) -> None:
    set_up = """
inner = logging.handlers.MemoryHandler(100, target=logging.FileHandler('log'))
root.addHandler(logging.handlers.MemoryHandler(100, target=inner))
"""
    assert run(daemons, set_up) == ["log"]
    assert lines(daemons.directory / "log") == ["before", "after", "elsewhere"]


def test_a_target_that_is_no_handler_is_left_alone(daemons: Daemons) -> None:
    set_up = """
class Own(logging.FileHandler):
    target = "somewhere"
root.addHandler(Own("log"))
"""
    assert run(daemons, set_up) == ["log"]


def test_handlers_that_hand_to_each_other_are_looked_at_once(daemons: Daemons) -> None:
    set_up = """
one, two = (logging.handlers.MemoryHandler(1000) for _ in range(2))
one.setTarget(two)
two.target = one
logging.getLogger("silent").addHandler(one)
root.addHandler(logging.FileHandler("log"))
one.flush = two.flush = lambda: None
"""
    assert run(daemons, set_up) == ["log"]


def test_a_stream_handler_follows_standard_error(daemons: Daemons) -> None:
    set_up = "logging.basicConfig(stream=sys.stderr, format='%(message)s'); options['stderr'] = 'errors'"
    assert run(daemons, set_up) == ["errors"]
    assert lines(daemons.directory / "errors") == ["after", "elsewhere"]
    assert (daemons.directory / "0.err").read_text() == "before\n"


def test_a_stream_handler_on_a_file_of_the_programs_own(daemons: Daemons) -> None:
    set_up = (
        "log = open('log', 'a'); root.addHandler(logging.StreamHandler(log)); root.addHandler(logging.NullHandler())"
    )
    assert run(daemons, set_up) == ["log"]
    assert lines(daemons.directory / "log") == ["before", "after", "elsewhere"]


def test_a_queue_handler_whose_listener_starts_in_the_daemon(daemons: Daemons) -> None:
    set_up = """
waiting = queue.Queue()
file = logging.FileHandler("log")
handler = logging.handlers.QueueHandler(waiting)
listener = logging.handlers.QueueListener(waiting, file)
root.addHandler(handler)
class Started(daemonry.DaemonContext):
    def notify_ready(self):
        super().notify_ready()
        listener.start()
        self.exit_stack.callback(listener.stop)
daemonry.DaemonContext = Started
"""
    assert run(daemons, set_up) == ["log"]
    assert lines(daemons.directory / "log") == ["before", "after", "elsewhere"]


def test_a_handler_with_a_descriptor_in_none_of_the_usual_places_is_not_harmed(daemons: Daemons) -> None:
    """Handlers of others hold what they like under these names, and some are closed."""
    set_up = """
class Odd(logging.Handler):
    stream, sock, socket = object(), 3.5, "socket"
    def emit(self, record):
        pass
closed = logging.StreamHandler(open("closed", "w"))
closed.stream.close()
logging.getLogger("closed").addHandler(closed)
root.addHandler(Odd())
root.addHandler(logging.FileHandler("log"))
"""
    assert run(daemons, set_up) == ["log"]


@pytest.fixture
def server() -> Iterator[socket.socket]:
    """A server on the loopback."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(10)
        yield listening


def test_a_socket_handler_keeps_its_connection(daemons: Daemons, server: socket.socket) -> None:
    """A real server gets all records by one connection, and a second one is never made."""
    received = bytearray()

    def serve() -> None:
        connection, _ = server.accept()
        with connection:
            while piece := connection.recv(65536):
                received.extend(piece)

    thread = threading.Thread(target=serve)
    thread.start()
    port = server.getsockname()[1]
    assert run(daemons, f"root.addHandler(logging.handlers.SocketHandler('127.0.0.1', {port}))") == []
    thread.join(10)
    records = []
    while received:
        (length,) = struct.unpack_from(">L", received)
        records.append(bytes(received[4 : 4 + length]))
        del received[: 4 + length]
    assert [re.findall(rb"before|after|elsewhere", record)[0] for record in records] == [
        b"before",
        b"after",
        b"elsewhere",
    ]
    server.settimeout(0)
    with pytest.raises(BlockingIOError):
        server.accept()


def test_a_syslog_handler_keeps_its_socket(daemons: Daemons) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.bind(str(daemons.directory / "syslog"))
        log.settimeout(10)
        assert run(daemons, "root.addHandler(logging.handlers.SysLogHandler('syslog'))") == []
        messages = [log.recv(4096) for _ in range(3)]
    assert [re.findall(rb"before|after|elsewhere", message)[0] for message in messages] == [
        b"before",
        b"after",
        b"elsewhere",
    ]


@pytest.mark.parametrize("kind", ["FileHandler", "StreamHandler"])
def test_handlers_that_are_not_preserved_are_closed_and_write_into_no_other_file(daemons: Daemons, kind: str) -> None:
    """Their numbers become the pidfile's and other files': no line may land there."""
    daemons.launch(
        """
        import logging, os, sys
        import daemonry
        from harness.probe import facts, publish

        file = "log" if sys.argv[1] == "FileHandler" else open("log", "a")
        logging.basicConfig(handlers=[getattr(logging, sys.argv[1])(file)], format="%(message)s")
        logging.warning("before")
        lock = daemonry.PIDLockFile("pidfile")
        with daemonry.DaemonContext(working_directory=".", pidfile=lock, preserve_logging=False):
            publish("facts", facts())
            with open("first", "w") as first, open("second", "w") as second:
                logging.warning("after")
                first.write("first")
                second.write("second")
            publish("pidfile-text", open("pidfile").read())
            publish("held", lock.i_am_locking())
        """,
        kind,
    ).check()
    assert read_json(daemons.directory / "held") is True
    facts = read_json(daemons.directory / "facts")
    assert read_json(daemons.directory / "pidfile-text") == f"{facts['pid']}\n"
    assert not [each for each in facts["descriptors"] if each["target"].endswith("/log")]
    wait_for(lambda: not daemons.alive(), what="the daemon ends")
    assert [(daemons.directory / name).read_text() for name in ("first", "second")] == ["first", "second"]
    # A FileHandler opens its file again when it is used.
    assert lines(daemons.directory / "log") == ["before", *(["after"] if kind == "FileHandler" else [])]


def test_preserved_descriptors_are_the_logs_own_and_no_more(daemons: Daemons) -> None:
    daemons.launch(
        """
        import logging, os
        import daemonry
        from harness.probe import publish

        logging.basicConfig(filename="log")
        others = [open("other") for _ in range(5) if open("other", "w")]
        with daemonry.DaemonContext(working_directory=".", files_preserve=[]) as context:
            publish("pid", os.getpid())
            context.wait()
        """
    ).check()
    pid = read_json(daemons.directory / "pid")
    opened = [each for each in facts_of(pid).descriptors if each.number > 2 and "pipe:" not in each.target]
    assert [each.target for each in opened] == [str(daemons.directory / "log")]
    daemons.stop(pid)


LOCKED_AT_THE_FORK = """
    import io, logging, sys, threading
    import daemonry

    entered, leave = threading.Event(), threading.Event()

    class Slow(io.FileIO):
        def write(self, data):
            entered.set()
            leave.wait()
            return len(data)

    class Context(daemonry.DaemonContext):
        def leave_init(self):
            threading.Thread(target=logging.warning, args=["slowly"]).start()
            entered.wait()
            for _ in range(int(sys.argv[1])):
                threading.Thread(target=leave.wait).start()

        def lock_pidfile(self):
            raise ValueError("no lock today")

    slow = logging.StreamHandler(io.TextIOWrapper(io.BufferedWriter(Slow("slow", "w"))))
    logging.getLogger().addHandler(slow)
    try:
        Context(detach_process=True, preserve_logging=sys.argv[2] == "True", start_timeout=9).open()
    finally:
        leave.set()
    """


@pytest.mark.parametrize("preserve", [True, False])
@pytest.mark.parametrize("others", [0, 3])
def test_a_refused_start_does_not_wait_for_a_file_that_a_thread_had_locked_at_the_fork(
    daemons: Daemons, others: int, preserve: bool
) -> None:
    """Nobody is left who would unlock it; the witness would end the daemon after a quarter of a minute.

    Without others the thread that flushes may be taken for the one that held the lock: it gets its number.
    """
    refused = daemons.launch(LOCKED_AT_THE_FORK, others, preserve, timeout=12).check(1)
    assert "step lock_pidfile: ValueError: no lock today" in refused.stderr


def test_loggers_and_handlers_are_files_to_preserve(daemons: Daemons) -> None:
    """Also one that no logger has, and a LoggerAdapter."""
    set_up = """
loose = logging.FileHandler("log")
mine = logging.getLogger("mine"); mine.addHandler(logging.FileHandler("mine"))
adapted = logging.getLogger("adapted"); adapted.addHandler(logging.FileHandler("adapted"))
options["preserve_logging"] = False
options["files_preserve"] = [loose, mine, logging.LoggerAdapter(adapted, {})]
class Speaking(daemonry.DaemonContext):
    def notify_ready(self):
        root.addHandler(loose)
        super().notify_ready()
        mine.info("after")
        adapted.info("after")
daemonry.DaemonContext = Speaking
"""
    assert run(daemons, set_up) == ["adapted", "log", "mine"]


def test_without_logging_there_are_no_handlers(daemons: Daemons) -> None:
    daemons.launch(
        """
        import sys
        import daemonry
        from daemonry.steps import logs

        sys.modules.pop("logging", None)
        assert logs.handlers() == [] and logs.descriptors() == [] and logs.files_of(3) is None
        assert logs.reopen() == []
        logs.flush()
        logs.follow_root("/nowhere")
        """
    ).check()


def test_what_is_no_handler_and_no_logger_is_not_the_logs_business() -> None:
    for item in (3, "text", None, os, object()):
        assert logs.files_of(item) is None
