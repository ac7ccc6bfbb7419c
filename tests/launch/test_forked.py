"""A process that another program has forked, and that has executed nothing since: that one's files are closed."""

from __future__ import annotations

import http.client
import os
import signal
from typing import TYPE_CHECKING

import pytest

from harness.waiting import read_json, wait_for
from telling_programs import told

if TYPE_CHECKING:
    from harness.daemons import Daemons

# Who forks, and where daemonry is loaded first.
BY_FORK = "child = os.fork()\nif child == 0:\n    work()\n    os._exit(0)\nos.waitpid(child, 0)"
FORKS = {
    "os.fork": BY_FORK,
    "os.fork, daemonry loaded there": BY_FORK,
    "multiprocessing, fork": "start('fork')",
    "multiprocessing, spawn": "start('spawn')",
    "multiprocessing, forkserver": "start('forkserver')",
    "a child of a child": "if os.fork() == 0:\n    if os.fork() == 0:\n        work()\n    os._exit(0)\nos.wait()",
}
PROGRAM = """
import multiprocessing, os, sys
{loaded}
from harness.probe import facts, publish

def work():
    # As a web server's worker has it: opened by whoever forked it, and close-on-exec.
    from daemonry import DaemonContext
    own = os.open("/etc/passwd", os.O_RDONLY)
    (step,) = [each for each in DaemonContext().plan() if each.name == "close_descriptors"]
    if os.fork() == 0:
        with DaemonContext(detach_process=True, working_directory=HERE):
            publish("told", [facts().numbers, str(step).splitlines()[0]])
        os._exit(0)
    os.wait()

def start(how):
    child = multiprocessing.get_context(how).Process(target=work)
    child.start()
    child.join()
    assert child.exitcode == 0

HERE = os.path.dirname(os.path.abspath(__file__))
if __name__ == "__main__":
    ports = [os.open("/dev/null", os.O_RDONLY) for _ in range(3)]
{fork}
"""


@pytest.mark.parametrize("way", FORKS)
def test_its_parents_files_are_closed_and_the_plan_says_why(daemons: Daemons, way: str) -> None:
    loaded = "" if "loaded there" in way else "import daemonry.context"
    fork = "\n".join(f"    {line}" for line in FORKS[way].splitlines())
    daemons.launch(PROGRAM.format(loaded=loaded, fork=fork)).check()
    numbers, said = read_json(daemons.directory / "told")
    assert numbers == [0, 1, 2]
    assert said.startswith("close_descriptors: close all not named: ")
    assert said.endswith(", and its own files can't be told from that one's")
    wait_for(lambda: not daemons.alive(), what="everything has ended")


def test_a_name_of_the_process_that_reads_like_its_state_misleads_nobody(daemons: Daemons) -> None:
    """proc_pid_stat(5) tells both in one line."""
    assert (
        told(
            daemons,
            """
        with open("/proc/self/comm", "w") as file:
            file.write("x) R 1 1 1 1 1")
        file = open("/etc/passwd")
        with DaemonContext(detach_process=True):
            tell(is_open(file.fileno()))
        """,
        )
        is True
    )


def test_a_thread_makes_no_fork_of_a_program(daemons: Daemons) -> None:
    """The kernel marks every thread as it marks a forked process, but the program has been executed."""
    assert (
        told(
            daemons,
            """
        thread = threading.Thread(target=bool)
        thread.start()
        thread.join()
        file = open("/etc/passwd")
        with DaemonContext(detach_process=True):
            tell(is_open(file.fileno()))
        """,
        )
        is True
    )


# A worker for each request, as forking servers have it; the request starts a daemon, by a fork, and is answered when
# that is up. The client reads until the end, which comes when the last copy of its connection is closed.
SERVER = """
import http.server, os, socketserver, sys
HERE = os.getcwd()

class Server({mixin}, http.server.HTTPServer):
    allow_reuse_address = True

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        child = os.fork()
        if child == 0:
            start()
        _, status = os.waitpid(child, 0)
        self.wfile.write(f"status {{status}}".encode())

def start():
    from daemonry import DaemonContext, PIDLockFile
    with DaemonContext(detach_process=True, pidfile=PIDLockFile(f"{{HERE}}/pid")) as context:
        context.wait()
    os._exit(0)

server = Server(("127.0.0.1", int(sys.argv[1])), Handler)
server.socket.listen()
print(server.server_port, flush=True)
server.serve_forever()
"""


@pytest.mark.reliability("The program's own code")
@pytest.mark.parametrize("mixin", ["socketserver.ForkingMixIn", "socketserver.ThreadingMixIn"])
def test_a_web_server_that_starts_a_daemon_from_a_request_answers_and_starts_again_on_its_port(
    daemons: Daemons, mixin: str
) -> None:
    """Its port and its client's connection don't live on in the daemon."""
    port = 0
    for _ in range(2):
        server = daemons.start(SERVER.format(mixin=mixin), port)
        port = wait_for(lambda server=server: int(server.stdout or 0), what="the server listens")
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.connect()
        connection.sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
        said = b""
        while part := connection.sock.recv(4096):
            said += part
        connection.close()
        assert said == b"status 0"
        os.kill(server.pid, signal.SIGKILL)
        server.wait()
        pid = int((daemons.directory / "pid").read_text())
        # The next one listens on the same port while this one's daemon runs.
        again = daemons.start(SERVER.format(mixin=mixin), port)
        assert wait_for(lambda again=again: int(again.stdout or 0), what="the next one listens") == port
        again.signal(signal.SIGKILL)
        again.wait()
        daemons.stop(pid)
