"""Listing interrupted pulls."""

from __future__ import annotations

from drydock.evidence.containerd.manifests import read_documents
from drydock.evidence.docker.classic_store import read_downloads
from drydock.model.access import Access
from drydock.model.names import RawPath
from drydock.model.pulls import Pull, Pulls
from drydock.model.scans import unread_among
from drydock.session import Session, find_roots, open_root
from drydock.verdict.pulls import find_pulls, list_pull_blobs


def pulls(where: RawPath | None, access: Access) -> list[Pulls]:
    """List the interrupted pulls of the stores in a place. Changes nothing.

    Args:
        where: as for :func:`drydock.session.find_roots`.
        access: how to read them.

    Returns:
        One list for each containerd root found.

    Raises:
        EvidenceUnreadable: ``where`` is not a store.
        Refused: an engine uses it, or the clock is wrong.
    """
    lists: list[Pulls] = []
    for root in find_roots(where, access):
        with open_root(root, access) as session:
            store = session.store
            unread = unread_among(store, (store.content, *store.backends.values(), store.owners))
            lists.append(Pulls(session.root, interrupted_pulls(session), unread))
    return lists


def interrupted_pulls(session: Session) -> list[Pull]:
    """The interrupted pulls of one root."""
    documents = read_documents(session.root, list_pull_blobs(session.verdict, session.reached))
    return find_pulls(session.verdict, session.reached, documents, read_downloads(session.store.root.docker))
