"""Those who start programs and keep them: shells, containers, inetd, supervisors; each stops them by its own means.

``start`` begins a way, ``stop`` ends the program and answers how it ended, as who started it saw it, and ``close`` ends
who started it. What has to be installed is in ``needs``.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from harness import reaper
from harness.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.daemons import Daemons, Running
    from harness.systemd import Systemd
    from harness.terminal import Terminal

# Daemons starts Python programs: this one becomes any other.
BECOME = "import os, sys\nos.execvp(sys.argv[1], sys.argv[1:])\n"
CONTAINER = ("unshare", "--pid", "--fork", "--mount-proc")


class Way:
    """One way to start a program."""

    needs: Sequence[str] = ()
    """Programs that have to be installed, and modules, whose names begin with ``python:``."""
    takes_root = False
    stopped_by = "SIGTERM"
    """How it stops the program, in words."""

    def __init__(self, daemons: Daemons, example: Path, *flags: str) -> None:
        self.daemons = daemons
        self.place, self.inside = self.places()
        """The program's directory, and the same as the program sees it."""
        self.place.mkdir()
        shutil.copy(example, self.place)
        # A script, which every manager can start; it becomes the program, and says with which number it began.
        command = f"{sys.executable} {self.inside}/{example.name} {' '.join(flags)} {self.inside}"
        write_script(self.place / "start", f"STARTED_AS=$$ exec {command}\n")
        self.program = self.inside / "start"

    def places(self) -> tuple[Path, Path]:
        """Return where the program's directory is, and where it is for the program."""
        return self.daemons.directory / "place", self.daemons.directory / "place"

    @classmethod
    def why_not(cls) -> str | None:
        """Say why there is no such way here, ``None`` when there is."""
        if cls.takes_root and os.geteuid() != 0:
            return f"it takes root, and the tests run as uid {os.geteuid()}"
        missing = [each for each in cls.needs if not _is_installed(each)]
        return f"not installed: {', '.join(missing)}" if missing else None

    def start(self) -> None:
        """Begin; who wants to know when the program is up has to ask it."""
        raise NotImplementedError

    def stop(self, pid: int) -> str:
        """End the program, which has this number; return how it ended, as who started it saw it."""
        raise NotImplementedError

    def told(self) -> str:
        """Return how who started it learns that the program is up; fail when he has not learnt it."""
        return "nobody asks"

    def close(self) -> None:
        """End who started it, if he is still about."""

    def begin(self, *command: str) -> Running:
        """Start a command without a terminal, in a session of its own, with pipes as a container's engine gives."""
        return self.daemons.start(
            BECOME, *command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
        )


def _is_installed(what: str) -> bool:
    kind, _, module = what.rpartition(":")
    return importlib.util.find_spec(module) is not None if kind else shutil.which(what) is not None


def _status(number: int) -> str:
    return f"status {number}" if number >= 0 else signal.Signals(-number).name


class Shell(Way):
    """A shell that waits for its command; what the command leaves becomes the child of a subreaper, as of init."""

    def start(self) -> None:
        self.running = self.begin(*self.command())

    def command(self) -> tuple[str, ...]:
        """Return a shell that notes how its command, the launcher, has ended."""
        script = f'"$1"; echo "launcher: status $?" >{self.inside}/launcher'
        return (*reaper.through(), "sh", "-c", script, "sh", str(self.program))

    def told(self) -> str:
        file = self.place / "launcher"
        return wait_for(lambda: file.exists() and file.read_text().strip(), what="the launcher ends") or ""

    def stop(self, pid: int) -> str:
        self.daemons.stop(pid)
        return _status(self.running.wait().status)


class TerminalShell(Shell):
    """The same at a terminal."""

    def start(self) -> None:
        self.terminal = self.daemons.terminal(BECOME, *self.command())

    def stop(self, pid: int) -> str:
        self.daemons.stop(pid)
        return _status(self.terminal.wait())


class Container(Way):
    """The program as the only one of a PID namespace: process 1, to which the stop's signal goes."""

    needs: Sequence[str] = ("unshare",)
    takes_root = True
    stopped_by = "SIGTERM to process 1"
    entry: Sequence[str] = ()

    @classmethod
    def why_not(cls) -> str | None:
        """Say why there is no such way here, ``None`` when there is."""
        why_not = super().why_not()
        if why_not is None and subprocess.run([*CONTAINER, "true"], capture_output=True, check=False).returncode:
            return f"{' '.join(CONTAINER)} is not allowed here"
        return why_not

    def start(self) -> None:
        self.running: Running | Terminal = self.begin(*CONTAINER, *self.entry, str(self.program))

    def stop(self, pid: int) -> str:
        signal_process_1(self.running.pid, signal.SIGTERM)
        return _status(self.wait())

    def wait(self) -> int:
        """Return the container's status, as unshare passes it on, when it has ended."""
        ended = self.running.wait()
        return ended if isinstance(ended, int) else ended.status


