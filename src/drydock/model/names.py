"""Names as the engine writes them. They are bytes until shown: a container's files and an image can have any name."""

import enum
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple, NewType

RawPath = NewType("RawPath", bytes)
"""A Linux path: bytes without NUL. Absolute unless a docstring says what it is relative to."""

Digest = NewType("Digest", bytes)
"""``algorithm:hex``, as records store it; a damaged database may have a malformed one."""

UnixNano = NewType("UnixNano", int)
"""Nanoseconds since 1970-01-01T00:00:00Z."""

CONTENT = b"io.containerd.content.v1.content"
"""The content store's folder in a containerd root."""

SNAPSHOTTER_PREFIX = b"io.containerd.snapshotter.v1."
"""The beginning of the name of a snapshotter's folder in a containerd root; the snapshotter's name follows."""

WORKER_CONTENT = b"content"
"""The content store's folder in the root of a BuildKit worker (buildkit worker/runc/runc.go NewWorkerOpt, v0.34)."""

WORKER_SNAPSHOTS = b"snapshots"
"""The folder of its only snapshotter there (the same)."""

SNAPSHOTS = b"snapshots"
"""The folder of the directories of snapshots, in the folder of most snapshotters."""

LEFT_BY_RESTORE = b"rm-drydock-"
"""The beginning of the name of a directory that drydock makes beside the snapshots while it unpacks a layer again."""

EXTRACTING = b"extract-"
"""The beginning of the key of a snapshot while a layer is unpacked to it (containerd core/unpack/unpacker.go, v2.1)."""

DIGEST = re.compile(rb"(?:sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128})\Z")
"""The pattern of :func:`is_digest`, for code that would call that function for very many names."""
_SHA256 = 71
"""Bytes of nearly every digest."""
_HEX = b"0123456789abcdef"

DANGLING = b"moby-dangling@"
"""The beginning of the name of an image's record in Docker's image store that has no name of a user (moby
daemon/containerd/image_delete.go danglingImageName, v28.5); the digest of its target follows."""

_NODE = re.compile(rb"([a-zA-Z0-9][a-zA-Z0-9_.-]*)[0-9]")
_CONTAINER_ID = re.compile(rb"[0-9a-f]{64}\Z")

_DIGITS = 20
"""The number of digits of the largest 64-bit number; Python refuses to parse thousands of digits."""


class Kind(enum.Enum):
    """The kinds of records, and of what they name."""

    IMAGE = "image"
    CONTAINER = "container"
    BLOB = "blob"
    INGEST = "ingest"
    SNAPSHOT = "snapshot"
    LEASE = "lease"
    SANDBOX = "sandbox"
    # Of Docker's classic layer store, in no namespace.
    LAYER = "layer"
    LAYER_REST = "layer-rest"
    LAYER_MOUNT = "layer-mount"
    LAYER_DIRECTORY = "layer-directory"
    LAYER_LINK = "layer-link"
    PLUGIN = "plugin"

    # Members are singletons: identity hashing spares a Python call per dictionary look-up in the mark pass.
    __hash__ = object.__hash__


class Ref(NamedTuple):
    """One recorded thing: its kind, the namespace that records it, and its key there.

    A snapshot's key is ``<snapshotter>/<key>``, cut at the first slash, as containerd's GC forms it (containerd
    core/metadata/gc.go, v2.1).
    """

    kind: Kind
    namespace: bytes
    key: bytes


def is_within(path: bytes, top: bytes) -> bool:
    """Whether an absolute path is another, or lies below it."""
    return (path + b"/").startswith(top.rstrip(b"/") + b"/")


def is_digest(name: bytes) -> bool:
    """Whether ``name`` is a digest of an algorithm containerd's content store accepts (go-digest: sha256, 384, 512)."""
    return DIGEST.match(name) is not None


