"""How a pidfile appears whole: made without a name, or under another, and sealed before it gets its own."""

from __future__ import annotations

import errno
import os
import stat

from ..errors import ignored
from ..system import process
from ..system.closing import close
from . import seal
from .reading import Place
from .turn import turn_at

_MODE = 0o644
# Bytes that make the name of a draft one that nobody has thought of.
_RANDOM = 4
# What link(2) says where there are no hard links; EACCES and EPERM, because the draft could be made in the directory.
_NO_LINKS = (errno.EACCES, errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EXDEV)


def link_unnamed(pid: int, place: Place) -> os.stat_result | None:
    """Publish a file that has had no name; return ``None`` where there is no such thing.

    :raises FileExistsError: when the pidfile's name is taken.
    """
    try:
        fd = os.open(".", os.O_RDWR | os.O_CLOEXEC | os.O_TMPFILE, _MODE, dir_fd=place.directory)
    except OSError as error:
        # EOPNOTSUPP: not in this file system; EISDIR and EINVAL: not in this kernel.
        if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL):
            raise
        return None
    try:
        found = _fill(fd, pid, place)
        os.link(f"/proc/self/fd/{fd}", place.name, dst_dir_fd=place.directory, follow_symlinks=True)
    except FileExistsError:
        raise
    except OSError as error:
        # ENOENT: no /proc.
        if error.errno not in (*_NO_LINKS, errno.ENOENT):
            raise
        return None
    finally:
        close(fd)
    return found


def link_draft(pid: int, place: Place) -> os.stat_result | None:
    """Publish a file that has had another name; return ``None`` when the pidfile's name is taken."""
    remove_drafts(place)
    draft = f".{place.name}.{pid}.{os.urandom(_RANDOM).hex()}"
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    fd = os.open(draft, flags, _MODE, dir_fd=place.directory)
    try:
        try:
            found = _fill(fd, pid, place)
        finally:
            close(fd)  # before it loses the name: FUSE and NFS keep the name of a file that is open
        return found if _name(draft, place) else None
    finally:
        with ignored(FileNotFoundError):  # renamed, or who else may write here has taken it away
            os.unlink(draft, dir_fd=place.directory)


def _name(draft: str, place: Place) -> bool:
    """Give the draft the pidfile's name; return whether that was free."""
    try:
        os.link(draft, place.name, src_dir_fd=place.directory, dst_dir_fd=place.directory, follow_symlinks=False)
    except (FileExistsError, FileNotFoundError):
        return False
    except AttributeError:  # Android's Python
        return _rename(draft, place)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        return _rename(draft, place)
    return True


def _rename(draft: str, place: Place) -> bool:
    # It would take away what has the name, so all who can't link do it one after the other.
    with turn_at(place) as is_mine:
        if not is_mine or place.look() is not None:
            return False
        os.rename(draft, place.name, src_dir_fd=place.directory, dst_dir_fd=place.directory)
        return True


def _fill(fd: int, pid: int, place: Place) -> os.stat_result:
    """Write and seal the file; return what it is then."""
    found = os.fstat(fd)
    if stat.S_IMODE(found.st_mode) != _MODE:  # the umask
        os.fchmod(fd, _MODE)
    text = b"%d\n" % pid
    # Half a number is another process's. What is left is written again, for that tells why it could not be.
    while text:
        text = text[os.write(fd, text) :]
    return seal.put_on(fd, found, pid, place.sealed_as)


def remove_drafts(place: Place, left_over: os.stat_result | None = None) -> None:
    """Take away the drafts of starters that were killed; one of them may be a second name of what is left over."""
    start = f".{place.name}."
    for name in _names(place.directory):
        number, _, rest = name[len(start) :].partition(".") if name.startswith(start) else ("", "", "")
        # And not a mark or a turn of another pidfile, whose own name may end with a number.
        if not (number.isdigit() and len(rest) == _RANDOM * 2 and rest.isalnum()):
            continue
        if _is_gone(int(number)) or _is_same(name, place, left_over):
            with ignored(FileNotFoundError, PermissionError):
                os.unlink(name, dir_fd=place.directory)


def _names(directory: int) -> list[str]:
    fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=directory)
    try:
        return os.listdir(fd)
    finally:
        close(fd)


def _is_gone(number: int) -> bool:
    found = process.look(number)
    return not process.exists(number) if found is None else not found.alive


def _is_same(name: str, place: Place, other: os.stat_result | None) -> bool:
    try:
        found = os.stat(name, dir_fd=place.directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return other is not None and os.path.samestat(found, other)
