"""Data on disk, and the rows that tell which directory is which snapshot."""

import enum
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from struct import Struct
from typing import Final, NamedTuple

from drydock.model.findings import Finding
from drydock.model.names import WORKER_CONTENT, Digest, RawPath, UnixNano, blob_path
from drydock.model.records import Labels


class Fingerprint(NamedTuple):
    """The facts about a path that are compared again just before it is removed (docs/safety.md 3a)."""

    device: int
    inode: int
    mode: int
    size: int
    mtime_ns: int
    ctime_ns: int


_FACTS: Final = Struct("<QQLqqLqLq")
_AMOUNTS: Final = Struct("<20xq24xq")
"""Size and allocated bytes of them alone."""
FACTS: Final = _FACTS.size
_SECOND: Final = 1_000_000_000


def pack_facts(fingerprint: tuple[int, int, int, int, int, int], allocated: int) -> bytes:
    """The facts of a :class:`BlobFile`; all have the same length, :data:`FACTS`."""
    device, inode, mode, size, mtime, ctime = fingerprint
    return _FACTS.pack(
        device, inode, mode, size, mtime // _SECOND, mtime % _SECOND, ctime // _SECOND, ctime % _SECOND, allocated
    )


@dataclass(slots=True)
class BlobFile:
    """A file below ``blobs/<algorithm>/``. A host has hundreds of thousands: :class:`BlobFiles` has their facts."""

    digest: Digest
    facts: bytes
    """Its fingerprint and the bytes of its allocated blocks, from :func:`pack_facts`."""

    @classmethod
    def of(cls, digest: Digest, fingerprint: tuple[int, int, int, int, int, int], allocated: int) -> "BlobFile":
        """The file of a blob, from the fields of its :class:`Fingerprint` and the bytes of its allocated blocks."""
        return cls(digest, pack_facts(fingerprint, allocated))

    @property
    def path(self) -> RawPath:
        """Relative to the root."""
        return blob_path(self.digest)

    @property
    def size(self) -> int:
        """Bytes in it."""
        return int(_FACTS.unpack(self.facts)[3])

    @property
    def allocated(self) -> int:
        """Bytes of allocated blocks."""
        return int(_FACTS.unpack(self.facts)[-1])

    @property
    def fingerprint(self) -> Fingerprint:
        """The facts that are compared again before the file is removed."""
        device, inode, mode, size, mtime, mtime_rest, ctime, ctime_rest, _ = _FACTS.unpack(self.facts)
        return Fingerprint(device, inode, mode, size, mtime * _SECOND + mtime_rest, ctime * _SECOND + ctime_rest)


class WorkerBlobFile(BlobFile):
    """A file below ``blobs/<algorithm>/`` of a BuildKit worker, whose content store has another name."""

    __slots__ = ()

    @property
    def path(self) -> RawPath:
        """Relative to the root."""
        return blob_path(self.digest, WORKER_CONTENT)


class BlobFiles(Mapping[Digest, BlobFile]):
    """The files below ``blobs/`` by digest, each made when it is asked for.

    Attributes:
        digests: all digests in ascending order.
    """

    __slots__ = ("_facts", "_file", "digests")

    def __init__(self, digests: list[Digest], facts: bytes | bytearray, file: type[BlobFile] = BlobFile) -> None:
        """Make them of columns.

        Args:
            digests: in ascending order.
            facts: the packed facts of each, end to end.
            file: what is made of them.
        """
        self.digests = digests
        self._facts = facts
        self._file = file

    @classmethod
    def of(cls, files: Mapping[Digest, BlobFile]) -> "BlobFiles":
        """The same files."""
        if isinstance(files, cls):
            return files
        digests = sorted(files)
        kind = type(files[digests[0]]) if digests else BlobFile
        return cls(digests, b"".join([files[digest].facts for digest in digests]), kind)

    def __getitem__(self, digest: Digest) -> BlobFile:
        place = self.place(digest)
        if place is None:
            raise KeyError(digest)
        return self._file(digest, bytes(self._facts[place * FACTS : (place + 1) * FACTS]))

    def __iter__(self) -> Iterator[Digest]:
        return iter(self.digests)

    def __len__(self) -> int:
        return len(self.digests)

    def place(self, digest: Digest) -> int | None:
        """Where a digest is in :attr:`digests`; None if it has no file."""
        place = bisect_left(self.digests, digest)
        return place if place < len(self.digests) and self.digests[place] == digest else None

    def amount(self, place: int) -> tuple[int, int]:
        """Bytes in the file at a place, and bytes of allocated blocks."""
        size, allocated = _AMOUNTS.unpack_from(self._facts, place * FACTS)
        return size, allocated

    def amounts(self) -> "tuple[array[int], array[int]]":
        """Bytes in each file, and bytes of allocated blocks of each."""
        both = array("q", chain.from_iterable(_AMOUNTS.iter_unpack(self._facts)))
        return both[::2], both[1::2]