def are_digests(raws: Sequence[bytes]) -> bool:
    """Whether all of these are digests, as :func:`is_digest` has it; together if all are by SHA-256."""
    if set(map(len, raws)) != {_SHA256}:
        return all(map(DIGEST.match, raws))
    # A pattern takes three times as long. Each has one colon, in its place, and it is the end of one "sha256:".
    joined = b"".join(raws)
    return (
        joined[len(b"sha256") :: _SHA256] == b":" * len(raws)
        and joined.count(b"sha256:") == len(raws)
        and not joined.replace(b"sha256:", b"").translate(None, _HEX)
    )


def builder_of(node: bytes) -> bytes | None:
    """The builder of buildx that a node is of, whose name is the builder's and a digit; None if it is no such name.

    Source: buildx store/nodegroup.go, v0.20.
    """
    found = _NODE.fullmatch(node)
    return None if found is None else found[1]


def is_container_id(name: bytes) -> bool:
    """Whether ``name`` has the form of the container ids of dockerd and CRI (moby pkg/stringid/stringid.go, v28.5)."""
    return _CONTAINER_ID.match(name) is not None


def blob_path(digest: Digest, content: bytes = CONTENT) -> RawPath:
    """Where a blob lies, relative to the root (containerd plugins/content/local/store.go blobPath, v2.1).

    Args:
        digest: the blob's.
        content: the content store's folder in the root.
    """
    return RawPath(b"/".join((content, b"blobs", *digest.split(b":", 1))))


def ingest_name(backend_ref: bytes) -> bytes:
    """The name of an ingest's folder below ``ingest/`` (containerd plugins/content/local/store.go ingestRoot, v2.1)."""
    return hash_hex(backend_ref)


def hash_hex(data: bytes, algorithm: str = "sha256") -> bytes:
    """The hash of some bytes, in hexadecimal digits.

    Raises:
        ValueError: Python does not have the algorithm.
    """
    from hashlib import new  # noqa: PLC0415 - it loads OpenSSL, and many stores have nothing to hash

    return new(algorithm, data).hexdigest().encode()


def snapshot_ref(namespace: bytes, snapshotter: bytes, key: bytes) -> Ref:
    """The reference of a snapshot record."""
    return Ref(Kind.SNAPSHOT, namespace, snapshotter + b"/" + key)


def split_snapshot_key(key: bytes) -> tuple[bytes, bytes]:
    """``<snapshotter>/<key>`` cut at the first slash."""
    snapshotter, _, rest = key.partition(b"/")
    return snapshotter, rest


def split_row_name(row: bytes) -> tuple[bytes, bytes, bytes]:
    """The parts of a row's name, ``<namespace>/<number>/<key>``; a missing part is empty.

    Source: containerd core/metadata/snapshot.go createKey (v2.1).
    """
    namespace, _, rest = row.partition(b"/")
    number, _, key = rest.partition(b"/")
    return namespace, number, key


def row_number(row: bytes) -> int:
    """The number in a row's name; 0 if it has none, or one that is larger than any counter can be."""
    digits = split_row_name(row)[1]
    return int(digits) if digits.isdigit() and len(digits) < _DIGITS else 0


def image_names(word: bytes) -> Iterator[bytes]:
    """The full names that Docker expands a short one to (distribution/reference, ParseNormalizedNamed)."""
    name, _, tag = word.rpartition(b"/")[2].partition(b":")
    if not name or b"@" in word:
        return
    tagged = word if tag else word + b":latest"
    yield tagged
    first, slash, _ = tagged.partition(b"/")
    if not slash:
        yield b"docker.io/library/" + tagged
    elif b"." not in first and b":" not in first and first != b"localhost":
        yield b"docker.io/" + tagged


def names_asked(asked: bytes) -> set[bytes]:
    """The names of records that dockerd looks for if a container was created from this name."""
    tagged = asked.partition(b"@")[0]
    return {asked, *image_names(asked), tagged, *image_names(tagged)}
