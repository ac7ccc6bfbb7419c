"""Signal maps: what the keys and values mean, what is refused, what is installed."""

from __future__ import annotations

import functools
import os
import signal
import unittest.mock
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemonry import DaemonContext, DaemonStartError, InvalidOption, default_signal_map
from daemonry.steps import signals
from harness.probe import facts_of
from harness.shown import shown
from harness.waiting import read_json, wait_for

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.daemons import Daemons

NEVER_CAUGHT = {signal.SIGKILL, signal.SIGSTOP}
NAMED = sorted(set(signal.Signals) - NEVER_CAUGHT)
CATCHABLE = sorted(set(signal.valid_signals()) - NEVER_CAUGHT)


def handlers_of(signal_map: Mapping[Any, Any]) -> dict[int, Any]:
    """Return what a map means, by number."""
    return signals.resolve(signal_map, DaemonContext()).handlers


def refusal_of(signal_map: Any) -> InvalidOption:
    """Return the error with which a context refuses a map."""
    with pytest.raises(InvalidOption) as caught:
        DaemonContext(signal_map=signal_map).plan()
    assert caught.value.option == "signal_map"
    return caught.value


@given(st.sampled_from(NAMED), st.booleans())
def test_every_spelling_of_a_signal_means_its_number(number: signal.Signals, lower: bool) -> None:
    names = [name.lower() if lower else name for name in (number.name, number.name[3:])]
    for key in (number, int(number), *names):
        assert handlers_of({key: None}) == {int(number): signal.SIG_IGN}


@pytest.mark.parametrize("number", [signal.SIGRTMIN, signal.SIGRTMIN + 1, signal.SIGRTMAX - 1, signal.SIGRTMAX])
def test_a_real_time_signal_is_a_key_by_number(number: int) -> None:
    assert handlers_of({number: signal.SIG_DFL}) == {int(number): signal.SIG_DFL}


def test_old_names_of_a_signal_are_names_too() -> None:
    assert handlers_of({"SIGCLD": signal.SIG_DFL}) == handlers_of({"CHLD": signal.SIG_DFL})


@given(st.dictionaries(st.sampled_from(CATCHABLE), st.sampled_from([None, signal.SIG_DFL, print, "terminate"])))
def test_the_given_map_is_the_map_and_is_not_changed(given_map: dict[int, Any]) -> None:
    before = dict(given_map)
    assert set(handlers_of(given_map)) == set(given_map)
    assert given_map == before


def test_values_mean_ignoring_a_disposition_a_method_or_a_callable() -> None:
    context = DaemonContext()
    partial = functools.partial(print, "a signal")
    resolved = signals.resolve(
        {
            "HUP": "reopen_streams",
            "USR1": partial,
            "USR2": None,
            "TTIN": signal.SIG_DFL,
            "TTOU": signal.SIG_IGN,
            "TERM": context.request_stop,
        },
        context,
    )
    assert resolved.handlers == {
        signal.SIGHUP: context.reopen_streams,
        signal.SIGUSR1: partial,
        signal.SIGUSR2: signal.SIG_IGN,
        signal.SIGTTIN: signal.SIG_DFL,
        signal.SIGTTOU: signal.SIG_IGN,
        signal.SIGTERM: context.request_stop,
    }


def test_a_method_of_a_subclass_is_a_handler() -> None:
    class Context(DaemonContext):
        def reload(self, signum: int, frame: object) -> None:
            pass

    context = Context(signal_map={"HUP": "reload"})
    (step,) = (step for step in context.plan() if step.name == "install_signal_handlers")
    assert step.value is not None
    assert step.value.handlers == {signal.SIGHUP: context.reload}  # type: ignore[attr-defined]


def test_any_mapping_is_a_map() -> None:
    assert handlers_of(MappingProxyType({"HUP": None})) == {signal.SIGHUP: signal.SIG_IGN}


