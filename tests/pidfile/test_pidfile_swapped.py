"""The pidfile swapped for something else between any two steps, by a stranger who may write its directory.

What he puts there is never taken for a file of the daemon's own: it is neither written, emptied, given other rights nor
followed, and no process is signalled that the daemon is not. (Between the last look and the removal it may lose its
name, for no call takes away the name of a certain file only.) In the first half it is swapped at each call to the
system in turn, in the second as fast as a process can.
"""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING

import pytest

from harness.size import is_brief, times
from pidfile_programs import hold, said

if TYPE_CHECKING:
    from harness.daemons import Daemons
    from harness.evidence import Cases

pytestmark = pytest.mark.reliability("Hostile files")

# Every operation, with the stranger's swap before its first call to the system, its second, and so on, until it makes
# no such call any more. The interpreter tells of each call before it makes it, and the real one is made afterwards.
AT_EACH_CALL = """
import json, os, shutil, signal, subprocess, sys
from collections import Counter
from lockfile import LockError, NotLocked, NotMyLock
from daemonry.control import daemon as control
from daemonry.errors import ControlError
from daemonry.pidfile import PIDFileError, PIDFileLocked
from daemonry.pidfile import PIDLockFile

control._CHANGING, control._MOST_DOUBTS = 0.01, 2
every = int(sys.argv[1])
HERE = os.path.abspath("theirs/place")
HOLDER = '''
import os, signal, sys
from daemonry.pidfile import PIDLockFile
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGUSR1])
with PIDLockFile(sys.argv[1]):
    print("held", flush=True)
    signal.sigwait([signal.SIGTERM])
'''

def holder(path):
    running = subprocess.Popen([sys.executable, "-c", HOLDER, path], stdout=subprocess.PIPE)
    assert running.stdout.readline() == b"held\\n"
    return running

# What lies ready to be put in the pidfile's place; the precious files are in the place of somebody else.
DEAD = "4194305\\n"
TEXT = "some text that is dear to somebody, and longer than a number can be, or any pidfile " * 2
PRECIOUS = {"file": TEXT, "x.pid": DEAD}

def lay_out():
    for name in (HERE, "elsewhere"):
        os.unlink(name) if os.path.islink(name) else shutil.rmtree(name, ignore_errors=True)
        os.mkdir(name)
    if os.path.islink(HERE + ".moved"):
        os.unlink(HERE + ".moved")
    shutil.rmtree(HERE + ".moved", ignore_errors=True)
    for name, text in PRECIOUS.items():
        with open(f"elsewhere/{name}", "w") as file:
            file.write(text)
        os.chmod(f"elsewhere/{name}", 0o600 if name == "file" else 0o644)

def snapshot():
    found = {}
    for name in sorted(os.listdir("elsewhere")):
        seen = os.stat(f"elsewhere/{name}")
        with open(f"elsewhere/{name}") as file:
            found[name] = (seen.st_ino, seen.st_mode, seen.st_uid, file.read())
    return found

def away():
    try:
        os.rename(f"{HERE}/x.pid", f"{HERE}/taken")
    except FileNotFoundError:
        pass

def link():
    away()
    os.symlink(os.path.abspath("elsewhere/file"), f"{HERE}/x.pid")

def hard_link():
    away()
    os.link("elsewhere/file", f"{HERE}/x.pid")

def fifo():
    away()
    os.mkfifo(f"{HERE}/x.pid")

def directory():
    away()
    os.mkdir(f"{HERE}/x.pid")

def regular(text=DEAD, mode=0o644):
    away()
    with open(f"{HERE}/x.pid", "w") as file:
        file.write(text)
    os.chmod(f"{HERE}/x.pid", mode)

def of_all():
    regular(mode=0o666)

def of_a_living_process():
    regular(f"{other.pid}\\n")

def held():
    away()
    os.rename("other/other.pid", f"{HERE}/x.pid")

def whole_directory():
    os.rename(HERE, HERE + ".moved")
    os.symlink(os.path.abspath("elsewhere"), HERE)
    if os.geteuid() == 0:
        os.lchown(HERE, 65534, 65534)

SWAPS = [away, link, hard_link, fifo, directory, regular, of_all, of_a_living_process, held, whole_directory]

class Swapped:
    def __init__(self, swap, at):
        self.swap, self.at, self.count = swap, at, 0

    def look(self, frame, event, function):
        if event == "c_call" and function.__module__ in ("posix", "fcntl", "time"):
            self.count += 1
            if self.count == self.at:
                self.swap()

    def __enter__(self):
        sys.setprofile(self.look)
        return self

    def __exit__(self, *_):
        sys.setprofile(None)

def alive(running):
    with open(f"/proc/{running.pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0] not in "ZX"

def acquire(lock):
    lock.acquire()

def acquire_after_a_crash(lock):
    lock.acquire()

def release(lock):
    lock.release()

def clear(lock):
    lock.break_lock()

def ask(lock):
    lock.is_locked()
    lock.read_pid()

def remove(lock):
    control.remove_left_over(lock.path)

def find(lock):
    found = control.find(lock.path)
    assert found is None or found.pid == daemon.pid, f"found {found}"

def send(lock):
    found = control.find(lock.path)
    if found is not None:
        assert found.pid == daemon.pid, f"found {found}"
        found.signal(signal.SIGUSR1)

def prepare(operation, lock):
    global daemon
    daemon = None
    if operation is release:
        lock.acquire()
    elif operation in (find, send):
        daemon = holder(lock.path)
    elif operation is not acquire:
        regular()

def perform(operation, swap, at):
    lay_out()
    lock = PIDLockFile(f"{HERE}/x.pid")
    prepare(operation, lock)
    before = snapshot()
    answer = "done"
    with Swapped(swap, at) as swapped:
        try:
            operation(lock)
        except (PIDFileError, PIDFileLocked, ControlError, NotLocked, NotMyLock) as error:
            answer = type(error).__name__
            said = str(error)
    label = f"{operation.__name__}, {swap.__name__} before call {at}: {answer}"
    after = snapshot()
    # He may lead a user who is not root to a left-over of his own, who could have had it taken away as well.
    if swap is whole_directory and os.geteuid() != 0:
        after["x.pid"] = before["x.pid"]
    assert {name: after.get(name) for name in before} == before, (label, before, after)
    assert set(after) == set(before) or os.geteuid() != 0, (label, after)
    assert answer == "done" or "x.pid" in said, (label, said)
    if operation in (acquire, acquire_after_a_crash) and answer == "done":
        assert lock._held.descriptors == [], label
    if lock._mine() is not None:
        lock.release()
        assert {name: snapshot().get(name) for name in before} == before or os.geteuid() != 0, label
    if daemon is not None:
        assert alive(daemon), label
        daemon.terminate()
        daemon.communicate()
    assert alive(other), label
    return answer, swapped.count >= at

os.mkdir("theirs")
if os.geteuid() == 0:
    os.chown("theirs", 65534, 65534)
os.mkdir("other")
other = holder(os.path.abspath("other/other.pid"))
answers = Counter()
for operation in (acquire, acquire_after_a_crash, release, clear, ask, remove, find, send):
    for number, swap in enumerate(SWAPS):
        at = 1 + number % every
        while True:
            answer, was_made = perform(operation, swap, at)
            if swap is held:
                for place in (HERE, HERE + ".moved"):
                    for name in ("x.pid", "taken"):
                        path = f"{place}/{name}"
                        if os.path.lexists(path) and open(path).read() == f"{other.pid}\\n":
                            os.rename(path, "other/other.pid")
                # Taken away between the last look and the removal: he who may put it there may also remove it.
                if not os.path.lexists("other/other.pid"):
                    other.terminate()
                    other.communicate()
                    other = holder(os.path.abspath("other/other.pid"))
            if not was_made:
                break
            answers[operation.__name__, answer] += 1
            at += every if operation not in (find, send) else 4 * every
other.terminate()
other.communicate()
print(json.dumps([[*key, number] for key, number in answers.items()]))
"""


