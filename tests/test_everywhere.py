"""The same program, byte for byte, started in every way there is: what it does is the table of the documents."""

from __future__ import annotations

import csv
import os
import re
import socket
import struct
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from daemonry.manager.starter import program_of
from harness import managers
from harness.probe import facts_of, status_of
from harness.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterable

    from harness.daemons import Daemons
    from harness.managers import Way
    from harness.probe import Facts

PROJECT = Path(__file__).parent.parent
EXAMPLE = PROJECT / "examples" / "everywhere.py"
PAGE = PROJECT / "docs" / "managers.rst"
RENEW = "DAEMONRY_WRITE_TABLE"

WAYS = {
    "a shell at a terminal": (managers.TerminalShell,),
    "a shell without one, cron": (managers.Shell,),
    "systemd, ``Type=notify``": (managers.Service,),
    "systemd, ``Type=forking``": (managers.ForkingService, "--detach"),
    "a container": (managers.Container,),
    "a container with an init": (managers.ContainerWithInit,),
    "the same, at a terminal": (managers.ContainerWithTerminal,),
    "a container, below ``sh``": (managers.ContainerWithShell,),
    "inetd": (managers.Inetd,),
    "supervisord": (managers.SupervisordScript,),
    "``python -m supervisor.supervisord``": (managers.Supervisord,),
    "runit": (managers.Runsv,),
    "s6": (managers.S6,),
}


@pytest.fixture
def way(daemons: Daemons, request: pytest.FixtureRequest) -> Way:
    kind, *flags = WAYS[request.param]
    why_not = kind.why_not()
    if why_not is not None:
        pytest.skip(why_not)
    more = {"systemd": request.getfixturevalue("systemd")} if issubclass(kind, managers.Service) else {}
    return kind(daemons, EXAMPLE, *flags, **more)


class Client:
    """Who asks the program, by the socket in its directory or by a connection that inetd accepts."""

    def __init__(self, way: Way) -> None:
        self.connection = socket.socket(socket.AF_INET if isinstance(way, managers.Inetd) else socket.AF_UNIX)
        self.connection.settimeout(10)
        self.lines = self.connection.makefile()

    def connect(self, way: Way) -> None:
        """Connect, once the program listens."""
        if isinstance(way, managers.Inetd):
            self.connection.connect(("127.0.0.1", way.port))
        else:
            wait_for(lambda: self._connects(way.place / "socket"), what="the program listens")

    def _connects(self, path: Path) -> bool:
        return self.connection.connect_ex(os.fspath(path)) == 0

    def ask(self) -> str:
        """Return what the program says of itself."""
        self.connection.sendall(b"who?\n")
        line = self.lines.readline()
        return (self.lines.readline() if line == "up\n" else line).rstrip("\n")

    def number(self, said: str) -> int:
        """Return the program's number, as it is seen here; SO_PEERCRED of unix(7), or what it says itself."""
        if self.connection.family == socket.AF_UNIX:
            credentials = self.connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
            return int(struct.unpack("3i", credentials)[0])
        return int(said.split()[1].rstrip(","))

    def close(self) -> None:
        self.lines.close()
        self.connection.close()


def observe(way: Way) -> list[str]:
    """Start the program in a way, ask it, look at it, stop it; return what it did."""
    way.start()
    try:
        with closing(Client(way)) as client:
            client.connect(way)
            said = client.ask()
            pid = client.number(said)
            told = way.told()  # when the launcher has ended the program is nobody's child but init's
            seen = [*starter_in(said), *look(facts_of(pid)), told, way.stopped_by]
        begun = time.monotonic()
        seen.append(way.stop(pid))
        assert time.monotonic() - begun < 5
        seen.append("its socket" if (way.place / "socket").exists() else "nothing")
    finally:
        way.close()
    return seen


def starter_in(said: str) -> list[str]:
    match = re.fullmatch(r"process \d+, started by (.*?) \((.*)\)", said)
    assert match is not None, said
    return list(match.groups())


