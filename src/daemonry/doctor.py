"""Which properties of a well-behaved daemon hold for a live process, whoever wrote it, as /proc tells it.

Source: daemon(7), section "SysV Daemons"; proc_pid_stat(5), proc_pid_status(5), proc_pid_fd(5), proc_pid_fdinfo(5).
"""

from __future__ import annotations

import errno
import grp
import os
import pwd
import stat
from contextlib import contextmanager, suppress
from functools import cached_property

from . import kernel_lock, process, service_manager, signals
from .record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Union

    # What a finding says beside its name: ok, fact, advice.
    Answer = tuple[Union[bool, None], str, str]


class Finding(Record):
    """One property of one process.

    ``ok`` is ``None`` when it can't be told. ``advice`` says what to do about it, or why it can't be told; what is well
    may have some too.
    """

    name: str
    ok: bool | None
    fact: str
    advice: str = ""

    def __str__(self) -> str:
        advice = f" ({self.advice})" if self.advice else ""
        return f"{self.name}: {self.fact}{advice}"


def examine(pid: int, pidfile: str | None = None) -> tuple[Finding, ...]:
    """Answer what there is to say of the process ``pid``: the same findings in the same order for every process.

    :param pidfile: the path of its pidfile; ``None`` to look for one among the files that it has open.
    :raises ProcessLookupError: when there is no such process, or it ends meanwhile; a zombie has ended.

    A process that holds its pidfile by the older locks of fcntl(2) must not ask about itself: they go as soon as it
    closes any descriptor of the file, and this opens and closes one.
    """
    with _Subject.of(pid) as subject:
        subject.require_alive()
        subject.pidfile_path = pidfile
        findings = tuple(_find(question, subject) for question in QUESTIONS)
        # What was read of a process while it ended says nothing: its files vanish one by one, or become root's.
        subject.require_alive()
    return findings


def _find(question: Callable[[_Subject], Answer], subject: _Subject) -> Finding:
    name = question.__name__.strip("_").replace("_", " ")
    try:
        ok, fact, advice = question(subject)
    except _Untold as reason:
        ok, fact, advice = None, "can't be told", str(reason)
    except PermissionError:
        advice = "even root is refused it here" if os.geteuid() == 0 else "run as root, or as its user"
        ok, fact = None, "can't be seen"
    except OSError as error:
        ok, fact, advice = None, "can't be seen", str(error.strerror)
    except (ValueError, IndexError, KeyError) as error:  # no file of /proc is written alike by every kernel
        ok, fact, advice = None, "can't be told", f"/proc is not as expected here: {error!r}"
    return Finding(name=name, ok=ok, fact=_printable(fact), advice=_printable(advice))


def _well(fact: str, advice: str = "") -> Answer:
    return True, fact, advice


def _ill(fact: str, advice: str) -> Answer:
    return False, fact, advice


def _printable(text: str) -> str:
    # Names of processes and files are anybody's choice, and may hold what makes a terminal do things.
    return text if text.isprintable() else ascii(text)[1:-1]


class _Untold(Exception):
    """Why a question has no answer."""


class _NoPidfile(Exception):
    """What is wrong with what is at the pidfile's path."""


# The process, read as it is asked for


class Descriptor(Record):
    """An open descriptor of the process; ``found`` is the file behind it, ``info`` what fdinfo says."""

    number: int
    target: str
    found: os.stat_result
    info: str

    def __str__(self) -> str:
        return f"{self.number} {self.target}"

    @property
    def has_lost_its_name(self) -> bool:
        # Either alone can be wrong: a file that got its name after it was opened is still shown as deleted, some file
        # systems of users count no links, and any file may be named so.
        return self.target.endswith(_DELETED) and self.found.st_nlink == 0

    @property
    def is_temporary(self) -> bool:
        """Whether it has no name on purpose, so that nobody else finds it; see open(2), O_TMPFILE."""
        places = ("/memfd:", "/dev/shm/", "/tmp/", "/var/tmp/")
        without_a_name = getattr(os, "O_TMPFILE", -1)
        return self.target.startswith(places) or self.flags & without_a_name == without_a_name

    @property
    def is_terminal(self) -> bool:
        return stat.S_ISCHR(self.found.st_mode) and _is_screen(
            os.major(self.found.st_rdev), os.minor(self.found.st_rdev)
        )

    @property
    def is_locked(self) -> bool:
        """Whether the process has a lock by it, of whichever of the three kinds."""
        return any(line.startswith("lock:") for line in self.info.splitlines())

    @property
    def flags(self) -> int:
        return next((int(line[6:], 8) for line in self.info.splitlines() if line.startswith("flags:")), 0)


