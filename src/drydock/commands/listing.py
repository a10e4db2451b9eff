"""Listing what a store has of one kind."""

from __future__ import annotations

from drydock.evidence.containerd.manifests import read_image_documents
from drydock.model.access import Access
from drydock.model.listings import Listing, ListKind
from drydock.model.names import RawPath
from drydock.model.oci import Documents
from drydock.session import find_roots, open_root
from drydock.verdict.listing import list_kind, unread_list


def ls(kind: ListKind, where: RawPath | None, access: Access) -> list[Listing]:
    """List what a store has of one kind, as ``ctr`` and ``docker`` would, with states and holders.

    Args:
        kind: what to list.
        where: as for :func:`drydock.session.find_roots`.
        access: how to read the stores there.

    Returns:
        One list for each containerd root found.

    Raises:
        EvidenceUnreadable: ``where`` is not a store.
        Refused: an engine uses the store, or the clock is wrong.
    """
    listings: list[Listing] = []
    for root in find_roots(where, access):
        with open_root(root, access) as session:
            store, documents = session.store, Documents()
            if kind is ListKind.IMAGES:
                targets = [image.target for image in store.metadata.images]
                documents = read_image_documents(session.root, store.content.blobs, targets)
            rows = list_kind(kind, session.verdict, session.reached, documents)
            listings.append(Listing(session.root, kind, rows, unread_list(kind, store)))
    return listings
