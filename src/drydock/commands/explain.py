"""Explaining why something is in a store."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from drydock.evidence.docker.logs import read_logs
from drydock.evidence.docker.volumes import read_volumes
from drydock.model.access import Access
from drydock.model.errors import EvidenceUnreadable
from drydock.model.explanations import Explanation
from drydock.model.names import RawPath
from drydock.model.progress import counter
from drydock.model.roots import Owners
from drydock.model.scans import unread_of
from drydock.model.text import shown
from drydock.session import find_roots, open_root
from drydock.verdict.explain import explain as explain_subject
from drydock.verdict.explain_path import explain_path
from drydock.verdict.find import find, suggest
from drydock.verdict.logs import explain_log, find_logs
from drydock.verdict.volumes import explain_volume, find_volumes

if TYPE_CHECKING:
    from drydock.model.objects import Verdict


def explain(word: bytes, where: RawPath | None, access: Access) -> list[Explanation]:
    """Trace the way from a root to an object, or tell why nothing holds the object.

    Args:
        word: a digest or its beginning, a path, a snapshot key, an image, a container, a lease or a volume. A path
            may also be of anything else below a root: then the explanation has the category of its usage.
        where: as for :func:`drydock.session.find_roots`.
        access: how to read the stores there.

    Raises:
        EvidenceUnreadable: ``where`` is not a store, or nothing that could be read of it has that name.
        Usage: the beginning of a name fits more than one.
    """
    explanations: list[Explanation] = []
    causes: list[str] = []
    verdicts: list[Verdict] = []
    meant = ""
    seen: set[RawPath] = set()
    for root in find_roots(where, access):
        with open_root(root, access) as session:
            verdict = session.verdict
            counter(access.progress, "tracing")
            subjects = find(verdict, session.reached, word)
            meant = meant or ("" if subjects else suggest(verdict, word))
            explanations += [explain_subject(verdict, session.reached, subject) for subject in subjects]
            for data in root.docker:
                if data not in seen:
                    explanations += explain_beside(data, verdict.store.owners, word)
            seen.update(root.docker)
            verdicts.append(verdict)
            cause = unread_of(verdict)
            causes += [cause] if cause else []
    explanations = explanations or explain_paths(word, verdicts, where)
    if not explanations:
        raise EvidenceUnreadable("; ".join([f"nothing here is called {shown(word)}{meant}", *causes]))
    # What another root has of that name is missing from them as well.
    unread = "; ".join(causes) or None
    return [each._replace(unread=unread) for each in explanations]


def explain_paths(word: bytes, verdicts: Sequence[Verdict], where: RawPath | None) -> list[Explanation]:
    """What a path is there for that belongs to no object: one explanation, or none if it is in no place of the roots.

    Args:
        word: an absolute path, one in the host that was looked at, or one in a place of its roots; without ``..``.
        verdicts: of the roots.
        where: as for :func:`explain`.
    """
    from drydock.evidence.containerd.root_usage import find_entry  # noqa: PLC0415 - most words name an object

    parts = {part for part in word.split(b"/") if part}
    if not parts or parts & {b".", b".."}:
        return []
    roots = [verdict.store.root for verdict in verdicts]
    paths = [word] if word.startswith(b"/") else []
    paths += (os.path.join(root.host, word.lstrip(b"/")) for root in roots)
    if not word.startswith(b"/"):
        paths += (os.path.join(place, word) for root in roots for place in (*root.docker, root.path, *root.buildkit))
    for each in dict.fromkeys(map(os.path.normpath, paths)):
        path = RawPath(os.path.join(os.path.realpath(os.path.dirname(each)), os.path.basename(each)))
        found = find_entry(path, verdicts, where)
        if found is not None:
            return [explain_path(path, found)]
    return []


def explain_beside(data: RawPath, owners: Owners, word: bytes) -> list[Explanation]:
    """The logs and the volumes of a data root that a word names."""
    logs = find_logs(read_logs(data, owners.containers).found, word)
    volumes = find_volumes(read_volumes(data, owners).found, word)
    return [
        *(explain_log(log, owners.containers.get(log.container)) for log in logs),
        *map(explain_volume, volumes),
    ]
