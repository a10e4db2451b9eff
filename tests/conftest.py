"""What many tests need: captures, unpacked."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from tests.engines.unavailable import EngineUnavailable
from tests.support.apart import keep_files_in_memory, keep_mounts_apart
from tests.support.browser import BrowserUnavailable, browser
from tests.support.captures import Capture, CaptureUnavailable, unpack
from tests.support.firefox import Firefox, firefox
from tests.support.full_disk import NoDisk
from tests.support.leftovers import Leftovers
from tests.support.spark import SparkUnavailable

from drydock.reclaim.state_dir import PLACES

_UNAVAILABLE = (EngineUnavailable, CaptureUnavailable, BrowserUnavailable, SparkUnavailable, NoDisk)
# The same examples in every run: a failure is of the change that is tested. ./run prove looks for new ones.
# Without a deadline: how long an example takes says more of what else the machine does.
hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None)
hypothesis.settings.register_profile("long", deadline=None)
hypothesis.settings.load_profile("long" if "DRYDOCK_TEST_LONG" in os.environ else "repeatable")

_TESTS = Path(__file__).parent
# Besides what starts engines, and what says of itself that it looks at all processes there are.
_ON_THE_HOST = ("engines",)
# These make things once for all of them: one worker shall have them.
_TOGETHER = ("deploy", "release")
_AHEAD = 8
"""How much sooner the tests on the host get a processor (nice(2))."""


def pytest_configure(config: pytest.Config) -> None:
    """Let workers that run side by side not see each other's mounts, and the session leave no state of drydock."""
    # pytest-xdist 3.8 puts the group into a test's name by an attribute that is pytest's own, and says nothing else.
    if config.getoption("dist", "no") == "loadgroup" and not hasattr(pytest.Item, "_nodeid"):
        raise pytest.UsageError(f"with pytest {pytest.__version__} no test would be in its group: pyproject.toml")
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Leftovers(PLACES))
    elif os.geteuid() == 0:
        keep_mounts_apart()


# First: the worker's own hook reads the groups.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs root where there is none, and say so; let one worker have all that needs the host, and begin it.

    The workers are handed tests in this order: the others have the rest, and all have what is left of it at the end.
    """
    for item in items:
        engine = item.get_closest_marker("engine")
        if os.geteuid() != 0 and (engine or item.get_closest_marker("root")):
            item.add_marker(pytest.mark.skip(reason="needs root"))
        folder = item.path.relative_to(_TESTS).parts[0]
        if item.get_closest_marker("xdist_group"):
            continue
        if engine or folder in _ON_THE_HOST:
            item.add_marker(pytest.mark.xdist_group("host"))
        elif folder in _TOGETHER:
            item.add_marker(pytest.mark.xdist_group("release"))
    items.sort(key=lambda item: item.get_closest_marker("xdist_group") is None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Let what has the host go first: its worker would end long after the others, which share all the rest."""
    group = item.get_closest_marker("xdist_group")
    first = group is not None and "host" in group.args and hasattr(item.config, "workerinput") and os.geteuid() == 0
    before = os.getpriority(os.PRIO_PROCESS, 0)
    if first:
        os.setpriority(os.PRIO_PROCESS, 0, before - _AHEAD)
    try:
        return (yield)
    finally:
        if first:
            os.setpriority(os.PRIO_PROCESS, 0, before)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup() -> Generator[None, None, None]:
    """Skip where something that a fixture needs, an engine or a browser, is not to be had here, and say why."""
    try:
        yield
    except _UNAVAILABLE as reason:
        pytest.skip(str(reason))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, None, None]:
    """The same for what a test itself needs."""
    try:
        yield
    except _UNAVAILABLE as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="session", autouse=True)
def _in_memory(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> None:
    """Keep what the tests of a worker write in memory, where there is enough; without workers, it is on the disk."""
    if hasattr(request.config, "workerinput") and os.geteuid() == 0:
        keep_files_in_memory(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="session")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Capture], Path]]:
    """Unpacks a capture once a session, for tests that only read it."""
    done: dict[str, Path] = {}

    def give(capture: Capture) -> Path:
        if capture.name not in done:
            done[capture.name] = unpack(capture, tmp_path_factory.mktemp(capture.name))
        return done[capture.name]

    yield give
    for path in done.values():
        shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="module", name="firefox")
def _firefox() -> Iterator[Firefox]:
    """One Firefox for all tests of a file: its start takes seconds, a page in it a fraction of one.

    Not longer: each clean looks at every file that any process has mapped, and a Firefox maps thousands.
    """
    with firefox() as started:
        yield started


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """One browser for all tests of a file."""
    with browser() as started:
        yield started


@pytest.fixture
def unpacked_anew(tmp_path: Path) -> Iterator[Callable[[Capture], Path]]:
    """Unpacks a capture for one test, which may change it."""
    yield lambda capture: unpack(capture, tmp_path)
    shutil.rmtree(tmp_path, ignore_errors=True)
