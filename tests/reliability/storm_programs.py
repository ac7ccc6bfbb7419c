"""Programs that start daemons by the hundred: each start is a fork of one program that has imported everything."""

from __future__ import annotations

import textwrap

# What costs a start its time is the interpreter. Two without forks, of which one is refused, have imported and read
# whatever any of them will need.
_PRELUDE = """
    import gc, json, os, select, signal, sys, syslog
    from daemonry import DaemonAlreadyRunning, DaemonContext, DaemonStartError, PIDLockFile
    from daemonry.control import ControlError, find
    from daemonry.pidfile import PIDFileError

    path, numbers = sys.argv[1], [int(word) for word in sys.argv[2:]]
    with DaemonContext(detach_process=False, pidfile=PIDLockFile(path)):
        try:
            DaemonContext(detach_process=False, pidfile=PIDLockFile(path)).open()
        except DaemonAlreadyRunning:
            pass
    gc.collect()
    gc.freeze()

    def forked(work, *arguments):
        child = os.fork()
        if child == 0:
            try:
                work(*arguments)
            except BaseException as error:
                sys.excepthook(type(error), error, error.__traceback__)
                os._exit(1)
            finally:
                os._exit(0)
        return child

    def expect_success(child):
        assert os.waitpid(child, 0)[1] == 0

    def number_in_file():
        with open(path) as file:
            text = file.read()
        assert text == f"{int(text)}\\n", text
        return int(text)

    def end(pid, number):
        pidfd = os.pidfd_open(pid)
        signal.pidfd_send_signal(pidfd, number)
        await_end(pid, pidfd)

    def await_own_end(pid):
        try:
            await_end(pid, os.pidfd_open(pid))
        except ProcessLookupError:
            pass

    def await_end(pid, pidfd):
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        assert poll.poll(30_000), f"{pid} does not end"
        os.close(pidfd)
"""


def storm(text: str) -> str:
    """Return a program that has the names of the prelude; its first argument is the pidfile, the others numbers."""
    return textwrap.dedent(_PRELUDE) + textwrap.dedent(text)


# Starters that wait for one moment; each whose daemon is refused tells whose pidfile it is.
CROWD = storm("""
    go, told = os.pipe(), os.pipe()

    def start():
        os.close(go[1])
        os.read(go[0], 1)
        try:
            with DaemonContext(pidfile=PIDLockFile(path), detach_process=True) as context:
                context.wait()
        except DaemonAlreadyRunning as error:
            os.write(told[1], b"%d\\n" % error.pid)

    children = [forked(start) for _ in range(numbers[0])]
    os.close(go[1])
    os.close(told[1])
    with open(told[0]) as answers:
        refused = [int(line) for line in answers]
    for child in children:
        expect_success(child)
    print(json.dumps({"refused": refused, "holder": number_in_file()}))
""")

# Starts and crashes in turn. Each daemon tells its number, and is killed then: by us or by itself, alone or with
# workers that outlive it.
CRASHES = storm("""
    told = os.pipe()
    WORKERS = 3

    def start(way):
        lock = PIDLockFile(path)
        context = DaemonContext(pidfile=lock, detach_process=True, files_preserve=[told[1]], ready="manual")
        with context:
            workers = [forked(signal.pause) for _ in range(WORKERS if way == "workers" else 0)]
            context.ready()
            os.write(told[1], json.dumps([os.getpid(), *workers]).encode() + b"\\n")
            if way == "itself":
                os.kill(os.getpid(), signal.SIGKILL)
            context.wait()

    ways = ("at once", "itself", "workers", "when it is found")
    answers, before, living = os.fdopen(told[0]), None, []
    for number in range(numbers[0]):
        way = ways[number % len(ways)]
        expect_success(forked(start, way))
        pid, *workers = json.loads(answers.readline())
        assert number_in_file() == pid != before, (number, way)
        if way == "when it is found":
            assert find(path).pid == pid, number
        if way == "itself":
            await_own_end(pid)  # it had told its number before
        else:
            end(pid, signal.SIGKILL)
        for worker in living:
            end(worker, signal.SIGKILL)
        before, living = pid, workers
    for worker in living:
        end(worker, signal.SIGKILL)
""")

# Readers that ask as often as the machine can, beside starts and stops. They only take what time the starts leave.
READERS = storm("""
    go, told = os.pipe(), os.pipe()
    os.set_blocking(go[0], False)

    def is_over():
        try:
            return os.read(go[0], 1) == b""
        except BlockingIOError:
            return False

    def ask():
        os.close(go[1])
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        lock, seen, asked, wrong = PIDLockFile(path), [], 0, []
        while not is_over():
            asked += 1
            try:
                lock.is_locked()
                found = find(path)
                for pid in (found and found.pid, lock.read_pid()):
                    if pid is not None and seen[-1:] != [pid]:
                        seen.append(pid)
            except (ControlError, PIDFileError) as error:
                wrong.append(str(error))
        os.write(told[1], json.dumps({"asked": asked, "seen": seen, "wrong": wrong}).encode() + b"\\n")

    def start():
        os.close(go[1])
        with DaemonContext(pidfile=PIDLockFile(path), detach_process=True) as context:
            context.wait()

    readers, started = [forked(ask) for _ in range(numbers[0])], []
    for _ in range(numbers[1]):
        expect_success(forked(start))
        started.append(number_in_file())
        end(started[-1], signal.SIGTERM)
        assert not os.path.exists(path)
    os.close(go[1])
    os.close(told[1])
    with open(told[0]) as answers:
        readers = [(json.loads(line), expect_success(reader))[0] for line, reader in zip(answers, readers)]
    print(json.dumps({"started": started, "readers": readers}))
""")
