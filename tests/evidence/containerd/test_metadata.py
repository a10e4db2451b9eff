"""Records of meta.db, schema versions 1 to 4, whole and damaged."""

from __future__ import annotations

import struct

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support import gobbolt
from tests.support.boltwriter import write
from tests.support.captures import captures
from tests.support.gowriting import go_time, varint
from tests.support.records import METADATA, nested

from bbolt_reader import Bucket, Database
from drydock.evidence.containerd.content_records import UsualBlobs
from drydock.evidence.containerd.metadata import read_metadata
from drydock.model.findings import Severity
from drydock.model.names import RawPath

DIGEST = b"sha256:" + b"ab" * 32
OTHER = b"sha512:" + b"cd" * 64
TIMES = {b"createdat": go_time(1), b"updatedat": go_time(2)}
RUNTIME = {b"name": b"io.containerd.runc.v2", b"options": b"any"}
WHOLE = {
    b"labels": {b"team": b"build"},
    b"images": {
        b"docker.io/library/x:1": {
            **TIMES,
            b"labels": {b"l": b"1"},
            b"annotations": {b"a": b"b"},
            b"target": {b"digest": DIGEST, b"mediatype": b"m", b"size": varint(428)},
        }
    },
    b"containers": {
        b"c1": {
            **TIMES, b"spec": b"any", b"image": b"x", b"snapshotter": b"overlayfs", b"snapshotKey": b"k",
            b"sandboxid": b"s", b"runtime": RUNTIME, b"extensions": {b"e": b"any"}, b"labels": {b"l": b"2"},
        }
    },
    b"snapshots": {
        b"overlayfs": {
            b"k /\xff": {
                **TIMES, b"name": b"ns/2/k", b"parent": b"p", b"children": {b"c": b"", b"d": b""},
                b"labels": {b"l": b"3"},
            }
        },
        b"native": {},
    },
    b"content": {
        b"blob": {DIGEST: {**TIMES, b"size": varint(5), b"labels": {b"l": b"4"}}},
        b"ingests": {
            b"client": {b"ref": b"ns/1/client", b"expireat": go_time(9), b"expected": OTHER},
            b"leased": {b"ref": b"ns/1/leased"},
        },
    },
    b"sandboxes": {
        b"s": {**TIMES, b"spec": b"any", b"sandboxer": b"podsandbox", b"runtime": RUNTIME, b"extensions": {},
               b"labels": {b"l": b"5"}}
    },
    b"leases": {
        b"l": {
            b"createdat": go_time(3), b"labels": {b"containerd.io/gc.flat": b""}, b"content": {DIGEST: b""},
            b"ingests": {b"client": b""}, b"images": {b"x": b""}, b"snapshots": {b"overlayfs": {b"k": b"", b"p": b""}},
        }
    },
}  # fmt: skip


@pytest.fixture
def read(tmp_path):
    """Write a meta.db and read it."""

    def give(tree, **options):
        write(tmp_path / "meta.db", tree, **options)
        with Database.open(tmp_path / "meta.db") as database:
            return read_metadata(database, RawPath(b"/x/meta.db"))

    return give


def of(namespace, version=b"\x06"):
    """The tree of a meta.db with one namespace."""
    return {b"v1": {b"version": version, b"ns": namespace}}


def changed(tree, *path, value):
    """A copy of a tree with one thing put in, replaced, or (None) taken out."""
    copy = dict(tree)
    if len(path) > 1:
        copy[path[0]] = changed(copy.get(path[0], {}), *path[1:], value=value)
    elif value is None:
        del copy[path[0]]
    else:
        copy[path[0]] = value
    return copy


