"""The command ``daemonry``: the only place that prints or picks an exit status."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable
    from typing import Any, NoReturn

    from ..context import DaemonContext

__all__ = ["main", "service"]


def main(words: list[str] | None = None) -> int:
    """Do what the words of the command line ask for; return the exit status.

    :param words: those behind the command's own name; ``None`` for those that the process was started with.
    """
    words = sys.argv[1:] if words is None else words
    if words[:1] == ["complete"]:  # asked by the scripts that `daemonry completion` prints, not by users
        from .completion import complete

        return complete(words[1:])
    from .commands import perform

    return perform(words)


def service(
    context: DaemonContext | Callable[[argparse.Namespace], DaemonContext],
    main: Callable[..., Any],
    words: list[str] | None = None,
    *,
    parser: argparse.ArgumentParser | None = None,
) -> NoReturn:
    """Give a Python program the commands of ``daemonry`` for its own daemon: start, run, stop, restart, ...

    ::

        context = DaemonContext(pidfile=PIDLockFile("/run/web.pid"), stderr="/var/log/web.log")

        if __name__ == "__main__":
            service(context, main)

    :param context: the context, whose ``pidfile`` has a ``path``; it is opened by ``start``, ``restart`` and ``run``.
        Where it depends on the program's own options, a function that takes them and returns it.
    :param main: what the daemon does; called inside the context, with the options if there is a ``parser``.
    :param words: those of the command line; ``None`` for those that the process was started with.
    :param parser: has the program's own arguments: all of them stand behind ``start``, ``restart`` and ``run``, and its
        options behind the other commands too, where its positional arguments are their defaults.
    :raises SystemExit: always; with the exit status.
    :raises InvalidOption: when the context has no such pidfile, or an argument of the parser is called as one of a
        command's is.
    """
    from ..body import show_the_program_only
    from .own_commands import perform_own

    try:
        sys.exit(perform_own(context, main, sys.argv[1:] if words is None else words, parser))
    except BaseException as error:
        show_the_program_only(error)
        raise
