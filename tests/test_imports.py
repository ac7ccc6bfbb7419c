"""What importing the library loads, offers, and stays silent about."""

from __future__ import annotations

import importlib.util
import json
import pkgutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import daemonry
from harness.waiting import read_json, wait_for

if TYPE_CHECKING:
    from harness.daemons import Daemons

HEAVY = ("socket", "logging", "typing", "json", "argparse", "subprocess", "dataclasses", "lockfile")
MODULES = sorted(module.name for module in pkgutil.walk_packages(daemonry.__path__, "daemonry."))


def loaded_by(daemons: Daemons, statement: str) -> set[str]:
    """Return the modules that a statement loads into an interpreter, warnings being errors."""
    # Not measured: the measurement itself imports half of the standard library.
    launched = daemons.launch(
        f"import sys; before = set(sys.modules)\n{statement}\nprint(*set(sys.modules) - before)",
        plain=True,
        python=("-W", "error"),
        env={"PYTHONPATH": str(Path(daemonry.__path__[0]).parent)},
    ).check()
    assert launched.stderr == ""
    return set(launched.stdout.split())


def test_importing_the_library_loads_nothing_else(daemons: Daemons) -> None:
    assert loaded_by(daemons, "import daemonry") <= {"daemonry", "__future__"}


def test_the_context_loads_nothing_heavy(daemons: Daemons) -> None:
    loaded = loaded_by(daemons, "from daemonry import DaemonContext")
    assert "daemonry.context" in loaded
    assert loaded.isdisjoint(HEAVY)
    assert "daemonry.pidfile" not in loaded


RIGHTS = {"pwd", "grp", "ctypes", "daemonry.steps.accounts", "daemonry.system.libc", "daemonry.steps.privileges"}


def test_who_stays_who_he_is_loads_nothing_of_users_and_rights(daemons: Daemons) -> None:
    """Root, and an ordinary user."""
    statement = "from daemonry.steps import identity; assert identity.resolve(None, None, False, False).are_taken_on"
    assert loaded_by(daemons, statement).isdisjoint(RIGHTS)


def test_what_giving_up_rights_takes_is_loaded_before_anything_changes(daemons: Daemons) -> None:
    statement = "from daemonry.steps import identity; assert not identity.resolve(5, 5, False, False).are_taken_on"
    assert loaded_by(daemons, statement) >= RIGHTS


def test_what_telling_of_a_failure_takes_is_loaded_by_who_leaves_its_files_or_has_threads(daemons: Daemons) -> None:
    """What a thread is just importing could never be imported in a daemon; the witness is forked as well."""
    statement = """
import threading
import daemonry
threading.Thread(target=threading.Event().wait, daemon=True).start()
with daemonry.DaemonContext(detach_process=False): pass
"""
    taken = {"launch.failures", "launch.messages", "launch.witness", "steps.telling", "system.advice", "system.frames"}
    assert loaded_by(daemons, statement) >= {f"daemonry.{each}" for each in taken}


def test_a_start_loads_nothing_for_messages_that_it_does_not_need(daemons: Daemons) -> None:
    loaded = loaded_by(daemons, "import daemonry\nwith daemonry.DaemonContext(detach_process=False): pass")
    assert "daemonry.context" in loaded
    of_system = {"advice", "frames", "last_words", "misspelt", "other_threads", "process"}
    of_launch = {"failures", "launcher", "messages", "witness"}
    assert loaded.isdisjoint({f"daemonry.system.{each}" for each in of_system})
    assert loaded.isdisjoint({f"daemonry.launch.{each}" for each in of_launch})
    assert loaded.isdisjoint({"daemonry.steps.logs", "daemonry.steps.telling", "difflib", "inspect", "traceback"})


