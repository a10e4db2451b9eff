"""The grammar of ``containerd.io/gc.*`` labels: which references they make.

Source: containerd core/metadata/gc.go (v2.1 to v2.3). If versions differ, drydock uses the reading that keeps more.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from drydock.model.label_names import CONTENT_LABEL
from drydock.model.names import Kind, Ref, UnixNano, snapshot_ref
from drydock.model.records import Labels
from drydock.model.times import parse_time

EXPIRE = b"containerd.io/gc.expire"
PRUNED = b"moby/prune.images"
"""On leases that ``docker image prune`` deletes (moby daemon/containerd/leases.go, v27.4.0 and later)."""
FLAT = b"containerd.io/gc.flat"
SOURCE = b"containerd.io/distribution.source."
"""A registry follows; the value lists its repositories with the blob (core/remotes/docker/handler.go, v2.1)."""
_BLOB = Kind.BLOB
_NEW = tuple.__new__
"""Makes a named tuple without calling the ``__new__`` of its class, which is Python code."""
_ROOT = b"containerd.io/gc.root"
_REF = b"containerd.io/gc.ref."
_LAYER = CONTENT_LABEL + b"l."
_DIGITS = 6
_BACK = b"containerd.io/gc.bref."
_CONDITION = b"containerd.io/gc.cond.snapshot"


def expiry(labels: Labels) -> UnixNano | None:
    """When a record expires; None for never. containerd takes an expiry that does not parse for never as well."""
    raw = labels.get(EXPIRE)
    return None if raw is None else parse_time(raw)


def has_expired(labels: Labels, now: UnixNano) -> bool:
    """Whether ``now`` is later than the expiry; at that very instant the record has not expired."""
    end = expiry(labels)
    return end is not None and now > end


def goes_with_others(labels: Labels, now: UnixNano) -> bool:
    """Whether an image has expired and has a back reference: it stays as long as the referring record, and is no root.

    containerd's import labels the additional names that it makes so (core/transfer/image/imagestore.go Store, v2.3). An
    expired image without a back reference counts as a root, because before 2.0 an image never expires.
    """
    return has_expired(labels, now) and any(key.startswith(_BACK) for key in labels)


def is_root(labels: Iterable[bytes]) -> bool:
    """Whether a ``gc.root`` label makes the record a root: any key with that prefix since 2.2, the exact key before."""
    return any(key.startswith(_ROOT) for key in labels)


def may_refer_back(names: Iterable[bytes]) -> bool:
    """Whether labels of these names may be back references (:func:`back_references`)."""
    return any(name.startswith(_BACK) for name in names)


def references(namespace: bytes, labels: Labels) -> Iterator[tuple[Ref, bytes]]:
    """What the labels refer to, each with its label.

    A condition (2.3: ``gc.cond.snapshot.<snapshotter>``, on images and blobs) counts as true, because that keeps more.
    """
    for key, value in labels.items():
        if key.startswith(CONTENT_LABEL):
            yield _NEW(Ref, (_BLOB, namespace, value)), key
            continue
        if key.startswith(_REF):
            ref = _named(namespace, key[len(_REF) :], value)
        elif key.startswith(_CONDITION):
            ref = _conditioned(namespace, key[len(_CONDITION) :], value)
        else:
            continue
        if ref is not None:
            yield ref, key


def layers_of(labels: Labels) -> list[bytes]:
    """The layers of a manifest with these labels, from the base up; none of any other blob.

    containerd numbers them: ``gc.ref.content.l.0`` and on (core/images/handlers.go ChildGCLabels, v1.6 to v2.3).
    """
    found = {}
    for key, value in labels.items():
        number = key.removeprefix(_LAYER) if key.startswith(_LAYER) else b""
        if number.isdigit() and len(number) <= _DIGITS:
            found[int(number)] = value
    return [found[number] for number in sorted(found)]


def back_references(namespace: bytes, labels: Labels) -> Iterator[tuple[Ref, bytes]]:
    """The records that keep the one with these labels while they are kept themselves (2.2), each with its label."""
    for key, value in labels.items():
        if key.startswith(_BACK):
            ref = _named(namespace, key[len(_BACK) :], value)
            if ref is not None:
                yield ref, key


def _conditioned(namespace: bytes, what: bytes, value: bytes) -> Ref | None:
    # The key of the snapshot is everything after the first bar, with further bars.
    _, bar, key = value.partition(b"|")
    snapshotter = what.lstrip(b"./").partition(b"/")[0]
    return snapshot_ref(namespace, snapshotter, key) if bar and snapshotter else None


def _named(namespace: bytes, what: bytes, value: bytes) -> Ref | None:
    if what.startswith(b"content."):
        return Ref(Kind.BLOB, namespace, value)
    if what.startswith(b"snapshot."):
        # Dots are part of the snapshotter's name, which ends at the first slash.
        snapshotter = what[len(b"snapshot.") :].partition(b"/")[0]
        return snapshot_ref(namespace, snapshotter, value) if snapshotter else None
    for word, kind in ((b"content", Kind.BLOB), (b"image", Kind.IMAGE), (b"container", Kind.CONTAINER)):
        if what == word or what.startswith((word + b".", word + b"/")):
            return Ref(kind, namespace, value)
    return None
