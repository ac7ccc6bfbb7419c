"""What ``sys`` calls the three streams, once their descriptors point elsewhere."""

from __future__ import annotations

import sys

from ..errors import ignored
from ..system import forks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO, Any

    from .streams import Stream


# What a name in sys stood for is kept for good. Its descriptor may be closed by now and its number another file's, so
# the object must not be collected: it would close the number.
replaced: list[object] = []
# What has taken their places here, so that no other thread can have its lock.
made: list[object] = []
# A file gets whole lines, also under PYTHONUNBUFFERED: else a log rotation would tear them.
_OF_A_LOG = {"line_buffering": True, "errors": "backslashreplace", "write_through": False}
# A pipe to a manager's log would get them in pieces of some kilobytes, hours later.
_OF_A_MANAGERS = {"line_buffering": True}


def name_in_sys(stream: Stream) -> None:
    current = getattr(sys, stream.name)
    if stream.stand_in is not None:
        rebind(stream.name, stream.stand_in)
    elif not (stream.kept or _writes_to(current, stream)) or _holds_old_input(stream) or may_be_locked(stream):
        rebind(stream.name, _fresh(stream, current))
    elif stream.name != "stdin" and descriptor_of(current) == stream.number:
        behave(current, **(_OF_A_MANAGERS if stream.kept else _OF_A_LOG))


def _writes_to(current: Any, stream: Stream) -> bool:
    if current is None or getattr(current, "closed", False):
        return False
    number = descriptor_of(current)
    # Without a descriptor, it may be the program's own tee or logger: left alone unless the user said where to.
    return number == stream.number if number is not None else not stream.given


def _holds_old_input(stream: Stream) -> bool:
    # What was read ahead from the launcher's standard input is not the daemon's.
    return stream.name == "stdin" and not stream.kept and descriptor_of(sys.stdin) == 0 != stream.source


def may_be_locked(stream: Stream) -> bool:
    return forks.threads_are_lost() and descriptor_of(getattr(sys, stream.name)) == stream.number


def behave(current: Any, **manners: Any) -> None:
    """Give a text file these manners, as ``reconfigure`` takes them, if it has such."""
    # What is held is flushed by it, and a write that fails must not fail the start; see flush_one.
    if hasattr(current, "reconfigure") and any(getattr(current, name) != value for name, value in manners.items()):
        with ignored(ValueError, OSError):
            current.reconfigure(**manners)


def descriptor_of(stream: Any) -> int | None:
    try:
        return int(stream.fileno())
    except (AttributeError, ValueError, OSError, TypeError):
        return None


def _fresh(stream: Stream, current: Any) -> IO[str]:
    mode = "r" if stream.name == "stdin" else "w"
    encoding = getattr(current, "encoding", None) or "utf-8"
    errors = "surrogateescape" if stream.name == "stdin" else "backslashreplace"
    fresh = open(stream.number, mode, buffering=1, encoding=encoding, errors=errors, closefd=False)  # noqa: SIM115
    made.append(fresh)
    return fresh


def rebind(name: str, stream: object) -> None:
    old = getattr(sys, name)
    replaced.append(old)
    setattr(sys, name, stream)
    if forks.threads_are_lost():
        from ..system import other_threads

        other_threads.abandon(old)


def name_original(stream: Stream) -> None:
    """Give a new object to the name by which Python itself comes back to a stream at the exit."""
    name = f"__{stream.name}__"
    original = getattr(sys, name)
    if descriptor_of(original) == stream.number:
        from ..system import other_threads

        other_threads.abandon(original)
        current = getattr(sys, stream.name)
        setattr(sys, name, current if any(current is each for each in made) else _fresh(stream, original))
