"""Groups, gid and uid, dropped for good and verified; no_new_privs."""

from __future__ import annotations

import errno
import os
import sys
import time
from contextlib import contextmanager, nullcontext

from ..system import libc
from ..system.ids import all_ids, group_ids, listed, user_ids

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .identity import Rights

_CAP_SETUID = 7
_START_LATER = "start threads after open()"
_LEAVING = 0.1


def prepare() -> None:
    """Load what giving up rights takes from outside this file, for a process that can't find its modules any more."""
    libc.capabilities()
    libc.join_session_keyring()


def drop(rights: Rights) -> None:
    """Take on the ids for good: supplementary groups, group, user; real, effective, saved, and the file system's.

    :raises OSError: when the system refuses, or when afterwards there is any doubt.

    Source: daemon(7), step 13; CERT POS36-C and POS37-C.
    """
    was_root = 0 in user_ids()
    before = user_ids(), group_ids()
    with _as_root() if was_root else nullcontext():
        _set_groups(rights)
        if rights.other_user:
            _leave_session_keyring()
        _set_ids(rights)
    cleared = was_root and rights.uid != 0 and _clear_inheritable()
    if rights.no_new_privileges:
        control = libc.prctl()
        if control is None:
            raise OSError(errno.ENOSYS, "prctl(2) can't be reached any more")
        control(libc.PR_SET_NO_NEW_PRIVS, 1)
    _verify(rights, was_root, changed=before != (user_ids(), group_ids()), cleared=cleared)


@contextmanager
def _as_root() -> Iterator[None]:
    """Lift what a program has lowered for the time being: only the effective root may set groups and others' ids."""
    lowered = os.geteuid()
    if lowered != 0:
        os.seteuid(0)
    try:
        yield
    except BaseException:
        # Whoever catches the error goes on with what he had.
        if os.geteuid() == 0 != lowered:
            os.seteuid(lowered)
        raise


@contextmanager
def _named(what: str, capability: str) -> Iterator[None]:
    """Say of an error of the system what could not be done, and what it takes."""
    advice = {
        errno.EPERM: f"; that takes root, with {capability}, and a user namespace that allows it",
        errno.EINVAL: "; it is not mapped in this user namespace",
        errno.EAGAIN: "; that user may have no more processes (RLIMIT_NPROC)",
    }
    try:
        yield
    except OSError as error:
        text = f"cannot {what}: {error.strerror}{advice.get(error.errno or 0, '')}"
        raise OSError(error.errno, text) from error


def _clear_inheritable() -> bool:
    """Return whether there was something to clear."""
    # What the kernel leaves of root when the user changes; see capabilities(7). A program with capabilities of its own
    # (setcap) that is executed later would get them; CVE-2022-24769.
    held, clear = libc.inheritable(), libc.clear_inheritable()
    if held is None or clear is None or not held():
        return False
    clear()
    return True


def _set_groups(rights: Rights) -> None:
    if rights.groups is not None and set(os.getgroups()) != set(rights.groups):
        with _named(f"set the supplementary groups to {listed(rights.groups)}", "CAP_SETGID"):
            os.setgroups(rights.groups)


def _leave_session_keyring() -> None:
    # Who has a keyring reads and uses its keys, whatever ids it has. Before the user changes: the new one counts among
    # the keys of whoever it was, and another user may have as few as 200.
    join = libc.join_session_keyring()
    if join is None:
        return
    try:
        join()
    except OSError as error:
        # No keyrings in this kernel; or a sandbox refuses keyctl(2), as Docker's does, by which keys are used, too.
        if error.errno not in (errno.ENOSYS, errno.EPERM, errno.EACCES):
            message = f"cannot join a new session keyring: {os.strerror(error.errno or 0)}; see /proc/key-users"
            raise OSError(error.errno, message) from error


def _are_groups(groups: tuple[int, ...], gid: int) -> bool:
    # The kernel may list the primary group among them, or leave it out.
    return set(os.getgroups()) - {gid} == set(groups) - {gid}


