"""The limit of core files."""

from __future__ import annotations

import resource

from ..errors import ignored
from ..system.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class CoreLimit(Record):
    """Whether core files are prevented."""

    prevent: bool

    @property
    def does_nothing(self) -> bool:
        """Whether they are left as they are."""
        return not self.prevent

    def __str__(self) -> str:
        return "RLIMIT_CORE 0" if self.prevent else "unchanged"


def resolve(prevent: bool) -> CoreLimit:
    """Return whether core files are prevented."""
    return CoreLimit(prevent=prevent)


def prevent_core_dump(limit: CoreLimit) -> Callable[[], None]:
    """Set the limit of core files to zero; return the function that puts it back, where the kernel allows.

    Source: core(5), getrlimit(2).
    """
    if not limit.prevent:
        return lambda: None
    before = _set_limit((0, 0))

    def put_back() -> None:
        # Raising the hard limit again takes root; who is not loses nothing but core files of a program that didn't
        # start.
        with ignored(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_CORE, before)

    return put_back


def _set_limit(limit: tuple[int, int]) -> tuple[int, int]:
    """Set the limit, and return the one before; prlimit(2) does both at once."""
    if hasattr(resource, "prlimit"):
        return resource.prlimit(0, resource.RLIMIT_CORE, limit)
    before = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, limit)
    return before
