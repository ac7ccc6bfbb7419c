"""What is found out about one property of a process, and why it can't be."""

from __future__ import annotations

from ..system.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Union

    # What a finding says beside its name: ok, fact, advice.
    Answer = tuple[Union[bool, None], str, str]


class Finding(Record):
    """One property of one process.

    ``ok`` is ``None`` when it can't be told. ``advice`` says what to do about it, or why it can't be told; what is well
    may have some too.
    """

    name: str
    ok: bool | None
    fact: str
    advice: str = ""

    def __str__(self) -> str:
        advice = f" ({self.advice})" if self.advice else ""
        return f"{self.name}: {self.fact}{advice}"


def well(fact: str, advice: str = "") -> Answer:
    return True, fact, advice


def ill(fact: str, advice: str) -> Answer:
    return False, fact, advice


class Untold(Exception):
    """Why a question has no answer."""
