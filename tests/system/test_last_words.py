"""What ends a daemon is found somewhere, be there no log, no reader of standard error and no system log."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from daemonry.system import last_words
from harness.waiting import read_json, wait_for
from launcher_programs import UNMEASURED, program

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.daemons import Daemons


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """Return the directory in which this test's words are kept."""
    monkeypatch.setattr(last_words, "_PLACE", str(tmp_path))
    return Path(last_words.directory())


@pytest.mark.skipif(os.path.exists("/dev/log"), reason="this machine has a system log")
@pytest.mark.parametrize("end", ["1 / 0", "threading.Thread(target=lambda: 1 / 0).start()"])
def test_the_first_thing_that_a_newcomer_tries_is_found(daemons: Daemons, end: str) -> None:
    """The launcher has said that all is well, and nobody else was there."""
    daemons.launch(
        program(f"""
        import daemonry.system.last_words
        daemonry.system.last_words._PLACE = os.getcwd()
        with Context(working_directory="."):
            publish("pid", os.getpid())
            {end}
        """),
        env=UNMEASURED,
    ).check()
    pid = read_json(daemons.directory / "pid")
    wait_for(lambda: not daemons.alive())
    (found,) = (daemons.directory / f"daemonry-{os.geteuid()}").iterdir()
    assert found.name == f"program-0.py.{pid}"
    assert found.stat().st_mode & 0o777 == 0o600
    lines = found.read_text().splitlines()
    assert "ZeroDivisionError: division by zero" in lines[1] or "uncaught exception in thread" in lines[1]
    assert lines[-1] == "ZeroDivisionError: division by zero"


def test_words_are_added_to_those_before(place: Path) -> None:
    last_words.keep(["one"])
    last_words.keep(["two", "\udc80"])
    (found,) = place.iterdir()
    assert [line for line in found.read_text().splitlines() if ":" not in line] == ["one", "two", "\\udc80"]


@pytest.mark.reliability("Hostile files")
@pytest.mark.parametrize("kind", ["a link", "open to all", "a file"])
def test_nothing_is_written_where_others_decide(place: Path, tmp_path: Path, kind: str) -> None:
    """Anybody may have been there first, and made something of that name."""
    target = tmp_path / "target"
    target.mkdir(mode=0o700)
    if kind == "a link":
        place.symlink_to(target)
    elif kind == "a file":
        place.touch()
    else:
        place.mkdir()
        place.chmod(0o777)
    last_words.keep(["words"])
    assert list(target.iterdir()) == []
    assert kind == "a file" or list(place.iterdir()) == []
