"""Whose a lease is."""

from __future__ import annotations

import enum
from typing import NamedTuple

from drydock.model.names import Ref, UnixNano
from drydock.model.text import shown
from drydock.model.times import show_known


class LeaseClass(enum.Enum):
    """The classes of leases (docs/what-fills-my-disk.md); the value is what documents show."""

    EXPIRED = "expired"
    """Past its expiry: containerd's next collection drops it, and it holds nothing any more."""
    TEMPORARY = "temporary"
    """Ends by itself, or is marked temporary by its maker: a pull, a push, a build step."""
    CONTAINER = "container"
    BUILD_CACHE = "build-cache"
    BUILD_HISTORY = "build-history"
    IMAGE = "image"
    """An image of Docker's graphdriver mode."""
    OWNERLESS = "ownerless"
    """Its owner's records are readable, and the owner is not there."""
    UNKNOWN = "unknown"
    """Nothing known says whose it is: kept."""

    @property
    def is_owned(self) -> bool:
        """Whether what it holds is live: the owner exists, and the lease does not end by itself."""
        return self in _OWNED


_OWNED = frozenset((LeaseClass.CONTAINER, LeaseClass.BUILD_CACHE, LeaseClass.BUILD_HISTORY, LeaseClass.IMAGE))


class Holding(NamedTuple):
    """One lease with what is known of it."""

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
    """Blobs, ingests, snapshots and images it names."""
    only: int
    """Bytes that nothing but this lease holds: what ending it alone would free."""
    is_pruned: bool = False
    """Whether ``docker image prune`` ends it."""

    def facts(self) -> dict[str, str | int | None]:
        """What documents say of it, shown; the names of the fields are theirs (docs/json.md)."""
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
        """Whether ``name`` is its id, or ``NAMESPACE/ID`` where the same id is in several namespaces."""
        return name in (self.ref.key, self.ref.namespace + b"/" + self.ref.key)
