"""What databases name, as paths below the root: a blob, a snapshot's directory, a row as ``…/metadata.db/NAME``."""

from __future__ import annotations

from bbolt_reader import Database
from drydock.evidence.rows import Rows, read_rows
from drydock.evidence.snapshots import DATABASE, PREFIX, SNAPSHOTS
from drydock.evidence.store import File
from drydock.model.names import Digest, RawPath, blob_path
from drydock.model.records import Metadata


def row_path(snapshotter: bytes, name: bytes) -> RawPath:
    """A row, whose name may be any."""
    return RawPath(b"%s%s/%s/%s" % (PREFIX, snapshotter, DATABASE, name))


def directory_path(snapshotter: bytes, number: int) -> RawPath:
    """A snapshot's directory."""
    return RawPath(b"%s%s/%s/%d" % (PREFIX, snapshotter, SNAPSHOTS, number))


def rows_of(file: File, database: Database | None) -> Rows:
    """The rows of a metadata.db, as it is or was; none where it cannot be opened."""
    return Rows() if database is None else read_rows(database, file.path)


def row_paths(snapshotter: bytes, rows: Rows) -> set[RawPath]:
    """Each row."""
    return {row_path(snapshotter, name) for name in rows.rows}


def directories(snapshotter: bytes, rows: Rows) -> set[RawPath]:
    """The directory of each row."""
    return {directory_path(snapshotter, row.id) for row in rows.rows.values()}


def recorded(metadata: Metadata) -> set[RawPath]:
    """The blobs and the rows that records name."""
    return {blob_path(Digest(blob.ref.key)) for blob in metadata.blobs} | {
        row_path(snapshot.snapshotter, snapshot.name) for snapshot in metadata.snapshots
    }
