"""What to do about a program that can't be started, as far as a look at it tells."""

from __future__ import annotations

import errno
import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..errors import DaemonStartError
    from .program import Readiness

# By which flags, as their manual pages say, programs stay in front that otherwise fork away.
_IN_FRONT = {
    "apache2": "-D FOREGROUND",
    "httpd": "-D FOREGROUND",
    "nginx": "-g 'daemon off;'",
    "lighttpd": "-D",
    "caddy": "run in the place of start",
    "redis-server": "--daemonize no",
    "memcached": "no -d",
    "gunicorn": "no --daemon",
    "php-fpm": "--nodaemonize",
    "dnsmasq": "--keep-in-foreground",
    "haproxy": "no -D",
    "squid": "--foreground",
    "named": "-f",
    "sshd": "-D",
    "dropbear": "-F",
    "rsyslogd": "-n",
    "cron": "-f",
    "crond": "-f",
    "atd": "-f",
    "ntpd": "-n",
    "chronyd": "-d",
}


def on_missing(program: str, path: str | None) -> str:
    """Return why no program can be executed by this name, and what to do.

    :param program: what the user has called it.
    :param path: the value of PATH, in which a name without a slash is looked for.
    """
    if "/" in program:
        return _on_file(program)
    for directory in (path or "").split(os.pathsep):
        found = os.path.join(directory, program)
        if directory and os.path.isfile(found):
            return _on_file(found)
    here = f"; there is ./{program} here: call it so" if os.path.isfile(program) else ""
    return f"there is no program {program} in PATH{here}"


def _on_file(path: str) -> str:
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return f"there is no program {path}"
    except OSError as error:
        return f"the program {path} can't be reached: {error.strerror}"
    if stat.S_ISDIR(found.st_mode):
        return f"{path} is a directory; name a program in it"
    if not stat.S_ISREG(found.st_mode):
        return f"{path} is not a regular file, and can't be executed"
    if not found.st_mode & 0o111:
        return f"{path} may not be executed by anybody; chmod +x it, or put its interpreter before it"
    return f"{path} may not be executed by this user, but by others: its mode is {stat.S_IMODE(found.st_mode):04o}"


def on_execution(path: str, number: int | None) -> str:
    """Return what to put behind an error of execve(2)."""
    first = _first_line(path)
    if first.startswith(b"#!"):
        words = first[2:].split()
        interpreter = os.fsdecode(words[0]) if words else ""
        if first.endswith(b"\r"):
            return (
                "; its first line ends with a carriage return, as lines of DOS do: convert it, with dos2unix(1) or sed"
            )
        if number == errno.ENOENT:
            return f"; its first line names the interpreter {interpreter}, which is not there"
        if number == errno.EACCES and not os.access(interpreter, os.X_OK):
            return f"; its first line names the interpreter {interpreter}, which may not be executed"
    elif number == errno.ENOEXEC:
        return "; it is no program of this machine, and no script: that begins with a line such as #!/bin/sh"
    elif number == errno.ENOENT and os.path.exists(path):
        return "; what loads it, or a library that it needs, is not there: see ldd(1)"
    return ""


def _first_line(path: str) -> bytes:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:  # it may be executed, and not read
        return b""
    with open(fd, "rb") as file:
        return file.readline(256).rstrip(b"\n")


def on_failure(error: DaemonStartError, words: Sequence[str], directory: str, readiness: Readiness) -> str:
    """Return what to put behind the error of a start whose program was executed.

    :param words: its name and its arguments.
    :param directory: where it works.
    """
    found = []
    if error.errno == errno.ETIMEDOUT:
        found.append(readiness.when_late())
    elif error.status == 0 or _has_ended_well(error.message):
        program = os.path.basename(words[0])
        flag = f": {program} takes {_IN_FRONT[program]}" if program in _IN_FRONT else ", by a flag of its own"
        found.append(f"if it has gone on in the background, it is to stay in front{flag}")
    if error.status is not None or error.errno == errno.ETIMEDOUT:
        found += _missing_there(words[1:], directory)
    return "".join(f"; {each}" for each in found if each)


def _has_ended_well(told: str) -> bool:
    """Whether a supervisor has said so, perhaps with a clause about what the program has left."""
    return told.partition(", ")[0].endswith("exited with status 0")


def _missing_there(words: Sequence[str], directory: str) -> Iterator[str]:
    """Yield what to do about words that name a file here, but none where the program works."""
    here = os.getcwd()
    for word in words:
        name = word.rpartition("=")[2] if word.startswith("-") else word
        is_here = name and not os.path.isabs(name) and os.path.exists(name)
        if is_here and not os.path.exists(os.path.join(directory, name)):
            yield f"{name} is in {here}, but the program works in {directory}: give its whole path, or --chdir ."
            return
