"""Whatever holds the number of a descriptor that is closed lets go of it, and what it held is not lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from telling_programs import launch, told

if TYPE_CHECKING:
    from harness.daemons import Daemons


def test_what_a_frozen_file_holds_is_written_once_into_its_own(daemons: Daemons) -> None:
    launch(
        daemons,
        """
        old = open(path("old"), "w")
        old.write("before the start")
        gc.freeze()
        with DaemonContext(detach_process=True):
            with open(path("new"), "w") as new:
                old.close()
                new.write("new")
        """,
    )
    assert (daemons.directory / "old").read_text() == "before the start"
    assert (daemons.directory / "new").read_text() == "new"


def test_what_was_frozen_stays_frozen(daemons: Daemons) -> None:
    launcher, daemon = told(
        daemons,
        """
        def frozen():
            return gc.get_freeze_count() > 1000 and not any(each is globals() for each in gc.get_objects())
        class Looking(DaemonContext):
            def detach(self):
                before.append(frozen())
                super().detach()
        before = []
        gc.freeze()
        with Looking(detach_process=True):
            tell([before[0], frozen()])
        """,
    )
    assert launcher
    assert daemon


def test_a_program_that_freezes_nothing_has_nothing_frozen(daemons: Daemons) -> None:
    """Python itself may have frozen a few objects."""
    before, after = told(
        daemons,
        """
        before = gc.get_freeze_count()
        with DaemonContext(detach_process=True):
            tell([before, gc.get_freeze_count()])
        """,
    )
    assert after == before
