"""Asking takes nothing: however many processes ask for a daemon, it starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from harness.size import times
from harness.waiting import read_json

if TYPE_CHECKING:
    from harness.daemons import Daemons
    from harness.evidence import Cases

pytestmark = pytest.mark.reliability("Storms")

ASKERS = 50
STARTS = times(100)

# Each start is a fork of one process that has imported the command, for an interpreter takes longer to begin than the
# start. The askers have no priority, so that they take what time the starts leave, and no more; they still ask as often
# as the machine can.
STORM = """
import os, signal, sys, time
from harness.probe import publish
from daemonry.cli import main
from daemonry.control import find
from daemonry.errors import ControlError

pidfile, askers, starts = os.path.abspath("storm.pid"), int(sys.argv[1]), int(sys.argv[2])
go, going = os.pipe()

def ask(number):
    wanted = []
    signal.signal(signal.SIGTERM, lambda *_: wanted.append(1))
    os.nice(19)
    told = {"running": 0, "not": 0, "doubts": []}
    os.write(going, b"x")
    while not wanted:
        try:
            told["running" if find(pidfile) else "not"] += 1
        except ControlError as error:
            told["doubts"].append(str(error))
    publish(f"asker-{number}.json", told)

def forked(work, *arguments):
    child = os.fork()
    if child == 0:
        try:
            os._exit(work(*arguments) or 0)
        finally:
            os._exit(99)
    return child

children = [forked(ask, number) for number in range(askers)]
left = askers
while left:
    left -= len(os.read(go, left))

words = ["start", "--quiet", "--pidfile", pidfile, "--output", "storm.log", "--settle", "0", "--", "sleep", "60"]
main(["plan", *words[1:]])  # imports what each of them would import anew
failed, begin = [], time.monotonic()
for number in range(starts):
    _, status = os.waitpid(forked(main, words), 0)
    daemon = find(pidfile)
    if status or daemon is None:
        failed.append((number, status, str(daemon)))
    if daemon is not None:
        daemon.stop("KILL/10")
seconds = time.monotonic() - begin

for child in children:
    os.kill(child, signal.SIGTERM)
for child in children:
    os.waitpid(child, 0)
publish("storm.json", {"failed": failed, "seconds": seconds})
"""


def test_no_start_fails_for_those_who_ask(daemons: Daemons, cases: Cases) -> None:
    """Fifty processes that ask for a daemon over and over make none of its starts fail; each start follows a crash."""
    # The askers' signal handlers and loops say nothing of the library that is worth being measured.
    told = daemons.launch(STORM, ASKERS, STARTS, timeout=120 + STARTS).check()
    storm = read_json(daemons.directory / "storm.json")
    asked = [read_json(daemons.directory / f"asker-{number}.json") for number in range(ASKERS)]
    running, idle = (sum(each[key] for each in asked) for key in ("running", "not"))
    doubts = [doubt for each in asked for doubt in each["doubts"]]
    print(
        f"{STARTS} starts in {storm['seconds']:.1f} s among {ASKERS} askers: {len(storm['failed'])} failed; "
        f"{running + idle} answers, {running} of them that it runs, {len(doubts)} doubts",
        *doubts[:1],
        sep="\n",
    )
    assert storm["failed"] == [], told.stderr
    assert running > 0
    assert idle > 0
    assert daemons.alive() == []
    cases.add(STARTS)
