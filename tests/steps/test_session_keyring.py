"""Root's session keyring, whose keys everybody may use who has it: not the daemon that has become another user."""

from __future__ import annotations

import errno
import json
import os
from typing import TYPE_CHECKING

import pytest

from harness.waiting import wait_for

if TYPE_CHECKING:
    from harness.daemons import Daemons

pytestmark = [pytest.mark.reliability("Privileges"), pytest.mark.root_only("it gives up what only root has")]

# The key is in a keyring of the program's own: that of whoever runs the tests is left alone.
PROGRAM = """
import ctypes, json, os, sys
from daemonry import DaemonContext, DaemonStartError
from daemonry.system import libc
from harness.probe import publish
from harness.refusal import refuse
C = ctypes.CDLL(None, use_errno=True)
KEYCTL = libc._KEYCTL[os.uname().machine, ctypes.sizeof(ctypes.c_void_p)]
ADD_KEY, JOIN, SEARCH, READ, SESSION = KEYCTL - 2, 1, 10, 11, -3
def call(*arguments):
    longs = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    answer = C.syscall(*longs, *[ctypes.c_long(0)] * (6 - len(longs)))
    return -ctypes.get_errno() if answer == -1 else answer
def read():
    key = call(KEYCTL, SEARCH, SESSION, b"user", b"daemonry-test")
    text = ctypes.create_string_buffer(100)
    return text.value.decode() if key > 0 and call(KEYCTL, READ, key, text, 100) > 0 else None
joined = call(KEYCTL, JOIN, None)
if joined < 0 or call(ADD_KEY, b"user", b"daemonry-test", b"secret", 6, SESSION) < 0:
    publish("told", None)
    sys.exit()
assert read() == "secret"
PREPARE
out = os.open("told", os.O_WRONLY | os.O_CREAT)
try:
    with DaemonContext(files_preserve=[out], **json.loads(sys.argv[1])):
        os.write(out, json.dumps([os.getuid(), read()]).encode())
except DaemonStartError as error:
    os.write(out, json.dumps([error.step, error.errno, str(error)]).encode())
"""


def seen(daemons: Daemons, prepare: str = "", **options: object) -> list[object]:
    """Return the daemon's user and what it reads of root's key, or the error of its start."""
    daemons.launch(PROGRAM.replace("PREPARE", prepare), json.dumps(options)).check()
    wait_for(lambda: not daemons.alive(), what="the daemon has ended")
    found = json.loads((daemons.directory / "told").read_text())
    (daemons.directory / "told").unlink()
    if found is None:
        pytest.skip("this kernel, or a sandbox, lets nobody have keys")
    answer: list[object] = found
    return answer


@pytest.mark.parametrize("detach", [False, True], ids=["foreground", "detached"])
def test_roots_keys_are_not_the_new_users(daemons: Daemons, detach: bool) -> None:
    assert seen(daemons, uid="nobody", detach_process=detach) == [65534, None]
    assert seen(daemons, uid="nobody", detach_process=detach, chroot_directory=str(daemons.jail())) == [65534, None]


def test_who_stays_who_it_is_keeps_them(daemons: Daemons) -> None:
    assert seen(daemons, detach_process=False) == [0, "secret"]
    assert seen(daemons, detach_process=False, gid=65534) == [0, "secret"]


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EPERM], ids=errno.errorcode.get)
def test_where_nobody_can_use_keys_there_is_nothing_to_leave(daemons: Daemons, number: int) -> None:
    """As in a container whose profile refuses keyctl(2)."""
    assert seen(daemons, f"refuse(KEYCTL, {number})", uid="nobody", detach_process=False) == [65534, None]


def test_a_keyring_that_cannot_be_left_is_an_error(daemons: Daemons) -> None:
    step, told, text = seen(daemons, f"refuse(KEYCTL, {errno.EDQUOT})", uid="nobody", detach_process=True)
    assert (step, told) == ("drop_privileges", errno.EDQUOT)
    assert f"cannot join a new session keyring: {os.strerror(errno.EDQUOT)}; see /proc/key-users" in str(text)


def test_on_a_machine_whose_calls_are_not_known_the_user_changes_all_the_same(daemons: Daemons) -> None:
    assert seen(daemons, "libc._KEYCTL.clear()", uid="nobody", detach_process=False)[0] == 65534
