"""What a page lists: every image, container, lease, interrupted pull, finding and object, and the way to each.

Of very many objects or holders the smaller ones are put together: one line and one place stands for many, and all sums
stay as they are (:mod:`drydock.report.aggregate`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from drydock.model.data import Fingerprint
from drydock.model.findings import Severity
from drydock.model.inventories import Holder, Inventory
from drydock.model.leases import LeaseClass
from drydock.model.names import Kind, Ref, UnixNano, split_snapshot_key
from drydock.model.objects import DAMAGED, StoreObject, Verdict
from drydock.model.pulls import LayerState, Pull
from drydock.model.scans import Scan
from drydock.model.text import shown
from drydock.model.times import age
from drydock.report.aggregate import Smaller, choose_holders, choose_objects, is_object, put_together
from drydock.report.holder_tree import Branch, grow, name_of
from drydock.report.parts import Parts
from drydock.report.treemap_data import Plot
from drydock.report.wording import show_bytes, show_count

Row = list[Any]
"""kind, what it is, name, state, bytes, bytes only it holds, came, ends, facts [[word, value]], links, explain's word,
how many it stands for.

Bytes and times (seconds since 1970) are numbers or null; ``links`` are places in ``links``.
"""


class Catalogue:
    """One root, for a page."""

    def __init__(self, scan: Scan, inventory: Inventory) -> None:
        self._verdict: Verdict = scan.verdict
        self._inventory = inventory
        self._parts = Parts(scan.verdict)
        self._records_came = _times(scan.verdict)
        self._came = [self._object_came(found) for found in scan.verdict.objects]
        self._numbers: dict[Ref, int] = {}
        self._tree = grow(scan)
        places = choose_objects(scan.verdict.objects)
        self._row_at: dict[int, int] = {place: row for row, place in enumerate(places)}
        left = (place for place in range(len(scan.verdict.objects)) if place not in self._row_at)
        self._smaller: Smaller = put_together(scan.verdict.objects, left, self._came)
        self._chosen = {holder.ref for holder in choose_holders(inventory.holders, scan.verdict.objects)}
        self._rows: list[Row] = []
        self._row_of: dict[Ref, int] = {}

    def document(self) -> dict[str, Any]:
        """Rows (first objects, in their order), links and tree; and of smaller objects when they came."""
        self._rows = [self._object(place) for place in self._row_at]
        self._holders(self._tree)
        for rows in (self._leases(), map(self._pull, self._inventory.pulls), self._findings(), self._sums()):
            self._rows.extend(rows)
        plot = Plot(self._verdict.objects, self._row_at, self._row_of, self._chosen)
        return {
            "rows": self._rows,
            "links": list(self._links()),
            "tree": plot.draw(self._tree),
            "times": [[second, state.value, sum_.bytes, sum_.count] for (second, state), sum_ in self._times()],
            "listed": len(self._row_at),
            "objects": len(self._verdict.objects),
        }

    def _object(self, place: int) -> Row:
        found = self._verdict.objects[place]
        facts = [["path", "" if found.path is None else shown(found.path)]]
        facts.append(["namespace", _namespaces(found.namespaces)])
        facts.append(["snapshotter", shown(found.snapshotter)])
        facts.append(["note", found.note])
        return [
            found.kind.value,
            self._parts.of(found),
            shown(found.id),
            found.state.value,
            found.allocated,
            None,
            _seconds(self._came[place]),
            None,
            [fact for fact in facts if fact[1]],
            self._to(found.refs),
            shown(found.id),
            1,
        ]

    def _object_came(self, found: StoreObject) -> UnixNano | None:
        came = [self._records_came[ref] for ref in found.refs if ref in self._records_came]
        return min(came) if came else _changed(found.fingerprint)

    def _seconds_past(self, time: UnixNano | None) -> int | None:
        return None if age(time, self._verdict.now) is None else _seconds(time)

    def _holders(self, branch: Branch) -> None:
        rest: dict[str, list[Branch]] = defaultdict(list)
        for each in branch.branches:
            self._holders(each)
            holder = each.holder
            if holder is None:
                continue
            if is_object(holder):
                # What is kept for its own sake is listed as the object that it is.
                places = (place for place in holder.objects if holder.ref in self._verdict.objects[place].refs)
                self._row_of.update((holder.ref, self._row_at[place]) for place in places if place in self._row_at)
            # Leases have rows of their own, the expired ones too.
            elif holder.lease is not None and each.kind != "container":
                continue
            elif holder.ref in self._chosen:
                self._row_of[holder.ref] = len(self._rows)
                self._rows.append(self._holder(each, holder))
            else:
                rest[each.kind].append(each)
        namespace = branch.name if branch.kind == "namespace" else ""
        self._rows += [self._smaller_holders(kind, branches, namespace) for kind, branches in rest.items()]

    def _holder(self, branch: Branch, holder: Holder) -> Row:
        facts = [["namespace", shown(holder.ref.namespace)], ["objects", str(len(holder.objects))]]
        if len(holder.names) > 1:
            facts += [["name", shown(name)] for name in holder.names]
        if holder.lease is not None:
            facts.append(["lease", shown(holder.ref.key)])
        # Namespaces may have images of one name.
        among = self._verdict.store.metadata.namespaces
        return [
            branch.kind,
            branch.kind if len(among) < 2 else f"{branch.kind} in {shown(holder.ref.namespace)}",
            name_of(holder),
            self._state(holder.objects),
            branch.reached,
            branch.only,
            _seconds(self._records_came.get(holder.ref)),
            None,
            facts,
            self._to((holder.ref,)),
            _word(holder.ref),
            1,
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
                self._seconds_past(holding.created),
                _seconds(holding.expires),
                [fact for fact in facts if fact[1]],
                self._to((holding.ref,)),
                _word(holding.ref),
                1,
            ]

    def _pull(self, pull: Pull) -> Row:
        facts = [["namespace", shown(pull.namespace)]]
        facts += [["lease", shown(lease.ref.key)] for lease in pull.leases]
        facts += [["of", shown(target)] for target in pull.targets]
        for number, layer in enumerate(pull.layers, 1):
            of = "" if layer.size is None else f" of {show_bytes(layer.size)}"
            got = "not in containerd" if layer.state is LayerState.CLASSIC else f"{show_bytes(layer.got)}{of}"
            facts.append([f"layer {number}", f"{layer.state.value}, {got}: {shown(layer.digest)}"])
        return [
            "pull",
            "interrupted pull",
            ", ".join(shown(name) for name in pull.images or pull.sources) or "origin not known",
            "unreachable" if pull.has_ended else "leased",
            pull.held,
            pull.bytes,
            self._seconds_past(pull.created),
            _seconds(pull.expires),
            facts,
            self._to(lease.ref for lease in pull.leases),
            shown(pull.leases[0].ref.key),
            1,
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
            about = finding.subject
            yield ["finding", finding.code, finding.message, state, None, None, None, None, facts, [], about, 1]

    def _sums(self) -> Iterator[Row]:
        for (kind, state, namespaces), sum_ in self._smaller.sums.items():
            facts = [["each", f"at most {show_bytes(sum_.largest)}"], ["namespace", _namespaces(namespaces)]]
            name = show_count(sum_.count, f"smaller {kind.value}")
            yield [
                kind.value, f"{kind.value}s", name, state.value, sum_.bytes, None, None, None,
                [fact for fact in facts if fact[1]], [], "", sum_.count,
            ]  # fmt: skip

    def _times(self) -> list[Any]:
        return sorted(self._smaller.times.items(), key=lambda each: (each[0][0], each[0][1].value))

    def _to(self, refs: Iterable[Ref]) -> list[int]:
        """The numbers of the links to records; of each the whole way is numbered, its beginning first."""
        found = []
        for ref in refs:
            way: list[Ref] = []
            at: Ref | None = ref
            while at is not None and at in self._inventory.links and at not in self._numbers:
                way.append(at)
                at = self._inventory.links[at].before
            for each in reversed(way):
                self._numbers[each] = len(self._numbers)
            if ref in self._numbers:
                found.append(self._numbers[ref])
        return found

    def _links(self) -> Iterator[list[Any]]:
        for ref in self._numbers:
            link = self._inventory.links[ref]
            before = None if link.before is None else self._numbers.get(link.before)
            kind, key = ref.kind.value, split_snapshot_key(ref.key)[1] if ref.kind is Kind.SNAPSHOT else ref.key
            yield [f"{kind} {shown(key)}", before, link.how]

    def _state(self, places: Iterable[int]) -> str:
        """Of what reaches objects: damaged as far as they are."""
        states = {self._verdict.objects[place].state for place in places}
        return next((state.value for state in DAMAGED if state in states), "live")

    def _smaller_holders(self, kind: str, branches: list[Branch], namespace: str) -> Row:
        """One line for many: what each of them frees alone adds up; what they reach does not, since they share it."""
        only = sum(branch.only for branch in branches)
        facts = [["each reaches", f"at most {show_bytes(max(branch.reached for branch in branches))}"]]
        facts += [["namespace", namespace]] if namespace else []
        name = show_count(len(branches), f"smaller {kind}")
        places = (place for branch in branches if branch.holder for place in branch.holder.objects)
        return [kind, f"{kind}s", name, self._state(places), None, only, None, None, facts, [], "", len(branches)]


def _namespaces(names: tuple[bytes, ...]) -> str:
    return ", ".join(shown(name) for name in names)


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
    # A time after the clock is no place on the page's line of time.
    return {record.ref: record.created for record in records if age(record.created, verdict.now) is not None}
