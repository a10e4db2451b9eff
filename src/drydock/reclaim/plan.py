"""The plan for one root: leases to end, records and rows to delete, paths to remove, and what is withheld and why."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

from drydock.model.data import Backend
from drydock.model.errors import Refused, Usage
from drydock.model.leases import Holding, LeaseClass
from drydock.model.names import Kind, RawPath, Ref
from drydock.model.objects import ObjectKind, State, StoreObject, Verdict
from drydock.model.plans import DatabaseFingerprint, LeaseEnd, Plan, RecordDrop, Removal, RowDrop, Target, Withheld
from drydock.model.policies import Policy
from drydock.model.records import Snapshot
from drydock.model.store import Store
from drydock.model.text import shown
from drydock.model.times import age, show_span
from drydock.reclaim.ambiguity import (
    awaited_blobs,
    docker_containers,
    docker_rows,
    doubtful_rows,
    misnamed_blobs,
    misnamed_ingests,
    misnamed_snapshotter,
    without_directory,
    without_row,
)
from drydock.verdict.blind_spots import backend_blindness, blind_spots, edit_blindness, first_cause
from drydock.verdict.dangling import may_be_meant
from drydock.verdict.find import find
from drydock.verdict.judge import Reach, reach


@dataclass(slots=True)
class Kept:
    """What the policy names to be kept, with the reason; empty where no name fits anything here."""

    refs: dict[Ref, str] = field(default_factory=dict)
    rows: dict[tuple[bytes, bytes], str] = field(default_factory=dict)
    """By snapshotter and name."""
    paths: dict[RawPath, str] = field(default_factory=dict)


def keep(verdict: Verdict, reached: Reach, policy: Policy) -> Kept:
    """What the policy names to be kept: records, and also rows and data that no record names."""
    kept = Kept()
    for word in policy.keep:
        reason = f"kept by --keep {shown(word)}"
        for subject in find(verdict, reached, word):
            if not isinstance(subject, StoreObject):
                kept.refs[subject] = reason
                continue
            kept.refs.update(dict.fromkeys(subject.refs, reason))
            if subject.row is not None:
                kept.rows[subject.snapshotter, subject.row] = reason
            if subject.path is not None:
                kept.paths[subject.path] = reason
    return kept


def end(verdict: Verdict, reached: Reach, kept: dict[Ref, str], policy: Policy) -> tuple[list[Holding], list[Withheld]]:
    """The leases that the policy ends, the expired ones included; none that is kept, or that holds what is kept.

    What is kept with nothing to hold it any more, the engine would drop at its next collection. An expired lease holds
    nothing to begin with.

    Returns:
        Those that end, and those that would, but for what is kept: with the bytes that only they hold.

    Raises:
        Refused: a lease was named whose owner exists.
        Usage: a lease was named to be ended, and it or what it holds to be kept.
    """
    ended: list[Holding] = []
    stay: list[Withheld] = []
    kept = {**{lease: reason for ref, reason in kept.items() for lease in reached.leased.get(ref, ())}, **kept}
    for holding in verdict.leases:
        named = any(holding.is_called(name) for name in policy.leases)
        if named and holding.ref in kept:
            raise Usage(f"lease {shown(holding.ref.key)} is named to be ended, and it or what it holds to be kept")
        if named and holding.kind.is_owned:
            raise Refused(f"lease {shown(holding.ref.key)} belongs to {holding.owner}: remove that with its engine")
        name = shown(holding.ref.key)
        if not named and not _is_due(holding, verdict, policy):
            why = _incomparable(holding, verdict, policy)
            if why:
                stay.append(Withheld("lease", name, holding.only, f"lease {name} stays: {why}"))
            continue
        if holding.ref not in kept:
            ended.append(holding)
        elif holding.kind is not LeaseClass.EXPIRED:
            stay.append(
                Withheld("lease", name, holding.only, f"lease {name} stays with all that it holds: {kept[holding.ref]}")
            )
    return ended, stay


def describe(holding: Holding, verdict: Verdict) -> str:
    """Why a lease ends, on one shown line."""
    known = age(holding.created, verdict.now)
    old = "" if known is None else f", {show_span(known)} old"
    return f"{holding.kind.value}: {holding.reason}{old}"


def _incomparable(holding: Holding, verdict: Verdict, policy: Policy) -> str:
    """Which of the times of a lease that is not due cannot be compared with now; empty where none decides about it."""
    if holding.kind.is_owned:
        return ""
    if holding.expires is not None and holding.expires < verdict.now:
        return "it ended before it was made, or was made after the clock, so its end cannot be judged"
    if policy.older_than is None or not policy.end.includes(holding.kind) or holding.created is None:
        return ""
    return "" if age(holding.created, verdict.now) is not None else "it was made after the clock: its age is not known"


def _is_due(holding: Holding, verdict: Verdict, policy: Policy) -> bool:
    if holding.kind is LeaseClass.EXPIRED:
        return True
    if not policy.end.includes(holding.kind):
        return False
    if policy.older_than is None:
        return True
    known = age(holding.created, verdict.now)
    return known is not None and known >= policy.older_than


_TARGETS = {
    ObjectKind.BLOB: Target.BLOB,
    ObjectKind.INGEST: Target.INGEST,
    ObjectKind.SNAPSHOT: Target.SNAPSHOT,
}


_UNHELD = {Kind.IMAGE: "it has expired, and nothing that it goes with is there"}


def make_plan(verdict: Verdict, reached: Reach, policy: Policy, fingerprints: Iterable[DatabaseFingerprint]) -> Plan:
    """Decide what of one root goes under a policy.

    A record goes in each namespace where nothing reaches it once the leases have ended, as the engine's collector does
    it; a blob or a directory goes once no namespace has a record of it left.

    Raises:
        Refused: the policy names a lease whose owner exists.
        Usage: it names something to be ended and kept, or the beginning of several names.
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
        self._kept = keep(verdict, reached, policy)
        # What staying records refer to, recorded or not.
        self._named = reached
        self._stays: dict[tuple[bytes, bytes], str] = {}
        """Rows that no record names and that stay, by snapshotter and name, with the reason."""
        # Of what stays, by snapshotter: what has no row, and whether something has no directory.
        self._rowless: dict[bytes, list[Snapshot]] = {}
        self._bare: set[bytes] = set()
        self._misnamed_ingests: dict[RawPath, str] = {}
        metadata = self._store.metadata
        self._blind = "" if metadata.complete else first_cause(metadata.findings)
        self._no_edit = self._blind or _no_edit(self._store, policy)

    def plan(self, fingerprints: tuple[DatabaseFingerprint, ...]) -> Plan:
        """Put it together."""
        ended = [] if self._no_edit else self._ended()
        dropped = {} if self._no_edit else self._dropped(ended)
        self._rowless = without_row(self._store, dropped)
        self._bare = without_directory(self._verdict, dropped)
        self._misnamed_ingests = misnamed_ingests(self._store, dropped)
        rows = [] if self._no_edit else self._rows(dropped)
        removals = list(self._removals(dropped, rows))
        return Plan(
            self._store.root.path,
            self._store.root.host,
            self._verdict.now,
            self._policy,
            fingerprints,
            tuple(LeaseEnd(holding.ref, holding.kind, describe(holding, self._verdict)) for holding in ended),
            tuple(dropped.values()),
            tuple(rows),
            tuple(sorted(removals, key=_order)),
            tuple(self._withheld),
            tuple(word for word in self._policy.keep if find(self._verdict, self._reached, word)),
        )

    def _ended(self) -> list[Holding]:
        ended, stay = end(self._verdict, self._reached, self._kept.refs, self._policy)
        self._withheld += stay
        return ended

    def _dropped(self, ended: list[Holding]) -> dict[Ref, RecordDrop]:
        """The records that nothing reaches once the leases have ended."""
        blind = blind_spots(self._store)
        refs = [holding.ref for holding in ended]
        free = self._without(refs)
        given_up = {holding.ref for holding in ended if holding.kind is LeaseClass.UNKNOWN}
        lost = {ref: reason for ref, reason in docker_containers(self._store, given_up).items() if ref not in free}
        loose = free.loose(self._store.metadata)
        meant = may_be_meant(free.dangling(self._store), loose) if loose else {}
        kept = {**meant, **lost, **self._kept.refs}
        after = free if not blind and not kept else self._without(refs, {**blind, **kept})
        self._named = after
        why = self._reasons(ended)
        dropped: dict[Ref, RecordDrop] = {}
        for ref, record in self._reached.graph.records.items():
            if after is free and ref in free.live:
                # Most of all records by far.
                continue
            if ref.kind not in (Kind.IMAGE, Kind.BLOB, Kind.INGEST, Kind.SNAPSHOT):
                continue
            if ref not in after:
                parent = record.parent_ref if isinstance(record, Snapshot) else None
                dropped[ref] = RecordDrop(ref, parent, why.get(ref, _UNHELD.get(ref.kind, "nothing refers to it")))
            elif ref not in free:
                reason = blind.get(ref) or kept.get(ref) or "it belongs to what is kept"
                self._withheld.append(Withheld(ref.kind.value, shown(ref.key), 0, reason))
        # A parent that goes takes its list of children with it.
        return {
            ref: drop if drop.parent is None or drop.parent not in dropped else RecordDrop(ref, None, drop.why)
            for ref, drop in dropped.items()
        }

    def _without(self, leases: list[Ref], kept: dict[Ref, str] | None = None) -> Reach:
        """What is reached once ``leases`` have ended, and while ``kept`` are kept."""
        # An expired lease holds nothing to begin with.
        changed = any(self._reached.classes[ref][0] is not LeaseClass.EXPIRED for ref in leases)
        if not changed and not kept:
            return self._named
        return reach(self._store, self._verdict.now, leases, kept, before=self._reached)

    def _reasons(self, ended: list[Holding]) -> dict[Ref, str]:
        held = {holding.ref for holding in ended}
        reasons: dict[Ref, str] = {}
        for ref, leases in self._reached.leased.items():
            names = [shown(lease.key) for lease in leases if lease in held]
            if names:
                more = f" and {len(names) - 1} more" if len(names) > 1 else ""
                reasons[ref] = f"only lease {names[0]}{more} held it"
        return reasons

    def _rows(self, dropped: dict[Ref, RecordDrop]) -> list[RowDrop]:
        named: dict[bytes, set[bytes]] = {}
        recorded: dict[bytes, set[bytes]] = {}
        for snapshot in self._store.metadata.snapshots:
            recorded.setdefault(snapshot.snapshotter, set()).add(snapshot.name)
            if snapshot.ref not in dropped:
                named.setdefault(snapshot.snapshotter, set()).add(snapshot.name)
        for snapshotter, name in self._kept.rows:
            named.setdefault(snapshotter, set()).add(name)
        rows: list[RowDrop] = []
        for snapshotter, backend in self._store.backends.items():
            if not backend_blindness(self._store, snapshotter):
                candidates = backend.rows.keys() - named.get(snapshotter, set())
                rows += self._rows_of(backend, candidates, candidates - recorded.get(snapshotter, set()))
        return rows

    def _rows_of(self, backend: Backend, candidates: set[bytes], unnamed: set[bytes]) -> Iterator[RowDrop]:
        lost = self._rowless.get(backend.name, ())
        doubtful = doubtful_rows(self._named, backend.name, lost, unnamed) if unnamed else {}
        doubtful.update(docker_rows(self._store, unnamed))
        doubtful.update(misnamed_snapshotter(self._store, backend.name, unnamed) if unnamed else {})
        self._stays.update({(backend.name, name): reason for name, reason in doubtful.items()})
        candidates = candidates - doubtful.keys()
        # A row that others stand on stays: the snapshotter itself would refuse (containerd core/snapshots/storage/
        # bolt.go Remove, v2.1).
        standing = [row.parent for name, row in backend.rows.items() if name not in candidates]
        while standing:
            name = standing.pop()
            if name in candidates:
                candidates.discard(name)
                standing.append(backend.rows[name].parent)
                self._stays[backend.name, name] = "a row that stays has it as its parent in metadata.db"
        for name in sorted(candidates):
            row = backend.rows[name]
            parent = backend.rows.get(row.parent)
            yield RowDrop(backend.name, name, row.id, None if parent is None else parent.id, "no record names it")

    def _removals(self, dropped: dict[Ref, RecordDrop], rows: list[RowDrop]) -> Iterator[Removal]:
        gone = {(row.snapshotter, row.name) for row in rows}
        expected = awaited_blobs(self._store, dropped)
        for found in self._verdict.objects:
            if found.state in (State.ORPHANED, State.UNREACHABLE, State.LEASED, State.CORRUPT, State.MISSING):
                why = self._verdict_on(found, dropped, gone)
                if why and found.path is not None and found.fingerprint is not None and found.id not in expected:
                    after = bool(found.refs) or found.row is not None
                    yield Removal(
                        _TARGETS[found.kind],
                        self._store.root.path,
                        found.path,
                        found.fingerprint,
                        found.allocated,
                        why,
                        after,
                    )

    @cached_property
    def _needed(self) -> set[bytes]:
        """The blobs among what is named; asked for only where a blob may go."""
        return {ref.key for ref in self._named.refs() if ref.kind is Kind.BLOB}

    @cached_property
    def _misnamed_blobs(self) -> dict[bytes, str]:
        return misnamed_blobs(self._store, self._needed)

    def _verdict_on(self, found: StoreObject, dropped: dict[Ref, RecordDrop], gone: set[tuple[bytes, bytes]]) -> str:
        """Why an object's data goes; empty where it stays, which is told where it looks free."""
        if found.refs and any(ref not in dropped for ref in found.refs):
            return self._kept_record(found)
        if found.path in self._kept.paths:
            return self._withhold(found, self._kept.paths[found.path])
        if found.kind is ObjectKind.SNAPSHOT and found.row is not None:
            if (found.snapshotter, found.row) in gone:
                return dropped[found.refs[0]].why if found.refs else "no record names its row"
            stays = self._stays.get((found.snapshotter, found.row), "")
            return self._withhold(found, self._no_edit or backend_blindness(self._store, found.snapshotter) or stays)
        if found.kind is ObjectKind.BLOB and found.id in self._needed and not self._blind:
            return self._withhold(found, "a record that stays refers to it, though its namespace has no record of it")
        if found.refs:
            return dropped[found.refs[0]].why
        reason = self._blind
        if found.kind is ObjectKind.BLOB:
            reason = reason or self._misnamed_blobs.get(found.id, "")
        if found.kind is ObjectKind.INGEST and found.path is not None:
            reason = reason or self._misnamed_ingests.get(found.path, "")
        if found.kind is ObjectKind.SNAPSHOT:
            reason = reason or backend_blindness(self._store, found.snapshotter)
            if not reason and found.id.isdigit():
                reason = self._whose(found.snapshotter, int(found.id))
        if reason:
            return self._withhold(found, reason)
        return "no record names it" + (f"; {found.note}" if found.note else "")

    def _whose(self, snapshotter: bytes, number: int) -> str:
        """What a directory that no row has may be after all; empty where nothing lacks one."""
        if snapshotter in self._rowless:
            return "it may be the directory of a snapshot that is recorded and has no row"
        sequence = self._store.backends[snapshotter].sequence
        # A number that was never given out here is of a newer database: it stands in the engine's way.
        if snapshotter in self._bare and (sequence is None or number <= sequence):
            return "it may be the directory of a snapshot whose own is not there"
        return ""

    def _kept_record(self, found: StoreObject) -> str:
        if found.state is State.UNREACHABLE and self._no_edit:
            self._withhold(found, self._no_edit)
        return ""

    def _withhold(self, found: StoreObject, reason: str) -> str:
        if reason:
            self._withheld.append(Withheld(found.kind.value, shown(found.id), found.allocated, reason))
        return ""


def _no_edit(store: Store, policy: Policy) -> str:
    if not policy.edit:
        return "the databases are not to be edited (--no-edit)"
    return edit_blindness(store)


def _order(removal: Removal) -> tuple[bool, str, bytes]:
    return removal.after_edit, removal.target.value, removal.path
