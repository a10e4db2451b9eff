"""A host that was read once, as browse reads it."""

from __future__ import annotations

import os

import pytest
from tests.support.captures import capture

from drydock.browse.deeds import Place
from drydock.model.access import Access
from drydock.model.policies import SizeSource
from drydock.model.times import parse_time

NAME = "docker-29-interrupted"


def place_of(of, host, **more):
    """A place as the command makes it."""
    now = parse_time(of.taken_at.encode())
    return Place(os.fsencode(host), Access(measure=SizeSource.DISK, now=now, **more))


def ignore(*_):
    """Progress that nobody looks at."""


@pytest.fixture(scope="session")
def host(unpacked):
    """A capture, for tests that only read it."""
    return unpacked(capture(NAME))


@pytest.fixture(scope="session")
def view(host):
    """The capture as browse reads it."""
    return place_of(capture(NAME), host).read(ignore)
