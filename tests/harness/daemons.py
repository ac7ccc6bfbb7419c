"""Real programs, started as a user would, and the end of everything they leave."""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import coverage

from harness.probe import environment_of
from harness.terminal import Terminal
from harness.waiting import describe, ends, is_alive, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

MARKER = "DAEMONRY_TEST"
_TESTS = Path(__file__).parent.parent


@dataclass(frozen=True)
class Launched:
    """What is left of a program's first process, the launcher: status (negative: the signal) and words."""

    pid: int
    status: int
    stdout: str
    stderr: str

    def check(self, status: int = 0) -> Launched:
        """Fail, with all that the program has said, when it ended with another status."""
        assert self.status == status, f"status {self.status}, expected {status}\n{self.stdout}{self.stderr}"
        return self


class Running:
    """A program's first process, which may still run."""

    def __init__(self, process: subprocess.Popen[bytes], stdout: Path, stderr: Path) -> None:
        self._process = process
        self._pidfd = os.pidfd_open(process.pid)
        self._stdout = stdout
        self._stderr = stderr

    @property
    def pid(self) -> int:
        """The pid of the first process."""
        return self._process.pid

    @property
    def stdout(self) -> str:
        """What the program and its daemon have written to standard output by now."""
        return self._stdout.read_text(encoding="utf-8", errors="replace")

    @property
    def stderr(self) -> str:
        """What the program and its daemon have written to standard error by now."""
        return self._stderr.read_text(encoding="utf-8", errors="replace")

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The process itself, with its pipes where the test has asked for some."""
        return self._process

    def signal(self, number: int) -> None:
        """Send a signal to the first process."""
        signal.pidfd_send_signal(self._pidfd, number)

    def wait(self, timeout: float = 30) -> Launched:
        """Return what is left of the first process when it has ended; fail when it hasn't in time."""
        if not ends(self._pidfd, timeout):
            raise AssertionError(
                f"the launcher {self.pid} ({describe(self.pid)}) has not ended in {timeout} s; it has said\n"
                f"{self.stdout}{self.stderr}"
            )
        return Launched(self.pid, self._process.wait(), self.stdout, self.stderr)

    def close(self) -> None:
        """Give back what the object holds, when the process has ended."""
        self._process.wait()
        os.close(self._pidfd)
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()