def look(facts: Facts) -> list[str]:
    leads, terminal = ("yes" if each else "no" for each in (facts.sid == facts.pid, facts.tty))
    return [forking_of(facts), parent_of(facts), leads, terminal, *(stream_of(facts, number) for number in range(3))]


def forking_of(facts: Facts) -> str:
    numbers = status_of(facts.pid)["NSpid"].split()
    if facts.environment["STARTED_AS"] == numbers[-1]:
        return "no"
    return "once: process 1 stays" if program_of(facts.ppid) == EXAMPLE.name else "detaches"


def parent_of(facts: Facts) -> str:
    name = program_of(facts.ppid)
    if name == Path(managers.reaper.__file__).name:
        return "init"
    return f"process 1, {name}" if status_of(facts.ppid)["NSpid"].split()[1:] == ["1"] else name


def stream_of(facts: Facts, number: int) -> str:
    target = facts.descriptor(number).target
    found = os.stat(f"/proc/{facts.pid}/fd/{number}")
    if found.st_rdev == os.stat(os.devnull).st_rdev:
        return os.devnull
    if target.startswith("socket:"):
        journal = facts.environment.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"
        return "the journal" if journal else "the connection"
    if target.startswith("pipe:"):
        return "a pipe"
    return "the terminal" if target.startswith(("/dev/pts/", "/dev/console")) else target


@pytest.mark.parametrize("way", WAYS, indirect=True)
def test_the_program_does_what_the_table_of_the_documents_says(way: Way, request: pytest.FixtureRequest) -> None:
    """Where nobody keeps it, or as a flag says, it detaches; elsewhere it stays, with its streams; it ends with 0."""
    name = request.node.callspec.params["way"]
    seen = observe(way)
    if RENEW in os.environ:
        write_row(name, seen)
    assert rows_of_page().get(name) == seen, f"is the table right? Then renew {PAGE} by {RENEW}=1 in the environment"


def test_the_table_has_the_ways_that_there_are_and_no_others() -> None:
    assert list(rows_of_page()) == list(WAYS)


# The table: two of them, for a page is not wide enough for one

BEGIN, END = ".. made by tests/test_everywhere.py: begin\n", ".. made by tests/test_everywhere.py: end\n"
FIRST = ("started by", "because", "forks", "parent", "leads a session", "terminal")
SECOND = ("stdin", "stdout", "stderr", "it is up", "stopped by", "ended with", "leaves")


def rows_of_page() -> dict[str, list[str]]:
    """Return the rows of both tables, joined, by their ways."""
    between = PAGE.read_text().partition(BEGIN)[2].partition(END)[0]
    rows: dict[str, list[str]] = {}
    for line in between.splitlines():
        if line.startswith('   "'):
            name, *seen = next(csv.reader([line.strip()], skipinitialspace=True))
            rows.setdefault(name, []).extend(seen)
    return rows


def write_row(name: str, seen: list[str]) -> None:
    """Put one row into the page; all others stay."""
    found = {**rows_of_page(), name: seen}
    rows = {each: found[each] for each in WAYS if each in found}
    before, _, rest = PAGE.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    split = len(FIRST)
    tables = (
        table(FIRST, {each: row[:split] for each, row in rows.items()}),
        table(SECOND, {each: row[split:] for each, row in rows.items()}),
    )
    PAGE.write_text("".join((before, BEGIN, "\n", *tables, END, after)))


def table(header: tuple[str, ...], rows: dict[str, list[str]]) -> str:
    """Return a table as reStructuredText."""

    def line(words: Iterable[str]) -> str:
        return ", ".join(f'"{word}"' for word in words)

    lines = (line((name, *row)) for name, row in rows.items())
    return "\n".join(
        (".. csv-table::", f"   :header: {line(('the way', *header))}", "", *(f"   {each}" for each in lines), "", "")
    )
