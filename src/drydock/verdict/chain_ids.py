"""Chain ids, and the snapshots that have them: what a layer was unpacked to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import sha256

from drydock.model.data import RowKind
from drydock.model.objects import StoreObject
from drydock.model.store import Store


def chain_ids(diffs: Iterable[bytes | None]) -> Iterator[bytes]:
    """The chain id of each layer, from the base up, as far as the digests of their uncompressed bytes are known.

    Source: opencontainers image-spec v1.1, config.md, "Layer ChainID".
    """
    chain = b""
    for diff in diffs:
        if diff is None:
            return
        chain = b"sha256:" + sha256(chain + b" " + diff).hexdigest().encode() if chain else diff
        yield chain


def is_unpacked(store: Store, found: StoreObject) -> bool:
    """Whether a snapshot stands for its layer: on disk, and committed where its row is known."""
    if found.is_damaged:
        return False
    backend = store.backends.get(found.snapshotter)
    row = None if backend is None or found.row is None else backend.rows.get(found.row)
    return row is None or row.kind is RowKind.COMMITTED