_DELETED = " (deleted)"


def _is_screen(major: int, minor: int) -> bool:
    """Whether somebody sits there: a pseudo-terminal's slave, a virtual console, /dev/tty or /dev/console.

    Not a serial line, which is what some daemons are there for, nor the master side of a pseudo-terminal.

    Source: Linux, Documentation/admin-guide/devices.txt.
    """
    return 136 <= major <= 143 or (major == 4 and minor < 64) or (major == 5 and minor < 2)


class Pidfile(Record):
    """A pidfile: ``number`` is the process on its first line, ``path`` as far as it is known."""

    path: str
    found: os.stat_result
    number: int | None
    locked: bool


class _Subject:
    """One process, each fact read when it is first asked for.

    Through a descriptor on its directory in /proc, which never comes to mean another process of the same number;
    ``None`` where there is no such directory or it is hidden.
    """

    def __init__(self, pid: int, directory: int | None) -> None:
        self.pid = pid
        self.pidfile_path: str | None = None
        self._directory = directory

    @classmethod
    @contextmanager
    def of(cls, pid: int) -> Iterator[_Subject]:
        try:
            directory = os.open(f"/proc/{pid}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            yield cls(pid, None)
            return
        try:
            yield cls(pid, directory)
        finally:
            os.close(directory)

    def require_alive(self) -> None:
        """:raises ProcessLookupError: when it has ended."""
        try:
            state = self.read("stat").rpartition(") ")[2][:1]
        except _Untold:  # no /proc, or none that shows it
            found = process.look(self.pid)
            state = found.state if found is not None else "R" if _exists(self.pid) else "X"
        except PermissionError:
            return
        except OSError:
            state = "X"
        if state in "ZX":
            why = "it has ended, only its parent has not asked how" if state == "Z" else os.strerror(errno.ESRCH)
            raise ProcessLookupError(errno.ESRCH, f"there is no process {self.pid}: {why}")

    def read(self, name: str) -> str:
        with open(os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self.directory), "rb") as file:
            return os.fsdecode(file.read())

    def link(self, name: str) -> str:
        return os.readlink(name, dir_fd=self.directory)

    def stat(self, name: str) -> os.stat_result:
        return os.stat(name, dir_fd=self.directory)

    def names_in(self, name: str) -> list[str]:
        fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self.directory)
        try:
            return sorted(os.listdir(fd), key=int)
        finally:
            os.close(fd)

    @property
    def directory(self) -> int:
        if self._directory is None:
            raise _Untold("/proc does not show it")
        return self._directory

    @cached_property
    def process(self) -> process.Process:
        found = process.look(self.pid)
        if found is None:
            raise _Untold("neither /proc nor ps(1) shows it")
        return found

    @cached_property
    def status(self) -> dict[str, str]:
        return _fields(self.read("status"))

    def field(self, name: str) -> str:
        if name not in self.status:
            raise _Untold(f"the kernel does not tell {name}")
        return self.status[name]

    def ids(self, name: str) -> list[int]:
        return [int(word) for word in self.field(name).split()]

    @property
    def terminal(self) -> int:
        """The number of its controlling terminal's device, 0 for none."""
        return int(self.read("stat").rpartition(") ")[2].split()[4])

    @property
    def numbers(self) -> list[int]:
        """Its numbers from our PID namespace down to its own; see pid_namespaces(7)."""
        return [int(word) for word in self.status.get("NSpid", str(self.pid)).split()]

    @cached_property
    def environment(self) -> dict[str, str]:
        pairs = (each.partition("=") for each in self.read("environ").split("\0"))
        return {name: value for name, _, value in pairs}

    def starter(self, environment: dict[str, str]) -> service_manager.Starter:
        above = process.look(self.process.parent)
        facts = service_manager.Facts(
            pid=self.numbers[-1],
            parent=self.process.parent,
            parent_name="" if above is None else above.name,
            environment=environment,
            has_terminal=self.terminal != 0,
            stdin_is_network_socket=False,  # a socket's family is not to be seen from outside
        )
        return service_manager.who_started(facts)

    @cached_property
    def descriptors(self) -> tuple[Descriptor, ...]:
        found = []
        for name in self.names_in("fd"):
            with suppress(FileNotFoundError):  # closed since
                found.append(self._descriptor(name))
        return tuple(found)

    def _descriptor(self, name: str) -> Descriptor:
        return Descriptor(
            number=int(name),
            target=self.link(f"fd/{name}"),
            found=self.stat(f"fd/{name}"),
            info=self.read(f"fdinfo/{name}"),
        )

    @contextmanager
    def opened(self, descriptor: Descriptor) -> Iterator[int]:
        """Open anew the file behind a descriptor, whatever it is called by now."""
        fd = os.open(f"fd/{descriptor.number}", _READING, dir_fd=self.directory)
        try:
            yield fd
        finally:
            os.close(fd)

    @cached_property
    def pidfile(self) -> Pidfile | None:
        if self.pidfile_path is None:
            return _pidfile_among_the_descriptors(self)
        # Here, for it brings the package lockfile along.
        from . import pidfile_on_disk

        try:
            with pidfile_on_disk.opened(self.pidfile_path, os.O_RDONLY) as fd:
                return None if fd is None else _pidfile_behind(fd, self.pidfile_path)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EPERM):
                raise PermissionError(error.errno, str(error)) from error
            raise _NoPidfile(str(error).rpartition(f"{self.pidfile_path}: ")[2]) from error


