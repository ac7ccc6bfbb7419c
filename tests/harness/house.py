"""The house as the code's imports draw it: its rooms, what each may import, and on which floor it lies.

A room is a folder of the library, or a file at its top. ``scripts/draw-house`` makes the picture of CONTRIBUTING.rst.
"""

from __future__ import annotations

import ast
import importlib.util
from graphlib import TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

# From the ground up. An arrow that is not here is a change of the house, and wants a reason.
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "system": {"errors"},
    "pidfile": {"errors", "system"},
    "steps": {"errors", "system", "pidfile"},
    "manager": {"errors", "system"},
    "options": {"steps", "system", "pidfile"},
    "launch": {"errors", "system", "steps", "pidfile"},
    "control": {"errors", "system", "steps", "pidfile"},
    "plan": {"errors", "system", "steps", "manager"},
    "opening": {"errors", "system", "launch", "plan"},
    "body": {"errors", "system", "steps", "manager", "options", "plan", "opening"},
    "context": {"errors", "system", "steps", "launch", "opening", "body"},
    "doctor": {"system", "steps", "pidfile", "manager"},
    "units": {"errors", "system", "control"},
    "cli": {
        "errors",
        "system",
        "steps",
        "pidfile",
        "launch",
        "control",
        "body",
        "context",
        "doctor",
        "units",
    },
    "__init__": set(),  # it hands names on when they are asked for
    "__main__": {"cli"},
}

PURPOSE: dict[str, str] = {
    "errors": "what can be caught",
    "system": "processes, descriptors, libc",
    "steps": "a mechanism each",
    "pidfile": "the lock, and its file",
    "manager": "who started us, and is told",
    "options": "as the user writes them",
    "launch": "launcher, witness, daemon",
    "control": "find, stop, reload, wait",
    "plan": "the options, resolved",
    "opening": "from open() to its end",
    "body": "what a body may ask",
    "context": "the steps in their order",
    "doctor": "is that a good daemon?",
    "units": "for each service manager",
    "cli": "the command",
    "__init__": "the public names",
    "__main__": "python -m daemonry",
}


class Import(NamedTuple):
    """What a file imports at run time: a file of the library, and a name in it, if it is one."""

    file: str
    name: str


def package() -> Path:
    spec = importlib.util.find_spec("daemonry")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


def name_of(path: Path) -> str:
    """Return a file's name below the library, a folder's ``__init__`` being the folder."""
    parts = path.relative_to(package()).with_suffix("").parts
    return ".".join(parts[:-1] if parts[1:] and parts[-1] == "__init__" else parts)


FILES = {name_of(path): path for path in sorted(package().rglob("*.py"))}


def room_of(name: str) -> str:
    return name.partition(".")[0]


def imports_of(source: str, folder: str = "") -> Iterator[Import]:
    """Yield what a file imports at run time, wherever in it that is written.

    :param folder: the folder below the library that the file is in.
    """
    here = ["daemonry", *filter(None, [folder])]
    for node in run_time_nodes(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = here[: len(here) - node.level + 1] if node.level else []
            names = [".".join([*above, *filter(None, [node.module]), alias.name]) for alias in node.names]
        else:
            continue
        for name in names:
            top, *rest = name.split(".")
            if top == "daemonry":
                file = file_of(rest)
                yield Import(file, "" if file == ".".join(rest) else rest[-1] if rest else "")


def file_of(parts: list[str]) -> str:
    """Return the file that has what is imported: the name may be a file's, or one that a file defines."""
    while parts and ".".join(parts) not in FILES:
        parts = parts[:-1]
    return ".".join(parts) or "__init__"


def imports_by(name: str) -> set[Import]:
    path = FILES[name]
    folder = path.parent.name if path.parent != package() else ""
    return set(imports_of(path.read_text(encoding="utf-8"), folder))


def run_time_nodes(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            for other in child.orelse:
                yield from (other, *run_time_nodes(other))
        else:
            yield child
            yield from run_time_nodes(child)


def arrows() -> dict[str, set[str]]:
    """Return the rooms that each room imports."""
    found: dict[str, set[str]] = {room_of(name): set() for name in FILES}
    for name in FILES:
        found[room_of(name)] |= {room_of(each.file) for each in imports_by(name)} - {room_of(name)}
    return found


def floors(rooms: dict[str, set[str]]) -> list[list[str]]:
    """Return the rooms by floors, from the ground up: each lies above all that it imports.

    :raises graphlib.CycleError: when they import one another in a circle.
    """
    level: dict[str, int] = {}
    for room in TopologicalSorter(rooms).static_order():
        level[room] = max((level[each] + 1 for each in rooms[room]), default=0)
    return [sorted(room for room in level if level[room] == floor) for floor in range(max(level.values()) + 1)]
