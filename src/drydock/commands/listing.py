"""Listing what a store has of one kind."""

from __future__ import annotations

from collections.abc import Iterable

from drydock.evidence.containerd.manifests import read_image_documents
from drydock.evidence.docker.logs import read_logs
from drydock.evidence.docker.volumes import read_volumes
from drydock.model.access import Access
from drydock.model.errors import Usage
from drydock.model.listings import Cell, Listing, ListKind
from drydock.model.names import RawPath
from drydock.model.oci import Documents
from drydock.model.progress import counter
from drydock.model.store_modes import StoreMode
from drydock.session import Session, find_roots, open_root
from drydock.verdict.listing import list_kind, unread_list
from drydock.verdict.logs import log_rows
from drydock.verdict.volumes import volume_rows


def ls(kind: ListKind, where: RawPath | None, access: Access, *, store: StoreMode | None = None) -> list[Listing]:
    """List what a store has of one kind, as ``ctr`` and ``docker`` would, with states and holders.

    Args:
        kind: what to list.
        where: as for :func:`drydock.session.find_roots`.
        access: how to read the stores there.
        store: list only the images or containers of this one of Docker's stores; None for both.

    Returns:
        One list for each containerd root found. A data root that several of them have is in the list of the first.

    Raises:
        EvidenceUnreadable: ``where`` is not a store.
        Refused: an engine uses the store, or the clock is wrong.
        Usage: a store is named for another kind of list.
    """
    if store is not None and kind not in (ListKind.IMAGES, ListKind.CONTAINERS):
        raise Usage(f"--store is for images and containers, not for {kind.value}")
    listings: list[Listing] = []
    seen: set[RawPath] = set()
    for root in find_roots(where, access):
        with open_root(root, access) as session:
            if kind.is_judged:
                listings.append(_judged(kind, session, store))
            else:
                listings.append(_beside(kind, session, [data for data in root.docker if data not in seen]))
                seen.update(root.docker)
    return listings


def _judged(kind: ListKind, session: Session, only: StoreMode | None) -> Listing:
    store, documents = session.store, Documents()
    if kind is ListKind.IMAGES:
        targets = [image.target for image in store.metadata.images]
        documents = read_image_documents(session.root, store.content.blobs, targets)
    verdict = session.verdict
    counter(session.access.progress, "listing")
    rows = list_kind(kind, verdict, session.reached, documents, only)
    return Listing(session.root, kind, rows, unread_list(kind, store))


def _beside(kind: ListKind, session: Session, data_roots: Iterable[RawPath]) -> Listing:
    """The logs or the volumes of data roots."""
    owners = session.store.owners
    rows: list[dict[str, Cell]] = []
    unread: list[str] = []
    for data in data_roots:
        if kind is ListKind.LOGS:
            logs = read_logs(data, owners.containers)
            rows += log_rows(logs.found)
            unread += logs.unread
        else:
            volumes = read_volumes(data, owners)
            rows += volume_rows(volumes.found)
            unread += volumes.unread
    return Listing(session.root, kind, rows, next(iter(unread), None))
