"""Attempts, each in a process of its own that a program under test forks, and that says by a pipe what came of it."""

from __future__ import annotations

import json
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from daemonry import DaemonStartError


def in_fork(attempt: Callable[[int], object], refused: Callable[[DaemonStartError], object]) -> Any:
    """Return what an attempt answers in a forked process, or what ``refused`` makes of the start's error.

    :param attempt: called with the descriptor of the pipe, which is to be preserved; another error of its is
        answered as the ``surprise``.
    """
    from daemonry import DaemonStartError

    reading, told = os.pipe()
    if os.fork() == 0:
        try:
            try:
                answer = attempt(told)
            except DaemonStartError as error:
                answer = refused(error)
            except BaseException as error:
                answer = {"surprise": repr(error)}
            os.write(told, json.dumps(answer).encode())
        finally:
            os._exit(0)
    os.close(told)
    with open(reading, "rb") as stream:
        said = stream.read()
    os.wait()
    return json.loads(said or "null")
