"""Signal maps: from names to handlers; what was inherited undone; a wish to stop that interrupts nothing."""

from __future__ import annotations

import os
import select
import sys
import time

from ..errors import InvalidOption, ignored
from ..system import bare
from ..system.closing import close
from ..system.forks import give_up_in_children
from ..system.record import Record
from ..system.undisturbed import EVERY_SIGNAL

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Iterable, Mapping
    from types import FrameType
    from typing import Any, Union

    Handler = Union[Callable[[int, Union[FrameType, None]], Any], signal.Handlers]
    Target = Union[Handler, str, None]

# Python sets these to be ignored when it starts, so that a broken pipe and a file that is too large are exceptions.
IGNORED_BY_PYTHON = ("SIGPIPE", "SIGXFSZ", "SIGXFZ")
_NEVER_CAUGHT = ("SIGKILL", "SIGSTOP")
# See the module inspect, CO_VARARGS.
_TAKES_ANY_NUMBER = 0x04


class SignalMap(Record):
    """The handlers to install, by signal number, and how the user named them."""

    handlers: dict[int, Any]
    names: dict[str, str]

    def __str__(self) -> str:
        return ", ".join(f"{name} -> {target}" for name, target in self.names.items()) or "none"


def default_signal_map() -> dict[int, Target]:
    """Return a new copy of the default map: SIGTERM ends the with-block, the terminal's stop signals are ignored.

    Source: PEP 3143, "signal_map".
    """
    ignored: dict[int, Target] = {
        bare.SIGNALS[name]: None for name in ("SIGTSTP", "SIGTTIN", "SIGTTOU") if name in bare.SIGNALS
    }
    return {**ignored, bare.SIGTERM: "terminate"}


def resolve(targets: Mapping[Any, Target], methods: object) -> SignalMap:
    """Return the handlers that a signal map means.

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
            raise InvalidOption("signal_map", f"{name_of(number)} is given twice: leave one out")
        handlers[number] = _handler_of(key, target, methods)
        names[name_of(number)] = _description_of(target)
    return SignalMap(handlers=handlers, names=names)


def _number_of(key: Any) -> int:
    number = key
    if isinstance(key, str):
        name = key.upper()
        number = bare.SIGNALS.get(name if name.startswith("SIG") else f"SIG{name}")
    # All these are ints, and signal.SIG_IGN would mean SIGHUP.
    is_other = isinstance(number, bool) or _is_a("Handlers", number) or _is_a("Sigmasks", number)
    if is_other or not isinstance(number, int) or number not in EVERY_SIGNAL:
        near = _near(str(key).upper(), bare.SIGNALS)
        raise InvalidOption("signal_map", f"{key!r} is no signal of this system{near or ', such as SIGHUP'}")
    if name_of(number) in _NEVER_CAUGHT:
        raise InvalidOption("signal_map", f"{name_of(number)} can't be caught or ignored: leave it out")
    return int(number)


def _is_a(kind: str, value: object) -> bool:
    """Whether it is of a kind of the module signal's; who has one has loaded that."""
    return isinstance(value, getattr(sys.modules.get("signal"), kind, ()))


def name_of(number: int) -> str:
    """Return the name of a signal, such as "SIGTERM"; "signal 35" for one without a name."""
    return bare.SIGNAL_NAMES.get(number) or f"signal {number}"


def _handler_of(key: object, target: Target, methods: object) -> Any:
    if target is None:
        return bare.SIG_IGN
    if isinstance(target, str):
        handler = getattr(methods, target, None)
        if not callable(handler):
            near = _near(target, dir(methods)) or ", such as terminate"
            raise InvalidOption("signal_map", f"{key!r}: {target!r} is no method of {type(methods).__name__}{near}")
        _require_two_arguments(key, target, handler)
        return handler
    if _is_a("Handlers", target):
        return int(target)  # type: ignore[arg-type]
    if callable(target):
        _require_two_arguments(key, _description_of(target), target)
        return target
    raise InvalidOption(
        "signal_map", f"{key!r}: {target!r} is no handler: give a function, a method's name, or None to ignore it"
    )


