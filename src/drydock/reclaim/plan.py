"""The plan for one root: leases to end, records and rows to delete, paths to remove, and what is withheld and why."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from drydock.model.container_drops import ContainerFolder, NerdctlFiles
from drydock.model.data import Backend
from drydock.model.drops import CLASSIC_IMAGES, CONTAINERS
from drydock.model.errors import Usage
from drydock.model.leases import LeaseClass
from drydock.model.names import Kind, RawPath, Ref
from drydock.model.objects import DataRootObject, ObjectKind, State, StoreObject, Verdict
from drydock.model.plans import (
    CacheMark,
    ContainerDrop,
    DatabaseFingerprint,
    FieldDrop,
    Keep,
    LeaseEnd,
    NameDrop,
    Plan,
    RecordDrop,
    Removal,
    Remove,
    RowDrop,
    Target,
    Withheld,
    Withhold,
    assert_never,
)
from drydock.model.policies import Policy
from drydock.model.records import Snapshot
from drydock.model.store import Store
from drydock.model.store_drops import DROPPED, StoreDrop, StoreLoss
from drydock.model.store_modes import StoreMode
from drydock.model.text import shown
from drydock.reclaim.ambiguity import (
    ambiguous_rows,
    docker_containers,
    docker_rows,
    misnamed_snapshotter,
    without_row,
)
from drydock.reclaim.build_prune import prune
from drydock.reclaim.classic_plan import on_disk, plan_classic
from drydock.reclaim.data_plan import DataPlan, shown_ref
from drydock.reclaim.kept import keep_named
from drydock.reclaim.layer_plan import plan_layers
from drydock.reclaim.lease_ends import dropped_namespaces, end_leases
from drydock.verdict.blind_spots import backend_blindness, blind_spots, edit_blindness, first_cause
from drydock.verdict.dangling import may_be_meant
from drydock.verdict.find import find
from drydock.verdict.graph import Flat, visited
from drydock.verdict.judge import Reach, reach
from drydock.verdict.reach import mark

if TYPE_CHECKING:
    from drydock.reclaim.image_plan import ImagePlan
    from drydock.verdict.stopped_containers import GoingContainer

_TARGETS = {
    ObjectKind.BLOB: Target.BLOB,
    ObjectKind.INGEST: Target.INGEST,
    ObjectKind.SNAPSHOT: Target.SNAPSHOT,
}


_UNUSED = "nothing refers to it"
_KILLED = "a run that was killed left it"
_UNHELD = {Kind.IMAGE: "it has expired, and what its label containerd.io/gc.bref names is gone"}
_MAY_GO = (State.ORPHANED, State.UNREACHABLE, State.LEASED, State.CORRUPT, State.MISSING)


def make_plan(verdict: Verdict, reached: Reach, policy: Policy, fingerprints: Iterable[DatabaseFingerprint]) -> Plan:
    """Decide what is removed from one root under a policy.

    A record is dropped in each namespace where nothing reaches it after the leases have ended, as the engine's GC drops
    it. A blob or a directory is removed when no namespace has a record of it left.

    Raises:
        Refused: the policy names a lease whose owner exists.
        Usage: the policy ends and keeps the same thing by name, or a name is the beginning of several.
    """
    return _Planner(verdict, reached, policy).plan(tuple(fingerprints))


class _Planner:
    """Makes one plan."""

    def __init__(self, verdict: Verdict, reached: Reach, policy: Policy) -> None:
        self._verdict = verdict
        self._store: Store = verdict.store
        self._reached = reached
        self._policy = policy
        self._withheld: list[Withheld] = []
        self._marks: list[CacheMark] = []
        self._emptied: dict[Ref, list[FieldDrop]] = {}
        self._beside: list[FieldDrop] = []
        """The keys that go of the databases of a builder in classic mode."""
        self._words: set[bytes] = set()
        """The words of ``--keep`` that name something of such a builder."""
        self._kept = keep_named(verdict, reached, policy)
        self._named = reached
        """What the records that stay reach, recorded or not."""
        self._dropped: dict[Ref, RecordDrop] = {}
        """The records that go."""
        self._rows_kept: dict[tuple[bytes, bytes], str] = {}
        """Rows that no record names and that stay, by snapshotter and name, with the reason."""
        self._lost_rows: dict[bytes, list[Snapshot]] = {}
        """Snapshots that stay and have no row, by snapshotter."""
        metadata = self._store.metadata
        self._ignored = dropped_namespaces(policy) if self._store.root.docker else frozenset()
        """The namespaces whose records go, except what leases that stay hold."""
        self._classic: dict[RawPath, ImagePlan] = {}
        """The images that go of classic stores, by data root."""
        self._names: list[NameDrop] = []
        """The names of images of classic stores that go."""
        self._images: dict[Ref, str] = {}
        """Image records that go by choice, with the reason."""
        self._containers: list[GoingContainer] = []
        """Containers that go by choice."""
        self._going: set[bytes] = set()
        """Their ids, and those of their image mounts."""
        self._blind = None if metadata.complete else first_cause(metadata.findings)
        """Why not every record is known; None if they are."""
        self._no_edit = self._blind or _no_edit(self._store, policy)
        """Why no database is edited; None if they may be."""

    def plan(self, fingerprints: tuple[DatabaseFingerprint, ...]) -> Plan:
        """Make the plan."""
        drop = self._policy.drop if self._store.root.docker else None
        if drop is not None:
            if self._policy.keep:
                raise Usage("--drop-store drops a store whole: export what is to be kept, and leave out --keep")
            from drydock.reclaim.drop_store import refuse_drop  # noqa: PLC0415 - few plans drop a store

            refuse_drop(self._store, drop, self._no_edit)
        edits = self._no_edit is None
        chosen = drop is not StoreMode.CLASSIC and self._policy.edit
        if chosen and any(each.kind in CLASSIC_IMAGES for each in self._policy.drops):
            from drydock.reclaim.image_plan import plan_images  # noqa: PLC0415 - few plans remove images

            for layers in self._store.layer_stores:
                kept = {image: why for (data, image), why in self._kept.images.items() if data == layers.data}
                self._classic[layers.data] = plan_images(layers, self._verdict.now, self._policy, kept)
        if edits and self._policy.drops:
            self._choose_images()
            self._choose_containers()
        ended = self._end() if edits else []
        self._dropped = self._drop(ended) if edits else {}
        self._lost_rows = without_row(self._store, self._dropped)
        rows = self._rows() if edits else []
        data = DataPlan(
            self._verdict,
            self._named,
            self._dropped,
            self._kept.paths,
            {(row.snapshotter, row.name) for row in rows},
            self._rows_kept,
            self._lost_rows,
            self._blind,
            self._no_edit,
        )
        removals = sorted(self._removals(data), key=_order)
        if drop is not StoreMode.CLASSIC:
            for layers in self._store.layer_stores:
                made = plan_classic(
                    layers,
                    self._verdict,
                    self._policy,
                    self._kept,
                    self._classic.get(layers.data),
                    containers=[each for each in self._containers if each.data == layers.data],
                )
                removals += made.removals
                self._names += made.names
                self._withheld += made.withheld
                self._marks += made.marks
                self._beside += made.fields
                self._words |= {*made.kept}
        drops = () if drop is None else tuple(self._drop_store(drop, removals))
        containers = tuple(self._drop_containers(ended, removals))
        return Plan(
            self._store.root.path,
            self._store.root.host,
            self._verdict.now,
            self._policy,
            fingerprints,
            tuple(ended),
            tuple(self._dropped.values()),
            tuple(rows),
            tuple(removals),
            tuple(self._withheld),
            tuple(
                word for word in self._policy.keep if word in self._words or find(self._verdict, self._reached, word)
            ),
            drops=drops,
            marks=tuple(self._marks),
            fields=(*(drop for fields in self._emptied.values() for drop in fields), *self._beside),
            names=tuple(self._names),
            containers=containers,
        )

    def _choose_images(self) -> None:
        """Choose the images that go, and note those that would but for a doubt or a loss."""
        from drydock.verdict.unused_images import choose_images  # noqa: PLC0415 - few plans remove images

        policy = self._policy
        chosen = choose_images(
            self._verdict,
            self._reached,
            policy.drops,
            unused_for=policy.unused_for,
            filters=policy.filters,
            accepted=policy.accept_loss,
        )
        self._images = chosen.going
        for ref, reason in chosen.staying.items():
            self._withheld.append(Withheld(Kind.IMAGE, shown(ref.key), 0, reason))

    def _choose_containers(self) -> None:
        """Choose the containers that go, and note those that would but for a doubt or a loss."""
        policy = self._policy
        if not any(drop.kind in CONTAINERS for drop in policy.drops):
            return
        from drydock.verdict.stopped_containers import choose_containers  # noqa: PLC0415 - few plans remove containers

        ids = {ref.key.rpartition(b"/")[2].removesuffix(b"-init") for ref in self._kept.refs}
        ids |= {path.rpartition(b"/")[2] for path in self._kept.paths}
        chosen = choose_containers(
            self._verdict,
            policy.drops,
            unused_for=policy.unused_for,
            filters=policy.filters,
            accepted=policy.accept_loss,
            kept={*policy.keep, *ids},
        )
        self._containers = chosen.going
        for each in chosen.going:
            container = self._store.owners.containers.get(each.drop.id)
            self._going |= {each.drop.id} if container is None else {each.drop.id, *container.mounts}
        for name, written, reason in chosen.staying:
            self._withheld.append(Withheld(Kind.CONTAINER, name, written, reason))

    def _drop_containers(self, ended: list[LeaseEnd], removals: list[Removal]) -> Iterator[ContainerDrop]:
        """The containers of which nothing stays; their folders are added to ``removals``, at the end."""
        gone = {*(end.ref for end in ended), *self._dropped}
        paths = {removal.path for removal in removals}
        files = self._store.container_files
        folders: list[Removal] = []
        kept: list[tuple[NerdctlFiles, str]] = []
        newest = {each.path: each.last.newest for each in files.docker.values() if each.last is not None}
        for each in self._containers:
            stays = next((shown(ref.key) for ref in each.refs if ref not in gone), None)
            for layers in self._store.layer_stores:
                mounts = (layers.mounts[name] for name in each.mounts if name in layers.mounts)
                stays = stays or next((shown(mount.path) for mount in mounts if mount.path not in paths), None)
            if stays is not None:
                reason = f"container {shown(each.drop.called)} stays: {stays} of it stays"
                self._withheld.append(Withheld(Kind.CONTAINER, shown(each.drop.called), each.drop.written, reason))
                continue
            yield each.drop
            folder = (files.cri if each.drop.namespace else files.docker).get(each.drop.id)
            why = f"of container {shown(each.drop.called)}, which goes"
            if folder is not None and folder.root in (each.data, self._store.root.path):
                folders.append(_folder_removal(folder, why))
            kept.append((files.nerdctl.get((each.drop.namespace, each.drop.id), NerdctlFiles()), why))
        if any(drop.kind in CONTAINERS for drop in self._policy.drops):
            folders += [_folder_removal(left, _KILLED) for left in files.left]
            kept += [(left.files, _KILLED) for left in files.let_go]
        for nerdctl, why in kept:
            folders += [_folder_removal(found, why) for found in nerdctl.folders]
            if nerdctl.name is not None:
                # Nobody could free the name of a container that is gone; one without its name can be removed.
                removals.append(_folder_removal(nerdctl.name, why)._replace(after_edit=False))
        # A container may be what shows that another did not run: the newest goes last.
        removals += sorted(folders, key=lambda each: newest.get(each.path, 0))

    def _drop_store(self, mode: StoreMode, removals: list[Removal]) -> Iterator[StoreDrop]:
        """What goes with a store besides what is unused, added to ``removals``, and what is lost with it."""
        from drydock.reclaim.drop_store import (  # noqa: PLC0415 - few plans drop a store
            classic_losses,
            drops,
            file_removals,
            image_store_losses,
        )

        removals += file_removals(self._store)
        lost: dict[RawPath, Iterable[StoreLoss]] = {}
        if mode is StoreMode.IMAGE_STORE:
            gone = {removal.path for removal in removals if removal.root == self._store.root.path}
            if gone or self._store.contents.files:
                its = (each for each in self._verdict.objects if each.path in gone)
                # One containerd has the images of all its data roots.
                lost[self._store.root.docker[0]] = image_store_losses(self._store, its)
        else:
            for layers in self._store.layer_stores:
                objects = on_disk(self._verdict.objects, layers)
                lost[layers.data] = classic_losses(self._store, layers)
                made = plan_layers(layers, objects, ended=(), kept={}, records=True, dropped=DROPPED)
                removals += made.removals
                self._withheld += made.withheld
        yield from drops(self._store, mode, lost)

    def _end(self) -> list[LeaseEnd]:
        pruning = prune(self._verdict, self._reached, self._kept.refs, self._policy)
        for each in self._containers:
            leases = (ref for ref in each.refs if ref.kind is Kind.LEASE)
            pruning.leases.update(dict.fromkeys(leases, f"container {shown(each.drop.called)} goes: {each.drop.why}"))
        self._marks, self._emptied = pruning.marks, pruning.emptied
        if self._classic:
            from drydock.reclaim.image_plan import image_leases  # noqa: PLC0415 - few plans remove images

            pruning.leases.update(image_leases(self._store, self._reached, self._classic.values()))
        ended, withheld = end_leases(self._verdict, self._reached, self._kept.refs, self._policy, pruning.leases)
        self._withheld += withheld
        return ended

    def _drop(self, ended: list[LeaseEnd]) -> dict[Ref, RecordDrop]:
        """The records that nothing reaches once the leases have ended."""
        blind = blind_spots(self._store)
        records = {ref: each.drop.why for each in self._containers for ref in each.refs if ref.kind is not Kind.LEASE}
        refs = [*(lease.ref for lease in ended), *self._emptied, *self._images, *records]
        free = self._without(refs)
        given_up = {lease.ref for lease in ended if lease.kind is LeaseClass.UNKNOWN}
        lost = {
            ref: reason
            for ref, reason in docker_containers(self._store, given_up, self._going).items()
            if ref not in free
        }
        loose = free.loose(self._store.metadata)
        meant = may_be_meant(free.dangling(self._store), loose) if loose else {}
        kept = {**meant, **lost, **self._kept.refs}
        roots = {**blind, **kept}
        after = self._without(refs, roots) if roots else free
        self._named = after
        why = self._reasons(ended)
        dropped: dict[Ref, RecordDrop] = {
            ref: RecordDrop(ref, None, reason) for ref, reason in records.items() if ref not in after
        }
        # Where nothing is loose, no record is met that is not reached.
        recorded = self._reached.graph.records
        for ref in recorded if loose or after is not free else ():
            if after is free and ref in free.live:
                # This is the case for nearly all records.
                continue
            if ref.kind not in (Kind.IMAGE, Kind.BLOB, Kind.INGEST, Kind.SNAPSHOT):
                continue
            if ref not in after:
                record = recorded[ref] if ref.kind is Kind.SNAPSHOT else None
                parent = record.parent_ref if isinstance(record, Snapshot) else None
                reason = DROPPED if ref.namespace in self._ignored else why.get(ref) or _UNHELD.get(ref.kind, _UNUSED)
                dropped[ref] = RecordDrop(ref, parent, reason)
            elif ref not in free:
                reason = blind.get(ref) or kept.get(ref) or _needed_by(ref, after, roots)
                self._withheld.append(Withheld(ref.kind, shown(ref.key), 0, reason))
        told = {withheld.id for withheld in self._withheld if withheld.kind is Kind.IMAGE}
        for ref in self._images:
            if ref not in dropped and shown(ref.key) not in told:
                self._withheld.append(Withheld(ref.kind, shown(ref.key), 0, _needed_by(ref, after, roots)))
        # A dropped parent takes its list of children with it.
        return {
            ref: drop if drop.parent is None or drop.parent not in dropped else RecordDrop(ref, None, drop.why)
            for ref, drop in dropped.items()
        }

    def _without(self, leases: list[Ref], kept: dict[Ref, str] | None = None) -> Reach:
        """What is reached after ``leases`` have ended, with ``kept`` as further roots."""
        classes = self._reached.classes
        changed = any(ref not in classes or not classes[ref].kind.holds_nothing for ref in leases)
        if not changed and not kept and not self._ignored:
            return self._named
        return reach(self._store, self._verdict.now, leases, kept, before=self._reached, ignored=self._ignored)

    def _reasons(self, ended: list[LeaseEnd]) -> dict[Ref, str]:
        ends = {lease.ref for lease in ended}
        reasons: dict[Ref, str] = {}
        for ref, leases in self._reached.leased.items():
            names = [shown(lease.key) for lease in leases if lease in ends]
            if names:
                more = f" and {len(names) - 1} more" if len(names) > 1 else ""
                reasons[ref] = f"only lease {names[0]}{more} held it"
        for each in self._containers:
            held = f"only container {shown(each.drop.called)} held it, which goes"
            reasons.update(dict.fromkeys(map(visited, mark(self._reached.graph, each.refs)), held))
        if self._images:
            images = dict.fromkeys(map(visited, self._reached.live), "only images that go held it")
            reasons = {**images, **reasons, **self._images}
        return reasons

    def _rows(self) -> list[RowDrop]:
        named: dict[bytes, set[bytes]] = {}
        recorded: dict[bytes, set[bytes]] = {}
        for snapshot in self._store.metadata.snapshots:
            recorded.setdefault(snapshot.snapshotter, set()).add(snapshot.name)
            if snapshot.ref not in self._dropped:
                named.setdefault(snapshot.snapshotter, set()).add(snapshot.name)
        for snapshotter, name in self._kept.rows:
            named.setdefault(snapshotter, set()).add(name)
        rows: list[RowDrop] = []
        for snapshotter, backend in self._store.backends.items():
            if backend_blindness(self._store, snapshotter) is None:
                candidates = backend.rows.keys() - named.get(snapshotter, set())
                rows += self._rows_of(backend, candidates, candidates - recorded.get(snapshotter, set()))
        return rows

    def _rows_of(self, backend: Backend, candidates: set[bytes], unnamed: set[bytes]) -> Iterator[RowDrop]:
        lost = self._lost_rows.get(backend.name, ())
        ambiguous = ambiguous_rows(self._named, backend.name, lost, unnamed) if unnamed else {}
        ambiguous.update(docker_rows(self._store, unnamed, self._going))
        ambiguous.update(misnamed_snapshotter(self._store, backend.name, unnamed) if unnamed else {})
        self._rows_kept.update({(backend.name, name): reason for name, reason in ambiguous.items()})
        candidates = candidates - ambiguous.keys()
        # A row that is the parent of another stays: the snapshotter itself would refuse to remove it (containerd
        # core/snapshots/storage/bolt.go Remove, v2.1).
        parents = [(row.parent, name) for name, row in backend.rows.items() if name not in candidates]
        while parents:
            name, child = parents.pop()
            if name in candidates:
                candidates.discard(name)
                parents.append((backend.rows[name].parent, name))
                self._rows_kept[backend.name, name] = f"it is the parent of row {shown(child)}, which stays"
        for name in sorted(candidates):
            row = backend.rows[name]
            parent = backend.rows.get(row.parent)
            yield RowDrop(backend.name, name, row.id, None if parent is None else parent.id, "no record names it")

    def _is_dropped(self, found: StoreObject) -> bool:
        """Whether the records of an object go with their namespaces, or with what the policy drops."""
        if not found.refs:
            return False
        return self._ignored.issuperset(found.namespaces) or (
            bool(self._policy.drops) and all(ref in self._dropped for ref in found.refs)
        )

    def _removals(self, data: DataPlan) -> Iterator[Removal]:
        # Nearly all objects stay, and usual ones go only with a namespace or what is dropped.
        objects = self._verdict.objects
        for found in objects if self._ignored or self._policy.drops else objects.others():
            if found.state not in _MAY_GO and not ((self._ignored or self._policy.drops) and self._is_dropped(found)):
                continue
            if isinstance(found, DataRootObject):
                continue
            match data.decide(found):
                case Remove(reason):
                    there = found.data
                    assert there is not None, "what goes is on disk"
                    yield Removal(
                        _TARGETS[found.kind],
                        self._store.root.path,
                        there.path,
                        there.fingerprint,
                        found.allocated,
                        reason,
                        after_edit=bool(found.refs) or found.row is not None,
                    )
                case Withhold(reason):
                    self._withheld.append(Withheld(Kind(found.kind.value), shown(found.id), found.allocated, reason))
                case Keep():
                    pass
                case never:
                    assert_never(never)


def _needed_by(ref: Ref, after: Reach, kept: dict[Ref, str]) -> str:
    """Why a record stays that is not kept itself: the record that needs it, and why that one stays."""
    holder = after.live.get(ref) or after.live.get(Flat(ref))
    if holder is None or holder not in kept:
        return "a record that stays needs it"
    return f"{shown_ref(holder)} needs it, and stays: {kept[holder]}"


def _no_edit(store: Store, policy: Policy) -> str | None:
    if not policy.edit:
        return "the databases are not edited (--no-edit)"
    return edit_blindness(store)


def _order(removal: Removal) -> tuple[bool, str, bytes]:
    return removal.after_edit, removal.target.value, removal.path


def _folder_removal(folder: ContainerFolder, why: str) -> Removal:
    return Removal(
        Target.CONTAINER_FOLDER, folder.root, folder.path, folder.fingerprint, folder.allocated, why, after_edit=True
    )
