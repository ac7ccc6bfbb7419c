"""What is known of one question, and how it is told: medians, and the quartiles around them."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field

from .peers import BARE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


@dataclass
class Row:
    """One question: for each subject its values, one a round, and what is to be said of it in words.

    :param key: names it in the data.
    :param unit: of the values: ms, us, KiB, MiB, or what is counted.
    :param base: whose values the others are set beside, round by round; None where there is nobody.
    """

    key: str
    title: str
    unit: str
    base: str | None = BARE
    values: dict[str, list[float]] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, value: float) -> None:
        """Take down one value."""
        self.values.setdefault(name, []).append(value)

    def as_data(self) -> dict[str, Any]:
        """Return it as it is written to the file."""
        known = {name: values for name, values in self.values.items() if values}
        figures = {name: {"value": spread(values), "ratio": self._ratio(name)} for name, values in known.items()}
        told = {"key": self.key, "title": self.title, "unit": self.unit, "base": self.base}
        return {**told, "figures": figures, "notes": self.notes}

    def _ratio(self, name: str) -> list[float] | None:
        bases = self.values.get(self.base or "", [])
        ratios = [value / base for value, base in zip(self.values[name], bases) if base]
        return spread(ratios) if ratios else None


def spread(values: list[float]) -> list[float]:
    """Return the lower quartile, the median and the upper quartile."""
    quartiles = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3
    return [_rounded(value) for value in quartiles]


def _rounded(value: float) -> float:
    """Round to four digits; more would be noise."""
    return float(f"{value:.4g}") if abs(value) < 10_000 else round(value)
