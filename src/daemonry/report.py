"""What a daemon tells its launcher: lines of text on a pipe, written and read here only."""

from __future__ import annotations

import errno
import os

from . import bare
from .closing import above_two, close
from .record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

# Bytes. A line no longer than this is written in one piece (pipe(7): PIPE_BUF is 512 at least), so two threads that
# tell of their progress don't mix, and a signal that ends the start leaves no half of it.
LONGEST_TEXT = 400
# Bytes of a line that a launcher holds at most; a failure with a long traceback takes a hundredth of it.
LONGEST_LINE = 2**20


class Step(Record):
    """The daemon begins the step ``name``."""

    name: str


class Progress(Record):
    """The daemon says how far it is."""

    text: str


class Ready(Record):
    """The daemon is up."""


class Failed(Record):
    """An exception stopped the daemon."""

    step: str
    message: str
    errno: int | None = None
    status: int | None = None
    traceback: str | None = None
    of_program: bool = False
    """Whether that is the program's own code, which is to be shown."""
    locked: str | None = None
    pid: int | None = None


class Cut(Record):
    """The daemon still runs, and nobody has the end of the pipe any more by which it would say that it is ready."""

    became: str | None = None
    """The name of the program that the daemon has become, ``None`` if it has closed the pipe itself."""


class Ended(Record):
    """The daemon's process has ended before it was ready: by itself with ``status``, or by the signal ``signum``."""

    status: int | None = None
    signum: int | None = None
    survivors: tuple[str, ...] = ()


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
        if not self._is_ours(fd):
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


class Reporter:
    """The daemon's end of the pipe.

    A launcher that is gone is no error: nobody is left who would want to know.
    """

    def __init__(self, fd: int) -> None:
        self._end = WritingEnd(fd)

    @property
    def fd(self) -> int | None:
        """The descriptor, or ``None`` once it is closed."""
        return self._end.fd

    def look_closely(self) -> None:
        """From now on ask before each word whether the pipe is still ours."""
        self._end.look_closely()

    def step(self, name: str) -> None:
        """Tell that the step ``name`` begins."""
        self._write(b"step " + name.encode())

    def progress(self, text: str) -> None:
        """Tell how far the start has come; line breaks become spaces, and the end of a long text is left out."""
        line = " ".join(text.split()).encode("utf-8", "backslashreplace")[:LONGEST_TEXT]
        self._write(b"progress " + line.decode("utf-8", "ignore").encode())

    def ready(self) -> None:
        """Tell that the daemon is up, and close the pipe."""
        self._write(b"ready")
        self._end.close()

    def failed(self, failure: Failed) -> bool:
        """Tell what stopped the daemon; answer whether somebody was there to be told."""
        try:
            self._write(_fitting(failure))
        except OSError:  # the program has closed the pipe
            return False
        return self._end.fd is not None

    def ended(self, end: Ended) -> None:
        """Tell how the daemon's process ended; its witness says so."""
        self._write(b"ended " + (_json_line(end) if end.survivors else _line_of_end(end)))

    def cut(self, cut: Cut) -> bool:
        """Tell that the daemon can't speak for itself any more; answer whether somebody was there to be told."""
        self._write(b"cut " + (cut.became or "").encode("utf-8", "backslashreplace"))
        return self._end.fd is not None

    def give_up(self) -> None:
        """Close the pipe."""
        self._end.close()

    def _write(self, line: bytes) -> None:
        self._end.write(line + b"\n")


def prepare() -> None:
    """Import what telling of a failure takes, for a process that can't find its modules any more when it fails."""
    import json  # noqa: F401


def _json_line(record: Record) -> bytes:
    import json

    return json.dumps(record.fields()).encode("ascii", "backslashreplace")


def _line_of_end(end: Ended) -> bytes:
    # By hand: to load json in each witness of a start that is refused would take longer than all else that it does.
    told = ["null" if number is None else str(number) for number in (end.status, end.signum)]
    return '{{"status": {}, "signum": {}}}'.format(*told).encode()


def _fitting(failure: Failed) -> bytes:
    """Return the line that tells of a failure, so much of it as the launcher reads."""
    line, most = b"failed " + _json_line(failure), LONGEST_LINE
    while len(line) > LONGEST_LINE and most:
        most //= 2
        shorter = {name: _cut(getattr(failure, name), most) for name in ("message", "traceback")}
        line = b"failed " + _json_line(Failed(**{**failure.fields(), **shorter}))
    return line


def _cut(text: str | None, most: int) -> str | None:
    """Return the beginning and the end of a long text: what it is about, and what came of it."""
    if text is None or len(text) <= most:
        return text
    half = most // 2
    return f"{text[:half]} … {text[len(text) - half :]}"


class Reader:
    """The launcher's end of the pipe.

    What it reads is not trusted: the daemon may have lost rights that the launcher still has.
    """

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[Record]:
        """Take what was read from the pipe; yield what the lines that it completes say."""
        *lines, rest = (self._rest + data).split(b"\n")
        self._rest = rest[:LONGEST_LINE]
        for line in lines:
            record = parse(line)
            if record is not None:
                yield record


def parse(line: bytes) -> Record | None:
    """Return what one line says, or ``None`` when it says nothing that we know."""
    kind, _, rest = line.partition(b" ")
    if kind == b"step":
        return Step(name=printable(rest.decode("utf-8", "replace")))
    if kind == b"progress":
        return Progress(text=printable(rest.decode("utf-8", "replace")))
    if kind == b"ready":
        return Ready()
    if kind == b"cut":
        return Cut(became=printable(rest.decode("utf-8", "replace")) or None)
    if kind in (b"failed", b"ended"):
        return _parse_json(kind, rest)
    return None


def _parse_json(kind: bytes, rest: bytes) -> Record | None:
    import json

    try:
        told = json.loads(rest)
    except (ValueError, RecursionError):
        return None
    if not isinstance(told, dict):
        return None
    if kind == b"ended":
        return Ended(
            status=_number(told, "status"), signum=_number(told, "signum"), survivors=_texts(told, "survivors")
        )
    return Failed(
        step=_text(told, "step") or "unknown",
        message=_text(told, "message") or "it did not say why",
        errno=_number(told, "errno"),
        status=_number(told, "status"),
        traceback=_text(told, "traceback"),
        of_program=told.get("of_program") is True,
        locked=_text(told, "locked"),
        pid=_number(told, "pid"),
    )


def _number(told: dict[str, Any], name: str) -> int | None:
    value = told.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _text(told: dict[str, Any], name: str) -> str | None:
    value = told.get(name)
    return printable(value) if isinstance(value, str) else None


def _texts(told: dict[str, Any], name: str) -> tuple[str, ...]:
    values = told.get(name)
    return tuple(printable(value) for value in values if isinstance(value, str)) if isinstance(values, list) else ()


def printable(text: str) -> str:
    """Return the text with what could steer a terminal, but for line breaks and tabs, written as an escape."""
    return "".join(
        character
        if character.isprintable() or character in "\n\t"
        else character.encode("unicode_escape").decode("ascii")
        for character in text
    )
