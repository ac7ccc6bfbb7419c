"""Forking, and what a forked child must not keep of its parent's: a lock, a pipe, a wake-up."""

from __future__ import annotations

import os
import sys
import weakref
from contextlib import contextmanager, nullcontext, suppress

from . import bare

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from contextlib import AbstractContextManager
    from types import ModuleType
    from typing import Protocol

    class Owner(Protocol):
        """Something that belongs to one process."""

        @property
        def descriptors(self) -> Iterable[int]:
            """Its descriptors that are open."""

        def give_up(self) -> None:
            """Close what was inherited, in the child that inherited it, without undoing it for the parent."""


# One hook and a set of weak references, for a hook can't be taken back: hooking in every owner by itself would keep
# each of them alive for good.
_owners: weakref.WeakSet[Owner] = weakref.WeakSet()


def give_up_in_children(owner: Owner) -> None:
    """From now on, call ``owner.give_up()`` first thing in every child that this process forks."""
    _owners.add(owner)


def owned_descriptors() -> list[int]:
    """Answer the descriptors of all owners: a context that closes what it does not know leaves another one's lock."""
    return [fd for owner in list(_owners) for fd in owner.descriptors]


def _give_up_all() -> None:
    for owner in list(_owners):
        # One that can't (the program has closed its descriptor) must not keep the next, maybe a lock, from it.
        with suppress(OSError):
            owner.give_up()
    _owners.clear()


os.register_at_fork(after_in_child=_give_up_all)


def fork() -> int:
    """Fork, without Python's warning of threads; see fork(2)."""
    with _without_warning():
        try:
            return bare.fork()
        except BlockingIOError as error:
            reason = f"{error.strerror}: no more processes may run; see ulimit -u, and TasksMax= or pids.max"
            raise BlockingIOError(error.errno, reason) from None


def _without_warning() -> AbstractContextManager[object]:
    # They have been warned of by name before, with advice; Python's own warning names none, and under -W error it would
    # be raised in the parent when the child already runs. Older ones have none, and where nobody has loaded the module
    # Python's defaults hold, by which it is not shown.
    warnings = sys.modules.get("warnings") if sys.version_info >= (3, 12) else None
    if warnings is None:
        return nullcontext()
    return _ignoring(warnings)


@contextmanager
def _ignoring(warnings: ModuleType) -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
