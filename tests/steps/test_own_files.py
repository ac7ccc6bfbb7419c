"""What a program has opened before its start is its own, and works on in the daemon; nothing of it is searched for."""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
from typing import TYPE_CHECKING

import pytest

from harness.waiting import read_json, wait_for
from telling_programs import launch, told

if TYPE_CHECKING:
    from harness.daemons import Daemons

by_detaching = pytest.mark.parametrize("detach", [True, False])


@by_detaching
def test_a_connection_to_a_database_commits_what_it_had_begun(daemons: Daemons, detach: bool) -> None:
    """Its pages go into its own file, and into none of those that the daemon opens."""
    launch(
        daemons,
        f"""
        import sqlite3
        connection = sqlite3.connect(path("db"))
        connection.execute("CREATE TABLE things (name)")
        connection.execute("INSERT INTO things VALUES ('before')")
        with DaemonContext(detach_process={detach}):
            files = [open(path(f"file-{{number}}"), "w") for number in range(9)]
            connection.execute("INSERT INTO things VALUES ('inside')")
            connection.commit()
        """,
    )
    with sqlite3.connect(daemons.directory / "db") as connection:
        assert connection.execute("SELECT name FROM things").fetchall() == [("before",), ("inside",)]
    assert [each.stat().st_size for each in daemons.directory.glob("file-*")] == [0] * 9


@pytest.mark.parametrize("queued", [False])
def test_a_sink_of_loguru_writes_on(daemons: Daemons, queued: bool) -> None:
    pytest.importorskip("loguru")
    launch(
        daemons,
        f"""
        from loguru import logger
        logger.remove()
        logger.add(path("log"), format="{{message}}", enqueue={queued})
        logger.info("before")
        with DaemonContext(detach_process=True):
            logger.info("inside")
        """,
    )
    assert (daemons.directory / "log").read_text() == "before\ninside\n"


SERVER = """
    import http.server, threading
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", "5")
            self.end_headers()
            self.wfile.write(b"hello")
        def log_message(self, *_):
            pass
"""


def test_a_pool_of_connections_that_was_used_before_is_used_again(daemons: Daemons) -> None:
    """The one that it keeps open is still good."""
    pytest.importorskip("urllib3")
    running = daemons.start(
        SERVER + "    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)\n"
        "    print(server.server_port, flush=True)\n    server.serve_forever()\n"
    )
    port = wait_for(lambda: int(running.stdout or 0), what="the server listens")
    launched = daemons.launch(
        f"""
        import urllib3
        from daemonry import DaemonContext
        from harness.probe import publish
        pool = urllib3.PoolManager()
        before = pool.request("GET", "http://127.0.0.1:{port}").data.decode()
        with DaemonContext(detach_process=True, working_directory="."):
            publish("told", [before, pool.request("GET", "http://127.0.0.1:{port}").data.decode()])
        """
    ).check()
    assert launched.stderr == ""
    assert read_json(daemons.directory / "told") == ["hello", "hello"]
    running.signal(signal.SIGKILL)
    running.wait()


def test_a_server_that_was_bound_before_serves_in_the_daemon(daemons: Daemons) -> None:
    """So that a port which is taken is told at the terminal."""
    assert (
        told(
            daemons,
            SERVER,
            """
        import urllib.request
        server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        with DaemonContext(detach_process=True):
            threading.Thread(target=server.handle_request).start()
            tell(urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}").read().decode())
        """,
        )
        == "hello"
    )


def test_an_event_loop_that_was_made_before_runs_in_the_daemon(daemons: Daemons) -> None:
    """Its selector, what wakes it from other threads and by signals, and a connection that was made with it."""
    assert told(
        daemons,
        """
        import asyncio
        loop = asyncio.new_event_loop()
        ours, theirs = socket.socketpair()
        reader, writer = loop.run_until_complete(asyncio.open_connection(sock=ours))
        seen = []
        async def work():
            theirs.sendall(b"line\\n")
            seen.append((await reader.readline()).decode().strip())
            seen.append(await loop.run_in_executor(None, lambda: "thread"))
            os.kill(os.getpid(), signal.SIGUSR1)
            while "signal" not in seen:
                await asyncio.sleep(0.001)
            tell(seen)
        with DaemonContext(detach_process=True):
            # Before the block it would be lost: since Python 3.12 asyncio forgets its signals at a fork.
            loop.add_signal_handler(signal.SIGUSR1, lambda: seen.append("signal"))
            loop.run_until_complete(work())
        """,
    ) == ["line", "thread", "signal"]


