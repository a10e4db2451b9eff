"""The records of meta.db: any bytes that open as bbolt give records and findings, never an error.

What is read of many records at once is what is read of them field by field.
"""

from __future__ import annotations

from collections.abc import Iterator
from unittest.mock import patch

from fuzz.memory import NAME, held
from fuzz.stores import METADATA
from tests.support import boltwriter
from tests.support.gowriting import go_time, varint

from bbolt_reader import BoltError, Bucket, Database
from drydock.evidence.containerd.content_records import UsualBlobs
from drydock.evidence.containerd.metadata import read_metadata
from drydock.model.names import RawPath

_MOST = 60_000
"""Findings; each kind is told a thousand times, and a last time."""


_MOMENTS = {b"createdat": go_time(7), b"updatedat": go_time(7)}
_DIGESTS = [b"sha256:%064x" % number for number in range(12)]
_ALIKE = {
    b"v1": {
        b"version": b"\x06",
        b"ns": {
            b"images": {
                b"i%d" % number: {**_MOMENTS, b"target": {b"digest": digest, b"mediatype": b"m", b"size": varint(5)}}
                for number, digest in enumerate(_DIGESTS[:4])
            },
            b"content": {
                b"blob": {digest: {**_MOMENTS, b"size": varint(5)} for digest in _DIGESTS[4:]}
                | {
                    digest: {**_MOMENTS, b"size": varint(5), b"labels": {b"containerd.io/gc.ref.content.l.0": layer}}
                    for digest, layer in zip(_DIGESTS[:4], _DIGESTS[4:], strict=False)
                }
            },
        },
    }
}


def seeds() -> Iterator[bytes]:
    """A database with every kind of record, and one with several of the kinds that come in thousands."""
    yield bytes(boltwriter.image(_ALIKE, page_size=1024).data)
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
        with (
            Database.from_fd(fd, NAME) as database,
            patch.object(Bucket, "formed", lambda _: None),
            patch.object(UsualBlobs, "take_apart", lambda *_: None),
        ):
            one_by_one = read_metadata(database, RawPath(b"/" + NAME))
    for each in (found, one_by_one):  # a page that cannot be read is told before the records in front of it are added
        each.findings.sort(key=str)
    assert one_by_one == found
    assert len(found.findings) <= _MOST
    assert all(finding.message.isprintable() for finding in found.findings)
    assert found.complete or found.findings, "incomplete, and nobody says why"