_READING = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


def _exists(pid: int) -> bool:
    if pid <= 0:  # to kill(2) they mean groups of processes
        return False
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (ProcessLookupError, OverflowError):
        return False
    return True


def _fields(text: str) -> dict[str, str]:
    return {name: value.strip() for name, _, value in (line.partition(":") for line in text.splitlines())}


# The properties. Each answers for the process that the daemon is; a worker that it has forked is another matter.


def session(subject: _Subject) -> Answer:
    """Steps 6 and 7: a session away from any terminal's, which it does not lead."""
    number = subject.process.session
    if subject.numbers[-1] == 1:
        return _well("that of process 1")
    if number == 0:
        raise _Untold("its session was made outside of this PID namespace")
    if number == subject.pid:
        return _of_leader(subject)
    # The number can't be another process's: it is not given out again while there is a session of that name.
    leader = process.look(number)
    if leader is None and _exists(number):
        raise _Untold(f"process {number}, which leads its session, can't be seen")
    if leader is None or not leader.alive:
        return _well(f"session {number}, which nobody leads any more")
    advice = f"call setsid(2) in a child and fork again; if it is a worker of {leader}, examine that"
    return _ill(f"session {number}, led by {leader}", advice)


def _of_leader(subject: _Subject) -> Answer:
    # A leader gets a controlling terminal by opening one without O_NOCTTY. A service manager makes each service the
    # leader of a session on purpose, to end and tell them apart, and a new-style daemon is not to fork; so there it
    # is no fault of the daemon's.
    fact = f"session {subject.pid}, which it leads"
    try:
        starter = subject.starter(subject.environment)
    except PermissionError:
        starter = subject.starter({})
        if starter.name in _NO_MANAGER:
            advice = "as its user or root one sees whether a service manager has started it, whose services may"
            return None, fact, advice
    if starter.name in _NO_MANAGER:
        return _ill(fact, "fork again after setsid(2): a session's leader can get a controlling terminal by open(2)")
    return _well(f"{fact}, as services do; started by {starter}")


# init(1) also inherits what nobody keeps.
_NO_MANAGER = (None, "init", "launchd")


def controlling_terminal(subject: _Subject) -> Answer:
    """Step 6: none, whose hanging up or Ctrl-C would end it."""
    number = subject.terminal
    if number == 0:
        return _well("none")
    # As proc_pid_stat(5) packs them, which is not as os.major() expects.
    major, minor = number >> 8 & 0xFFF, number & 0xFF | number >> 12 & 0xFFF00
    return _ill(_terminal_name(major, minor), "call setsid(2) in a child, before the second fork")


