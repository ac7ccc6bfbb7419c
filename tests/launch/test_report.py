"""The lines on the pipe: written whole, read whatever comes, and nothing in them steers a terminal."""

from __future__ import annotations

import errno
import os
import signal
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemonry.launch import messages, report

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from daemonry.system.record import Record

numbers = st.none() | st.integers(-(2**70), 2**70)
texts = st.none() | st.text().map(messages.printable)
failures = st.builds(
    messages.Failed,
    step=st.text(min_size=1).map(messages.printable),
    message=st.text(min_size=1).map(messages.printable),
    errno=numbers,
    status=numbers,
    traceback=texts,
    locked=texts,
    pid=numbers,
)
ends = st.builds(
    messages.Ended,
    status=numbers,
    signum=numbers,
    survivors=st.lists(st.text().map(messages.printable)).map(tuple),
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """Give a pipe, and close what the test hasn't."""
    ends = report.pipe()
    before = [os.fstat(end) for end in ends]
    yield ends
    for end, found in zip(ends, before):
        try:
            if os.path.samestat(os.fstat(end), found):
                os.close(end)
        except OSError:
            continue


def written(tell: Callable[[report.Reporter], object]) -> bytes:
    """Return what a reporter writes."""
    reading, writing = report.pipe()
    # Read meanwhile: a long line is longer than a pipe.
    with open(reading, "rb") as stream, ThreadPoolExecutor(1) as others:
        read = others.submit(stream.read)
        reporter = report.Reporter(writing)
        tell(reporter)
        reporter.close()
        return read.result()


def read(data: bytes) -> list[Record]:
    return list(messages.Reader().feed(data))


@given(failures)
def test_a_failure_is_read_as_it_was_written(failure: messages.Failed) -> None:
    assert read(written(lambda reporter: reporter.failed(failure))) == [failure]


@pytest.mark.parametrize("character", ["x", "é", "日", "\U0001f600", "\udce9", "\0", "\n"])
@pytest.mark.parametrize("length", [1000, messages.LONGEST_LINE // 2, messages.LONGEST_LINE])
def test_a_failure_with_a_long_text_keeps_its_beginning_and_its_end(character: str, length: int) -> None:
    text = f"a{character * length}z"
    line = written(lambda reporter: reporter.failed(messages.Failed(step="x", message=text, traceback=text, errno=5)))
    reader = messages.Reader()
    (found,) = [each for at in range(0, len(line), 65536) for each in reader.feed(line[at : at + 65536])]
    assert isinstance(found, messages.Failed)
    assert (found.step, found.errno) == ("x", 5)
    whole = messages.printable(text)
    for told in (found.message, found.traceback or ""):
        beginning, mark, end = told.partition(" … ")
        assert told == whole or (mark and whole.startswith(beginning) and whole.endswith(end) and beginning and end)
        assert len(told) > 20_000 or told == whole


@given(ends)
def test_an_end_is_read_as_it_was_written(end: messages.Ended) -> None:
    assert read(written(lambda reporter: reporter.ended(end))) == [end]


@given(st.text())
def test_progress_is_one_line_whatever_it_says(text: str) -> None:
    """Short enough to be written in one piece, and the same text but for its blanks and its length."""
    line = written(lambda reporter: reporter.progress(text))
    assert line.endswith(b"\n")
    assert len(line) <= 512
    (found,) = read(line)
    assert isinstance(found, messages.Progress)
    whole = messages.printable(" ".join(text.split()))
    assert found.text == whole or (len(text.encode("utf-8", "backslashreplace")) > report.LONGEST_TEXT)


@given(st.integers(0, 3), st.integers(90, 1000), st.sampled_from("aä日\U0001f600"))
def test_a_long_text_is_cut_between_characters(shift: int, length: int, character: str) -> None:
    text = "x" * shift + character * length
    (found,) = read(written(lambda reporter: reporter.progress(text)))
    assert isinstance(found, messages.Progress)
    assert text.startswith(found.text)
    size = len(found.text.encode())
    assert size <= report.LONGEST_TEXT
    assert found.text == text or size > report.LONGEST_TEXT - 4


def test_a_step_and_the_word_ready_are_read_as_written() -> None:
    def tell(reporter: report.Reporter) -> None:
        reporter.step("change_root")
        reporter.ready()
        reporter.progress("nobody hears this")

    assert read(written(tell)) == [messages.Step(name="change_root"), messages.Ready()]


@given(st.binary())
def test_the_reader_takes_any_bytes(data: bytes) -> None:
    for record in read(data + b"\n"):
        assert isinstance(
            record, (messages.Step, messages.Progress, messages.Ready, messages.Failed, messages.Ended, messages.Cut)
        )


@given(st.sampled_from([b"failed ", b"ended "]), st.binary())
def test_the_reader_takes_anything_for_json(kind: bytes, rest: bytes) -> None:
    read(kind + rest + b"\n")


@given(st.sampled_from(["failed", "ended"]), st.data())
def test_fields_of_a_wrong_type_are_as_good_as_missing(kind: str, data: st.DataObject) -> None:
    """The daemon may have lost rights that the launcher has: its word is typed before it is used."""
    import json

    names = ("step", "message", "errno", "status", "traceback", "locked", "pid", "signum", "survivors", "of_program")
    told = data.draw(json_values | st.fixed_dictionaries({}, optional=dict.fromkeys(names, json_values)))
    found = read(f"{kind} {json.dumps(told)}\n".encode())
    if not isinstance(told, dict):
        assert found == []
        return
    for name, value in found[0].fields().items():
        if name == "survivors":
            assert isinstance(value, tuple)
            assert all(isinstance(item, str) for item in value)
        elif name in ("errno", "status", "signum", "pid"):
            assert value is None or type(value) is int
        elif name in ("step", "message"):
            assert isinstance(value, str)
            assert value
        elif name == "of_program":
            assert type(value) is bool
        else:
            assert value is None or isinstance(value, str)


@pytest.mark.parametrize(
    "line",
    [b"failed " + b"[" * 200_000, b'failed {"errno": 1' + b"0" * 10_000 + b"}", b"failed", b"failed ", b"ended nul"],
)
def test_what_json_refuses_says_nothing(line: bytes) -> None:
    assert all(isinstance(found, messages.Failed) for found in read(line + b"\n"))


@given(st.lists(failures | ends | st.just(messages.Ready()), max_size=5), st.lists(st.integers(0, 2000)), st.binary())
def test_how_the_bytes_come_in_pieces_does_not_matter(records: list[Record], cuts: list[int], noise: bytes) -> None:
    def tell(reporter: report.Reporter) -> None:
        for record in records:
            if isinstance(record, messages.Failed):
                reporter.failed(record)
            elif isinstance(record, messages.Ended):
                reporter.ended(record)

    data = written(tell) + noise.replace(b"\n", b"") + b"\nready\nhalf a li"
    reader = messages.Reader()
    edges = [0, *sorted(cuts), len(data)]
    pieces = [found for low, high in zip(edges, edges[1:]) for found in reader.feed(data[low:high])]
    assert pieces == read(data)
    assert pieces[-1] == messages.Ready()


@given(st.text())
def test_nothing_printable_steers_a_terminal(text: str) -> None:
    shown = messages.printable(text)
    assert all(unicodedata.category(character) not in ("Cc", "Cs", "Cf") or character in "\n\t" for character in shown)
    assert messages.printable(shown) == shown


@given(st.text(st.characters(categories=("L", "N", "P", "S"), exclude_characters="")))
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert messages.printable(text) == text


def test_a_pipe_is_above_the_streams_and_closed_by_exec(pipe: tuple[int, int]) -> None:
    for end in pipe:
        assert end > 2
        assert not os.get_inheritable(end)


def test_nobody_who_reads_is_no_error(pipe: tuple[int, int]) -> None:
    reporter = report.Reporter(pipe[1])
    os.close(pipe[0])
    reporter.step("one")
    assert reporter.fd is None
    reporter.step("two")
    assert not reporter.failed(messages.Failed(step="x", message="y"))


def test_a_pipe_that_the_program_has_closed_is_an_error(pipe: tuple[int, int]) -> None:
    reporter = report.Reporter(pipe[1])
    reporter.look_closely()
    os.close(pipe[1])
    with pytest.raises(OSError, match="the program has closed the pipe to its launcher") as caught:
        reporter.step("one")
    assert caught.value.errno == errno.EBADF
    assert not reporter.failed(messages.Failed(step="x", message="y"))
    reporter.close()


def test_a_file_at_the_pipes_number_is_neither_written_nor_closed(pipe: tuple[int, int], tmp_path: Any) -> None:
    reporter = report.Reporter(pipe[1])
    reporter.look_closely()
    with open(tmp_path / "file", "wb") as file:
        os.dup2(file.fileno(), pipe[1])
    with pytest.raises(OSError, match="closed"):
        reporter.ready()
    reporter.close()
    assert os.fstat(pipe[1]).st_size == 0
    os.close(pipe[1])


@pytest.mark.parametrize("blocked", [True, False])
@pytest.mark.parametrize("disposition", [signal.SIG_DFL, signal.SIG_IGN])
def test_sigpipe_is_neither_felt_nor_left(pipe: tuple[int, int], disposition: Any, blocked: bool) -> None:
    """With its default action it would end this very process."""
    before = signal.signal(signal.SIGPIPE, disposition)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGPIPE} if blocked else ())
    try:
        end = report.WritingEnd(pipe[1])
        os.close(pipe[0])
        end.write(b"x")
        assert end.fd is None
        assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == mask | ({signal.SIGPIPE} if blocked else set())
        if not blocked:
            assert signal.SIGPIPE not in signal.sigpending()
        else:
            while signal.SIGPIPE in signal.sigpending():
                signal.sigwait({signal.SIGPIPE})
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGPIPE, before)
