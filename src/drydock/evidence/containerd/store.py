"""One containerd root: its databases, locked or copied, and all that is read of it.

That is meta.db, every snapshotter, the content store, and the owners of leases.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field

from bbolt_reader import BoltError, Database
from drydock.evidence.containerd.content import BlobListing, read_content
from drydock.evidence.containerd.database_file import LARGE, File, is_there
from drydock.evidence.containerd.early_walk import start_walk
from drydock.evidence.containerd.metadata import read_metadata
from drydock.evidence.containerd.restore_detection import note_older_metadata
from drydock.evidence.containerd.rows import DATABASE
from drydock.evidence.containerd.snapshots import read_backend
from drydock.evidence.files.database_copy import copy_database
from drydock.evidence.files.directory import folder, names
from drydock.evidence.files.sizes import Measure
from drydock.evidence.files.walk_pool import WalkAhead
from drydock.evidence.files.worker import can_start
from drydock.evidence.host.locks import hold, refuse_locked
from drydock.model import messages
from drydock.model.data import Content, LayoutKind
from drydock.model.findings import Finding, Place
from drydock.model.names import RawPath, hash_hex
from drydock.model.plans import DatabaseFingerprint
from drydock.model.policies import BlobCheck, SizeSource
from drydock.model.progress import Progress, counter
from drydock.model.records import Metadata
from drydock.model.roots import Root
from drydock.model.store import Store

_BLOCK = 512
_METAS = 2 << 24
"""Bytes of two pages of the largest size bbolt has, 16 MiB each."""


@dataclass(slots=True)
class Held:
    """The databases of one root with the locks on them, or copies of them."""

    root: Root
    metadata: File | None
    """None if there is no meta.db."""
    backends: dict[bytes, File | None]
    """The metadata.db of each snapshotter's folder; None if it has none."""
    findings: list[Finding] = field(default_factory=list)
    live: bool = False
    """Whether these are copies, because an engine may be at work: nothing is removed on the strength of them."""
    ahead: WalkAhead | None = None
    """What workers measure meanwhile; None if nothing is measured, or one process is to do it."""
    listing: BlobListing | None = None
    """The worker that lists the blobs meanwhile; None if there are few, or none can be started."""
    sizes: Measure = field(default_factory=Measure)
    """Counts the inodes of snapshots that have several links."""

    caches: list[File] = field(default_factory=list)
    """The databases of BuildKit's cache records that are edited, or whose edit is undone; none of other sessions."""

    def files(self) -> list[File]:
        """Every database of the root."""
        return [file for file in (self.metadata, *self.backends.values()) if file is not None]

    def find(self, path: RawPath) -> File | None:
        """The database with this path, also one of BuildKit's that is edited; None if it is not held."""
        return next((file for file in (*self.files(), *self.caches) if file.path == path), None)


@contextmanager
def hold_store(
    root: Root,
    *,
    exclusive: bool,
    listed: bool = False,
    measured: bool = False,
    ahead: WalkAhead | None = None,
    places: Collection[RawPath] = (),
    progress: Progress | None = None,
) -> Iterator[Held]:
    """Lock every database of a root, as bbolt does, as long as the context lasts.

    Args:
        root: the root to hold.
        exclusive: keep readers out too, for changing the store.
        listed: begin at once to list the blobs, if there are many, and have a worker check a large database.
        measured: begin at once to measure every directory of a snapshot or a classic layer.
        ahead: measures them, and may go on when the context has ended; None for one that ends with it.
        places: data roots and containerd roots of which everything else is measured ahead, too.
        progress: told how far the databases are checked.

    Raises:
        Refused: another process holds a lock on one of them.
        EvidenceUnreadable: the root or a database file cannot be opened.
    """
    if root.layout.worker:
        # buildkitd takes it before it opens a database, and ends if it cannot (cmd/buildkitd/main.go, v0.34).
        for buildkit in root.buildkit:
            refuse_locked(RawPath(os.path.join(buildkit, b"buildkitd.lock")))
    with ExitStack() as stack:

        def lock(path: RawPath) -> File:
            held = stack.enter_context(hold(path, exclusive=exclusive))
            return File(path, held.fd, os.fstat(held.fd).st_blocks * _BLOCK)

        held = _collect(Held(root, None, {}), lock)
        if measured:
            held.ahead = stack.enter_context(WalkAhead()) if ahead is None else ahead
            start_walk(held.ahead, root, held.backends, places)
        if listed and held.metadata is not None and held.metadata.allocated >= LARGE and can_start():
            with suppress(OSError):  # read_store lists them then
                held.listing = BlobListing(root.path, root.layout)
                stack.callback(held.listing.close)
        for file in held.files():
            file.open(stack, mapped=True, ahead=listed, progress=progress)
        yield held


