"""What ``stdin``, ``stdout`` and ``stderr`` refuse, in the launcher and by name, and what the plan says of them."""

from __future__ import annotations

import io
import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from daemonry import DaemonContext, InvalidOption
from telling_programs import told

if TYPE_CHECKING:
    from harness.daemons import Daemons


def closed_file() -> object:
    with open(os.devnull, "w") as opened:
        return opened


class Unusable:
    """Can neither be read nor written."""


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(closed_file(), id="closed-file"),
        True,
        False,
        -1,
        2**70,
        99_999_999,
        1.5,
        "",
        "a\0b",
        b"a\0b",
        "/",
        pytest.param(Path("/nowhere/at/all"), id="missing-directory"),
        "/etc/passwd/log",
        object(),
        [1],
        Unusable,
        io.StringIO,
        socket.socket,
    ],
)
@pytest.mark.parametrize("name", ["stdin", "stdout", "stderr"])
def test_what_can_not_be_meant_is_refused_by_name(name: str, wrong: Any) -> None:
    with pytest.raises(InvalidOption, match=f"^cannot start the daemon: step check_options: {name}: ") as caught:
        DaemonContext(detach_process=True, **{name: wrong}).plan()
    assert caught.value.option == name


def test_a_missing_file_for_stdin_is_refused() -> None:
    with pytest.raises(InvalidOption, match=r"stdin: /nowhere does not exist") as caught:
        DaemonContext(detach_process=True, stdin="/nowhere").plan()
    assert caught.value.errno == 2


def test_a_number_above_two_that_is_not_open_is_refused_with_the_systems_error() -> None:
    with pytest.raises(InvalidOption, match="stdout: 99999 is not open") as caught:
        DaemonContext(detach_process=True, stdout=99_999).plan()
    assert caught.value.errno == 9


@pytest.mark.unprivileged_only("root may write everywhere")
@pytest.mark.parametrize("detach", [True, False])
def test_a_file_that_may_not_be_written_is_an_error_in_the_launcher(daemons: Daemons, detach: bool) -> None:
    found = told(
        daemons,
        f"""
        try:
            DaemonContext(detach_process={detach}, stdout="/etc/passwd").open()
        except DaemonStartError as error:
            tell([error.step, error.errno == errno.EACCES, str(error)])
        """,
    )
    assert found[:2] == ["redirect_streams", True]
    assert "Permission denied: /etc/passwd" in found[2]


def test_the_plan_says_where_each_will_point() -> None:
    plan = DaemonContext(detach_process=True, stdout="/tmp/log", stderr=1, stdin=sys.__stdin__ and io.StringIO()).plan()
    (text,) = [str(step) for step in plan if step.name == "redirect_streams"]
    assert text.startswith("redirect_streams: stdin -> <_io.StringIO object at ")
    assert text.endswith(", stdout -> /tmp/log, stderr -> descriptor 1")
    (text,) = [str(step) for step in DaemonContext(detach_process=True).plan() if step.name == "redirect_streams"]
    assert text == "redirect_streams: stdin -> /dev/null, stdout -> /dev/null, stderr -> /dev/null"
