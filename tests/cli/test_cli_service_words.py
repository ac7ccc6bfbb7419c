"""A Python program's own arguments beside the commands of its daemon, and the completion of both."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from daemonry.cli.own_words import COMMANDS
from harness.waiting import wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from harness.daemons import Daemons, Launched

PROGRAM = """\
#!{python}
import argparse
import os
import sys
from daemonry import DaemonContext, PIDLockFile
from daemonry.cli import service

parser = argparse.ArgumentParser(description="Greets.", epilog="As ever.", {settings})
place = parser.add_argument_group("place")
place.add_argument("--pidfile", default="own.pid", help="where its number is")
parser.add_argument("-n", "--number", type=int, default=3)
parser.add_argument("--form", choices=["short", "long"], default="short")
parser.add_argument("words", nargs="+", metavar="WORD")
parser.set_defaults(given="by the program")
{more}

def context_of(options):
    global context
    context = DaemonContext(pidfile=PIDLockFile(options.pidfile), stdout="own.log", stderr="own.log", umask=0o022)
    context.signal_map = {{"TERM": "request_stop"}}
    return context

def main(options):
    print(sorted(vars(options).items()))
    context.wait()

service(context_of, main, parser=parser)
"""


class Own:
    """A program with arguments of its own."""

    def __init__(self, daemons: Daemons) -> None:
        self.daemons = daemons
        self.program = daemons.directory / "own.py"
        self.write()

    def write(self, settings: str = "", more: str = "") -> None:
        self.program.write_text(PROGRAM.format(python=sys.executable, settings=settings, more=more))
        self.program.chmod(0o755)

    def __call__(self, *words: object, status: int = 0) -> Launched:
        return self.daemons.launch(self.program, *words).check(status)

    def has_told(self, *items: tuple[str, object]) -> None:
        """Wait until the daemon says that it was given these options."""
        log = self.daemons.directory / "own.log"
        wait_for(lambda: log.read_text().endswith(f"{sorted(items)}\n"), what=f"{items} in the log")


@pytest.fixture
def own(daemons: Daemons) -> Own:
    return Own(daemons)


def test_the_programs_own_arguments_stand_behind_start(own: Own) -> None:
    """The body is given them, and nothing of the command's; what they are otherwise is their default."""
    own("start", "--number", 5, "hello", "world", "--quiet")
    expected = (("form", "short"), ("given", "by the program"), ("pidfile", "own.pid"))
    own.has_told(*expected, ("number", 5), ("words", ["hello", "world"]))
    own("restart", "-n", 7, "--schedule", "TERM/5/KILL/5", "again")
    own.has_told(*expected, ("number", 7), ("words", ["again"]))
    own("stop")
    assert own.daemons.alive() == []


def test_its_options_stand_behind_the_other_commands_too(own: Own) -> None:
    """For by them the daemon is found; its positional arguments are neither asked for nor taken there."""
    own("start", "--pidfile", "other.pid", "hello")
    pid = own.daemons.survivor()
    assert own("status", status=3).stdout == "own.py: not running\n"
    assert f"own.py: running, process {pid} (" in own("status", "--pidfile", "other.pid").stdout
    assert "unrecognized arguments: hello" in own("status", "--pidfile", "other.pid", "hello", status=2).stderr
    wait_for(lambda: "'other.pid'" in own("logs", "--pidfile", "other.pid", "-n", 1).stdout, what="its log")
    own("stop", "--pidfile", "other.pid")


def test_a_mistake_in_its_own_words_costs_no_service(own: Own) -> None:
    """What its parser refuses is refused before anything is stopped or started, with status 2."""
    own("start", "hello")
    pid = own.daemons.survivor()
    assert "argument -n/--number: invalid int value: 'x'" in own("restart", "--number", "x", "a", status=2).stderr
    assert "the following arguments are required: WORD" in own("restart", status=2).stderr
    assert "unrecognized arguments: --bogus" in own("restart", "a", "--bogus", status=2).stderr
    assert own.daemons.alive() == [pid]
    own("stop")


def test_help_shows_its_own_arguments_and_the_commands(own: Own) -> None:
    """With the program's own description, and in the groups that it has made."""
    told = own("--help").stdout
    assert "Greets." in told
    assert "As ever." in told
    assert all(f"    {word}" in told for word in COMMANDS)
    told = own("start", "--help").stdout
    assert "place:\n  --pidfile" in told
    assert "WORD" in told
    told = own("stop", "--help").stdout
    assert "--pidfile" in told
    assert "WORD" not in told


def test_an_option_of_a_commands_own_is_that_commands(own: Own) -> None:
    """Behind `logs` -n is how many lines, behind `start` it is the program's own; the long ones are both there."""
    told = own("logs", "--help").stdout
    assert "-n N, --lines N" in told
    assert "\n  --number NUMBER" in told
    assert "-n NUMBER, --number NUMBER" in own("start", "--help").stdout


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ("parser.add_argument('--lines')", "parser: logs has an argument 'lines' already: call it otherwise"),
        ("parser.add_argument('--quiet')", "parser: start has an argument 'quiet' already: call it otherwise"),
        (
            "parser.add_argument('--schedule', dest='plan')",
            "parser: argument --schedule: conflicting option string: --schedule",
        ),
    ],
)
def test_an_argument_that_is_called_as_a_commands_is_refused(own: Own, more: str, told: str) -> None:
    """Whichever command is given, so that its author sees it at once."""
    own.write(more=more)
    assert told in own("status", status=1).stderr


