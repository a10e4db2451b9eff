"""Small stores as values, for tests of what is pure."""

from __future__ import annotations

from drydock.model.data import BlobFile, Content, Fingerprint
from drydock.model.names import Digest, Kind, RawPath, Ref, UnixNano
from drydock.model.policies import BlobCheck, SizeSource
from drydock.model.records import Blob, Image, Lease, Metadata, Snapshot
from drydock.model.roots import Engine, Owners, Root
from drydock.model.store import Store

NOW = UnixNano(1_800_000_000 * 10**9)
FINGERPRINT = Fingerprint(1, 2, 0o100444, 3, 4, 5)
NS = b"moby"
EDIT_NUMBERS = {
    "txid_before": 1,
    "txid_after": 2,
    "root_before": 3,
    "sequence_before": 2**64 - 1,
    "root_after": 4,
    "sequence_after": 0,
    "hwm_before": 5,
    "hwm_after": 6,
    "pages_written": 7,
    "grew_by": 0,
}
"""What a journal says of an edit."""


def digest(number: int) -> Digest:
    """The ``number``-th made-up digest."""
    return Digest(b"sha256:" + f"{number:064x}".encode())


def image(target: Digest, *, name: bytes = b"docker.io/library/x:1", labels=None, namespace: bytes = NS) -> Image:
    """An image record."""
    return Image(namespace, name, target, b"application/vnd.oci.image.manifest.v1+json", 3, labels or {})


def blob(of: Digest, labels=None, *, size: int = 3, namespace: bytes = NS) -> Blob:
    """A blob record."""
    return Blob(Ref(Kind.BLOB, namespace, of), size, labels or {})


def snapshot(key: bytes, parent: bytes = b"", labels=None, *, namespace: bytes = NS, snapshotter=b"overlayfs"):
    """A snapshot record."""
    return Snapshot(namespace, snapshotter, key, namespace + b"/1/" + key, parent, (), labels or {})


def lease(name: bytes, labels=None, *, namespace: bytes = NS, created=None, **holds) -> Lease:
    """A lease record; ``holds``: blobs, ingests, images, snapshots."""
    return Lease(
        namespace,
        name,
        labels or {},
        tuple(holds.get("blobs", ())),
        tuple(holds.get("ingests", ())),
        tuple(holds.get("images", ())),
        tuple((b"overlayfs", key) for key in holds.get("snapshots", ())),
        created,
    )


def store(*records, files=(), owners: Owners | None = None, backends=None, complete: bool = True) -> Store:
    """A store of records and blob files."""
    metadata = Metadata(RawPath(b"/store/meta.db"), 4, complete=complete)
    lists = {
        "Image": metadata.images,
        "Container": metadata.containers,
        "Blob": metadata.blobs,
        "Ingest": metadata.ingests,
        "Snapshot": metadata.snapshots,
        "Sandbox": metadata.sandboxes,
        "Lease": metadata.leases,
    }
    for record in records:
        lists[type(record).__name__].append(record)
        metadata.namespaces.setdefault(record.namespace, {})
    content = Content()
    for of in files:
        content.blobs[of] = BlobFile.of(of, FINGERPRINT, 4096)
    root = Root(RawPath(b"/store"), Engine.CONTAINERD)
    return Store(root, metadata, content, backends or {}, owners or Owners(), SizeSource.RECORDED, BlobCheck.SIZE)
