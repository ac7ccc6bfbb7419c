"""The exceptions: what they are, what they say, and that they can be pickled and copied."""

from __future__ import annotations

import copy
import pickle
import signal
from typing import TYPE_CHECKING, Any

import lockfile
import pytest
from hypothesis import given
from hypothesis import strategies as st

import daemonry
from daemonry.errors import DaemonError, DaemonStartError, DaemonTraceback, InvalidOption, Terminated
from daemonry.launch import failures, messages
from daemonry.launch.launcher import Outcome
from daemonry.pidfile import DaemonAlreadyRunning, DaemonLockTimeout
from harness.waiting import read_json
from launcher_programs import failing

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.daemons import Daemons

numbers = st.none() | st.integers(-(2**40), 2**40)
copies = st.sampled_from(
    [copy.copy, copy.deepcopy]
    + [lambda error, n=n: pickle.loads(pickle.dumps(error, n)) for n in range(pickle.HIGHEST_PROTOCOL + 1)]
)


def filled(error: DaemonStartError, fields: dict[str, Any]) -> DaemonStartError:
    vars(error).update(fields)
    return error


start_errors = st.builds(
    filled,
    st.one_of(
        st.builds(
            lambda kind, number, message: kind(number, message),
            st.sampled_from([DaemonStartError, DaemonAlreadyRunning, DaemonLockTimeout]),
            numbers,
            st.text(),
        ),
        st.builds(InvalidOption, st.sampled_from(["uid", "signal_map"]), st.text(), numbers),
    ),
    st.fixed_dictionaries(
        {},
        optional={
            "step": st.text(),
            "pid": numbers,
            "signum": numbers,
            "status": numbers,
            "traceback": st.none() | st.text(),
            "survivors": st.lists(st.text()).map(tuple),
        },
    ),
)


def state(error: DaemonStartError) -> dict[str, Any]:
    names = ("step", "errno", "strerror", "message", "pid", "signum", "status", "traceback", "survivors", "args")
    return {name: getattr(error, name) for name in names}


@given(start_errors, copies)
def test_a_start_error_is_pickled_and_copied_whole(error: DaemonStartError, remake: Callable[[Any], Any]) -> None:
    again = remake(error)
    assert type(again) is type(error)
    assert state(again) == state(error)
    assert str(again) == str(error)
    if isinstance(error, InvalidOption):
        assert again.option == error.option


@given(st.integers(1, 64), copies)
def test_terminated_is_pickled_and_copied(signum: int, remake: Callable[[Any], Any]) -> None:
    again = remake(Terminated(signum))
    assert isinstance(again, SystemExit)
    assert (type(again), again.signum, again.code) == (Terminated, signum, 0)


@given(st.text(), copies)
def test_a_daemons_traceback_is_pickled_and_copied(text: str, remake: Callable[[Any], Any]) -> None:
    again = remake(DaemonTraceback(text))
    assert str(again) == f'in the daemon\n"""\n{text}"""'


def test_what_the_errors_are() -> None:
    """So that whoever knows only OSError, ValueError or lockfile's errors catches them as well."""
    assert issubclass(daemonry.DaemonStartError, (DaemonError, OSError))
    assert issubclass(daemonry.InvalidOption, DaemonStartError)
    assert issubclass(daemonry.InvalidOption, ValueError)
    assert issubclass(daemonry.DaemonAlreadyRunning, DaemonStartError)
    assert issubclass(daemonry.DaemonAlreadyRunning, lockfile.AlreadyLocked)
    assert issubclass(daemonry.DaemonLockTimeout, daemonry.DaemonAlreadyRunning)
    assert issubclass(daemonry.DaemonLockTimeout, lockfile.LockTimeout)
    assert issubclass(daemonry.Terminated, SystemExit)


def test_what_a_start_error_says() -> None:
    error = DaemonStartError(2, "it isn't there")
    assert str(error) == "cannot start the daemon: it isn't there"
    error.step = "change_root"
    error.survivors = ("process 7 (worker)", "process 8 (worker)")
    assert str(error) == (
        "cannot start the daemon: step change_root: it isn't there; "
        "still running: process 7 (worker), process 8 (worker)"
    )


