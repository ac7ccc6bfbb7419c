"""Makes a program run as another user from its first line on.

Python imports this file before the program when ``harness.daemons`` has put its directory on the path.
Neither the interpreter nor this checkout need be where that user can read: the program is exec'd as root, and
what it and daemonry import is imported here, before the user changes.
"""

import contextlib
import ctypes
import importlib
import os
import pwd

PR_SET_DUMPABLE = 4


def become(name: str) -> None:
    """Change to a user for good."""
    user = pwd.getpwnam(name)
    os.initgroups(name, user.pw_gid)
    os.setresgid(user.pw_gid, user.pw_gid, user.pw_gid)
    os.setresuid(user.pw_uid, user.pw_uid, user.pw_uid)
    # As if that user had exec'd the program: else the files of /proc/self stay root's.
    ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)


for module in os.environ.pop("DAEMONRY_TEST_IMPORTS").split():
    with contextlib.suppress(ImportError):
        importlib.import_module(module)
become(os.environ.pop("DAEMONRY_TEST_USER"))
