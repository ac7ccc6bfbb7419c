"""Whether this process can be forked without harm."""

from __future__ import annotations

import os
import sys

from ..errors import InvalidOption
from ..system import bare

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any

_OWN = f"{__name__.partition('.')[0]}."


def require_forkable(detach: bool) -> None:
    """Refuse to go on in a process that can't be forked without harm, and warn of the threads that the fork ends.

    :raises InvalidOption: in a thread other than the main one, or while an event loop runs.
    """
    threading: Any = sys.modules.get("threading")
    if threading is not None and not bare.in_main_thread():
        raise InvalidOption("open", "must be called in the main thread: only there signal handlers can be installed")
    asyncio: Any = sys.modules.get("asyncio")
    if asyncio is not None and asyncio._get_running_loop() is not None:
        raise InvalidOption("open", "an event loop is running, which can't be shared by two processes: open first")
    if detach:
        _warn_of_what_ends_with_the_fork(threading)


def _warn_of_what_ends_with_the_fork(threading: Any) -> None:
    unpacked = getattr(sys, "_MEIPASS", "") if getattr(sys, "frozen", False) else ""
    # So a PyInstaller program is called that is one file; one that is a directory stays where it is.
    if os.path.basename(unpacked).startswith("_MEI"):
        _warn(
            f"this program has unpacked itself to {unpacked}, which is removed when its launcher ends: what the daemon "
            "loads later will be missing; build it with --onedir, or stay in the foreground by detach_process=False"
        )
    main = threading.main_thread() if threading is not None else None
    others = [each.name for each in threading.enumerate() if each is not main] if threading is not None else []
    if others:
        _warn(f"these threads will not run in the daemon, start them after open(): {', '.join(others)}")


def _warn(text: str) -> None:
    import warnings

    warnings.warn(text, RuntimeWarning, stacklevel=_levels_to_the_program())


def _levels_to_the_program() -> int:
    # The warning shows the line that opens the context, by a with-statement or by open().
    frame: FrameType | None = sys._getframe(1)
    levels = 1
    while frame is not None and frame.f_globals.get("__name__", "").startswith(_OWN):
        frame, levels = frame.f_back, levels + 1
    return levels
