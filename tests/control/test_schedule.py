"""How a daemon is stopped can be written in a line, and what says nothing is refused."""

from __future__ import annotations

import signal
from itertools import islice

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from daemonry.control.schedule import Schedule, Send, Wait, number_of, parse

TERM, KILL = Send(signum=signal.SIGTERM), Send(signum=signal.SIGKILL)

SIGNALS = st.sampled_from(sorted(map(int, signal.valid_signals()))).flatmap(
    lambda number: st.sampled_from([f"-{number}", *_names_of(number)])
)
SECONDS = st.floats(0, 1e12).map(lambda number: f"{number:.9f}") | st.integers(0, 10**12).map(str)


def _names_of(number: int) -> list[str]:
    try:
        name = signal.Signals(number).name
    except ValueError:
        return []
    short = name.replace("SIG", "", 1)
    return [name, short, short.lower(), f"-{short}"]


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("TERM/30/KILL/5", (TERM, Wait(seconds=30.0), KILL, Wait(seconds=5.0))),
        ("sigterm/0.5/-9/2", (TERM, Wait(seconds=0.5), KILL, Wait(seconds=2.0))),
        ("TERM", (TERM, Wait(seconds=5.0))),
        ("-15", (TERM, Wait(seconds=5.0))),
        ("TERM/30/KILL", (TERM, Wait(seconds=30.0), KILL, Wait(seconds=5.0))),
        ("7", (TERM, Wait(seconds=7.0), KILL, Wait(seconds=7.0))),
        (7, (TERM, Wait(seconds=7.0), KILL, Wait(seconds=7.0))),
        (0.25, (TERM, Wait(seconds=0.25), KILL, Wait(seconds=0.25))),
        (1e-5, (TERM, Wait(seconds=0.00001), KILL, Wait(seconds=0.00001))),
        (1e16, (TERM, Wait(seconds=1e16), KILL, Wait(seconds=1e16))),
        ("5/TERM/5", (Wait(seconds=5.0), TERM, Wait(seconds=5.0))),
    ],
)
def test_a_schedule_is_read_as_start_stop_daemon_reads_it(text: str | float, items: tuple[Send | Wait, ...]) -> None:
    assert parse(text) == Schedule(once=items)
    assert tuple(parse(text).items()) == items
    assert parse(parse(text)) == parse(text)


def test_what_follows_forever_is_done_over_and_over() -> None:
    schedule = parse("INT/1/forever/TERM/2/KILL/3")
    assert str(schedule) == "INT/1/forever/TERM/2/KILL/3"
    words = [str(item) for item in islice(schedule.items(), 10)]
    assert words == ["INT", "1", "TERM", "2", "KILL", "3", "TERM", "2", "KILL", "3"]
    assert [str(item) for item in islice(parse("TERM/forever/5").items(), 4)] == ["TERM", "5", "5", "5"]
    assert [str(item) for item in islice(parse("forever/TERM/5").items(), 3)] == ["TERM", "5", "TERM"]


@pytest.mark.parametrize("number", sorted(map(int, signal.valid_signals())))
def test_every_signal_of_the_system_can_be_sent_and_is_written_so_that_it_is_read_again(number: int) -> None:
    """Also those without a name, of which there are some among the real-time signals."""
    assert parse(f"-{number}/1").once[0] == Send(signum=number)
    assert number_of(str(number)) == number
    assert parse(str(parse(f"-{number}/1"))) == parse(f"-{number}/1")
    for name in _names_of(number):
        assert number_of(name.lstrip("-")) == number


@given(
    st.lists(SIGNALS | SECONDS, min_size=1, max_size=6),
    st.lists(SIGNALS | SECONDS, max_size=4).map(lambda words: ["forever", *words, "1"]) | st.just([]),
)
@example(["TERM", "1234567"], [])
@example(["TERM", "0.00001"], [])
@example(["TERM", "0.1234567"], [])
@example(["-35", "5"], [])
def test_a_schedule_is_written_as_it_is_read(before: list[str], after: list[str]) -> None:
    text = "/".join([*before, *after])
    try:
        schedule = parse(text)
    except ValueError:
        assert not any(word.strip("0123456789.") for word in (*before, *after[1:])), "it sends a signal"
        return
    assert parse(str(schedule)) == schedule
    assert str(parse(str(schedule))) == str(schedule)


WORDS = st.sampled_from(["TERM", "-", "--9", "9", "-0", "0", "forever", "", "1e5", "1_0", " 1", "inf", "nan", ".", "²"])


@given(
    st.text(max_size=30)
    | st.lists(WORDS, max_size=5).map("/".join)
    | st.floats()
    | st.integers()
    | st.none()
    | st.binary(max_size=5)
)
@example("9" * 5000)
@example("-" + "9" * 5000)
@example("9" * 400)
@example("\udc80")
def test_whatever_is_written_it_is_a_schedule_or_a_value_error(text: object) -> None:
    try:
        schedule = parse(text)  # type: ignore[arg-type]
    except ValueError:
        return
    assert any(isinstance(item, Send) for item in (*schedule.once, *schedule.again))
    assert not schedule.again or any(isinstance(item, Wait) and item.seconds > 0 for item in schedule.again)
    assert parse(str(schedule)) == schedule


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "'' is no signal of this system"),
        ("TERM/", "'' is no signal"),
        ("BOGUS/5", "'BOGUS' is no signal of this system; write a name such as TERM, or a number"),
        ("SIG_IGN/5", "'SIG_IGN' is no signal"),
        ("_BLOCK/5", "'_BLOCK' is no signal"),
        ("-0/5", "'0' is no signal"),
        ("-65/5", "'65' is no signal"),
        ("TERM/-", "'' is no signal"),
        ("TERM/1e3", "'1e3' is no signal"),
        ("TERM/inf", "'inf' is no signal"),
        ("5/5", "it sends no signal; write one as in TERM/30/KILL/5"),
        ("forever/5", "it sends no signal"),
        ("forever", "what is done for ever has to wait between, as in TERM/forever/5"),
        ("TERM/forever", "has to wait between"),
        ("TERM/forever/KILL", "has to wait between"),
        ("TERM/forever/KILL/0", "has to wait between"),
        ("TERM/forever/5/forever/5", "'forever' is no signal"),
        (-5, "-5 is no number of seconds"),
        (-9.0, "-9.0 is no number of seconds"),
        (float("inf"), "inf is no number of seconds"),
        (float("nan"), "nan is no number of seconds"),
    ],
)
def test_what_says_no_schedule_is_refused_with_the_reason(text: str | float, reason: str) -> None:
    with pytest.raises(ValueError, match=r"^schedule ") as caught:
        parse(text)
    assert reason in str(caught.value)
