"""Verifying one root in tiers: records, the bytes of blobs, unpacked layers."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from drydock.evidence.containerd.digests import hash_blobs
from drydock.evidence.containerd.snapshots import measure_snapshot
from drydock.model.data import BlobFile, LayoutKind, SnapshotEntry
from drydock.model.findings import LAYER_CODES, Finding, FindingCode, Severity
from drydock.model.layer_store import LayerDirectory, LayerRecord, LayerStore
from drydock.model.names import Digest, RawPath, Ref
from drydock.model.objects import DataRootObject, StoreObject, Verdict
from drydock.model.policies import VerifyOptions
from drydock.model.progress import Progress, counter
from drydock.model.store import Store
from drydock.model.text import shown
from drydock.model.verifications import Coverage, Hit, Unpacked
from drydock.verdict.blind_spots import backend_blindness
from drydock.verdict.dependants import Dependants
from drydock.verdict.judge import Reach, damage_finding
from drydock.verdict.layer_holders import LayerDependants
from drydock.verdict.recorded_sizes import far_size, recorded_row
from drydock.verification.checkpoint import Checkpoint, Key
from drydock.verification.layer_checksums import LayerComparison, compare_layer
from drydock.verification.unpacked import Comparison, compare_snapshot

_BLOB, _UNPACKED, _CONTENT, _SIZE = "blob", "unpacked", "content", "size"
_LAYER, _LAYER_CONTENT = "layer", "layer-content"
"""Kinds of results in a checkpoint."""


def finished_kinds(options: VerifyOptions) -> tuple[str, ...]:
    """The kinds of results that are complete when a run comes to its end."""
    unpacked = (_UNPACKED, _SIZE, _LAYER, *((_CONTENT, _LAYER_CONTENT) if options.content else ()))
    return (*((_BLOB,) if options.data else ()), *(unpacked if options.unpacked else ()))


@dataclass(slots=True)
class ByteFindings:
    """Findings from reading bytes."""

    findings: list[Finding] = field(default_factory=list)
    snapshots: dict[tuple[bytes, bytes], Finding] = field(default_factory=dict)
    """By snapshotter and row."""
    refs: dict[Finding, tuple[Ref, ...]] = field(default_factory=dict)
    layers: list[Finding] = field(default_factory=list)
    """About layers of classic layer stores."""
    right: set[tuple[bytes, bytes]] = field(default_factory=set)
    """Snapshots that equal their layer, by snapshotter and row."""

    def add(self, finding: Finding, snapshotter: bytes, row: bytes, refs: tuple[Ref, ...]) -> None:
        """Note a finding about a snapshot; damage counts as a reason to drop it."""
        self.note(finding, refs)
        if finding.severity is Severity.DAMAGE:
            self.snapshots[snapshotter, row] = finding

    def note(self, finding: Finding, refs: tuple[Ref, ...]) -> None:
        """Note a finding that is no reason to drop a snapshot."""
        self.findings.append(finding)
        self.refs[finding] = refs


class Deadline:
    """The end of a time limit."""

    def __init__(self, seconds: float | None) -> None:
        self._end = None if seconds is None else time.monotonic() + seconds

    def is_up(self) -> bool:
        """Whether the time limit is over."""
        return self._end is not None and time.monotonic() >= self._end


def read_blobs(
    store: Store, options: VerifyOptions, checkpoint: Checkpoint, deadline: Deadline, progress: Progress | None
) -> Coverage:
    """Hash blobs: all, or only those that an earlier run found wrong. Blobs with wrong bytes go to ``store.wrong``.

    Call it before the store is judged.
    """
    coverage = Coverage()
    todo: list[BlobFile] = []
    wrong: set[Digest] = set()
    for file in store.content.blobs.values():
        right = checkpoint.known.get(_blob_key(file)) if options.data else None
        if right:
            coverage.done += 1
            coverage.resumed += 1
        elif options.data or _blob_key(file) in checkpoint.suspects:
            todo.append(file)
    done = 0

    def told(file: BlobFile, right: bool) -> None:
        nonlocal done
        done += 1
        coverage.bytes += file.size
        checkpoint.tell(_blob_key(file), right)

    step = counter(progress, "bytes hashed", sum(file.size for file in todo)) if todo else None
    found, unread = hash_blobs(store.root.path, todo, step, told=told, stop=deadline.is_up)
    wrong |= found
    store.wrong = frozenset(wrong)
    store.content.findings += unread
    coverage.done += done + len(unread)
    coverage.left = len(todo) - done - len(unread)
    return coverage


def read_unpacked(
    store: Store,
    layers: Iterable[Unpacked],
    *,
    options: VerifyOptions,
    checkpoint: Checkpoint,
    deadline: Deadline,
    places: Sequence[RawPath],
    progress: Progress | None = None,
) -> tuple[ByteFindings, Coverage]:
    """Compare unpacked layers with their blobs: all, or only those that an earlier run found wrong.

    The list of a large layer's entries goes to one of the directories ``places``.
    """
    coverage, found = Coverage(), ByteFindings()
    todo: list[tuple[Unpacked, Key, bool]] = []
    for each in layers:
        content = options.content or _snapshot_key(each, content=True) in checkpoint.suspects
        key = _snapshot_key(each, content=content)
        if options.unpacked and checkpoint.known.get(key):
            coverage.done += 1
            coverage.resumed += 1
            found.right.add((each.snapshotter, each.row))
        elif options.unpacked or key in checkpoint.suspects:
            todo.append((each, key, content))
    size = sum(each.layer.size for each, _, _ in todo)
    step = counter(progress, "bytes of unpacked layers", size) if todo else None
    for each, key, content in todo:
        if deadline.is_up():
            coverage.left += 1
            continue
        outcome = compare_snapshot(store, each, content=content, stop=deadline.is_up, places=places, step=step)
        if outcome is Comparison.STOPPED:
            coverage.left += 1
            continue
        if outcome is Comparison.NOT_COMPARABLE or (
            isinstance(outcome, Finding) and outcome.code is FindingCode.NOT_COMPARED
        ):
            coverage.skipped += 1
        else:
            coverage.done += 1
            is_image = store.backends[each.snapshotter].layout is LayoutKind.EROFS
            coverage.bytes += 0 if is_image else each.layer.size
        if isinstance(outcome, Finding):
            found.add(outcome, each.snapshotter, each.row, each.refs)
        elif outcome is Comparison.SAME:
            found.right.add((each.snapshotter, each.row))
        if outcome is Comparison.SAME or (each.snapshotter, each.row) in found.snapshots:
            checkpoint.tell(key, outcome is Comparison.SAME)
    return found, coverage


def read_layers(
    verdict: Verdict,
    found: ByteFindings,
    coverage: Coverage,
    *,
    options: VerifyOptions,
    checkpoint: Checkpoint,
    deadline: Deadline,
    progress: Progress | None = None,
) -> None:
    """Compare the layers of classic layer stores with their tar-split: all, or those that an earlier run found wrong.

    Args:
        verdict: of one root.
        found: results of comparing; layers that differ are added.
        coverage: of unpacked layers; what is compared here is added.
        options: what to verify.
        checkpoint: results so far.
        deadline: the time limit.
        progress: told how many bytes of files are done.
    """
    todo: list[tuple[LayerStore, LayerRecord, Key, bool]] = []
    for store in verdict.store.layer_stores:
        for layer in store.layers.values():
            directory = store.directories.get(layer.cache_id or b"")
            if directory is None:
                coverage.skipped += 1
                continue
            content = options.content or _layer_key(layer, directory, content=True) in checkpoint.suspects
            key = _layer_key(layer, directory, content=content)
            if options.unpacked and checkpoint.known.get(key):
                coverage.done += 1
                coverage.resumed += 1
            elif options.unpacked or key in checkpoint.suspects:
                todo.append((store, layer, key, content))
    size = sum(layer.size or 0 for _, layer, _, _ in todo)
    step = counter(progress, "bytes of classic layers", size) if todo else None
    for store, layer, key, content in todo:
        if deadline.is_up():
            coverage.left += 1
            continue
        outcome = compare_layer(store, layer, content=content, stop=deadline.is_up, step=step)
        if outcome is LayerComparison.STOPPED:
            coverage.left += 1
        elif outcome is LayerComparison.NOT_COMPARABLE:
            coverage.skipped += 1
        else:
            coverage.done += 1
            coverage.bytes += layer.size or 0
            if isinstance(outcome, Finding):
                found.layers.append(outcome)
            checkpoint.tell(key, outcome is LayerComparison.SAME)


def read_sizes(
    verdict: Verdict,
    found: ByteFindings,
    coverage: Coverage,
    *,
    options: VerifyOptions,
    checkpoint: Checkpoint,
    deadline: Deadline,
) -> None:
    """Measure committed snapshots that were not compared with a layer: all, or those that an earlier run found wrong.

    Args:
        verdict: of one root.
        found: results of comparing; snapshots far from their recorded size are added.
        coverage: of unpacked layers; snapshots that time was too short for are added to those left.
        options: what to verify.
        checkpoint: results so far.
        deadline: the time limit.
    """
    store = verdict.store
    known = {name for name in store.backends if not backend_blindness(store, name)}
    for each in verdict.objects:
        if recorded_row(store, each) is None or each.snapshotter not in known or not each.refs:
            continue
        key = _size_key(each)
        if each.row_name in found.right or each.row_name in found.snapshots:
            continue
        if checkpoint.known.get(key) if options.unpacked else key not in checkpoint.suspects:
            continue
        if deadline.is_up():
            coverage.left += 1
            continue
        finding = measure(verdict, each)
        if finding is not None:
            found.add(finding, *each.row_name, each.refs)
        checkpoint.tell(key, finding is None or finding.severity is not Severity.DAMAGE)


def measure(verdict: Verdict, found: StoreObject) -> Finding | None:
    """Measure the files of a committed snapshot; give a finding if they are far from its recorded size."""
    store = verdict.store
    assert isinstance(found.data, SnapshotEntry)
    occupied = measure_snapshot(store.root.path, store.backends[found.snapshotter], found.data)
    return None if occupied is None else far_size(store, found, occupied)


def name_hits(
    verdict: Verdict, reached: Reach, findings: Iterable[Finding], refs: dict[Finding, tuple[Ref, ...]]
) -> list[Hit]:
    """Name the images and containers that each finding affects."""
    about = dict(refs)
    layers = LayerDependants(verdict)
    for found in verdict.objects:
        if found.is_damaged and not isinstance(found, DataRootObject):
            about.setdefault(damage_finding(verdict.store, found), found.refs)
    dependants = Dependants(verdict, reached)
    hits: list[Hit] = []
    for finding in findings:
        if finding in about or finding.code not in LAYER_CODES:
            images, containers = dependants.of(about.get(finding, ()))
            hits.append(Hit(finding, tuple(map(dependants.label, images)), tuple(map(dependants.label, containers))))
        else:
            hits.append(Hit(finding, *layers.of(finding)))
    return hits


def _blob_key(file: BlobFile) -> Key:
    return _BLOB, shown(file.digest), file.fingerprint.inode, file.fingerprint.mtime_ns


def _size_key(found: StoreObject) -> Key:
    print_ = found.fingerprint
    assert found.row is not None
    assert print_ is not None
    return _SIZE, f"{shown(found.snapshotter)} {shown(found.row)}", print_.inode, print_.ctime_ns


def _layer_key(layer: LayerRecord, directory: LayerDirectory, *, content: bool) -> Key:
    found = directory.fingerprint
    return _LAYER_CONTENT if content else _LAYER, shown(layer.chain_id), found.inode, found.ctime_ns


def _snapshot_key(each: Unpacked, *, content: bool) -> Key:
    return (
        _CONTENT if content else _UNPACKED,
        f"{shown(each.snapshotter)} {shown(each.row)}",
        each.inode,
        each.changed,
    )
