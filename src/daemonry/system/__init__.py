"""Nothing of daemons: processes, descriptors, signals held off, what the C library does."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def handing_on(room: str, places: dict[str, str]) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """Return a room's ``__getattr__`` and ``__dir__``, which import each public name when it is asked for; PEP 562.

    :param places: the file of each name.
    """

    def __getattr__(name: str) -> object:
        if name not in places:
            raise AttributeError(f"module {room!r} has no attribute {name!r}")
        # Not by the package importlib, whose own imports cost as much as some files of this library.
        return getattr(__import__(f"{room}.{places[name]}", fromlist=["*"]), name)

    return __getattr__, lambda: sorted(places)
