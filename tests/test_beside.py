"""The table beside other tools: each row of it is shown by tests that there are, and each claim has its manual."""

from __future__ import annotations

import ast
import importlib.util
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent


def extension() -> Any:
    spec = importlib.util.spec_from_file_location("beside", ROOT / "docs" / "_ext" / "beside.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TABLE = extension().table()
TOOLS = {tool["key"] for tool in TABLE["tools"]}


@cache
def functions_in(path: str) -> frozenset[str]:
    found = ast.walk(ast.parse((ROOT / path).read_text()))
    return frozenset(node.name for node in found if isinstance(node, ast.FunctionDef))


@pytest.mark.parametrize("row", TABLE["rows"], ids=[row["what"] for row in TABLE["rows"]])
def test_what_is_said_of_daemonry_is_shown_by_a_test(row: dict[str, Any]) -> None:
    """By one of those that run; who renames it renames it there."""
    assert row["tests"]
    for test in row["tests"]:
        path, _, name = test.partition("::")
        assert name in functions_in(path), test


@pytest.mark.parametrize("row", [*TABLE["rows"], *TABLE["lacking"]], ids=lambda row: row["what"])
def test_what_is_said_of_others_names_tools_that_have_a_manual(row: dict[str, Any]) -> None:
    assert set(row["theirs"]) <= TOOLS
    assert all(row["theirs"].values())


def test_every_tool_has_a_manual_that_can_be_looked_at() -> None:
    assert all(tool["manual"] and tool["url"].startswith(("https://", "http://")) for tool in TABLE["tools"])
    assert len(TABLE["tools"]) == len(TOOLS) == 6


def test_what_daemonry_has_not_is_had_by_somebody() -> None:
    assert all(row["theirs"] for row in TABLE["lacking"])
