"""The storeys of the house: a file imports only from below its own, so that data flows one way.

A package has one storey for all of its files, which import one another without a circle.
"""

from __future__ import annotations

import ast
import importlib.util
from graphlib import TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

# From the ground up.
STOREYS = (
    {"errors", "record", "frames"},
    {"bare", "libc"},
    {"forks", "hold", "closing", "messages"},
    {"ids"},
    {
        "advice",
        "last_words",
        "other_threads",
        "kernel_lock",
        "user_namespace",
        "report",
        "sd_notify",
        "sd_listen",
    },
    {"process", "walk"},
    {"pidfile_errors", "pidfile_mark", "pidfile_turn", "seal"},
    {"witness", "pidfile_reading", "log_file"},
    {"launcher"},
    {"pidfile_on_disk"},
    {"pidfile_lock"},
    {
        "container",
        "detach",
        "copies",
        "descriptors",
        "streams",
        "logs",
        "telling",
        "filesystem",
        "accounts",
        "privileges",
        "terminal",
        "core_limit",
        "signals",
        "pidfile",
        "journal",
        "service_manager",
        "watchdog",
    },
    {"schedule", "misspelt", "identity", "saved_streams", "uncaught"},
    {"options", "plan", "failures", "stopping"},
    {"ending"},
    {"lifecycle"},
    {"context"},
    {"control", "doctor", "units"},
    {"__init__"},
    {"cli"},
    {"__main__"},
)
STOREY_OF = {name: number for number, names in enumerate(STOREYS) for name in names}


def package() -> Path:
    spec = importlib.util.find_spec("daemonry")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


def name_of(path: Path) -> str:
    """Answer a file's name below the library, a package's ``__init__`` being the package."""
    parts = path.relative_to(package()).with_suffix("").parts
    return ".".join(parts[:-1] if parts[1:] and parts[-1] == "__init__" else parts)


FILES = {name_of(path): path for path in package().rglob("*.py")}
PACKAGES = sorted({path.parent.name for path in FILES.values()} - {package().name})


def part_of(name: str) -> str:
    """Answer what has a storey: the file itself, or the package that it is in."""
    return name.partition(".")[0]


def imports_of(source: str, folder: str = "") -> Iterator[str]:
    """Yield the files of the library that a file imports at run time, wherever in it that is written.

    :param folder: the package below the library that the file is in.
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
                yield file_of(rest)


def file_of(parts: list[str]) -> str:
    """Answer the file that has what is imported: the name may be a file's, or one that a file defines."""
    while parts and ".".join(parts) not in FILES:
        parts = parts[:-1]
    return ".".join(parts) or "__init__"


def imports_by(name: str) -> set[str]:
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


def test_every_file_has_one_storey() -> None:
    # Of the command line there may be nothing yet.
    assert {*map(part_of, FILES), "cli", "__main__"} == set(STOREY_OF)
    assert sum(map(len, STOREYS)) == len(STOREY_OF)


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_file_imports_only_storeys_below_its_own(name: str) -> None:
    others = {other for other in imports_by(name) if other == name or part_of(other) != part_of(name)}
    wrong = {other for other in others if STOREY_OF[part_of(other)] >= STOREY_OF[part_of(name)]}
    assert not wrong, f"{name} imports {sorted(wrong)}, which are not below it"


@pytest.mark.parametrize("name", PACKAGES)
def test_the_files_of_a_package_import_one_another_without_a_circle(name: str) -> None:
    files = [each for each in FILES if part_of(each) == name]
    assert files
    own = {each: {other for other in imports_by(each) if part_of(other) == name} for each in files}
    TopologicalSorter(own).prepare()  # it raises CycleError, which names the circle


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
        ("from . import doctor", ["doctor"]),
        ("from .doctor import examine", ["doctor"]),
        ("from .doctor import place", ["doctor.place"]),
        ("import daemonry.doctor.place", ["doctor.place"]),
    ],
)
def test_every_way_to_import_is_seen(source: str, found: list[str]) -> None:
    assert list(imports_of(source)) == found


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("from .finding import Finding", ["doctor.finding"]),
        ("from . import place, rights", ["doctor.place", "doctor.rights"]),
        ("from . import examine", ["doctor"]),
        ("from .. import errors, plan", ["errors", "plan"]),
        ("from ..plan import Plan", ["plan"]),
        ("from .. import DaemonContext", ["__init__"]),
        ("from ..doctor.place import umask", ["doctor.place"]),
        ("from daemonry.plan import Plan", ["plan"]),
    ],
)
def test_every_way_to_import_is_seen_in_a_package(source: str, found: list[str]) -> None:
    assert list(imports_of(source, "doctor")) == found