def test_a_listener_of_a_queue_of_records_that_starts_in_the_daemon_finds_its_file(daemons: Daemons) -> None:
    launch(
        daemons,
        """
        import logging.handlers, queue
        waiting = queue.Queue()
        logging.getLogger().addHandler(logging.handlers.QueueHandler(waiting))
        listener = logging.handlers.QueueListener(waiting, logging.FileHandler(path("log")))
        logging.warning("before")
        with DaemonContext(detach_process=True):
            listener.start()
            logging.warning("inside")
            listener.stop()
        """,
    )
    assert (daemons.directory / "log").read_text() == "before\ninside\n"


@pytest.mark.parametrize("kind", ["queue.Queue()", "queue.SimpleQueue()"])
def test_what_a_running_listener_has_yet_to_write_is_written_once_before_the_fork(daemons: Daemons, kind: str) -> None:
    """Its thread ends with the launcher, and so would what it had not written."""
    launch(
        daemons,
        f"""
        import logging.handlers, queue, time, warnings
        class Slow(logging.FileHandler):
            def emit(self, record):
                time.sleep(0.02)
                super().emit(record)
        waiting = {kind}
        logging.getLogger().addHandler(logging.handlers.QueueHandler(waiting))
        listener = logging.handlers.QueueListener(waiting, Slow(path("log")))
        listener.start()
        for number in range(9):
            logging.warning(number)
        warnings.simplefilter("ignore")  # of the thread, which will not run in the daemon
        with DaemonContext(detach_process=True):
            tell(waiting.empty())
        """,
    )
    assert read_json(daemons.directory / "told") is True
    lines = (daemons.directory / "log").read_text().split()
    # What a queue of this kind has handed out to be written is no longer its own.
    assert lines == [str(number) for number in range(9 if "Simple" not in kind else len(lines))]
    assert len(lines) >= 8


def test_shared_memory_is_used_on_by_its_name(daemons: Daemons) -> None:
    """The tracker of multiprocessing, which would remove the name, lives as long as the daemon."""
    pytest.importorskip("_posixshmem")
    first, second, name = told(
        daemons,
        """
        from multiprocessing import resource_tracker
        from multiprocessing.shared_memory import SharedMemory
        memory = SharedMemory(create=True, size=100)
        memory.buf[0] = 7
        with DaemonContext(detach_process=True):
            other = SharedMemory(name=memory.name)
            other.buf[1] = 8
            resource_tracker.ensure_running()
            answer = [other.buf[0], memory.buf[1], memory.name]
            other.close(), memory.close(), memory.unlink()
            tell(answer)
        """,
    )
    assert (first, second) == (7, 8)
    assert not os.path.exists(f"/dev/shm/{name.lstrip('/')}")


def test_the_tracker_of_multiprocessing_removes_what_the_daemon_leaves(daemons: Daemons) -> None:
    pytest.importorskip("_posixshmem")
    name = told(
        daemons,
        """
        from multiprocessing.shared_memory import SharedMemory
        first = SharedMemory(create=True, size=100)
        with DaemonContext(detach_process=True):
            second = SharedMemory(create=True, size=100)
            tell(second.name)
            sys.stderr = None  # the tracker says what it has found
            os._exit(0)
        """,
    )
    wait_for(lambda: not os.path.exists(f"/dev/shm/{name.lstrip('/')}"), what="it is removed")


def test_the_pipes_and_queues_of_multiprocessing_carry_on(daemons: Daemons) -> None:
    assert told(
        daemons,
        """
        import multiprocessing
        reading, writing = multiprocessing.Pipe()
        queue = multiprocessing.SimpleQueue()
        queue.put("before")
        with DaemonContext(detach_process=True):
            writing.send("pipe")
            queue.put("inside")
            tell([reading.recv(), queue.get(), queue.get()])
        """,
    ) == ["pipe", "before", "inside"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="epoll is Linux's")
