"""Signal maps: from names to handlers; what was inherited undone; a wish to stop that interrupts nothing."""

from __future__ import annotations

import os
import select
import signal
import time

from .errors import InvalidOption
from .forks import give_up_in_children
from .record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import FrameType
    from typing import Any, Union

    Handler = Union[Callable[[int, Union[FrameType, None]], Any], signal.Handlers]
    Target = Union[Handler, str, None]

# Python sets these to be ignored when it starts, so that a broken pipe and a file that is too large are exceptions.
IGNORED_BY_PYTHON = ("SIGPIPE", "SIGXFSZ", "SIGXFZ")
_NEVER_CAUGHT = ("SIGKILL", "SIGSTOP")


class SignalMap(Record):
    """The handlers to install, by signal number, and how the user named them."""

    handlers: dict[int, Any]
    names: dict[str, str]

    def __str__(self) -> str:
        return ", ".join(f"{name} -> {target}" for name, target in self.names.items()) or "none"


def default_signal_map() -> dict[signal.Signals, Target]:
    """Answer a new copy of the default map: SIGTERM ends the with-block, the terminal's stop signals are ignored.

    Source: PEP 3143, "signal_map".
    """
    ignored: dict[signal.Signals, Target] = {
        getattr(signal, name): None for name in ("SIGTSTP", "SIGTTIN", "SIGTTOU") if hasattr(signal, name)
    }
    return {**ignored, signal.SIGTERM: "terminate"}


def resolve(targets: Mapping[Any, Target], methods: object) -> SignalMap:
    """Answer the handlers that a signal map means.

    :param targets: keys are :class:`signal.Signals`, ints or names ("SIGHUP" or "HUP"); values are ``None`` (ignore),
        a :class:`signal.Handlers`, the name of a method of ``methods``, or a callable.
    :raises InvalidOption: when a key is no signal, or one that can't be caught, or a value is no handler.
    """
    try:
        items = list(targets.items())
    except AttributeError as error:
        raise InvalidOption("signal_map", f"must be a mapping, not {targets!r}") from error
    handlers: dict[int, Any] = {}
    names: dict[str, str] = {}
    for key, target in items:
        number = _number_of(key)
        if number in handlers:
            raise InvalidOption("signal_map", f"{name_of(number)} is given twice")
        handlers[number] = _handler_of(key, target, methods)
        names[name_of(number)] = _description_of(target)
    return SignalMap(handlers=handlers, names=names)


def _number_of(key: Any) -> int:
    number = key
    if isinstance(key, str):
        name = key.upper()
        number = getattr(signal, name if name.startswith("SIG") else f"SIG{name}", None)
    if isinstance(number, bool) or not isinstance(number, int) or number not in signal.valid_signals():
        raise InvalidOption("signal_map", f"{key!r} is no signal of this system")
    if name_of(number) in _NEVER_CAUGHT:
        raise InvalidOption("signal_map", f"{name_of(number)} can't be caught or ignored")
    return int(number)


def name_of(number: int) -> str:
    """Answer the name of a signal, such as "SIGTERM"; "signal 35" for one without a name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _handler_of(key: object, target: Target, methods: object) -> Any:
    if target is None:
        return signal.SIG_IGN
    if isinstance(target, str):
        handler = getattr(methods, target, None)
        if not callable(handler):
            raise InvalidOption("signal_map", f"{key!r}: {target!r} is no method of {type(methods).__name__}")
        return handler
    if isinstance(target, signal.Handlers) or callable(target):
        return target
    raise InvalidOption("signal_map", f"{key!r}: {target!r} is no handler")


def _description_of(target: Any) -> str:
    if target is None:
        return "ignored"
    if isinstance(target, signal.Handlers):
        return {signal.SIG_IGN: "ignored", signal.SIG_DFL: "default action"}[target]
    return str(target if isinstance(target, str) else getattr(target, "__qualname__", repr(target)))


def reset(stop: Callable[[int, FrameType | None], Any]) -> Callable[[], None]:
    """Undo what was inherited: an empty mask, and no signal ignored but those that Python ignores by itself.

    Handlers that the program installed stay. SIGTERM calls ``stop`` from now on unless the program has its own
    handler, for its default action would end the process with nothing cleaned up.

    Answer the function that puts everything back.
    """
    before = dict(_set_all(_inherited_ignored()))
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        before.setdefault(signal.SIGTERM, signal.signal(signal.SIGTERM, stop))
    mask = signal.pthread_sigmask(signal.SIG_SETMASK, ())

    def put_back() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        _put_back(before)

    return put_back


def _inherited_ignored() -> Iterable[tuple[int, Any]]:
    for number in signal.valid_signals():
        name = name_of(number)
        if signal.getsignal(number) is signal.SIG_IGN and name not in (*IGNORED_BY_PYTHON, *_NEVER_CAUGHT):
            yield number, signal.default_int_handler if name == "SIGINT" else signal.SIG_DFL


def install(signals: SignalMap) -> Callable[[], None]:
    """Install the handlers of the map; answer the function that puts the earlier ones back."""
    before = dict(_set_all(signals.handlers.items()))
    return lambda: _put_back(before)


def _set_all(handlers: Iterable[tuple[int, Any]]) -> Iterable[tuple[int, Any]]:
    for number, handler in handlers:
        yield number, signal.signal(number, handler)


def _put_back(before: Mapping[int, Any]) -> None:
    for number, handler in before.items():
        # None: it was installed from outside Python, and Python can't name it.
        if handler is not None:
            signal.signal(number, handler)


class StopWish:
    """The wish to stop: made in a handler or a thread, noticed by the one who sleeps in :meth:`wait`.

    Not a :class:`threading.Event`: its ``set`` takes a lock that the interrupted ``wait`` may hold, and a handler that
    waits for it would wait for ever.
    """

    def __init__(self) -> None:
        self.made = False
        self._pipe: tuple[int, int] | None = None

    def make(self) -> None:
        """Make the wish; it stays made."""
        self.made = True
        if self._pipe is not None:
            try:
                os.write(self._pipe[1], b"s")
            except BlockingIOError:  # full of earlier wishes: the sleeper wakes all the same
                return

    def wait(self, seconds: float | None) -> bool:
        """Sleep for ``seconds``, ``None`` for as long as it takes; answer at once, and true, when the wish is made."""
        if not self.made:
            poll = select.poll()
            poll.register(self._reading_end(), select.POLLIN)
            # Asked again after the pipe is there: a handler that ran in between had no pipe to write to.
            if not self.made:
                _poll_for(poll, seconds)
        return self.made

    @property
    def descriptors(self) -> tuple[int, ...]:
        """The descriptors of the pipe, if there is one yet."""
        return self._pipe or ()

    def _reading_end(self) -> int:
        if self._pipe is None:
            pipe = os.pipe()
            os.set_blocking(pipe[1], False)
            self._pipe = pipe
            give_up_in_children(self)
        return self._pipe[0]

    def give_up(self) -> None:
        """Close the pipe: a child that kept it would wake its parent, and be woken in its stead."""
        pipe, self._pipe = self._pipe, None
        for end in pipe or ():
            os.close(end)


def _poll_for(poll: select.poll, seconds: float | None) -> None:
    if seconds is None:
        poll.poll()
        return
    # poll(2) takes an int of milliseconds, which is 24 days at most.
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        if poll.poll(min(left, 86_400) * 1000):
            return
