"""What many tests need: captures, unpacked."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.support.captures import Capture, CaptureUnavailable, unpack


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs root where there is none, and say so."""
    if os.geteuid() == 0:
        return
    for item in items:
        if item.get_closest_marker("root") or item.get_closest_marker("engine"):
            item.add_marker(pytest.mark.skip(reason="needs root"))


@pytest.fixture(scope="session")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Capture], Path]]:
    """Unpacks a capture once a session, for tests that only read it."""
    done: dict[str, Path] = {}

    def give(capture: Capture) -> Path:
        if capture.name not in done:
            done[capture.name] = _unpack(capture, tmp_path_factory.mktemp(capture.name))
        return done[capture.name]

    yield give
    for path in done.values():
        shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def unpacked_anew(tmp_path: Path) -> Iterator[Callable[[Capture], Path]]:
    """Unpacks a capture for one test, which may change it."""
    yield lambda capture: _unpack(capture, tmp_path)
    shutil.rmtree(tmp_path, ignore_errors=True)


def _unpack(capture: Capture, directory: Path) -> Path:
    try:
        return unpack(capture, directory)
    except CaptureUnavailable as error:
        pytest.skip(str(error))
