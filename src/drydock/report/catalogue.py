"""What a page lists: every image, container, lease, interrupted pull, finding and object, and the way to each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from drydock.model.data import Fingerprint
from drydock.model.findings import Severity
from drydock.model.inventories import Holder, Inventory
from drydock.model.leases import LeaseClass
from drydock.model.names import Kind, Ref, UnixNano, split_snapshot_key
from drydock.model.objects import State, StoreObject, Verdict
from drydock.model.pulls import Pull
from drydock.model.scans import Scan
from drydock.model.text import shown
from drydock.report.amounts import show_bytes
from drydock.report.branch import Branch, grow, kind_of, name_of
from drydock.report.parts import Parts

Row = list[Any]
"""kind, what it is, name, state, bytes, bytes only it holds, came, ends, facts [[word, value]], links, explain's word.

Bytes and times (seconds since 1970) are numbers or null; ``links`` are places in ``links``.
"""

_OBJECTS = (Kind.BLOB, Kind.INGEST, Kind.SNAPSHOT)
_DAMAGED = (State.MISSING, State.CORRUPT)


class Listing:
    """One root, for a page."""

    def __init__(self, scan: Scan, inventory: Inventory) -> None:
        self._verdict: Verdict = scan.verdict
        self._inventory = inventory
        self._parts = Parts(scan.verdict)
        self._came = _times(scan.verdict)
        self._numbers: dict[Ref, int] = {ref: number for number, ref in enumerate(inventory.links)}
        self._tree = grow(scan)
        self._rows: list[Row] = []
        self._row_of: dict[Ref, int] = {}

    def document(self) -> dict[str, Any]:
        """Rows (first the objects, in their order), links and tree."""
        self._rows = [self._object(found) for found in self._verdict.objects]
        self._holders(self._tree)
        for row in (*self._leases(), *map(self._pull, self._inventory.pulls), *self._findings()):
            self._rows.append(row)
        return {"rows": self._rows, "links": list(self._links()), "tree": self._branch(self._tree)}

    def _object(self, found: StoreObject) -> Row:
        facts = [["path", "" if found.path is None else shown(found.path)]]
        facts.append(["namespace", ", ".join(shown(namespace) for namespace in found.namespaces)])
        facts.append(["snapshotter", shown(found.snapshotter)])
        facts.append(["note", found.note])
        came = [self._came[ref] for ref in found.refs if ref in self._came]
        links = [self._numbers[ref] for ref in found.refs if ref in self._numbers]
        return [
            found.kind.value,
            self._parts.of(found),
            shown(found.id),
            found.state.value,
            found.allocated,
            None,
            _seconds(min(came) if came else _changed(found.fingerprint)),
            None,
            [fact for fact in facts if fact[1]],
            links,
            shown(found.id),
        ]

    def _holders(self, branch: Branch) -> None:
        for each in branch.branches:
            self._holders(each)
        holder = branch.holder
        if holder is not None and holder.ref.kind in _OBJECTS:
            # What is kept for its own sake is listed as the object that it is.
            places = (place for place in holder.objects if holder.ref in self._verdict.objects[place].refs)
            self._row_of.update((holder.ref, place) for place in places)
        # Leases have rows of their own, the expired ones too.
        elif holder is not None and (holder.lease is None or kind_of(holder) == "container"):
            self._row_of[holder.ref] = len(self._rows)
            self._rows.append(self._holder(branch, holder))

    def _holder(self, branch: Branch, holder: Holder) -> Row:
        states = {self._verdict.objects[place].state for place in holder.objects}
        facts = [["namespace", shown(holder.ref.namespace)], ["objects", str(len(holder.objects))]]
        if len(holder.names) > 1:
            facts += [["name", shown(name)] for name in holder.names]
        if holder.lease is not None:
            facts.append(["lease", shown(holder.ref.key)])
        return [
            branch.kind,
            branch.kind,
            name_of(holder),
            next((state.value for state in _DAMAGED if state in states), "live"),
            branch.reached,
            branch.only,
            _seconds(self._came.get(holder.ref)),
            None,
            facts,
            [self._numbers[holder.ref]] if holder.ref in self._numbers else [],
            _word(holder.ref),
        ]

    def _leases(self) -> Iterator[Row]:
        reached = {holder.ref: holder.objects for holder in self._inventory.holders}
        for holding in self._verdict.leases:
            is_over = holding.kind is LeaseClass.EXPIRED
            size = sum(self._verdict.objects[place].allocated for place in reached.get(holding.ref, ()))
            facts = [
                ["namespace", shown(holding.ref.namespace)],
                ["why", holding.reason],
                ["owner", holding.owner],
                ["names", f"{holding.resources} things"],
            ]
            self._row_of.setdefault(holding.ref, len(self._rows))
            yield [
                "lease",
                f"{holding.kind.value} lease",
                shown(holding.ref.key),
                "unreachable" if is_over else "live" if holding.kind.is_owned else "leased",
                size,
                holding.only,
                _seconds(holding.created),
                _seconds(holding.expires),
                [fact for fact in facts if fact[1]],
                [self._numbers[holding.ref]] if holding.ref in self._numbers else [],
                _word(holding.ref),
            ]

    def _pull(self, pull: Pull) -> Row:
        facts = [["namespace", shown(pull.namespace)]]
        facts += [["lease", shown(lease.ref.key)] for lease in pull.leases]
        facts += [["of", shown(target)] for target in pull.targets]
        for number, layer in enumerate(pull.layers, 1):
            of = "" if layer.size is None else f" of {show_bytes(layer.size)}"
            facts.append(
                [f"layer {number}", f"{layer.state.value}, {show_bytes(layer.got)}{of}: {shown(layer.digest)}"]
            )
        return [
            "pull",
            "interrupted pull",
            ", ".join(shown(name) for name in pull.images or pull.sources) or "origin not known",
            "unreachable" if pull.has_ended else "leased",
            pull.held,
            pull.bytes,
            _seconds(pull.created),
            _seconds(pull.expires),
            facts,
            [self._numbers[lease.ref] for lease in pull.leases if lease.ref in self._numbers],
            shown(pull.leases[0].ref.key),
        ]

    def _findings(self) -> Iterator[Row]:
        for finding in self._verdict.findings:
            place = finding.place
            facts = [["file", shown(place.file)]]
            facts += [["page", str(place.page)]] if place.page is not None else []
            facts += [["offset", str(place.offset)]] if place.offset is not None else []
            facts += [["bucket", " / ".join(shown(part) for part in place.bucket)]] if place.bucket else []
            facts += [["about", finding.subject]] if finding.subject else []
            facts += [["what to do", finding.remedy]] if finding.remedy else []
            severity = finding.severity
            state = "damage" if severity is Severity.DAMAGE else "not read" if severity is Severity.BLIND else "note"
            yield ["finding", finding.code, finding.message, state, None, None, None, None, facts, [], finding.subject]

    def _links(self) -> Iterator[list[Any]]:
        for ref, link in self._inventory.links.items():
            before = None if link.before is None else self._numbers.get(link.before)
            kind, key = ref.kind.value, split_snapshot_key(ref.key)[1] if ref.kind is Kind.SNAPSHOT else ref.key
            yield [f"{kind} {shown(key)}", before, link.how]

    def _branch(self, branch: Branch) -> list[Any]:
        """kind, name, bytes, objects below, shared, row or null, branches, rows of its objects."""
        return [
            branch.kind,
            branch.name,
            branch.bytes,
            branch.count,
            int(branch.is_shared),
            None if branch.holder is None else self._row_of.get(branch.holder.ref),
            [self._branch(each) for each in branch.branches if each.bytes],
            branch.objects,
        ]


def _word(ref: Ref) -> str:
    return shown(split_snapshot_key(ref.key)[1] if ref.kind is Kind.SNAPSHOT else ref.key)


def _changed(fingerprint: Fingerprint | None) -> UnixNano | None:
    return None if fingerprint is None else UnixNano(fingerprint.mtime_ns)


def _seconds(time: UnixNano | None) -> int | None:
    return None if time is None else time // 10**9


def _times(verdict: Verdict) -> dict[Ref, UnixNano]:
    metadata = verdict.store.metadata
    records: Iterable[Any] = (
        *metadata.images,
        *metadata.containers,
        *metadata.blobs,
        *metadata.snapshots,
        *metadata.sandboxes,
    )
    return {record.ref: record.created for record in records if record.created is not None}
