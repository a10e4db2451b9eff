"""A snapshotter's folder: its rows, and the directories of snapshots.

Sources: containerd plugins/snapshots/overlay/overlay.go, plugins/snapshots/native/native.go (v2.1),
plugins/snapshots/erofs/erofs.go (v2.3.4).
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator

from bbolt_reader import Database
from drydock.evidence.containerd.restore_detection import note_older_rows
from drydock.evidence.containerd.rows import DATABASE, read_rows
from drydock.evidence.files.directory import fingerprint, folder, names
from drydock.evidence.files.sizes import BLOCK, PAGE, DiskUsage, Measure
from drydock.evidence.files.walk_pool import WalkAhead, measure_folders
from drydock.model import messages
from drydock.model.data import Backend, LayoutKind, Occupancy, RowKind, SnapshotEntry
from drydock.model.findings import Place
from drydock.model.messages import Text
from drydock.model.names import SNAPSHOTS, RawPath
from drydock.model.progress import Progress, counter
from drydock.model.roots import CONTAINERD_LAYOUT, RootLayout
from drydock.model.text import shown

LAYER = b"layer.erofs"
"""The image that is a committed snapshot of erofs."""
_PARTS = {b"btrfs": (b"view", b"active", SNAPSHOTS)}
"""The folders of snapshots, for a snapshotter with one for each kind (plugins/snapshots/btrfs/btrfs.go, v2.1)."""
_ID = re.compile(rb"[1-9][0-9]{0,19}\Z")
_LARGEST_ID = 2**64 - 1


def read_backend(
    root: RawPath,
    snapshotter: bytes,
    database: Database | None,
    *,
    measure: Measure,
    recorded: bool,
    progress: Progress | None = None,
    live: bool = False,
    ahead: WalkAhead | None = None,
    at: RootLayout = CONTAINERD_LAYOUT,
) -> Backend:
    """Read one snapshotter of a root.

    Args:
        root: absolute path of the root.
        snapshotter: its name, as in ``io.containerd.snapshotter.v1.<name>``.
        database: its open metadata.db; None if it has none.
        measure: counts allocated blocks.
        recorded: take the size of a committed snapshot from its row instead of measuring it.
        progress: told how many directories are done.
        live: an engine may be at work: a directory that it removes meanwhile counts as missing.
        ahead: has directories that are measured already.
        at: where the root has its snapshotters.
    """
    backend = Backend(snapshotter, at.snapshotter(snapshotter), LayoutKind.of(snapshotter))
    if database is not None:
        found = read_rows(database, RawPath(os.path.join(root, backend.path, DATABASE)))
        backend.rows, backend.links = found.rows, found.links
        backend.sequence, backend.newest = found.sequence, found.newest
        backend.findings, backend.complete = found.findings, found.complete
    for part in _PARTS.get(snapshotter, (SNAPSHOTS,)):
        there = False
        try:
            with folder(root, backend.path, part) as descriptor:
                there = True
                _entries(
                    backend, part, descriptor, measure, recorded=recorded, progress=progress, live=live, ahead=ahead
                )
        except OSError as error:
            # A folder that is missing is empty; one that goes while it is read is not known.
            if there or not isinstance(error, FileNotFoundError):
                path, problem = backend.path + b"/" + part, error.strerror or str(error)
                _blind(root, backend, messages.UNREADABLE(path=path, problem=problem))
    if backend.entries and backend.sequence is None and backend.layout is not LayoutKind.FOREIGN:
        _blind(root, backend, messages.DIRECTORIES_WITHOUT_ROWS(snapshotter=snapshotter))
    if not live:  # beside an engine, numbers were given out since the rows were copied
        backend.findings += note_older_rows(root, backend)
    return backend


def _entries(
    backend: Backend,
    part: bytes,
    descriptor: int,
    measure: Measure,
    *,
    recorded: bool,
    progress: Progress | None,
    live: bool,
    ahead: WalkAhead | None,
) -> None:
    committed = {row.id for row in backend.rows.values() if row.kind is RowKind.COMMITTED and row.size is not None}
    layers: set[int] = set()
    if backend.layout is LayoutKind.EROFS:
        layers = {row.id for row in backend.rows.values() if row.kind is RowKind.COMMITTED}
    listed = names(descriptor)
    known = backend.layout is not LayoutKind.FOREIGN
    wanted = [name for name in listed if known and not (recorded and _number(name) in committed)]
    measured = frozenset(wanted)
    step = counter(progress, f"snapshots of {shown(backend.name)}", len(listed))
    # Beside an engine one process measures: that is kinder to the host, and a directory may be gone at its turn.
    usages: Iterator[DiskUsage] = iter(())
    if wanted and not live:
        done = {} if ahead is None else ahead.measured(wanted, descriptor, measure, step)
        usages = measure_folders(measure, wanted, descriptor, step, done)
    for name in listed:
        usage = None
        try:
            found = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
            if name in measured:
                usage = measure.folder(name, descriptor) if live else next(usages)
        except FileNotFoundError:
            if not live:
                raise
            continue
        if step is not None and (live or usage is None):
            step(1)
        entry = _entry(backend, part, name, found, usage)
        if entry.id in layers and entry.is_directory:
            layer = _layer(name, descriptor)
            occupied = None if usage is None or layer is None else _image_occupancy(layer)
            entry = entry._replace(lacks_layer=layer is None, occupied=occupied)
        backend.entries.append(entry)


def _entry(backend: Backend, part: bytes, name: bytes, found: os.stat_result, usage: DiskUsage | None) -> SnapshotEntry:
    path = RawPath(b"/".join((backend.path, part, name)))
    if usage is not None and usage.skips:
        more = f" (and {usage.skips - 1} more)" if usage.skips > 1 else ""
        text = messages.NOT_MEASURED(snapshotter=backend.name, directory=name, reason=usage.skipped[0], more=more)
        backend.findings.append(text.at(Place(path), name))
    allocated = None if usage is None else usage.allocated
    occupied = None if usage is None else _occupied(backend, usage)
    return SnapshotEntry(
        name, path, _number(name), fingerprint(found), stat.S_ISDIR(found.st_mode), allocated, occupied
    )


def measure_snapshot(root: RawPath, backend: Backend, entry: SnapshotEntry) -> Occupancy | None:
    """What the files of one snapshot take; None if not all of them could be counted.

    Args:
        root: absolute path of the containerd root.
        backend: the snapshotter, of a known layout.
        entry: the snapshot's directory.
    """
    try:
        with folder(root, backend.path, SNAPSHOTS) as descriptor:
            if backend.layout is LayoutKind.EROFS:
                layer = _layer(entry.name, descriptor)
                return None if layer is None else _image_occupancy(layer)
            return _occupied(backend, Measure().walk(entry.name, descriptor))
    except OSError:
        return None


def _occupied(backend: Backend, usage: DiskUsage) -> Occupancy | None:
    """What the snapshotter itself counts: the written files of an overlay, and the whole copy of native."""
    if backend.layout is LayoutKind.EROFS:
        return None
    return usage.upper if backend.layout is LayoutKind.OVERLAY else usage.all


def _layer(name: bytes, descriptor: int) -> os.stat_result | None:
    """The status of the image of a committed snapshot of erofs; None if there is none."""
    try:
        return os.stat(name + b"/" + LAYER, dir_fd=descriptor, follow_symlinks=False)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _image_occupancy(layer: os.stat_result) -> Occupancy | None:
    """What the erofs snapshotter counts when it commits: the image alone (erofs.go Commit, v2.3.4)."""
    if not stat.S_ISREG(layer.st_mode):
        return None
    allocated = layer.st_blocks * BLOCK
    return Occupancy(1, allocated, max(allocated, layer.st_size + -layer.st_size % PAGE))


def _number(name: bytes) -> int | None:
    number = int(name) if _ID.match(name) else 0
    return number if 0 < number <= _LARGEST_ID else None


def _blind(root: RawPath, backend: Backend, text: Text) -> None:
    backend.complete = False
    backend.findings.append(text.at(Place(RawPath(os.path.join(root, backend.path))), backend.name))
