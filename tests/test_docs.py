"""What the documents promise is what there is."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
from pathlib import Path

import pytest

from daemonry import DaemonContext
from daemonry.cli.command_table import COMMANDS
from daemonry.cli.commands import parse
from daemonry.options import Options
from harness.evidence import sentence_of

PROJECT = Path(__file__).parent.parent


def directive() -> object:
    spec = importlib.util.spec_from_file_location("steps", PROJECT / "docs" / "_ext" / "steps.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_documented_list_of_steps_is_the_tuple() -> None:
    listed = directive().listed()  # type: ignore[attr-defined]
    assert tuple(name for name, _ in listed) == DaemonContext.steps
    assert all(text.endswith(".") for _, text in listed)


def test_the_reference_lists_the_methods_of_all_steps_in_their_order() -> None:
    reference = (PROJECT / "docs" / "reference.rst").read_text()
    found = [
        name for name in re.findall(r"automethod:: DaemonContext\.(\w+)", reference) if name in DaemonContext.steps
    ]
    assert tuple(found) == DaemonContext.steps


def test_every_option_is_documented() -> None:
    documented = set(re.findall(r":param (\w+):", Options.__doc__ or ""))
    options = {name.replace("_ready_when", "ready").lstrip("_") for name in Options.__slots__}
    assert documented == options


def test_the_readme_gives_two_commands_that_there_are() -> None:
    commands = re.findall(r"^    (scripts/\S+)$", (PROJECT / "README.rst").read_text(), re.MULTILINE)
    assert commands == ["scripts/demo", "scripts/test"]
    assert all(os.access(PROJECT / command, os.X_OK) for command in commands)


def test_continuous_integration_calls_the_test_command_of_the_readme() -> None:
    assert re.search(r"\bscripts/test$", (PROJECT / ".ci" / "run").read_text(), re.MULTILINE)


def shown_commands() -> list[str]:
    """Every line of the documents in which somebody types a command of daemonry's, without the shell's share of it."""
    pages = [PROJECT / "README.rst", *(PROJECT / "docs").glob("*.rst")]
    found = (
        re.findall(r"^ +[#$] (?:\.venv/bin/)?(daemonry [^;>|\n]*)", page.read_text(), re.MULTILINE) for page in pages
    )
    examples = (example for command in COMMANDS.values() for example in command.examples)
    typed = (*(line for lines in found for line in lines), *examples)
    return sorted({line for line in typed if line.startswith("daemonry ")})


@pytest.mark.parametrize("line", shown_commands())
def test_a_command_that_is_shown_is_one_that_there_is(line: str) -> None:
    _, name, *words = shlex.split(line.partition(" > ")[0])
    parse(name, words)  # argparse leaves by SystemExit for what it does not know


def test_the_documents_show_the_commands() -> None:
    assert {line.split()[1] for line in shown_commands()} == set(COMMANDS)


# The page on reliability


def told_of_reliability() -> set[str]:
    rows = json.loads((PROJECT / "docs" / "reliability.json").read_text())["rows"]
    return {row["sentence"] for row in rows}


def test_what_the_tests_of_reliability_show_is_on_the_page(request: pytest.FixtureRequest) -> None:
    marked = [item for item in request.session.items if item.get_closest_marker("reliability") is not None]
    shown = {sentence_of(getattr(item, "originalname", item.name)) for item in marked}
    assert shown - told_of_reliability() == set(), "see the end of docs/reliability.rst"


def test_what_the_page_on_reliability_tells_is_shown_by_a_test() -> None:
    files = (PROJECT / "tests").rglob("test_*.py")
    names = {name for file in files for name in re.findall(r"^def test_(\w+)", file.read_text(), re.MULTILINE)}
    assert told_of_reliability() <= {sentence_of(name) for name in names}


def test_the_page_on_reliability_has_every_kind_and_no_defect() -> None:
    rows = json.loads((PROJECT / "docs" / "reliability.json").read_text())["rows"]
    page = (PROJECT / "docs" / "reliability.rst").read_text()
    assert set(re.findall(r"^\.\. shown:: (.+)$", page, re.MULTILINE)) == {row["kind"] for row in rows}
    assert {"failed", "defect", "unknown"}.isdisjoint(verdict for row in rows for verdict in row["verdicts"])
