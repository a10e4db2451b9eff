"""Carrying out a plan, under locks that the caller holds.

The order (docs/safety.md 6): data that no record names, meta.db, each metadata.db, the data that these edits freed. A
repair edits BuildKit's cache records before meta.db: a record whose lease is gone would be worse than a lease without a
record. Whenever a crash comes, it leaves nothing but data or leases without a record. There is an exception on a full
disk: if an edit lacks a block, the ingests that the plan removes go first. containerd does without their data: it
begins such a write again (core/metadata/content.go Writer, v2.1). If that is not enough, what the containers wrote that
the user chose to drop goes too: until the edit is made they do not start, and their engine can still remove them.

What is in the classic layer store of Docker needs no edit, so it goes before the edits too, and makes room for them; if
a store is dropped whole, it goes last. It has an order of its own: records, children before parents; then what they
named. Whenever a crash comes, it leaves directories that no record names, which dockerd never looks at. The other way
round, a pull would find the record, say "Already exists", and never repair it (moby layer/layer_store.go Get, v28.5).
Only what build cache holds that goes with the run waits for the edits of the builder's databases, whose order
:mod:`drydock.reclaim.classic_builds` has.

Databases are compacted last: what was removed from them is free pages by then.

Layers are unpacked again after the removals, which make room for them; lower ones first, because directories that a
layer has no entry for get the owner and mode that they have in the layers below.

The folder of a container that goes by choice is removed last, because it is what names the container. Whenever a crash
comes, the next run finds it and does the rest. dockerd itself removes the layer first, too (moby daemon/delete.go
cleanupContainer, v28.5).

Logs of which nothing stays are emptied before all else, because that needs no room. The others are cut last: what stays
of a log is copied, and the removals have made room for it by then.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from typing import Final

from drydock.evidence.containerd.store import Held
from drydock.evidence.files.directory import sync_folder
from drydock.model.data import RowKind
from drydock.model.errors import ActionFailed
from drydock.model.names import RawPath
from drydock.model.plans import (
    CLASSIC_RECORDS,
    NOT_TRIED,
    CutOutcome,
    LayerRestore,
    LogCut,
    Outcome,
    Plan,
    Removal,
    RestoreOutcome,
    Status,
    Target,
)
from drydock.model.progress import Progress
from drydock.model.roots import RootLayout
from drydock.model.runs import Run
from drydock.model.store import Store
from drydock.model.text import shown
from drydock.reclaim.compaction import run_compaction
from drydock.reclaim.engine_folders import find_owner
from drydock.reclaim.execute_edits import copy_database, make_edit, planned_edits
from drydock.reclaim.execute_names import NamesEdit, copy_names
from drydock.reclaim.execute_removals import BATCH, run_removals
from drydock.reclaim.former_state import directory_path, find_missing
from drydock.reclaim.interrupted_runs import close_unfinished
from drydock.reclaim.journal import NO_NOTE
from drydock.reclaim.journal_writer import JournalWriter
from drydock.reclaim.layer_restores import Unpack, note_former, restore_layer
from drydock.reclaim.log_cuts import cut_log
from drydock.reclaim.quarantine import Quarantine, open_quarantine
from drydock.reclaim.quarantine_manifest import ManifestWriter
from drydock.reclaim.root_dir import RootDir, open_root_dir
from drydock.reclaim.state_dir import open_state, places_with
from drydock.reclaim.syscalls import syncfs
from drydock.verdict.leases import is_dockers

_MOUNTS: Final = b"image/overlay2/layerdb/mounts/"


def execute(
    plan: Plan,
    held: Held,
    store: Store,
    *,
    plan_hash: str,
    state: RawPath | None = None,
    quarantine: RawPath | None = None,
    progress: Progress | None = None,
    unpack: Unpack | None = None,
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
        unpack: unpacks layers; None for a plan that has none to unpack again.

    Raises:
        Refused: there is no place for the journal, or the quarantine cannot be used.
        ActionFailed: the journal cannot be begun, or the backups cannot be made; nothing was changed.
    """
    with ExitStack() as stack:
        root_dir = open_root_dir(plan.root)
        stack.callback(root_dir.close)
        edits = planned_edits(plan, held)
        places = [place for place in places_with(None) if find_owner(place, held.root) is None]
        kept = open_state(state, sum(os.fstat(each.file.fd).st_size for each in edits), places)
        stack.callback(kept.close)
        apart = None
        if quarantine is not None:
            manifests = ManifestWriter(kept.fd, volatile=kept.volatile)
            stack.callback(manifests.close)
            moved: list[Removal | LogCut | LayerRestore] = [*plan.removals, *plan.log_cuts, *plan.restores]
            is_data_root = plan.root in held.root.docker
            apart = open_quarantine(quarantine, root_dir, kept.run, moved, manifests, is_data_root=is_data_root)
            stack.callback(apart.close)
        journal = JournalWriter(kept.fd, kept.path, plan.root, plan_hash, apart and apart.path)
        stack.callback(journal.close)
        run = Run(plan.root, journal.path, f"{kept.why}; lost with a reboot" if kept.volatile else kept.why)
        run.quarantine = apart and apart.path
        if progress is not None and edits:
            progress("copying the databases", 0)
        backups = {each.file.path: copy_database(each.file, kept, plan.root) for each in edits}
        names = copy_names(plan.names, kept)
        journal.note_missing(find_missing(plan, store))
        data_roots = {data: open_root_dir(data) for data in {cut.data for cut in plan.log_cuts}}
        for each_root in data_roots.values():
            stack.callback(each_root.close)
        # What needs no edit and no room goes first: on a full disk it makes room for an edit, and for the end of a log.
        at_once = [] if apart else [cut for cut in plan.log_cuts if not cut.keep]
        run.cuts += _cut_logs(at_once, data_roots, journal, apart)
        # Data that no record names goes first: it needs no edit, and on a full disk it makes room for one.
        report = _outcome_progress(plan, progress, moves=apart is not None)
        own = [removal for removal in plan.removals if not removal.is_classic]
        classic = [removal for removal in plan.removals if removal.is_classic]
        loose = [each for each in own if not each.after_edit and each.target is not Target.CONTAINER_FOLDER]
        run.outcomes += run_removals(loose, root_dir, journal, apart, report)

        def remove_classic(stopped: Mapping[RawPath, str], *, after_edit: bool) -> None:
            going = [removal for removal in classic if removal.after_edit is after_edit]
            named = {} if after_edit else names
            for data in dict.fromkeys([*(removal.root for removal in going), *named]):
                of_root = [removal for removal in going if removal.root == data]
                if data in stopped:
                    detail = f"{NOT_TRIED}{stopped[data]}"
                    run.outcomes += (Outcome(removal, Status.FAILED, detail) for removal in of_root)
                    continue
                data_root = open_root_dir(data)
                stack.callback(data_root.close)
                its_names = named.get(data)
                run.outcomes += _remove_classic(of_root, data_root, journal, apart, report, names=its_names)
                if its_names is not None:
                    its_names.make_with_room(data_root, journal)
                    run.edits.append(its_names.outcome())

        remove_classic({}, after_edit=False)
        blocked: dict[bytes | None, str] = {}
        # An image or a container whose removal failed needs its layers, which besides it only build cache may hold.
        builders = {
            each.action.root: f"{shown(each.action.path)}: {each.cause}"
            for each in run.outcomes
            if each.is_left and each.action.target in CLASSIC_RECORDS
        }
        """Why the databases of the builder of a classic store were not edited, by data root."""
        stays = next((each for each in run.outcomes if each.action.target is Target.STORE_FILE and each.is_left), None)
        if stays is not None:
            # Records of BuildKit name what the edits free: every build would fail without it.
            blocked[None] = f"{shown(stays.action.path)}: {stays.cause}"
        held_names = [each for each in own if not each.after_edit and each.target is Target.CONTAINER_FOLDER]
        if held_names:
            freed = _remove_containers(
                held_names, {RawPath(b""): blocked[None]} if blocked else {}, journal, apart, report
            )
            run.outcomes += freed
            os.sync()  # the record of a container must not go before its name, also if the power goes
            stays = next((each for each in freed if each.is_left), None)
            if stays is not None and not blocked:
                blocked[None] = f"{shown(stays.action.path)}: {stays.cause}"
        after = [removal for removal in own if removal.after_edit and removal.target is not Target.CONTAINER_FOLDER]

        written = _written_layers(plan, store)

        def remove_early(is_early: Callable[[Removal], bool]) -> bool:
            """Remove some of the plan before the edits; whether there was any. A move to a quarantine frees nothing."""
            early: list[Removal] = []
            late: list[Removal] = []
            for removal in after:
                (early if apart is None and is_early(removal) else late).append(removal)
            after[:] = late
            run.outcomes += run_removals(early, root_dir, journal, None, report)
            if early:
                # A file system with a journal gives blocks out again only after its next commit.
                with suppress(OSError):
                    syncfs(edits[0].file.fd)
            return bool(early)

        def make_room() -> bool:
            return remove_early(lambda removal: removal.target is Target.INGEST)

        def give_up() -> bool:
            return remove_early(lambda removal: removal.path in written)

        for each in edits:
            stopped = blocked.get(None) if each.data is None else builders.get(each.data)
            backup = backups[each.file.path]
            if progress is not None:
                progress("editing the databases", 0)
            outcome = make_edit(
                each, root_dir, store, journal, backup, stopped=stopped, make_room=make_room, give_up=give_up
            )
            run.edits.append(outcome)
            if outcome.status is not Status.DONE and each.data is not None:
                builders[each.data] = outcome.detail
            elif outcome.status is not Status.DONE:
                # The leases of cache records stay as long as the records do.
                blocked[None if each.is_cache else each.snapshotter] = stopped or outcome.detail
        remove_classic(builders, after_edit=True)
        ready, waiting = _split(after, blocked, held.root.layout)
        run.outcomes += run_removals(ready, root_dir, journal, apart, report)
        run.outcomes += waiting
        folders = [each for each in own if each.after_edit and each.target is Target.CONTAINER_FOLDER]
        left = {each.action.path: each.cause for each in run.outcomes if each.is_left}
        left |= dict.fromkeys([RawPath(b"")] if blocked else [], next(iter(blocked.values()), ""))
        run.outcomes += _remove_containers(folders, left, journal, apart, report)
        run.cuts += _cut_logs([cut for cut in plan.log_cuts if cut not in at_once], data_roots, journal, apart)
        if plan.restores:
            assert unpack is not None, "a plan with layers to unpack came with what unpacks them"
            if progress is not None:
                progress("unpacking layers again", 0)
            run.restores += _restore_layers(plan.restores, root_dir, journal, apart, unpack)
        run.compactions += [run_compaction(each, held, journal, progress) for each in plan.compactions]
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
        while batch := planned[len(outcomes) : len(outcomes) + BATCH]:
            places = [None if quarantine is None else quarantine.place(cut) for cut in batch]
            for number, cut in zip(journal.intend_cuts(batch, places), batch, strict=True):
                data_root = data_roots[cut.data]
                ended = cut_log(data_root, cut) if quarantine is None else quarantine.take_log(data_root, cut)
                outcomes.append(ended)
                with suppress(ActionFailed):
                    journal.end(number, ended.status, ended.freed, ended.detail)
    except ActionFailed as error:
        outcomes += [CutOutcome(cut, Status.FAILED, f"{NOT_TRIED}{error}") for cut in planned[len(outcomes) :]]
    return outcomes