def _terminal_name(major: int, minor: int) -> str:
    if 136 <= major <= 143:
        return f"/dev/pts/{(major - 136) * 256 + minor}"
    known = os.path.realpath(f"/sys/dev/char/{major}:{minor}")
    return f"/dev/{os.path.basename(known)}" if os.path.isdir(known) else f"device {major}:{minor}"


def parent(subject: _Subject) -> Answer:
    """Steps 8 and 15: init, or another process whose trade it is to wait for daemons."""
    number = subject.process.parent
    if number == 0:
        return _well("none in this PID namespace")
    above = process.look(number)
    if above is None:
        raise _Untold(f"process {number}, its parent, can't be seen")
    # A subreaper can't be told by /proc: it is known by its name or by its place.
    keeps = number == 1 or above.name in _REAPERS or subject.starter({}).name is not None or _is_init(number)
    if keeps:
        return _well(str(above))
    advice = f"fork, and let the parent exit when the daemon is ready; if it is a worker of {above}, examine that"
    return _ill(str(above), advice)


# Cut to 15 characters, as the kernel cuts them.
_REAPERS = (
    *("init", "systemd", "launchd", "inetd", "xinetd", "tini", "dumb-init", "docker-init", "catatonit"),
    *("conmon", "containerd-shim"),
)


def _is_init(pid: int) -> bool:
    """Whether it is process 1 of a container."""
    try:
        with _Subject.of(pid) as other:
            return other.numbers[-1] == 1
    except (OSError, _Untold):
        return False


def working_directory(subject: _Subject) -> Answer:
    """Step 11: no directory that is somebody's, or that could not be unmounted because of the daemon."""
    path = subject.link("cwd")
    found, root = subject.stat("cwd"), subject.stat("root")
    advice = "chdir(2) to /, or to a directory of its own below /var"
    if path.endswith(_DELETED) and found.st_nlink == 0:
        return _ill(path, f"{advice}: relative paths lead nowhere now")
    if os.path.samestat(found, root):
        return _well(path)
    if _is_below(path, _PASSING):
        return _ill(path, f"{advice}: this one comes and goes with its user or its medium")
    if found.st_dev != root.st_dev and not _is_below(path, _OF_THE_SYSTEM):
        return _ill(path, f"{advice}: this file system can't be unmounted meanwhile")
    return _well(path)


_HOMES = ("/home", "/root", "/Users")
_PASSING = (*_HOMES, "/mnt", "/media", "/net", "/run/media", "/run/user", "/tmp", "/var/tmp")
# They may be mounts of their own, but nobody unmounts them while daemons run.
_OF_THE_SYSTEM = ("/bin", "/dev", "/etc", "/lib", "/opt", "/proc", "/run", "/sbin", "/srv", "/sys", "/usr", "/var")


def _is_below(path: str, places: tuple[str, ...]) -> bool:
    return any(path == place or path.startswith(f"{place}/") for place in places)


def root_directory(subject: _Subject) -> Answer:
    """Any that exists: a root directory of its own is a virtue that not every daemon can have."""
    path = subject.link("root")
    if path.endswith(_DELETED) and subject.stat("root").st_nlink == 0:
        return _ill(path, "start it again in a root directory that exists")
    return _well(path)


def umask(subject: _Subject) -> Answer:
    """Step 10 turned around: a mask that keeps others from writing.

    daemon(7) and PEP 3143 have it reset to 0, so that the program's own modes count. But hardly a program gives one to
    every file that it makes: open(3) of most languages asks for 0666, and the mask is all that stands against it.
    """
    fact = subject.field("Umask")
    if int(fact, 8) & 0o002:
        return _well(fact)
    return _ill(fact, "set it to 022 or 027: everybody may write to files that it makes without a mode of their own")


def standard_descriptors(subject: _Subject) -> Answer:
    """Step 9: open, so that no other file gets their numbers, and on no terminal."""
    found = [each for each in subject.descriptors if each.number <= 2]
    closed = sorted({0, 1, 2} - {each.number for each in found})
    fact = ", ".join([*map(str, found), *(f"{number} closed" for number in closed)])
    faults = [f"{number} is closed: a file opened later gets its number" for number in closed]
    faults += [f"{each.number} is a terminal" for each in found if each.is_terminal]
    faults += [f"{each.number} is a deleted file: what is written there is lost" for each in found if _is_lost(each)]
    return _ill(fact, f"{'; '.join(faults)}; point it at /dev/null or a log") if faults else _well(fact)


