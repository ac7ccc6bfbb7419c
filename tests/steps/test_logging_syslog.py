"""Failures where nobody reads standard error: they go to syslog. The tests give each daemon a /dev/log of its own."""

from __future__ import annotations

import functools
import os
import queue
import re
import socket
import subprocess
import threading
from typing import TYPE_CHECKING

import pytest

from harness.reaper import through
from harness.waiting import read_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.daemons import Daemons, Launched

pytestmark = pytest.mark.root_only("a mount namespace with a /dev/log of its own")

# In a mount namespace of its own: a /dev with the few devices that programs need, and the test's socket as /dev/log.
PRIVATE_LOG = """
    set -e
    mount -t tmpfs tmpfs "$0"
    for each in null zero random urandom full; do
        : > "$0/$each"
        mount --bind "/dev/$each" "$0/$each"
    done
    ln -s /proc/self/fd "$0/fd"
    ln -s "$1" "$0/log"
    mount --move "$0" /dev
    shift
    exec "$@"
    """
MARK, END = b"mark", b"end"
DAEMON_CRITICAL = 3 << 3 | 2

PROGRAM = """
    import logging, os, sys, threading
    import daemonry
    from harness.probe import publish

    def fail():
        raise ValueError("bad value")

    options = {}
    exec(sys.argv[2])
    with daemonry.DaemonContext(**options) as context:
        exec(sys.argv[1])
    """


class Syslog:
    """A program's /dev/log, and what it has sent there."""

    def __init__(self, daemons: Daemons) -> None:
        self._daemons = daemons
        path = str(daemons.directory / "syslog")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(path)
        os.chmod(path, 0o666)
        # Read all the time, as syslogd does: a few messages that nobody has read make every sender wait.
        self._received: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()
        (daemons.directory / "dev").mkdir()
        self.through = ("unshare", "-m", "/bin/sh", "-c", PRIVATE_LOG, str(daemons.directory / "dev"), path)

    def run(self, body: str, set_up: str = "") -> Launched:
        """Run a daemon to its end; its status is the answer's."""
        return self._daemons.start(PROGRAM, body, set_up, through=through(*self.through)).wait()

    def messages(self) -> list[str]:
        """Return what has arrived since the last time."""
        self._send_mark()
        received = iter(functools.partial(self._received.get, timeout=10), MARK)
        return [message.rstrip(b"\n\0").decode() for message in received]

    def _listen(self) -> None:
        while (message := self._socket.recv(65536)) != END:
            self._received.put(message)

    def _send_mark(self, mark: bytes = MARK) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto(mark, self._socket.getsockname())

    def texts(self) -> list[str]:
        """Return the texts alone of what has arrived."""
        return [re.sub(r"^<\d+>.{15} [^:]*: ", "", message) for message in self.messages()]

    def close(self) -> None:
        """Give back what the object holds."""
        self._send_mark(END)
        self._thread.join()
        self._socket.close()


@pytest.fixture
def syslog(daemons: Daemons) -> Iterator[Syslog]:
    """A private /dev/log."""
    log = Syslog(daemons)
    try:
        tried = subprocess.run([*log.through, "true"], check=False, capture_output=True, text=True)
        if tried.returncode:
            pytest.skip(f"this system lets root have no /dev of its own: {tried.stderr.strip()}")
        yield log
    finally:
        log.close()


def test_the_bodys_exception_is_told_with_its_traceback_line_by_line(syslog: Syslog) -> None:
    syslog.run("fail()").check(1)
    messages = syslog.messages()
    assert all(message.startswith(f"<{DAEMON_CRITICAL}>") for message in messages)
    assert not [message for message in messages if "\n" in message]
    texts = [message.partition(": ")[2] for message in messages]
    assert texts[:2] == ["the daemon ends: ValueError: bad value", "Traceback (most recent call last):"]
    assert texts[-1] == "ValueError: bad value"
    assert [text for text in texts if text.endswith(", in fail")]
    assert texts.count("the daemon ends: ValueError: bad value") == 1


def test_it_is_told_to_the_logging_handlers_as_well_once_each(daemons: Daemons, syslog: Syslog) -> None:
    syslog.run("fail()", "logging.basicConfig(filename='log')").check(1)
    assert (daemons.directory / "log").read_text().count("the daemon ends: ValueError: bad value") == 1
    assert syslog.texts().count("the daemon ends: ValueError: bad value") == 1


