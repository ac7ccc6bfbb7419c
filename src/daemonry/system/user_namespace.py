"""What belongs to users outside of the process's user namespace; see user_namespaces(7)."""

from __future__ import annotations

import os

from . import ids

_CAP_DAC_OVERRIDE = 1


def is_outsiders(found: os.stat_result, directory: int) -> bool:
    """Whether a directory belongs to a user that this namespace doesn't know, root of the system for one.

    All of them are shown as one, the overflow user. Where a user of inside has that number too, as in podman's
    namespaces, it is one of outside if root of inside can't write there: its capabilities reach whoever is inside.

    :param directory: a descriptor of the directory.
    """
    try:
        with open("/proc/sys/kernel/overflowuid", "rb") as file:
            overflow = int(file.read())
        with open("/proc/self/uid_map", "rb") as file:
            inside = [(int(first), int(count)) for first, _, count in map(bytes.split, file)]
    except OSError:  # no Linux
        return False
    # All but (uid_t) -1: nobody is outside.
    if found.st_uid != overflow or sum(count for _, count in inside) >= 2**32 - 1:
        return False
    is_known = any(first <= overflow < first + count for first, count in inside)
    return not is_known or _is_out_of_reach(directory)


def _is_out_of_reach(directory: int) -> bool:
    # What can't be written for another reason says nothing.
    if os.fstatvfs(directory).f_flag & os.ST_RDONLY or not ids.effective_capabilities() >> _CAP_DAC_OVERRIDE & 1:
        return False
    return not os.access(".", os.W_OK, dir_fd=directory, effective_ids=True)