@pytest.mark.parametrize("version", [1, 2, 3, 4])
def test_every_field_of_every_record(read, version):
    """All record types, each field decoded, in every schema version that has them."""
    found = read(of(WHOLE, varint(version)))
    assert (found.complete, found.findings, found.schema_version) == (True, [], version)
    assert {name: dict(labels) for name, labels in found.namespaces.items()} == {b"ns": {b"team": b"build"}}
    (image,), (container,), (snapshot,), (blob,) = found.images, found.containers, found.snapshots, found.blobs
    assert (image.name, image.target, image.media_type, image.target_size) == (
        b"docker.io/library/x:1", DIGEST, b"m", 428,
    )  # fmt: skip
    assert (container.id, container.image, container.snapshotter, container.snapshot_key, container.sandbox_id) == (
        b"c1", b"x", b"overlayfs", b"k", b"s",
    )  # fmt: skip
    assert container.runtime == b"io.containerd.runc.v2"
    assert (snapshot.snapshotter, snapshot.key, snapshot.name, snapshot.parent, snapshot.children) == (
        b"overlayfs", b"k /\xff", b"ns/2/k", b"p", (b"c", b"d"),
    )  # fmt: skip
    assert (blob.digest, blob.size) == (DIGEST, 5)
    client, leased = found.ingests
    assert (client.name, client.backend_ref, client.expires, client.expected) == (
        b"client", b"ns/1/client", 9 * 10**9, OTHER,
    )  # fmt: skip
    assert (leased.backend_ref, leased.expires, leased.expected) == (b"ns/1/leased", None, None)
    (sandbox,), (lease,) = found.sandboxes, found.leases
    assert (sandbox.id, sandbox.sandboxer, sandbox.runtime, sandbox.outside_v1) == (
        b"s", b"podsandbox", b"io.containerd.runc.v2", False,
    )  # fmt: skip
    assert (lease.id, lease.blobs, lease.ingests, lease.images, lease.snapshots, lease.created) == (
        b"l", (DIGEST,), (b"client",), (b"x",), ((b"overlayfs", b"k"), (b"overlayfs", b"p")), 3 * 10**9,
    )  # fmt: skip
    for number, record in enumerate((image, container, snapshot, blob, sandbox), 1):
        assert dict(record.labels) == {b"l": b"%d" % number}
        assert (record.namespace, record.created, record.updated) == (b"ns", 10**9, 2 * 10**9)
    assert found.newest == 3 * 10**9


def test_the_ingests_of_schema_1(read):
    """Before 1.2, an ingest is a key with its backend ref and no bucket."""
    found = read(of({b"content": {b"ingest": {b"client": b"ns/1/client"}}}, varint(1)))
    assert found.complete
    assert [(each.name, each.backend_ref, each.expires) for each in found.ingests] == [
        (b"client", b"ns/1/client", None)
    ]


def test_the_sandboxes_of_1_7(read):
    """Containerd 1.7 keeps them outside v1; they count, and are marked."""
    tree = {**of({}), b"k8s.io": {b"sandboxes": WHOLE[b"sandboxes"]}}
    found = read(tree)
    assert found.complete
    assert [(each.namespace, each.id, each.outside_v1) for each in found.sandboxes] == [(b"k8s.io", b"s", True)]