FAILS_IN_EMIT = """
class Collector(logging.Handler):
    def emit(self, record):
        raise OSError("the collector is down")
logging.getLogger().addHandler(Collector())
"""
FAILS_IN_ITS_FILTER = """
class Picky(logging.Filter):
    def filter(self, record):
        raise OSError("the collector is down")
handler = logging.StreamHandler(open("unused", "w"))
handler.addFilter(Picky())
logging.getLogger().addHandler(handler)
"""
FAILS_BEFORE_ALL = """
def refuse(record):
    raise OSError("the collector is down")
logging.getLogger("daemonry").addFilter(refuse)
"""
BEHIND = "logging.getLogger().addHandler(logging.FileHandler('log'))"


@pytest.mark.parametrize("fails", [FAILS_IN_EMIT, FAILS_IN_ITS_FILTER, FAILS_BEFORE_ALL])
def test_a_handler_that_fails_is_told_of_and_keeps_nobody_from_being_told(
    daemons: Daemons, syslog: Syslog, fails: str
) -> None:
    """The handlers behind it are told, and syslog; the body's exception goes on."""
    text = "the daemon ends: ValueError: bad value"
    syslog.run("fail()", f"{fails}\n{BEHIND}").check(1)
    texts = syslog.texts()
    assert texts[0] == text
    assert texts.count("ValueError: bad value") == 1
    assert texts.count("a logging handler failed in being told of a failure") == 1
    assert "the collector is down" in texts[-1]
    assert (daemons.directory / "log").read_text().count(text) == 1


def test_the_handlers_before_one_that_fails_are_told_once(daemons: Daemons, syslog: Syslog) -> None:
    set_up = f"logging.basicConfig(filename='log')\n{FAILS_IN_EMIT}{FAILS_IN_EMIT}"
    syslog.run("fail()", set_up).check(1)
    assert (daemons.directory / "log").read_text().count("the daemon ends: ValueError: bad value") == 1
    assert syslog.texts().count("a logging handler failed in being told of a failure") == 2


def test_a_threads_failure_is_told_though_a_handler_fails(syslog: Syslog) -> None:
    syslog.run("thread = threading.Thread(target=fail); thread.start(); thread.join()", FAILS_IN_EMIT).check(0)
    assert "ValueError: bad value" in syslog.texts()


@pytest.mark.parametrize("stream", ["'errors'", "open('errors', 'a')"])
def test_nothing_is_told_where_standard_error_is_kept(daemons: Daemons, syslog: Syslog, stream: str) -> None:
    syslog.run("fail()", f"options['stderr'] = {stream}").check(1)
    assert syslog.messages() == []
    assert (daemons.directory / "errors").read_text().endswith("\nValueError: bad value\n")


@pytest.mark.parametrize(
    ("body", "status", "texts"),
    [
        ("pass", 0, []),
        ("sys.exit(3)", 3, []),
        ("sys.exit('the text')", 1, ["the text"]),
        ("sys.exit('a %s and a \\0')", 1, ["a %s and a \\0"]),
        ("sys.exit('two\\nlines')", 1, ["two", "lines"]),
    ],
)
def test_an_exit_is_told_by_its_text(syslog: Syslog, body: str, status: int, texts: list[str]) -> None:
    syslog.run(body).check(status)
    assert syslog.texts() == texts


NO_TEXT = "os.fsdecode(b'caf\\xe9.conf')"


@pytest.mark.parametrize(
    ("body", "first", "last"),
    [
        (
            f"open({NO_TEXT})",
            r"the daemon ends: No such file or directory: caf\udce9.conf",
            r"FileNotFoundError: [Errno 2] No such file or directory: 'caf\udce9.conf'",
        ),
        (f"sys.exit('there is no ' + {NO_TEXT})", r"there is no caf\udce9.conf", r"there is no caf\udce9.conf"),
        (
            f"raise RuntimeError('cannot read ' + {NO_TEXT})",
            r"the daemon ends: RuntimeError: cannot read caf\udce9.conf",
            r"RuntimeError: cannot read caf\udce9.conf",
        ),
    ],
)
def test_a_name_that_is_no_text_is_told_as_an_escape(syslog: Syslog, body: str, first: str, last: str) -> None:
    """It comes of os.listdir() as surrogates, which syslog(3) does not get by way of Python."""
    syslog.run(body).check(1)
    texts = syslog.texts()
    assert (texts[0], texts[-1]) == (first, last)
    assert not [text for text in texts if "UnicodeEncodeError" in text]


