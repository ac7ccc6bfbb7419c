"""The shells complete the command's words, as the scripts of `daemonry completion` tell them."""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from daemonry.cli.command_table import COMMANDS

if TYPE_CHECKING:
    from harness.commands import Daemonry

SLEEP = ("--settle", "0", "--", "sleep", "60")


def answers(daemonry: Daemonry, *words: str) -> list[str]:
    return daemonry("complete", *words).check().stdout.splitlines()


def test_the_first_word_is_a_command(daemonry: Daemonry) -> None:
    """An empty first word offers every command; a begun one those that begin so, flags only behind a dash."""
    assert answers(daemonry, "") == [*COMMANDS]
    assert answers(daemonry) == [*COMMANDS]
    assert answers(daemonry, "st") == ["start", "stop", "status"]
    assert answers(daemonry, "--") == ["--help", "--version"]


def test_a_command_that_takes_a_daemon_offers_names_and_flags(daemonry: Daemonry) -> None:
    """Names of daemons that were started by name stand behind status, stop, restart ...; not behind start."""
    daemonry.start(*SLEEP)
    begun = daemonry.name[:-2]
    for word in ("status", "stop", "restart", "reload", "signal", "logs", "doctor"):
        assert answers(daemonry, word, begun) == [daemonry.name]
    assert answers(daemonry, "start", begun) == []
    assert answers(daemonry, "status", "--") == ["--help", "--quiet", "--json", "--watch"]
    assert answers(daemonry, "start", "--wait") == ["--wait-port"]
    assert answers(daemonry, "completion", "") == ["bash", "fish", "zsh"]
    daemonry.stop()


def test_what_a_flag_takes_is_offered_behind_it(daemonry: Daemonry) -> None:
    """Where a flag takes one of a few words, these stand behind it."""
    assert answers(daemonry, "unit", "--manager", "") == ["systemd", "launchd", "openrc", "runit", "s6"]
    assert answers(daemonry, "unit", "--type", "not") == ["notify", "notify-reload"]
    assert answers(daemonry, "unit", "--manager", "s6", "--pa") == ["--part"]


def test_names_of_daemons_users_groups_and_signals_stand_where_they_are_meant(daemonry: Daemonry) -> None:
    """Behind each daemon there may be another one; a signal is called as `kill -l` calls it."""
    daemonry.start(*SLEEP)
    begun, user, group = daemonry.name[:-2], pwd.getpwuid(os.getuid()).pw_name, grp.getgrgid(0).gr_name
    assert answers(daemonry, "stop", "other", begun) == [daemonry.name]
    assert answers(daemonry, "restart", "other", begun) == [daemonry.name]
    assert answers(daemonry, "restart", "--name", begun) == [daemonry.name]
    assert user in answers(daemonry, "start", "--user", user[:2])
    assert group in answers(daemonry, "start", "--group", "")
    assert answers(daemonry, "signal", daemonry.name, "USR") == ["USR1", "USR2"]
    assert "--output" not in answers(daemonry, "start", "--user", "-")
    daemonry.stop()


def test_what_is_the_programs_own_is_not_completed(daemonry: Daemonry) -> None:
    """Behind --, and behind a word that is no command, the shell's own completion is asked."""
    assert answers(daemonry, "start", "--", "--") == []
    assert answers(daemonry, "frobnicate", "") == []


# The shells themselves


def shell(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"there is no {name} here")
    return path


def environment(daemonry: Daemonry) -> dict[str, str]:
    """Return an environment in which the word daemonry is the command under test."""
    directory = daemonry.directory / "bin"
    directory.mkdir(exist_ok=True)
    program = directory / "daemonry"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m daemonry "$@"\n')
    program.chmod(0o755)
    places = {name: value for name, value in daemonry.environment.items() if value is not None}
    return {**os.environ, **places, "HOME": str(daemonry.directory), "PATH": f"{directory}:{os.environ['PATH']}"}