def _is_lost(descriptor: Descriptor) -> bool:
    return descriptor.has_lost_its_name and not descriptor.is_temporary


def other_descriptors(subject: _Subject) -> Answer:
    """Step 1: nothing that was open by accident where it was started."""
    others = [each for each in subject.descriptors if each.number > 2]
    odd = {str(each): reason for each in others if (reason := _oddity(each, _home_of(subject)))}
    if not odd:
        return _well(f"{len(others)} open" if others else "none")
    faults = ", ".join(f"{descriptor} ({reason})" for descriptor, reason in odd.items())
    return _ill(f"{len(others)} open, among them {faults}", "close what was inherited at the start, by close_range(2)")


def _oddity(descriptor: Descriptor, own_home: str) -> str:
    if descriptor.is_terminal:
        return "a terminal"
    if _is_lost(descriptor):
        return "deleted: if it is a log, reopen it"
    if _is_below(descriptor.target, _HOMES) and not _is_below(descriptor.target, (own_home,)):
        return "in a home directory"
    return ""


def _home_of(subject: _Subject) -> str:
    try:
        return pwd.getpwuid(subject.ids("Uid")[1]).pw_dir
    except KeyError:
        return ""


def ignored_signals(subject: _Subject) -> Answer:
    """Step 2: none but those without which nothing is lost. An ignored signal is ignored through fork and exec."""
    ignored = _signals_in(subject.field("SigIgn"))
    fact = ", ".join(ignored) or "none"
    lost = [name for name in ignored if name not in (*signals.IGNORED_BY_PYTHON, *_OF_JOB_CONTROL)]
    if not lost:
        return _well(fact)
    by_whom = {"SIGHUP": "nohup(1) does so", "SIGINT": "a shell does so for its background jobs"}
    known = next((f" ({text})" for name, text in by_whom.items() if name in lost), "")
    advice = f"unless it means to ignore {', '.join(lost)}, it was started so{known}: reset them to the default"
    return _ill(fact, advice)


# The default signal map of PEP 3143 ignores them, and without a terminal they mean nothing.
_OF_JOB_CONTROL = ("SIGTSTP", "SIGTTIN", "SIGTTOU")


def blocked_signals(subject: _Subject) -> Answer:
    """Step 3: none that would wait for ever.

    One that some thread does not block is delivered there, and sigwait(3) unblocks what it waits for as long as it
    does; others are read from a descriptor, see signalfd(2).
    """
    masks = [_fields(text)["SigBlk"] for text in _status_of_threads(subject)]
    everywhere = set.intersection(*(set(_signals_in(mask)) for mask in masks))
    with suppress(PermissionError):
        for each in subject.descriptors:
            everywhere -= set(_signals_in(_fields(each.info).get("sigmask", "0")))
    names = [name for name in _signals_in(masks[0]) if name in everywhere]
    if not names:
        return _well("none")
    return _ill(", ".join(names), "empty the mask that was inherited, by sigprocmask(2)")


def _status_of_threads(subject: _Subject) -> list[str]:
    found = []
    for name in subject.names_in("task"):
        with suppress(FileNotFoundError, ProcessLookupError):  # it has ended since
            found.append(subject.read(f"task/{name}/status"))
    if not found:
        raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))
    return found


def _signals_in(mask: str) -> list[str]:
    bits = int(mask, 16)
    return [signals.name_of(number) for number in range(1, bits.bit_length() + 1) if bits >> (number - 1) & 1]


def user_and_group_ids(subject: _Subject) -> Answer:
    """Step 13: the same user in every respect. The saved ids are a question of their own."""
    users, groups = subject.ids("Uid"), subject.ids("Gid")
    if len({*users[:2], users[3]}) > 1 or len({*groups[:2], groups[3]}) > 1:
        fact = f"real, effective, saved, file system: user {_listed(users)}, group {_listed(groups)}"
        return _ill(fact, "set all of them, by setresgid(2) and then setresuid(2)")
    fact = f"user {_user_name(users[1])}, group {_group_name(groups[1])}"
    return _well(fact, "run it as a user of its own if it need not be root" if users[1] == 0 else "")