def test_a_selector_and_a_directory_that_is_being_read_go_on(daemons: Daemons) -> None:
    assert told(
        daemons,
        """
        import selectors
        reading, writing = os.pipe()
        selector = selectors.EpollSelector()
        selector.register(reading, selectors.EVENT_READ)
        entries = os.scandir("/")
        first = next(entries).name
        with DaemonContext(detach_process=True):
            os.write(writing, b"x")
            rest = {each.name for each in entries}
            tell([[key.fd == reading for key, _ in selector.select(5)], rest | {first} == set(os.listdir("/"))])
        """,
    ) == [[True], True]


@pytest.mark.parametrize("given", ["old", "old.fileno()"])
def test_the_report_of_a_crash_goes_to_its_file(daemons: Daemons, given: str) -> None:
    launch(
        daemons,
        f"""
        import faulthandler
        old = open(path("old"), "w")
        faulthandler.enable(file={given})
        with DaemonContext(detach_process=True, stderr=path("errors")):
            new = [open(path(f"new-{{number}}"), "w") for number in range(9)]
            os.kill(os.getpid(), signal.SIGSEGV)
        """,
    )
    assert "Segmentation fault" in (daemons.directory / "old").read_text()
    assert [each.name for each in daemons.directory.glob("new-*") if each.stat().st_size] == []
    assert (daemons.directory / "errors").read_text() == ""


def test_a_wakeup_descriptor_is_written_to(daemons: Daemons) -> None:
    assert (
        told(
            daemons,
            """
        reading, writing = socket.socketpair()
        writing.setblocking(False)
        signal.set_wakeup_fd(writing.fileno())
        with DaemonContext(detach_process=True, signal_map={signal.SIGUSR1: lambda *_: None}):
            os.kill(os.getpid(), signal.SIGUSR1)
            tell(reading.recv(9)[0] == signal.SIGUSR1)
        """,
        )
        is True
    )


COMPRESSED = ("gzip.open", "bz2.open", "lzma.open", "open")


@pytest.mark.parametrize("opened", COMPRESSED)
@pytest.mark.parametrize("named", ["", "files_preserve=[file]"])
def test_what_a_file_holds_is_written_once_whichever_way_it_stays(daemons: Daemons, opened: str, named: str) -> None:
    launch(
        daemons,
        f"""
        import bz2, gzip, lzma
        file = {opened}(path("file"), "wt")
        file.write("before,")
        with DaemonContext(detach_process=True, {named}):
            file.write("inside")
            file.close()
        with {opened}(path("file"), "rt") as again:
            tell(again.read())
        """,
    )
    assert read_json(daemons.directory / "told") == "before,inside"


def test_what_c_code_has_printed_is_the_launchers_word(daemons: Daemons) -> None:
    """Where ctypes is loaded; a thread that waits for input, which stdio has locked, holds nothing up."""
    launched = launch(
        daemons,
        """
        import ctypes, warnings
        library = ctypes.CDLL(None)
        reading, _writing = os.pipe()
        os.dup2(reading, 0)
        threading.Thread(target=library.getchar, daemon=True).start()
        library.printf(b"said by C\\n")
        warnings.simplefilter("ignore")
        with DaemonContext(detach_process=True, stdout=path("log")):
            print("in the daemon", flush=True)
            os._exit(0)
        """,
    )
    assert launched.stdout == "said by C\n"
    assert (daemons.directory / "log").read_text() == "in the daemon\n"


def test_a_second_context_leaves_what_the_daemon_has_opened(daemons: Daemons) -> None:
    """A start has forked this process, but it is the same program that goes on in it."""
    assert (
        told(
            daemons,
            """
        with DaemonContext(detach_process=True):
            file = open(path("file"), "w")
            with DaemonContext(detach_process=False) as second:
                file.write("inside")
                file.close()
                tell(open(path("file")).read())
        """,
        )
        == "inside"
    )


@pytest.mark.parametrize("syslog", ["None", "[]"])
def test_a_start_asks_no_library_for_what_it_has_open(daemons: Daemons, syslog: str) -> None:
    """Nothing is imported for it: neither socket, nor ctypes, nor syslog, where nobody else has."""
    found = daemons.launch(
        f"""
        import os, sys
        from daemonry import DaemonContext
        from daemonry.steps import descriptors
        from daemonry.system import forks
        before = set(sys.modules)
        descriptors.close_unkept(descriptors.resolve({syslog}, (), (), (), lambda _: None, forks.origin(os.getpid())))
        print(sorted(set(sys.modules) - before))
        """,
        plain=True,
    ).check()
    assert found.stdout == "[]\n"
