"""Runs that were killed: what they left to do, and the end of their journals once nothing is left."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from contextlib import ExitStack, closing, suppress

from bbolt_reader import BoltError, Database
from drydock.evidence.buildkit.records import build_databases_beside
from drydock.evidence.containerd.database_file import File
from drydock.evidence.containerd.metadata import read_metadata
from drydock.evidence.containerd.store import Held
from drydock.evidence.host.locks import hold
from drydock.model.errors import ActionFailed, EvidenceUnreadable, Refused
from drydock.model.names import RawPath, UnixNano, blob_path, ingest_name
from drydock.model.objects import State
from drydock.model.store import Store
from drydock.model.text import shown, unshown
from drydock.reclaim import layer_restores
from drydock.reclaim.edit import EditStatus, edit_status, former
from drydock.reclaim.former_state import directories, recorded, row_paths, rows_of
from drydock.reclaim.image_names import find_left as find_left_names
from drydock.reclaim.journal import Entry, Journal
from drydock.reclaim.journal_writer import close_abandoned
from drydock.reclaim.let_go import left_of
from drydock.reclaim.log_cuts import is_left
from drydock.reclaim.removals import is_in_place, is_marked
from drydock.reclaim.root_dir import open_root_dir
from drydock.reclaim.state_dir import UnreadableJournal, find_killed, places_with
from drydock.verdict.layer_store import judge_layer_store


def find_left(journal: Journal, held: Held, store: Store) -> str | None:
    """Find the first thing that a killed run began and that nothing finished since.

    This is one of:

    - an edit that was not made and still can be: until an engine or another run writes to the database;
    - data that the run was about to remove;
    - a file that the cut of a log left beside the log;
    - a directory that the restore of a layer left beside the snapshots;
    - data that the run's edits released, also if the run never wrote down its removal; also folders of nerdctl.

    Data that a record or a row names again is not left: an engine or a policy keeps it. Neither is data whose removal
    ended, with whatever result, nor the folder of an ingest that no run touches. If the database was written to since
    and its backup is gone, the data that the edit released is unknown, and is not searched for.

    Args:
        journal: the journal of the run.
        held: the databases of its root, locked exclusively. They are read again, because this run may have edited them.
        store: the root as it was read under these locks.

    Returns:
        One shown line; None if nothing is left.
    """
    for file in held.files():
        if not file.is_sound:
            return f"{shown(file.path)} is damaged, so what it names is not known"
    with ExitStack() as stack:
        try:
            now = {file.path: stack.enter_context(Database.from_fd(file.fd, file.path)) for file in held.files()}
            return _LeftoverSearch(journal, held, now, store).find()
        except BoltError as error:
            return f"{shown(error.file)}: {error}"
        except (EvidenceUnreadable, Refused) as error:
            return str(error)


class _LeftoverSearch:
    def __init__(self, journal: Journal, held: Held, now: Mapping[RawPath, Database], store: Store) -> None:
        self._journal = journal
        self._held = held
        self._layout = held.root.layout
        self._now = now
        self._store = store
        self._rows: set[RawPath] = set()
        self._used = {ingest.path for ingest in store.content.ingests if not ingest.is_plain}
        """Paths that records and rows name, and of ingests with files that are not containerd's."""

    def find(self) -> str | None:
        self._read()
        edits = [entry for entry in self._journal.entries if entry.do == "edit"]
        return (
            next(filter(None, map(self._of_edit, edits)), None)
            or self._of_removals()
            or self._of_names()
            or self._of_cuts()
            or self._of_restores()
            or self._of_containers()
        )

    def _read(self) -> None:
        for snapshotter, file in self._held.backends.items():
            if file is not None:
                rows = rows_of(file, self._now[file.path])
                self._rows |= row_paths(self._layout, snapshotter, rows)
                self._used |= directories(self._layout, snapshotter, rows)
        file = self._held.metadata
        if file is not None:
            metadata = read_metadata(self._now[file.path], file.path)
            self._used |= recorded(self._layout, metadata)
            for ingest in metadata.ingests:
                place = (self._layout.content, b"ingest", ingest_name(ingest.backend_ref))
                self._used.add(RawPath(b"/".join(place)))
                if ingest.expected is not None:
                    self._used.add(blob_path(ingest.expected, self._layout.content))

    def _of_edit(self, entry: Entry) -> str | None:
        file = next((file for file in self._held.files() if file.path == entry.path), None)
        if file is None and entry.path in build_databases_beside(self._held.root):
            return self._of_cache(entry)
        if file is None:
            # Without its folder the database is gone for good; an empty folder may be a mount point without its disk.
            return f"{shown(entry.path)} is not there" if os.path.lexists(os.path.dirname(entry.path)) else None
        stands = EditStatus.MOVED
        with suppress(ActionFailed):
            stands = edit_status(file.fd, file.path, entry.fields)
        if stands is EditStatus.FORMER:
            return f"{shown(entry.path)}: the edit was not made" if entry.ended is None else None
        if stands is EditStatus.EDITED:
            return self._of_former(file, former(self._now[file.path], entry.fields))
        with suppress(BoltError), Database.open(unshown(str(entry.fields.get("backup", "")))) as copy:
            return self._of_former(file, copy)
        return None

    def _of_cache(self, entry: Entry) -> str | None:
        """The same for an edit of a database of BuildKit: data that it named looks unused, and the next plan has it."""
        stands = EditStatus.MOVED
        with suppress(ActionFailed), ExitStack() as stack:
            held = self._held.find(entry.path)
            fd = held.fd if held is not None else stack.enter_context(hold(entry.path, exclusive=False)).fd
            stands = edit_status(fd, entry.path, entry.fields)
        if stands is EditStatus.FORMER and entry.ended is None:
            return f"{shown(entry.path)}: the edit was not made"
        return None

    def _of_former(self, file: File, database: Database) -> str | None:
        """Find data that a database named before an edit and that nothing names now."""
        root = self._journal.root
        ended = {entry.path for entry in self._journal.entries if entry.removal is not None and entry.ended is not None}
        backends = self._held.backends
        unseen = {self._layout.snapshotter(snapshotter) for snapshotter in backends if backends[snapshotter] is None}
        for path in sorted(self._named(file, database) - self._used - ended):
            if path in self._rows or path.partition(b"/")[0] in unseen or os.path.lexists(os.path.join(root, path)):
                return f"{shown(path)}, which the run let go of, is there"
        return None

    def _named(self, file: File, database: Database) -> set[RawPath]:
        if file is self._held.metadata:
            return recorded(self._layout, read_metadata(database, file.path))
        name = next(snapshotter for snapshotter, there in self._held.backends.items() if there is file)
        return directories(self._layout, name, rows_of(file, database))

    def _of_removals(self) -> str | None:
        pending = [entry.removal for entry in self._journal.pending if entry.removal is not None]
        for path in dict.fromkeys(removal.root for removal in pending):
            if path not in (self._journal.root, *self._held.root.docker):
                continue  # a Docker data root that is none of this root's any more
            used = self._used | self._used_layers(path)
            root_dir = open_root_dir(path)
            try:
                for removal in pending:
                    if removal.root != path:
                        continue
                    if is_marked(root_dir, removal) or (removal.path not in used and is_in_place(root_dir, removal)):
                        return f"{shown(removal.path)}, which the run was about to remove, is there"
            finally:
                root_dir.close()
        return None

    def _used_layers(self, data: RawPath) -> set[RawPath]:
        """What images, containers and builds use in the classic layer store of a data root."""
        now = UnixNano(time.time_ns())
        judged = (judge_layer_store(each, now) for each in self._store.layer_stores if each.data == data)
        objects = (found for verdict in judged for found in verdict.objects)
        used = {found.path for found in objects if found.reach is State.LIVE and found.path is not None}
        for store in self._store.layer_stores:
            if store.data == data:
                for image in store.images.values():
                    # Its names, or --keep, may hold it again.
                    used |= {image.path, RawPath(image.path.replace(b"/content/", b"/metadata/"))}
        return used

    def _of_names(self) -> str | None:
        """Find a name that a killed run left without an image, or the file that it wrote."""
        for entry in self._journal.pending:
            if entry.names is None or entry.names.data not in self._held.root.docker:
                continue
            with closing(open_root_dir(entry.names.data)) as data_root:
                left = find_left_names(data_root, entry.names)
                if left is not None:
                    return left
        return None

    def _of_cuts(self) -> str | None:
        """Find a file that a cut left beside a log. A log that was not cut is as dockerd knows it, and is not left."""
        for entry in self._journal.pending:
            if entry.cut is not None and entry.cut.data in self._held.root.docker:
                with closing(open_root_dir(entry.cut.data)) as data_root:
                    if is_left(data_root, entry.cut):
                        return f"{shown(entry.cut.path)}: a file that cutting it left is there"
        return None

    def _of_restores(self) -> str | None:
        """Find a directory that a restore left. Layers that were not restored are damaged as before, and not left."""
        pending = [entry.restore for entry in self._journal.pending if entry.restore is not None]
        if pending:
            with closing(open_root_dir(self._journal.root)) as root_dir:
                for restore in pending:
                    if layer_restores.is_left(root_dir, restore):
                        return f"{shown(restore.path)}: a directory that restoring it left is there"
        return None

    def _of_containers(self) -> str | None:
        """Find a folder of a container of nerdctl whose record the run deleted."""
        file = self._held.metadata
        if file is None:
            return None
        for each in left_of(self._journal, self._held, file, self._now[file.path], self._held.sizes):
            folder = each.files.folders[-1]
            return f"{shown(RawPath(os.path.join(folder.root, folder.path)))}, which the run let go of, is there"
        return None


def close_unfinished(held: Held, store: Store, state: RawPath | None = None) -> list[UnreadableJournal]:
    """Mark the journals of killed runs on a root as finished, if nothing of the runs is left to do.

    Args:
        held: the databases of the root, locked exclusively.
        store: the root as it was read under these locks.
        state: the state directory that the user chose.

    Returns:
        The journals that may be of such runs and cannot be read. They stay as they are.

    Raises:
        ActionFailed: one cannot be written.
    """
    killed = find_killed(held.root.path, places_with(state))
    for journal in killed.unfinished:
        if find_left(journal, held, store) is None:
            close_abandoned(journal)
    return killed.unread
