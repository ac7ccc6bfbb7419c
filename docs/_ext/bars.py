"""Bars as SVG: in the colour of the text that they stand in, so that they are legible on light and dark."""

from __future__ import annotations

import math
from html import escape

_LINE = 24
_LEFT, _WIDTH, _RIGHT = 130, 420, 110
# from which on small bars would be points
_WIDE = 30


def svg(title: str, bars: list[tuple[str, list[float], str]], highlighted: str) -> str:
    """Return a plot.

    :param bars: for each its name, its lower quartile, median and upper quartile, and the text behind it.
    :param highlighted: whose bar stands out.
    """
    positive = [spread for _, spread, _ in bars if spread[1] > 0]
    scale = _Scale(
        min((spread[1] for spread in positive), default=1), max((spread[2] for spread in positive), default=1)
    )
    height = _LINE * (len(bars) + scale.is_logarithmic) + 4
    lines = [_bar(at, bar, scale, bar[0] == highlighted) for at, bar in enumerate(bars)]
    if scale.is_logarithmic:
        lines.append(f'<text x="{_LEFT}" y="{height - 9}" opacity="0.7" font-size="11">on a logarithmic scale</text>')
    return (
        f'<svg class="bars" role="img" viewBox="0 0 {_LEFT + _WIDTH + _RIGHT} {height}" width="100%" '
        f'font-size="13" font-family="inherit" fill="currentColor"><title>{escape(title)}</title>'
        f"{''.join(lines)}</svg>"
    )


class _Scale:
    def __init__(self, least: float, most: float) -> None:
        self._least, self._most = least / 2, most
        self.is_logarithmic = most > _WIDE * least

    def __call__(self, value: float) -> float:
        if value <= 0:
            return 0
        if self.is_logarithmic:
            return max(0, _WIDTH * math.log(value / self._least) / math.log(self._most / self._least))
        return _WIDTH * value / self._most


def _bar(at: int, bar: tuple[str, list[float], str], scale: _Scale, stands_out: bool) -> str:
    name, (low, median, high), text = bar
    top = at * _LINE + 4
    middle = top + _LINE / 2 - 3
    colour = 'fill="var(--color-brand-primary, currentColor)"' if stands_out else 'opacity="0.45"'
    weight = ' font-weight="bold"' if stands_out else ""
    from_, until = _LEFT + scale(low), _LEFT + scale(high)
    return (
        f'<text x="{_LEFT - 8}" y="{middle + 4:.0f}" text-anchor="end"{weight}>{escape(name)}</text>'
        f'<rect x="{_LEFT}" y="{top}" width="{max(scale(median), 1):.1f}" height="{_LINE - 7}" {colour}/>'
        f'<path d="M{from_:.1f} {middle:.1f}H{until:.1f}" stroke="currentColor" stroke-width="1.5"/>'
        f'<text x="{max(until, _LEFT + scale(median)) + 8:.1f}" y="{middle + 4:.0f}"{weight}>{escape(text)}</text>'
    )
