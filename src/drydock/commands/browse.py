"""Questions about a place that was read before: they are answered from memory, and nothing is read again but logs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from drydock.commands.explain import explain_beside
from drydock.commands.scan import look
from drydock.model.access import Access
from drydock.model.disk_usage import FoundEntry, UsageEntry
from drydock.model.explanations import Explanation
from drydock.model.names import RawPath, Ref, is_within
from drydock.model.objects import StoreObject
from drydock.model.plans import Plan
from drydock.model.policies import Policy
from drydock.model.scans import Scan
from drydock.session import Session, policies
from drydock.verdict.explain import explain
from drydock.verdict.explain_path import explain_path
from drydock.verdict.find import find


class Looked(NamedTuple):
    """One root that was read: its scan with its inventory, and the session that made it, without its locks."""

    scan: Scan
    session: Session


def read(where: RawPath | None, access: Access) -> list[Looked]:
    """Read and judge a place. Changes nothing.

    Args:
        where: as for :func:`drydock.session.find_roots`.
        access: how to read it; its policy is not asked.

    Raises:
        EvidenceUnreadable: ``where`` is not a store, or, live, a database could not be copied.
        Refused: an engine uses it, or the clock is wrong.
    """
    access = access._replace(policy=None, asks=True)
    return [Looked(scan, session) for scan, session in look(where, access, inventory=True)]


def decide(looked: Sequence[Looked], policy: Policy) -> list[Plan]:
    """What ``clean`` would do under a policy, one plan for each root.

    Raises:
        Refused: the policy names a lease whose owner exists.
        Usage: the policy ends and keeps the same thing by name.
    """
    access = Access(policy=policy)
    entries = policies([each.session.store.root for each in looked], access)
    return [each.session.decide(entry.policy or policy)[0] for each, (_, entry) in zip(looked, entries, strict=True)]


def explain_subject(looked: Looked, subject: StoreObject | Ref) -> list[Explanation]:
    """Why an object or a record is there, as ``drydock explain`` says it."""
    verdict, reached = looked.session.verdict, looked.session.reached
    if isinstance(subject, Ref) and not subject.namespace:
        # A holder in Docker's classic layer store is no record of containerd.
        return [explain(verdict, reached, each) for each in find(verdict, reached, subject.key)]
    return [explain(verdict, reached, subject)]


def explain_entry(looked: Looked, entry: UsageEntry, name: bytes) -> list[Explanation]:
    """The same for what lies beside the stores: the logs and the volumes of a name, or else what its path is for."""
    store = looked.session.store
    found = [each for data in store.root.docker if name for each in explain_beside(data, store.owners, name)]
    place = next((each.path for each in looked.scan.places if is_within(entry.path, each.path)), entry.path)
    return found or [explain_path(entry.path, FoundEntry(place, entry, entry.bytes, entry.note))]
