"""How a value is shown in the name of a test."""

from __future__ import annotations


def shown(value: object) -> str:
    """Return what ``repr`` says of it, but for its place in memory, which each process would call otherwise."""
    return repr(value).partition(" at 0x")[0]