class Junk(NamedTuple):
    """An entry below ``blobs/`` whose name is not a digest: containerd's GC of content stops at such a name."""

    path: RawPath
    """Relative to the containerd root."""
    allocated: int
    """Bytes of allocated blocks."""
    fingerprint: Fingerprint


class IngestDirectory(NamedTuple):
    """An entry of ``ingest/``."""

    name: bytes
    path: RawPath
    """Relative to the containerd root."""
    backend_ref: bytes | None
    """Contents of its ``ref`` file; None if that is missing or cannot be read."""
    received: int
    """Bytes of its ``data`` file."""
    allocated: int
    """Bytes of allocated blocks of all its files."""
    total: int | None
    """Expected bytes, from its ``total`` file."""
    updated: UnixNano | None
    fingerprint: Fingerprint
    is_plain: bool = True
    """False if it is not a directory, or has files that containerd does not put there."""


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


class Occupancy(NamedTuple):
    """The space that the files of a snapshot take, counted as containerd counts it at commit.

    Its own folder counts, and an inode counts once (containerd continuity fs/du_unix.go diskUsage, v0.4).
    """

    inodes: int
    allocated: int
    """Bytes of allocated blocks."""
    most: int
    """Bytes of blocks that the same files take at most, with blocks of 4 KiB and without compression and holes."""


class SnapshotEntry(NamedTuple):
    """An entry of a snapshotter's ``snapshots/`` folder."""

    name: bytes
    path: RawPath
    """Relative to the containerd root."""
    id: int | None
    """The number that is its name, exactly as containerd writes it; None for any other name."""
    fingerprint: Fingerprint
    is_directory: bool
    allocated: int | None
    """Bytes of allocated blocks, each inode once; None if it was not measured."""
    occupied: Occupancy | None = None
    """The space that its row records; None if it was not measured, or only in part."""
    lacks_layer: bool = False
    """Whether it is a committed snapshot of erofs without a ``layer.erofs``."""


class LayoutKind(enum.Enum):
    """The layout of a snapshotter's folder."""

    OVERLAY = "overlay"
    """overlayfs and fuse-overlayfs: ``snapshots/<id>/{fs,work}``."""
    NATIVE = "native"
    """``snapshots/<id>/`` is a full copy; a view has a row and no directory."""
    EROFS = "erofs"
    """``snapshots/<id>/{fs,work,.erofslayer}``, and ``layer.erofs`` once it is committed."""
    FOREIGN = "foreign"
    """Not understood: drydock may read the rows; it reports the directories and never touches them."""

    @classmethod
    def of(cls, snapshotter: bytes) -> "LayoutKind":
        """How far the layout of a snapshotter's folder is understood."""
        return _LAYOUTS.get(snapshotter, cls.FOREIGN)


_LAYOUTS = {
    b"overlayfs": LayoutKind.OVERLAY,
    b"fuse-overlayfs": LayoutKind.OVERLAY,
    b"native": LayoutKind.NATIVE,
    b"erofs": LayoutKind.EROFS,
}


@dataclass(slots=True)
class Backend:
    """One snapshotter below a containerd root: its rows and its directories."""

    name: bytes
    path: RawPath
    """Relative to the containerd root."""
    layout: LayoutKind
    rows: dict[bytes, Row] = field(default_factory=dict)
    sequence: int | None = None
    """The last id that was assigned; None if metadata.db has no ``v1/snapshots`` yet."""
    entries: list[SnapshotEntry] = field(default_factory=list)
    newest: UnixNano | None = None
    findings: list[Finding] = field(default_factory=list)
    complete: bool = True
    """False if not all rows and directories could be read: no directory of this snapshotter may be removed then."""
    links: dict[bytes, bytes] = field(default_factory=dict)
    """The entries of ``v1/parents``: names of children, by the ids of parent and child as they are written there."""


@dataclass(slots=True)
class Content:
    """The content store's files."""

    blobs: Mapping[Digest, BlobFile] = field(default_factory=dict)
    ingests: list[IngestDirectory] = field(default_factory=list)
    junk: list[Junk] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    complete: bool = True
