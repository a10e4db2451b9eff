"""What a page lists: every image, container, lease, interrupted pull, finding and object, and what keeps each.

Of very many objects or holders, :mod:`drydock.report.aggregates` stands for most.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from drydock.model.data import Fingerprint
from drydock.model.disk_usage import UsageCategory, UsageEntry
from drydock.model.findings import Severity
from drydock.model.inventories import Holder, Inventory
from drydock.model.leases import Holding
from drydock.model.names import Kind, Ref, UnixNano, split_snapshot_key
from drydock.model.objects import DAMAGED, StoreObject, Verdict
from drydock.model.pulls import LayerState, Pull
from drydock.model.scans import Scan
from drydock.model.text import shown
from drydock.model.times import age
from drydock.report.aggregates import Aggregates, aggregate, choose_holders, choose_objects, sum_by_state
from drydock.report.holder_tree import HolderNode, ObjectRoles, holder_tree, name_of
from drydock.report.usage_text import KINDS, UsageGroup, usage_texts
from drydock.report.wording import show_bytes, show_count

USAGE: Final = 2_000
"""How many volumes, logs or other entries of a group of usage."""


def _is_object(holder: Holder) -> bool:
    """Whether a holder is an object itself, kept for its own sake."""
    return holder.ref.kind in (Kind.BLOB, Kind.INGEST, Kind.SNAPSHOT)


class _TreemapData(NamedTuple):
    """The tree of a root as the page's map takes it: which nodes get a place of their own, and the row about each."""

    objects: Sequence[StoreObject]
    row_at: Mapping[int, int]
    """Rows of objects, by their places; the other objects are put together by state."""
    row_of: Mapping[Ref, int]
    """Rows of holders."""
    chosen: Collection[Ref]
    """Holders that get a place; the others are put together by kind."""

    def draw(self, node: HolderNode) -> list[Any]:
        """kind, name, bytes, objects below, shared, row or null, children, rows of its objects, smaller objects.

        The smaller objects are [state, how many, bytes].
        """
        left = (place for place in node.objects if place not in self.row_at)
        return [
            node.kind,
            node.name,
            node.bytes,
            node.count,
            int(node.is_shared),
            None if node.holder is None else self.row_of.get(node.holder.ref),
            [self.draw(each) for each in self._below(node) if each.bytes],
            [self.row_at[place] for place in node.objects if place in self.row_at],
            [[state.value, each.count, each.bytes] for state, each in sum_by_state(self.objects, left).items()],
        ]

    def _below(self, node: HolderNode) -> list[HolderNode]:
        nodes: list[HolderNode] = []
        small: dict[str, list[HolderNode]] = defaultdict(list)
        for each in node.children:
            if each.holder is None or each.holder.ref in self.chosen:
                nodes.append(each)
            else:
                small[each.kind].append(each)
        return nodes + [_merged(kind, each) for kind, each in small.items()]


def _merged(kind: str, nodes: Sequence[HolderNode]) -> HolderNode:
    return HolderNode(
        "group",
        show_count(len(nodes), f"smaller {kind}"),
        objects=[place for node in nodes for place in node.objects],
        bytes=sum(node.bytes for node in nodes),
        count=sum(node.count for node in nodes),
    )


_Row = list[Any]
"""kind, role, name, state, bytes, bytes that only it holds, came, ends, facts [[word, value]], links, the word for
explain, how many things the row stands for, when each of its leases ends.

A lease has no row of its own if it is in the row of its container or interrupted pull. Bytes and times (seconds since
1970) are numbers or null; ``links`` are places in ``links``.
"""