def told_by(daemonry: Daemonry, *command: str) -> list[str]:
    done = subprocess.run(
        command,
        check=False,
        env=environment(daemonry),
        cwd=daemonry.directory,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


BASH = """
eval "$(daemonry completion bash)"
complete -p daemonry >/dev/null || exit 9
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
_daemonry
printf '%s\\n' "${COMPREPLY[@]}"
"""


def test_bash_completes(daemonry: Daemonry) -> None:
    """Bash, with what `daemonry completion bash` prints, knows commands, flags and names."""
    daemonry.start(*SLEEP)
    bash = (shell("bash"), "--norc", "-c", BASH, "bash", "daemonry")
    assert told_by(daemonry, *bash, "st") == ["start", "stop", "status"]
    assert told_by(daemonry, *bash, "") == [*COMMANDS]
    assert told_by(daemonry, *bash, "start", "--re") == ["--restart", "--restart-pause", "--restart-limit"]
    assert told_by(daemonry, *bash, "stop", daemonry.name[:-2]) == [daemonry.name]
    assert set(told_by(daemonry, *bash, "start", "--name", "web", "--", "daemon")) >= {"daemonry"}
    daemonry.stop()


def test_bash_completes_the_programs_words_as_the_programs(daemonry: Daemonry) -> None:
    """Where there is what every distribution's completions are made on: its older name, and the one since 2.12."""
    for name in ("_command_offset", "_comp_command_offset"):
        offset = f'{name}() {{ COMPREPLY=("behind $1 of ${{COMP_WORDS[*]}}"); }}'
        script = BASH.replace("COMPREPLY=()\n", f"COMPREPLY=()\n{offset}\n")
        bash = (shell("bash"), "--norc", "-c", script, "bash", "daemonry", "start", "--name", "web", "--")
        assert told_by(daemonry, *bash, "ls", "-") == ["behind 5 of daemonry start --name web -- ls -"]


def test_fish_completes(daemonry: Daemonry) -> None:
    """Fish, with what `daemonry completion fish` prints, knows commands, flags and names, and no files before them."""
    daemonry.start(*SLEEP)
    (daemonry.directory / "start.out").touch()

    def completed(line: str) -> list[str]:
        script = "daemonry completion fish | source; complete -C $argv[1]"
        return sorted(told_by(daemonry, shell("fish"), "--no-config", "-c", script, line))

    assert completed("daemonry st") == ["start", "status", "stop"]
    assert completed("daemonry ") == sorted(COMMANDS)
    assert completed("daemonry start --re") == ["--restart", "--restart-limit", "--restart-pause"]
    assert completed(f"daemonry stop {daemonry.name[:-2]}") == [daemonry.name]
    assert "start.out" in completed("daemonry start --output sta")
    assert {"start", "status"} <= set(completed("daemonry start --name web -- daemonry sta"))
    assert "start.out" in completed("daemonry start -- ls -l sta")
    daemonry.stop()


def test_zsh_completes(daemonry: Daemonry) -> None:
    """Zsh at a terminal, with what `daemonry completion zsh` prints, completes a command, and a name behind it."""
    daemonry.start(*SLEEP)
    program = f"import os; os.execv({shell('zsh')!r}, ['zsh', '-f', '-i'])"
    terminal = daemonry.daemons.terminal(program, env={**environment(daemonry), "TERM": "dumb"})
    terminal.write('autoload -Uz compinit; compinit -u -D; eval "$(daemonry completion zsh)"; echo rea""dy\n')
    terminal.read_until("ready\r\n")
    terminal.write("daemonry stat\t")
    terminal.read_until("daemonry status ")
    terminal.write(f"{daemonry.name[:-2]}\t\n")
    terminal.read_until(f"{daemonry.name}: running, process {daemonry.pid()} (")
    terminal.write("daemonry plan --umask 0 -- daemonry lis\t")
    terminal.read_until("-- daemonry list ")
    terminal.write("--json\n")
    terminal.read_until(" list --json\r\n")
    terminal.write("exit\n")
    assert terminal.wait() in (0, -signal.SIGHUP)
    daemonry.stop()


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
def test_the_shell_understands_its_script(daemonry: Daemonry, name: str) -> None:
    """The script that is printed for a shell has no error of syntax for it."""
    script = daemonry.directory / "script"
    script.write_text(daemonry("completion", name).check().stdout)
    assert told_by(daemonry, shell(name), "-n", str(script)) == []
