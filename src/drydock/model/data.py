"""What lies on disk, and the rows that say which directory is which snapshot."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import NamedTuple

from drydock.model.findings import Finding
from drydock.model.names import Digest, RawPath, UnixNano
from drydock.model.records import Labels


class Fingerprint(NamedTuple):
    """What must still hold about a path for a cut to be safe (design, safety 3)."""

    device: int
    inode: int
    mode: int
    size: int
    mtime_ns: int
    ctime_ns: int


class BlobClass(enum.Enum):
    """What an entry below ``blobs/`` is."""

    BLOB = "blob"
    JUNK = "junk"
    """Not named by a digest: one such name stops containerd's own content collection."""


class BlobFile(NamedTuple):
    """A file below ``blobs/<algorithm>/``."""

    digest: Digest
    path: RawPath
    """Relative to the containerd root."""
    size: int
    allocated: int
    """Bytes of allocated blocks."""
    fingerprint: Fingerprint
    kind: BlobClass = BlobClass.BLOB


class IngestDirectory(NamedTuple):
    """An entry of ``ingest/``."""

    name: bytes
    path: RawPath
    """Relative to the containerd root."""
    backend_ref: bytes | None
    """Contents of its ``ref`` file; None where that is missing or cannot be read."""
    received: int
    """Bytes of its ``data`` file."""
    allocated: int
    """Bytes of allocated blocks of all its files."""
    total: int | None
    """Expected bytes, from its ``total`` file."""
    updated: UnixNano | None
    fingerprint: Fingerprint
    is_plain: bool = True
    """False where it is not a directory, or holds what containerd does not put there."""


class RowKind(enum.IntEnum):
    """Kinds of a snapshotter's rows (containerd core/snapshots/snapshotter.go, v2.1)."""

    UNKNOWN = 0
    VIEW = 1
    ACTIVE = 2
    COMMITTED = 3


class Row(NamedTuple):
    """A row of a snapshotter's metadata.db."""

    name: bytes
    id: int
    kind: RowKind
    parent: bytes
    """Name of the parent row; empty if none."""
    size: int | None
    """Bytes in its directory when it was committed, parents not counted; None until then."""
    inodes: int | None
    labels: Labels
    created: UnixNano | None = None
    updated: UnixNano | None = None


class SnapshotEntry(NamedTuple):
    """An entry of a snapshotter's ``snapshots/`` folder."""

    name: bytes
    path: RawPath
    """Relative to the containerd root."""
    id: int | None
    """The number its name spells, exactly as containerd would write it; None for any other name."""
    fingerprint: Fingerprint
    is_directory: bool
    allocated: int | None
    """Bytes of allocated blocks, each inode once; None where it was not measured."""


class LayoutKind(enum.Enum):
    """How far the layout of a snapshotter's folder is understood."""

    OVERLAY = "overlay"
    """overlayfs and fuse-overlayfs: ``snapshots/<id>/{fs,work}``."""
    NATIVE = "native"
    """``snapshots/<id>/`` is a full copy; a view has a row and no directory."""
    FOREIGN = "foreign"
    """Rows may be readable; directories are reported and never touched."""


@dataclass(slots=True)
class Backend:
    """One snapshotter below a containerd root: its rows and its directories."""

    name: bytes
    path: RawPath
    """Relative to the containerd root."""
    layout: LayoutKind
    rows: dict[bytes, Row] = field(default_factory=dict)
    sequence: int | None = None
    """The id allocator; None where metadata.db has no ``v1/snapshots`` yet."""
    entries: list[SnapshotEntry] = field(default_factory=list)
    newest: UnixNano | None = None
    findings: list[Finding] = field(default_factory=list)
    complete: bool = True
    """False when rows or directories could not all be read: then no directory of this snapshotter may be removed."""


@dataclass(slots=True)
class Content:
    """The content store's files."""

    blobs: dict[Digest, BlobFile] = field(default_factory=dict)
    ingests: list[IngestDirectory] = field(default_factory=list)
    junk: list[BlobFile] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    complete: bool = True
