"""Very many at one pidfile: starts, crashes and readers by the thousand, and each is told the truth."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING

import pytest
from storm_programs import CRASHES, CROWD, READERS

from daemonry.control import find
from harness.size import times
from harness.waiting import is_alive, read_json

if TYPE_CHECKING:
    from pathlib import Path

    from harness.daemons import Daemons
    from harness.evidence import Cases

pytestmark = pytest.mark.reliability("Storms")

STARTERS = times(1000)
ROUNDS = times(2000)
READING, STARTS = 50, times(500)
WORKERS = 100


def test_of_a_thousand_starts_at_once_one_daemon_comes_and_each_other_launcher_is_told_its_number(
    daemons: Daemons, tmp_path: Path, cases: Cases
) -> None:
    path = tmp_path / "test.pid"
    launched = daemons.launch(CROWD, path, STARTERS, plain=True, timeout=300).check()
    told = json.loads(launched.stdout)
    assert daemons.alive() == [told["holder"]]
    assert told["refused"] == [told["holder"]] * (STARTERS - 1)
    daemons.stop(told["holder"])
    assert list(tmp_path.iterdir()) == []
    cases.add(STARTERS)


def test_a_daemon_that_is_killed_is_started_again_two_thousand_times_with_no_hand_in_between(
    daemons: Daemons, tmp_path: Path, cases: Cases
) -> None:
    """From outside or by itself, as soon as it is ready; alone, or with workers that outlive it."""
    path = tmp_path / "test.pid"
    daemons.launch(CRASHES, path, ROUNDS, plain=True, timeout=600).check()
    assert daemons.alive() == []
    assert [each.name for each in tmp_path.iterdir()] == ["test.pid"]
    cases.add(ROUNDS)


def test_fifty_readers_make_no_start_fail_and_see_no_wrong_number(
    daemons: Daemons, tmp_path: Path, cases: Cases
) -> None:
    """What a reader has seen, in its order, are numbers of daemons in the order of their starts."""
    launched = daemons.launch(READERS, tmp_path / "test.pid", READING, STARTS, plain=True, timeout=600).check()
    told = json.loads(launched.stdout)
    for reader in told["readers"]:
        assert reader["wrong"] == []
        started = iter(told["started"])
        assert all(pid in started for pid in reader["seen"]), reader["seen"]
    assert sum(len(reader["seen"]) for reader in told["readers"]) > STARTS
    assert len(told["readers"]) == READING
    assert daemons.alive() == list(tmp_path.iterdir()) == []
    cases.add(STARTS)


CROWDED = """
    import os, signal, sys
    from daemonry import DaemonContext, PIDLockFile
    from harness.probe import publish
    count = int(sys.argv[1])
    pidfile = PIDLockFile("test.pid")
    with DaemonContext(pidfile=pidfile, working_directory=".", ready="manual") as context:
        workers = []
        for _ in range(count):
            workers.append(os.fork())
            if workers[-1] == 0:
                signal.pause()
        publish("workers", workers)
        context.ready()
        context.wait()
"""


def test_the_lock_of_a_killed_daemon_is_free_at_once_though_a_hundred_workers_live_on(
    daemons: Daemons, cases: Cases
) -> None:
    path = daemons.directory / "test.pid"
    daemons.launch(CROWDED, WORKERS).check()
    workers = read_json(daemons.directory / "workers")
    first = find(path)
    assert first is not None
    daemons.stop(first.pid, signal.SIGKILL)
    assert find(path) is None
    daemons.launch(CROWDED, 0).check()
    second = find(path)
    assert second is not None
    assert daemons.alive() == sorted([second.pid, *workers])
    assert path.read_text() == f"{second.pid}\n"
    daemons.stop(second.pid)
    for worker in workers:
        assert is_alive(worker)
        daemons.stop(worker, signal.SIGKILL)
    cases.add(WORKERS)
