"""The ``containerd.io/gc.*`` label grammar: what a label makes a thing refer to.

Source: containerd core/metadata/gc.go (v2.1 to v2.3). Where versions differ, the reading that keeps more.
"""

from __future__ import annotations

from collections.abc import Iterator

from drydock.model.names import Kind, Ref, UnixNano, snapshot_ref
from drydock.model.records import Labels
from drydock.model.times import parse_time

EXPIRE = b"containerd.io/gc.expire"
FLAT = b"containerd.io/gc.flat"
_GC = b"containerd.io/gc."
_ROOT = b"containerd.io/gc.root"
_REF = b"containerd.io/gc.ref."
_BACK = b"containerd.io/gc.bref."
_CONDITION = b"containerd.io/gc.cond."


def expiry(labels: Labels) -> UnixNano | None:
    """When the thing expires; None for never, which is also what an expiry that does not parse means to containerd."""
    raw = labels.get(EXPIRE)
    return None if raw is None else parse_time(raw)


def has_expired(labels: Labels, now: UnixNano) -> bool:
    """Whether ``now`` is later than the expiry; at the very instant it has not expired yet."""
    end = expiry(labels)
    return end is not None and now > end


def is_root(labels: Labels) -> bool:
    """Whether a ``gc.root`` label keeps the thing: any key with that prefix since 2.2, the exact key before."""
    return any(key.startswith(_ROOT) for key in labels)


def references(namespace: bytes, labels: Labels) -> Iterator[tuple[Ref, bytes]]:
    """What the labels refer to, with the label that says so."""
    for key, value in labels.items():
        if key.startswith(_REF):
            ref = _named(namespace, key[len(_REF) :], value)
            if ref is not None:
                yield ref, key


def back_references(namespace: bytes, labels: Labels) -> Iterator[tuple[Ref, bytes]]:
    """What keeps the carrier of the labels while it is kept itself (2.2), with the label that says so.

    Conditions (2.3: ``gc.cond.snapshot.<snapshotter>``) count as met: a condition can only end a reference.
    """
    for key, value in labels.items():
        if not key.startswith(_GC):
            continue
        ref = None
        if key.startswith(_BACK):
            ref = _named(namespace, key[len(_BACK) :], value)
        elif key.startswith(_CONDITION):
            ref = _named(
                namespace, key[len(_CONDITION) :].replace(b"snapshot/", b"snapshot.", 1), value.rpartition(b"|")[2]
            )
        if ref is not None:
            yield ref, key


def _named(namespace: bytes, what: bytes, value: bytes) -> Ref | None:
    if what.startswith(b"content."):
        return Ref(Kind.BLOB, namespace, value)
    if what.startswith(b"snapshot."):
        # Dots belong to the snapshotter's name: it ends at the first slash.
        snapshotter = what[len(b"snapshot.") :].partition(b"/")[0]
        return snapshot_ref(namespace, snapshotter, value) if snapshotter else None
    for word, kind in ((b"content", Kind.BLOB), (b"image", Kind.IMAGE), (b"container", Kind.CONTAINER)):
        if what == word or what.startswith((word + b".", word + b"/")):
            return Ref(kind, namespace, value)
    return None