IMAGE = (b"images", b"docker.io/library/x:1")
BLOB = (b"content", b"blob", DIGEST)
CLIENT = (b"content", b"ingests", b"client")
SNAPSHOT = (b"snapshots", b"overlayfs", b"k /\xff")
LEASE = (b"leases", b"l")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        # unknown buckets and keys, at every level
        ((b"new",), {}), ((b"new",), b""), ((b"content", b"new"), {}), ((*IMAGE, b"new"), b""),
        ((*IMAGE, b"target", b"new"), b""), ((*BLOB, b"new"), {}), ((*CLIENT, b"new"), b""),
        ((*SNAPSHOT, b"new"), b""), ((*LEASE, b"new"), {}), ((b"containers", b"c1", b"new"), {}),
        ((b"containers", b"c1", b"runtime", b"new"), b""), ((b"sandboxes", b"s", b"new"), {}),
        # a value where a bucket is expected
        ((b"images",), b""), ((b"containers",), b"x"), ((b"snapshots",), b""), ((b"content",), b""),
        ((b"leases",), b""), ((b"sandboxes",), b""), ((b"labels",), b""), ((b"content", b"blob"), b""),
        ((b"content", b"ingests"), b""), ((b"content", b"ingest"), b""), (IMAGE, b""), (BLOB, b""), (CLIENT, b""),
        ((b"snapshots", b"overlayfs"), b""), (SNAPSHOT, b""), (LEASE, b""), ((*LEASE, b"content"), b""),
        ((*LEASE, b"snapshots"), b""), ((*LEASE, b"snapshots", b"overlayfs"), b""), ((*IMAGE, b"target"), b""),
        ((*IMAGE, b"labels"), b""), ((*SNAPSHOT, b"children"), b""), ((b"containers", b"c1", b"runtime"), b""),
        # a bucket where a value is expected
        ((*IMAGE, b"target", b"digest"), {}), ((*IMAGE, b"createdat"), {}), ((*BLOB, b"size"), {}),
        ((*CLIENT, b"ref"), {}), ((*CLIENT, b"expireat"), {}), ((*CLIENT, b"expected"), {}),
        ((*SNAPSHOT, b"name"), {}), ((*SNAPSHOT, b"parent"), {}), ((b"containers", b"c1", b"snapshotKey"), {}),
        ((*LEASE, b"content", DIGEST), {}), ((*LEASE, b"snapshots", b"overlayfs", b"k"), {}),
        ((*BLOB, b"labels", b"l"), {}), ((*SNAPSHOT, b"children", b"c"), {}),
        ((b"content", b"ingest"), {b"client": {}}),
        # values that do not decode, digests that are none, and what every record has
        ((*BLOB, b"size"), b"\x80"), ((*BLOB, b"size"), varint(-1)), ((*IMAGE, b"target", b"size"), b""),
        ((*IMAGE, b"target", b"digest"), b"sha256:AB"), ((*IMAGE, b"target", b"digest"), None),
        ((*IMAGE, b"target"), None), ((*CLIENT, b"expected"), b"sha256:"), ((*CLIENT, b"ref"), None),
        ((*CLIENT, b"ref"), b""), ((*SNAPSHOT, b"name"), None), ((*SNAPSHOT, b"name"), b""),
        ((b"content", b"blob", b"sha256:" + b"aB" * 32), TIMES), ((*LEASE, b"content", b"blake3:00"), b""),
        ((b"content", b"ingest"), {b"client": b""}), ((b"content", b"ingest"), {b"client": b"ns/1/client"}),
        ((b"containers", b"c1", b"snapshotter"), None), ((b"containers", b"c1", b"snapshotKey"), None),
    ],
)  # fmt: skip
def test_what_could_hide_a_reference_withholds(read, path, value):
    """Each makes the reading incomplete, and the finding says where; the other records are read."""
    found = read(of(changed(WHOLE, *path, value=value)))
    assert not found.complete
    assert found.findings
    for finding in found.findings:
        assert finding.severity in (Severity.BLIND, Severity.DAMAGE)
        assert finding.place.file == b"/x/meta.db"
        assert finding.place.bucket[:2] == (b"v1", b"ns")
        assert finding.message.isprintable()
    assert len(found.images) + len(found.containers) + len(found.blobs) + len(found.sandboxes) >= 3


@pytest.mark.parametrize("path", [(*IMAGE, b"createdat"), (*BLOB, b"updatedat"), (*LEASE, b"createdat")])
def test_a_time_that_does_not_decode_is_damage_only(read, path):
    """No reference depends on when a record was written."""
    found = read(of(changed(WHOLE, *path, value=b"\x01\x02")))
    assert found.complete
    assert [finding.code for finding in found.findings] == ["undecodable-time"]


def test_an_expiry_that_does_not_decode_never_ends(read):
    """Containerd collects nothing while such an ingest stands, so it counts as one that does not expire."""
    found = read(of(changed(WHOLE, *CLIENT, b"expireat", value=b"\x01")))
    assert found.complete
    assert found.ingests[0].expires > 2**62
    assert [finding.code for finding in found.findings] == ["undecodable-expiry"]


