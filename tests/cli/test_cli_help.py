"""The help that users read, and what asking in a loop costs."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import daemonry as package
from daemonry.cli.command_table import COMMANDS
from daemonry.cli.commands import overview, parse, parser_of
from harness.daemons import coverage_directory

if TYPE_CHECKING:
    from harness.commands import Daemonry
    from harness.daemons import Daemons

WIDEST = 100
EXAMPLES = [example for command in COMMANDS.values() for example in command.examples]
HEAVY = {"argparse", "lockfile", "json", "subprocess", "typing", "dataclasses", "shutil", "socket", "logging"}
SOURCE = str(Path(package.__path__[0]).parent)


@pytest.mark.parametrize("word", [*COMMANDS, ""])
def test_every_command_has_help_that_fits_and_shows_an_example(daemonry: Daemonry, word: str) -> None:
    """--help is status 0, no line of it is wider than 100 columns, and there is an example to copy."""
    told = daemonry(*([word] if word else []), "--help").check()
    assert told.stderr == ""
    assert [line for line in told.stdout.splitlines() if len(line) > WIDEST] == []
    assert re.search(rf"^(  daemonry {word}|  eval .*daemonry {word})", told.stdout, re.MULTILINE)
    assert told.stdout.startswith(f"usage: daemonry {word}".rstrip())


def test_the_overview_names_every_command() -> None:
    """The help for all has a line for each, and its first steps parse."""
    text = overview()
    for name, command in COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(command.summary)}$", text, re.MULTILINE)
    for line in text.partition("first steps:\n")[2].partition("\n\n")[0].splitlines():
        _, word, *words = shlex.split(line)
        assert parse(word, words)


@pytest.mark.parametrize("words", [["--help"], ["help"], ["-h"], []])
def test_the_overview_is_what_a_lost_user_gets(daemonry: Daemonry, words: list[str]) -> None:
    """Asked for, it is status 0; given because there was no word at all, a usage error."""
    assert daemonry(*words).check(0 if words else 2).stdout.startswith("usage: daemonry COMMAND")


def test_the_version_is_told(daemonry: Daemonry) -> None:
    """-V or --version says the package's, and that there is none where it only lies on the path."""
    try:
        expected = version("daemonry")
    except PackageNotFoundError:
        expected = "(not installed)"
    for word in ("-V", "--version"):
        assert daemonry(word).check().stdout == f"daemonry {expected}\n"


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_is_understood(example: str) -> None:
    """What the help shows can be typed as it stands."""
    command = re.sub(r"^eval \"\$\((.*)\)\"$|^(.*) > \S+$", r"\1\2", example)
    program, word, *words = shlex.split(command)
    assert program == "daemonry"
    options = parse(word, words)
    if "--" in words:
        assert options.words == words[words.index("--") + 1 :]


def test_the_short_way_reads_what_the_parser_would() -> None:
    """What is parsed without argparse, because monitors ask in a loop, means the same as with it."""
    for words in (["web"], ["--json", "web"], ["web", "--json"], ["-q", "web"], ["--quiet", "--json", "/run/x.pid"]):
        short, long = parse("status", words), parser_of("status").parse_args(words)
        assert vars(short) == vars(long)


def test_flags_can_not_be_abbreviated() -> None:
    """A script that was written today means the same when there are more flags."""
    with pytest.raises(SystemExit):
        parse("status", ["--js", "web"])


# What it costs


BARE = [sys.executable, "-c", "pass"]


def asking(pidfile: str) -> list[str]:
    """Return the command that pip's script is."""
    script = "import re, sys; from daemonry.cli import main; sys.exit(main())"
    return [sys.executable, "-c", script, "status", pidfile]


@pytest.mark.parametrize("is_there", [True, False])
def test_status_loads_nothing_heavy(daemonry: Daemonry, daemons: Daemons, is_there: bool) -> None:
    """`daemonry status` stays out of argparse, lockfile, json and subprocess, whether the daemon runs or not."""
    if is_there:
        daemonry("start", "--pidfile", "here.pid", "--settle", "0", "--", "sleep", "60").check()
    launched = daemons.launch(
        "import sys; before = set(sys.modules)\n"
        "from daemonry.cli import main\n"
        "status = main(['status', './here.pid'])\n"
        "print(status, *set(sys.modules) - before)",
        plain=True,
        env={"PYTHONPATH": SOURCE},
    ).check()
    answer, loaded = launched.stdout.splitlines()
    assert answer.startswith("./here.pid: running" if is_there else "./here.pid: not running")
    status, *modules = loaded.split()
    assert status == ("0" if is_there else "3")
    assert "daemonry.control" in modules
    assert HEAVY & set(modules) == set()
    if is_there:
        daemonry("stop", "./here.pid").check()


@pytest.mark.skipif(
    coverage_directory() is not None, reason="the measurement of coverage costs more than what it measures"
)
@pytest.mark.skipif(shutil.which("valgrind") is None, reason="there is no valgrind here")
@pytest.mark.parametrize("flags", [[], ["--restart"]], ids=["alone", "supervised"])
def test_status_costs_at_most_two_and_a_half_bare_interpreters(
    daemonry: Daemonry, daemons: Daemons, flags: list[str]
) -> None:
    """In instructions. The .pth files of editable installs slow the bare interpreter as well as the command."""
    daemonry("start", "--pidfile", "here.pid", *flags, "--settle", "0", "--", "sleep", "60").check()
    pidfile = str(daemons.directory / "here.pid")
    asked, bare = (instructions(command, daemons.directory) for command in (asking(pidfile), BARE))
    print(f"status: {asked}, bare: {bare}, {asked / bare:.2f} times")
    assert asked <= 2.5 * bare, f"{asked / bare:.2f} times"
    daemonry("stop", "./here.pid").check()


def instructions(command: list[str], directory: Path) -> int:
    """Count those of a command whose modules are compiled already, which not every user may have done in the source."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    env.update(PYTHONPATH=SOURCE, PYTHONPYCACHEPREFIX=str(directory / "compiled"))
    subprocess.run(command, env=env, stdout=subprocess.DEVNULL, check=True)
    callgrind = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"]
    done = subprocess.run([*callgrind, *command], env=env, capture_output=True, text=True, check=True, timeout=120)
    found = re.search(r"Collected : (\d+)", done.stderr)
    assert found is not None, done.stderr
    return int(found.group(1))
