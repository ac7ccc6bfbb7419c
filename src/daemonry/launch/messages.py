"""What the processes of a start say to each other that is more than a word: records, the lines for them, and back."""

from __future__ import annotations

from ..system.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

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


def prepare() -> None:
    """Import what telling of a failure takes, for a process that can't find its modules any more when it fails."""
    import json  # noqa: F401


def _json_line(record: Record) -> bytes:
    import json

    return json.dumps(record.fields()).encode("ascii", "backslashreplace")


def line_of_end(end: Ended) -> bytes:
    """Return the line that tells how the daemon's process ended."""
    if end.survivors:
        return b"ended " + _json_line(end)
    # By hand: to load json in each witness of a start that is refused would take longer than all else that it does.
    told = ["null" if number is None else str(number) for number in (end.status, end.signum)]
    return b"ended " + '{{"status": {}, "signum": {}}}'.format(*told).encode()


def line_of_failure(failure: Failed) -> bytes:
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