def process_1(unshare: int) -> int:
    """Return the number, here, of the process 1 below an unshare that runs."""
    children = Path(f"/proc/{unshare}/task/{unshare}/children")
    return int(wait_for(lambda: children.read_text().split(), what="there is a process 1")[0])


def signal_process_1(unshare: int, number: int) -> None:
    """Send a signal to the process 1 below an unshare, as ``docker kill`` does."""
    pidfd = os.pidfd_open(process_1(unshare))
    try:
        signal.pidfd_send_signal(pidfd, number)
    finally:
        os.close(pidfd)


class ContainerWithInit(Container):
    """``docker run --init``."""

    needs: Sequence[str] = ("unshare", "tini")
    entry: Sequence[str] = ("tini", "--")


class ContainerWithTerminal(ContainerWithInit):
    """``docker run -it --init``; process 1 leads the terminal's session."""

    needs = ("unshare", "tini", "setsid")
    entry = ("setsid", "--ctty", "tini", "--")

    def start(self) -> None:
        self.running = self.daemons.terminal(BECOME, *CONTAINER, *self.entry, str(self.program))


class ContainerWithShell(Container):
    """``CMD prog; true``: a shell, which passes no signal on, is process 1; after some patience comes SIGKILL."""

    stopped_by = "SIGKILL to process 1: SIGTERM does nothing"

    def start(self) -> None:
        self.running = self.begin(*CONTAINER, "sh", "-c", '"$1"; exit $?', "sh", str(self.program))

    def stop(self, pid: int) -> str:
        first = process_1(self.running.pid)
        caught = re.search(r"^SigCgt:\s*(\S+)", Path(f"/proc/{first}/status").read_text(), re.MULTILINE)
        assert caught is not None
        assert not int(caught[1], 16) >> (signal.SIGTERM - 1) & 1
        signal_process_1(self.running.pid, signal.SIGTERM)
        signal_process_1(self.running.pid, signal.SIGKILL)
        self.wait()
        return "SIGKILL"  # which an unshare can't pass on: it says so, and ends with status 1


class Inetd(Way):
    """A super-server: it listens, and gives each connection as the three streams of a new process."""

    needs = ("socat",)
    stopped_by = "the client, by closing the connection"

    def start(self) -> None:
        address = "TCP-LISTEN:0,bind=127.0.0.1,fork"
        self.running = self.daemons.start(
            BECOME, "socat", "-ddd", address, f"EXEC:{self.program},nofork,stderr", start_new_session=True
        )

    @property
    def port(self) -> int:
        """Where it listens."""

        return int(self._logged(r"listening on AF=2 127\.0\.0\.1:(\d+)"))

    def stop(self, pid: int) -> str:
        """Tell how it ended; the client has closed the connection."""

        return self._logged(rf"child {pid} exited (?:with|on) (.*)")

    def _logged(self, pattern: str) -> str:
        (found, *_) = wait_for(lambda: re.findall(pattern, self.running.stderr), what=f"socat says {pattern}")
        return str(found)

    def close(self) -> None:
        self.running.signal(signal.SIGTERM)
        self.running.wait()


class Supervisord(Way):
    """supervisord with a configuration of its own."""

    needs = ("python:supervisor",)
    stopped_by = "``supervisorctl stop``"

    def command(self) -> tuple[str, ...]:
        """Return how it is called."""
        return (sys.executable, "-m", "supervisor.supervisord")

    def start(self) -> None:
        place = self.place
        self.configuration = place / "supervisord.conf"
        self.configuration.write_text(
            textwrap.dedent(f"""
            [supervisord]
            nodaemon=true
            logfile={place}/supervisord.log
            pidfile={place}/supervisord.pid
            childlogdir={place}
            [unix_http_server]
            file={place}/supervisord.sock
            [rpcinterface:supervisor]
            supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
            [supervisorctl]
            serverurl=unix://{place}/supervisord.sock
            [program:everywhere]
            command={self.program}
            autorestart=true
            """)
        )
        self.running = self.begin(*self.command(), "-n", "-c", str(self.configuration))

    def stop(self, pid: int) -> str:
        control = (sys.executable, "-m", "supervisor.supervisorctl", "-c", str(self.configuration))
        subprocess.run([*control, "stop", "everywhere"], check=True, capture_output=True)
        log = (self.place / "supervisord.log").read_text()
        match = re.search(r"stopped: everywhere \((?:exit )?(.*)\)", log)
        return match[1] if match else log

    def close(self) -> None:
        self.running.signal(signal.SIGTERM)
        self.running.wait()