@pytest.mark.parametrize(
    ("tree", "code"),
    [
        ({}, "empty-database"),
        ({b"v1": b""}, "unknown-key"),
        ({b"key": b"", **of(WHOLE)}, "unknown-key"),
        ({b"other": {b"new": {}}, **of(WHOLE)}, "unknown-bucket"),
        ({b"other": {b"sandboxes": b""}, **of(WHOLE)}, "undecodable"),
        ({b"v1": {b"ns": WHOLE, b"other": b""}}, "unknown-key"),
        (of(WHOLE, b""), "undecodable"),
        (of(WHOLE, b"\x06\x06"), "undecodable"),
        (of(WHOLE, varint(-3)), "undecodable"),
        (of(WHOLE, varint(5)), "newer-schema"),
        (of(WHOLE, varint(2**62)), "newer-schema"),
        ({b"v1": {b"version": {}}}, None),
    ],
)
def test_a_file_of_another_kind(read, tree, code):
    """No v1, keys outside buckets, an unknown or newer version; a namespace may even be called version."""
    found = read(tree)
    if code is None:
        assert list(found.namespaces) == [b"version"]
        return
    assert not found.complete
    assert code in {finding.code for finding in found.findings}


_NAMES = [b"images", b"content", b"blob", b"ingests", b"ingest", b"snapshots", b"overlayfs", b"leases", b"labels",
          b"target", b"digest", b"ref", b"expected", b"name", b"parent", b"createdat", b"size", b"x",
          DIGEST]  # fmt: skip
_TREES = st.recursive(
    st.dictionaries(st.sampled_from(_NAMES), st.binary(max_size=18), max_size=4),
    lambda inner: st.dictionaries(st.sampled_from(_NAMES), inner | st.binary(max_size=18), max_size=5),
    max_leaves=12,
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(_TREES)
def test_any_tree_is_survived(read, tree):
    """Nothing is raised, whatever buckets and values lie where."""
    found = read({b"v1": {b"version": b"\x08", b"ns": tree}})
    assert found.complete or found.findings


_REFERENCES = [
    (*IMAGE, b"target", b"digest"), (*CLIENT, b"ref"), (*CLIENT, b"expected"), (*SNAPSHOT, b"name"),
    (*SNAPSHOT, b"parent"), (b"containers", b"c1", b"snapshotKey"), (b"containers", b"c1", b"snapshotter"),
    (*CLIENT, b"expireat"), (*BLOB, b"size"),
]  # fmt: skip


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.sampled_from(_REFERENCES), st.binary(max_size=80) | st.just(OTHER))
def test_a_complete_reading_drops_no_reference(read, path, value):
    """Whatever a value's bytes: either the reading is incomplete, or the record says exactly these bytes."""
    found = read(of(changed(WHOLE, *path, value=value)))
    if not found.complete:
        return
    client, image, snapshot, container = found.ingests[0], found.images[0], found.snapshots[0], found.containers[0]
    kept = {
        b"digest": image.target, b"ref": client.backend_ref, b"expected": client.expected or b"",
        b"name": snapshot.name, b"parent": snapshot.parent, b"snapshotKey": container.snapshot_key,
        b"snapshotter": container.snapshotter,
    }  # fmt: skip
    if path[-1] in kept:
        assert kept[path[-1]] == value
    elif path[-1] == b"expireat":
        assert client.expires is not None


@pytest.mark.root
@pytest.mark.skipif(bool(gobbolt.why_not()), reason=gobbolt.why_not() or "-")
@pytest.mark.parametrize("capture", [pytest.param(each, id=each.name) for each in captures() if each.facts["starts"]])
def test_records_are_what_go_reads(capture, unpacked):
    """Every field of every record of real files, put together again, is Go's dump of them and nothing is left over."""
    path = unpacked(capture) / capture.root / METADATA
    with Database.open(path) as database:
        found = read_metadata(database, RawPath(bytes(path)))
    assert found.complete
    made = {b"version": varint(found.schema_version)}
    for namespace, labels in found.namespaces.items():
        made[namespace] = {b"labels": dict(labels)}
    for kind in ("images", "containers", "blobs", "ingests", "snapshots", "sandboxes", "leases"):
        for record in getattr(found, kind):
            folders, fields = _PLACES[kind](record)
            bucket = made[record.namespace]
            for folder in folders:
                bucket = bucket.setdefault(folder, {})
            bucket.update(fields)
    assert _pruned(made) == _pruned(_known(nested(path)[b"v1"]))


