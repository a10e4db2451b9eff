"""The plan that repairs one root: what is deleted so that the engine creates it anew, and what the deletion loses.

Why records go: containerd's content store answers "already exists" from the record alone (core/metadata/content.go
Writer, v2.1), and the unpacker skips a layer whose snapshot is recorded (core/unpack/unpacker.go, v2.1), whatever
state the data is in; so a pull repairs neither. Image records stay: the next pull finds an image whose target is gone,
and the GC ignores a reference without a record (core/metadata/gc.go, v2.1).
"""

from __future__ import annotations

import stat
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from drydock.model.data import RowKind
from drydock.model.errors import Usage
from drydock.model.findings import Finding, FindingCode, Severity
from drydock.model.leases import LeaseClass
from drydock.model.names import EXTRACTING, Digest, Kind, RawPath, Ref, snapshot_ref, split_snapshot_key
from drydock.model.objects import ObjectKind, State, StoreObject, Verdict
from drydock.model.plans import (
    DatabaseFingerprint,
    FieldDrop,
    LeaseEnd,
    Plan,
    RecordDrop,
    Removal,
    RowDrop,
    Target,
    Withheld,
)
from drydock.model.policies import Policy
from drydock.model.repairs import Adopted, Loss, LostContainers, Repair
from drydock.model.text import shown
from drydock.model.verifications import ImageState
from drydock.repairs.broken_chains import BrokenChain, BrokenChains, RowName, stale_children, stale_links
from drydock.repairs.proofs import Proofs
from drydock.repairs.refetch import can_be_refetched, can_be_unpacked, split_refetched
from drydock.repairs.restoration import Restorable
from drydock.verdict.blind_spots import edit_blindness
from drydock.verdict.dependants import Dependants
from drydock.verdict.graph import visited
from drydock.verdict.judge import Reach
from drydock.verdict.reach import mark

_PREFIX = 12
"""The shortest prefix of a container's id that names it, as docker shows them."""
_TIMES = {
    FindingCode.UNDECODABLE_TIME: "a time that cannot be decoded; because of it, the engine cannot list the record",
    FindingCode.UNDECODABLE_EXPIRY: "an expiry that cannot be decoded; because of it, the engine's GC removes nothing",
}
_FIELDS = frozenset((*_TIMES, FindingCode.LOST_ROW, FindingCode.RECORD_WITHOUT_SNAPSHOT))
"""Findings about a single field or cache record, which is deleted."""
_UNPROVED = "nothing proves that its unpacked files are intact; --drop-unproved deletes the blob and the snapshot"
_UNLISTED = "an entry of a lease for an object whose record is deleted; the engine ignores it"
_NO_CHILD = "a link to a child snapshot without a record; because of it, the engine cannot remove the parent"
_LOST = "a link to a lost row; because of it, drydock removes nothing of the snapshotter"


def make_repair(
    verdict: Verdict,
    reached: Reach,
    images: Iterable[ImageState],
    *,
    wrong: Mapping[RowName, Finding],
    proofs: Proofs,
    adopted: Adopted,
    lost: LostContainers,
    right: Container[Digest],
    accept: tuple[bytes, ...],
    drop_unproved: bool,
    fingerprints: Iterable[DatabaseFingerprint],
    cached: Iterable[FieldDrop] = (),
    ended: Iterable[LeaseEnd] = (),
    restorable: Restorable | None = None,
) -> Repair:
    """Plan the repair of one root.

    Args:
        verdict: of the root; ``store.wrong`` has the blobs with wrong bytes, as far as blobs were hashed.
        reached: of the root.
        images: the state of each image.
        wrong: snapshots that differ from their layers.
        proofs: unpacked snapshots of damaged layers that are damaged or unproved.
        adopted: blobs that get their records back; the store of ``verdict`` has these records.
        lost: containers without records; the store of ``verdict`` has the records that are put in.
        right: blobs that snapshots can be unpacked from again: their bytes were read, and match their digests.
        accept: names of images, containers and snapshots that may be lost.
        drop_unproved: whether unproved snapshots go with their damaged layers.
        fingerprints: the databases as they are.
        cached: what is deleted of BuildKit's cache records.
        ended: the leases of these records.
        restorable: damaged snapshots that are unpacked again; None if none is.
    """
    made = _Repairer(
        verdict, reached, images, wrong, proofs,
        adopted=adopted, lost=lost, right=right, accept=accept, drop_unproved=drop_unproved, cached=(*cached,),
        ended=(*ended,), restorable=restorable,
    )  # fmt: skip
    return made.repair(tuple(fingerprints))


