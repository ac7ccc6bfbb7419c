"""The manual page daemonry(1) is built from the parsers, and man(1) finds nothing to complain of in it."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from daemonry.cli import statuses
from daemonry.cli.command_table import COMMANDS
from daemonry.cli.commands import parser_of

DOCS = Path(__file__).parent.parent / "docs"
SECTIONS = (
    "NAME",
    "SYNOPSIS",
    "DESCRIPTION",
    "COMMANDS",
    "OPTIONS",
    "READINESS",
    "SCHEDULES",
    "STARTING IT AGAIN",
    "EXIT STATUS",
    "FILES",
    "ENVIRONMENT",
    "EXAMPLES",
    "SEE ALSO",
)


def extension() -> Any:
    spec = importlib.util.spec_from_file_location("commands", DOCS / "_ext" / "commands.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page as it is installed."""
    if importlib.util.find_spec("sphinx") is None:
        pytest.skip("Sphinx, which builds the page, is not installed here; it comes with the extra 'docs'")
    place = tmp_path_factory.mktemp("man")
    command = [sys.executable, "-m", "sphinx", "-W", "-q", "-b", "man", "-d", place / "doctrees", DOCS, place]
    subprocess.run(command, check=True, timeout=300)
    return place / "daemonry.1"


def test_every_flag_of_every_command_is_listed_once() -> None:
    listed = [
        (name, spelling)
        for names, _, flags in extension().flags()
        for spellings, text in flags
        for name in names
        for spelling, _ in spellings
        if text
    ]
    expected = [
        (name, flag) for name in COMMANDS for action in parser_of(name)._actions for flag in action.option_strings
    ]
    assert sorted(listed) == sorted(expected)


def test_what_a_flag_takes_is_shown_with_it() -> None:
    shown = {spelling: value for _, _, flags in extension().flags() for all_, _ in flags for spelling, value in all_}
    assert shown["--user"] == "USER"
    assert shown["--restart"] == "[WHEN]"
    assert shown["--json"] == ""


def test_every_exit_status_has_its_paragraph() -> None:
    text = (DOCS / "daemonry.1.rst").read_text()
    told = text[text.index("EXIT STATUS") : text.index("FILES")]
    of_status, of_others = told.split("Of the other commands:")

    def numbers(part: str) -> set[int]:
        return {int(number) for number in re.findall(r"^\*\*(\d+)\*\*$", part, re.MULTILINE)}

    known = {name: value for name, value in vars(statuses).items() if name.isupper() and isinstance(value, int)}
    assert numbers(of_status) == {value for name, value in known.items() if name.startswith("IS_")}
    assert numbers(of_others) == {value for name, value in known.items() if not name.startswith("IS_")} | {130}


def test_the_page_has_the_sections_of_manual_pages(page: Path) -> None:
    found = re.findall(r'^\.SH "?([^"\n]*)"?$', page.read_text(), re.MULTILINE)
    assert tuple(found) == SECTIONS


def test_the_page_begins_with_name_and_summary_for_whatis(page: Path) -> None:
    assert re.search(r"^\.SH NAME\ndaemonry \\- \S", page.read_text(), re.MULTILINE)


def test_the_page_names_every_command_and_flag(page: Path) -> None:
    text = page.read_text().replace("\\-", "-")
    for name in COMMANDS:
        assert re.search(rf"^\\fBdaemonry\\fP \\fB{name}\\fP", text, re.MULTILINE), name
        missing = [flag for action in parser_of(name)._actions for flag in action.option_strings if flag not in text]
        assert not missing


@pytest.mark.parametrize("width", ["60", "80", "132"])
def test_man_has_no_warnings(page: Path, width: str) -> None:
    if shutil.which("man") is None:
        pytest.skip("man(1) is not installed here")
    if "--warnings" not in subprocess.run(["man", "--help"], capture_output=True, text=True, check=False).stdout:
        pytest.skip("this man(1) has no --warnings; that of man-db has")
    environment = {**os.environ, "MANROFFSEQ": "", "MANWIDTH": width, "LC_ALL": "C.UTF-8"}
    command = ["man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", page]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert done.stderr == ""
    assert "EXAMPLES" in done.stdout


def test_groff_has_no_warnings(page: Path) -> None:
    if shutil.which("groff") is None:
        pytest.skip("groff(1) is not installed here")
    done = subprocess.run(["groff", "-man", "-ww", "-z", page], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
