"""The command ``daemonry``: the only place that prints or picks an exit status."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

    from ..context import DaemonContext

__all__ = ["main", "service"]


def main(words: list[str] | None = None) -> int:
    """Do what the words of the command line ask for; answer the exit status.

    :param words: those behind the command's own name; ``None`` for those that the process was started with.
    """
    words = sys.argv[1:] if words is None else words
    if words[:1] == ["complete"]:  # asked by the scripts that `daemonry completion` prints, not by users
        from .completion import complete

        return complete(words[1:])
    from .commands import perform

    return perform(words)


def service(context: DaemonContext, main: Callable[[], Any], words: list[str] | None = None) -> NoReturn:
    """Give a Python program the commands of ``daemonry`` for its own daemon: start, run, stop, restart, ...

    ::

        context = DaemonContext(pidfile=PIDLockFile("/run/web.pid"), stderr="/var/log/web.log")

        if __name__ == "__main__":
            service(context, main)

    :param context: the context, whose ``pidfile`` has a ``path``; it is opened by ``start`` and ``run``.
    :param main: what the daemon does; called inside the context.
    :param words: those of the command line; ``None`` for those that the process was started with.
    :raises SystemExit: always; with the exit status.
    :raises InvalidOption: when the context has no such pidfile.
    """
    from .own_commands import perform_own

    sys.exit(perform_own(context, main, sys.argv[1:] if words is None else words))