@contextmanager
def hold_data_roots(root: Root) -> Iterator[None]:
    """Keep dockerd out of the data roots of a root, as long as the context lasts, also out of its classic layers.

    Nothing else of the classic layer store has a lock. dockerd opens this database before it reads the layers, and
    keeps it open; it does not start while another process has it (moby volume/service/store.go NewStore, v28.5).

    Raises:
        Refused: a dockerd has a lock on one of them.
        EvidenceUnreadable: one cannot be opened.
    """
    with ExitStack() as stack:
        for data in root.docker:
            path = RawPath(os.path.join(data, b"volumes/metadata.db"))
            if is_there(path):
                # Shared, because several containerd roots may be of one data root.
                stack.enter_context(hold(path, exclusive=False))
        yield


@contextmanager
def copy_store(root: Root, *, progress: Progress | None = None) -> Iterator[Held]:
    """Copy every database of a root to memory, for reading it while its engine runs. Takes no lock.

    Args:
        root: the root to copy from.
        progress: as for :func:`hold_store`.

    Raises:
        EvidenceUnreadable: the root or a database file cannot be opened, or copied.
    """
    with ExitStack() as stack:

        def copy(path: RawPath) -> File:
            copied = copy_database(path)
            stack.callback(os.close, copied.fd)
            return File(path, copied.fd, copied.allocated)

        held = _collect(Held(root, None, {}, live=True), copy)
        for file in held.files():
            file.open(stack, mapped=False, progress=progress)
        yield held


def _collect(held: Held, take: Callable[[RawPath], File]) -> Held:
    root = held.root
    path = RawPath(os.path.join(root.path, root.layout.metadata))
    if is_there(path):
        held.metadata = take(path)
    for snapshotter in _snapshotters(root, held):
        database = RawPath(os.path.join(root.path, root.layout.snapshotter(snapshotter), DATABASE))
        held.backends[snapshotter] = take(database) if is_there(database) else None
    return held


@contextmanager
def hold_cache(held: Held, path: RawPath, *, exclusive: bool) -> Iterator[File]:
    """Lock the database of BuildKit's cache records of a held root, too, as long as the context lasts.

    Args:
        held: the root; its own databases keep the engine from opening this one meanwhile.
        path: absolute path of the database.
        exclusive: as for :func:`hold_store`.

    Raises:
        Refused: another process holds the lock.
        EvidenceUnreadable: the file cannot be opened.
    """
    with ExitStack() as stack:
        lock = stack.enter_context(hold(path, exclusive=exclusive))
        file = File(path, lock.fd, os.fstat(lock.fd).st_blocks * _BLOCK)
        file.open(stack, mapped=True)
        held.caches.append(file)
        stack.callback(held.caches.remove, file)
        yield file


def read_store(held: Held, *, measure: SizeSource, verification: BlobCheck, progress: Progress | None = None) -> Store:
    """Read everything below a root whose databases are held.

    Args:
        held: from :func:`hold_store` or :func:`copy_store`.
        measure: where the sizes of committed snapshots come from.
        verification: how blobs are compared with their records.
        progress: told how far the reading is.
    """
    from drydock.evidence.containerd.lease_owners import read_owners  # noqa: PLC0415 - an empty host has no owners

    root = held.root.path
    metadata = read_records(held, progress)

    def list_content() -> Content:
        listed = counter(progress, "blobs and ingests listed", len(metadata.digests) or None)
        found = read_content(root, listed, metadata, live=held.live, layout=held.root.layout, listing=held.listing)
        metadata.digests = {}  # the steps below need the memory
        return found

    store = Store(
        held.root,
        metadata,
        # A worker lists the blobs; what the records keep is worked out meanwhile.
        list_content() if held.listing is None else list_content,
        {},
        read_owners(held.root, live=held.live),
        measure,
        verification,
        findings=list(held.findings),
    )
    if verification is BlobCheck.DIGEST:
        from drydock.evidence.containerd.digests import hash_blobs  # noqa: PLC0415 - most scans hash nothing

        blobs = store.content.blobs.values()
        step = counter(progress, "bytes hashed", sum(blob.size for blob in blobs))
        store.wrong, unread = hash_blobs(root, blobs, step)
        store.content.findings += unread
    elsewhere = dict(held.root.snapshotters)
    recorded = {snapshot.snapshotter for snapshot in metadata.snapshots}
    for snapshotter, file in held.backends.items():
        database = file.database if file is not None else None
        backend = read_backend(
            root,
            snapshotter,
            database,
            measure=held.sizes,
            recorded=measure is SizeSource.RECORDED,
            progress=progress,
            live=held.live,
            ahead=held.ahead,
            at=held.root.layout,
        )
        if snapshotter in elsewhere:
            # It is configured to use another folder: the data here is old, or another program's.
            backend.layout = LayoutKind.FOREIGN
        if file is not None:
            backend.complete = backend.complete and file.is_sound
            backend.findings = [*file.findings, *backend.findings]
        elif backend.complete and backend.layout is not LayoutKind.FOREIGN and snapshotter in recorded:
            # A snapshotter in a process of its own may keep its data elsewhere, and have left this folder. One of an
            # unknown layout has other places: stargz has snapshotter/metadata.db (stargz service/service.go, v0.16).
            where = Place(RawPath(os.path.join(root, backend.path)))
            backend.complete = False
            backend.findings.append(messages.NO_ROWS(snapshotter=snapshotter).at(where, snapshotter))
        store.backends[snapshotter] = backend
    if held.root.layer_stores:
        # Most roots have none.
        from drydock.evidence.containerd.layer_stores import read_layer_stores, read_plugin_stores  # noqa: PLC0415

        store.plugin_stores = read_plugin_stores(held.root)
        store.layer_stores = read_layer_stores(
            held.root,
            store.owners.by_data_root,
            held.sizes,
            recorded=measure is SizeSource.RECORDED,
            live=held.live,
            progress=progress,
            ahead=held.ahead,
        )
    if not held.live:  # beside an engine, numbers were given out since meta.db was copied
        store.findings += note_older_metadata(store)
    store.database_bytes = sum(file.allocated for file in held.files())
    store.live = held.live
    return store


