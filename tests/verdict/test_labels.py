"""The label grammar, case by case of model §4.4."""

import pytest

from drydock.model.names import Kind, Ref
from drydock.verdict.labels import back_references, has_expired, is_root, references

PREFIX = b"containerd.io/gc."


@pytest.mark.parametrize(
    ("label", "value", "kind", "key"),
    [
        (b"ref.content", b"sha256:a", Kind.BLOB, b"sha256:a"),
        (b"ref.content.l.0", b"sha256:a", Kind.BLOB, b"sha256:a"),
        (b"ref.content/any/thing", b"sha256:a", Kind.BLOB, b"sha256:a"),
        (b"ref.snapshot.overlayfs", b"chain", Kind.SNAPSHOT, b"overlayfs/chain"),
        (b"ref.snapshot.my.snapshotter/why", b"chain", Kind.SNAPSHOT, b"my.snapshotter/chain"),
        (b"ref.image.x", b"name", Kind.IMAGE, b"name"),
        (b"cond.snapshot.overlayfs", b"usedat<1h|k", Kind.SNAPSHOT, b"overlayfs/k"),
        (b"cond.snapshot/overlayfs", b"usedat<1h,usedat>9h|k", Kind.SNAPSHOT, b"overlayfs/k"),
        (b"cond.snapshot./my.snapshotter/why", b"usedat<1h|a|b", Kind.SNAPSHOT, b"my.snapshotter/a|b"),
        (b"cond.snapshotnative", b"usedat<1h|k", Kind.SNAPSHOT, b"native/k"),
    ],
)
def test_a_reference_names_what_containerd_reads(label, value, kind, key):
    """Each form of gc.ref and gc.cond gives one reference in the carrier's namespace; conditions count as met."""
    assert list(references(b"ns", {PREFIX + label: value})) == [(Ref(kind, b"ns", key), PREFIX + label)]


@pytest.mark.parametrize(
    "label",
    [
        b"ref.contents",
        b"ref.snapshot",
        b"ref.snapshot.",
        b"ref.stream.x",
        b"root",
        b"flat",
        b"bref.content",
        b"cond.snapshot.overlayfs",
        b"cond.value-usedat",
    ],
)
def test_other_labels_are_no_references(label):
    """A near miss is ignored, as containerd ignores it."""
    assert list(references(b"ns", {PREFIX + label: b"v"})) == []


@pytest.mark.parametrize(
    ("label", "value", "expected"),
    [
        (b"bref.container", b"c1", Ref(Kind.CONTAINER, b"ns", b"c1")),
        (b"bref.image.0", b"name", Ref(Kind.IMAGE, b"ns", b"name")),
        (b"bref.snapshot.native", b"k", Ref(Kind.SNAPSHOT, b"ns", b"native/k")),
    ],
)
def test_a_back_reference_keeps_its_carrier(label, value, expected):
    """What the label names keeps what has the label; references do not work that way round, nor do conditions."""
    assert [ref for ref, _ in back_references(b"ns", {PREFIX + label: value})] == [expected]


def test_gc_root_by_prefix():
    """2.2 takes any key with the prefix, and so does this."""
    assert is_root({b"containerd.io/gc.root": b""})
    assert is_root({b"containerd.io/gc.root.mine": b"x"})
    assert not is_root({b"containerd.io/gc.ref.content": b"x"})


def test_expiry_is_strict_and_an_unreadable_one_never_comes():
    """At the very instant nothing has expired yet; text that is no time never expires."""
    labels = {b"containerd.io/gc.expire": b"2026-01-01T00:00:00Z"}
    instant = 1767225600 * 10**9
    assert not has_expired(labels, instant)
    assert has_expired(labels, instant + 1)
    assert not has_expired({b"containerd.io/gc.expire": b"tomorrow"}, 2**62)
    assert not has_expired({}, 2**62)