told = st.builds(
    messages.Failed,
    step=st.text(min_size=1),
    message=st.text(min_size=1),
    errno=numbers,
    status=numbers,
    traceback=st.none() | st.text(),
    locked=st.none() | st.sampled_from(["locked", "timeout", "failed"]) | st.text(),
    pid=numbers,
)
outcomes = st.builds(
    Outcome,
    step=st.text(min_size=1),
    timeout=st.none() | st.floats(0.001, 1e9),
    failed=st.none() | told,
    ended=st.none() | st.builds(messages.Ended, status=numbers, signum=numbers),
    survivors=st.lists(st.text(min_size=1)).map(tuple),
    killed_by=st.none() | st.sampled_from(signal.Signals).map(int),
)


@given(outcomes)
def test_every_outcome_makes_an_error_that_says_why(outcome: Outcome) -> None:
    error = failures.error_of(outcome)
    assert error.step
    assert error.message
    assert error.survivors == outcome.survivors
    assert str(error).startswith(f"cannot start the daemon: step {error.step}: {error.message}")
    if outcome.failed is not None and outcome.timeout is None:
        assert error.message == outcome.failed.message
        kinds = {"locked": DaemonAlreadyRunning, "timeout": DaemonLockTimeout}
        assert type(error) is kinds.get(outcome.failed.locked or "", DaemonStartError)


class _Mute(Exception):
    def __str__(self) -> str:
        raise ValueError("never")


def _raised(error: BaseException, cause: BaseException | None = None) -> BaseException:
    try:
        raise error from cause
    except BaseException as caught:
        return caught


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ValueError("no"), "ValueError: no"),
        (ValueError(), "ValueError"),
        (_Mute(), "_Mute: it has no text, str() of it fails"),
        (FileNotFoundError(2, "No such file or directory", "/x"), "No such file or directory: /x"),
        (OSError(18, "Cross-device link", "/x", None, "/y"), "Cross-device link: /x: /y"),
        (OSError("in words"), "in words"),
        (OSError(), "OSError"),
        (SystemExit(), "exited with status 0"),
        (SystemExit(5), "exited with status 5"),
        (SystemExit("because"), "because"),
        (SystemExit(["odd"]), "['odd']"),
        (SystemExit(_Mute()), "it has no text, str() of it fails"),
        (Terminated(15), "ended by SIGTERM"),
        (DaemonStartError(None, "as it is"), "as it is"),
        (lockfile.LockFailed("the lock's own words"), "the lock's own words"),
        (lockfile.LockFailed(), "LockFailed"),
    ],
)
def test_the_message_of_an_error_in_a_line(error: BaseException, message: str) -> None:
    assert failures.message_of(error) == message


def test_the_systems_number_is_found_below_an_error_without_one() -> None:
    """The errors of lockfile tell no number; what they were raised for does."""
    system = OSError(13, "Permission denied")
    assert failures.failed("lock_pidfile", _raised(lockfile.LockFailed("no"), system)).errno == 13
    assert failures.failed("lock_pidfile", _raised(lockfile.LockFailed("no"))).errno is None


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ("lockfile.AlreadyLocked('held')", "DaemonAlreadyRunning"),
        ("lockfile.LockTimeout('held')", "DaemonLockTimeout"),
        ("lockfile.LockFailed('no')", "DaemonStartError"),
        ("daemonry.DaemonStartError(5, 'no')", "DaemonStartError"),
    ],
)
def test_the_launcher_raises_the_error_of_the_same_kind(daemons: Daemons, error: str, kind: str) -> None:
    daemons.launch(failing(f"raise {error}", before="import lockfile")).check()
    found = read_json(daemons.directory / "told")
    assert (found["kind"], found["step"]) == (kind, "begin_work")
    assert found["errno"] == (5 if "5" in error else None)


def test_an_error_that_names_its_step_keeps_it(daemons: Daemons) -> None:
    work = """
        error = daemonry.DaemonStartError(None, "no")
        error.step = "another"
        raise error
    """
    daemons.launch(failing(work)).check()
    assert read_json(daemons.directory / "told")["step"] == "another"
