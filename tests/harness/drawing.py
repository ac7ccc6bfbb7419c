"""The picture of the house: floors from the ground up, and an arrow for each import that no other implies."""

from __future__ import annotations

from html import escape

from .house import PURPOSE, arrows, floors

WIDTH, HEIGHT, GAP, RISE, MARGIN = 150, 46, 18, 44, 16
STYLE = (
    "svg{font-family:system-ui,sans-serif;color:#24292f}"
    "@media(prefers-color-scheme:dark){svg{color:#e6edf3}}"
    ".room rect{fill:#808080;fill-opacity:.1;stroke:currentColor;stroke-opacity:.6}"
    ".room text{fill:currentColor;text-anchor:middle}"
    ".name{font-size:14px;font-weight:600}.what{font-size:10px;opacity:.8}"
    ".arrow{stroke:currentColor;stroke-opacity:.35;fill:none}"
)


def drawn() -> str:
    """Return the picture, as SVG."""
    rooms = arrows()
    del rooms["__init__"]  # it imports nothing until it is asked for a name
    rows = list(reversed(floors(rooms)))
    widest = max(map(len, rows))
    width = 2 * MARGIN + widest * (WIDTH + GAP) - GAP
    height = 2 * MARGIN + len(rows) * (HEIGHT + RISE) - RISE
    places = {
        room: ((width - len(row) * (WIDTH + GAP) + GAP) / 2 + number * (WIDTH + GAP), MARGIN + floor * (HEIGHT + RISE))
        for floor, row in enumerate(rows)
        for number, room in enumerate(row)
    }
    lines = [_arrow(places[room], places[other]) for room in sorted(rooms) for other in sorted(_needed(room, rooms))]
    boxes = [_box(room, *places[room]) for room in sorted(places)]
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">'
    title = "<title>The rooms of daemonry and what each imports, from the ground up</title>"
    return "\n".join([head, title, f"<style>{STYLE}</style>", *lines, *boxes, "</svg>", ""])


def _needed(room: str, rooms: dict[str, set[str]]) -> set[str]:
    """Return what a room imports, without what it reaches by another of its imports anyway."""
    return rooms[room] - {deep for each in rooms[room] for deep in _reached(each, rooms)}


def _reached(room: str, rooms: dict[str, set[str]]) -> set[str]:
    return rooms[room] | {deep for each in rooms[room] for deep in _reached(each, rooms)}


def _arrow(above: tuple[float, float], below: tuple[float, float]) -> str:
    x1, y1, x2, y2 = above[0] + WIDTH / 2, above[1] + HEIGHT, below[0] + WIDTH / 2, below[1]
    bend = (y2 - y1) / 2
    return f'<path class="arrow" d="M{x1:g} {y1:g}C{x1:g} {y1 + bend:g} {x2:g} {y2 - bend:g} {x2:g} {y2:g}"/>'


def _box(room: str, x: float, y: float) -> str:
    middle = x + WIDTH / 2
    return (
        f'<g class="room"><rect x="{x:g}" y="{y:g}" width="{WIDTH}" height="{HEIGHT}" rx="6"/>'
        f'<text class="name" x="{middle:g}" y="{y + 19:g}">{escape(room)}</text>'
        f'<text class="what" x="{middle:g}" y="{y + 35:g}">{escape(PURPOSE[room])}</text></g>'
    )