def _listed(numbers: list[int]) -> str:
    return " ".join(map(str, numbers))


def _user_name(uid: int) -> str:
    try:
        return f"{pwd.getpwuid(uid).pw_name} ({uid})"
    except KeyError:
        return str(uid)


def _group_name(gid: int) -> str:
    try:
        return f"{grp.getgrgid(gid).gr_name} ({gid})"
    except KeyError:
        return str(gid)


def way_back(subject: _Subject) -> Answer:
    """Step 13: rights that were given up are not to be had again. The saved ids are what seteuid(2) goes back to."""
    users, groups = subject.ids("Uid"), subject.ids("Gid")
    back = [f"user {_user_name(users[2])}"] if users[2] != users[1] else []
    back += [f"group {_group_name(groups[2])}"] if groups[2] != groups[1] else []
    if back:
        return _ill(f"to {' and '.join(back)}", "give up the saved ids too, by setresgid(2) and then setresuid(2)")
    return _well("none")


def supplementary_groups(subject: _Subject) -> Answer:
    """Step 13: none of the user's that it was before, which setuid(2) leaves as they are."""
    uid, gid = subject.ids("Uid")[1], subject.ids("Gid")[1]
    groups = subject.ids("Groups")
    fact = ", ".join(map(_group_name, groups)) or "none"
    if uid == 0:
        return _well(fact)
    kept = [each for each in groups if each != gid and (each == 0 or each not in _groups_of(uid, gid))]
    if not kept:
        return _well(fact)
    names = ", ".join(map(_group_name, kept))
    advice = (
        f"{_user_name(uid)} has no part in {names}: call setgroups(2) before setuid(2), unless they were configured"
    )
    return _ill(fact, advice)


def _groups_of(uid: int, gid: int) -> list[int]:
    try:
        return os.getgrouplist(pwd.getpwuid(uid).pw_name, gid)
    except KeyError:
        return []


def capabilities(subject: _Subject) -> Answer:
    """Step 13: a user who is not root has none of root's rights, unless they were given to him.

    Source: capabilities(7). The ambient set is how a service manager gives some; nothing is in it by accident.
    """
    held = int(subject.field("CapEff"), 16) | int(subject.field("CapPrm"), 16)
    kept = held & ~int(subject.status.get("CapAmb", "0"), 16)
    if 0 in subject.ids("Uid")[:2]:
        return _well("root's" if held else "none")
    if kept:
        return _ill(
            _capability_names(kept), "drop them with capset(2), unless its executable file has them; or setresuid(2)"
        )
    return _well(f"{_capability_names(held)}, as given to it" if held else "none")


def _capability_names(bits: int) -> str:
    names = _CAPABILITIES.split()
    found = [number for number in range(bits.bit_length()) if bits >> number & 1]
    return ", ".join(names[each] if each < len(names) else f"capability {each}" for each in found)


# By number, from linux/capability.h.
_CAPABILITIES = (
    "chown dac_override dac_read_search fowner fsetid kill setgid setuid setpcap linux_immutable net_bind_service "
    "net_broadcast net_admin net_raw ipc_lock ipc_owner sys_module sys_rawio sys_chroot sys_ptrace sys_pacct "
    "sys_admin sys_boot sys_nice sys_resource sys_time sys_tty_config mknod lease audit_write audit_control setfcap "
    "mac_override mac_admin syslog wake_alarm block_suspend audit_read perfmon bpf checkpoint_restore"
)


def core_limit(subject: _Subject) -> Answer:
    """No core files, in which anybody who gets at them reads the daemon's secrets; see PEP 3143, "prevent_core"."""
    start = "Max core file size"
    line = next((line for line in subject.read("limits").splitlines() if line.startswith(start)), None)
    if line is None:
        raise _Untold("the kernel does not tell the limit")
    soft = line[len(start) :].split()[0]
    if soft == "0":
        return _well(soft)
    return _ill(soft, "set RLIMIT_CORE to 0 if it holds secrets: a core file has them all")


def no_new_privileges(subject: _Subject) -> Answer:
    """Whether exec gives it nothing that it hasn't yet; see PR_SET_NO_NEW_PRIVS(2const)."""
    # A daemon that starts set-user-ID programs, such as sendmail(8), can't have it, so it is no fault to lack it.
    return _well("yes" if subject.field("NoNewPrivs") == "1" else "no")


