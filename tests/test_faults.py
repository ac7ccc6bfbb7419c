"""At every system call of a start, and of a stop, something goes wrong once: what follows is right, or is refused."""

from __future__ import annotations

import os

import pytest

from faults.errnos import ERRNOS, LEFT_OUT, kind_of
from faults.injecting import kills
from faults.judging import DEFECT
from faults.matrix import judged
from faults.tapping import why_not
from faults.variants import BASE, VARIANTS
from harness.size import is_brief


@pytest.fixture(scope="module", autouse=True)
def _strace() -> None:
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)


def shares(of_base: float, of_others: float = 0.0) -> dict[str, float]:
    """Answer how much of each variant is run, for each has a thousand cases: with ``FAULTS=all`` all of it."""
    wanted = {name: of_base if name in BASE else of_others for name in VARIANTS}
    whole = os.environ.get("FAULTS") == "all"
    return {name: 1.0 if whole else share * (0.1 if is_brief() else 1.0) for name, share in wanted.items() if share}


def test_a_start_or_stop_in_which_one_call_fails_is_right_or_says_why_not_and_leaves_nothing() -> None:
    defects = [str(each) for each in judged(shares(0.2, 0.02)) if each.verdict == DEFECT]
    assert not defects, "\n".join(defects)


def test_a_signal_at_any_call_ends_whom_it_should_and_the_next_start_works() -> None:
    """In the base variants: a start in the foreground has no launcher, and in another root no file can be unlinked."""
    defects = [str(each) for each in judged(shares(0.05), kills) if each.verdict == DEFECT]
    assert not defects, "\n".join(defects)


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