def _set_ids(rights: Rights) -> None:
    # The group first: without root's rights it couldn't be changed any more.
    if hasattr(os, "setresuid"):
        users, groups = all_ids()
        # Not asked for what is so already: a sandbox (SystemCallFilter=~@privileged) may end whoever asks.
        if groups != {rights.gid}:
            with _named(f"become group {rights.gid}", "CAP_SETGID"):
                os.setresgid(rights.gid, rights.gid, rights.gid)
        if users != {rights.uid}:
            with _named(f"become user {rights.uid}", "CAP_SETUID"):
                os.setresuid(rights.uid, rights.uid, rights.uid)
        return
    # macOS: setregid and setreuid set the saved id, too, to the new effective one; see setreuid(2).
    with _named(f"become group {rights.gid}", "CAP_SETGID"):
        os.setregid(rights.gid, rights.gid)
    with _named(f"become user {rights.uid}", "CAP_SETUID"):
        os.setreuid(rights.uid, rights.uid)


def _verify(rights: Rights, was_root: bool, changed: bool, cleared: bool = False) -> None:
    doubts = []
    users, groups = all_ids()
    if users != {rights.uid}:
        doubts.append(f"the user ids are {_with(user_ids(), users)}, not {rights.uid}")
    if groups != {rights.gid}:
        doubts.append(f"the group ids are {_with(group_ids(), groups)}, not {rights.gid}")
    if rights.groups is not None and not _are_groups(rights.groups, rights.gid):
        doubts.append(f"the supplementary groups are {os.getgroups()}, not {list(rights.groups)}")
    if rights.uid != 0:
        doubts += _ways_back(rights, was_root) if was_root or changed else _way_up()
        doubts += _left_to_threads(cleared) if was_root else []
    if doubts:
        raise OSError(errno.EPERM, f"privileges were not dropped: {'; '.join(doubts)}")


def _with(told: tuple[int, ...], all_of_them: set[int]) -> tuple[int, ...]:
    return (*told, *sorted(all_of_them - set(told)))


def _ways_back(rights: Rights, was_root: bool) -> list[str]:
    found = []
    attempts = {"seteuid": os.seteuid, "setuid": os.setuid}
    if rights.gid != 0:
        attempts["setegid"] = os.setegid
    for name, attempt in attempts.items():
        if _succeeds(attempt):
            # Whoever catches the error must not go on as root.
            _set_ids(rights)
            found.append(f"{name}(0) still succeeds")
    ask = libc.capabilities()
    # Capabilities of somebody who never was root were given to him on purpose, as systemd's AmbientCapabilities= does.
    if was_root and ask is not None and ask():
        found.append(f"capabilities {ask():#x} outlive the change of user (securebits?)")
    held = libc.inheritable()
    if was_root and held is not None and held():
        found.append(f"inheritable capabilities {held():#x} outlive the change of user")
    return found


def _left_to_threads(cleared: bool) -> list[str]:
    # The C library changes the ids of all threads; capset(2) and securebits are of the calling one alone.
    found = _held_by_threads()
    if found:
        # One that was joined may not have left the kernel yet.
        time.sleep(_LEAVING)
        found = _held_by_threads()
    if found is None:
        threading = sys.modules.get("threading")
        others = cleared and threading is not None and threading.active_count() > 1
        return [f"other threads keep inheritable capabilities; {_START_LATER}"] if others else []
    return [f"thread {name} keeps capabilities {held:#x}; {_START_LATER}" for name, held in found.items()]


def _held_by_threads() -> dict[str, int] | None:
    """Return the inheritable and the permitted capabilities of the other threads that have any."""
    try:
        names = {*os.listdir("/proc/self/task")} - {os.path.basename(os.readlink("/proc/thread-self"))}
    except OSError:  # inside another root directory
        return None
    told = {name: _held_by_thread(name) for name in names}
    return {name: held for name, held in told.items() if held}


def _held_by_thread(name: str) -> int:
    try:
        with open(f"/proc/self/task/{name}/status", "rb") as file:
            sets = [int(line.split()[1], 16) for line in file if line.startswith((b"CapInh:", b"CapPrm:"))]
    except (FileNotFoundError, ProcessLookupError):  # it has ended
        return 0
    return sets[0] | sets[1]


def _way_up() -> list[str]:
    # Of one who has given up nothing, and whom a sandbox may end for the attempt.
    ask = libc.capabilities()
    held = ask() if ask is not None else 0
    return [f"capabilities {held:#x} let it become root"] if held & 1 << _CAP_SETUID else []


def _succeeds(attempt: Callable[[int], None]) -> bool:
    try:
        attempt(0)
    except OSError:
        return False
    return True
