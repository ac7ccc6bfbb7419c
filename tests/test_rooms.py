"""The rooms of the house: what each may import, and how much a file and a function may be."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from harness.house import FILES, MAY_IMPORT, PURPOSE, arrows, floors, imports_by, imports_of, package, room_of

FOLDERS = sorted({room_of(name) for name in FILES if (package() / room_of(name)).is_dir()})
ROOT = Path(__file__).resolve().parent.parent


def test_each_room_imports_what_the_table_says_and_nothing_else() -> None:
    assert arrows() == MAY_IMPORT
    assert set(PURPOSE) == set(MAY_IMPORT)


def test_no_room_imports_one_above_it() -> None:
    assert floors(MAY_IMPORT)[0] == ["__init__", "errors"]  # it raises CycleError, which names the circle


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_files_of_a_room_import_one_another_without_a_circle(folder: str) -> None:
    files = [each for each in FILES if room_of(each) == folder]
    own = {name: {each.file for each in imports_by(name) if room_of(each.file) == folder} for name in files}
    TopologicalSorter(own).prepare()


@pytest.mark.parametrize("name", sorted(FILES))
def test_no_file_imports_the_private_names_of_another_room(name: str) -> None:
    others = {each for each in imports_by(name) if room_of(each.file) != room_of(name)}
    assert not {f"{each.file}.{each.name}" for each in others if each.name.startswith("_")}


def test_few_files_stand_outside_of_a_room() -> None:
    assert len([name for name in FILES if FILES[name].parent == package()]) <= 8


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_file_can_be_read_without_a_table_of_contents(name: str) -> None:
    assert len(FILES[name].read_text(encoding="utf-8").splitlines()) <= 350


def lines_of_bodies() -> dict[str, int]:
    """Return how many lines each function's body has, without its docstring."""
    found = {}
    for name, path in FILES.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                body = node.body[1:] if ast.get_docstring(node) is not None else node.body
                count = body[-1].end_lineno - body[0].lineno + 1 if body else 0
                found[f"{name}.{node.name}:{node.lineno}"] = count
    return found


def test_functions_are_short() -> None:
    """Nine in ten within 16 lines, none over 32."""
    lines = lines_of_bodies()
    assert sum(count > 16 for count in lines.values()) <= len(lines) / 10
    assert not {name: count for name, count in lines.items() if count > 32}


def test_the_picture_of_the_house_is_drawn_from_the_code_as_it_is() -> None:
    drawing = (sys.executable, ROOT / "scripts" / "draw-house", "--check")
    told = subprocess.run(drawing, check=False, capture_output=True, text=True)
    assert told.returncode == 0, told.stderr


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("from . import errors, plan", ["errors.", "plan."]),
        ("from .plan import Plan", ["plan.Plan"]),
        ("import daemonry.plan", ["plan."]),
        ("import daemonry", ["__init__."]),
        ("from daemonry import DaemonContext", ["__init__.DaemonContext"]),
        ("from daemonry.pidfile import PIDLockFile", ["pidfile.PIDLockFile"]),
        ("def f():\n    from .context import x", ["context.x"]),
        ("if TYPE_CHECKING:\n    from .context import x\nelse:\n    from .errors import y", ["errors.y"]),
        ("import os, daemonry_plugins", []),
        ("from .doctor import place", ["doctor.place."]),
        ("import daemonry.doctor.place", ["doctor.place."]),
    ],
)
def test_every_way_to_import_is_seen(source: str, found: list[str]) -> None:
    assert [".".join(each) for each in imports_of(source)] == found


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("from .finding import Finding", ["doctor.finding.Finding"]),
        ("from . import place, rights", ["doctor.place.", "doctor.rights."]),
        ("from .. import errors, plan", ["errors.", "plan."]),
        ("from ..plan import Plan", ["plan.Plan"]),
        ("from ..doctor.place import umask", ["doctor.place.umask"]),
    ],
)
def test_every_way_to_import_is_seen_in_a_room(source: str, found: list[str]) -> None:
    assert [".".join(each) for each in imports_of(source, "doctor")] == found