@pytest.mark.parametrize("user", ["root", "nobody"])
def test_swapped_at_any_call_to_the_system_a_pidfile_is_ones_own_or_it_is_refused_and_nothing_else_is_touched(
    daemons: Daemons, cases: Cases, user: str
) -> None:
    """Starts, starts after a crash, releases, questions, removals and signals."""
    if (os.geteuid() == 0) != (user == "root"):
        pytest.skip(f"this is shown by a run as {'root' if user == 'root' else 'an ordinary user'}")
    launched = daemons.launch(AT_EACH_CALL, 8 if is_brief() else 4, timeout=300).check()
    counted = json.loads(launched.stdout.splitlines()[-1])
    assert {operation for operation, answer, _ in counted if answer == "done"} >= {"acquire", "release", "find", "send"}
    cases.add(sum(number for *_, number in counted))


# The stranger, as the same user or as nobody, puts one thing after the other there as fast as he can.
STRANGER = """
import os, random, sys
precious, living, seed = sys.argv[1:4]
if os.geteuid() == 0:
    os.setgroups([]), os.setresgid(65534, 65534, 65534), os.setresuid(65534, 65534, 65534)
draw = random.Random(int(seed))

def write(text, mode):
    fd = os.open("x.pid", os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    os.write(fd, text.encode())
    os.close(fd)

KINDS = [
    lambda: os.symlink(precious, "x.pid"),
    lambda: os.symlink("left", "x.pid"),
    lambda: os.mkfifo("x.pid"),
    lambda: os.rename("hard", "x.pid"),
    lambda: os.rename("other.pid", "x.pid"),
    lambda: write("4194305\\n", 0o644),
    lambda: write("4194305\\n", 0o666),
    lambda: write(living + "\\n", 0o644),
    lambda: os.rename("empty", "x.pid"),
    lambda: None,
    lambda: None,
]

def put_away():
    found = os.lstat("x.pid")
    for name in ("hard", "other.pid", "empty"):
        if NAMES[name] == found.st_ino:
            return os.rename("x.pid", name)
    return os.unlink("x.pid")

NAMES = {name: os.lstat(name).st_ino for name in ("hard", "other.pid", "empty")}
print("swapping", flush=True)
while True:
    for step in (put_away, draw.choice(KINDS)):
        try:
            step()
        except OSError:
            pass
"""
UNDER_SWAPS = """
import json, os, sys
from collections import Counter
from daemonry.control import daemon as control
from daemonry.errors import ControlError
from daemonry.pidfile import PIDFileError, PIDFileLocked
from daemonry.pidfile import PIDLockFile
control._CHANGING, control._MOST_DOUBTS = 0.01, 2
path, rounds = sys.argv[1], int(sys.argv[2])
answers = Counter()

def tried(name, operation):
    try:
        answer = operation()
    except (PIDFileError, PIDFileLocked, ControlError) as error:
        assert str(error).count(": "), error
        answers[name, type(error).__name__] += 1
        return False
    answers[name, "done"] += 1
    return answer

for _ in range(rounds):
    lock = PIDLockFile(path)
    tried("acquire", lock.acquire)
    found = tried("find", lambda: control.find(path))
    assert not found or found.pid == os.getpid(), found
    tried("ask", lock.is_locked)
    lock.read_pid()
    if lock._mine() is not None:
        tried("release", lock.release)
    tried("clear", lock.break_lock)
print(json.dumps([[*key, number] for key, number in answers.items()]))
"""


