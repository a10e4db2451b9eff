"""Carrying out a plan, under locks that the caller holds.

The order (docs/safety.md 6): data that no record names, meta.db, each metadata.db, the data that these edits freed. A
repair edits BuildKit's cache records before meta.db: a record whose lease is gone would be worse than a lease without a
record. Whenever a crash comes, it leaves nothing but data or leases without a record. There is one exception on a full
disk: if an edit lacks a block, the ingests that the plan removes go first. containerd does without their data: it
begins such a write again (core/metadata/content.go Writer, v2.1).

What is in the classic layer store of Docker needs no edit, so it goes before the edits too, and makes room for them; if
a store is dropped whole, it goes last. It has an order of its own: records, children before parents; then what they
named. Whenever a crash comes, it leaves directories that no record names, which dockerd never looks at. The other way
round, a pull would find the record, say "Already exists", and never repair it (moby layer/layer_store.go Get, v28.5).

Logs of which nothing stays are emptied before all else, because that needs no room. The others are cut last: what stays
of a log is copied, and the removals have made room for it by then.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from typing import Final

from bbolt_reader import BoltError, Database
from drydock.evidence.containerd.metadata import read_metadata
from drydock.evidence.containerd.rows import read_rows
from drydock.evidence.containerd.store import File, Held
from drydock.evidence.files.directory import fingerprint, open_folder
from drydock.evidence.files.regular import open_regular
from drydock.interrupts import Deferral, defer_interrupt
from drydock.model.errors import ActionFailed, DiskFull
from drydock.model.names import RawPath, Ref
from drydock.model.plans import (
    CACHE_RECORDS,
    CLASSIC_DATA,
    CLASSIC_RECORDS,
    TREES,
    Adoption,
    CacheMark,
    CutOutcome,
    FieldDrop,
    LeaseRecord,
    LogCut,
    Outcome,
    Plan,
    Removal,
    RowDrop,
    SnapshotRecord,
    Status,
    Target,
)
from drydock.model.progress import Progress
from drydock.model.records import Blob, Lease, Metadata, Snapshot
from drydock.model.roots import RootLayout
from drydock.model.runs import EditOutcome, Run
from drydock.model.store import Store
from drydock.model.text import shown
from drydock.reclaim import removals
from drydock.reclaim.edit import (
    Fields,
    back_up,
    cache_deletions,
    cache_insertions,
    edit,
    is_marked,
    metadata_deletions,
    metadata_insertions,
    revert,
    row_deletions,
)
from drydock.reclaim.engine_folders import find_owner
from drydock.reclaim.former_state import find_missing
from drydock.reclaim.interrupted_runs import close_unfinished
from drydock.reclaim.journal import JournalWriter
from drydock.reclaim.log_cuts import cut_log
from drydock.reclaim.quarantine import Quarantine, open_quarantine
from drydock.reclaim.quarantine_manifest import ManifestWriter
from drydock.reclaim.root_dir import RootDir, describe_change, open_root_dir
from drydock.reclaim.state_dir import RunDirectory, open_state, places_with

_BATCH: Final = 64
"""Removals that are written to the journal with one sync."""
_THREADS: Final = 4
"""Trees that are removed at once where unlink waits for the disk: then they wait together."""
_WAITS: Final = 2
"""It waits where so many times the processor's time passes, as with ext4 that has no journal and is mounted with
discard: the disk drops the blocks of each file. Where it does not wait, threads only take turns, which takes longer."""


def execute(
    plan: Plan,
    held: Held,
    store: Store,
    *,
    plan_hash: str,
    state: RawPath | None = None,
    quarantine: RawPath | None = None,
    progress: Progress | None = None,
) -> Run:
    """Carry out a plan.

    Args:
        plan: the plan; not empty.
        held: the root's databases, locked exclusively, in the state that the plan was made from.
        store: the root as it was read for the plan.
        plan_hash: the plan's hash, for the journal.
        state: the state directory that the user chose.
        quarantine: the directory to move data to instead of deleting it.
        progress: receives progress, in steps or in removed bytes.

    Raises:
        Refused: there is no place for the journal, or the quarantine cannot be used.
        ActionFailed: the journal cannot be begun, or the backups cannot be made; nothing was changed.
    """
    with ExitStack() as stack:
        root_dir = open_root_dir(plan.root)
        stack.callback(root_dir.close)
        edits = _edits(plan, held)
        places = [place for place in places_with(None) if find_owner(place, held.root) is None]
        kept = open_state(state, sum(os.fstat(each.file.fd).st_size for each in edits), places)
        stack.callback(kept.close)
        apart = None
        if quarantine is not None:
            manifests = ManifestWriter(kept.fd, volatile=kept.volatile)
            stack.callback(manifests.close)
            moved: list[Removal | LogCut] = [*plan.removals, *plan.log_cuts]
            is_data_root = plan.root in held.root.docker
            apart = open_quarantine(quarantine, root_dir, kept.run, moved, manifests, is_data_root=is_data_root)
            stack.callback(apart.close)
        journal = JournalWriter(kept.fd, kept.path, plan.root, plan_hash)
        stack.callback(journal.close)
        run = Run(plan.root, journal.path, f"{kept.why}; lost with a reboot" if kept.volatile else kept.why)
        if progress is not None and edits:
            progress("copying the databases", 0)
        backups = {each.file.path: _back_up(each.file, kept, plan.root) for each in edits}
        journal.note_missing(find_missing(plan, store))
        data_roots = {data: open_root_dir(data) for data in {cut.data for cut in plan.log_cuts}}
        for each_root in data_roots.values():
            stack.callback(each_root.close)
        # What needs no edit and no room goes first: on a full disk it makes room for an edit, and for the end of a log.
        at_once = [] if apart else [cut for cut in plan.log_cuts if not cut.keep]
        run.cuts += _cut_logs(at_once, data_roots, journal, apart)
        # Data that no record names goes first: it needs no edit, and on a full disk it makes room for one.
        report = _outcome_progress(plan, progress, moves=apart is not None)
        own = [removal for removal in plan.removals if removal.target not in (*CLASSIC_RECORDS, *CLASSIC_DATA)]
        classic = [removal for removal in plan.removals if removal.target in (*CLASSIC_RECORDS, *CLASSIC_DATA)]
        loose = [removal for removal in own if not removal.after_edit]
        run.outcomes += run_removals(loose, root_dir, journal, apart, report)

        def remove_classic() -> None:
            for data in dict.fromkeys(removal.root for removal in classic):
                data_root = open_root_dir(data)
                stack.callback(data_root.close)
                of_root = [removal for removal in classic if removal.root == data]
                run.outcomes += _remove_classic(of_root, data_root, journal, apart, report)

        remove_classic()
        blocked: dict[bytes | None, str] = {}
        stays = next((each for each in run.outcomes if each.action.target is Target.STORE_FILE and each.is_left), None)
        if stays is not None:
            # Records of BuildKit name what the edits free: every build would fail without it.
            blocked[None] = f"{shown(stays.action.path)}: {stays.detail or stays.status.value}"
        after = [removal for removal in own if removal.after_edit]

        def make_room() -> bool:
            """Remove the ingests of the plan; whether there were any. A move to a quarantine would free nothing."""
            ingests = [] if apart else [removal for removal in after if removal.target is Target.INGEST]
            after[:] = [removal for removal in after if removal not in ingests]
            run.outcomes += run_removals(ingests, root_dir, journal, None, report)
            return bool(ingests)

        for each in edits:
            stopped = blocked.get(None)
            backup = backups[each.file.path]
            if progress is not None:
                progress("editing the databases", 0)
            outcome = _edit(each, root_dir, store, journal, backup, stopped=stopped, make_room=make_room)
            run.edits.append(outcome)
            if outcome.status is not Status.DONE:
                # The leases of cache records stay as long as the records do.
                blocked[None if each.is_cache else each.snapshotter] = outcome.detail
        ready, waiting = _split(after, blocked, held.root.layout)
        run.outcomes += run_removals(ready, root_dir, journal, apart, report)
        run.outcomes += waiting
        run.cuts += _cut_logs([cut for cut in plan.log_cuts if cut not in at_once], data_roots, journal, apart)
        if apart is not None and apart.manifests is not None and apart.manifests.left_out:
            run.notes.append(
                f"directories moved without a manifest: {apart.manifests.left_out} ({apart.manifests.problem}); undo "
                "puts them back only if they are not copied or changed"
            )
        _finish(run, journal, held, store, state)
        return run


def _cut_logs(
    planned: Sequence[LogCut],
    data_roots: Mapping[RawPath, RootDir],
    journal: JournalWriter,
    quarantine: Quarantine | None,
) -> list[CutOutcome]:
    """Cut logs in their order, as :func:`run_removals` removes."""
    outcomes: list[CutOutcome] = []
    try:
        while batch := planned[len(outcomes) : len(outcomes) + _BATCH]:
            places = [None if quarantine is None else quarantine.place(cut) for cut in batch]
            for number, cut in zip(journal.intend_cuts(batch, places), batch, strict=True):
                data_root = data_roots[cut.data]
                ended = cut_log(data_root, cut) if quarantine is None else quarantine.take_log(data_root, cut)
                outcomes.append(ended)
                with suppress(ActionFailed):
                    journal.end(number, ended.status, ended.freed, ended.detail)
    except ActionFailed as error:
        outcomes += [CutOutcome(cut, Status.FAILED, f"not tried: {error}") for cut in planned[len(outcomes) :]]
    return outcomes


def _outcome_progress(plan: Plan, progress: Progress | None, *, moves: bool) -> Callable[[Outcome], None] | None:
    """Report each outcome as progress: by bytes, which show best how long it takes; a move by number."""
    if progress is None:
        return None
    receive, count = progress, len(plan.removals)
    if moves or not plan.bytes:
        return lambda _: receive("moved" if moves else "removed", 1, count)
    return lambda outcome: receive("bytes removed", outcome.action.bytes, plan.bytes)


@dataclass(slots=True)
class _Edit:
    """The part of a plan for one database; ``snapshotter`` is None for meta.db and for BuildKit's."""

    snapshotter: bytes | None
    file: File
    plan: Plan
    is_cache: bool = False
    """Whether it is the database of BuildKit's cache records."""

    @property
    def rows(self) -> list[RowDrop]:
        """The rows to delete."""
        return [row for row in self.plan.rows if row.snapshotter == self.snapshotter]

    @property
    def added(self) -> tuple[Adoption | SnapshotRecord | LeaseRecord, ...]:
        """The records to add."""
        return self.plan.added if self.snapshotter is None and not self.is_cache else ()

    @property
    def cached(self) -> list[FieldDrop]:
        """What to delete from the database of BuildKit's cache records."""
        return [field for field in self.plan.fields if self.is_cache and field.database == self.file.path]

    @property
    def marks(self) -> list[CacheMark]:
        """The cache records of BuildKit to mark."""
        return [mark for mark in self.plan.marks if self.is_cache and mark.database == self.file.path]

    @property
    def counts(self) -> tuple[int, int]:
        """How many leases and records, or rows, to delete."""
        if self.is_cache:
            return 0, 0
        return (len(self.plan.leases), len(self.plan.records)) if self.snapshotter is None else (0, len(self.rows))

    @property
    def fields(self) -> int:
        """How many keys to delete in records and rows that stay, or of BuildKit's cache records."""
        if self.is_cache:
            return len(self.cached)
        return sum(field.database is None and field.snapshotter == self.snapshotter for field in self.plan.fields)


