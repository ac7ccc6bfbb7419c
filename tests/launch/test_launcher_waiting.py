"""What a launcher says that waits long, and what a start is told about before it begins."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from harness.waiting import read_json, wait_for
from launcher_programs import program

if TYPE_CHECKING:
    from harness.daemons import Daemons

FORGOTTEN = """
    import daemonry.launch.launcher
    daemonry.launch.launcher.PATIENCE = 0.2
    class Waiting(Context):
        def begin_work(self):
            if PLACE == "step":
                publish("there", os.getpid())
                signal.pause()
    with Waiting(working_directory=".", ready="manual") as context:
        publish("there", os.getpid())
        signal.pause()
"""
WORDS = {
    "body": "waiting for the daemon: its body has yet to call ready(); Ctrl-C ends the start",
    "step": "waiting for the daemon: step begin_work is not done yet; Ctrl-C ends the start",
}


@pytest.mark.parametrize("place", WORDS)
def test_at_a_terminal_the_launcher_says_what_it_waits_for(daemons: Daemons, place: str) -> None:
    """Once; and Ctrl-C ends the start with the line that the user was in."""
    terminal = daemons.terminal(program(FORGOTTEN.replace("PLACE", repr(place))), leader=False)
    terminal.read_until(WORDS[place])
    terminal.write("\x03")
    wait_for(lambda: not daemons.alive())
    output = terminal.output.replace("\r\n", "\n")
    assert output.count("waiting for the daemon") == 1
    assert output.rstrip().endswith("KeyboardInterrupt")
    assert len(output.splitlines()) < 10
    assert "daemonry/" not in output.replace("/tmp/", ""), "no frame of the library"


def test_without_a_terminal_it_says_nothing(daemons: Daemons) -> None:
    """What cron starts would send a mail for it."""
    running = daemons.start(program(FORGOTTEN.replace("PLACE", "'body'")))
    read_json(daemons.directory / "there")
    with pytest.raises(AssertionError, match="has not ended"):
        running.wait(1.5)
    assert running.stderr == ""
    running.signal(signal.SIGTERM)
    running.wait().check(-signal.SIGTERM)


@pytest.mark.parametrize(("path", "warned"), [("/tmp/_MEI123456", True), ("/opt/prog/_internal", False)])
def test_a_program_whose_files_go_with_its_launcher_is_told_so(daemons: Daemons, path: str, warned: bool) -> None:
    """A PyInstaller program that is one file; the attributes are what its loader sets."""
    text = program(f"""
        sys.frozen, sys._MEIPASS = True, {path!r}
        with Context(working_directory="."):
            pass
    """)
    launched = daemons.launch(text).check()
    wait_for(lambda: not daemons.alive())
    assert (f"this program has unpacked itself to {path}, which is removed" in launched.stderr) is warned


@pytest.mark.parametrize(
    ("name", "mode", "way"), [("stderr", "r", "reading"), ("stdout", "r", "reading"), ("stdin", "w", "writing")]
)
@pytest.mark.parametrize("kind", ["file", "descriptor"])
def test_a_stream_that_is_open_the_wrong_way_is_refused(
    daemons: Daemons, name: str, mode: str, way: str, kind: str
) -> None:
    text = program(f"""
        file = open("file", "w").close() or open("file", {mode!r})
        try:
            Context({name}=file if {kind == "file"} else file.fileno()).open()
        except daemonry.DaemonStartError as error:
            tell("told", error)
    """)
    daemons.launch(text).check()
    message = read_json(daemons.directory / "told")["message"]
    assert message.startswith(f"{name}: descriptor ")
    assert f"is open for {way} only" in message
