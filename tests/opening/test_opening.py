"""One opening of a context: its stages, and who is told of what goes wrong in each."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from daemonry import DaemonContext, opening
from harness.waiting import wait_for

if TYPE_CHECKING:
    from harness.daemons import Daemons

# A daemon that fails in a stage. Its own log has what it logs, with the stages that it has seen.
FAILING = """
import os, sys
from daemonry import DaemonContext, DaemonStartError

failing = sys.argv[1]
def fail(stage):
    print("seen", context._opening.stage, flush=True)
    if stage == failing:
        raise LookupError(f"it fails {stage}")

class Context(DaemonContext):
    steps = (*DaemonContext.steps, "last")
    def last(self):
        self.exit_stack.callback(fail, "closing")
        fail("opening")

context = Context(stdout=os.path.abspath("log"), stderr=os.path.abspath("log"), ready="manual")
print("seen", context._opening.stage, flush=True)
try:
    with context:
        fail("open")
        context.ready()
        fail("ready")
finally:
    if context._opening.tie is not None:
        print("seen", context._opening.stage, flush=True)
"""
# In which stage it fails: whether the launcher raises it, and the stages that the daemon's log shows.
TOLD = {
    "opening": (True, ["opening", "opening", "closed"]),
    "open": (True, ["opening", "open", "closing"]),
    "ready": (False, ["opening", "open", "ready", "closing", "closed"]),
    "closing": (False, ["opening", "open", "ready", "closing", "closed"]),
}


def rows_of_the_table() -> dict[str, str]:
    """Return the stages of the module's table, each with who is told."""
    assert opening.__doc__ is not None
    columns = [match.span() for match in re.finditer("=+", opening.__doc__.split("\n")[4])]
    rows = [line for line in opening.__doc__.split("\n")[7:] if line and not line.startswith("=")]
    return {row[slice(*columns[0])].strip(): row[columns[2][0] :].strip() for row in rows}


def test_the_table_has_the_stages_in_their_order() -> None:
    assert tuple(rows_of_the_table()) == opening.STAGES


@pytest.mark.parametrize("stage", TOLD)
def test_who_is_told_of_an_exception_is_who_the_table_says(daemons: Daemons, stage: str) -> None:
    by_launcher, seen = TOLD[stage]
    launched = daemons.launch(FAILING, stage)
    wait_for(lambda: not daemons.alive(), what="the daemon ends")
    log = (daemons.directory / "log").read_text() if (daemons.directory / "log").exists() else ""
    message = f"it fails {stage}"
    assert (launched.status != 0) == by_launcher
    assert (message in launched.stderr) == by_launcher
    assert (message in log) != by_launcher
    assert ("launcher" in rows_of_the_table()[stage].partition(";")[0]) == by_launcher
    found = re.findall("seen (.*)", log)
    assert found == [each for each in seen if not (by_launcher and each == "closed")]


def test_a_block_whose_open_is_a_subclass_s_own_calls_close_all_the_same() -> None:
    """PEP 3143: the end of the block calls close()."""
    events = []

    class Own(DaemonContext):
        def open(self) -> None:
            events.append("open")

        def close(self) -> None:
            events.append("close")
            super().close()

    with Own():
        events.append("body")
    assert events == ["open", "body", "close"]


def test_each_opening_begins_anew_and_keeps_only_what_was_pushed_before_it(daemons: Daemons) -> None:
    launched = daemons.launch(
        """
        from daemonry import DaemonContext

        given_back = []
        context = DaemonContext(detach_process=False)
        context.exit_stack.callback(given_back.append, "pushed before")
        with context:
            first = context._opening
        with context:
            second = context._opening
            print(first is second, first.stage, second.stage, given_back)
        """
    ).check()
    assert launched.stdout == "False closed ready ['pushed before']\n"
