"""Service managers: who has started the program, what it is told, and what it has given."""

from __future__ import annotations

from ..system import handing_on

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .journal import JournalFormatter, is_read_by_journal
    from .listen import listen_fds
    from .notify import Manager
    from .starter import Facts, OwnFacts, Starter, who_started
    from .watchdog import feed, feeding

__all__ = [
    "Facts",
    "JournalFormatter",
    "Manager",
    "OwnFacts",
    "Starter",
    "feed",
    "feeding",
    "is_read_by_journal",
    "listen_fds",
    "who_started",
]

__getattr__, __dir__ = handing_on(
    __name__,
    {
        "Facts": "starter",
        "JournalFormatter": "journal",
        "Manager": "notify",
        "OwnFacts": "starter",
        "Starter": "starter",
        "feed": "watchdog",
        "feeding": "watchdog",
        "is_read_by_journal": "journal",
        "listen_fds": "listen",
        "who_started": "starter",
    },
)
