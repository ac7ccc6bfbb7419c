"""How often a test does what it shows by numbers: storms, statistics, drawn examples."""

from __future__ import annotations

import os


def times(full: int, least: int = 1) -> int:
    """Answer the full number, or a tenth of it where only the rest of the tests is asked for.

    One run with all of it, measured and as root, says as much of the library as seven; the other Pythons and users then
    show that it works for them as well.
    """
    return max(full // 10, least) if is_brief() else full


def is_brief() -> bool:
    """Whether only the rest is asked for: ``BRIEF=yes``."""
    return os.environ.get("BRIEF") == "yes"