def test_however_fast_a_stranger_swaps_the_pidfile_each_start_is_right_or_refused_and_nothing_else_is_touched(
    daemons: Daemons, cases: Cases
) -> None:
    """Nothing hangs, at a FIFO least of all; who holds a file of another name is never found by this one."""
    theirs, precious = daemons.directory / "theirs", daemons.directory / "precious"
    theirs.mkdir()
    (theirs / "empty").mkdir()
    precious.write_text("some text that is dear to somebody\n" * 5)
    precious.chmod(0o600)
    os.link(precious, theirs / "hard")
    other = hold(daemons, theirs / "other.pid")
    if os.geteuid() == 0:
        for each in (theirs, theirs / "empty"):
            os.chown(each, 65534, 65534)
    before = precious.stat()
    stranger = daemons.start(STRANGER, precious, other.pid, 1, plain=True, cwd=theirs)
    said(stranger, "swapping")
    launched = daemons.launch(UNDER_SWAPS, theirs / "x.pid", times(400), timeout=120).check()
    assert stranger.process.poll() is None, stranger.stderr
    stranger.signal(signal.SIGKILL)
    stranger.wait()
    after = precious.stat()
    assert [(found.st_uid, found.st_mode, found.st_size) for found in (before, after)] == [
        (os.geteuid(), 0o100600, 175)
    ] * 2
    assert precious.read_text() == "some text that is dear to somebody\n" * 5
    assert other.process.poll() is None
    other.signal(signal.SIGTERM)
    other.wait().check()
    counted = json.loads(launched.stdout)
    assert sum(number for operation, _, number in counted if operation == "acquire") == times(400)
    cases.add(sum(number for *_, number in counted))
