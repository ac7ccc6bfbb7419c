"""What the documents promise is what there is."""

from __future__ import annotations

import importlib.util
import os
import re
from pathlib import Path

from daemonry import DaemonContext
from daemonry.options import Options

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
    options = {name for name in Options.__slots__ if not name.startswith("_")} | {"ready"}
    assert documented == options


def test_the_readme_gives_two_commands_that_there_are() -> None:
    commands = re.findall(r"^    (scripts/\S+)$", (PROJECT / "README.rst").read_text(), re.MULTILINE)
    assert commands == ["scripts/demo", "scripts/test"]
    assert all(os.access(PROJECT / command, os.X_OK) for command in commands)


def test_continuous_integration_calls_the_test_command_of_the_readme() -> None:
    assert re.search(r"\bscripts/test$", (PROJECT / ".ci" / "run").read_text(), re.MULTILINE)