def pidfile(subject: _Subject) -> Answer:
    """Step 12: a file under its name that only its owner can have written, with this process in its first line."""
    try:
        found = subject.pidfile
    except _NoPidfile as fault:
        advice = "give it a regular file in a directory that is root's or its own"
        return _ill(f"{subject.pidfile_path}: {fault}", advice)
    if found is None:
        return _no_pidfile(subject)
    faults = _faults(found, subject)
    fact = f"{found.path} with {'no number' if found.number is None else f'process {found.number}'}"
    return _ill(f"{fact}; {', '.join(faults)}", "remove the file and start the daemon again") if faults else _well(fact)


def _no_pidfile(subject: _Subject) -> Answer:
    if subject.pidfile_path is None:
        return None, "none among its open files", "name it: most daemons close theirs"
    return _ill(f"there is no {subject.pidfile_path}", "start it again: nothing keeps a second one from starting")


def _faults(found: Pidfile, subject: _Subject) -> list[str]:
    mode, owner = stat.S_IMODE(found.found.st_mode), found.found.st_uid
    faults = []
    if found.number not in subject.numbers:
        faults.append(f"which is not {subject.pid}")
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        faults.append(f"others may write to it (mode {mode:#o})")
    if owner not in (0, subject.ids("Uid")[1]):
        faults.append(f"it belongs to user {_user_name(owner)}")
    if found.found.st_nlink == 0:
        faults.append("it has no name any more")
    return faults


def pidfile_lock(subject: _Subject) -> Answer:
    """A lock of the kernel, which goes with the process: a number alone outlives it, and comes to mean another."""
    found = None
    with suppress(_NoPidfile):
        found = subject.pidfile
    if found is None:
        return None, "no pidfile", ""
    holders = None
    with suppress(PermissionError, _Untold):
        holders = [each for each in subject.descriptors if os.path.samestat(each.found, found.found) and each.is_locked]
    if holders:
        return _well("held")
    if not found.locked:
        return _ill("not held", "lock the file for as long as the daemon lives, by fcntl(2) or flock(2)")
    # A supervisor may hold it for the daemon, and so may a parent that shares its opening.
    return _well("held" if holders is None else "held by another process")


def _pidfile_among_the_descriptors(subject: _Subject) -> Pidfile | None:
    candidates = []
    for each in subject.descriptors:
        # No larger than postmaster.pid gets. To open a file is not without effects, see fcntl(2), "Leases".
        if stat.S_ISREG(each.found.st_mode) and 0 < each.found.st_size <= 4096:
            with suppress(OSError), subject.opened(each) as fd:
                candidates.append((_pidfile_behind(fd, _path_of(each)), each.is_locked))
    own = [found for found, _ in candidates if found.number in subject.numbers]
    locked = [found for found, is_locked in candidates if is_locked and found.path.endswith(".pid")]
    return next(iter((*own, *locked)), None)


def _pidfile_behind(fd: int, path: str) -> Pidfile:
    from . import pidfile_on_disk

    return Pidfile(path=path, found=os.fstat(fd), number=pidfile_on_disk.pid_in(fd), locked=kernel_lock.is_locked(fd))


def _path_of(descriptor: Descriptor) -> str:
    """Answer the file's name, also when it got that after it was opened, as a file of O_TMPFILE does."""
    if not descriptor.target.endswith(_DELETED) or descriptor.has_lost_its_name:
        return descriptor.target
    directory = os.path.dirname(descriptor.target)
    with suppress(OSError), os.scandir(directory) as entries:
        for entry in entries:
            if entry.inode() == descriptor.found.st_ino and os.path.samestat(entry.stat(), descriptor.found):
                return entry.path
    return descriptor.target


QUESTIONS = (
    session,
    controlling_terminal,
    parent,
    working_directory,
    root_directory,
    umask,
    standard_descriptors,
    other_descriptors,
    ignored_signals,
    blocked_signals,
    user_and_group_ids,
    way_back,
    supplementary_groups,
    capabilities,
    core_limit,
    no_new_privileges,
    pidfile,
    pidfile_lock,
)
