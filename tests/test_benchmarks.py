"""The benchmarks measure what they say, leave nothing behind, and their page tells what a run has found."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from benchmarks import bounds
from benchmarks.peers import AGAIN, BARE, OURS
from benchmarks.rows import Row, spread

from harness.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

PROJECT = Path(__file__).parent.parent


def python(*words: str) -> subprocess.Popen[str]:
    """Start an interpreter of the tests' own environment, which then is what is measured."""
    return subprocess.Popen(
        [sys.executable, *words], cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )


def found_by(file: Path, *words: str) -> dict[str, Any]:
    """Return what a run of the command writes down, and its report as ``report``."""
    run = python("-m", "benchmarks", "--rounds", "1", "--output", str(file), *words)
    report, _ = run.communicate()
    assert run.returncode == 0
    return {**json.loads(file.read_text()), "report": report}


# What is found


def test_a_run_finds_what_a_start_takes(tmp_path: Path) -> None:
    found = found_by(tmp_path / "found.json", "--only", "starts", "--subject", BARE, "--subject", OURS)
    figures = {row["key"]: row["figures"] for row in found["rows"]}
    for key in ("open", "open-pidfile", "exec", "launcher", "rss", "pss", "modules", "sigterm"):
        assert set(figures[key]) == {BARE, OURS}
        assert all(each["value"][1] > 0 for each in figures[key].values()), key
    assert figures["open"][OURS]["value"][1] < figures["exec"][OURS]["value"][1]
    assert figures["open"][BARE]["ratio"] == [1, 1, 1]
    assert figures["left"][OURS]["value"][1] == 0
    assert [row["notes"].keys() for row in found["rows"] if row["key"] == "early"] == [{BARE}]
    assert "open() to body" in found["report"]


def test_what_is_written_down_names_no_machine_and_no_place(tmp_path: Path) -> None:
    for name in ("imports", "restarts"):  # the second with the words of one who does not come up
        found_by(tmp_path / name, "--only", name, "--subject", BARE, "--subject", "daemonize")
        text = (tmp_path / name).read_text()
        assert not re.search(rf"/(tmp|home|root|dev|run)\b|{re.escape(socket.gethostname())}\b", text)


def test_who_does_not_come_up_is_told_of_with_his_reason(tmp_path: Path) -> None:
    found = found_by(tmp_path / "found.json", "--only", "restarts", "--subject", BARE, "--subject", "daemonize")
    row = found["rows"][0]
    assert set(row["figures"]) == {BARE}
    assert row["notes"] == {"daemonize": "does not come up: ModuleNotFoundError: No module named 'daemonize'"}


@pytest.mark.skipif(not shutil.which("strace"), reason="takes strace")
def test_the_calls_of_a_start_are_told_apart_by_process() -> None:
    program = """
        import json, tempfile
        from pathlib import Path
        from benchmarks import leaving_nothing, tracing
        from benchmarks.launching import Runner, Setting
        from benchmarks.peers import subjects
        leaving_nothing.adopt_daemons()
        with tempfile.TemporaryDirectory() as place:
            calls = tracing.system_calls(Runner(Path(place)), subjects(Path(place))[0], Setting())
        print(json.dumps([[call.partition("(")[0] for call in those] for those in (calls.path, calls.beside)]))
    """
    path, beside = json.loads(python("-c", textwrap.dedent(program)).communicate()[0])
    assert [path.count(name) for name in ("setsid", "chdir", "umask")] == [1, 1, 1]
    assert sum(name.startswith("dup") for name in path) == 3
    assert sum(name.startswith(("clone", "fork", "vfork")) for name in path) == 2
    assert beside.count("exit_group") == 2
    assert not {"setsid", "chdir", "umask"} & set(beside)


def test_a_figure_is_the_median_of_the_ratios_of_the_rounds() -> None:
    row = Row("key", "title", "ms", values={BARE: [1, 10, 100], AGAIN: [2, 10, 300], OURS: []})
    figures = row.as_data()["figures"]
    assert figures[AGAIN] == {"value": [6, 10, 155], "ratio": [1.5, 2, 2.5]}
    assert OURS not in figures
    assert spread([7]) == [7, 7, 7]


