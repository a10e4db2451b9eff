"""What several tests of whole commands need."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator

import pytest
from tests.support.newest import SNAPSHOTTERS, Newest
from tests.support.undisturbed import Undisturbed


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Undisturbed]]:
    """Gives a capture's undisturbed run by the capture's name; each is made once."""
    made: dict[str, Undisturbed] = {}

    def give(name: str) -> Undisturbed:
        if name not in made:
            made[name] = Undisturbed(name, tmp_path_factory.mktemp("undisturbed"))
        return made[name]

    yield give
    for each in made.values():
        shutil.rmtree(each.host)


@pytest.fixture(scope="session", params=SNAPSHOTTERS)
def newest(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Newest:
    """The host of containerd 2.4 with one snapshotter; what no capture can hold is made once."""
    made = Newest(request.param, tmp_path_factory.mktemp(request.param))
    made.prepare()
    return made