@pytest.mark.parametrize(
    "key",
    [
        *("SIGNONE", "", "SIG", "S", " TERM", "TERM\0", "15", "SIGRTMIN+1"),
        *("SIG_IGN", "SIG_DFL", "SIG_BLOCK", "SIG_SETMASK", "_IGN"),
        *(signal.SIG_IGN, signal.SIG_BLOCK, signal.SIG_SETMASK),
        *(0, -1, 65, 10**30, True, False, None, 15.0, b"TERM", ("TERM",), object),
    ],
    ids=repr,
)
def test_a_key_that_is_no_signal_is_refused_by_its_name(key: object) -> None:
    assert repr(key) in str(refusal_of({key: None}))


@pytest.mark.parametrize("key", ["KILL", "SIGKILL", signal.SIGKILL, 9, "STOP", signal.SIGSTOP])
def test_a_signal_that_cannot_be_caught_is_refused(key: object) -> None:
    for value in (None, signal.SIG_DFL, print):
        assert "can't be caught or ignored" in str(refusal_of({key: value}))


@given(st.sampled_from(NAMED), st.data())
def test_a_signal_given_twice_is_refused(number: signal.Signals, data: st.DataObject) -> None:
    spellings = [int(number), number.name, number.name[3:], number.name.lower()]
    first, second = data.draw(st.permutations(spellings))[:2]
    assert f"{number.name} is given twice" in str(refusal_of({first: None, second: "terminate"}))


@pytest.mark.parametrize(
    "value",
    ["no_such_method", "", "umask", "signal_map", "steps", 0, 1, True, False, 15, signal.SIGTERM, 1.5, [], ()],
    ids=repr,
)
def test_a_value_that_is_no_handler_is_refused_by_its_name(value: object) -> None:
    assert repr(value) in str(refusal_of({"HUP": value}))


@pytest.mark.parametrize("given_map", [["HUP"], "HUP", 1, {"HUP"}, [("HUP", None)], object()], ids=shown)
def test_what_is_no_mapping_is_refused(given_map: object) -> None:
    assert "must be a mapping" in str(refusal_of(given_map))


def test_the_default_map_is_a_fresh_copy_each_time() -> None:
    extended = default_signal_map()
    extended[signal.SIGHUP] = "reopen_streams"
    assert default_signal_map() is not default_signal_map()
    assert default_signal_map() == {
        signal.SIGTSTP: None,
        signal.SIGTTIN: None,
        signal.SIGTTOU: None,
        signal.SIGTERM: "terminate",
    }
    contexts = DaemonContext(), DaemonContext()
    contexts[0].signal_map["HUP"] = None
    assert contexts[1].signal_map == default_signal_map()


def test_the_plan_shows_the_map_in_the_users_words() -> None:
    signal_map = {
        "HUP": "reopen_streams",
        signal.SIGUSR1: None,
        signal.SIGRTMIN + 1: signal.SIG_DFL,
        "TERM": DaemonContext.request_stop,
    }
    plan = {step.name: str(step.value) for step in DaemonContext(signal_map=signal_map).plan()}
    assert plan["install_signal_handlers"] == (
        f"SIGHUP -> reopen_streams, SIGUSR1 -> ignored, signal {signal.SIGRTMIN + 1} -> default action, "
        "SIGTERM -> DaemonContext.request_stop"
    )
    assert {step.name: str(step.value) for step in DaemonContext(signal_map={}).plan()}[
        "install_signal_handlers"
    ] == "none"


def test_a_bad_map_is_refused_before_anything_is_changed() -> None:
    before = {number: signal.getsignal(number) for number in CATCHABLE}
    directory = os.getcwd()
    with pytest.raises(DaemonStartError, match="step check_options: signal_map: 'SIGNONE' is no signal") as caught:
        DaemonContext(signal_map={"HUP": "reopen_streams", "SIGNONE": None}, detach_process=False).open()
    assert caught.value.step == "check_options"
    assert os.getcwd() == directory
    assert {number: signal.getsignal(number) for number in CATCHABLE} == before