# Nothing is left


def words_of(pid: int) -> list[str]:
    """Return the command line of a process; none for one that has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
    except OSError:
        return []


def those_with(place: str) -> list[int]:
    """Return the numbers of the processes that have a place among their words."""
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [pid for pid in pids if place in words_of(pid)]


def place_of(run: subprocess.Popen[str]) -> str:
    """Wait until a subject of that run is there, and return the word for its place, which all of them have."""
    children = Path(f"/proc/{run.pid}/task/{run.pid}/children")

    def places() -> list[str]:
        pids = map(int, children.read_text().split())
        return [word for pid in pids for word in words_of(pid) if word.startswith("place=")]

    return wait_for(places, what="a subject is started")[0]


@pytest.fixture
def endless() -> Iterator[subprocess.Popen[str]]:
    """A run that goes on until it is ended."""
    run = python("-m", "benchmarks", "--only", "starts", "--rounds", "100000", "--subject", BARE, "--subject", OURS)
    yield run
    run.kill()
    run.communicate()


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_nothing_outlives_a_run_however_it_ends(endless: subprocess.Popen[str], signum: int) -> None:
    place = place_of(endless)
    endless.send_signal(signum)
    endless.wait()
    if signum == signal.SIGKILL:
        wait_for(lambda: not those_with(place), what="the subjects notice that the runner is gone")
        shutil.rmtree(place.partition("=")[2])
        # One that was being forked while the others were looked at notices it a moment later.
        wait_for(lambda: not those_with(place), what="the last subject notices it")
    assert those_with(place) == []
    assert not os.path.exists(place.partition("=")[2])


# The bounds


def test_a_bound_that_is_exceeded_does_not_hold() -> None:
    calls = Row("calls", "system calls", "calls", values={BARE: [10, 10], OURS: [41, 40]})
    found = list(
        bounds.verdicts(
            [calls],
            (
                bounds.Bound("calls", 40.5),
                bounds.Bound("calls", 40),
                bounds.Bound("calls", 4.1, beside_bare=True),
                bounds.Bound("calls", 4, beside_bare=True),
                bounds.Bound("instructions", 1e9),
            ),
        )
    )
    assert [holds for holds, _ in found] == [True, False, True, False, False]
    assert found[1][1] == "system calls: 40.5 calls; at most 40"
    assert found[4][1] == "instructions: could not be counted"


def test_continuous_integration_holds_the_bounds() -> None:
    assert re.search(r"\bbenchmarks/run --bounds$", (PROJECT / ".ci" / "run").read_text(), re.MULTILINE)


# The page


def told() -> dict[str, Any]:
    data: dict[str, Any] = json.loads((PROJECT / "docs" / "benchmarks.json").read_text())
    return data


def test_the_page_shows_every_row_of_the_run() -> None:
    page = (PROJECT / "docs" / "benchmarks.rst").read_text()
    shown = " ".join(re.findall(r"^\.\. measured:: (.+)$", page, re.MULTILINE)).split()
    assert len(shown) == len(set(shown))
    assert {row["key"] for row in told()["rows"]} <= set(shown)


def test_the_page_is_of_a_whole_run_and_says_of_which() -> None:
    data = told()
    assert data["rounds"] >= 15
    assert {"python-daemon", "daemonocle", "daemonize", "daemoniker", "pep3143daemon"} <= data["versions"].keys()
    assert {"system", "python", "processors", "memory"} <= data["machine"].keys()
    assert {bound.key for bound in bounds.BOUNDS} <= {row["key"] for row in data["rows"]}


def test_a_plot_takes_the_colours_of_its_page() -> None:
    sys.path.insert(0, str(PROJECT / "docs" / "_ext"))
    try:
        from bars import svg
    finally:
        sys.path.pop(0)
    plot = svg("a <title>", [("one", [1, 2, 3], "2 ms"), ("other", [900, 1000, 1100], "1 s")], "one")
    assert "a &lt;title&gt;" in plot
    assert "on a logarithmic scale" in plot
    assert set(re.findall(r"#[0-9a-f]{3,6}|black|white", plot)) == set()
    assert plot.count("<rect") == 2
