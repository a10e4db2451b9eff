"""What a database named before an edit and does not name now, and whether it is still there: for an undo."""

from __future__ import annotations

import os
from collections.abc import Iterable

from bbolt_reader import BoltError, Database
from drydock.evidence.metadata import read_metadata
from drydock.evidence.rows import read_rows
from drydock.evidence.snapshots import PREFIX, SNAPSHOTS
from drydock.evidence.store import File
from drydock.model.data import RowKind
from drydock.model.names import Digest, RawPath, blob_path
from drydock.model.text import shown, unshown
from drydock.reclaim.journal import Entry, Journal


def find_gone(journal: Journal, edits: Iterable[tuple[Entry, File]]) -> str:
    """Why a killed run's edits cannot be taken back: the first thing that is gone and whose record would come back.

    What such a run let go of and did not come to write down, a later one may have removed as nobody's, whatever state
    directory it had. The journal cannot tell; the copies made before the edits can.

    Args:
        journal: of the run.
        edits: its edits that still stand, each with its database.

    Returns:
        One shown line; empty where all is there, or will be moved back.
    """
    moved = {entry.path for entry in journal.entries if entry.removal is not None}
    for entry, file in edits:
        copy = RawPath(unshown(str(entry.fields.get("backup", ""))))
        try:
            with Database.open(copy) as backup:
                before = _named(backup, entry.path)
            now = set() if file.database is None else _named(file.database, entry.path)
        except BoltError as error:
            return f"what its former records name is not known: {error}"
        root = file.path[: -len(_below(file.path))]
        for path in sorted(before - now - moved):
            if not os.path.lexists(root + path):
                return f"{shown(path)}, which its former records name, is gone"
    return ""


def _below(path: RawPath) -> bytes:
    return b"/".join(path.split(b"/")[-2:])


def _named(database: Database, path: RawPath) -> set[RawPath]:
    """The blobs or directories that a database names, below the root. Not ingests: one without data is begun anew."""
    folder = _below(path).partition(b"/")[0]
    if folder.startswith(PREFIX):
        return {
            RawPath(b"%s/%s/%d" % (folder, SNAPSHOTS, row.id))
            for row in read_rows(database, path).rows.values()
            # A view of the native snapshotter is its parent's directory.
            if row.kind is not RowKind.VIEW
        }
    return {blob_path(Digest(blob.ref.key)) for blob in read_metadata(database, path).blobs}