class SupervisordScript(Supervisord):
    """The same, called by the name that PyPI installs."""

    @classmethod
    def why_not(cls) -> str | None:
        """Say why there is no such way here, ``None`` when there is."""
        missing = None if cls._script().exists() else f"not installed: {cls._script()}"
        return super().why_not() or missing

    @staticmethod
    def _script() -> Path:
        return Path(sys.executable).parent / "supervisord"

    def command(self) -> tuple[str, ...]:
        return (str(self._script()),)


class Runsv(Way):
    """runit: a directory with a file ``run``, kept by a runsv of its own."""

    needs = ("runsv", "sv")
    stopped_by = "``sv stop``"

    def start(self) -> None:
        self.service = service_directory(self.program)
        self.running = self.begin("runsv", str(self.service))

    def stop(self, pid: int) -> str:
        subprocess.run(["sv", "stop", self.service], check=True, capture_output=True)
        return how_it_finished(self.service)

    def close(self) -> None:
        subprocess.run(["sv", "exit", self.service], check=True, capture_output=True)
        self.running.wait()


class S6(Way):
    """s6: the same, with tools of its own."""

    needs = ("s6-supervise", "s6-svc")
    stopped_by = "``s6-svc -d``"

    def start(self) -> None:
        self.service = service_directory(self.program)
        self.running = self.begin("s6-supervise", str(self.service))

    def stop(self, pid: int) -> str:
        subprocess.run(["s6-svc", "-T", "10000", "-wD", "-d", self.service], check=True, capture_output=True)
        return how_it_finished(self.service)

    def close(self) -> None:
        subprocess.run(["s6-svc", "-x", self.service], check=True, capture_output=True)
        self.running.wait()


class Service(Way):
    """A unit of systemd's."""

    stopped_by = "``systemctl stop``"
    kind = "notify"

    def __init__(self, daemons: Daemons, example: Path, *flags: str, systemd: Systemd) -> None:
        self.systemd = systemd
        self.unit = f"{daemons.directory.name}.service"
        super().__init__(daemons, example, *flags)

    def places(self) -> tuple[Path, Path]:
        inside = f"/srv/{self.daemons.directory.name}"
        return self.systemd.path(inside), Path(inside)

    def start(self) -> None:
        # Asked later, systemd has forgotten a unit that it has stopped.
        tell = f'echo "$SERVICE_RESULT $EXIT_CODE $EXIT_STATUS" >{self.inside}/ended\n'
        write_script(self.place / "tell", tell)
        self.systemd.write(
            f"/etc/systemd/system/{self.unit}",
            f"""
            [Service]
            Type={self.kind}
            Environment={self.daemons._mark}
            ExecStart={self.program}
            ExecStopPost={self.inside}/tell
            """,
        )
        self.systemd.reload()
        self.systemd.check("systemctl", "start", self.unit)

    def told(self) -> str:
        shown = self.systemd.show(self.unit, "Type", "ActiveState")
        assert (shown["Type"], shown["ActiveState"]) == (self.kind, "active")
        return "``READY=1``" if self.kind == "notify" else "launcher: status 0"

    def stop(self, pid: int) -> str:
        self.systemd.check("systemctl", "stop", self.unit)
        result, code, status = (self.place / "ended").read_text().split()
        return f"status {status}, {result}" if code == "exited" else status


class ForkingService(Service):
    """One that is up when the process that was started has ended."""

    kind = "forking"


def service_directory(program: Path) -> Path:
    """Make a directory such as runit and s6 keep, for a program."""
    place = program.parent / "service"
    place.mkdir()
    write_script(place / "run", f"exec {program}\n")
    write_script(place / "finish", f'echo "$@" >{place}/finished\n')
    return place


def how_it_finished(place: Path) -> str:
    """Tell what the file ``finish`` was told: the status, or -1 (256 from s6) and the signal."""
    file = place / "finished"
    words = wait_for(lambda: file.read_text().split() if file.exists() else [], what="it finishes")
    status, number = map(int, words[:2])
    return f"status {status}" if 0 <= status < 256 else signal.Signals(number).name


def write_script(path: Path, text: str) -> None:
    """Write a shell script that can be executed."""
    path.write_text(f"#!/bin/sh\n{text}")
    path.chmod(0o755)
