"""What a service prints and logs is in a real journal, with its priority and its fields, also after open()."""

from __future__ import annotations

import importlib.util
import json
import sys
from typing import TYPE_CHECKING

import pytest

from harness.waiting import wait_for

if TYPE_CHECKING:
    from typing import Any

    from harness.systemd import Systemd
    from harness.units import Units

needs_library = pytest.mark.skipif(
    importlib.util.find_spec("cysystemd") is None, reason="not installed: cysystemd (daemonry[journal])"
)


def entries(systemd: Systemd, *matches: str) -> list[dict[str, Any]]:
    systemd.check("journalctl", "--sync")
    answer = systemd.check("journalctl", "--output=json", "--no-pager", *matches)
    return [json.loads(line) for line in answer.splitlines()]


def printed(units: Units, unit: str) -> list[tuple[str, str]]:
    """Return the priorities and the texts of what a unit's own processes have said."""
    found = entries(units.systemd, f"_SYSTEMD_UNIT={unit}")
    return [(entry["PRIORITY"], entry["MESSAGE"]) for entry in found if entry["_PID"] != "1"]


def test_each_line_has_the_priority_of_its_record_those_of_a_traceback_too(units: Units) -> None:
    units.start("priority.service")
    wait_for(lambda: ("7", "root: done") in printed(units, "priority.service"), what="all is said")
    (first, *trouble, last) = printed(units, "priority.service")
    assert (first, last) == (("6", "root: up"), ("7", "root: done"))
    assert {priority for priority, _ in trouble} == {"3"}
    assert trouble[0][1] == "root: cannot divide"
    assert trouble[1][1] == "Traceback (most recent call last):"
    assert trouble[-1][1] == "ZeroDivisionError: division by zero"


def test_both_streams_of_a_service_stay_the_journal_s(units: Units) -> None:
    """Its input is the null device already, and standard output and standard error are the sockets they were."""
    units.write(
        "/usr/local/lib/streams.py",
        """
        import os, sys
        from daemonry import DaemonContext
        from daemonry.manager.journal import is_read_by_journal
        before = [os.readlink(f"/proc/self/fd/{fd}") for fd in (0, 1, 2)]
        with DaemonContext():
            print("printed", before == [os.readlink(f"/proc/self/fd/{fd}") for fd in (0, 1, 2)], before[0])
            print("complained", is_read_by_journal(1), is_read_by_journal(), is_read_by_journal(0), file=sys.stderr)
        """,
    )
    units.change("priority.service", "ExecStart=", f"ExecStart={sys.executable} /usr/local/lib/streams.py")
    units.start("priority.service")
    expected = {("6", "printed True /dev/null"), ("6", "complained True True False")}
    wait_for(lambda: expected <= set(printed(units, "priority.service")), what="both are there")


def of_fields(units: Units) -> list[dict[str, Any]]:
    return entries(units.systemd, "SYSLOG_IDENTIFIER=fields")


@needs_library
def test_fields_and_whole_messages_reach_the_journal_also_after_the_descriptors_were_closed(units: Units) -> None:
    """The library has opened its socket before open(), which keeps it; and the daemon is no child of systemd's."""
    path = "/usr/local/lib/fields/fields.py"
    units.write(path, units.files[path] + '    logging.error("two\\nlines")\n')
    done = units.systemd.run(sys.executable, path)
    assert done.returncode == 0, done.stderr
    wait_for(lambda: len(of_fields(units)) == 3, what="all entries are there")
    before, after, lines = of_fields(units)
    assert before["MESSAGE"].strip() == "before"
    assert (after["MESSAGE"].strip(), after["CUSTOMER"], after["PRIORITY"]) == ("for one", "C-17", "6")
    assert before["_PID"] != after["_PID"]
    assert (lines["MESSAGE"].strip(), lines["PRIORITY"]) == ("two\nlines", "3")


@needs_library
def test_the_library_s_socket_is_closed_where_the_files_to_preserve_are_named_without_it(units: Units) -> None:
    """What is logged then is lost without a word, as the page says."""
    path = "/usr/local/lib/fields/fields.py"
    program = units.files[path].replace("fields", "unpreserved").replace("=True)", "=True, files_preserve=[])")
    units.write("/usr/local/lib/unpreserved.py", program + "    open('/run/unpreserved', 'w').close()\n")
    done = units.systemd.run(sys.executable, "/usr/local/lib/unpreserved.py")
    assert done.returncode == 0, done.stderr
    wait_for(units.systemd.path("/run/unpreserved").exists, what="all has been logged")
    found = entries(units.systemd, "SYSLOG_IDENTIFIER=unpreserved")
    assert [entry["MESSAGE"].strip() for entry in found] == ["before"]