def _moments(record):
    times = ((b"createdat", record.created), (b"updatedat", getattr(record, "updated", None)))
    return {field: go_time(*divmod(moment, 10**9)) for field, moment in times if moment is not None}


def _set(names):
    return dict.fromkeys(names, b"")


def _lease(record):
    snapshots = {}
    for snapshotter, key in record.snapshots:
        snapshots.setdefault(snapshotter, {})[key] = b""
    return (b"leases", record.id), {
        **_moments(record), b"labels": dict(record.labels), b"content": _set(record.blobs),
        b"ingests": _set(record.ingests), b"images": _set(record.images), b"snapshots": snapshots,
    }  # fmt: skip


_PLACES = {
    "images": lambda each: (
        (b"images", each.name),
        {
            **_moments(each), b"labels": dict(each.labels),
            b"target": {b"digest": each.target, b"mediatype": each.media_type, b"size": varint(each.target_size)},
        },
    ),
    "containers": lambda each: (
        (b"containers", each.id),
        {
            **_moments(each), b"labels": dict(each.labels), b"image": each.image, b"snapshotter": each.snapshotter,
            b"snapshotKey": each.snapshot_key, b"sandboxid": each.sandbox_id, b"runtime": {b"name": each.runtime},
        },
    ),
    "blobs": lambda each: (
        (b"content", b"blob", each.digest),
        {**_moments(each), b"labels": dict(each.labels), b"size": varint(each.size)},
    ),
    "ingests": lambda each: (
        (b"content", b"ingests", each.name),
        {
            b"ref": each.backend_ref, b"expected": each.expected or b"",
            b"expireat": b"" if each.expires is None else go_time(*divmod(each.expires, 10**9)),
        },
    ),
    "snapshots": lambda each: (
        (b"snapshots", each.snapshotter, each.key),
        {
            **_moments(each), b"labels": dict(each.labels), b"name": each.name, b"parent": each.parent,
            b"children": _set(each.children),
        },
    ),
    "sandboxes": lambda each: (
        (b"sandboxes", each.id),
        {**_moments(each), b"labels": dict(each.labels), b"sandboxer": each.sandboxer,
         b"runtime": {b"name": each.runtime}},
    ),
    "leases": _lease,
}  # fmt: skip


def _known(v1):
    """What Go read, without what no verdict needs: specs, extensions, runtime options and annotations."""
    for namespace in v1.values():
        if isinstance(namespace, bytes):
            continue
        for kind in (b"containers", b"sandboxes"):
            for record in namespace.get(kind, {}).values():
                for field in (b"spec", b"extensions"):
                    record.pop(field, None)
                record.get(b"runtime", {}).pop(b"options", None)
        for record in namespace.get(b"images", {}).values():
            record.pop(b"annotations", None)
    return v1


_TEXTS = (b"image", b"snapshotter", b"snapshotKey", b"sandboxid", b"sandboxer", b"mediatype", b"parent", b"expected",
          b"expireat", b"name")  # fmt: skip


def _pruned(tree):
    """Without empty buckets and empty strings: records say no more with them than without."""
    below = {key: _pruned(value) if isinstance(value, dict) else value for key, value in tree.items()}
    return {key: value for key, value in below.items() if value or (value == b"" and key not in _TEXTS)}


