"""The pidfile on disk: published whole, judged when it is left over, taken away.

Whoever has the kernel's lock on the file that bears the name is its owner; all here keep to that.
"""

from __future__ import annotations

import errno
import os
from contextlib import ExitStack, contextmanager, suppress

from . import kernel_lock, process, seal
from .closing import close, out_of_reach
from .errors import advice_on
from .pidfile_errors import PIDFileError, refuse
from .pidfile_reading import can_have_written, fault_of, opened, pid_in, writer
from .record import Record
from .walk import at_directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_MODE = 0o644


class Held(Record):
    """The lock as this process has it."""

    fd: int
    pid: int
    device: int
    inode: int

    def is_file(self, found: os.stat_result) -> bool:
        """Whether this is the file that was locked."""
        return (found.st_dev, found.st_ino) == (self.device, self.inode)

    def has_descriptor(self) -> bool:
        """Whether the number still is the lock's: the program may have closed it, and opened another file there."""
        try:
            return self.found() is not None
        except OSError:
            return False

    def found(self) -> os.stat_result | None:
        """Answer what the kernel tells of the locked file, ``None`` when the number is not the lock's any more.

        :raises OSError: when it can't be asked.
        """
        try:
            found = os.fstat(self.fd)
        except OSError as error:
            if error.errno != errno.EBADF:
                raise
            return None
        return found if self.is_file(found) else None

    def close(self) -> None:
        """Close the descriptor, which lets the lock go unless somebody else has a copy."""
        if self.has_descriptor():
            close(self.fd)


class Holder(Record):
    """Who is in the way; the file may not tell.

    Not ``seen``: no living process has written the file that is locked. It may be out of sight, or somebody has the
    file of a dead one for a moment, to take it away.
    """

    pid: int | None
    seen: bool


@contextmanager
def directory_of(path: str) -> Iterator[int]:
    """Hold the pidfile's directory open, so that all names of one attempt mean files in the same place."""
    directory = os.path.dirname(path)
    with ExitStack() as stack:
        try:
            fd = stack.enter_context(at_directory(directory))
        except OSError as error:
            refuse(path, error, f"{error.strerror}: directory {directory}{advice_on(error)}")
        yield fd


def clear(path: str, directory: int) -> Holder | None:
    """Take away a file that nobody holds; answer who holds it when somebody does."""
    try:
        with opened(path, os.O_RDWR, directory) as fd:
            return None if fd is None else _clear_opened(path, directory, fd)
    except PIDFileError as refusal:
        if refusal.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        with opened(path, os.O_RDONLY, directory) as fd:
            if fd is None:  # its holder has released it meanwhile
                return None
            if kernel_lock.is_locked(fd):
                return _holder_of(fd, os.path.basename(path))
        raise


def _clear_opened(path: str, directory: int, fd: int) -> Holder | None:
    if not _lock(path, fd):
        return _holder_of(fd, os.path.basename(path))
    # Locked by us now, so nobody who keeps to the rules takes it away or puts another in its place.
    name = os.path.basename(path)
    pid = writer(fd, name)
    if pid is not None:
        return Holder(pid=pid, seen=True)
    try:
        if os.path.samestat(os.stat(name, dir_fd=directory, follow_symlinks=False), os.fstat(fd)):
            _judge(path, directory, fd)
            os.unlink(name, dir_fd=directory)
    except FileNotFoundError:
        pass  # its holder has released it since we opened it
    except OSError as error:
        if isinstance(error, PIDFileError):
            raise
        refuse(path, error)
    return None


def _holder_of(fd: int, name: str) -> Holder:
    pid = pid_in(fd)
    return Holder(pid=pid, seen=pid is not None and can_have_written(pid, fd, name))


def _lock(path: str, fd: int) -> bool:
    try:
        return kernel_lock.try_lock(fd)
    except OSError as error:
        refuse(path, error)


def _judge(path: str, directory: int, fd: int) -> None:
    """Refuse a left-over file that a stranger may have put there."""
    _remove_drafts(path, directory, fd)
    fault = fault_of(fd, "look at it and remove it")
    if fault:
        raise PIDFileError(path, fault, errno.EPERM)


