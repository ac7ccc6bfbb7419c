"""A program that starts a daemon under each of many limits: too little of something, just enough, and plenty.

It forks a launcher for each limit, when all that a start needs has been imported: so the edge lies in the start itself,
and a hundred limits take a second or two.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from harness.daemons import Daemons

# What a start takes besides the forks.
KINDS = {
    "plain": "{}",
    "pidfile": '{"pidfile": daemonry.PIDLockFile(PIDFILE)}',
    "log": '{"stderr": LOG, "stdout": LOG}',
    "manual": '{"ready": "manual"}',
    "all": '{"pidfile": daemonry.PIDLockFile(PIDFILE), "stderr": LOG, "ready": "manual", "start_timeout": 20}',
}

# How a launcher comes under its limit.
TO_LIMIT = "resource.setrlimit(RESOURCE, (limit, before[1]))"
# All memory that can be had is taken first, in ever smaller pieces, and ``limit`` of the pieces are given back. Who has
# them all back gets more: what was free by chance need not be enough.
HOGGING = """
        gc.disable()
        with open("/proc/self/statm") as file:
            size = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(RESOURCE, (size, before[1]))
        global hog
        hog = None
        for piece in (65536, 4096, 480, 256, 128, 64, 40):
            try:
                while True:
                    hog = [hog, bytes(piece)]
            except MemoryError:
                pass
        for _ in range(limit):
            hog = hog[0] if hog else None
        if hog is None:
            resource.setrlimit(RESOURCE, (size + 2**26, before[1]))
"""

_SWEEP = """
    import gc, json, linecache, os, resource, select, signal, sys, syslog, time, traceback
    import daemonry
    from daemonry.launch import failures, launcher, witness
    from daemonry.steps import log_file, telling  # loaded by those who need them

    HERE = os.getcwd()
    PIDFILE, LOG = os.path.join(HERE, "pid"), os.path.join(HERE, "log")
    RESOURCE = getattr(resource, sys.argv[1])
    detach = sys.argv[2] == "True"
    limits = json.loads(sys.argv[3])
    in_daemon = sys.argv[4] == "True"
    before = resource.getrlimit(RESOURCE)

    # Once without a limit, for all that a start imports: another user can't read where that is.
    failures.prepare()
    with daemonry.DaemonContext(
        detach_process=False, working_directory=HERE, pidfile=daemonry.PIDLockFile(PIDFILE), stdout=1, stderr=2
    ):
        pass

    def come_under(limit):
        SET_LIMIT

    def tell(writing, *told):
        resource.setrlimit(RESOURCE, before)
        os.write(writing, json.dumps(told).encode() + b"\\n")

    class Context(daemonry.DaemonContext):
        def reset_signals(self):
            if in_daemon:
                come_under(self.limit)
            super().reset_signals()

    def launch(limit, writing):
        options = OPTIONS
        context = Context(detach_process=detach, working_directory=HERE, files_preserve=[writing], **options)
        context.limit = limit
        if not in_daemon:
            come_under(limit)
        try:
            with context:
                if "ready" in options:
                    context.ready()
                os.write(writing, b'["ready", %d]\\n' % os.getpid())
                while True:
                    signal.sigtimedwait([], 10)
        except daemonry.DaemonStartError as error:
            tell(writing, "refused", error.step, error.errno, str(error))
            return 3
        except SystemExit:  # SIGTERM
            return 0
        except BaseException as error:
            tell(writing, "raised", repr(error))
            return 4

    def hear(reading):
        said = b""
        deadline = time.monotonic() + 20
        while b"\\n" not in said:
            if not select.select([reading], [], [], max(0, deadline - time.monotonic()))[0]:
                return ["hangs"]
            data = os.read(reading, 65536)
            if not data:
                return ["silent"]
            said += data
        return json.loads(said.partition(b"\\n")[0])

    def end(pid):
        daemon = os.pidfd_open(pid)
        signal.pidfd_send_signal(daemon, signal.SIGTERM)
        if not select.select([daemon], [], [], 10)[0]:
            raise AssertionError("it does not end")
        os.close(daemon)

    def attempt(limit):
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            status = 5
            try:
                os.close(reading)
                status = launch(limit, writing)
            finally:
                os._exit(status)
        os.close(writing)
        told = hear(reading)
        os.close(reading)
        if told[0] == "ready":
            told.append(open(PIDFILE).read() if os.path.exists(PIDFILE) else None)
            end(told[1])
        elif told[0] == "hangs":
            os.kill(pid, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        left = os.path.exists(PIDFILE)
        for path in (PIDFILE, LOG):
            if os.path.exists(path):
                os.unlink(path)
        return limit, told, status, left

    print(json.dumps([attempt(limit) for limit in limits]))
"""


def as_another(kind: str) -> str:
    """Return how a launcher comes under a limit of processes: as a user of its own.

    All processes of a user count, those of runs beside this one and those that init has yet to reap.
    """
    first = 100_000 + 100 * (os.getpid() % 30_000) + 10 * list(KINDS).index(kind)
    return f"os.setgroups([]); os.setgid({first}); os.setuid({first} + limit); {TO_LIMIT}"


class Outcome(NamedTuple):
    """What became of a start under a limit."""

    limit: int
    told: list[Any]
    """``ready`` with the daemon's pid and what the pidfile said, ``refused`` with step, error number and message,
    ``raised`` with another exception, ``silent`` or ``hangs``."""
    status: int
    """The launcher's."""
    left: bool
    """Whether a pidfile was left."""


def sweep(
    daemons: Daemons,
    resource: str,
    limits: list[int],
    kind: str,
    detach: bool,
    set_limit: str = TO_LIMIT,
    in_daemon: bool = False,
) -> list[Outcome]:
    """Start a daemon of this kind under each of the limits, and stop it if it comes up.

    :param in_daemon: whether only the daemon comes under the limit, in its first step, and its launcher is free of it.
    """
    program = _SWEEP.replace("SET_LIMIT", set_limit.strip()).replace("OPTIONS", KINDS[kind])
    words = (resource, detach, json.dumps(limits), in_daemon)
    launched = daemons.launch(program, *words, cwd=daemons.public, timeout=300).check()
    assert daemons.alive() == []
    return [Outcome(*each) for each in json.loads(launched.stdout)]
