"""The storeys of the house: a file imports only from below its own, so that data flows one way."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

# From the ground up.
STOREYS = (
    {"errors", "record", "forks", "libc", "hold", "log_file"},
    {"process", "kernel_lock", "report"},
    {"pidfile_errors", "seal"},
    {"witness", "pidfile_reading"},
    {"pidfile_on_disk"},
    {
        "detach",
        "descriptors",
        "streams",
        "logs",
        "filesystem",
        "privileges",
        "signals",
        "pidfile",
        "service_manager",
    },
    {"schedule"},
    {"options", "plan", "failures"},
    {"lifecycle"},
    {"context"},
    {"control", "doctor"},
    {"__init__"},
)
STOREY_OF = {name: number for number, names in enumerate(STOREYS) for name in names}


def package() -> Path:
    spec = importlib.util.find_spec("daemonry")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


FILES = {path.stem: path for path in package().glob("*.py")}


def imports_of(source: str) -> Iterator[str]:
    """Yield the files of the package that a file imports at run time, wherever in it that is written."""
    for node in run_time_nodes(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = ".".join(filter(None, ("daemonry" if node.level else None, node.module)))
            names = [f"{module}.{alias.name}" if module == "daemonry" else module for alias in node.names]
        else:
            continue
        for name in names:
            top, _, rest = name.partition(".")
            if top == "daemonry":
                yield rest.split(".")[0] if rest.split(".")[0] in STOREY_OF else "__init__"


def run_time_nodes(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            for other in child.orelse:
                yield from (other, *run_time_nodes(other))
        else:
            yield child
            yield from run_time_nodes(child)


def test_every_file_has_one_storey() -> None:
    assert set(FILES) == set(STOREY_OF)
    assert sum(map(len, STOREYS)) == len(STOREY_OF)


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_file_imports_only_storeys_below_its_own(name: str) -> None:
    imported = set(imports_of(FILES[name].read_text(encoding="utf-8")))
    wrong = {other for other in imported if STOREY_OF[other] >= STOREY_OF[name]}
    assert not wrong, f"{name} imports {sorted(wrong)}, which are not below it"


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("from . import errors, plan", ["errors", "plan"]),
        ("from .plan import Plan", ["plan"]),
        ("import daemonry.plan", ["plan"]),
        ("import daemonry", ["__init__"]),
        ("from daemonry import DaemonContext", ["__init__"]),
        ("from daemonry.pidfile import PIDLockFile", ["pidfile"]),
        ("def f():\n    from .context import x", ["context"]),
        ("if TYPE_CHECKING:\n    from .context import x\nelse:\n    from .errors import y", ["errors"]),
        ("import os, daemonry_plugins", []),
    ],
)
def test_every_way_to_import_is_seen(source: str, found: list[str]) -> None:
    assert list(imports_of(source)) == found
