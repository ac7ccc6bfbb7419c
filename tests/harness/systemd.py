"""A real systemd and journald, in namespaces of their own over a copy of the root directory, gone afterwards."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
from contextlib import suppress
from pathlib import Path

from harness.daemons import coverage_directory
from harness.waiting import wait_for

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_SYSTEMD = "/lib/systemd/systemd"
# What would want the real machine's devices, clock or network, or would run at its own time.
_MASKED = (
    *(f"systemd-{name}.service" for name in ("sysctl", "udevd", "udev-trigger", "modules-load", "tmpfiles-setup")),
    *(f"systemd-{name}.service" for name in ("tmpfiles-setup-dev", "tmpfiles-clean", "remount-fs", "random-seed")),
    *(f"systemd-{name}.service" for name in ("update-utmp", "sysusers", "timesyncd", "networkd", "logind")),
    *("cron.service", "systemd-tmpfiles-clean.timer", "paths.target", "timers.target", "cryptsetup.target"),
    *(f"modprobe@{name}.service" for name in ("configfs", "dm_mod", "efi_pstore", "fuse", "loop", "drm")),
    *("sys-kernel-debug.mount", "sys-kernel-tracing.mount", "sys-kernel-config.mount", "sys-fs-fuse-connections.mount"),
    *("dev-hugepages.mount", "dev-mqueue.mount", "systemd-ask-password-console.path"),
)
# Makes a control group of the box's own, which becomes the root of the hierarchy that the box sees.
_ENTER_GROUP = 'echo $$ >"$1/cgroup.procs"; shift; exec "$@"'
# Runs in the fresh namespaces; $1 is an empty directory. The machine's own files are the lower layer of the overlay, so
# what is written inside lies in memory, and is gone with the namespace.
_BOOT = """
set -eu
mount --make-rprivate /
mount -t tmpfs tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
root=$1/root
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$root"
mount -t tmpfs tmpfs "$root/tmp"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for node in null zero full random urandom tty; do
    touch "$root/dev/$node"
    mount --bind "/dev/$node" "$root/dev/$node"
done
mkdir -p "$root/dev/pts" "$root/dev/shm"
mount -t devpts devpts "$root/dev/pts" -o newinstance,ptmxmode=0666
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
mount -t proc proc "$root/proc"
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,ro,bind "$root/proc/sys"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
rm -f "$root/etc/machine-id"
echo 0123456789abcdef0123456789abcdef >"$root/etc/machine-id"
rm -rf "$root/var/log/journal"
for unit in $2; do
    ln -sf /dev/null "$root/etc/systemd/system/$unit"
