"""How a daemon tells its launcher: lines of text on a pipe, each written whole; see :mod:`daemonry.launch.messages`."""

from __future__ import annotations

import errno
import os

from ..system import bare
from ..system.closing import above_two, close

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .messages import Cut, Ended, Failed

# Bytes. A line no longer than this is written in one piece (pipe(7): PIPE_BUF is 512 at least), so two threads that
# tell of their progress don't mix, and a signal that ends the start leaves no half of it.
LONGEST_TEXT = 400
# How long, in seconds, a daemon that is told to end may take for its clean-up before it is killed.
GRACE = 5.0
# How long a killed process may take to be gone; longer means uninterruptible sleep.
DYING = 2.0
# What a daemon says to its witness, on the hatch: a byte each.
READY, FAILING = b"r", b"f"


def pipe() -> tuple[int, int]:
    """Make a pipe whose two ends are close-on-exec and above descriptor 2.

    A launcher that was started with one of 0, 1, 2 closed would get a pipe there, and the daemon's streams are put
    over it.
    """
    made = bare.pipe()
    return made if min(made) > 2 else _moved_up(made)


def _moved_up(low: tuple[int, int]) -> tuple[int, int]:
    try:
        reading = above_two(low[0])
        try:
            return reading, above_two(low[1])
        except OSError:
            close(reading)
            raise
    finally:
        close(*low)


class WritingEnd:
    """A pipe's end to write to, closed by itself when nobody is left who reads.

    Once the program has had its way it knows its pipe: a step of the user's own may close every descriptor that it
    doesn't know, and a file opened later gets the number. Nothing of ours must land in that file, nor close it.

    :ivar fd: ``int``, the descriptor, or ``None`` once it is closed.
    """

    def __init__(self, fd: int) -> None:
        self.fd: int | None = fd
        self._pipe: os.stat_result | None = None

    def look_closely(self) -> None:
        """From now on ask before each use whether the descriptor is still ours."""
        if self._pipe is None and self.fd is not None:
            self._pipe = bare.fstat(self.fd)

    def write(self, data: bytes) -> None:
        """Write all of it, to nobody when nobody reads.

        :raises OSError: with EBADF, when the program has closed the descriptor.
        """
        fd = self.fd
        if fd is None:
            return
        if self._pipe is not None and not self._is_ours(fd):
            raise OSError(errno.EBADF, "the program has closed the pipe to its launcher")
        try:
            # Python ignores SIGPIPE, but a program may have given it its default action, as filters do: it would end
            # the daemon because its launcher has been killed.
            if bare.getsignal(bare.SIGPIPE) == bare.SIG_IGN:
                _write_all(fd, data)
            else:
                with _sigpipe_taken_back():
                    _write_all(fd, data)
        except BrokenPipeError:
            self.close()

    def close(self) -> None:
        """Close it; a second time does nothing."""
        fd, self.fd = self.fd, None
        if fd is not None and self._is_ours(fd):
            close(fd)

    def _is_ours(self, fd: int) -> bool:
        try:
            return self._pipe is None or os.path.samestat(bare.fstat(fd), self._pipe)
        except OSError:
            return False


def _write_all(fd: int, data: bytes) -> None:
    while data:
        data = data[bare.write(fd, data) :]


class _sigpipe_taken_back:
    """Hold SIGPIPE off in this thread alone, and take it back if it came; a handler can't be changed in a thread."""

    def __enter__(self) -> None:
        self._before = bare.pthread_sigmask(bare.SIG_BLOCK, {bare.SIGPIPE})

    def __exit__(self, *_exc_info: object) -> None:
        if bare.SIGPIPE not in self._before:
            if bare.SIGPIPE in bare.sigpending():
                bare.sigwait({bare.SIGPIPE})
            bare.pthread_sigmask(bare.SIG_UNBLOCK, {bare.SIGPIPE})


class Reporter(WritingEnd):
    """The daemon's end of the pipe to its launcher.

    A launcher that is gone is no error: nobody is left who would want to know.
    """

    def step(self, name: str) -> None:
        """Tell that the step ``name`` begins."""
        self._tell(b"step " + name.encode())

    def progress(self, text: str) -> None:
        """Tell how far the start has come; line breaks become spaces, and the end of a long text is left out."""
        line = " ".join(text.split()).encode("utf-8", "backslashreplace")[:LONGEST_TEXT]
        self._tell(b"progress " + line.decode("utf-8", "ignore").encode())

    def ready(self) -> None:
        """Tell that the daemon is up, and close the pipe."""
        self._tell(b"ready")
        self.close()

    def failed(self, failure: Failed) -> bool:
        """Tell what stopped the daemon; return whether somebody was there to be told."""
        from . import messages

        try:
            self._tell(messages.line_of_failure(failure))
        except OSError:  # the program has closed the pipe
            return False
        return self.fd is not None

    def ended(self, end: Ended) -> None:
        """Tell how the daemon's process ended; its witness says so."""
        from . import messages

        self._tell(messages.line_of_end(end))

    def cut(self, cut: Cut) -> bool:
        """Tell that the daemon can't speak for itself any more; return whether somebody was there to be told."""
        self._tell(b"cut " + (cut.became or "").encode("utf-8", "backslashreplace"))
        return self.fd is not None

    def _tell(self, line: bytes) -> None:
        self.write(line + b"\n")
