"""Which data of a root goes: blobs, ingests and directories of snapshots, by the records and rows that stay.

What may belong to something that stays is withheld, with the reason.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property

from drydock.model.names import Kind, RawPath, Ref
from drydock.model.objects import ObjectKind, State, StoreObject, Verdict
from drydock.model.plans import Decision, Keep, RecordDrop, Remove, Withhold
from drydock.model.records import Snapshot
from drydock.model.store import Store
from drydock.model.text import shown
from drydock.reclaim.ambiguity import awaited_blobs, misnamed_blobs, misnamed_ingests, without_directory
from drydock.verdict.blind_spots import backend_blindness
from drydock.verdict.find import describe
from drydock.verdict.graph import visited
from drydock.verdict.judge import Reach


@dataclass
class DataPlan:
    """Decides about the data of a root, once it is known which records and rows go."""

    verdict: Verdict
    named: Reach
    """What the records that stay reach, recorded or not."""
    dropped: Mapping[Ref, RecordDrop]
    """The records that go."""
    kept: Mapping[RawPath, str]
    """What is kept by name, with the reason."""
    rows_gone: Collection[tuple[bytes, bytes]]
    """The rows that go, by snapshotter and name."""
    rows_kept: Mapping[tuple[bytes, bytes], str]
    """Rows that no record names and that stay, by snapshotter and name, with the reason."""
    lost_rows: Mapping[bytes, list[Snapshot]]
    """Snapshots that stay and have no row, by snapshotter."""
    blind: str | None
    """Why not every record is known; None if they are."""
    no_edit: str | None
    """Why no database is edited; None if they may be."""

    def decide(self, found: StoreObject) -> Decision:
        """Whether an object's data goes."""
        decision = self._decide_by_names(found)
        if isinstance(decision, Remove):
            if found.disk is None:
                return Keep("nothing of it is on disk")
            if found.id in self._awaited:
                return Keep("a write that stays waits for it")
        return decision

    def _decide_by_names(self, found: StoreObject) -> Decision:
        """Whether an object's data goes, by the records that name it or may name it."""
        if any(ref not in self.dropped for ref in found.refs):
            if found.state is State.UNREACHABLE and self.no_edit is not None:
                return Withhold(self.no_edit)
            return Keep("a record of it stays")
        path = found.path if self.kept else None
        if path is not None and path in self.kept:
            return Withhold(self.kept[path])
        if found.kind is ObjectKind.SNAPSHOT and found.row is not None:
            return self._decide_by_row(found, found.row)
        if found.kind is ObjectKind.BLOB and found.id in self._needed and self.blind is None:
            holder = self._referrers.get(found.id)
            if holder is None:
                return Withhold("a record that stays refers to it, although its namespace has no record of it")
            namespace = shown(holder.namespace)
            return Withhold(f"{shown_ref(holder)} refers to it, although namespace {namespace} has no record of it")
        if found.refs:
            return Remove(self.dropped[found.refs[0]].why)
        reason = self._ambiguity(found)
        if reason is not None:
            return Withhold(reason)
        return Remove("no record names it" + (f"; {found.note}" if found.note else ""))

    def _decide_by_row(self, found: StoreObject, row: bytes) -> Decision:
        """Whether the directory of a snapshot goes that has a row and no record that stays."""
        if (found.snapshotter, row) in self.rows_gone:
            return Remove(self.dropped[found.refs[0]].why if found.refs else "no record names its row")
        reason = (
            self.no_edit
            or backend_blindness(self.store, found.snapshotter)
            or self.rows_kept.get((found.snapshotter, row))
        )
        return Keep("something that stays names its row") if reason is None else Withhold(reason)

    def _ambiguity(self, found: StoreObject) -> str | None:
        """What an object without a record and a row may still belong to; None if to nothing."""
        if self.blind is not None:
            return self.blind
        match found.kind:
            case ObjectKind.BLOB:
                reason = self._misnamed_blobs.get(found.id)
            case ObjectKind.INGEST:
                reason = None if found.path is None else self._misnamed_ingests.get(found.path)
            case ObjectKind.SNAPSHOT:
                reason = backend_blindness(self.store, found.snapshotter)
                if reason is None and found.id.isdigit():
                    reason = self._lost_directory(found.snapshotter, int(found.id))
            case _:
                raise AssertionError("a part of a layer store is planned apart")
        return reason

    def _lost_directory(self, snapshotter: bytes, number: int) -> str | None:
        """Which snapshot a directory without a row may belong to; None if no snapshot lacks a directory."""
        if snapshotter in self.lost_rows:
            return f"it may be the directory of {self._without_row[snapshotter]}: recorded, but without a row"
        sequence = self.store.backends[snapshotter].sequence
        # A number above the sequence is from a newer database: it is in the engine's way.
        if snapshotter in self._without_directory and (sequence is None or number <= sequence):
            return f"it may be the directory of {self._without_directory[snapshotter]}: its own directory is missing"
        return None

    @property
    def store(self) -> Store:
        """The root as it was read."""
        return self.verdict.store

    @cached_property
    def _without_row(self) -> dict[bytes, str]:
        """Snapshots that stay and have no row, in words, by snapshotter."""
        return {name: _any_of([each.key for each in lost]) for name, lost in self.lost_rows.items()}

    @cached_property
    def _without_directory(self) -> dict[bytes, str]:
        """Snapshots that stay and have a row but no directory, in words, by snapshotter."""
        return {name: _any_of(keys) for name, keys in without_directory(self.verdict, self.dropped).items()}

    @cached_property
    def _misnamed_ingests(self) -> dict[RawPath, str]:
        return misnamed_ingests(self.store, self.dropped)

    @cached_property
    def _awaited(self) -> set[bytes]:
        return awaited_blobs(self.store, self.dropped)

    @cached_property
    def _needed(self) -> set[bytes]:
        """Digests of the blobs that records which stay reach; computed lazily."""
        return {ref.key for ref in self.named.refs() if ref.kind is Kind.BLOB}

    @cached_property
    def _referrers(self) -> dict[bytes, Ref]:
        """By digest: a record that stays and refers to a blob of which its namespace has no record."""
        graph = self.named.graph
        found: dict[bytes, Ref] = {}
        for ref in graph.records:
            if ref in self.named:
                for target in map(visited, graph.targets(ref)):
                    if target.kind is Kind.BLOB and target not in graph.records:
                        found.setdefault(target.key, ref)
        return found

    @cached_property
    def _misnamed_blobs(self) -> dict[bytes, str]:
        return misnamed_blobs(self.store, self._needed)


def shown_ref(ref: Ref) -> str:
    """A record in words."""
    kind, key = describe(ref)
    return f"{kind} {shown(key)}"


def _any_of(keys: list[bytes]) -> str:
    """Some snapshots in words: the first, and how many more."""
    first = f"snapshot {shown(min(keys))}"
    return first if len(keys) == 1 else f"{first}, or of {len(keys) - 1} more"
