"""Leases: their classes, and what is known of each."""

import enum
from typing import NamedTuple

from drydock.model.names import RawPath, Ref, UnixNano
from drydock.model.text import shown
from drydock.model.times import show_known


class LeaseClass(enum.Enum):
    """The classes of leases (docs/what-fills-my-disk.md); the value is what documents show."""

    EXPIRED = "expired"
    """Past its expiry: it holds nothing any more, and containerd's next GC drops it."""
    DROPPED = "dropped"
    """BuildKit itself drops its cache record, and the lease: it holds nothing either."""
    TEMPORARY = "temporary"
    """Ends by itself, or its maker marked it as temporary: a pull, a push, a build step."""
    CONTAINER = "container"
    BUILD_CACHE = "build-cache"
    BUILD_HISTORY = "build-history"
    IMAGE = "image"
    """An image of Docker's graphdriver mode."""
    OWNERLESS = "ownerless"
    """The records of its owner's kind could be read, and do not have the owner."""
    UNKNOWN = "unknown"
    """Its owner is not known: it is kept."""

    @property
    def is_owned(self) -> bool:
        """Whether the owner exists and the lease does not end by itself: what it holds is live."""
        return self in _OWNED

    @property
    def holds_nothing(self) -> bool:
        """Whether an engine itself ends the lease the next time that it can: what it lists is not kept by it."""
        return self in (LeaseClass.EXPIRED, LeaseClass.DROPPED)


_OWNED = frozenset((LeaseClass.CONTAINER, LeaseClass.BUILD_CACHE, LeaseClass.BUILD_HISTORY, LeaseClass.IMAGE))


class Holding(NamedTuple):
    """One lease, and what is known of it."""

    ref: Ref
    kind: LeaseClass
    reason: str
    """Why it is of this class; one shown line."""
    owner: str | None
    """Shown name of its owner; None if none is known."""
    created: UnixNano | None
    expires: UnixNano | None
    """When it ends by itself; None for never."""
    resources: int
    """How many blobs, ingests, snapshots and images it names."""
    only: int
    """Bytes that only this lease holds, and that are freed if it alone ends."""
    is_pruned: bool = False
    """Whether ``docker image prune`` ends it."""
    data_root: RawPath = RawPath(b"")
    """Of BuildKit's leases in Docker's classic mode, and of records of mounts that stand for a lease: absolute path of
    the data root. Empty for a lease in meta.db."""

    def facts(self) -> dict[str, str | int | None]:
        """Its fields in documents, shown, by their names there (docs/json.md)."""
        return {
            "namespace": shown(self.ref.namespace),
            "id": shown(self.ref.key),
            "class": self.kind.value,
            "reason": self.reason,
            "owner": self.owner or "",
            "created": show_known(self.created),
            "expires": show_known(self.expires),
            "resources": self.resources,
            "only_bytes": self.only,
        }

    def is_called(self, name: bytes) -> bool:
        """Whether ``name`` is its id, or ``NAMESPACE/ID``, which is needed if several namespaces have the id."""
        return name in (self.ref.key, self.ref.namespace + b"/" + self.ref.key)
