"""How often a test does what it shows by numbers: storms, statistics, drawn examples."""

from __future__ import annotations

import os


def times(full: int, least: int = 1) -> int:
    """Return the full number, or a tenth of it where only the rest of the tests is asked for.

    One run with all of it, as root, says as much of the library as seven; the others then show that it works for other
    Pythons and users as well, and what of it is reached.
    """
    return max(full // 10, least) if is_brief() else full


def is_brief() -> bool:
    """Whether only the rest is asked for: ``BRIEF=yes``."""
    return os.environ.get("BRIEF") == "yes"
