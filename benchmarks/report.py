"""What was found, as text for a terminal."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any


def lines(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the lines of a report: a block for each question, a line for each subject."""
    for row in rows:
        yield f"{row['title']} ({row['unit']})"
        for name, figures in row["figures"].items():
            yield f"    {name:16} {_value(figures['value']):>26}  {_ratio(figures['ratio'])}".rstrip()
        for name, note in row["notes"].items():
            yield f"    {name}: {note}"
        yield ""


def _value(spread: list[float]) -> str:
    low, median, high = spread
    return f"{median:,g}" if low == high else f"{median:,g} ({low:,g} to {high:,g})"


def _ratio(spread: list[float] | None) -> str:
    if spread is None:
        return ""
    low, median, high = spread
    return f"x {median:.2f}" if low == high else f"x {median:.2f} ({low:.2f} to {high:.2f})"