def publish(path: str, directory: int, lock: Callable[[int], bool]) -> Held | None:
    """Make the file, written and locked before it has its name; answer ``None`` when there is one.

    The name comes last: nothing that fails has left a file then.
    """
    name = os.path.basename(path)
    try:
        fd, draft = _draft(name, directory)
        try:
            try:
                _fill(fd, name, lock)
                found = os.fstat(fd)
                source = f"/proc/self/fd/{fd}" if draft is None else draft
                os.link(source, name, src_dir_fd=directory, dst_dir_fd=directory, follow_symlinks=draft is None)
            finally:
                if draft is not None:
                    with suppress(FileNotFoundError):  # who else may write here has taken it away
                        os.unlink(draft, dir_fd=directory)
        except BaseException:
            close(fd)
            raise
    except FileExistsError:
        return None
    except OSError as error:
        refuse(path, error)
    return Held(fd=fd, pid=os.getpid(), device=found.st_dev, inode=found.st_ino)


def _fill(fd: int, name: str, lock: Callable[[int], bool]) -> None:
    os.fchmod(fd, _MODE)
    _write_whole(fd, b"%d\n" % os.getpid())
    own = process.look(os.getpid())
    if own is not None:  # else there is no /proc here, and nobody asks for the seal either
        seal.put_on(fd, own, name)
    if not lock(fd):
        # Nobody else can hold it, for the file has no name yet: the file system, or a sandbox, has no locks.
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))


def _write_whole(fd: int, text: bytes) -> None:
    # Half a number is another process's. What is left is written again, for that tells why it could not be.
    while text:
        text = text[os.write(fd, text) :]


def _draft(name: str, directory: int) -> tuple[int, str | None]:
    """Open a new file that has no name yet, or, where there is no such thing, one with a name that nobody looks for."""
    flags = os.O_RDWR | os.O_CLOEXEC
    if hasattr(os, "O_TMPFILE") and os.path.isdir("/proc/self/fd"):
        try:
            return out_of_reach(os.open(".", flags | os.O_TMPFILE, _MODE, dir_fd=directory)), None
        except OSError as error:
            # EOPNOTSUPP: not in this file system; EISDIR and EINVAL: not in this kernel.
            if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL):
                raise
    draft = f".{name}.{os.getpid()}.{os.urandom(4).hex()}"
    made = os.open(draft, flags | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, _MODE, dir_fd=directory)
    return out_of_reach(made), draft


def _remove_drafts(path: str, directory: int, fd: int) -> None:
    """Take away the second name of a left-over file whose maker was killed between link and unlink."""
    if os.fstat(fd).st_nlink == 1:
        return
    start = f".{os.path.basename(path)}."
    for name in os.listdir(os.path.dirname(path)):
        if name.startswith(start):
            found = os.stat(name, dir_fd=directory, follow_symlinks=False)
            if os.path.samestat(found, os.fstat(fd)):
                os.unlink(name, dir_fd=directory)


def withdraw(path: str, held: Held) -> None:
    """Unlink our own file, never another's; empty it where it can't be unlinked."""
    name = os.path.basename(path)
    try:
        # Looked at and taken away in one directory, for its path may lead to another the second time.
        with directory_of(path) as directory:
            is_own = held.is_file(os.stat(name, dir_fd=directory, follow_symlinks=False))
            if is_own and (held.has_descriptor() or _is_left_by_us(path, directory)):
                os.unlink(name, dir_fd=directory)
    except OSError:  # not to be seen or not to be touched from here: then what is left of it says nothing any more
        pass
    try:
        found = held.found()
        if found is not None and found.st_nlink:
            # Unlocked first: an empty file is never seen while it is held.
            kernel_lock.unlock(held.fd)
            os.ftruncate(held.fd, 0)
    except OSError as error:
        reason = f"{error.strerror}; it is not locked any more, so the next start takes it away once it can"
        raise PIDFileError(path, reason, error.errno, "remove") from error


def _is_left_by_us(path: str, directory: int) -> bool:
    """Whether the file is ours though our descriptor is closed: nothing keeps its inode's number from a successor's."""
    with opened(path, os.O_RDONLY, directory) as fd:
        return fd is not None and pid_in(fd) == os.getpid() and not kernel_lock.is_locked(fd)
