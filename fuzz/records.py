"""The records of meta.db: any bytes that open as bbolt give records and findings, never an error."""

from __future__ import annotations

from collections.abc import Iterator

from fuzz.memory import NAME, held
from fuzz.stores import METADATA
from tests.support import boltwriter

from bbolt_reader import BoltError, Database
from drydock.evidence.containerd.metadata import read_metadata
from drydock.model.names import RawPath

_MOST = 60_000
"""Findings; each kind is told a thousand times, and a last time."""


def seeds() -> Iterator[bytes]:
    """A database with every kind of record."""
    for options in ({}, {"freelist": False, "inline": False}):
        yield bytes(boltwriter.image(METADATA, **{"page_size": 1024, **options}).data)


def one(data: bytes) -> None:
    """Read, and look at what is said."""
    with held(data) as fd:
        try:
            database = Database.from_fd(fd, NAME)
        except BoltError:
            return
        with database:
            found = read_metadata(database, RawPath(b"/" + NAME))
    assert len(found.findings) <= _MOST
    assert all(finding.message.isprintable() for finding in found.findings)
    assert found.complete or found.findings, "incomplete, and nobody says why"
