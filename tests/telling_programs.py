"""Programs that tell what became of them, for the tests of descriptors, streams and the foreground."""

from __future__ import annotations

import os
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.waiting import read_json, wait_for

if TYPE_CHECKING:
    from harness.daemons import Daemons, Launched

HEAD = """
    import errno, fcntl, gc, io, logging, os, resource, signal, socket, subprocess, sys, tempfile, threading
    import daemonry.steps.descriptors, daemonry.system.libc
    from daemonry import DaemonContext, DaemonStartError, InvalidOption
    from harness.probe import facts, publish
    HERE = sys.argv[1]

    def path(name):
        return os.path.join(HERE, name)

    def tell(value):
        publish(path("told"), value)

    def target(number):
        return os.readlink(f"/proc/self/fd/{number}")

    def is_open(number):
        try:
            os.fstat(number)
        except OSError:
            return False
        return True
"""

# As inside another root directory, and as on a system that shows them in neither place.
WITHOUT_PROC = """
    daemonry.steps.descriptors.PROC = "/nowhere"
"""
WITHOUT_LISTING = """
    daemonry.steps.descriptors.PROC = daemonry.steps.descriptors.DEV = "/nowhere"
"""
_PATH = os.pathsep.join([str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])])
METHODS = {"listed": "", "shown": WITHOUT_PROC, "asked": WITHOUT_LISTING}


def program(*parts: str) -> str:
    """Return the text of a program made of these parts."""
    return "".join(textwrap.dedent(part) + "\n" for part in (HEAD, *parts))


def launch(daemons: Daemons, *parts: str, status: int = 0, **options: Any) -> Launched:
    """Run a program, given in parts, until every process of it has ended."""
    where = options.pop("where", daemons.directory)
    if options.get("plain"):
        options["env"] = {**options.get("env", {}), "PYTHONPATH": _PATH}
    launched = daemons.launch(program(*parts), where, **options).check(status)
    wait_for(lambda: not daemons.alive(), what="everything has ended")
    return launched


def told(daemons: Daemons, *parts: str, **options: Any) -> Any:
    """Run such a program and answer what it has told."""
    where = options.get("where", daemons.directory)
    launch(daemons, *parts, **options)
    return read_json(where / "told", timeout=0)