done
shift 2
for needed; do
    case $needed in
    /tmp/* | /run/*)
        [ -e "$root$needed" ] || { mkdir -p "$root$needed" && mount --bind "$needed" "$root$needed"; } ;;
    *)
        while needed=$(dirname "$needed") && [ "$needed" != / ]; do chmod o+x "$root$needed"; done ;;
    esac
done
ip link set lo up
export container=lxc
exec chroot "$root" /lib/systemd/systemd --system --unit=basic.target
"""


class CannotBoot(Exception):
    """No systemd can be booted here, and why."""


def why_not() -> str | None:
    """Say why no systemd can be booted here, ``None`` when it can be tried."""
    if os.geteuid() != 0:
        return f"booting a systemd takes root, and the tests run as uid {os.geteuid()}"
    missing = [name for name in ("unshare", "nsenter", "ip", "systemctl") if shutil.which(name) is None]
    if not os.path.exists(_SYSTEMD) or missing:
        return f"not installed: {', '.join(missing) or 'systemd'}"
    if _group_here() is None:
        return "no cgroup2 file system is mounted"
    return None


def _group_here() -> Path | None:
    """Return the directory of this process's control group in the unified hierarchy; cgroups(7)."""
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    places = [Path(words[1]) for words in mounts if words[2] == "cgroup2"]
    groups = [line[3:] for line in Path("/proc/self/cgroup").read_text().splitlines() if line.startswith("0::")]
    if not places or not groups:
        return None
    found = places[0] / groups[0].lstrip("/")
    return found if found.exists() else places[0]


def _needed_inside() -> Iterator[str]:
    """Yield the directories of the interpreter, the library and this run's measurement.

    Those in /tmp and /run would be missing inside, where these are new; the others are opened to every user, inside.
    """
    spec = importlib.util.find_spec("daemonry")
    homes = [sys.prefix, sys.base_prefix, *((spec and spec.submodule_search_locations) or ())]
    measured = coverage_directory()
    for home in dict.fromkeys((*homes, *([] if measured is None else [os.fspath(measured)]))):
        yield os.path.realpath(home)


class Systemd:
    """A booted systemd; its units are written to ``/etc/systemd/system`` inside.

    :raises CannotBoot: with what its console says.
    """

    def __init__(self) -> None:
        self._directory = tempfile.mkdtemp(prefix="daemonry-systemd-", dir="/var/tmp")
        self._console = Path(self._directory, "console")
        layers = Path(self._directory, "layers")
        layers.mkdir()
        here = _group_here()
        assert here is not None
        self._group = here / Path(self._directory).name
        self._outer: subprocess.Popen[bytes] | None = None
        try:
            self._group.mkdir()
            self._outer = self._boot(layers)
            self._init = wait_for(self._find_init, what="the namespaces are there")
            wait_for(self._is_up, timeout=30, what="systemd is up")
        except BaseException as error:
            said = self._console.read_text(errors="replace") if self._console.exists() else ""
            self.close()
            if isinstance(error, Exception):
                raise CannotBoot(f"systemd can't be booted here: {error}; its console says: {said.strip()}") from error
            raise
        self._pass_environment_on()

    def _boot(self, layers: Path) -> subprocess.Popen[bytes]:
        spaces = ("--pid", "--mount", "--uts", "--ipc", "--net", "--cgroup", "--fork", "--kill-child")
        inner = ("sh", "-c", _BOOT, "sh", str(layers), " ".join(_MASKED), *_needed_inside())
        with open(self._console, "wb") as console:
            return subprocess.Popen(
                ["sh", "-ec", _ENTER_GROUP, "sh", str(self._group), "unshare", *spaces, *inner],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
                env={"PATH": os.environ["PATH"]},
            )

    def _find_init(self) -> int | None:
        assert self._outer is not None
        if self._outer.poll() is not None:
            raise ChildProcessError(f"unshare has ended with status {self._outer.returncode}")
        children = Path(f"/proc/{self._outer.pid}/task/{self._outer.pid}/children").read_text().split()
        return int(children[0]) if children else None

    def _is_up(self) -> bool:
        self._find_init()
        answer = self.run("systemctl", "is-system-running")
        return answer.stdout.strip() in ("running", "degraded")

    def _pass_environment_on(self) -> None:
        # The programs inside are measured as all others are, and import what those import.
        names = [name for name in os.environ if name.startswith("COVERAGE_") or name == "PYTHONPATH"]
        if names:
            self.check("systemctl", "set-environment", *(f"{name}={os.environ[name]}" for name in names))

    def run(self, *command: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a command inside."""
        return subprocess.run([*self.enter(), *command], capture_output=True, text=True, timeout=timeout, check=False)

    def check(self, *command: str) -> str:
        """Run a command inside, which is to succeed; return what it says."""
        answer = self.run(*command)
        if answer.returncode:
            raise AssertionError(f"{' '.join(command)}: status {answer.returncode}: {answer.stdout}{answer.stderr}")
        return answer.stdout

    def enter(self) -> Sequence[str]:
        """Return what is to stand before a command that is to run inside."""
        spaces = ("--pid", "--mount", "--uts", "--ipc", "--net", "--cgroup", "--root")
        # Without a value --wd is the target's working directory: a path would be looked up out here.
        return ("nsenter", "--target", str(self._init), *spaces, "--wd", "--")

    def path(self, inside: str) -> Path:
        """Return the path, here, of a file inside."""
        return Path(f"/proc/{self._init}/root{inside}")

    def write(self, path: str, text: str) -> None:
        """Write a file inside, with the directories that it lies in."""
        place = self.path(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(textwrap.dedent(text))

    def reload(self) -> None:
        """Let systemd read the units that have been written."""
        self.check("systemctl", "daemon-reload")

    def show(self, unit: str, *names: str) -> dict[str, str]:
        """Return properties of a unit; see systemctl(1)."""
        answer = self.check("systemctl", "show", "--property", ",".join(names), unit)
        return dict(line.split("=", 1) for line in answer.splitlines())

    def journal(self, unit: str, *flags: str) -> str:
        """Return what the journal has of a unit, and of systemd on it."""
        self.check("journalctl", "--sync")
        return self.check("journalctl", "--unit", unit, "--no-pager", "--output=cat", *flags)

    def close(self) -> None:
        """End it, with everything that runs in it."""
        if self._outer is not None:
            self._outer.send_signal(signal.SIGKILL)
            self._outer.wait()
        wait_for(self._is_removed, what=f"{self._group} and {self._directory} are removed")

    def _is_removed(self) -> bool:
        # Processes that have been killed stay in their groups until they have been reaped.
        for place, _, _ in os.walk(self._group, topdown=False):
            with suppress(OSError):
                os.rmdir(place)
        shutil.rmtree(self._directory, ignore_errors=True)
        return not self._group.exists() and not os.path.exists(self._directory)
