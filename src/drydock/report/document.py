"""The scan document ``drydock.scan/1``: what scripts and other reports read. Fields may be added, never changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from drydock.model.findings import Finding
from drydock.model.inventories import Inventory
from drydock.model.names import Kind, Ref, UnixNano, split_snapshot_key
from drydock.model.objects import StoreObject, Verdict
from drydock.model.plans import Withheld
from drydock.model.scans import Scan, Total
from drydock.model.text import shown
from drydock.report.wording import head

SCHEMA = "drydock.scan/1"

Document = dict[str, Any]


def scan_document(scans: Iterable[Scan], now: UnixNano, host: str = "") -> Document:
    """One document for everything that was scanned.

    Args:
        scans: what was scanned.
        now: when it was.
        host: where, as text that can be shown.
    """
    document = scan_stream(scans, now, host)
    roots = [{name: list(part) if isinstance(part, Iterator) else part for name, part in root.items()}
             for root in document["roots"]]  # fmt: skip
    return {**document, "roots": roots}


def scan_stream(scans: Iterable[Scan], now: UnixNano, host: str = "") -> Document:
    """The same, with iterators in the place of the lists that grow with a store: to be written, not kept."""
    return {**_head(now, host), "roots": ({**_root(scan), **_parts(scan)} for scan in scans)}


def scan_lines(scans: Iterable[Scan], now: UnixNano, host: str = "") -> Iterator[Document]:
    """The same, one document a line: a head, then each root followed by what it holds, each with a ``type``."""
    yield {"type": "scan", **_head(now, host)}
    for scan in scans:
        root = shown(scan.verdict.store.root.path)
        yield {"type": "root", **_root(scan)}
        for part, entries in _parts(scan).items():
            for entry in entries:
                yield {"type": part.rstrip("s") if part != "withheld" else part, "root": root, **entry}


def reference(ref: Ref) -> Document:
    """A record by kind, namespace and id; a snapshot's id is its key."""
    if ref.kind is Kind.SNAPSHOT:
        snapshotter, key = split_snapshot_key(ref.key)
        named = {"id": shown(key), "snapshotter": shown(snapshotter)}
    else:
        named = {"id": shown(ref.key)}
    return {"kind": ref.kind.value, "namespace": shown(ref.namespace), **named}


def finding_document(finding: Finding) -> Document:
    """A finding with its place."""
    return {
        "code": finding.code,
        "severity": finding.severity.name.lower(),
        "message": finding.message,
        "subject": finding.subject,
        "file": shown(finding.place.file),
        "page": finding.place.page,
        "offset": finding.place.offset,
        "bucket": [shown(part) for part in finding.place.bucket],
        "remedy": finding.remedy,
    }


def _head(now: UnixNano, host: str) -> Document:
    return {**head(SCHEMA, now), "host": host}


def _root(scan: Scan) -> Document:
    store = scan.verdict.store
    return {
        "path": shown(store.root.path),
        "engine": store.root.engine.value,
        "namespaces": sorted(shown(namespace) for namespace in store.metadata.namespaces),
        "schema_version": store.metadata.schema_version,
        "complete": scan.complete,
        "live": store.live,
        "measured": store.measured.value,
        "verified": store.verified.value,
        "totals": {state.value: _total(total) for state, total in scan.totals().items()},
        "reclaimable": _total(scan.reclaimable()),
        "leased_by_class": {kind.value: _total(total) for kind, total in scan.leased().items()},
        "database_bytes": store.database_bytes,
    }


def _parts(scan: Scan) -> dict[str, Iterator[Document]]:
    verdict = scan.verdict
    named = {} if scan.inventory is None else {"holders": _holders(verdict, scan.inventory)}
    return {
        "objects": map(_object, verdict.objects),
        "leases": (holding.facts() for holding in verdict.leases),
        "findings": map(finding_document, verdict.findings),
        "withheld": map(_withheld, scan.withheld),
        **named,
    }


def _total(total: Total) -> Document:
    return {"count": total.count, "bytes": total.bytes}


def _object(found: StoreObject) -> Document:
    document: Document = {
        "kind": found.kind.value,
        "id": shown(found.id),
        "state": found.state.value,
        "bytes": found.allocated,
        "path": None if found.path is None else shown(found.path),
        "namespaces": [shown(namespace) for namespace in found.namespaces],
        "held_by": [reference(ref) for ref in found.held_by],
        "reach": None if found.reach is None else found.reach.value,
        "note": found.note,
    }
    if found.snapshotter:
        document["snapshotter"] = shown(found.snapshotter)
        document["row"] = None if found.row is None else shown(found.row)
    return document


def _holders(verdict: Verdict, inventory: Inventory) -> Iterator[Document]:
    counts = Counter(place for holder in inventory.holders for place in holder.objects)
    sizes = [found.allocated for found in verdict.objects]
    for holder in inventory.holders:
        yield {
            **reference(holder.ref),
            "names": [shown(name) for name in holder.names],
            "class": None if holder.lease is None else holder.lease.value,
            "owner": holder.owner,
            "objects": len(holder.objects),
            "bytes": sum(sizes[place] for place in holder.objects),
            "only_bytes": sum(sizes[place] for place in holder.objects if counts[place] == 1),
        }


def _withheld(withheld: Withheld) -> Document:
    return {"kind": withheld.kind, "id": withheld.id, "bytes": withheld.bytes, "reason": withheld.reason}
