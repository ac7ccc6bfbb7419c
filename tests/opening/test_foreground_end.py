"""The end of a body in the foreground: what has gone wrong is shown once, and Ctrl-C without a trace."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from telling_programs import launch, program

if TYPE_CHECKING:
    from harness.daemons import Daemons

OPENED = "context = DaemonContext(detach_process=False, working_directory=HERE)\n"
HANDLERS = {
    "nobody": "",
    "stderr": "logging.basicConfig()",
    "stdout": "logging.basicConfig(stream=sys.stdout)",
    "sys.__stderr__": "logging.basicConfig(stream=sys.__stderr__)",
    "a copy of stderr": "logging.basicConfig(stream=os.fdopen(os.dup(2), 'w'))",
}
FAILURES = {"int('x')": "ValueError: ", "open('none')": "FileNotFoundError: ", "sys.exit('the end')": "the end"}


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("handler", HANDLERS)
def test_a_failure_is_shown_once_at_the_terminal(daemons: Daemons, handler: str, failure: str) -> None:
    """By Python, which shows it to whoever looks on: no logging handler writes it there as well."""
    terminal = daemons.terminal(program(HANDLERS[handler], OPENED + f"with context:\n    {failure}"), daemons.directory)
    assert terminal.wait() == 1
    assert terminal.output.count(FAILURES[failure]) == 1
    assert terminal.output.count("Traceback") == (FAILURES[failure] != "the end")


@pytest.mark.parametrize("failure", FAILURES)
def test_a_log_that_is_another_file_is_told(daemons: Daemons, failure: str) -> None:
    """Whatever else is told, and whether or not another handler writes to stderr; what is logged later comes there."""
    logs = "logging.basicConfig()\nlogging.getLogger().addHandler(logging.FileHandler(path('log')))"
    end = "    atexit.register(logging.warning, 'later')\n    "
    said = launch(daemons, "import atexit", logs, OPENED + f"with context:\n{end}{failure}", status=1).stderr
    log = (daemons.directory / "log").read_text()
    assert said.count(FAILURES[failure]) == 1
    assert FAILURES[failure] in log
    assert log.endswith("later\n")
    assert said.endswith("WARNING:root:later\n")


def test_a_failure_that_the_program_catches_is_logged_elsewhere_alone(daemons: Daemons) -> None:
    """Whoever catches it behind the block knows what to show."""
    logs = "logging.basicConfig()\nlogging.getLogger().addHandler(logging.FileHandler(path('log')))"
    block = "try:\n    with context:\n        int('x')\nexcept ValueError:\n    print('caught')"
    launched = launch(daemons, logs, OPENED + block)
    assert (launched.stdout, launched.stderr) == ("caught\n", "")
    assert "the daemon ends: ValueError: " in (daemons.directory / "log").read_text()


WAITS = {
    "context.wait()": "",
    "time.sleep(60)": "",
    "asyncio.run(sleep())": "async def sleep():\n    print('up')\n    await asyncio.sleep(60)\n",
    "threading.Event().wait()": "",
    "deeper()": "def deeper(depth=9):\n    deeper(depth - 1) if depth else time.sleep(60)\n",
}


@pytest.mark.parametrize("handler", ["nobody", "stderr"])
@pytest.mark.parametrize("wait", WAITS)
def test_ctrl_c_ends_it_by_the_signal_and_without_a_trace(daemons: Daemons, wait: str, handler: str) -> None:
    """Python's own end of it, which tells the shell that it was Ctrl-C; what is behind the block is done."""
    says = "" if "asyncio" in wait else "print('up')\n            "  # not before the loop has its handler
    body = f"def main():\n    try:\n        with context:\n            {says}{wait}\n"
    body += "    finally:\n        print('done', context.is_open)\nmain()"
    before = "import asyncio, time\n" + WAITS[wait]
    terminal = daemons.terminal(program(HANDLERS[handler], before, OPENED + body), daemons.directory)
    terminal.read_until("up")
    terminal.write("\x03")
    assert terminal.wait() == -signal.SIGINT
    assert terminal.output.replace("^C", "") == "up\r\ndone False\r\n"


def test_ctrl_c_is_a_line_in_a_log_that_is_another_file(daemons: Daemons) -> None:
    logs = "logging.basicConfig(filename=path('log'))"
    launch(daemons, logs, OPENED + "with context:\n    os.kill(os.getpid(), signal.SIGINT)", status=-signal.SIGINT)
    assert (daemons.directory / "log").read_text() == "CRITICAL:daemonry:the daemon ends: interrupted by SIGINT\n"


@pytest.mark.parametrize(
    "body",
    [
        "try:\n        int('x')\n    finally:\n        raise KeyboardInterrupt",
        "raise KeyboardInterrupt from ValueError('x')",
    ],
)
def test_an_error_that_ctrl_c_displaces_is_shown_with_it(daemons: Daemons, body: str) -> None:
    """It would be lost otherwise."""
    said = launch(daemons, OPENED + f"with context:\n    {body}", status=-signal.SIGINT).stderr
    assert "ValueError: " in said
    assert said.endswith("\nKeyboardInterrupt\n")


def test_a_ctrl_c_that_is_caught_changes_nothing_for_the_next(daemons: Daemons) -> None:
    """Another interrupt, behind the context that has been closed, is shown as Python shows it; so is another error."""
    caught = (
        "try:\n    with context:\n        raise KeyboardInterrupt\nexcept KeyboardInterrupt as one:\n    kept = one\n"
    )
    said = launch(daemons, OPENED + caught + "raise KeyboardInterrupt", status=-signal.SIGINT).stderr
    assert said.endswith("    raise KeyboardInterrupt\nKeyboardInterrupt\n")
    said = launch(daemons, OPENED + caught + "int('x')", status=1).stderr
    assert "\nValueError: " in said


def test_a_program_that_shows_exceptions_itself_goes_on_doing_so(daemons: Daemons) -> None:
    hook = "sys.excepthook = lambda kind, error, trace: print('shown', kind.__name__)"
    ended = launch(daemons, hook, OPENED + "with context:\n    raise KeyboardInterrupt", status=-signal.SIGINT)
    assert (ended.stdout, ended.stderr) == ("shown KeyboardInterrupt\n", "")