class Daemons:
    """One test's programs, their files, and every process that came of them.

    Each program is started with a marker in its environment, which all its descendants keep in
    /proc/PID/environ, whatever they do to their session, their user, their root directory or ``os.environ``.
    Only a process that execs with another environment escapes: tell of it by ``adopt``.

    A test ends its daemons itself, most easily by ``stop``, or says by ``leave`` that one may be killed. At
    the end every process still alive is killed, and ``close`` answers those of which nothing had been said;
    the fixture then fails the test.
    """

    def __init__(self) -> None:
        self._mark = f"{MARKER}={uuid.uuid4().hex}"
        self._running: list[Running] = []
        self._terminals: list[Terminal] = []
        self._adopted: set[int] = set()
        self._left: set[int] = set()
        self._jails: list[Path] = []
        self._closed = False
        # Not pytest's own, which is closed to other users; and short enough for the address of a socket.
        self.directory = Path(tempfile.mkdtemp(prefix="daemonry-test-", dir="/tmp"))
        """Where programs start and have their files: every user can read it, only the tests' own write."""
        self.directory.chmod(0o755)
        self.public = self.directory / "public"
        """A directory like /tmp, for what processes write that have become another user."""
        self.public.mkdir()
        self.public.chmod(0o1777)

    # Starting

    def launch(self, program: str | Path, *arguments: object, timeout: float = 30, **options: Any) -> Launched:
        """Start a program and wait until its first process, the launcher, has ended. Options: see ``start``.

        It returns with the launcher's end: a daemon that has kept the output is writing to a file, which
        nobody waits for.
        """
        return self.start(program, *arguments, **options).wait(timeout)

    def start(
        self,
        program: str | Path,
        *arguments: object,
        user: str | None = None,
        stdin: str | bytes | int | IO[Any] | None = None,
        stdout: int | IO[Any] | None = None,
        stderr: int | IO[Any] | None = None,
        env: Mapping[str, str | None] | None = None,
        through: Sequence[str] = (),
        python: Sequence[str] = (),
        plain: bool = False,
        preexec: Callable[[], object] | None = None,
        **options: Any,
    ) -> Running:
        """Start a program, given as text (dedented) or as a path.

        It runs as ``user`` (which takes root); standard input is a text, nothing, or what Popen takes;
        ``env`` is laid over the test's own environment (``None`` removes); ``through`` comes before the
        command (``timeout``, ``"5"``), ``python`` after the interpreter (``-W``, ``error``). A ``plain``
        program is neither measured nor finds ``harness``. ``preexec`` runs in the new process before it
        becomes the program; other options are Popen's.
        """
        command, environment = self._prepare(program, arguments, user, env, through, python, plain)
        number = len(self._running)
        files = self.directory / f"{number}.out", self.directory / f"{number}.err"
        with open(files[0], "wb") as out, open(files[1], "wb") as err, _as_input(stdin) as source:
            process = subprocess.Popen(
                command,
                stdin=source,
                stdout=out if stdout is None else stdout,
                stderr=err if stderr is None else stderr,
                env=environment,
                preexec_fn=preexec,
                **{"cwd": self.directory, **options},
            )
        running = Running(process, *files)
        self._running.append(running)
        return running

    def terminal(
        self,
        program: str | Path,
        *arguments: object,
        user: str | None = None,
        env: Mapping[str, str | None] | None = None,
        through: Sequence[str] = (),
        python: Sequence[str] = (),
        leader: bool = True,
    ) -> Terminal:
        """Start a program on a terminal of its own, as its session's leader or below a shell that is."""
        if not leader:
            through = ("/bin/sh", "-c", '"$@"; exit $?', "sh", *through)
        command, environment = self._prepare(program, arguments, user, env, through, python, plain=False)
        terminal = Terminal(command, environment, self.directory)
        self._terminals.append(terminal)
        return terminal

    def jail(self) -> Path:
        """Return a new and empty root directory.

        What processes inside it measure is brought home at the test's end; nothing else is in it.
        """
        jail = self.directory / f"jail-{len(self._jails)}"
        jail.mkdir()
        home = coverage_directory()
        if home is not None:
            inside = jail / home.relative_to("/")
            inside.mkdir(parents=True)
            inside.chmod(0o1777)
        self._jails.append(jail)
        return jail

    # What came of it

    def alive(self) -> list[int]:
        """Return the pids of all living processes that came of this test's programs; no zombies."""
        found = {int(name) for name in os.listdir("/proc") if name.isdigit() and self._is_marked(int(name))}
        return sorted(found.union(pid for pid in self._known() if is_alive(pid)))

    def survivor(self, timeout: float = 10) -> int:
        """Return the one process that is alive when the launcher and its helpers have gone: the daemon.

        For launchers that end when the daemon is up: one that ends before may leave another alive for a moment.
        """

        def only() -> int | None:
            pids = self.alive()
            return pids[0] if len(pids) == 1 else None

        try:
            pid = wait_for(only, timeout)
        except AssertionError:
            found = "".join(f"\n{pid}: {describe(pid)}" for pid in self.alive())
            raise AssertionError(f"not one process alive in {timeout} s, but{found or ' none'}") from None
        assert pid is not None
        return pid

    def stop(self, pid: int, number: int = signal.SIGTERM, timeout: float = 10) -> None:
        """Send a process a signal and wait for its end; fail when it isn't there or doesn't end in time."""
        pidfd = os.pidfd_open(pid)
        try:
            signal.pidfd_send_signal(pidfd, number)
            if not ends(pidfd, timeout):
                name = signal.Signals(number).name
                raise AssertionError(f"{pid} ({describe(pid)}) has not ended in {timeout} s after {name}")
        finally:
            os.close(pidfd)

    def adopt(self, pid: int) -> None:
        """Count a process as this test's own that does not carry the marker."""
        self._adopted.add(pid)

    def leave(self, pid: int) -> None:
        """Say that a process is meant to outlive the test. It is killed, what it measured is lost."""
        self._left.add(pid)

    # The end

    def close(self) -> list[str]:
        """Kill what is alive, remove what was written, answer a line on each that was not left on purpose."""
        outlived: list[str] = []
        if self._closed:
            return outlived
        self._closed = True
        # One that is ending is no failure, and is given the time to save what it measured.
        with contextlib.suppress(AssertionError):
            wait_for(lambda: self._left.issuperset(self.alive()), timeout=1)
        found_none = 0
        while found_none < 2:  # a second look, for one may have forked behind the back of the first, and ended
            pids = self.alive()
            found_none = 0 if pids else found_none + 1
            for pid in pids:
                line = f"{pid}: {describe(pid)}"
                if self._kill(pid) and pid not in self._left:
                    outlived.append(line)
        for terminal in self._terminals:
            terminal.close()
        for running in self._running:
            running.close()
        self._bring_coverage_home()
        for running in self._running:
            _show(running)
        shutil.rmtree(self.directory)
        return outlived

    def _kill(self, pid: int) -> bool:
        try:
            pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            return False
        try:
            # The number may have gone to a stranger since it was found; the pidfd can't.
            if pid not in self._known() and not self._is_marked(pid):
                return False
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            if not ends(pidfd, 30):
                raise AssertionError(f"{pid} ({describe(pid)}) does not die of SIGKILL")
        except ProcessLookupError:
            return False
        finally:
            os.close(pidfd)
        return True

    def _known(self) -> set[int]:
        """Return the pids that count without the marker: those adopted, and children that nobody has waited for."""
        held: list[Running | Terminal] = [*self._running, *self._terminals]
        return self._adopted.union(one.pid for one in held if one.process.returncode is None)

    def _is_marked(self, pid: int) -> bool:
        try:
            return self._mark.encode() in environment_of(pid).split(b"\0")
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            return False

    def _bring_coverage_home(self) -> None:
        home = coverage_directory()
        if home is None:
            return
        for jail in self._jails:
            for file in jail.joinpath(home.relative_to("/")).iterdir():
                shutil.move(os.fspath(file), home)

    # The command

    def _prepare(
        self,
        program: str | Path,
        arguments: Sequence[object],
        user: str | None,
        env: Mapping[str, str | None] | None,
        through: Sequence[str],
        python: Sequence[str],
        plain: bool,
    ) -> tuple[list[str], dict[str, str]]:
        path = self._written(program) if isinstance(program, str) else program.absolute()
        environment = {**os.environ, "PYTHON_COLORS": "0"}  # Python colours tracebacks on terminals as of 3.13
        if plain:
            environment = {name: value for name, value in environment.items() if not name.startswith("COVERAGE_")}
        else:
            _prepend_path(environment, _TESTS)
        if user is not None:
            environment["DAEMONRY_TEST_USER"] = user
            environment["DAEMONRY_TEST_IMPORTS"] = " ".join(_needed_by(path))
            _prepend_path(environment, _TESTS / "harness" / "startup")
        for name, value in (env or {}).items():
            if value is None:
                environment.pop(name, None)
            else:
                environment[name] = value
        name, _, mark = self._mark.partition("=")
        environment[name] = mark
        return [*through, sys.executable, *python, str(path), *map(str, arguments)], environment

    def _written(self, source: str) -> Path:
        path = self.directory / f"program-{len(list(self.directory.glob('program-*')))}.py"
        path.write_text(textwrap.dedent(source), encoding="utf-8")
        return path


