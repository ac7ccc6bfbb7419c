"""Log lines begin with the priority that the journal takes them by."""

from __future__ import annotations

import logging
import os
import re
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemonry.manager.journal import JournalFormatter, is_read_by_journal, priority_of

if TYPE_CHECKING:
    from pathlib import Path


def record(level: int, text: str, *, failed: bool = False) -> logging.LogRecord:
    info = None
    if failed:
        try:
            1 / 0  # noqa: B018
        except ZeroDivisionError:
            info = sys.exc_info()
    return logging.LogRecord("name", level, __file__, 1, text, None, info)


@given(st.integers(0, 60), st.text())
def test_every_line_has_its_record_s_priority_and_nothing_is_lost(level: int, text: str) -> None:
    lines = JournalFormatter().format(record(level, text)).split("\n")
    assert "\n".join(re.sub(r"^<[2-7]>", "", line) for line in lines) == text
    assert {line[:3] for line in lines} == {f"<{priority_of(level)}>"}


def test_a_traceback_s_lines_are_errors_too() -> None:
    lines = JournalFormatter("%(name)s: %(message)s").format(record(logging.ERROR, "failed", failed=True)).split("\n")
    assert lines[0] == "<3>name: failed"
    assert lines[-1] == "<3>ZeroDivisionError: division by zero"
    assert all(line.startswith("<3>") for line in lines)


def test_what_is_logged_cannot_choose_its_own_priority() -> None:
    assert JournalFormatter().format(record(logging.INFO, "<0>x\n<0>y")) == "<6><0>x\n<6><0>y"


@given(st.integers(0, 60), st.integers(0, 60))
def test_a_higher_level_is_never_less_urgent(one: int, other: int) -> None:
    assert (one <= other) or (priority_of(one) <= priority_of(other))


@pytest.mark.parametrize(
    ("level", "priority"),
    [
        (logging.NOTSET, 7),
        (logging.DEBUG, 7),
        (logging.INFO, 6),
        (25, 6),
        (logging.WARNING, 4),
        (logging.ERROR, 3),
        (logging.CRITICAL, 2),
        (99, 2),
    ],
)
def test_the_priorities_are_those_of_syslog(level: int, priority: int) -> None:
    assert priority_of(level) == priority


def test_a_stream_is_the_journal_s_if_it_is_the_very_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable is inherited by everybody, the stream may have been redirected since."""
    with open(tmp_path / "one", "w") as one, open(tmp_path / "other", "w") as other:
        status = os.fstat(one.fileno())
        monkeypatch.delenv("JOURNAL_STREAM", raising=False)
        assert not is_read_by_journal(one.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
        assert is_read_by_journal(one.fileno())
        assert not is_read_by_journal(other.fileno())
        number = one.fileno()
    assert not is_read_by_journal(number)
