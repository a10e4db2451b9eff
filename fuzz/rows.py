"""The rows of a snapshotter's metadata.db: any bytes that open as bbolt give rows and findings, never an error."""

from __future__ import annotations

from collections.abc import Iterator

from fuzz.memory import NAME, held
from fuzz.stores import ROWS
from tests.support import boltwriter

from bbolt_reader import BoltError, Database
from drydock.evidence.containerd.rows import read_rows
from drydock.model.names import RawPath


def seeds() -> Iterator[bytes]:
    """A database with every kind of row."""
    for options in ({"free": 1}, {"freelist": False, "inline": False}):
        yield bytes(boltwriter.image(ROWS, **{"page_size": 1024, **options}).data)


def one(data: bytes) -> None:
    """Read, and look at what is said."""
    with held(data) as fd:
        try:
            database = Database.from_fd(fd, NAME)
        except BoltError:
            return
        with database:
            found = read_rows(database, RawPath(b"/" + NAME))
    assert all(finding.message.isprintable() for finding in found.findings)
    assert found.complete or found.findings, "incomplete, and nobody says why"
    if found.complete:
        numbers = [row.id for row in found.rows.values()]
        assert len(numbers) == len(set(numbers))
        assert all(row.id > 0 for row in found.rows.values())