def _edits(plan: Plan, held: Held) -> list[_Edit]:
    edits = [
        _Edit(None, file, plan, is_cache=True)
        for file in held.caches
        if file.path in {*(field.database for field in plan.fields), *(mark.database for mark in plan.marks)}
    ]
    edited: list[tuple[bytes | None, File | None]] = [(None, held.metadata), *held.backends.items()]
    for snapshotter, file in edited:
        rows = any(row.snapshotter == snapshotter for row in plan.rows)
        fields = any(field.database is None and field.snapshotter == snapshotter for field in plan.fields)
        if rows or fields or (snapshotter is None and (plan.leases or plan.records or plan.added)):
            assert file is not None, "a plan that edits a database was made of it"
            edits.append(_Edit(snapshotter, file, plan))
    return edits


def _back_up(file: File, kept: RunDirectory, root: RawPath) -> RawPath:
    name = os.path.relpath(file.path, root)
    if name.startswith(b"../"):  # BuildKit's, beside the root
        name = b"/".join(file.path.split(b"/")[-2:])
    name = name.replace(b"/", b".")
    return back_up(file.fd, name, kept.fd, kept.path)


def _edit(
    each: _Edit,
    root_dir: RootDir,
    store: Store,
    journal: JournalWriter,
    backup: RawPath,
    *,
    stopped: str | None,
    make_room: Callable[[], bool],
) -> EditOutcome:
    plan, path = each.plan, each.file.path
    leases, records = each.counts
    if stopped is not None:
        return EditOutcome(path, leases, records, Status.FAILED, f"not tried: {stopped}", backup, each.fields)
    if each.is_cache:
        deletions = cache_deletions(plan, path)
    else:
        deletions = metadata_deletions(plan) if each.snapshotter is None else row_deletions(plan, each.snapshotter)
    insertions = metadata_insertions(plan) if each.added else []
    if each.is_cache:
        insertions = cache_insertions(plan, path)
    numbers: list[int] = []

    def note(fields: Fields) -> None:
        numbers.append(journal.intend_edit(path, {**fields, "backup": shown(backup)}))

    try:
        if each.added:
            _sync_blobs(root_dir, plan.adoptions)
            _sync_snapshots(root_dir, plan.snapshots)
        try:
            fields = edit(each.file.fd, path, deletions, note, insertions, keep_time=each.is_cache)
        except DiskFull:
            if not make_room():
                raise
            fields = edit(each.file.fd, path, deletions, note, insertions, keep_time=each.is_cache)
        wrong = _compare(each, store)
        if wrong is not None:
            revert(each.file.fd, path, fields, keep_time=each.is_cache)
            wrong = f"{shown(path)}: {wrong} after the edit, so it was taken back"
    except ActionFailed as error:
        wrong = str(error)
    status = Status.DONE if wrong is None else Status.FAILED
    # A broken journal refuses the next intention; the edit has happened all the same.
    with suppress(ActionFailed):
        for number in numbers:
            journal.end(number, status, detail=wrong or "")
    added = len(each.added) + len(each.marks)
    return EditOutcome(path, leases, records, status, wrong or "", backup, each.fields, added)


