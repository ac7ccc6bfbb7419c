"""Where in the file system the process is, and how it makes files there."""

from __future__ import annotations

import os

from .finding import ill, well
from .open_file import DELETED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .finding import Answer
    from .reading import Subject


def working_directory(subject: Subject) -> Answer:
    """Step 11: no directory that is somebody's, or that could not be unmounted because of the daemon."""
    path = subject.link("cwd")
    found, root = subject.stat("cwd"), subject.stat("root")
    advice = "chdir(2) to /, or to a directory of its own such as /var/lib/NAME"
    if path.endswith(DELETED) and found.st_nlink == 0:
        return ill(path, f"{advice}: relative paths lead nowhere now")
    if os.path.samestat(found, root):
        return well(path)
    if is_below(path, _CLEARED):
        return ill(path, f"{advice}: here is cleared away what is old, see tmpfiles.d(5)")
    if is_below(path, _PASSING):
        return ill(path, f"{advice}: this one comes and goes with its user or its medium")
    if found.st_dev != root.st_dev and not is_below(path, _OF_THE_SYSTEM):
        return ill(path, f"{advice}: this file system can't be unmounted meanwhile")
    return well(path)


HOMES = ("/home", "/root", "/Users")
_PASSING = (*HOMES, "/mnt", "/media", "/net", "/run/media", "/run/user")
_CLEARED = ("/tmp", "/var/tmp")
# They may be mounts of their own, but nobody unmounts them while daemons run.
_OF_THE_SYSTEM = ("/bin", "/dev", "/etc", "/lib", "/opt", "/proc", "/run", "/sbin", "/srv", "/sys", "/usr", "/var")


def is_below(path: str, places: tuple[str, ...]) -> bool:
    return any(path == place or path.startswith(f"{place}/") for place in places)


def root_directory(subject: Subject) -> Answer:
    """Any that exists: a root directory of its own is a virtue that not every daemon can have."""
    path = subject.link("root")
    if path.endswith(DELETED) and subject.stat("root").st_nlink == 0:
        return ill(path, "start it again in a root directory that exists")
    return well(path)


def umask(subject: Subject) -> Answer:
    """Step 10 turned around: a mask that keeps others from writing.

    daemon(7) and PEP 3143 have it reset to 0, so that the program's own modes count. But hardly a program gives one to
    every file that it makes: open(3) of most languages asks for 0666, and the mask is all that stands against it.
    """
    fact = subject.field("Umask")
    if int(fact, 8) & 0o002:
        return well(fact)
    return ill(fact, "set it to 022 or 027: everybody may write to files that it makes without a mode of their own")
