"""The command ``daemonry`` as its users type it, and the end of every file and process that it leaves.

The fixture ``daemonry`` answers it::

    def test_it_works_in_the_root_directory(daemonry):
        pid = daemonry.start("--", "sleep", "60")
        assert facts_of(pid).cwd == "/"
        daemonry("stop", daemonry.name).check()
"""

from __future__ import annotations

import contextlib
import os
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.daemons import Daemons
from harness.probe import environment_of
from harness.waiting import is_alive

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from harness.daemons import Launched, Running
    from harness.terminal import Terminal

# What `python -m daemonry` does, in the shape that Daemons starts.
_MODULE = 'import runpy; runpy.run_module("daemonry", run_name="__main__", alter_sys=True)\n'


class Daemonry:
    """One test's use of the command.

    An ordinary user's pidfiles and logs lie in the test's own directory. Root's places are the system's, so the names
    are nobody else's, and their files are removed at the end whatever has failed. Who asks for the fixture ``daemons``
    as well, names it behind ``daemonry``: then processes are ended before their files are removed.
    """

    def __init__(self, daemons: Daemons, names: list[str]) -> None:
        self.daemons = daemons
        self.directory = daemons.directory
        self.environment = {
            "DAEMONRY_HOME": None if os.geteuid() == 0 else os.fspath(self.directory / "home"),
            "NO_COLOR": None,
        }
        self.name = self.new_name(names)
        """The name that ``start`` gives."""
        self._names = names
        self._pidfiles: set[Path] = set()
        self._sessions: set[int] = set()

    @property
    def marker(self) -> str:
        """``NAME=VALUE`` by which processes are known as this test's: for the ``--env`` of a ``--clean-env``."""
        return self.daemons._mark

    def new_name(self, names: list[str] | None = None) -> str:
        """Return a name that nobody else uses, for a second daemon."""
        name = f"daemonry-test-{uuid.uuid4().hex[:12]}"
        (self._names if names is None else names).append(name)
        return name

    # Its files

    def pidfile(self, name: str | None = None) -> Path:
        """Return the pidfile of a daemon that is started by name."""
        return self._place("/run") / f"{name or self.name}.pid"

    def log(self, name: str | None = None) -> Path:
        """Return its log."""
        return self._place("/var/log") / f"{name or self.name}.log"

    def memory(self, name: str | None = None) -> Path:
        """Return the file that remembers how it was started."""
        return self._place("/run/daemonry") / f"{name or self.name}.json"

    def history(self, name: str | None = None) -> Path:
        """Return the file in which its supervisor keeps what it has seen."""
        return Path(f"{self.pidfile(name)}.history")

    def left(self, name: str | None = None) -> list[Path]:
        """Return those of pidfile and memory that are there."""
        return [path for path in (self.pidfile(name), self.memory(name)) if path.exists()]

    def _place(self, of_root: str) -> Path:
        return Path(of_root) if os.geteuid() == 0 else self.directory / "home"

    # What a user does

    def __call__(self, *words: object, timeout: float = 30, **options: Any) -> Launched:
        """Do ``daemonry WORDS`` and answer what is left of the command; the options are those of Daemons.start."""
        running = self.begin(*words, **options)
        try:
            return running.wait(timeout)
        finally:
            self._note_sessions()

    def begin(self, *words: object, env: dict[str, str | None] | None = None, **options: Any) -> Running:
        """Begin ``daemonry WORDS``, for a command that takes its time."""
        self._note_pidfiles(words)
        return self.daemons.start(_MODULE, *words, env={**self.environment, **(env or {})}, **options)

    def on_terminal(self, *words: object, env: dict[str, str | None] | None = None, **options: Any) -> Terminal:
        """Begin ``daemonry WORDS`` on a terminal of its own, which can show colours."""
        self._note_pidfiles(words)
        shown = {**self.environment, "TERM": "xterm", **(env or {})}
        return self.daemons.terminal(_MODULE, *words, env=shown, **options)

    def start(self, *words: object, name: str | None = None, **options: Any) -> int:
        """Do ``daemonry start --name NAME WORDS``, which must succeed, and answer the daemon's pid."""
        self("start", "--name", name or self.name, *words, **options).check()
        return self.pid(name)

    def pid(self, name: str | None = None) -> int:
        """Return the number in the pidfile."""
        return int(self.pidfile(name).read_text())

    def stop(self, name: str | None = None) -> None:
        """Do ``daemonry stop NAME``, which must succeed and leave no pidfile."""
        self("stop", name or self.name).check()
        assert not self.pidfile(name).exists()

    # The end

    def close(self) -> None:
        """Tell Daemons of processes that have lost the marker: some programs write over their environment."""
        self._note_sessions()
        for pid in self._members():
            with contextlib.suppress(OSError):
                if self.marker.encode() not in environment_of(pid).split(b"\0"):
                    self.daemons.adopt(pid)

    def _note_pidfiles(self, words: tuple[object, ...]) -> None:
        texts = [str(word) for word in words]
        given = [after for word, after in zip(texts, texts[1:]) if word == "--pidfile"]
        self._pidfiles.update(self.directory / each for each in given)

    def _note_sessions(self) -> None:
        for path in {*self._pidfiles, *map(self.pidfile, self._names)}:
            # A test may have put anything there.
            with contextlib.suppress(OSError, ValueError, OverflowError):
                pid = int(path.read_bytes())
                session = os.getsid(pid) if pid > 1 else 0
                # Nothing else leads a session of its own below a launcher: its first process has ended by now.
                if session not in (0, 1, pid, os.getsid(0)) and not is_alive(session):
                    self._sessions.add(session)

    def _members(self) -> Iterator[int]:
        for text in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                if os.getsid(int(text)) in self._sessions:
                    yield int(text)


def remove_files_of(names: Iterable[str]) -> None:
    """Remove what daemons with these names have left in root's places."""
    for name in names if os.geteuid() == 0 else ():
        for path in (
            f"/run/{name}.pid",
            f"/run/{name}.pid.history",
            f"/var/log/{name}.log",
            f"/run/daemonry/{name}.json",
        ):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