def test_threads_and_unraisable_exceptions_are_told_and_the_daemon_goes_on(daemons: Daemons, syslog: Syslog) -> None:
    body = """
thread = threading.Thread(target=fail, name="worker")
thread.start()
thread.join()
class Odd:
    def __del__(self):
        raise KeyError("in del")
Odd()
publish("on", True)
"""
    syslog.run(body, f"options['working_directory'] = {str(daemons.directory)!r}").check(0)
    assert read_json(daemons.directory / "on") is True
    texts = syslog.texts()
    heads = [text for text in texts if "xception" in text]
    assert heads[0] == "uncaught exception in thread worker"
    assert re.fullmatch(r".*xception ignored .*__del__.*", heads[1])
    assert len(heads) == 2
    assert [text for text in texts if text in ("ValueError: bad value", "KeyError: 'in del'")] == [
        "ValueError: bad value",
        "KeyError: 'in del'",
    ]


def test_a_failure_inside_another_root_is_told(daemons: Daemons, syslog: Syslog) -> None:
    """There is no /dev/log in there."""
    syslog.run("fail()", f"options['chroot_directory'] = {str(daemons.jail())!r}; options['uid'] = 'nobody'").check(1)
    texts = syslog.texts()
    assert (texts[0], texts[-1]) == ("the daemon ends: ValueError: bad value", "ValueError: bad value")


def test_a_log_that_cannot_be_reopened_is_told(daemons: Daemons, syslog: Syslog) -> None:
    set_up = "os.mkdir('logs'); options['stdout'] = 'logs/out'; logs = os.path.abspath('logs')"
    syslog.run("os.rename(logs, logs + '.1'); context.reopen_streams()", set_up).check(0)
    assert re.match(r"cannot reopen: .*logs/out", syslog.texts()[0])


USED_BEFORE = """
import syslog
syslog.openlog("my-name", syslog.LOG_PID, syslog.LOG_LOCAL0)
syslog.syslog("before")
lock = options["pidfile"] = daemonry.PIDLockFile("pidfile")
options["working_directory"] = "."
"""
USED_INSIDE = """
files = [open(f"file-{number}", "w") for number in range(4)]
syslog.syslog("inside")
names = [os.path.basename(os.readlink(f"/proc/self/fd/{file.fileno()}")) for file in files]
publish("result", [lock.i_am_locking(), names])
"""


@pytest.mark.parametrize("preserve", [True, False])
def test_a_program_that_talks_to_syslog_before_goes_on_and_no_other_descriptor_is_harmed(
    daemons: Daemons, syslog: Syslog, preserve: bool
) -> None:
    """The C library's connection has a number, which must not become the pidfile's behind its back."""
    syslog.run(USED_INSIDE, f"{USED_BEFORE}\noptions['preserve_logging'] = {preserve}").check(0)
    assert read_json(daemons.directory / "result") == [True, [f"file-{number}" for number in range(4)]]
    before, inside = syslog.messages()
    assert before.endswith("before")
    assert inside.endswith("inside")
    if preserve:
        assert re.fullmatch(r"<134>.{15} my-name\[\d+\]: inside", inside)


def test_the_programs_own_name_in_syslog_is_kept_inside_another_root(daemons: Daemons, syslog: Syslog) -> None:
    set_up = f"{USED_BEFORE}\ndel options['pidfile']; options['chroot_directory'] = {str(daemons.jail())!r}"
    syslog.run("syslog.syslog('inside')", set_up).check(0)
    assert re.fullmatch(r"<134>.{15} my-name\[\d+\]: inside", syslog.messages()[-1])


def test_without_anybody_who_listens_the_daemon_ends_with_status_1_all_the_same(daemons: Daemons) -> None:
    """Where there is no /dev/log the failure can't be told, and telling doesn't hang."""
    empty = daemons.directory / "dev"
    empty.mkdir()
    nobody = ("unshare", "-m", "/bin/sh", "-c", PRIVATE_LOG, str(empty), str(daemons.directory / "nothing"))
    if subprocess.run([*nobody, "true"], check=False, capture_output=True).returncode:
        pytest.skip("this system lets root have no /dev of its own")
    daemons.start(PROGRAM, "fail()", USED_BEFORE, through=through(*nobody)).wait().check(1)
    assert not (daemons.directory / "pidfile").exists()