def _compare(each: _Edit, store: Store) -> str | None:
    """Read the database again; return how it differs from what the plan should leave, or None."""
    try:
        with Database.from_fd(each.file.fd, each.file.path) as database:
            if each.is_cache:
                same = _cached(database) == _left(each, store)
                same = same and all(is_marked(database, mark.record) for mark in each.marks)
                return None if same else "its records differ from the plan"
            if each.snapshotter is None:
                metadata = read_metadata(database, each.file.path)
                records: dict[Ref, Blob | Snapshot | Lease] = {blob.ref: blob for blob in metadata.blobs}
                records |= {snapshot.ref: snapshot for snapshot in metadata.snapshots}
                records |= {lease.ref: lease for lease in metadata.leases}
                if any(records.get(added.ref) != added.record() for added in each.added):
                    return "an added record differs from the plan"
                left = _refs(metadata)
                gone = {end.ref for end in each.plan.leases} | {drop.ref for drop in each.plan.records}
                return None if left == _refs(store.metadata) - gone else "its records differ from the plan"
            names = set(read_rows(database, each.file.path).rows)
            dropped = {row.name for row in each.rows}
            rows = set(store.backends[each.snapshotter].rows)
            return None if names == rows - dropped else "its rows differ from the plan"
    except BoltError as error:
        return f"it could not be read ({error})"