@dataclass(slots=True)
class _Outlook:
    """What happens to images and containers if a broken chain goes."""

    images: list[Ref]
    """Images that need it."""
    stands: list[Loss] = field(default_factory=list)
    """Containers and active snapshots that depend on it."""
    lost: list[Loss] = field(default_factory=list)
    """Images without a known registry."""
    refetch: list[Ref] = field(default_factory=list)
    """Images to pull again."""
    unpack: list[Ref] = field(default_factory=list)
    """Images that the engine unpacks again from what it has."""

    @property
    def takes_containers(self) -> bool:
        """Whether only containers would be lost, and not all of these are accepted."""
        return any(not loss.accepted for loss in self.stands) and not self.lost


def refuse_unknown(repairs: Iterable[Repair], accept: Iterable[bytes]) -> None:
    """Refuse names that no repair would lose: a mistyped name must not go unnoticed.

    Raises:
        Usage: there is such a name.
    """
    losses = [loss for repair in repairs for loss in repair.losses]
    for name in accept:
        if not any(_is_called(name, loss.ref, loss.name) for loss in losses):
            raise Usage(f"{shown(name)} would not be lost, so there is no loss to accept")


def _is_called(word: bytes, ref: Ref, name: str) -> bool:
    """Whether a word of ``--accept-loss`` names a loss; ``name`` is its shown name."""
    key = split_snapshot_key(ref.key)[1] if ref.kind is Kind.SNAPSHOT else ref.key
    if word.startswith(ref.namespace + b"/") and _is_called(word[len(ref.namespace) + 1 :], ref, name):
        return True
    is_id = ref.kind in (Kind.LEASE, Kind.CONTAINER) and len(word) >= _PREFIX and key.startswith(word)
    return shown(word) == name or word == key or is_id