def _restore_layers(
    planned: Sequence[LayerRestore],
    root_dir: RootDir,
    journal: JournalWriter,
    quarantine: Quarantine | None,
    unpack: Unpack,
) -> list[RestoreOutcome]:
    """Unpack layers again in their order, each written to the journal before it is begun."""
    outcomes: list[RestoreOutcome] = []
    try:
        for restore in planned:
            place = None if quarantine is None else quarantine.place(restore)
            note = NO_NOTE if quarantine is None else note_former(root_dir, restore, quarantine)
            number = journal.intend_restore(restore, place, note)
            outcome = restore_layer(root_dir, restore, unpack, quarantine)
            outcomes.append(outcome)
            with suppress(ActionFailed):
                journal.end(number, outcome.status, detail=outcome.detail)
    except ActionFailed as error:
        outcomes += [RestoreOutcome(each, Status.FAILED, f"{NOT_TRIED}{error}") for each in planned[len(outcomes) :]]
    return outcomes


def _outcome_progress(plan: Plan, progress: Progress | None, *, moves: bool) -> Callable[[Outcome], None] | None:
    """Report each outcome as progress: by bytes, which show best how long it takes; a move by number."""
    if progress is None:
        return None
    receive, count = progress, len(plan.removals)
    if moves or not plan.bytes:
        return lambda _: receive("moved" if moves else "removed", 1, count)
    return lambda outcome: receive("bytes removed", outcome.action.bytes, plan.bytes)


