"""The limit of core files."""

from __future__ import annotations

import resource

from .record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class CoreLimit(Record):
    """Whether core files are prevented."""

    prevent: bool

    def __str__(self) -> str:
        return "RLIMIT_CORE 0" if self.prevent else "unchanged"


def prevent_core_dump(limit: CoreLimit) -> Callable[[], None]:
    """Set the limit of core files to zero; answer the function that puts it back, where the kernel allows.

    Source: core(5), getrlimit(2).
    """
    before = resource.getrlimit(resource.RLIMIT_CORE)
    if not limit.prevent:
        return lambda: None
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Raising the hard limit again takes root; who is not loses nothing but core files of a program that didn't start.
    return lambda: _restore_core(before)


def _restore_core(before: tuple[int, int]) -> None:
    try:
        resource.setrlimit(resource.RLIMIT_CORE, before)
    except (ValueError, OSError):
        return
