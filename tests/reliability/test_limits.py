"""Limits of the system at their edge: with too little of something a start is refused, with enough it is right."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest
from limit_programs import HOGGING, KINDS, as_another, sweep
from place_programs import is_detached  # noqa: F401 - a fixture

from harness.size import times

if TYPE_CHECKING:
    from limit_programs import Outcome

    from harness.daemons import Daemons
    from harness.evidence import Cases

pytestmark = pytest.mark.reliability("Full and broken places")

_STATUS = {"ready": 0, "refused": 3, "raised": 4}


def is_right_or_told(outcome: Outcome, kind: str) -> bool:
    """Whether the daemon was up with a whole pidfile, or the launcher said why not; what failed and was left, fails."""
    word, *rest = outcome.told
    assert outcome.status == _STATUS.get(word), outcome
    assert not outcome.left, outcome
    if word == "ready":
        pid, text = rest
        assert text == (f"{pid}\n" if "PIDFILE" in KINDS[kind] else None), outcome
        return True
    return False


def is_edge(outcomes: list[Outcome], kind: str, number: int) -> bool:
    """Whether all below one limit were refused with this error, and all from there on were right."""
    right = [is_right_or_told(each, kind) for each in outcomes]
    for each in outcomes[: right.count(False)]:
        assert each.told[0] == "refused", each
        assert each.told[2] == number, each
    return right == sorted(right)


@pytest.mark.parametrize("kind", KINDS)
def test_a_start_under_any_limit_of_descriptors_is_right_or_refused(
    daemons: Daemons, kind: str, detach: bool, cases: Cases
) -> None:
    outcomes = sweep(daemons, "RLIMIT_NOFILE", list(range(3, 20)), kind, detach)
    assert is_edge(outcomes, kind, errno.EMFILE)
    assert {each.told[0] for each in outcomes} == {"ready", "refused"}
    assert all("see ulimit -n" in each.told[3] for each in outcomes if each.told[0] == "refused")
    cases.add(len(outcomes))


@pytest.mark.root_only("it becomes users of its own, whose processes are counted")
@pytest.mark.parametrize("kind", KINDS)
def test_a_start_under_any_limit_of_processes_is_right_or_refused(
    daemons: Daemons, kind: str, detach: bool, cases: Cases
) -> None:
    outcomes = sweep(daemons, "RLIMIT_NPROC", list(range(7)), kind, detach, as_another(kind))
    assert is_edge(outcomes, kind, errno.EAGAIN)
    assert {each.told[0] for each in outcomes} == ({"ready", "refused"} if detach else {"ready"}), outcomes
    assert all("see ulimit -u" in each.told[3] for each in outcomes if each.told[0] == "refused")
    cases.add(len(outcomes))


@pytest.mark.parametrize("kind", ["pidfile", "all"])
def test_a_pidfile_that_cannot_be_written_whole_for_a_limit_of_file_sizes_refuses_the_start(
    daemons: Daemons, kind: str, detach: bool, cases: Cases
) -> None:
    """Half a number would be another process's."""
    outcomes = sweep(daemons, "RLIMIT_FSIZE", list(range(12)), kind, detach)
    assert is_edge(outcomes, kind, errno.EFBIG)
    assert {each.told[0] for each in outcomes} == {"ready", "refused"}
    assert all(each.told[1] == "lock_pidfile" for each in outcomes if each.told[0] == "refused")
    cases.add(len(outcomes))


@pytest.mark.parametrize("where", ["launcher", "daemon"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_start_with_any_amount_of_memory_is_right_or_fails_and_says_so_by_its_status(
    daemons: Daemons, kind: str, where: str, cases: Cases
) -> None:
    """A launcher may lack the memory to name the step, or to say anything; it never says that all is well."""
    pieces = [*range(0, 4000, 4000 // times(40, 8)), 8_000, 16_000, 100_000]
    outcomes = sweep(daemons, "RLIMIT_AS", pieces, kind, True, HOGGING, in_daemon=where == "daemon")
    for each in outcomes:
        assert each.told[0] in ("ready", "refused", *(("raised", "silent") if where == "launcher" else ())), each
        assert (each.told[0] == "ready") == (each.status == 0), each
        assert not each.left, each
    assert outcomes[-1].told[0] == "ready"
    cases.add(len(outcomes))
