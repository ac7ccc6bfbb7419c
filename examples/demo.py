"""Starts the file server on this very directory as a daemon, shows what makes it one, and stops it."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

from daemonry import PIDLockFile
from daemonry.system import process

EXAMPLES = Path(__file__).resolve().parent
PROJECT = EXAMPLES.parent


def say(title, text):
    print(f"{title:>20}  {text}", flush=True)


def start(place):
    """Start the server; return its address when the launcher has gone, which is when the server is ready."""
    command = [sys.executable, EXAMPLES / "fileserver.py", "start", "--port", "0"]
    command += ["--pidfile", place / "web.pid", "--log", place / "web.log", PROJECT]
    launcher = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
    say("launcher says", launcher.stderr.strip())
    say("launcher's status", launcher.returncode)
    if launcher.returncode != 0:
        sys.exit(launcher.returncode)
    return re.search(r"http://\S+", launcher.stderr).group()


def fetch(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        body = answer.read()
    same = body == (PROJECT / "pyproject.toml").read_bytes()
    say("fetched", f"{url}, {len(body)} bytes, {'the same as' if same else 'NOT'} the file's")
    return same


def show_facts(pid):
    """Show the facts of a daemon, as the system tells them."""
    found = process.look(pid)
    say("process", f"{pid} ({found.name})")
    say("parent", f"{found.parent}, not the launcher")
    say("session", f"{found.session}, which is not its own number: it can't get a terminal again")
    if not os.path.isdir(f"/proc/{pid}"):
        return
    terminal = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[4]
    say("controlling terminal", "none" if terminal == "0" else terminal)
    say("working directory", os.readlink(f"/proc/{pid}/cwd"))
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    say("umask", status["Umask"])
    for number in sorted(os.listdir(f"/proc/{pid}/fd"), key=int):
        say(f"descriptor {number}", os.readlink(f"/proc/{pid}/fd/{number}"))


def stop(lock, pid):
    """Send SIGTERM if the lock is still held when the number can't pass to another process any more."""
    process.send_signal(pid, signal.SIGTERM, lock.is_locked)
    ended = process.wait_for_exit(pid, timeout=10)
    say("stopped", "yes" if ended else "NO")
    gone = not os.path.exists(lock.path)
    say("pidfile", "gone" if gone else "STILL THERE")
    return ended and gone


def main():
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        url = start(place)
        lock = PIDLockFile(place / "web.pid")
        pid = lock.read_pid()
        try:
            right = fetch(f"{url}pyproject.toml")
            show_facts(pid)
        finally:
            right = stop(lock, pid) and right
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