def test_a_daemon_handles_its_signals_by_the_map(daemons: Daemons) -> None:
    """Every kind of key and value, in the kernel's own words and by what happens when the signal comes."""
    daemons.launch(
        """
        import os, signal, sys
        import daemonry
        from harness.probe import publish

        class Context(daemonry.DaemonContext):
            def reload(self, signum, frame):
                publish("reload", [signum, frame is not None])

        def note(signum, frame):
            publish("note", signum)

        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        signal_map = {
            "HUP": "reload",
            signal.SIGRTMIN + 2: note,
            int(signal.SIGQUIT): None,
            signal.SIGPIPE: signal.SIG_IGN,
            "sigint": signal.SIG_DFL,
            "TERM": "terminate",
        }
        with Context(working_directory=".", signal_map=signal_map) as context:
            publish("pid", os.getpid())
            context.wait()
        """
    ).check()
    pid = read_json(daemons.directory / "pid")
    facts = facts_of(pid)
    assert {signal.SIGHUP, signal.SIGTERM, signal.SIGRTMIN + 2} <= set(facts.caught)
    assert {signal.SIGQUIT, signal.SIGPIPE} <= set(facts.ignored)
    assert signal.SIGINT not in (*facts.caught, *facts.ignored)
    # The given map is the map: what the default one would ignore is left alone.
    assert not {signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU} & {*facts.caught, *facts.ignored}
    os.kill(pid, signal.SIGQUIT)
    os.kill(pid, signal.SIGHUP)
    assert read_json(daemons.directory / "reload") == [signal.SIGHUP, True]
    os.kill(pid, signal.SIGRTMIN + 2)
    assert read_json(daemons.directory / "note") == signal.SIGRTMIN + 2
    daemons.stop(pid)


def test_the_default_map_ignores_the_terminals_stop_signals(daemons: Daemons) -> None:
    daemons.launch("import daemonry\nwith daemonry.DaemonContext() as context: context.wait()").check()
    pid = daemons.survivor()
    wait_for(lambda: {signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU} <= set(facts_of(pid).ignored))
    for number in (signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU):
        os.kill(pid, number)
    assert facts_of(pid).state != "T"
    daemons.stop(pid)


# What can be called as a handler is


class Callable:
    def __call__(self) -> None:
        """Be asked too late: only functions are looked at."""

    def method(self, signum: int, frame: object, more: int = 3) -> None:
        """Be a handler."""

    def short(self, signum: int) -> None:
        """Be none."""

    @staticmethod
    def static(signum: int, frame: object) -> None:
        """Be a handler."""

    @classmethod
    def of_class(cls, *numbers: object) -> None:
        """Be a handler."""


def named_only(signum: int, frame: object, *, more: int) -> None:
    """Be none."""


@pytest.mark.parametrize(
    "handler",
    [
        lambda *_: None,
        lambda signum, *_: None,
        lambda signum, frame=None, more=1: None,
        lambda signum, frame, *, more=1: None,
        Callable(),
        Callable().method,
        Callable.static,
        Callable().of_class,
        functools.partial(print, "x"),
        print,
        Exception,
        unittest.mock.Mock(),
        "reopen_streams",
        "request_stop",
    ],
)
def test_what_can_be_called_with_two_arguments_or_cannot_be_asked_is_a_handler(handler: Any) -> None:
    assert DaemonContext(signal_map={"HUP": handler}).plan()


@pytest.mark.parametrize(
    "handler",
    [lambda: None, lambda signum: None, lambda a, b, c: None, Callable().short, named_only, "close", "check_options"],
)
def test_what_cannot_be_called_with_two_arguments_is_refused_before_the_start(handler: Any) -> None:
    """Else it would be found at the first signal, which may come months later, and end the daemon."""
    with pytest.raises(InvalidOption, match=r"signal_map: 'HUP': .* can't be called with a number and a frame"):
        DaemonContext(signal_map={"HUP": handler}).plan()