def _written_layers(plan: Plan, store: Store) -> set[RawPath]:
    """The written layers of the containers that the user chose to drop: their directories."""
    own = {(drop.namespace, drop.id) for drop in plan.containers}
    keys = {
        (record.namespace, record.snapshotter, record.snapshot_key)
        for record in store.metadata.containers
        if (record.namespace, record.id) in own
    }
    found: set[RawPath] = set()
    for each in store.metadata.snapshots:
        is_dockers_own = is_dockers(each.namespace) and (b"", each.key) in own
        if is_dockers_own or (each.namespace, each.snapshotter, each.key) in keys:
            backend = store.backends.get(each.snapshotter)
            row = None if backend is None else backend.rows.get(each.name)
            if row is not None and row.kind is RowKind.ACTIVE:
                found.add(directory_path(store.root.layout, each.snapshotter, row.id))
    return found


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
            waiting.append(Outcome(removal, Status.FAILED, f"{NOT_TRIED}{reason}"))
        else:
            ready.append(removal)
    return ready, waiting


def _remove_classic(
    planned: Sequence[Removal],
    data_root: RootDir,
    journal: JournalWriter,
    quarantine: Quarantine | None,
    progress: Callable[[Outcome], None] | None,
    *,
    names: NamesEdit | None,
) -> list[Outcome]:
    """Remove files of images and their names, then records of layers, then what they named.

    What a record that is left names stays.
    """
    files = [removal for removal in planned if removal.target is Target.STORE_FILE]
    outcomes = run_removals(files, data_root, journal, quarantine, progress)
    stopped = next((each for each in outcomes if each.is_left), None)
    if stopped is not None:
        # BuildKit's databases name layers: without these, every build would fail.
        detail = f"{NOT_TRIED}{shown(stopped.action.path)}: {stopped.cause}"
        if names is not None:
            names.stop(detail)
        rest = (removal for removal in planned if removal.target is not Target.STORE_FILE)
        return outcomes + [Outcome(removal, Status.FAILED, detail) for removal in rest]
    if names is not None:
        names.make(data_root, journal)
    records = [removal for removal in planned if removal.target in CLASSIC_RECORDS[1:]]
    outcomes += run_removals(records, data_root, journal, quarantine, progress)
    failed = {each.action.path: each.cause for each in outcomes if each.is_left}
    unsynced = _sync_folders(data_root, [*files, *records])
    ready: list[Removal] = []
    for removal in planned:
        if removal.target in CLASSIC_RECORDS:
            continue
        reason = failed.get(removal.named_by) or (unsynced if removal.named_by else None)
        if reason is None:
            ready.append(removal)
        else:
            detail = f"{NOT_TRIED}{shown(removal.named_by)}: {reason}"
            outcomes.append(Outcome(removal, Status.FAILED, detail))
    return outcomes + run_removals(ready, data_root, journal, quarantine, progress)