class PageData:
    """The data of one root, for a page."""

    def __init__(self, scan: Scan, inventory: Inventory) -> None:
        self._verdict: Verdict = scan.verdict
        self._inventory = inventory
        self._roles = ObjectRoles(scan.verdict)
        self._records_came = _times(scan.verdict)
        self._came = [self._object_came(found) for found in scan.verdict.objects]
        self._numbers: dict[Ref, int] = {}
        self._leases_of: dict[Ref, Holding] = {holding.ref: holding for holding in scan.verdict.leases}
        self._tree = holder_tree(scan)
        self._usage = usage_texts(scan)
        places = choose_objects(scan.verdict.objects)
        self._row_at: dict[int, int] = {place: row for row, place in enumerate(places)}
        left = (place for place in range(len(scan.verdict.objects)) if place not in self._row_at)
        self._aggregates: Aggregates = aggregate(scan.verdict.objects, left, self._came)
        self._chosen = {holder.ref for holder in choose_holders(inventory.holders, scan.verdict.objects)}
        self._rows: list[_Row] = []
        self._row_of: dict[Ref, int] = {}

    def document(self) -> dict[str, Any]:
        """Rows (first objects, in their order), links and tree; and when the objects without rows came."""
        self._rows = [self._object(place) for place in self._row_at]
        self._holders(self._tree)
        for rows in (map(self._pull, self._inventory.pulls), self._leases(), self._findings(), self._sums()):
            self._rows.extend(rows)
        treemap = _TreemapData(self._verdict.objects, self._row_at, self._row_of, self._chosen)
        tree = treemap.draw(self._tree)
        for text in self._usage:
            beside = [self._usage_branch(group) for group in text.groups]
            tree[2] += sum(branch[2] for branch in beside)
            tree[6] += beside
        return {
            "rows": self._rows,
            "links": list(self._links()),
            "tree": tree,
            "times": [[second, state.value, sum_.bytes, sum_.count] for (second, state), sum_ in self._times()],
            "listed": len(self._row_at),
            "objects": len(self._verdict.objects),
        }

    def _object(self, place: int) -> _Row:
        found = self._verdict.objects[place]
        facts = [["path", "" if found.path is None else shown(found.path)]]
        facts.append(["namespace", _namespaces(found.namespaces)])
        facts.append(["snapshotter", shown(found.snapshotter)])
        facts.append(["note", found.note])
        facts.append(["made by", _step(self._inventory.steps.get(found.id, b""))])
        return [
            found.kind.value,
            self._roles.of(found),
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
            [],
        ]

    def _object_came(self, found: StoreObject) -> UnixNano | None:
        came = [self._records_came[ref] for ref in found.refs if ref in self._records_came]
        return min(came) if came else _changed(found.fingerprint)

    def _seconds_past(self, time: UnixNano | None) -> int | None:
        return None if age(time, self._verdict.now) is None else _seconds(time)

    def _holders(self, node: HolderNode) -> None:
        rest: dict[str, list[HolderNode]] = defaultdict(list)
        for each in node.children:
            self._holders(each)
            holder = each.holder
            if holder is None:
                continue
            if _is_object(holder):
                # A holder that is an object has the row of that object.
                places = (place for place in holder.objects if holder.ref in self._verdict.objects[place].refs)
                self._row_of.update((holder.ref, self._row_at[place]) for place in places if place in self._row_at)
            # Every lease has a row elsewhere, also an expired one.
            elif holder.lease is not None and each.kind != "container":
                continue
            elif holder.ref in self._chosen:
                leases = self._leases_among(holder)
                self._row_of.update(dict.fromkeys((holder.ref, *(lease.ref for lease in leases)), len(self._rows)))
                self._rows.append(self._holder(each, holder, leases))
            else:
                rest[each.kind].append(each)
        namespace = node.name if node.kind == "namespace" else ""
        self._rows += [self._smaller_holders(kind, nodes, namespace) for kind, nodes in rest.items()]

    def _leases_among(self, holder: Holder) -> list[Holding]:
        """The leases of a container: its own, and those of images that it mounts."""
        if holder.lease is None:
            return []
        refs = (holder.ref._replace(key=key) for key in holder.names)
        return [self._leases_of[ref] for ref in refs if ref in self._leases_of]

    def _holder(self, node: HolderNode, holder: Holder, leases: Sequence[Holding]) -> _Row:
        facts = [["namespace", shown(holder.ref.namespace)], ["objects", str(len(holder.objects))]]
        if holder.lease is not None:
            facts += [["lease", _about_lease(lease)] for lease in leases]
        elif len(holder.names) > 1:
            facts += [["name", shown(name)] for name in holder.names]
        # Several namespaces may have an image of the same name.
        among = self._verdict.store.metadata.namespaces
        return [
            node.kind,
            node.kind if len(among) < 2 else f"{node.kind} in {shown(holder.ref.namespace)}",
            name_of(holder),
            self._state(holder.objects),
            node.reached,
            node.only,
            self._seconds_past(leases[0].created) if leases else _seconds(self._records_came.get(holder.ref)),
            None,
            facts,
            self._to((holder.ref,)),
            _word(holder.ref),
            1,
            [_seconds(lease.expires) for lease in leases],
        ]

    def _leases(self) -> Iterator[_Row]:
        reached = {holder.ref: holder.objects for holder in self._inventory.holders}
        for holding in self._verdict.leases:
            if holding.ref in self._row_of:
                continue
            is_over = holding.kind.holds_nothing
            size = sum(self._verdict.objects[place].allocated for place in reached.get(holding.ref, ()))
            facts = [
                ["namespace", shown(holding.ref.namespace)],
                ["why", holding.reason],
                ["owner", holding.owner or ""],
                ["names", show_count(holding.resources, "thing")],
            ]
            self._row_of[holding.ref] = len(self._rows)
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
                [_seconds(holding.expires)],
            ]

    def _pull(self, pull: Pull) -> _Row:
        facts = [["namespace", shown(pull.namespace)]]
        facts += [["lease", _about_lease(lease)] for lease in pull.leases]
        facts += [["of", shown(target)] for target in pull.targets]
        for number, layer in enumerate(pull.layers, 1):
            of = "" if layer.size is None else f" of {show_bytes(layer.size)}"
            got = "not in containerd" if layer.state is LayerState.CLASSIC else f"{show_bytes(layer.got)}{of}"
            facts.append([f"layer {number}", f"{layer.state.value}, {got}: {shown(layer.digest)}"])
        self._row_of.update(dict.fromkeys((lease.ref for lease in pull.leases), len(self._rows)))
        return [
            "pull",
            "interrupted pull",
            ", ".join(shown(name) for name in pull.images or pull.sources) or "origin unknown",
            "unreachable" if pull.has_ended else "leased",
            pull.held,
            pull.bytes,
            self._seconds_past(pull.created),
            _seconds(pull.expires),
            facts,
            self._to(lease.ref for lease in pull.leases),
            shown(pull.leases[0].ref.key),
            1,
            [_seconds(lease.expires) for lease in pull.leases],
        ]

    def _findings(self) -> Iterator[_Row]:
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
            yield [
                "finding",
                str(finding.code),
                finding.message,
                state,
                None,
                None,
                None,
                None,
                facts,
                [],
                about,
                1,
                [],
            ]

    def _sums(self) -> Iterator[_Row]:
        for (kind, state, namespaces), sum_ in self._aggregates.sums.items():
            facts = [["each", f"at most {show_bytes(sum_.largest)}"], ["namespace", _namespaces(namespaces)]]
            name = show_count(sum_.count, f"smaller {kind.value}")
            yield [
                kind.value, f"{kind.value}s", name, state.value, sum_.bytes, None, None, None,
                [fact for fact in facts if fact[1]], [], "", sum_.count, [],
            ]  # fmt: skip

    def _usage_branch(self, group: UsageGroup) -> list[Any]:
        """A branch of the map for data beside the stores, as :meth:`_TreemapData.draw` makes it; its rows are added."""
        entries = sorted((entry for entry in group.entries if entry.bytes), key=lambda entry: -(entry.bytes or 0))
        first = len(self._rows)
        self._rows += [self._usage_row(entry) for entry in entries[:USAGE]]
        if len(entries) > USAGE:
            self._rows.append(_smaller_usage(group.name, entries[USAGE:]))
        return ["group", group.name, group.bytes, 0, 0, None, [], list(range(first, len(self._rows))), []]

    def _usage_row(self, entry: UsageEntry) -> _Row:
        facts = [["path", shown(entry.path)], ["driver", shown(entry.driver)], ["note", entry.note]]
        if entry.used_by is not None:
            facts.append(["mounted by", ", ".join(map(shown, entry.used_by)) or "no container"])
        is_volume = entry.category in (UsageCategory.NAMED_VOLUMES, UsageCategory.ANONYMOUS_VOLUMES)
        name = shown(entry.name) or shown(entry.path)
        return [
            "usage", KINDS.get(entry.category, entry.category.value), name, "", entry.bytes, None, None, None,
            [fact for fact in facts if fact[1]], [], name if is_volume else "", 1, [],
        ]  # fmt: skip

    def _times(self) -> list[Any]:
        return sorted(self._aggregates.times.items(), key=lambda each: (each[0][0], each[0][1].value))

    def _to(self, refs: Iterable[Ref]) -> list[int]:
        """The numbers of the links to records; every link on the way to each gets a number, the first one first."""
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
        """The state of a holder: damaged if an object that it reaches is."""
        states = {self._verdict.objects[place].state for place in places}
        return next((state.value for state in DAMAGED if state in states), "live")

    def _smaller_holders(self, kind: str, nodes: list[HolderNode], namespace: str) -> _Row:
        """One row for many holders. What each frees alone adds up; what they reach does not, because they share it."""
        only = sum(node.only for node in nodes)
        facts = [["each reaches", f"at most {show_bytes(max(node.reached for node in nodes))}"]]
        facts += [["namespace", namespace]] if namespace else []
        name = show_count(len(nodes), f"smaller {kind}")
        places = (place for node in nodes if node.holder for place in node.holder.objects)
        return [kind, f"{kind}s", name, self._state(places), None, only, None, None, facts, [], "", len(nodes), []]


def _smaller_usage(name: str, entries: Sequence[UsageEntry]) -> _Row:
    size = sum(entry.bytes or 0 for entry in entries)
    facts = [["each", f"at most {show_bytes(entries[0].bytes or 0)}"]]
    words = f"{show_count(len(entries), 'entry')}, each smaller"
    return ["usage", name, words, "", size, None, None, None, facts, [], "", len(entries), []]


def _step(created_by: bytes) -> str:
    """A step as its Dockerfile has it; Docker's builders write more around it.

    Source: moby builder/dockerfile/internals.go withCmdComment (v28.5); buildkit
    frontend/dockerfile/dockerfile2llb/convert.go commitToHistory (v0.32).
    """
    return shown(created_by.removeprefix(b"/bin/sh -c #(nop)").removesuffix(b"# buildkit").strip())


def _about_lease(holding: Holding) -> str:
    return f"{shown(holding.ref.key)}: {holding.reason}; names {show_count(holding.resources, 'thing')}"


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
    # A time after the clock has no place on the page's time line.
    return {record.ref: record.created for record in records if age(record.created, verdict.now) is not None}
