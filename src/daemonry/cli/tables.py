"""Tables that fit the terminal."""

from __future__ import annotations

import unicodedata

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_GAP = "  "
_CUT = "..."
_LEAST = 12


def fitted(rows: Sequence[Sequence[str]], most: int | None, spare: Sequence[str] = ()) -> list[str]:
    """Return the lines of a table whose columns are as wide as they have to be.

    Where it is too wide its last column is cut, then columns are left out, and then others are cut.

    :param rows: of one length each; the first has the titles.
    :param most: the columns that the terminal has; ``None`` to cut nothing.
    :param spare: titles of the columns that can be left out, in the order in which they go.
    """
    columns = [list(column) for column in zip(*rows) if any(column[1:])]
    if most is not None:
        _leave_out(columns, most, spare)
        _cut(columns, most)
    return aligned([*zip(*columns)])


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table without titles, whose columns are as wide as they have to be."""
    widths = [max(map(width_of, column)) for column in zip(*rows)]
    return [_GAP.join(map(_padded, row, widths)).rstrip() for row in rows]


def _leave_out(columns: list[list[str]], most: int, spare: Iterable[str]) -> None:
    for title in spare:
        least = _widths(columns)
        least[-1:] = [min(each, _LEAST) for each in least[-1:]]
        if _sum(least) <= most:
            return
        columns[:] = [column for column in columns if column[0] != title]


def _cut(columns: list[list[str]], most: int) -> None:
    """Cut the last column, and as far as that isn't enough the ones before it."""
    for at in range(len(columns) - 1, -1, -1):
        widths = _widths(columns)
        too_much = _sum(widths) - most
        if too_much <= 0:
            return
        least = max(_LEAST if at else 1, widths[at] - too_much)
        columns[at] = [shortened(cell, min(widths[at], least)) for cell in columns[at]]


def _widths(columns: Iterable[Iterable[str]]) -> list[int]:
    return [max(map(width_of, column)) for column in columns]


def _sum(widths: Sequence[int]) -> int:
    return sum(widths) + len(_GAP) * (len(widths) - 1)


def shortened(text: str, most: int) -> str:
    """Return a text that takes at most so many columns, with a mark where it has been cut."""
    if width_of(text) <= most:
        return text
    while text and width_of(text) > most - len(_CUT):
        text = text[: min(len(text) - 1, most)]
    return (text + _CUT)[:most]


def _padded(text: str, width: int) -> str:
    return text + " " * (width - width_of(text))


def width_of(text: str) -> int:
    """Return how many columns of a terminal a text takes; see wcwidth(3)."""
    return len(text) if text.isascii() else sum(map(_width_of_character, text))


def _width_of_character(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