def coverage_directory() -> Path | None:
    """Return where this run's processes save what they measured, ``None`` when nothing is measured."""
    current = coverage.Coverage.current()
    return None if current is None else Path(current.config.data_file).absolute().parent


@contextlib.contextmanager
def _as_input(stdin: str | bytes | int | IO[Any] | None) -> Iterator[int | IO[Any]]:
    """Give what Popen takes as standard input; a text is in a file, so that nobody has to feed it."""
    if isinstance(stdin, (str, bytes)):
        with tempfile.TemporaryFile() as file:
            file.write(stdin.encode() if isinstance(stdin, str) else stdin)
            file.seek(0)
            yield file
    else:
        yield subprocess.DEVNULL if stdin is None else stdin


def _prepend_path(environment: dict[str, str], directory: Path) -> None:
    rest = environment.get("PYTHONPATH")
    environment["PYTHONPATH"] = f"{directory}{os.pathsep}{rest}" if rest else str(directory)


def _needed_by(program: Path) -> list[str]:
    """Return the names of the modules that a program and the library may import, early or late."""
    needed = _imports_of(program)
    spec = importlib.util.find_spec("daemonry")
    for directory in (spec and spec.submodule_search_locations) or ():
        for file in Path(directory).rglob("*.py"):
            if not file.name.startswith("_"):
                needed.add(".".join(("daemonry", *file.relative_to(directory).with_suffix("").parts)))
            needed |= _imports_of(file)
    return sorted(needed)


def _imports_of(file: Path) -> set[str]:
    """Return what is imported anywhere in a file by its full name, and the names in it that may be modules."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def _show(running: Running) -> None:
    """Print what a program has said; pytest shows it when the test fails."""
    for name, text in (("stdout", running.stdout), ("stderr", running.stderr)):
        if text:
            print(f"-- {name} of {running.process.args!r}\n{text}")
