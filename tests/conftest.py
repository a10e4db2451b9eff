"""What many tests need: captures, unpacked."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import hypothesis
import pytest
from tests.engines.unavailable import EngineUnavailable
from tests.support.browser import BrowserUnavailable
from tests.support.captures import Capture, CaptureUnavailable, unpack
from tests.support.full_disk import NoDisk
from tests.support.spark import SparkUnavailable

_UNAVAILABLE = (EngineUnavailable, CaptureUnavailable, BrowserUnavailable, SparkUnavailable, NoDisk)
# The same examples in every run: a failure is of the change that is tested. ./run prove looks for new ones.
hypothesis.settings.register_profile("repeatable", derandomize=True)
if "DRYDOCK_TEST_LONG" not in os.environ:
    hypothesis.settings.load_profile("repeatable")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs root where there is none, and say so."""
    if os.geteuid() == 0:
        return
    for item in items:
        if item.get_closest_marker("root") or item.get_closest_marker("engine"):
            item.add_marker(pytest.mark.skip(reason="needs root"))


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


@pytest.fixture
def unpacked_anew(tmp_path: Path) -> Iterator[Callable[[Capture], Path]]:
    """Unpacks a capture for one test, which may change it."""
    yield lambda capture: unpack(capture, tmp_path)
    shutil.rmtree(tmp_path, ignore_errors=True)
