"""Descriptors are closed and put in place whatever interrupts it."""

from __future__ import annotations

import errno
import os
import shutil
from typing import TYPE_CHECKING

import pytest

from daemonry.system.closing import close, put

if TYPE_CHECKING:
    from harness.daemons import Daemons

strace = pytest.mark.skipif(shutil.which("strace") is None, reason="strace lets the calls fail; it is not installed")


def test_they_are_closed_and_only_a_number_that_is_none_is_an_error() -> None:
    one, other = os.pipe()
    close(one, other)
    for number in (one, other):
        with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
            close(number)


def test_a_copy_is_inherited_if_it_shall_be() -> None:
    one, other = os.pipe()
    for inheritable in (True, False):
        put(one, other, inheritable=inheritable)
        assert os.path.samestat(os.fstat(one), os.fstat(other))
        assert os.get_inheritable(other) is inheritable
    close(one, other)


@strace
@pytest.mark.parametrize("error", ["EINTR", "EIO", "ENOSPC", "EDQUOT"])
def test_a_close_that_fails_has_closed(daemons: Daemons, error: str) -> None:
    assert failing(daemons, "close", error, "close(fd)") == "gone\n"


@strace
@pytest.mark.parametrize("error", ["EINTR", "EBUSY"])
def test_a_copy_that_is_interrupted_is_made(daemons: Daemons, error: str) -> None:
    assert failing(daemons, "dup2", error, "put(fd, 0, True)") == "gone\n"


def failing(daemons: Daemons, call: str, error: str, what: str) -> str:
    """Let the next call of that name fail; return what the program says when it has gone on."""
    return (
        daemons.launch(
            f"""
        import os, subprocess
        from daemonry.system.closing import close, put
        fd = os.open("/dev/null", os.O_RDONLY)
        # Not before Popen is done, which closes something itself.
        command = ["sh", "-c", 'read go && exec "$@"', "sh"]
        command += ["strace", "-o", "trace", "-p", str(os.getpid()), "-e", "trace={call}"]
        command += ["-e", "inject={call}:error={error}:when=1"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as tracer:
            os.write(tracer.stdin.fileno(), b"go\\n")
            assert b"attached" in tracer.stderr.readline()
            {what}
            tracer.terminate()
        assert "(INJECTED)" in open("trace").read()
        print("gone")
        """
        )
        .check()
        .stdout
    )