def _cached(database: Database) -> set[bytes]:
    """The ids of BuildKit's cache records."""
    records = database.root.bucket(CACHE_RECORDS[0])
    return set() if records is None else {name for name, _ in records.items()}


def _left(each: _Edit, store: Store) -> set[bytes]:
    """The ids of the cache records that the plan leaves."""
    before = {name for cache in store.owners.caches if cache.path == each.file.path for name in cache.records}
    return before - {field.key for field in each.cached if field.bucket == CACHE_RECORDS}


def _refs(metadata: Metadata) -> set[Ref]:
    lists = (
        metadata.images, metadata.containers, metadata.blobs, metadata.ingests,
        metadata.snapshots, metadata.sandboxes, metadata.leases,
    )  # fmt: skip
    return {record.ref for records in lists for record in records}


def _split(
    planned: list[Removal], blocked: dict[bytes | None, str], layout: RootLayout
) -> tuple[list[Removal], list[Outcome]]:
    """The removals that may be made now, and outcomes for those whose edit was not made."""
    ready: list[Removal] = []
    waiting: list[Outcome] = []
    for removal in planned:
        snapshotter = layout.named(removal.path.partition(b"/")[0]) or b""
        reason = blocked.get(None) or blocked.get(snapshotter)
        if reason is not None:
            waiting.append(Outcome(removal, Status.FAILED, f"not tried: {reason}"))
        else:
            ready.append(removal)
    return ready, waiting


