"""Explaining why something is in a store."""

from __future__ import annotations

from drydock.model.access import Access
from drydock.model.errors import EvidenceUnreadable
from drydock.model.explanations import Explanation
from drydock.model.names import RawPath
from drydock.model.scans import unread_of
from drydock.model.text import shown
from drydock.session import find_roots, open_root
from drydock.verdict.explain import explain as explain_subject
from drydock.verdict.find import find, suggest


def explain(word: bytes, where: RawPath | None, access: Access) -> list[Explanation]:
    """Trace the way from a root to an object, or tell why nothing holds the object.

    Args:
        word: a digest or its beginning, a path, a snapshot key, an image, a container or a lease.
        where: as for :func:`drydock.session.find_roots`.
        access: how to read the stores there.

    Raises:
        EvidenceUnreadable: ``where`` is not a store, or nothing that could be read of it has that name.
        Usage: the beginning of a name fits more than one.
    """
    explanations: list[Explanation] = []
    causes: list[str] = []
    meant = ""
    for root in find_roots(where, access):
        with open_root(root, access) as session:
            verdict = session.verdict
            subjects = find(verdict, session.reached, word)
            meant = meant or ("" if subjects else suggest(verdict, word))
            explanations += [explain_subject(verdict, session.reached, subject) for subject in subjects]
            cause = unread_of(verdict)
            causes += [cause] if cause else []
    if not explanations:
        raise EvidenceUnreadable("; ".join([f"nothing here is called {shown(word)}{meant}", *causes]))
    # What another root has of that name is missing from them as well.
    unread = "; ".join(causes) or None
    return [each._replace(unread=unread) for each in explanations]