@pytest.mark.parametrize("settings", ["add_help=False", "allow_abbrev=False", "prefix_chars='-+'"])
def test_its_words_are_read_as_its_parser_reads_them(own: Own, settings: str) -> None:
    own.write(settings, "parser.add_argument('+x', dest='extra')" if "+" in settings else "")
    assert "Start it as a daemon." in own("start", "--help").stdout
    status = 2 if "abbrev" in settings else 3
    own("status", "--pidf", "none.pid", status=status)
    if "+" in settings:
        own("status", "+x", "5", status=3)


def test_the_name_is_that_of_the_parser(own: Own) -> None:
    own.write("prog='greeter'")
    assert own("status", status=3).stdout == "greeter: not running\n"


def test_a_package_that_is_run_as_a_module_is_called_by_its_name(daemons: Daemons) -> None:
    """And not __main__.py."""
    package = daemons.directory / "greeter"
    package.mkdir()
    (package / "__main__.py").write_text(
        "from daemonry import DaemonContext\nfrom daemonry.cli import service\n"
        "service(DaemonContext(pidfile='greeter.pid'), print)\n"
    )
    run = "import runpy, sys\nsys.path.insert(0, '.')\nrunpy.run_module('greeter', run_name='__main__', alter_sys=True)"
    assert daemons.launch(run, "status").check(3).stdout == "greeter: not running\n"


CLICK = """
import click
from daemonry import DaemonContext, PIDLockFile
from daemonry.cli import service

context = DaemonContext(pidfile=PIDLockFile("own.pid"), stdout="own.log", umask=0o022)

@click.command(context_settings={"ignore_unknown_options": True})
@click.option("--number", default=3)
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
def cli(number, words):
    def main():
        print(number)
        context.wait()
    service(context, main, list(words))

cli()
"""


def test_click_may_have_the_programs_own_options(daemons: Daemons) -> None:
    """Before and behind the command, whose own options it hands on."""
    program = daemons.directory / "own.py"
    program.write_text(CLICK)
    daemons.launch(program, "--number", 4, "start").check()
    wait_for(lambda: (daemons.directory / "own.log").read_text() == "4\n", what="it prints")
    told = daemons.launch(program, "restart", "--number", 5, "--schedule", "TERM/5/KILL/5").check().stderr
    assert told.endswith(f"own.py: started, process {daemons.survivor()}\n")
    wait_for(lambda: daemons.launch(program, "logs", "-n", 2).check().stdout == "4\n5\n", what="both in the log")
    assert "already" in daemons.launch(program, "start").check(1).stderr
    daemons.launch(program, "stop").check()
    assert daemons.launch(program, "status").check(3).stdout == "own.py: not running\n"
    terminal = daemons.terminal(program, "run")
    terminal.read_until("\r\n3\r\n")
    terminal.write("\x03")
    assert terminal.wait() == 130
    assert "Abort" not in terminal.output


# Completion


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], [*COMMANDS]),
        (["st"], ["start", "stop", "status"]),
        (["start", "--"], ["--help", "--pidfile", "--number", "--form", "--quiet"]),
        (["start", "--form", ""], ["short", "long"]),
        (["start", "--pidfile", ""], []),
        (["logs", "--l"], ["--lines"]),
        (["completion", ""], ["bash", "zsh", "fish"]),
        (["frobnicate", ""], []),
    ],
)
def test_what_may_stand_where_is_told_to_the_shell(own: Own, words: list[str], expected: list[str]) -> None:
    """Commands, their options and the program's own; nothing is opened for it, and nothing is made."""
    assert own("complete", *words).stdout.splitlines() == expected
    assert not (own.daemons.directory / "own.pid").exists()


BASH = """
eval "$(./own.py completion bash)"
complete -p own.py >/dev/null || exit 9
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
_own_py
printf '%s\\n' "${COMPREPLY[@]}"
"""


def told_by(directory: Path, *command: str) -> list[str]:
    done = subprocess.run(command, check=False, cwd=directory, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def shell(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"there is no {name} here")
    return path


@pytest.mark.parametrize("typed", ["./own.py", "PLACE/own.py"])
def test_bash_completes_a_service_by_whatever_path_it_is_called(own: Own, typed: str) -> None:
    typed = typed.replace("PLACE", os.fspath(own.daemons.directory))
    bash = (shell("bash"), "--norc", "-c", BASH, "bash", typed)
    assert told_by(own.daemons.directory, *bash, "st") == ["start", "stop", "status"]
    assert told_by(own.daemons.directory, *bash, "start", "--nu") == ["--number"]


def test_fish_completes_a_service(own: Own) -> None:
    script = "./own.py completion fish | source; complete -C $argv[1]"
    fish = (shell("fish"), "--no-config", "-c", script)
    assert sorted(told_by(own.daemons.directory, *fish, "./own.py st")) == ["start", "status", "stop"]
    assert told_by(own.daemons.directory, *fish, "./own.py start --nu") == ["--number"]


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
def test_the_shell_understands_the_script_of_a_service(own: Own, name: str) -> None:
    script = own.daemons.directory / "script"
    script.write_text(own("completion", name).stdout)
    assert told_by(own.daemons.directory, shell(name), "-n", str(script)) == []