class _Repairer:
    def __init__(
        self,
        verdict: Verdict,
        reached: Reach,
        images: Iterable[ImageState],
        wrong: Mapping[RowName, Finding],
        proofs: Proofs,
        *,
        adopted: Adopted,
        lost: LostContainers,
        right: Container[Digest],
        accept: tuple[bytes, ...],
        drop_unproved: bool,
        cached: tuple[FieldDrop, ...],
        ended: tuple[LeaseEnd, ...],
        restorable: Restorable | None,
    ) -> None:
        self._cached = cached
        self._ended = ended
        self._verdict = verdict
        self._store = verdict.store
        self._reached = reached
        self._images = {image.ref: image for image in images}
        self._restorable = restorable or Restorable({}, (), ())
        self._restored = {finding for row, finding in wrong.items() if row in self._restorable.layers}
        self._wrong = {row: finding for row, finding in wrong.items() if row not in self._restorable.layers}
        self._proofs = proofs
        self._drop_unproved = drop_unproved
        self._unproved: dict[str, None] = {}
        self._held: set[Ref] = set()
        """Images with a damaged layer that stays in place."""
        self._rows = {found.row_name: found for found in verdict.objects if found.row is not None}
        self._adopted = adopted
        self._lost = lost
        self._right = right
        self._accept = accept
        self._dependants = Dependants(verdict, reached)
        self._losses: dict[Ref, Loss] = {}
        self._refetch: dict[Ref, None] = {}
        self._unpack: dict[str, None] = {}
        self._withheld: list[Withheld] = []
        self._blind = edit_blindness(self._store)

    def repair(self, fingerprints: tuple[DatabaseFingerprint, ...]) -> Repair:
        """Make the plan."""
        records: dict[Ref, str] = {}
        rows: dict[RowName, str] = {}
        mended: set[int] = set()
        adopted = {each.ref for each in self._adopted.adoptions}
        given = {each.ref: each for each in self._lost.snapshots}
        self._lose_at_start()
        broken_chains = BrokenChains(self._verdict, self._wrong)
        for damaged in self._ordered(broken_chains):
            # An adopted blob was hashed, so the damage is in another namespace's record of it.
            alone = replace(damaged, refs=tuple(ref for ref in damaged.refs if ref not in adopted))
            together = self._together(alone)
            may_go = self._may_go(alone, rows)
            broken = broken_chains.with_snapshots(alone, together) if together and may_go else alone
            outlook = self._outlook(broken)
            if self._drop_unproved and _is_doubtful(together) and outlook.takes_containers:
                # A container depends on it: only the blob goes, so that a pull fetches it and it can be compared.
                broken, outlook = alone, self._outlook(alone)
                self._hold(outlook.images)
            back = next((given[ref].why for ref in broken.refs if ref in given), "")
            held = f"{back} depends on it, and gets its records back first: repair again afterwards" if back else None
            reason = self._blind or held or self._reason(outlook, None if may_go else _UNPROVED)
            if reason is not None:
                found = broken.found
                kind, size = (Kind(found.kind.value), found.allocated) if found else (Kind.SNAPSHOT, 0)
                self._withheld.append(Withheld(kind, shown(found.id) if found else "", size, reason))
                continue
            for ref in broken.refs:
                records.setdefault(ref, broken.why)
            rows.update(dict.fromkeys(broken.rows, broken.why))
            if broken.found is not None:
                mended.add(id(broken.found))
            mended.update(id(self._rows[row]) for row in together if row in rows)
        restores = [each for row, each in self._restorable.layers.items() if row not in rows]
        removals = [*self._junk(), *self._restorable.leftovers, *self._removals(records, rows)]
        fields = [] if self._blind else list(self._fields(records, rows))
        plan = Plan(
            self._store.root.path,
            self._store.root.host,
            self._verdict.now,
            Policy(),
            fingerprints,
            () if self._blind else self._ended,
            tuple(self._record(ref, why, records) for ref, why in records.items()),
            tuple(self._row(row, why) for row, why in rows.items()),
            tuple(sorted(removals, key=lambda removal: (removal.after_edit, removal.path))),
            tuple(self._withheld),
            fields=(*(drop for drop, _ in fields), *(() if self._blind else self._cached)),
            adoptions=self._adopted.adoptions,
            snapshots=self._lost.snapshots,
            lease_records=self._lost.leases,
            restores=tuple(restores),
        )
        left = tuple(self._left(plan, mended))
        changed = records or rows or removals or plan.added or plan.leases or self._cached or restores
        mends = bool(changed) or any(is_damage for _, is_damage in fields)
        pulled = [self._images[ref] for ref in self._refetch]
        refetch, short = split_refetched(self._reached.graph, pulled, records, self._store.backends)
        whole = [ref for ref in self._adopted.whole if ref not in {*refetch, *short, *self._held, *self._losses}]
        blind = [each.message for each in self._store.all_findings() if each.severity is Severity.BLIND]
        return Repair(
            plan,
            tuple(self._losses.values()),
            tuple(map(self._dependants.label, refetch)),
            tuple(self._unpack),
            left,
            mends,
            self._blind,
            blind[0] if blind and self._blind is None else None,
            tuple(map(self._dependants.label, whole)),
            self._adopted.left,
            tuple(self._dependants.label(ref) for ref in short if ref not in self._held),
            tuple(self._unproved),
            tuple(each.name for each in self._lost.containers if each.reason is None),
            self._restorable.left,
        )

    def _lose_at_start(self) -> None:
        """Note the containers that the engine loses when it starts."""
        for each in self._lost.containers:
            if each.reason is not None:
                accepted = any(_is_called(word, each.ref, each.name) for word in self._accept)
                why = f"{each.missing}, and {each.reason}"
                self._losses[each.ref] = Loss(each.ref, each.name, Kind.CONTAINER, why, accepted, True, each.has_row)

    def _together(self, broken: BrokenChain) -> dict[RowName, Finding]:
        """The unpacked snapshots of a damaged blob that are damaged or unproved."""
        return {row: finding for ref in broken.refs for row, finding in self._proofs.get(ref, {}).items()}

    def _ordered(self, broken_chains: Iterable[BrokenChain]) -> list[BrokenChain]:
        """Put chains without doubt first, as unproved snapshots may go with them; other blobs of unproved images last.

        Without its config, the engine would collect the unpacked snapshots, and a pull would fail at the damaged layer.
        """
        settled: list[BrokenChain] = []
        doubtful: list[BrokenChain] = []
        last: list[BrokenChain] = []
        for broken in broken_chains:
            (doubtful if _is_doubtful(self._together(broken)) else settled).append(broken)
        images = {ref for broken in doubtful for ref in self._dependants.of(broken.refs)[0]}
        for broken in list(settled):
            is_blob = all(ref.kind is Kind.BLOB for ref in broken.refs)
            if images and is_blob and not images.isdisjoint(self._dependants.of(broken.refs)[0]):
                settled.remove(broken)
                last.append(broken)
        return [*settled, *doubtful, *last]

    def _may_go(self, broken: BrokenChain, rows: Container[RowName]) -> bool:
        """Whether no unproved snapshot keeps a broken chain.

        Args:
            broken: the chain.
            rows: rows that go already.
        """
        images, _ = self._dependants.of(broken.refs)
        if self._drop_unproved or (images and all(self._lose(ref, Kind.IMAGE, "").accepted for ref in images)):
            return True
        doubtful = [
            row for row, finding in self._together(broken).items() if finding.code is FindingCode.SNAPSHOT_UNPROVED
        ]
        is_blob = all(ref.kind is Kind.BLOB for ref in broken.refs)
        return all(row in rows for row in doubtful) and not (is_blob and not self._held.isdisjoint(images))

    def _outlook(self, broken: BrokenChain) -> _Outlook:
        """What becomes of images and containers where a broken chain goes."""
        images, containers = self._dependants.of(broken.refs)
        outlook = _Outlook(images)
        if any(ref.kind is Kind.SNAPSHOT for ref in broken.refs):
            outlook.stands = [
                self._lose(ref, Kind.CONTAINER, "its files depend on data that would be deleted") for ref in containers
            ]
            outlook.stands += self._active(broken, containers)
        for ref in images:
            graph, image = self._reached.graph, self._images[ref]
            if can_be_unpacked(graph, image, broken.refs, self._right):
                outlook.unpack.append(ref)
            elif can_be_refetched(graph, image, broken.refs):
                outlook.refetch.append(ref)
            elif broken.found is None or broken.found.reach is not State.UNREACHABLE:
                why = "not all of its records say which registry it came from"
                outlook.lost.append(self._lose(ref, Kind.IMAGE, why))
        return outlook

    def _reason(self, outlook: _Outlook, hold: str | None) -> str | None:
        """Why a broken chain stays; None if it goes. Notes all losses, and the images that come back.

        Args:
            outlook: what happens to images and containers.
            hold: why it stays even if nothing is lost; None if it does not.
        """
        losses = [*outlook.stands, *outlook.lost]
        for loss in losses:
            self._losses[loss.ref] = loss
        open_ = [loss for loss in losses if not loss.accepted]
        if open_:
            more = f" and {len(open_) - 1} more" if len(open_) > 1 else ""
            return f"{open_[0].kind.value} {open_[0].name}{more} would be lost; --accept-loss accepts that"
        if hold is not None:
            self._hold(outlook.images)
            return hold
        self._refetch.update(dict.fromkeys(outlook.refetch))
        self._unpack.update(dict.fromkeys(map(self._dependants.label, outlook.unpack)))
        return None

    def _hold(self, images: Iterable[Ref]) -> None:
        """Note images with an unproved layer."""
        for ref in images:
            self._held.add(ref)
            self._unproved[self._dependants.label(ref)] = None

    def _lose(self, ref: Ref, kind: Kind, why: str) -> Loss:
        name = self._dependants.name(ref)
        if kind is Kind.SNAPSHOT:
            name = shown(split_snapshot_key(ref.key)[1])
        return Loss(ref, name, kind, why, any(_is_called(word, ref, name) for word in self._accept))

    def _active(self, broken: BrokenChain, containers: list[Ref]) -> Iterator[Loss]:
        """Active snapshots that belong to no known container."""
        live = set(map(visited, self._reached.live))
        owned: set[Ref] = set()
        for ref in containers:
            owned |= set(map(visited, mark(self._reached.graph, [ref])))
        for ref in broken.refs:
            if ref.kind is not Kind.SNAPSHOT:
                continue
            snapshotter, key = split_snapshot_key(ref.key)
            record = self._reached.graph.records[ref]
            backend = self._store.backends[snapshotter]
            row = backend.rows.get(getattr(record, "name", b""))
            if row is None or row.kind is not RowKind.ACTIVE or ref in owned or key.startswith(EXTRACTING):
                continue
            classes = {self._reached.classes[lease].kind for lease in self._reached.leased.get(ref, ())}
            # The engine itself drops a snapshot that nothing reaches, or only leases that end by themselves.
            if ref not in live and classes <= {LeaseClass.TEMPORARY, LeaseClass.OWNERLESS}:
                continue
            if not any(entry.id == row.id for entry in backend.entries):
                continue
            yield self._lose(ref, Kind.SNAPSHOT, "it is active, and depends on data that would be deleted")

    def _record(self, ref: Ref, why: str, records: Mapping[Ref, str]) -> RecordDrop:
        parent = getattr(self._reached.graph.records[ref], "parent_ref", None)
        stays = parent is not None and parent not in records and parent in self._reached.graph.records
        return RecordDrop(ref, parent if stays else None, why)

    def _row(self, row: RowName, why: str) -> RowDrop:
        snapshotter, name = row
        backend = self._store.backends[snapshotter]
        found = backend.rows[name]
        parent = backend.rows.get(found.parent)
        return RowDrop(snapshotter, name, found.id, None if parent is None else parent.id, why)

    def _removals(self, records: Mapping[Ref, str], rows: Mapping[RowName, str]) -> Iterator[Removal]:
        for found in self._verdict.objects:
            if found.path is None or found.fingerprint is None:
                continue
            if found.kind is ObjectKind.SNAPSHOT and found.row is not None and (found.snapshotter, found.row) in rows:
                why = rows[found.snapshotter, found.row]
                yield self._removal(Target.SNAPSHOT, found, why)
            elif found.kind is ObjectKind.BLOB and found.refs and all(ref in records for ref in found.refs):
                # The next pull would adopt a file of the right size without reading it.
                yield self._removal(Target.BLOB, found, found.note)
            elif found.state is not State.FOREIGN and not found.refs and self._is_wrong_blob(found):
                yield self._removal(
                    Target.BLOB,
                    found,
                    "it has no record, and its bytes are wrong; the next pull would use it without reading it",
                )

    def _is_wrong_blob(self, found: StoreObject) -> bool:
        return found.kind is ObjectKind.BLOB and found.id in self._store.wrong and not self._blind

    def _removal(self, target: Target, found: StoreObject, why: str) -> Removal:
        assert found.path is not None
        assert found.fingerprint is not None
        root = self._store.root.path
        after = bool(found.refs) or found.row is not None
        return Removal(target, root, found.path, found.fingerprint, found.allocated, why, after)

    def _junk(self) -> Iterator[Removal]:
        for junk in self._store.content.junk:
            if not _is_in_algorithm(junk.path):
                continue
            if stat.S_ISREG(junk.fingerprint.mode):
                yield Removal(
                    Target.BLOB,
                    self._store.root.path,
                    junk.path,
                    junk.fingerprint,
                    junk.allocated,
                    "not a blob; containerd's GC of content stops at its name",
                )
            else:
                self._withheld.append(
                    Withheld(
                        Kind.BLOB, shown(junk.path), junk.allocated, "not a regular file: check it, and move it away"
                    )
                )

    def _fields(self, records: Mapping[Ref, str], rows: Mapping[RowName, str]) -> Iterator[tuple[FieldDrop, bool]]:
        """The fields to delete, and whether each is damage, rather than left over from records that go."""
        paths = {backend.path + b"/metadata.db": name for name, backend in self._store.backends.items()}
        root = self._store.root.path
        for finding in self._store.all_findings():
            if finding.code in _TIMES and finding.place.bucket:
                *bucket, key = finding.place.bucket
                snapshotter = paths.get(finding.place.file.removeprefix(root.rstrip(b"/") + b"/"))
                if snapshotter is not None or finding.place.file == self._store.metadata.path:
                    yield FieldDrop(snapshotter, tuple(bucket), key, _TIMES[finding.code]), True
        for snapshot, child in stale_children(self._store):
            if snapshot.ref not in records:
                bucket_ = (b"v1", snapshot.namespace, b"snapshots", snapshot.snapshotter, snapshot.key, b"children")
                yield FieldDrop(None, bucket_, child, _NO_CHILD), False
        for name, key in stale_links(self._store, rows, records):
            yield FieldDrop(name, (b"v1", b"parents"), key, _LOST), True
        for lease in self._store.metadata.leases:
            lists = (b"v1", lease.namespace, b"leases", lease.id)
            for digest in lease.blobs:
                if Ref(Kind.BLOB, lease.namespace, digest) in records:
                    yield FieldDrop(None, (*lists, b"content"), digest, _UNLISTED), False
            for snapshotter, key in lease.snapshots:
                if snapshot_ref(lease.namespace, snapshotter, key) in records:
                    yield FieldDrop(None, (*lists, b"snapshots", snapshotter), key, _UNLISTED), False

    def _left(self, plan: Plan, mended: set[int]) -> Iterator[Finding]:
        places = {(*field.bucket, field.key) for field in plan.fields}
        gone = {removal.path for removal in plan.removals}
        about = {shown(found.id) for found in self._verdict.objects if id(found) in mended}
        given_up = {loss.name for loss in self._losses.values() if loss.at_start and loss.accepted}
        for finding in dict.fromkeys([*self._verdict.findings, *self._wrong.values()]):
            if (
                finding.severity is not Severity.DAMAGE
                or finding in self._restored
                or (finding.code is FindingCode.LOST_CONTAINER and finding.subject in given_up)
            ):
                continue
            by_field = finding.code in _FIELDS and finding.place.bucket in places
            by_row = finding.code is FindingCode.ROW_WITHOUT_PARENT and finding.place.bucket[-1] in {
                row.name for row in plan.rows
            }
            by_path = RawPath(finding.place.file.removeprefix(self._store.root.path.rstrip(b"/") + b"/")) in gone
            if not (by_field or by_row or by_path or (finding.subject and finding.subject in about)):
                yield finding


def _is_doubtful(together: Mapping[RowName, Finding]) -> bool:
    """Whether the unpacked files of a layer may be intact."""
    return any(finding.code is FindingCode.SNAPSHOT_UNPROVED for finding in together.values())


def _is_in_algorithm(path: bytes) -> bool:
    return path.rpartition(b"/")[0].rpartition(b"/")[0].endswith(b"/blobs")
