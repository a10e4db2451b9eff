"""Scans as the document ``drydock.scan/1``, whole and line by line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from msgspec import UNSET, Struct, structs

from drydock.model.disk_usage import FileSystem, PlaceUsage, UsageEntry
from drydock.model.documents.common import LazyList, compact
from drydock.model.documents.scan import (
    FileSystemPart,
    FindingPart,
    HolderPart,
    IdleStorePart,
    LeasePart,
    ObjectPart,
    RecordPart,
    ScanDocument,
    ScanHead,
    ScanRoot,
    ScanRootHead,
    StateTotals,
    StorePart,
    TotalPart,
    UsagePart,
    WithheldPart,
)
from drydock.model.findings import Finding, Severity
from drydock.model.leases import Holding
from drydock.model.names import Kind, Ref, UnixNano, split_snapshot_key
from drydock.model.objects import DataRootObject, State, StoreObject, Verdict
from drydock.model.plans import Withheld
from drydock.model.pulls import pulled_name
from drydock.model.scans import Scan, Total
from drydock.model.store_modes import StoreChoice
from drydock.model.text import shown
from drydock.model.times import show_known, show_time
from drydock.version import __version__

if TYPE_CHECKING:
    from drydock.model.inventories import Holder, Inventory

_SEVERITIES: Final[dict[Severity, Literal["note", "blind", "damage"]]] = {
    Severity.NOTE: "note",
    Severity.BLIND: "blind",
    Severity.DAMAGE: "damage",
}
_REACHES: Final[dict[State, Literal["live", "leased", "unreachable"]]] = {
    State.LIVE: "live",
    State.LEASED: "leased",
    State.UNREACHABLE: "unreachable",
}


class ScanLine(NamedTuple):
    """One of the JSON lines of a scan."""

    type: Literal["scan", "root", "object", "lease", "finding", "withheld", "holder", "usage", "file_system", "store"]
    root: str | None
    """Path of the root that an object, a lease or another entry belongs to; None for what belongs to no root."""
    part: Struct

    def text(self) -> str:
        """The line as JSON, with its end."""
        root = "" if self.root is None else f',"root":{compact.encode(self.root).decode()}'
        return f'{{"type":"{self.type}"{root},{compact.encode(self.part)[1:].decode()}\n'


def scan_document(scans: Sequence[Scan], now: UnixNano, host: str = "") -> ScanDocument:
    """One document about everything that was scanned; its lists make their entries while they are read.

    Args:
        scans: what was scanned.
        now: when it was.
        host: the host that was scanned, shown.
    """
    return ScanDocument(
        drydock=__version__,
        now=show_time(now),
        host=host,
        roots=LazyList(scans, _root),
        usage=LazyList(_entries(scans), lambda each: _usage(*each)),
        file_systems=[_file_system(each) for each in _file_systems(scans)],
        stores=[_store(each) for scan in scans for each in scan.stores],
    )


def scan_lines(scans: Sequence[Scan], now: UnixNano, host: str = "") -> Iterator[ScanLine]:
    """The same line by line: a head, then each root with what it holds, then usage, file systems and image stores."""
    yield ScanLine("scan", None, ScanHead(drydock=__version__, now=show_time(now), host=host))
    for scan in scans:
        found = _root(scan)
        head = {name: getattr(found, name) for name in ScanRootHead.__struct_fields__}
        yield ScanLine("root", None, ScanRootHead(**head))
        yield from (ScanLine("object", found.path, each) for each in found.objects)
        yield from (ScanLine("lease", found.path, each) for each in found.leases)
        yield from (ScanLine("finding", found.path, each) for each in found.findings)
        yield from (ScanLine("withheld", found.path, each) for each in found.withheld)
        if found.holders is not UNSET:
            yield from (ScanLine("holder", found.path, each) for each in found.holders)
    yield from (ScanLine("usage", None, _usage(*each)) for each in _entries(scans))
    yield from (ScanLine("file_system", None, _file_system(each)) for each in _file_systems(scans))
    yield from (ScanLine("store", None, _store(each)) for scan in scans for each in scan.stores)


def record_part(ref: Ref) -> RecordPart:
    """A record by kind, namespace and id; the id of a snapshot is its key."""
    if ref.kind is Kind.SNAPSHOT:
        snapshotter, key = split_snapshot_key(ref.key)
        return RecordPart(kind=ref.kind, namespace=shown(ref.namespace), id=shown(key), snapshotter=shown(snapshotter))
    return RecordPart(kind=ref.kind, namespace=shown(ref.namespace), id=shown(ref.key))


def object_part(found: StoreObject) -> ObjectPart:
    """A blob, an ingest, a snapshot or a part of a classic layer store."""
    is_snapshot = bool(found.snapshotter)
    return ObjectPart(
        kind=found.kind,
        id=shown(found.id),
        state=found.state,
        bytes=found.allocated,
        path=None if found.path is None else shown(found.path),
        namespaces=[shown(namespace) for namespace in found.namespaces],
        held_by=[record_part(ref) for ref in found.held_by],
        reach=None if found.reach is None else _REACHES[found.reach],
        note=found.note,
        snapshotter=shown(found.snapshotter) if is_snapshot else UNSET,
        row=UNSET if not is_snapshot else None if found.row is None else shown(found.row),
        data_root=shown(found.data_root) if isinstance(found, DataRootObject) else UNSET,
    )


def finding_part(finding: Finding) -> FindingPart:
    """A finding with its place."""
    return FindingPart(
        code=str(finding.code),
        severity=_SEVERITIES[finding.severity],
        message=finding.message,
        subject=finding.subject,
        file=shown(finding.place.file),
        page=finding.place.page,
        offset=finding.place.offset,
        bucket=[shown(part) for part in finding.place.bucket],
        remedy=finding.remedy,
    )


def _root(scan: Scan) -> ScanRoot:
    verdict, store = scan.verdict, scan.verdict.store
    return ScanRoot(
        path=shown(store.root.path),
        engine=store.root.engine,
        namespaces=sorted(shown(namespace) for namespace in store.metadata.namespaces),
        schema_version=store.metadata.schema_version,
        complete=scan.complete,
        live=store.live,
        measured=store.measured,
        verified=store.verified,
        totals=StateTotals(**{state.value: _total(total) for state, total in scan.totals().items()}),
        reclaimable=_total(scan.reclaimable()),
        leased_by_class={kind: _total(total) for kind, total in scan.leased().items()},
        database_bytes=store.database_bytes,
        objects=LazyList(verdict.objects, object_part),
        leases=LazyList(verdict.leases, partial(_lease, _pulled(scan))),
        findings=LazyList(verdict.findings, finding_part),
        withheld=LazyList(scan.withheld, _withheld),
        holders=UNSET if scan.inventory is None else _holders(verdict, scan.inventory),
    )


def _entries(scans: Sequence[Scan]) -> list[tuple[PlaceUsage, UsageEntry]]:
    return [(place, entry) for scan in scans for place in scan.places for entry in place.entries]


def _file_systems(scans: Sequence[Scan]) -> list[FileSystem]:
    found: dict[int, FileSystem] = {}
    for place in (place for scan in scans for place in scan.places):
        if place.file_system is not None:
            found.setdefault(place.file_system.device, place.file_system)
    return list(found.values())


def _usage(place: PlaceUsage, entry: UsageEntry) -> UsagePart:
    return UsagePart(
        category=entry.category,
        name=shown(entry.name),
        path=shown(entry.path),
        bytes=entry.bytes,
        note=entry.note,
        used_by=None if entry.used_by is None else [shown(name) for name in entry.used_by],
        driver=shown(entry.driver),
        place=shown(place.path),
    )


def _file_system(found: FileSystem) -> FileSystemPart:
    return FileSystemPart(shown(found.path), found.size, found.used, found.free, found.inodes, found.inodes_free)


def _store(choice: StoreChoice) -> StorePart:
    idle = None if choice.idle is None else IdleStorePart(*choice.idle)
    return StorePart(
        shown(choice.data), choice.last, choice.last_reason, choice.following, choice.following_reason, idle
    )


def _total(total: Total) -> TotalPart:
    return TotalPart(total.count, total.bytes)


def _pulled(scan: Scan) -> dict[Ref, str]:
    """What was being pulled, by the lease that the pull left."""
    return {lease.ref: shown(pulled_name(pull)) for pull in scan.pulls for lease in pull.leases}


def _lease(pulled: Mapping[Ref, str], holding: Holding) -> LeasePart:
    return LeasePart(
        namespace=shown(holding.ref.namespace),
        id=shown(holding.ref.key),
        class_=holding.kind,
        reason=holding.reason,
        owner=holding.owner or "",
        created=show_known(holding.created),
        expires=show_known(holding.expires),
        resources=holding.resources,
        only_bytes=holding.only,
        pull=pulled.get(holding.ref, UNSET),
        data_root=shown(holding.data_root) if holding.data_root else UNSET,
    )


def _withheld(withheld: Withheld) -> WithheldPart:
    return WithheldPart(withheld.kind.value, withheld.id, withheld.bytes, withheld.reason)


def _holders(verdict: Verdict, inventory: Inventory) -> LazyList[HolderPart]:
    counts = Counter(place for holder in inventory.holders for place in holder.objects)
    sizes = [found.allocated for found in verdict.objects]

    def holder_part(holder: Holder) -> HolderPart:
        return HolderPart(
            **structs.asdict(record_part(holder.ref)),
            names=[shown(name) for name in holder.names],
            class_=holder.lease,
            owner=holder.owner or "",
            objects=len(holder.objects),
            bytes=sum(sizes[place] for place in holder.objects),
            only_bytes=sum(sizes[place] for place in holder.objects if counts[place] == 1),
        )

    return LazyList(inventory.holders, holder_part)
