"""The root directory, the working directory and the umask."""

from __future__ import annotations

import os
import stat
import sys

from ..errors import InvalidOption, ignored
from ..system.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from os import PathLike
    from typing import Union

    AnyPath = Union[str, bytes, PathLike[str], PathLike[bytes]]


class RootDirectory(Record):
    """The directory that becomes ``/``; ``None`` leaves the root as it is."""

    path: str | None

    @property
    def does_nothing(self) -> bool:
        """Whether the root stays."""
        return self.path is None

    def __str__(self) -> str:
        return self.path or "unchanged"


class WorkingDirectory(Record):
    """The directory to work in, as it is named inside the new root."""

    path: str

    def __str__(self) -> str:
        return self.path


class Umask(Record):
    """The bits that new files don't get."""

    mask: int

    def __str__(self) -> str:
        return f"{self.mask:#05o}"


def resolve_root(path: AnyPath | None) -> RootDirectory:
    """Return the root directory, made absolute.

    :raises InvalidOption: when it is no directory.
    """
    if path is None:
        return RootDirectory(path=None)
    absolute = os.path.abspath(text_of(path, "chroot_directory"))
    _require_directory(absolute, "chroot_directory")
    return RootDirectory(path=absolute)


def resolve_working_directory(path: AnyPath, root: RootDirectory) -> WorkingDirectory:
    """Return the working directory, absolute as it will be inside ``root``.

    :raises InvalidOption: when it is no directory there.
    """
    text = text_of(path, "working_directory")
    if root.path is None:
        absolute = os.path.abspath(text)
        if absolute != "/":
            _require_directory(absolute, "working_directory")
        return WorkingDirectory(path=absolute)
    absolute = os.path.normpath(os.path.join("/", text))
    outside = os.path.join(root.path, absolute.lstrip("/"))
    # A symbolic link inside the new root leads elsewhere when it is followed from out here: only what is surely
    # missing is refused now, and the step itself finds out about the rest.
    if os.path.realpath(outside) == os.path.join(os.path.realpath(root.path), absolute.lstrip("/")).rstrip("/"):
        _require_directory(outside, "working_directory")
    return WorkingDirectory(path=absolute)


def resolve_umask(mask: object) -> Umask:
    """Return the umask.

    :raises InvalidOption: when it is no number from 0 to 0o777.
    """
    if isinstance(mask, bool) or not isinstance(mask, int) or not 0 <= mask <= 0o777:
        raise InvalidOption("umask", f"must be an int from 0 to 0o777, such as 0o022, not {mask!r}")
    return Umask(mask=mask)


def text_of(path: object, option: str) -> str:
    """Return a path as text.

    :raises InvalidOption: when it is none.
    """
    try:
        text = os.fsdecode(os.fsencode(path))  # type: ignore[arg-type]
    except TypeError as error:
        raise InvalidOption(option, f"must be a path, not {path!r}") from error
    except UnicodeEncodeError as error:
        raise InvalidOption(option, f"{path!r} can't be a path") from error
    if not text or "\0" in text:
        raise InvalidOption(option, f"{text!r} can't be a path")
    return text


def _require_directory(path: str, option: str) -> None:
    try:
        found = os.stat(path)
    except OSError as error:
        from ..system.advice import on

        raise InvalidOption(option, f"{path}: {error.strerror}{on(error)}", error.errno) from error
    if not stat.S_ISDIR(found.st_mode):
        raise InvalidOption(option, f"{path} is not a directory")


def change_root(root: RootDirectory) -> None:
    """Make the directory the root; see chroot(2)."""
    if root.path is not None:
        os.chroot(root.path)
        # chroot(2) leaves the working directory outside, from where ".." leads all the way out.
        os.chdir("/")


# A program from `python -c`, standard input or a prompt has "" there, the directory of the moment: a module that is
# imported in the daemon, ours or the program's, would come from whoever may write in its working directory.
def pin_module_search_path() -> Callable[[], None]:
    """Make the relative entries of ``sys.path`` absolute; return the function that puts them back.

    An entry is left out where the working directory is gone: there is nothing that it could mean.
    """
    before = list(sys.path)
    if all(os.path.isabs(entry) for entry in before if isinstance(entry, str)):
        return lambda: None
    sys.path[:] = [entry for each in before if (entry := _pinned(each)) is not None]
    return lambda: sys.path.__setitem__(slice(None), before)


def _pinned(entry: str) -> str | None:
    try:
        return os.path.abspath(entry) if isinstance(entry, str) else entry
    except OSError:
        return None


class _Place:
    """Where this process stood before it changed its working directory, for those who tell of a path from there."""

    left: str | None = None


def left() -> str | None:
    """Return the directory that :func:`change_working_directory` has left; ``None`` when it has left none."""
    return _Place.left


def change_working_directory(directory: WorkingDirectory) -> None:
    """Go to the working directory; see chdir(2)."""
    with ignored(OSError):  # it has been deleted: nothing is there that could be meant
        _Place.left = os.getcwd()
    os.chdir(directory.path)


def set_umask(umask: Umask) -> int:
    """Set the umask and return the one before; see umask(2)."""
    return os.umask(umask.mask)