@pytest.mark.parametrize(("options", "is_needed"), [("", False), (", pidfile='test.pid'", True)])
def test_a_daemon_has_a_stack_when_it_has_something_to_give_back(
    daemons: Daemons, options: str, is_needed: bool
) -> None:
    """And loads nothing for it once it has forked."""
    daemons.launch(
        f"""
        import json, os, sys
        from daemonry import DaemonContext

        class Context(DaemonContext):
            def reset_signals(self):
                super().reset_signals()
                self.loaded = "daemonry.system.exit_stack" in sys.modules

        with Context(working_directory="."{options}) as context:
            with open("draft", "w") as file:
                json.dump([context.loaded, "daemonry.system.exit_stack" in sys.modules], file)
            os.rename("draft", "told")
        """,
        plain=True,
        env={"PYTHONPATH": str(Path(daemonry.__path__[0]).parent)},
    ).check()
    assert read_json(daemons.directory / "told") == [is_needed, is_needed]
    wait_for(lambda: not daemons.alive(), what="the daemon ends")


def test_lockfile_comes_with_the_pidfile(daemons: Daemons) -> None:
    assert "lockfile" not in loaded_by(daemons, "import daemonry.pidfile")  # which hands out names when asked for them
    loaded = loaded_by(daemons, "from daemonry.pidfile import PIDLockFile")
    assert {"daemonry.pidfile", "lockfile"} <= loaded
    assert loaded.isdisjoint({"logging", "json", "argparse", "subprocess", "dataclasses"})


def test_a_start_with_the_path_of_a_pidfile_does_without_lockfile(daemons: Daemons) -> None:
    start = "import daemonry\nwith daemonry.DaemonContext(detach_process=False, pidfile='test.pid'): pass"
    loaded = loaded_by(daemons, start)
    assert "daemonry.pidfile.lock" in loaded
    assert loaded.isdisjoint({"lockfile", "daemonry.pidfile.errors", "socket", "threading", "enum", "math"})
    assert loaded.isdisjoint({"contextlib", "functools", "collections"})


def test_the_pidfile_module_is_reached_by_the_package_alone(daemons: Daemons) -> None:
    assert "lockfile" in loaded_by(daemons, "import daemonry; daemonry.pidfile.PIDLockFile")


def test_a_name_of_the_pidfile_module_is_loaded_when_it_is_asked_for(daemons: Daemons) -> None:
    assert "lockfile" in loaded_by(daemons, "from daemonry import PIDLockFile")


@pytest.mark.parametrize("name", MODULES)
def test_every_module_can_be_imported_first(daemons: Daemons, name: str) -> None:
    assert name in loaded_by(daemons, f"import {name}")


@pytest.mark.parametrize("name", daemonry.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(daemonry, name).__name__ == name


def test_the_public_names_are_sorted_and_all_come_with_a_star() -> None:
    assert list(daemonry.__all__) == sorted(set(daemonry.__all__))
    names: dict[str, object] = {}
    exec("from daemonry import *", names)
    assert set(daemonry.__all__) <= set(names)


def test_a_name_that_is_not_there_is_an_error_that_names_it() -> None:
    with pytest.raises(AttributeError, match="'daemonry' has no attribute 'DeamonContext'"):
        daemonry.DeamonContext  # noqa: B018
    with pytest.raises(ImportError):
        exec("from daemonry import DeamonContext")


def test_a_program_written_for_python_daemon_runs_with_one_line_changed(daemons: Daemons) -> None:
    daemons.launch(
        """
        import json, os
        import daemonry as daemon

        lock = daemon.pidfile.TimeoutPIDLockFile(os.path.abspath("sample.pid"), 1)
        log = open("sample.log", "w+")
        with daemon.DaemonContext(
            files_preserve=[log], working_directory=os.getcwd(), umask=0o002, pidfile=lock, stdout=log, stderr=log
        ):
            print(json.dumps({"told": lock.read_pid(), "own": os.getpid(), "parent": os.getppid()}))
            assert lock.is_locked() and lock.i_am_locking()
        """
    ).check()
    directory = daemons.directory
    wait_for(lambda: not daemons.alive(), what="the daemon ends")
    told = json.loads((directory / "sample.log").read_text())
    assert told["told"] == told["own"]
    assert not (directory / "sample.pid").exists()


def test_type_checkers_are_told_that_the_package_has_types() -> None:
    spec = importlib.util.find_spec("daemonry")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    assert Path(spec.submodule_search_locations[0], "py.typed").is_file()