def _near(name: str, names: Iterable[str]) -> str:
    from difflib import get_close_matches

    found = get_close_matches(name, names, n=1)
    return f", did you mean {found[0]}?" if found else ""


# Not by the module inspect, which would make a start dearer by half.
def _require_two_arguments(key: object, name: str, handler: Any) -> None:
    """Refuse a function that can't be called as handlers are; others than Python's own can't be asked."""
    is_bound = isinstance(handler, type(StopWish().make))
    function = handler.__func__ if is_bound else handler
    if type(function) is type(name_of) and not _takes(function, 3 if is_bound else 2):
        advice = "give it two parameters, such as (signum, frame)"
        raise InvalidOption("signal_map", f"{key!r}: {name} can't be called with a number and a frame: {advice}")


def _takes(function: Any, given: int) -> bool:
    """Whether a function of Python's can be called with so many positional arguments."""
    code = function.__code__
    least = code.co_argcount - len(function.__defaults__ or ())
    most = given if code.co_flags & _TAKES_ANY_NUMBER else code.co_argcount
    named = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
    return least <= given <= most and not {*named} - {*(function.__kwdefaults__ or ())}


def _description_of(target: Any) -> str:
    if target is None:
        return "ignored"
    if _is_a("Handlers", target):
        return {bare.SIG_IGN: "ignored", bare.SIG_DFL: "default action"}[target]
    return str(target if isinstance(target, str) else getattr(target, "__qualname__", repr(target)))


class Reset(Record):
    """What undoes the dispositions that were inherited: the handler for each signal that was."""

    handlers: dict[int, Any]

    def __str__(self) -> str:
        undone = ", ".join(map(name_of, self.handlers))
        return f"mask empty, no longer ignored: {undone or 'none'}"


def resolve_reset() -> Reset:
    """Return what has to be undone: no signal stays ignored but those that Python ignores by itself."""
    ignored_now = [number for number in EVERY_SIGNAL if bare.getsignal(number) == bare.SIG_IGN]
    kept = (*IGNORED_BY_PYTHON, *_NEVER_CAUGHT)
    undone = {number: bare.SIG_DFL for number in sorted(ignored_now) if name_of(number) not in kept}
    if bare.SIGINT in undone:
        undone[bare.SIGINT] = bare.default_int_handler
    return Reset(handlers=undone)


def reset(resolved: Reset, stop: Callable[[int, FrameType | None], Any]) -> Callable[[], None]:
    """Undo what was inherited, and empty the mask.

    Handlers that the program installed stay. SIGTERM calls ``stop`` from now on unless the program has its own
    handler, for its default action would end the process with nothing cleaned up.

    Return the function that puts the handlers back.
    """
    handlers = dict(resolved.handlers)
    if bare.SIG_DFL in (bare.getsignal(bare.SIGTERM), handlers.get(bare.SIGTERM)):
        handlers[bare.SIGTERM] = stop
    put_handlers_back = _set_all(handlers)
    try:
        bare.pthread_sigmask(bare.SIG_SETMASK, ())
    except BaseException:  # a signal that had been held off ends the start
        put_handlers_back()
        raise
    return put_handlers_back


def mask_to_put_back() -> Callable[[], object]:
    """Return the function that puts the mask back as it is now."""
    before = bare.pthread_sigmask(bare.SIG_BLOCK, ())
    return lambda: bare.pthread_sigmask(bare.SIG_SETMASK, before)


def install(signals: SignalMap) -> Callable[[], None]:
    """Install the handlers of the map; return the function that puts the earlier ones back."""
    return _set_all(signals.handlers)


def _set_all(handlers: Mapping[int, Any]) -> Callable[[], None]:
    before: dict[int, Any] = {}
    try:
        for number, handler in handlers.items():
            if bare.getsignal(number) != handler:
                before[number] = bare.signal(number, handler)
    except BaseException:
        _put_back(before)
        raise
    return lambda: _put_back(before)


