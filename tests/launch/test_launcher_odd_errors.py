"""Errors of the program's own that are no errors of the system, though they are OSErrors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from harness.daemons import Daemons

ARGUMENTS = [
    "['cannot', 'reach'], 'the server'",
    "{}, 'the server'",
    "None, 'the server'",
    "'EIO', 'the server'",
    "5, ['the server']",
]


@pytest.mark.parametrize("detach", [True, False])
@pytest.mark.parametrize("arguments", ARGUMENTS)
def test_whatever_an_error_has_in_the_place_of_a_number_or_a_text_it_is_told(
    daemons: Daemons, arguments: str, detach: bool
) -> None:
    """Also what no dictionary can be asked for."""
    launched = daemons.launch(
        f"""
        import os
        from daemonry import DaemonContext
        try:
            with DaemonContext(detach_process={detach}, ready="manual", working_directory="."):
                raise OSError({arguments})
        except OSError as error:
            print(type(error).__name__, error.errno, error)
        """
    ).check()
    told = launched.stdout.strip()
    assert "the server" in told.partition(": step body: ")[2 if detach else 0]
    assert told.startswith("DaemonStartError " if detach else "OSError ")
