"""Committed snapshots whose files differ much from their recorded size, because a power cut emptied or removed files.

containerd counts the inodes of a snapshot and their allocated blocks when it commits it (core/snapshots/storage/bolt.go
CommitActive, plugins/snapshots/overlay/overlay.go, native/native.go Commit, v2.1; continuity fs/du_unix.go), and
nothing writes to it afterwards. The number of inodes is the same on every file system. The blocks are not: a file
system may compress, keep small files in their inodes, or count blocks that are not written yet, and XFS counts blocks
that it allocates ahead (fs/xfs/xfs_iomap.c xfs_iomap_prealloc_size: about as many as a file has). So bytes count as
lost if the row records more than twice the bytes that these files take at most on blocks of 4 KiB.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from drydock.model import messages
from drydock.model.data import Occupancy, Row, RowKind, SnapshotEntry
from drydock.model.findings import Finding, Place, Severity
from drydock.model.names import RawPath
from drydock.model.objects import ObjectKind, State, StoreObject
from drydock.model.store import Store

_FAR = 2
_COUNTED = 2048
"""Bytes for each inode. If fewer were recorded, the file system counts blocks late (ZFS): more bytes show nothing."""


def find_far_sizes(store: Store, objects: Iterable[StoreObject]) -> Iterator[Finding]:
    """Findings about the snapshots that were measured."""
    for found in objects:
        if isinstance(found.disk, SnapshotEntry) and found.disk.occupied is not None:
            finding = far_size(store, found, found.disk.occupied)
            if finding is not None:
                yield finding


def far_size(store: Store, found: StoreObject, occupied: Occupancy) -> Finding | None:
    """The finding about one snapshot; None if its size is close to the recorded one, or none was recorded.

    Args:
        store: the root.
        found: a snapshot.
        occupied: inodes and bytes of its files.
    """
    row = recorded_row(store, found)
    if row is None or row.size is None or row.inodes is None or found.path is None:
        return None
    place = Place(RawPath(store.root.path.rstrip(b"/") + b"/" + found.path))
    fewer_files, fewer_bytes = occupied.inodes < row.inodes, row.size > _FAR * occupied.most
    more_files = occupied.inodes > row.inodes
    more_bytes = occupied.allocated > _FAR * row.size and row.size >= _COUNTED * row.inodes
    if fewer_files or (more_files and not fewer_bytes):
        text = messages.SNAPSHOT_FILES(snapshot=found.id, found=occupied.inodes, recorded=row.inodes)
    elif fewer_bytes or more_bytes:
        text = messages.SNAPSHOT_BYTES(snapshot=found.id, found=occupied.allocated, recorded=row.size)
    else:
        return None
    if not (fewer_files or fewer_bytes) or found.reach in (None, State.UNREACHABLE):
        return text.at(place, found.id, severity=Severity.NOTE, remedy="")
    return text.at(place, found.id, severity=Severity.DAMAGE)


def recorded_row(store: Store, found: StoreObject) -> Row | None:
    """The row of a committed snapshot with a recorded size and number of inodes; None for everything else."""
    if found.kind is not ObjectKind.SNAPSHOT or found.row is None or found.path is None:
        return None
    row = store.backends[found.snapshotter].rows[found.row]
    return row if row.kind is RowKind.COMMITTED and row.size is not None and row.inodes is not None else None