def _remove_classic(
    planned: Sequence[Removal],
    data_root: RootDir,
    journal: JournalWriter,
    quarantine: Quarantine | None,
    progress: Callable[[Outcome], None] | None,
) -> list[Outcome]:
    """Remove records of the classic layer store, then what they named; what a record that is left names stays."""
    files = [removal for removal in planned if removal.target is Target.STORE_FILE]
    outcomes = run_removals(files, data_root, journal, quarantine, progress)
    stopped = next((each for each in outcomes if each.is_left), None)
    if stopped is not None:
        # BuildKit's databases name layers: without these, every build would fail.
        detail = f"not tried: {shown(stopped.action.path)}: {stopped.detail or stopped.status.value}"
        rest = (removal for removal in planned if removal.target is not Target.STORE_FILE)
        return outcomes + [Outcome(removal, Status.FAILED, detail) for removal in rest]
    records = [removal for removal in planned if removal.target in CLASSIC_RECORDS[1:]]
    outcomes += run_removals(records, data_root, journal, quarantine, progress)
    failed = {each.action.path: each.detail or each.status.value for each in outcomes if each.is_left}
    unsynced = _sync_folders(data_root, [*files, *records])
    ready: list[Removal] = []
    for removal in planned:
        if removal.target in CLASSIC_RECORDS:
            continue
        reason = failed.get(removal.named_by) or (unsynced if removal.named_by else None)
        if reason is None:
            ready.append(removal)
        else:
            detail = f"not tried: {shown(removal.named_by)}: {reason}"
            outcomes.append(Outcome(removal, Status.FAILED, detail))
    return outcomes + run_removals(ready, data_root, journal, quarantine, progress)


def _sync_folders(root_dir: RootDir, planned: Iterable[Removal]) -> str | None:
    """Sync the folders that paths were removed from; why that failed, or None.

    ``overlay2`` may be a disk of its own: a power loss could then bring back a record, and not what it names.
    """
    folders = {os.path.dirname(each.path): each for each in planned}
    try:
        for each in folders.values():
            parent, _ = root_dir.open_parent(each.path, each.expect.device)
            try:
                opened = open_folder(b".", parent)
            finally:
                os.close(parent)
            try:
                os.fsync(opened)
            finally:
                os.close(opened)
    except OSError as error:
        return f"its folder cannot be synced: {error.strerror}"
    return None


def _finish(run: Run, journal: JournalWriter, held: Held, store: Store, state: RawPath | None) -> None:
    try:
        journal.finish()
        close_unfinished(held, store, state)
    except ActionFailed as error:
        run.warnings.append(str(error))


def run_removals(
    planned: Sequence[Removal],
    root_dir: RootDir,
    journal: JournalWriter,
    quarantine: Quarantine | None = None,
    progress: Callable[[Outcome], None] | None = None,
) -> list[Outcome]:
    """Carry out removals in their order, or move the data to ``quarantine``.

    Each removal is written to the journal and synced before it is made. A removal that fails does not stop the others.
    A journal that cannot be written does: removals that were not tried are then FAILED with that reason.

    Args:
        planned: removals in the root of ``root_dir``.
        root_dir: the open containerd root.
        journal: the journal of the run.
        quarantine: an open quarantine, to move data instead of deleting it.
        progress: receives each outcome, in order, in this thread.

    Returns:
        One outcome for each removal, in their order.

    Raises:
        KeyboardInterrupt: or another exception of a signal handler; the journal then has what was intended and ended.
    """
    outcomes: list[Outcome] = []
    try:
        for batch in _batches(planned):
            places = [None if quarantine is None else quarantine.place(removal) for removal in batch]
            numbers = journal.intend(batch, places, None if quarantine is None else quarantine.note(root_dir, batch))
            with closing(_cut(batch, root_dir, quarantine)) as cut:
                for number, outcome in zip(numbers, cut, strict=True):
                    outcomes.append(outcome)
                    # An intention that is on disk may be carried out; a broken journal refuses the next one.
                    with suppress(ActionFailed):
                        journal.end_removal(number, outcome)
                    if progress is not None:
                        progress(outcome)
    except ActionFailed as error:
        outcomes += [Outcome(removal, Status.FAILED, f"not tried: {error}") for removal in planned[len(outcomes) :]]
    return outcomes


