"""At every system call of a start, and of a stop, something goes wrong once: what follows is right, or is refused."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from faults.errnos import ERRNOS, LEFT_OUT, kind_of
from faults.injecting import kills
from faults.judging import DEFECT, NOT_MADE
from faults.matrix import judged
from faults.table import table_of_kills, tables_of_faults
from faults.tapping import why_not
from faults.variants import BASE, VARIANTS
from harness.size import is_brief

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from faults.judging import Judged
    from harness.evidence import Cases


@pytest.fixture(scope="module", autouse=True)
def _strace() -> None:
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)


def parts_of(names: Iterable[str], share: float) -> dict[str, float]:
    """Return how much of each variant is run where not all of it is: ``FAULTS=all`` asks for all."""
    if os.environ.get("FAULTS") == "all":
        return dict.fromkeys(names, 1.0)
    return dict.fromkeys(names, share * (0.02 if is_brief() else 1.0))


def show_no_defect(results: Sequence[Judged], cases: Cases) -> None:
    """Count the cases; fail when one of them shows a defect, or when few came about at all."""
    made = [each for each in results if each.verdict != NOT_MADE]
    for each in made:
        cases.add(verdict=each.verdict)
    defects = [str(each) for each in made if each.verdict == DEFECT]
    assert not defects, "\n".join(defects)
    assert len(made) > 0.9 * len(results)


@pytest.mark.reliability("System calls that fail")
def test_a_start_or_stop_in_which_any_call_fails_is_right_or_says_why_not_and_leaves_nothing(cases: Cases) -> None:
    results = list(judged(parts_of(BASE, 1.0)))
    for table in tables_of_faults(results):
        cases.show(table)
    show_no_defect(results, cases)


@pytest.mark.reliability("System calls that fail")
def test_with_other_options_any_call_that_fails_ends_as_well(cases: Cases) -> None:
    show_no_defect(list(judged(parts_of([name for name in VARIANTS if name not in BASE], 0.1))), cases)


@pytest.mark.reliability("Signals at every call")
def test_a_signal_at_any_call_ends_whom_it_should_and_the_next_start_works(cases: Cases) -> None:
    """In the base variants: a start in the foreground has no launcher, and in another root no file can be unlinked."""
    results = list(judged(parts_of(BASE, 1.0), kills))
    cases.show(table_of_kills(results))
    show_no_defect(results, cases)


def test_no_call_is_both_let_fail_and_left_out() -> None:
    assert not ERRNOS.keys() & LEFT_OUT.keys()


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ('newfstatat(3</x>, "", {...}, AT_EMPTY_PATH) = 0', "fstat"),
        ('newfstatat(AT_FDCWD</>, "/x", {...}, 0) = 0', "newfstatat"),
        ('openat(AT_FDCWD</>, "/x", O_WRONLY|O_CREAT|O_APPEND, 0640) = 3', "open for writing"),
        ("fcntl(4</x>, F_OFD_SETLK, {l_type=F_WRLCK}) = 0", "lock"),
        ("fcntl(4</x>, F_GETFD) = 0", "fcntl"),
    ],
)
def test_one_call_counts_as_several_where_it_fails_for_different_reasons(text: str, kind: str) -> None:
    assert kind_of(text.partition("(")[0], text) == kind
