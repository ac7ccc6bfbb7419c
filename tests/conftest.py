"""The fixtures that all tests share; what they are made of is in ``harness``."""

from __future__ import annotations

import os
import pwd
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

from harness.commands import Daemonry, remove_files_of
from harness.daemons import Daemons, coverage_directory
from harness.evidence import Cases, Evidence
from harness.size import times
from harness.systemd import CannotBoot, Systemd, why_not
from harness.units import Units, documented_files

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

# How long examples take, to run or to draw, says something of the machine and nothing of the code.
hypothesis.settings.register_profile(
    "daemonry",
    max_examples=times(100),
    deadline=None,
    database=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("daemonry")

_passed = pytest.StashKey[bool]()
_cases = pytest.StashKey[Cases]()
_evidence = pytest.StashKey[Evidence]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let a run write down what it has shown of reliability."""
    parser.addoption("--evidence", type=Path, help="write here what the tests of reliability have shown, as JSON")


def pytest_configure(config: pytest.Config) -> None:
    """Refuse to measure where processes that have become another user could not save what they measured."""
    directory = coverage_directory()
    if directory is not None and os.geteuid() == 0 and not directory.stat().st_mode & 0o002:
        raise pytest.UsageError(f"not every user can write to {directory}: measure by scripts/test")
    config.stash[_evidence] = Evidence()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write down what was shown, if that is asked for."""
    path = session.config.getoption("--evidence")
    if path is not None:
        session.config.stash[_evidence].write(path)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what this user can't show, with the reason."""
    for name, is_met, who in (
        ("root_only", os.geteuid() == 0, "root"),
        ("unprivileged_only", os.geteuid() != 0, "an ordinary user"),
    ):
        marker = item.get_closest_marker(name)
        if marker is not None and not is_met:
            why = f": {marker.args[0]}" if marker.args else ""
            pytest.skip(f"this takes {who}, and the tests run as uid {os.geteuid()}{why}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Keep for the fixtures' ends whether the test itself has passed, and what it has shown."""
    report = yield
    if report.when == "call":
        item.stash[_passed] = report.passed
    marker = item.get_closest_marker("reliability")
    if marker is not None and (report.when == "call" or not report.passed):
        name = getattr(item, "originalname", item.name)
        item.config.stash[_evidence].take(marker.args[0], name, report.outcome, item.stash.get(_cases, Cases()))
    return report


@pytest.fixture
def cases(request: pytest.FixtureRequest) -> Cases:
    """Return where a test of reliability counts its cases when they are many."""
    counted = Cases()
    request.node.stash[_cases] = counted
    return counted


@pytest.fixture
def daemons(request: pytest.FixtureRequest) -> Iterator[Daemons]:
    """Real programs; whatever they leave is killed at the end, and fails the test."""
    started = Daemons()
    try:
        yield started
    finally:
        outlived = started.close()
    if outlived and request.node.stash.get(_passed, False):
        pytest.fail("\n".join(("outlived the test:", *outlived)), pytrace=False)


@pytest.fixture
def _names_of_daemons() -> Iterator[list[str]]:
    names: list[str] = []
    yield names
    remove_files_of(names)


@pytest.fixture
def daemonry(_names_of_daemons: list[str], daemons: Daemons) -> Iterator[Daemonry]:
    """Return the command, with a name for the test's daemon."""
    command = Daemonry(daemons, _names_of_daemons)
    try:
        yield command
    finally:
        command.close()


@pytest.fixture(autouse=True, scope="session")
def _interruptible() -> Iterator[None]:
    """Start programs as a terminal's shell does: its background jobs ignore Ctrl-C and Ctrl-\\, and nohup(1) SIGHUP."""
    ignored = [
        number
        for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP)
        if signal.getsignal(number) is signal.SIG_IGN
    ]
    for number in ignored:
        signal.signal(number, signal.SIG_DFL)
    yield
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)


@pytest.fixture
def ordinary_user() -> str:
    """Return the name of a user without any rights."""
    return pwd.getpwnam("nobody").pw_name


@pytest.fixture(scope="session")
def systemd() -> Iterator[Systemd]:
    """Return a systemd that has been booted for this run. In continuous integration root has to be able to."""
    reason = why_not()
    try:
        booted = Systemd() if reason is None else None
    except CannotBoot as error:
        booted, reason = None, str(error)
    if booted is None:
        if os.environ.get("CI") == "true" and os.geteuid() == 0:
            pytest.fail(str(reason), pytrace=False)
        pytest.skip(str(reason))
    try:
        yield booted
    finally:
        booted.close()


@pytest.fixture(scope="session")
def _documented(systemd: Systemd) -> dict[str, str]:
    files = documented_files("systemd.rst")
    for path, text in files.items():
        if path.startswith("/"):
            systemd.write(path, text)
    systemd.reload()
    return files


@pytest.fixture
def units(systemd: Systemd, _documented: dict[str, str]) -> Iterator[Units]:
    """Return the units of docs/systemd.rst; what a test starts is stopped at its end."""
    used = Units(systemd, _documented)
    yield used
    used.close()