def _batches(planned: Sequence[Removal]) -> Iterator[list[Removal]]:
    for _, group in itertools.groupby(planned, key=lambda removal: removal.target):
        while batch := list(itertools.islice(group, _BATCH)):
            yield batch


def _cut(batch: Sequence[Removal], root_dir: RootDir, quarantine: Quarantine | None) -> Generator[Outcome, None, None]:
    if quarantine is not None:
        return (quarantine.take(root_dir, removal) for removal in batch)
    if batch[0].target in TREES and len(batch) > 1 and (os.cpu_count() or 1) > 1:
        return _cut_trees(batch, root_dir)
    return (removals.remove(root_dir, removal) for removal in batch)


def _cut_trees(batch: Sequence[Removal], root_dir: RootDir) -> Generator[Outcome, None, None]:
    with defer_interrupt() as deferral:
        passed = worked = 0.0
        done = 0
        while done < len(batch) and passed <= _WAITS * worked:
            clock, processor = time.perf_counter(), time.thread_time()
            outcome = removals.remove(root_dir, batch[done], deferral)
            passed += time.perf_counter() - clock
            worked += time.thread_time() - processor
            done += 1
            yield outcome
        if done < len(batch):
            yield from _cut_together(batch[done:], root_dir, deferral)


def _cut_together(batch: Sequence[Removal], root_dir: RootDir, deferral: Deferral) -> Iterator[Outcome]:
    with ThreadPoolExecutor(_THREADS) as pool:
        futures = [pool.submit(removals.remove, root_dir, removal, deferral) for removal in batch]
        try:
            for future in futures:
                yield future.result()
        finally:
            # If the caller stops early, nothing more is begun, and running removals end early.
            deferral.stops = True
            for future in futures:
                future.cancel()


def _sync_blobs(root_dir: RootDir, adoptions: Iterable[Adoption]) -> None:
    """Sync the blobs of planned records, and check that they are as the plan saw them.

    A record without its blob makes every later pull of it fail.

    Raises:
        ActionFailed: a blob changed or cannot be synced. Then no record may be added, because the GC would drop what
            the missing record names.
    """
    folders: dict[bytes, Adoption] = {}
    for each in adoptions:
        folders.setdefault(os.path.dirname(each.path), each)
        change = _sync_blob(root_dir, each, folder=False)
        if change is not None:
            raise ActionFailed(f"{shown(each.path)}: {change}; no record was added")
    # Their directory entries too: whoever wrote the blobs may not have synced these.
    for each in folders.values():
        _sync_blob(root_dir, each, folder=True)


def _sync_snapshots(root_dir: RootDir, snapshots: Iterable[SnapshotRecord]) -> None:
    """Sync the directories of planned snapshot records, and check that they are as the plan saw them.

    Raises:
        ActionFailed: a directory changed, or cannot be synced.
    """
    for each in snapshots:
        try:
            parent, name = root_dir.open_parent(each.path, each.expect.device)
            try:
                opened = open_folder(name, parent)
            finally:
                os.close(parent)
            try:
                os.fsync(opened)
                change = describe_change(each.expect, fingerprint(os.fstat(opened)))
            finally:
                os.close(opened)
        except OSError as error:
            raise ActionFailed(f"{shown(each.path)}: {error.strerror}") from error
        if change is not None:
            raise ActionFailed(f"{shown(each.path)}: {change}; no record was added")


def _sync_blob(root_dir: RootDir, adoption: Adoption, *, folder: bool) -> str | None:
    """Sync a blob, or the folder that holds it; return how the blob changed since the plan, or None."""
    try:
        parent, name = root_dir.open_parent(adoption.path, adoption.expect.device)
        try:
            opened = open_folder(b".", parent) if folder else open_regular(name, parent)
        finally:
            os.close(parent)
        try:
            os.fsync(opened)
            return None if folder else describe_change(adoption.expect, fingerprint(os.fstat(opened)))
        finally:
            os.close(opened)
    except OSError as error:
        raise ActionFailed(f"{shown(adoption.path)}: {error.strerror}") from error
