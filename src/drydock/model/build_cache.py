"""BuildKit's cache records, as its metadata_v2.db has them."""

from dataclasses import dataclass, field
from typing import NamedTuple

from drydock.model.names import RawPath, UnixNano


class CacheRecord(NamedTuple):
    """One cache record (buildkit cache/metadata.go, v0.12 to v0.34)."""

    id: bytes
    deleted: bool
    """Whether its removal has begun."""
    committed: bool
    """Whether its data is final. If not, and it is neither a merge nor a diff, it is mutable."""
    size: int | None
    """Bytes that it takes, as recorded; None if they are not known."""
    snapshot: bytes
    """Key of its snapshot."""
    retain: bool
    """Whether it stays when nothing uses it (cache mounts, sources)."""
    equal_mutable: bytes
    """The mutable record whose snapshot its data still is; empty if it has a snapshot of its own."""
    parent: bytes
    """The record below it; empty if none, or if it is a merge or a diff."""
    joined: tuple[bytes, ...]
    """The records that a merge or a diff is made of."""
    blob: bytes
    """Digest of its layer; empty if none is known."""
    blob_only: bool
    """Whether its layer is not unpacked yet."""
    kind: bytes = b""
    """Its type; empty for a regular one."""
    is_diff: bool = False
    """Whether it is the difference of the records that it is made of, and no merge of them."""
    last_used: UnixNano | None = None
    """When it was used last; None if it never was."""
    is_marked: bool = False
    """Whether it has the field that says whether it is deleted, whatever that says."""

    @property
    def parents(self) -> tuple[bytes, ...]:
        """The records that it needs."""
        return (self.parent,) if self.parent else self.joined

    @property
    def is_mutable(self) -> bool:
        """Whether its data may change."""
        return not self.committed and (bool(self.parent) or not self.joined)


@dataclass(slots=True)
class BuildCache:
    """The records of one worker's metadata_v2.db."""

    path: RawPath
    """Absolute path of the database."""
    snapshotter: bytes
    """The snapshotter of the worker."""
    is_dockers: bool
    """Whether it is the BuildKit in dockerd; if not, that of a buildkitd."""
    records: dict[bytes, CacheRecord] = field(default_factory=dict)
    shared: frozenset[bytes] = frozenset()
    """The ids of records whose layers an image has too, in dockerd's classic store; only where they are to be pruned.
    In the image store the layers of the images tell it."""
    is_clear: bool = True
    """False if a value has a form that BuildKit does not write: what BuildKit makes of it is not known."""
