"""A fuzzer over all that daemonry reads of strangers, guided by what of the library an input reaches.

For a long run on demand: ``pip install atheris``, then ``python tests/fuzzing/parsers.py -max_total_time=600``, or
another of libFuzzer's flags. It ends with the input for which a parser raised what it doesn't promise, or answered what
can't be.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile

import atheris

with atheris.instrument_imports(include=["daemonry"]):
    from daemonry.control import schedule
    from daemonry.errors import ControlError
    from daemonry.launch import messages
    from daemonry.manager import listen as sd_listen
    from daemonry.manager import notify as sd_notify
    from daemonry.pidfile import PIDFileError
    from daemonry.pidfile.reading import fault_of, is_number_alone, pid_in, writer

_file = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the fuzzer runs


def read_pidfile(data: bytes) -> None:
    """What a file holds is a number that a process can have, or none; nobody is taken for its writer without one."""
    fd = _file.fileno()
    os.ftruncate(fd, 0)
    os.pwrite(fd, data, 0)
    pid = pid_in(fd)
    assert pid is None or 0 < pid < 2**31
    assert writer(fd, "x.pid") in (None, pid)
    is_number_alone(fd)
    with contextlib.suppress(PIDFileError):
        fault_of(fd, "look")


def read_report(data: bytes) -> None:
    """Whatever the daemon's end of the pipe says, in whichever pieces, is a record that no terminal is steered by."""
    reader = messages.Reader()
    cut = data[0] if data else 0
    for piece in (data[:cut], data[cut:], b"\n"):
        for record in reader.feed(piece):
            for value in record.fields().values():
                assert not isinstance(value, str) or value == messages.printable(value)


def read_environment(data: bytes) -> None:
    """What a manager may have put into the environment is believed only where it makes sense."""
    words = data.decode("utf-8", "surrogateescape").replace("\0", "").split("|")
    names = ("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "WATCHDOG_USEC", "WATCHDOG_PID")
    environment = dict(zip(names, words))
    for _, fd in sd_listen.given({**environment, "LISTEN_PID": "77"}, 77):
        assert fd >= 3
    watchdog = sd_notify.manager_at(environment, 77).watchdog
    assert watchdog is None or watchdog > 0


def read_schedule(data: bytes) -> None:
    """A schedule is signals and seconds, or it is refused."""
    with contextlib.suppress(ControlError, ValueError):
        schedule.parse(data.decode("utf-8", "surrogateescape"))


PARSERS = (read_pidfile, read_report, read_environment, read_schedule)


def read_one(data: bytes) -> None:
    """Give the input to the parser that its first byte names."""
    if data:
        PARSERS[data[0] % len(PARSERS)](data[1:])


if __name__ == "__main__":
    atheris.Setup(sys.argv, read_one)
    atheris.Fuzz()
