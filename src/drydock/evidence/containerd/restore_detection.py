"""A database that is older than another one, or than the data, because only this database was restored from a backup.

containerd drops rows that no record names, and frees directories that no row names. So what containers wrote after the
backup would be lost at its next start.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from drydock.evidence.containerd.rows import DATABASE
from drydock.model import messages
from drydock.model.data import Backend, LayoutKind
from drydock.model.findings import Finding, Place
from drydock.model.names import RawPath, row_number, split_row_name
from drydock.model.store import Store


def note_older_metadata(store: Store) -> Iterator[Finding]:
    """One note for each namespace and snapshotter with rows whose numbers meta.db never gave out.

    The number in a row's name is the next of the bucket that has the namespace's snapshots (containerd
    core/metadata/snapshot.go createSnapshot, v2.1). Commit there has the snapshotter write its row inside the
    transaction of meta.db that gives out the number: a crash in between leaves one row with the next number, and no
    older database.
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
            text = messages.OLDER_METADATA(snapshotter=snapshotter, count=count, namespace=namespace)
            yield text.at(Place(metadata.path), snapshotter)


def note_older_rows(root: RawPath, backend: Backend) -> Iterator[Finding]:
    """A note where directories have numbers that the snapshotter's metadata.db never gave out.

    Args:
        root: absolute path of the containerd root.
        backend: the snapshotter, with its rows and directories.
    """
    if backend.sequence is None or backend.layout is LayoutKind.FOREIGN:
        return
    # A crash while a snapshot is made leaves a directory with the next number (overlay.go createSnapshot, v2.1).
    newer = [entry.id for entry in backend.entries if entry.id is not None and entry.id > backend.sequence + 1]
    if newer:
        text = messages.OLDER_ROWS(snapshotter=backend.name, last=backend.sequence, count=len(newer))
        yield text.at(Place(RawPath(os.path.join(root, backend.path, DATABASE))), backend.name)
