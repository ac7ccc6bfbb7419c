"""The files that the documents show, and what a test does with the units among them."""

from __future__ import annotations

import re
import sys
import textwrap
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    import subprocess

    from harness.systemd import Systemd

_DOCS = Path(__file__).parent.parent.parent / "docs"
_BLOCK = re.compile(r"^\.\. (code-block|literalinclude):: (\S+)\n   :caption: (\S+)\n((?: {3}\S.*\n)*)", re.MULTILINE)
_PYTHON = "/usr/bin/python3"


def documented_files(page: str) -> dict[str, str]:
    """Return the files that a page shows, by the paths in their captions; their interpreter is the tests' own."""
    text = (_DOCS / page).read_text(encoding="utf-8")
    found = {}
    for block in _BLOCK.finditer(text):
        kind, argument, path, _ = block.groups()
        shown = (_DOCS / argument).read_text(encoding="utf-8") if kind == "literalinclude" else _body(text, block.end())
        found[path] = shown.replace(_PYTHON, sys.executable)
    return found


def _body(text: str, start: int) -> str:
    lines = []
    for line in text[start:].splitlines():
        if line and not line.startswith("   "):
            break
        lines.append(line)
    return textwrap.dedent("\n".join(lines)).strip() + "\n"


class Units:
    """The units of a page in a systemd; what a test has made of them is undone at its end."""

    def __init__(self, systemd: Systemd, files: dict[str, str]) -> None:
        self.systemd = systemd
        self.files = files
        self._used: list[str] = []
        self._written: list[str] = []

    def call(self, verb: str, unit: str, *flags: str) -> subprocess.CompletedProcess[str]:
        """Let systemctl do something with a unit."""
        self._used.append(unit)
        return self.systemd.run("systemctl", *flags, verb, unit)

    def start(self, unit: str) -> None:
        """Start a unit, which is to succeed."""
        done = self.call("start", unit)
        if done.returncode:
            raise AssertionError(f"{unit}: {done.stderr}{self.status(unit)}")

    def stop(self, unit: str) -> None:
        """Stop a unit, which is to succeed."""
        self.systemd.check("systemctl", "stop", unit)

    def status(self, unit: str) -> str:
        """Return what systemctl status says."""
        self.systemd.check("journalctl", "--sync")
        return self.systemd.run("systemctl", "status", "--no-pager", "--full", unit).stdout

    def of(self, unit: str, name: str) -> str:
        """Return a property of a unit."""
        return self.systemd.show(unit, name)[name]

    def write(self, path: str, text: str) -> None:
        """Write a file, or another text for one of the page's, and let systemd know it."""
        self.systemd.write(path, text)
        self._written.append(path)
        if path.startswith("/etc/systemd"):
            self.systemd.reload()

    def change(self, unit: str, *directives: str) -> None:
        """Add directives to a unit's section Service."""
        self.write(f"/etc/systemd/system/{unit}.d/test.conf", "\n".join(("[Service]", *directives, "")))

    def main(self, unit: str) -> int:
        """Return the number, inside, of a unit's main process."""
        return int(self.of(unit, "MainPID"))

    def signal(self, unit: str, name: str) -> None:
        """Send a signal to a unit's main process."""
        self.systemd.check("systemctl", "kill", "--kill-who=main", f"--signal={name}", unit)

    def close(self) -> None:
        """Stop what has been started, and put back what has been written."""
        if self._used:
            self.systemd.run("systemctl", "stop", *self._used)
            self.systemd.run("systemctl", "reset-failed", *self._used)
        for path in self._written:
            self.systemd.path(path).unlink(missing_ok=True)
            if path in self.files:
                self.systemd.write(path, self.files[path])
        if self._written:
            self.systemd.reload()