_FIELDS = st.fixed_dictionaries(
    {},
    optional={
        b"size": st.sampled_from([varint(5), varint(-5), b"", b"\xff", b"\x05\x05", {}]),
        b"createdat": st.sampled_from([go_time(7), b"", b"x" * 15, {}]),
        b"updatedat": st.sampled_from([go_time(7), go_time(8), b"\x03" * 15, {}]),
        b"labels": st.sampled_from([{}, {b"l": b"1"}, {b"l": b"1", b"m": {}}, b"no bucket"]),
        b"other": st.sampled_from([b"", {}]),
    },
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    blobs=st.dictionaries(st.sampled_from([DIGEST, OTHER, b"sha256:x", b"k"]), _FIELDS, max_size=4), cut=st.integers()
)
def test_blobs_come_out_the_same_the_short_way(tmp_path, monkeypatch, blobs, cut):
    """A blob read the short way is, with all there is to report, what reading it field by field gives; damaged too."""
    path = tmp_path / "meta.db"
    write(path, {b"v1": {b"ns": {b"content": {b"blob": blobs}}}})
    data = bytearray(path.read_bytes())
    if cut % 3 == 0:
        place = 2 * 4096 + cut % (len(data) - 2 * 4096)
        data[place] ^= 1 + cut % 255
        path.write_bytes(data)
    found = []
    for short in (True, False):
        with monkeypatch.context() as patch, Database.open(path) as database:
            if not short:
                patch.setattr(UsualBlobs, "take_apart", lambda *_: None)
            found.append(read_metadata(database, RawPath(b"/meta.db")))
    assert found[0] == found[1]


_DIGESTS = [b"sha256:%064x" % number for number in range(8)]
_MOMENTS = st.sampled_from([go_time(7), go_time(7), go_time(9), b"x" * 15])
_SIZES = st.sampled_from([varint(5), varint(6), varint(6), varint(-5), b"\xff"])
_VALUES = st.one_of(
    st.sampled_from([b"docker.io", *_DIGESTS]), st.sampled_from([b"", b"a\0", b"\xff\xff", b"sha256:" + b"x" * 64])
)
_LABELS = st.fixed_dictionaries(
    {b"containerd.io/gc.ref.content.config": st.sampled_from(_DIGESTS)},
    optional={
        b"containerd.io/gc.ref.content.l.0": _VALUES,
        b"containerd.io/gc.root": _VALUES,
        b"containerd.io/gc.cond.snapshot/overlayfs": _VALUES,
        b"containerd.io/gc.unknown": _VALUES,
        b"owner\0": _VALUES,
    },
)
_USUAL = {b"createdat": _MOMENTS, b"updatedat": _MOMENTS}
_TARGETS = st.fixed_dictionaries(
    {
        b"digest": st.sampled_from([*_DIGESTS, b"sha256:x"]),
        b"mediatype": st.sampled_from([b"m", b"m\0"]),
        b"size": _SIZES,
    }
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    image=st.fixed_dictionaries({**_USUAL, b"target": _TARGETS}, optional={b"labels": _LABELS, b"other": st.just(b"")}),
    blob=st.fixed_dictionaries({**_USUAL, b"size": _SIZES, b"labels": _LABELS}),
    cut=st.one_of(st.none(), st.integers(0, 2**32)),
)
def test_records_like_others_come_out_the_same(tmp_path, monkeypatch, image, blob, cut):
    """The last of many images and manifests that are alike, which are read by form, is what it is field by field.

    It differs from the others in its fields or in a byte of the file.
    """
    usual = {b"createdat": go_time(7), b"updatedat": go_time(7)}
    target = {b"digest": _DIGESTS[0], b"mediatype": b"m", b"size": varint(5)}
    labels = {b"containerd.io/gc.ref.content.config": _DIGESTS[1], b"containerd.io/gc.ref.content.l.0": _DIGESTS[2]}
    images = {b"i%d" % number: {**usual, b"target": target} for number in range(6)}
    labelled = {b"j%d" % number: {**usual, b"target": target, b"labels": {b"l": b"1"}} for number in range(6)}
    named = {b"containerd.io/distribution.source.docker.io": b"library/x"}
    blobs = {digest: {**usual, b"size": varint(5), b"labels": labels | named} for digest in _DIGESTS[:-1]}
    if cut is None:
        images[b"i9"] = image
        blobs[_DIGESTS[-1]] = {**blob, b"labels": blob[b"labels"] | named}
    path = tmp_path / "meta.db"
    write(path, {b"v1": {b"ns": {b"images": images | labelled, b"content": {b"blob": blobs}}}})
    if cut is not None:
        data = bytearray(path.read_bytes())
        data[2 * 4096 + cut % (len(data) - 2 * 4096)] ^= 1 + cut % 255
        path.write_bytes(data)
    found, formed, calls = [], Bucket.formed, []
    for short in (True, False):
        with monkeypatch.context() as patch, Database.open(path) as database:
            if short:
                patch.setattr(Bucket, "formed", lambda bucket: calls.append(formed(bucket)) or calls[-1])
            else:
                patch.setattr(Bucket, "formed", lambda _: None)
                patch.setattr(UsualBlobs, "take_apart", lambda *_: None)
            found.append(read_metadata(database, RawPath(b"/meta.db")))
    assert found[0] == found[1]
    assert cut is not None or sum(call is not None for call in calls) > 10


