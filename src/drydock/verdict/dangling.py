"""Dangling references: a record that stays names something without a record; and what the name may have been.

bbolt keeps no checksum of its pages, so one wrong byte makes a name another name. The object that was named then looks
unreferenced, and the engine drops it. Therefore an object that nothing holds stays if its name is similar to that of a
dangling reference. If a lease, a container or an image names something that should be there, everything of that kind
that nothing holds stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Protocol

from drydock.model import messages
from drydock.model.findings import Finding, Place, Severity
from drydock.model.leases import LeaseClass
from drydock.model.names import EXTRACTING, Kind, RawPath, Ref, split_snapshot_key
from drydock.model.records import Container, Image, Ingest, Lease, Metadata, Snapshot
from drydock.model.roots import Owners
from drydock.model.store import Store
from drydock.model.text import shown
from drydock.verdict.graph import Graph, visited
from drydock.verdict.labels import back_references
from drydock.verdict.leases import Judgement, build_record, builds_of
from drydock.verdict.similar_names import find_near

_LISTED = 3
_ABSENT = {
    Kind.LEASE: messages.LEASE_NAMES_ABSENT,
    Kind.CONTAINER: messages.CONTAINER_NAMES_ABSENT,
    Kind.IMAGE: messages.IMAGE_NAMES_ABSENT,
}


class MarkedRecords(Protocol):
    """What the GC marks as reached: a part of :class:`drydock.verdict.judge.Reach`."""

    graph: Graph
    classes: dict[Ref, Judgement]

    def __contains__(self, ref: Ref) -> bool: ...

    def starts(self) -> list[Ref | None]:
        """For each record of a blob the first start that reaches it, None for none."""

    def absent(self) -> set[Ref]:
        """The references that are reached and have no record."""


@dataclass(slots=True)
class Dangling:
    """A record that names something without a record."""

    source: Ref
    targets: list[Ref] = field(default_factory=list)
    """All targets without a record, of a lease, a container or an image; of other records those with a similar name."""
    wrong: list[Ref] = field(default_factory=list)
    """Those of the targets that should be there, because no engine leaves such a reference."""
    near: list[Ref] = field(default_factory=list)
    """Records that nothing holds and whose names are similar to that of a target."""


def list_loose(marks: MarkedRecords, metadata: Metadata) -> list[Ref]:
    """The records that nothing reaches."""
    others: Iterator[Ingest | Snapshot | Image] = chain(metadata.ingests, metadata.snapshots, metadata.images)
    # Nearly all records are live.
    blobs = [metadata.blobs.ref(place) for place, start in enumerate(marks.starts()) if start is None]
    refs = chain(blobs, (record.ref for record in others))
    return list(dict.fromkeys(ref for ref in refs if ref not in marks))


def find_dangling(marks: MarkedRecords, store: Store, loose: Sequence[Ref]) -> list[Dangling]:
    """The dangling references of the records that stay.

    Args:
        marks: what is reached.
        store: the store with the records.
        loose: from :func:`list_loose`.
    """
    if store.live:
        # Records that came or went during the reading are left out, and may still be named.
        return []
    found = {each.source: each for each in _of_holders(marks, store)}
    if not loose:
        return list(found.values())
    records, targets_of = marks.graph.records, marks.graph.targets
    near: dict[Ref, list[Ref]] = {}
    for target, meant in find_near(marks.absent(), loose):
        near.setdefault(target, []).append(meant)
    for ref in [ref for ref in records if ref in marks] if near else ():
        for target in dict.fromkeys(map(visited, targets_of(ref))):
            if target not in near:
                continue
            dangling = found.setdefault(ref, Dangling(ref))
            if target not in dangling.targets:
                dangling.targets.append(target)
            dangling.near += near[target]
            # One source is enough to keep all of these: a target with many sources must not fill as many lists.
            del near[target][1:]
    for source, meant in _near_back(marks, loose):
        found.setdefault(source, Dangling(source)).near.append(meant)
    return list(found.values())


def _of_holders(marks: MarkedRecords, store: Store) -> Iterator[Dangling]:
    """Those of leases, containers and images. Labels do not count: they also name what was never fetched."""
    graph, metadata = marks.graph, store.metadata
    records: Iterator[Lease | Container | Image] = chain(metadata.leases, metadata.containers, metadata.images)
    for record in records:
        if isinstance(record, Image) and graph.target(record) is not None and record.ref not in graph.records.again:
            continue
        targets = [visited(edge.target) for edge in graph.edges(record.ref) if not edge.label]
        absent = [target for target in targets if target not in graph.records]
        if absent and record.ref in marks:
            wrong = absent
            if isinstance(record, Lease):
                kind = marks.classes[record.ref].kind
                wrong = [target for target in absent if not _is_usual(record, kind, target, store.owners)]
            yield Dangling(record.ref, absent, wrong)


def may_be_meant(dangling: Iterable[Dangling], loose: Iterable[Ref]) -> dict[Ref, str]:
    """Records that nothing holds and that a dangling reference may have named, with the reason."""
    kept: dict[Ref, str] = {}
    of_kind: dict[tuple[Kind, bytes], str] = {}
    for each in dangling:
        reason = f"{_name(each.source)} may mean it: what it names has no record"
        kept.update(dict.fromkeys(each.near, reason))
        of_kind.update({(target.kind, target.namespace): reason for target in each.wrong})
    if of_kind:
        for ref in loose:
            why = of_kind.get((ref.kind, ref.namespace))
            if why is not None:
                kept.setdefault(ref, why)
    return kept


def dangling_findings(dangling: Iterable[Dangling], file: RawPath) -> Iterator[Finding]:
    """One finding for each dangling reference.

    Args:
        dangling: from :func:`find_dangling`.
        file: path of meta.db.
    """
    for each in dangling:
        place, subject, holder = Place(file), each.source.key, _name(each.source)
        if not each.targets:
            yield messages.SIMILAR_IMAGE(other=_name(each.near[0]), holder=holder).at(place, subject)
            continue
        message = _ABSENT.get(each.source.kind, messages.MISNAMED)
        absent = ", ".join(_name(target) for target in each.targets[:_LISTED])
        if len(each.targets) > _LISTED:
            absent += f" and {len(each.targets) - _LISTED} more"
        similar = messages.SIMILAR.format(other=_name(each.near[0])) if each.near else ""
        text = message(holder=holder, absent=absent, similar=similar)
        if each.wrong or each.near:
            yield text.at(place, subject, severity=Severity.DAMAGE)
        else:
            yield text.at(place, subject, severity=Severity.NOTE, remedy="")


def _is_usual(lease: Lease, kind: LeaseClass, target: Ref, owners: Owners) -> bool:
    """Whether an engine itself leaves a lease that lists this absent target.

    A lease goes on listing an ingest that ended under another lease, and an image that was removed by name. BuildKit
    lists a snapshot before it prepares it, and the snapshots of a record that is not unpacked yet (buildkit
    cache/manager.go New, getByBlob, v0.20: ``cache.blobonly``). If BuildKit's records are not known, any of its leases
    may be of this kind.
    """
    if target.kind in (Kind.INGEST, Kind.IMAGE):
        return True
    build = build_record(lease)
    if build is not None and (kind is not LeaseClass.BUILD_CACHE or build in builds_of(lease, owners).blobs_only):
        return True
    if target.kind is not Kind.SNAPSHOT:
        return False
    key = split_snapshot_key(target.key)[1]
    # A snapshot with the lease's own name has no wrong byte in its name.
    return key.startswith((EXTRACTING, lease.id))


def _near_back(marks: MarkedRecords, loose: Iterable[Ref]) -> Iterator[tuple[Ref, Ref]]:
    """Image names that stay and are similar to the name that an image's back reference gives, each with that image.

    Image names may differ in one byte on purpose, so both images must have the same target.
    """
    records = marks.graph.records
    wanted: dict[Ref, list[Image]] = {}
    for ref in loose:
        record = records[ref]
        if isinstance(record, Image):
            for source, _ in back_references(record.namespace, record.labels):
                if source not in records:
                    wanted.setdefault(source, []).append(record)
    if not wanted:
        return
    for source, near in find_near(wanted, [ref for ref in records if ref in marks]):
        held = records[near]
        for image in wanted[source]:
            if isinstance(held, Image) and image.target in _targets(marks.graph, held):
                yield near, image.ref


def _targets(graph: Graph, image: Image) -> set[bytes]:
    """The digests of an image's target and of the blobs that the target refers to."""
    target = Ref(Kind.BLOB, image.namespace, image.target)
    return {image.target, *(visited(each).key for each in graph.targets(target))}


def _name(ref: Ref) -> str:
    return f"{ref.kind.value} {shown(ref.key)}"