def _remove_containers(
    planned: Sequence[Removal],
    left: Mapping[RawPath, str],
    journal: JournalWriter,
    quarantine: Quarantine | None,
    progress: Callable[[Outcome], None] | None,
) -> list[Outcome]:
    """Remove the folders of containers of which nothing else is left.

    ``left`` has why paths are still there, and why databases were not edited: those of no path stop every removal.
    """
    ready: dict[RawPath, list[Removal]] = {}
    outcomes: list[Outcome] = []
    for removal in planned:
        mount = RawPath(_MOUNTS + removal.path.rpartition(b"/")[2])
        reason = left.get(RawPath(b"")) or left.get(mount)
        if reason is None:
            ready.setdefault(removal.root, []).append(removal)
        else:
            outcomes.append(Outcome(removal, Status.FAILED, f"{NOT_TRIED}{reason}"))
    if ready:
        # What a container's folder names must be gone before the folder, also if the power goes.
        os.sync()
    for root, removals in ready.items():
        with closing(open_root_dir(root)) as root_dir:
            outcomes += run_removals(removals, root_dir, journal, quarantine, progress)
    return outcomes


def _sync_folders(root_dir: RootDir, planned: Iterable[Removal]) -> str | None:
    """Sync the folders that paths were removed from; why that failed, or None.

    ``overlay2`` may be a disk of its own: a power loss could then bring back a record, and not what it names.
    """
    folders = {os.path.dirname(each.path): each for each in planned}
    try:
        for each in folders.values():
            parent, _ = root_dir.open_parent(each.path, each.expect.device)
            try:
                sync_folder(parent)
            finally:
                os.close(parent)
    except OSError as error:
        return f"its folder cannot be synced: {error.strerror}"
    return None


def _finish(run: Run, journal: JournalWriter, held: Held, store: Store, state: RawPath | None) -> None:
    try:
        journal.finish()
        unread = close_unfinished(held, store, state)
        run.notes += [f"{each}: it is not known whether its run was stopped before its end" for each in unread]
    except ActionFailed as error:
        run.warnings.append(str(error))