@pytest.mark.parametrize("blank", [b"\0" * 9, b"\xff" * 9, b"tail\0\0"])
@pytest.mark.parametrize(
    "path",
    [
        (b"images", b"docker.io/library/x:1"),
        (b"labels", b"team"),
        (b"images", b"docker.io/library/x:1", b"labels", b"l"),
        (b"containers", b"c1", b"snapshotKey"),
        (b"snapshots", b"overlayfs", b"k /\xff", b"parent"),
        (b"leases", b"l", b"snapshots", b"overlayfs", b"p"),
    ],
)
def test_names_that_read_as_blanks_keep_everything(read, path, blank):
    """A part of a page that was lost reads as zeros or ones, which no name holds: what it named looks unnamed now."""
    value = WHOLE
    for part in path:
        value = value[part]
    named = changed(WHOLE, *path, value=blank)
    if not isinstance(value, bytes) or not value:
        named = changed(changed(WHOLE, *path, value=None), *path[:-1], blank, value=value)
    found = read(of(named))
    assert not found.complete
    assert any("is overwritten" in finding.message for finding in found.findings)


@pytest.mark.parametrize(
    ("path", "value", "code", "severity"),
    [
        ((b"images", b"docker.io/library/x:1", b"target"), None, "image-without-target", Severity.DAMAGE),
        ((b"leases", b"l", b"labels", b"containerd.io/gc.ref.new"), b"x", "unknown-label", Severity.BLIND),
    ],
)
def test_what_may_have_named_something_keeps_everything(read, path, value, code, severity):
    """An image that names nothing, and a label that may name something: what either meant looks unnamed now."""
    found = read(of(changed(WHOLE, *path, value=value)))
    assert not found.complete
    assert [(each.code, each.severity) for each in found.findings] == [(code, severity)]


def test_a_page_that_cannot_be_read_is_named_with_its_bucket(tmp_path):
    """The records before it are there; the finding has page and bucket, and the command that checks the file."""
    blobs = {b"sha256:%064x" % number: {**TIMES, b"size": varint(5)} for number in range(200)}
    path, where = tmp_path / "meta.db", (b"v1", b"ns", b"content", b"blob")
    layout = write(path, of({b"content": {b"blob": blobs}}))
    (last,) = struct.unpack_from("<Q", layout.data, layout.roots[where] * 4096 + 16 + 16 * 4 + 8)
    layout.patch_page(last, 8, b"\xff\xff")
    with Database.open(path) as database:
        found = read_metadata(database, RawPath(b"/x/meta.db"))
    assert not found.complete
    assert 0 < len(found.blobs) < len(blobs)
    (finding,) = found.findings
    assert (finding.code, finding.severity) == ("unreadable-page", Severity.DAMAGE)
    assert (finding.place.page, finding.place.bucket) == (last, where)
    assert finding.message.startswith("v1/ns/content/blob: ")
    assert finding.remedy == "drydock bolt check /x/meta.db"


def test_a_content_label_that_names_no_digest_keeps_everything(read):
    """What it named looks unnamed now."""
    label = b"containerd.io/gc.ref.content.l.0"
    sound = read(of(changed(WHOLE, b"content", b"blob", DIGEST, b"labels", label, value=OTHER)))
    assert sound.complete
    cut = read(of(changed(WHOLE, b"content", b"blob", DIGEST, b"labels", label, value=OTHER[:-1])))
    assert (cut.complete, [finding.code for finding in cut.findings]) == (False, ["invalid-digest"])
