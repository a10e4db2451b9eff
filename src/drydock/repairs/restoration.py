"""Layers whose files are unpacked again: which can be, and unpacking one from its blob.

Nothing of the databases changes: the snapshot keeps its row and its record, so containers on it keep what they wrote,
and no pull is needed. The blob was hashed when the snapshot was compared with it, and it is hashed again while it is
unpacked, before anything takes the place of the former files.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from typing import Final, NamedTuple

from drydock.evidence.containerd.snapshot_layers import MAPPING, parent_stack
from drydock.evidence.files.directory import fingerprint, folder
from drydock.evidence.files.openat2 import open_directory
from drydock.evidence.files.regular import open_below
from drydock.model.errors import ActionFailed, EvidenceUnreadable
from drydock.model.findings import Finding, FindingCode
from drydock.model.names import LEFT_BY_RESTORE, RawPath, split_row_name
from drydock.model.objects import ObjectKind, State, Verdict
from drydock.model.plans import LayerRestore, Removal, Target
from drydock.model.roots import Engine
from drydock.model.store import Store
from drydock.model.text import shown
from drydock.model.verifications import Unpacked
from drydock.repairs.broken_chains import RowName
from drydock.repairs.layer_writer import LayerWriter, SharedFile
from drydock.verdict.blind_spots import backend_blindness
from drydock.verification.decompression import LayerStream, UnreadableLayer
from drydock.verification.forward_tar import TarReader
from drydock.verification.unpacked import HashedBlob

_CHUNK: Final = 1 << 16
_FILES: Final = b"fs"
_OVERLAY: Final = b"overlayfs"


class Restorable(NamedTuple):
    """What is unpacked again."""

    layers: Mapping[RowName, LayerRestore]
    """By snapshotter and row, lower layers first."""
    left: tuple[str, ...]
    """Damaged layers that are not unpacked again, each with the reason; shown."""
    leftovers: tuple[Removal, ...]
    """Directories that killed runs left."""


def find_restorable(verdict: Verdict, layers: Iterable[Unpacked], wrong: Mapping[RowName, Finding]) -> Restorable:
    """Find the snapshots that differ from their whole layers, and can be unpacked again.

    Args:
        verdict: of one root.
        layers: the snapshots with their layers.
        wrong: what is wrong with snapshots.
    """
    store = verdict.store
    found: list[tuple[int, RowName, LayerRestore]] = []
    left: list[str] = []
    for each in layers:
        name = each.snapshotter, each.row
        finding = wrong.get(name)
        if finding is None or finding.code is not FindingCode.SNAPSHOT_DIFFERS:
            continue
        made = _restore(store, each, finding)
        if isinstance(made, str):
            left.append(f"{shown(each.key)}: {made}")
        else:
            found.append((len(made.lowers), name, made))
    leftovers = [
        Removal(
            Target.SNAPSHOT, store.root.path, each.path, each.fingerprint, each.allocated, "a killed repair left it"
        )
        for each in verdict.objects
        if each.kind is ObjectKind.SNAPSHOT and each.state is State.ORPHANED and each.row is None
        if each.path is not None and os.path.basename(each.path).startswith(LEFT_BY_RESTORE)
        if each.fingerprint is not None
    ]
    ordered = sorted(found, key=lambda one: one[:2])
    return Restorable({name: made for _, name, made in ordered}, tuple(left), tuple(leftovers))


def _restore(store: Store, unpacked: Unpacked, finding: Finding) -> LayerRestore | str:
    """What is to be done to a snapshot; why it cannot be done, on one shown line."""
    backend = store.backends[unpacked.snapshotter]
    row = backend.rows[unpacked.row]
    if unpacked.snapshotter != _OVERLAY:
        return f"drydock unpacks layers for overlayfs only, not for {shown(unpacked.snapshotter)}"
    if store.root.engine is Engine.ROOTLESS or os.geteuid() != 0:
        return "in a rootless store, the owners of files are mapped"
    if MAPPING in row.labels:
        return "the owners of its files are mapped"
    blind = backend_blindness(store, unpacked.snapshotter)
    if blind:
        return blind
    try:
        stack = parent_stack(store, unpacked.snapshotter, unpacked.row)
        with folder(store.root.path, *unpacked.path.split(b"/")) as snapshot:
            expect = fingerprint(os.stat(_FILES, dir_fd=snapshot, follow_symlinks=False))
    except (EvidenceUnreadable, OSError) as error:
        return getattr(error, "strerror", None) or str(error)
    lowers = tuple(RawPath(b"/".join(parts)) for parts in stack.layers)
    if bool(lowers) is unpacked.is_base:
        return "its snapshot has another parent than its layer"
    return LayerRestore(
        store.root.path,
        RawPath(unpacked.path + b"/" + _FILES),
        expect,
        unpacked.key,
        b"" if unpacked.is_base else split_row_name(row.parent)[2],
        lowers,
        unpacked.layer.digest,
        unpacked.layer.path,
        unpacked.layer.size,
        finding.message,
    )


def unpack_layer(restore: LayerRestore, make: Callable[[], int], former: int) -> None:
    """Unpack a layer as its snapshot had it.

    Args:
        restore: the layer.
        make: makes the empty directory and opens it; called again, it begins anew.
        former: the open directory that is damaged: files of it that are intact are taken over.

    Raises:
        ActionFailed: the layer is not whole, is another one, or containerd does not unpack it.
        OSError: something cannot be written.
    """
    try:
        with ExitStack() as stack:
            lowers: list[int] = []
            root = stack.enter_context(folder(restore.root))
            for path in restore.lowers:
                lowers.append(open_directory(root, path, readable=True, cross_mounts=True))
                stack.callback(os.close, lowers[-1])
            try:
                _write(restore, LayerWriter(make(), lowers, former), former)
            except SharedFile:
                _write(restore, LayerWriter(make(), lowers, None), former)
    except UnreadableLayer as error:
        raise ActionFailed(f"nothing was restored: {error}") from error


def _write(restore: LayerRestore, writer: LayerWriter, former: int) -> None:
    plain = hashlib.sha256()
    with HashedBlob(open_below(restore.root, restore.blob), restore.layer, lambda _: None) as raw:
        buffered: io.BufferedReader[io.RawIOBase] = io.BufferedReader(raw, _CHUNK)
        stream = LayerStream(buffered, lambda: False)

        def read(size: int) -> bytes:
            part = stream.read(size)
            plain.update(part)
            return part

        writer.write(TarReader(read))
        while read(_CHUNK):
            pass
        buffered.detach()
        raw.check()
    chain = f"sha256:{plain.hexdigest()}".encode()
    if restore.parent:
        chain = f"sha256:{hashlib.sha256(restore.parent + b' ' + chain).hexdigest()}".encode()
    if chain != restore.key:
        raise UnreadableLayer("the layer does not unpack to what its image says")
    writer.take_over_top(former)