def _put_back(before: Mapping[int, Any]) -> None:
    for number, handler in before.items():
        # None: it was installed from outside Python, and Python can't name it.
        if handler is not None:
            bare.signal(number, handler)


class StopWish:
    """The wish to stop: made in a handler or a thread, noticed by the one who sleeps in :meth:`wait`.

    Not a :class:`threading.Event`: its ``set`` takes a lock that the interrupted ``wait`` may hold, and a handler that
    waits for it would wait for ever.
    """

    def __init__(self) -> None:
        self.made = False
        # "wish" is never read, so that it wakes everyone who sleeps. "signals" wakes the main thread.
        self._pipes: dict[str, tuple[int, int]] = {}

    def make(self) -> None:
        """Make the wish; it stays made."""
        self.made = True
        if "wish" in self._pipes:
            with ignored(BlockingIOError):  # full of earlier wishes: the sleeper wakes all the same
                bare.write(self._pipes["wish"][1], b"s")  # in a handler nothing may wait

    def wait(self, seconds: float | None) -> bool:
        """Sleep for ``seconds``, ``None`` for as long as it takes; return at once, and true, when the wish is made."""
        deadline = float("inf") if seconds is None else time.monotonic() + seconds
        while not self.made and (left := deadline - time.monotonic()) > 0:
            # poll(2) takes an int of milliseconds, which is 24 days at most.
            self._sleep(min(left, 86_400))
        return self.made

    # Python runs a handler between two of its own instructions, so one whose signal arrives just before poll(2) begins
    # would be run when that ends. The wake-up descriptor is written to by the kernel's own call of the handler.
    def _sleep(self, seconds: float) -> None:
        wish = self._pipe("wish")[0]
        reading, writing = self._pipe("signals")
        try:
            before = bare.set_wakeup_fd(writing, warn_on_full_buffer=False)
        except ValueError:  # another thread than the main one, to which no signal comes
            _await((wish,), seconds)
            return
        try:
            # Asked again now that all is set up: a handler that ran before had nothing to write to.
            if not self.made:
                _await((wish, reading), seconds)
            self._drain()
        finally:
            bare.set_wakeup_fd(before)

    def _drain(self) -> None:
        # Asked for again: a handler may have forked, and this may be the child, where the number is another file's.
        if "signals" in self._pipes:
            with ignored(BlockingIOError):
                while bare.read(self._pipes["signals"][0], 512):
                    pass

    @property
    def descriptors(self) -> tuple[int, ...]:
        """The descriptors of the pipes that there are yet."""
        return tuple(end for pipe in self._pipes.values() for end in pipe)

    def _pipe(self, name: str) -> tuple[int, int]:
        if name not in self._pipes:
            new = _non_blocking_pipe()
            # Another thread may have been quicker.
            if self._pipes.setdefault(name, new) != new:
                _close(new)
            give_up_in_children(self)
        return self._pipes[name]

    def forget(self) -> None:
        """Take the wish back."""
        self.made = False
        self.give_up()

    def give_up(self) -> None:
        """Close the pipes: a child that kept them would wake its parent, and be woken in its stead."""
        pipes, self._pipes = self._pipes, {}
        if "signals" in pipes:
            current = bare.set_wakeup_fd(-1)
            if current != pipes["signals"][1]:
                bare.set_wakeup_fd(current)
        for pipe in pipes.values():
            _close(pipe)


def _await(numbers: tuple[int, ...], seconds: float) -> None:
    """Wait until one of the descriptors can be read.

    By what the program has in the places of these: under gevent and eventlet its other tasks go on meanwhile.
    """
    if not hasattr(select, "poll"):  # eventlet takes it away
        select.select(numbers, (), (), seconds)
        return
    poll = select.poll()
    for number in numbers:
        poll.register(number, select.POLLIN)
    poll.poll(seconds * 1000)


def _non_blocking_pipe() -> tuple[int, int]:
    pipe = os.pipe()
    for end in pipe:
        os.set_blocking(end, False)
    return pipe


def _close(pipe: tuple[int, int]) -> None:
    for end in pipe:
        close(end)
