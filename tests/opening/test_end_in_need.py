"""The end of a daemon that can load nothing more: it ends as any other does, and less is told of it, but it is."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import daemonry
from harness.reaper import through

if TYPE_CHECKING:
    from harness.daemons import Daemons, Launched

# What befalls it, its body, and its set-up are the arguments. A copy of the library is what it uses.
PROGRAM = """
    import importlib, logging, os, resource, shutil, sys, threading
    sys.path.insert(0, os.path.abspath("library"))
    import daemonry
    assert daemonry.__file__.startswith(os.path.abspath("library"))
    HERE = os.getcwd()

    def removed():
        shutil.rmtree(os.path.join(HERE, "library"))

    def replaced():
        for folder, _, files in os.walk(os.path.join(HERE, "library")):
            for name in files:
                with open(os.path.join(folder, name), "w") as file:
                    file.write("import something_new\\n")

    def without_descriptors():
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))

    try:
        raise LookupError
    except LookupError:
        logging.Formatter().formatException(sys.exc_info())  # which from Python 3.13 on loads something of its own

    need, options = globals()[sys.argv[1]], {"stdout": "errors", "stderr": "errors"}
    exec(sys.argv[3])
    around = open("around", "w")
    try:
        with daemonry.DaemonContext(working_directory=HERE, files_preserve=[around], **options) as context:
            exec(sys.argv[2])
    except BaseException as error:
        around.write(f"{type(error).__name__}: {error}")
        raise
    finally:
        around.close()
    """
NEEDS = ["removed", "replaced", "without_descriptors"]
LOGGING = "logging.basicConfig(filename='log', format='%(levelname)s %(name)s %(message)s')"


def run(daemons: Daemons, need: str, body: str, set_up: str = "") -> Launched:
    """Run a daemon to its end; its status is the answer's."""
    copy = daemons.directory / "library" / "daemonry"
    shutil.copytree(Path(daemonry.__file__).parent, copy, ignore=shutil.ignore_patterns("__pycache__"))
    env = {"PYTHONDONTWRITEBYTECODE": "1"}
    return daemons.start(PROGRAM, need, body, set_up, through=through(), env=env).wait()


def read(daemons: Daemons, name: str) -> str:
    """Return what stands in a file."""
    return (daemons.directory / name).read_text()


@pytest.mark.parametrize("set_up", ["", "options['detach_process'] = False", LOGGING])
@pytest.mark.parametrize("need", NEEDS)
def test_the_text_of_an_exit_is_all_that_is_told(daemons: Daemons, need: str, set_up: str) -> None:
    run(daemons, need, "need(); sys.exit('the disk is full')", set_up).check(1)
    assert read(daemons, "around") == "SystemExit: the disk is full"
    assert read(daemons, "errors") == "the disk is full\n"
    if set_up == LOGGING:
        assert read(daemons, "log") == "CRITICAL daemonry the disk is full\n"


@pytest.mark.parametrize("set_up", ["", "options['detach_process'] = False", LOGGING])
@pytest.mark.parametrize("need", NEEDS)
def test_the_programs_own_exception_is_the_one_that_is_shown(daemons: Daemons, need: str, set_up: str) -> None:
    run(daemons, need, "need(); raise ValueError('no' + ' more')", set_up).check(1)
    assert read(daemons, "around") == "ValueError: no more"
    errors = read(daemons, "errors").splitlines()
    assert (errors[0], errors[-1]) == ("Traceback (most recent call last):", "ValueError: no more")
    assert len(errors) < 9
    assert "/daemonry/" not in "".join(errors)
    if set_up == LOGGING:
        assert read(daemons, "log").startswith("CRITICAL daemonry the daemon ends: ValueError: no more\nTraceback")


@pytest.mark.parametrize("need", ["removed", "replaced"])
def test_a_library_that_is_gone_leaves_no_pidfile(daemons: Daemons, need: str) -> None:
    run(daemons, need, "need(); sys.exit(3)", "options['pidfile'] = 'pidfile'").check(3)
    assert read(daemons, "errors") == ""
    assert not (daemons.directory / "pidfile").exists()


@pytest.mark.parametrize("lock", ["'pidfile'", "daemonry.PIDLockFile('pidfile')"])
def test_without_descriptors_the_log_says_that_the_pidfile_stays(daemons: Daemons, lock: str) -> None:
    run(daemons, "without_descriptors", "need()", f"options['pidfile'] = {lock}").check(1)
    path = daemons.directory / "pidfile"
    left = f"cannot remove {path}: Too many open files; the next start takes it away, once this process has ended"
    assert read(daemons, "errors").endswith(f": {left}\n")
    assert read(daemons, "errors").count("Traceback") == 2  # the system's own error is the cause
    assert path.exists()


@pytest.mark.parametrize("need", NEEDS)
def test_a_daemon_that_cannot_reopen_its_log_goes_on_and_says_so(daemons: Daemons, need: str) -> None:
    body = "os.rename('errors', 'old'); os.mkdir('errors'); need(); context.reopen_streams(); sys.exit(3)"
    run(daemons, need, body).check(3)
    assert read(daemons, "old").startswith("cannot reopen: ")


@pytest.mark.parametrize("need", NEEDS)
def test_an_exception_of_a_thread_is_logged_where_the_streams_are_discarded(daemons: Daemons, need: str) -> None:
    body = "need(); thread = threading.Thread(target=int, args=('x',), name='worker'); thread.start(); thread.join()"
    run(daemons, need, body, f"{LOGGING}; options = {{}}").check(0)
    assert read(daemons, "log").startswith("CRITICAL daemonry uncaught exception in thread worker\nTraceback")


def test_a_logger_that_a_configuration_has_disabled_is_no_obstacle(daemons: Daemons) -> None:
    set_up = f"{LOGGING}; logging.getLogger('daemonry').disabled = True"
    run(daemons, "removed", "need(); sys.exit('the end')", set_up).check(1)
    assert read(daemons, "log") == "CRITICAL root the end\n"


SYSLOG = """
import types
def write(priority, line):
    with open(os.path.join(HERE, "syslog"), "a") as file:
        file.write(f"{priority} {line}\\n")
sys.modules["syslog"] = types.SimpleNamespace(LOG_DAEMON=24, LOG_CRIT=2, syslog=write, closelog=bool)
options = {}
"""


@pytest.mark.parametrize("need", ["removed", "replaced"])
def test_syslog_is_told_where_the_streams_are_discarded(daemons: Daemons, need: str) -> None:
    run(daemons, need, "need(); sys.exit('two\\nlines')", SYSLOG).check(1)
    assert read(daemons, "syslog") == "26 two\n26 lines\n"
