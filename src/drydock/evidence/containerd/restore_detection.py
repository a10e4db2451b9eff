"""A meta.db that is older than a metadata.db: rows whose numbers it never gave out."""

from __future__ import annotations

from collections.abc import Iterator

from drydock.model.findings import Finding, Place, Severity
from drydock.model.names import row_number, split_row_name
from drydock.model.store import Store
from drydock.model.text import shown

REMEDY = "if there is a newer meta.db and metadata.db, put both back before anything is removed or started"
"""What to do where one database is older than the other, or than the data."""


def note_older(store: Store) -> Iterator[Finding]:
    """One note for each namespace and snapshotter with rows from after this meta.db was copied.

    The number in a row's name is the next of the bucket that has the namespace's snapshots (containerd
    core/metadata/snapshot.go createSnapshot, v2.1). The engine drops rows that no record names. Commit there has the
    snapshotter write its row inside the transaction of meta.db that gives out the number: what ends it in between
    leaves one row with the next number, and no older database.
    """
    metadata = store.metadata
    if not metadata.complete:
        return
    for snapshotter, backend in store.backends.items():
        newer: dict[bytes, int] = {}
        for name in backend.rows:
            namespace = split_row_name(name)[0]
            last = metadata.sequences.get((namespace, snapshotter), 0)
            if last and row_number(name) > last + 1:
                newer[namespace] = newer.get(namespace, 0) + 1
        for namespace, count in newer.items():
            message = (
                f"{shown(snapshotter)}: meta.db never gave out the numbers of {count} rows of namespace "
                f"{shown(namespace)}: it is older than metadata.db, and what containers wrote may be in them"
            )
            yield Finding("older-database", Severity.NOTE, message, Place(metadata.path), shown(snapshotter), REMEDY)