def read_records(held: Held, progress: Progress | None = None) -> Metadata:
    """Every record of the meta.db of a held root; incomplete, with a finding, if it cannot be read.

    Args:
        held: from :func:`hold_store` or :func:`copy_store`.
        progress: told how far the reading is.
    """
    file = held.metadata
    if file is None and not held.root.has_containerd:
        return Metadata(held.root.path, 0)
    if file is None:
        path = RawPath(os.path.join(held.root.path, held.root.layout.metadata))
        return Metadata(path, 0, findings=[messages.NO_METADATA().at(Place(path))], complete=False)
    if file.database is None:
        return Metadata(file.path, 0, findings=file.findings, complete=False)
    counter(progress, "records read")
    metadata = read_metadata(file.database, file.path, progress)
    file.database.release()
    metadata.complete = metadata.complete and file.is_sound
    metadata.findings = [*file.findings, *metadata.findings]
    return metadata


def _snapshotters(root: Root, held: Held) -> list[bytes]:
    try:
        with folder(root.path) as descriptor:
            found = [root.layout.named(name) for name in names(descriptor)]
    except OSError as error:
        problem = error.strerror or str(error)
        held.findings.append(messages.UNREADABLE(path=root.path, problem=problem).at(Place(root.path)))
        return []
    return [name for name in found if name is not None]


def fingerprint_databases(held: Held) -> list[DatabaseFingerprint]:
    """Which commit of each database of a held root is read: its two metas, one of which every commit changes.

    Raises:
        OSError: a database cannot be read.
    """
    found: list[DatabaseFingerprint] = []
    for file in held.files():
        size = os.fstat(file.fd).st_size
        length = min(size, 2 * file.database.page_size if file.database is not None else _METAS)
        digest = hash_hex(os.pread(file.fd, length, 0)).decode()
        found.append(DatabaseFingerprint(RawPath(os.path.relpath(file.path, held.root.path)), size, digest))
    return found


def locate_value(held: Held, finding: Finding) -> Finding:
    """The finding with the page and the byte of the file where the value at the end of its bucket path lies.

    A finding of another file, or without a bucket path, is returned as it is.
    """
    place = finding.place
    file = next((each for each in held.files() if each.path == place.file), None)
    if file is None or file.database is None or not place.bucket:
        return finding
    try:
        return finding._replace(place=_locate(file.database, place))
    except BoltError:
        return finding


def _locate(database: Database, place: Place) -> Place:
    *path, key = place.bucket
    bucket = database.root
    for name in path:
        below = bucket.bucket(name)
        if below is None:
            return place
        bucket = below
    value = bucket.get(key)
    if value is None:
        return place
    size = database.page_size
    page = bucket.root or bucket.offset // size
    start = page * size if bucket.root else bucket.offset
    data = database.source.read(start, min((page + 1) * size, database.size) - start, page)
    # In a leaf each value follows its key.
    at = data.find(key + value)
    return place._replace(page=page, offset=start + at + len(key) if at >= 0 else start)
