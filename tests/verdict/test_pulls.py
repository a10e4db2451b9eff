"""Interrupted pulls of made-up stores: which leases are pulls, which belong together, what each layer is."""

from hashlib import sha256

import pytest
from tests.support.values import FINGERPRINT, NOW, NS, blob, digest, image, lease, snapshot, store

from drydock.model.data import Backend, IngestDirectory, LayoutKind, Row, RowKind, SnapshotEntry
from drydock.model.leases import LeaseClass
from drydock.model.names import UnixNano
from drydock.model.oci import Config, Descriptor, Documents, Index, Manifest
from drydock.model.pulls import Downloads, LayerState, PulledPart
from drydock.model.records import Ingest
from drydock.model.roots import Owners
from drydock.verdict.judge import judge
from drydock.verdict.pulls import find_pulls, list_pull_blobs, split_download

INDEX, MANIFEST, OTHER, CONFIG, ONE, TWO, THREE = (digest(number) for number in range(1, 8))
TOOLS = {b"containerd.io/distribution.source.example.org": b"tools"}
ENDS = {b"containerd.io/gc.expire": b"2030-01-01T00:00:00Z"}
ENDED = {b"containerd.io/gc.expire": b"2020-01-01T00:00:00Z"}
DIFFS = (digest(11), digest(12), digest(13))
CHAIN = b"sha256:" + sha256(DIFFS[0] + b" " + DIFFS[1]).hexdigest().encode()
DOCUMENTS = Documents(
    {
        MANIFEST: Manifest(Descriptor(CONFIG), tuple(Descriptor(each, size=3) for each in (ONE, TWO, THREE))),
        CONFIG: Config(DIFFS, b"linux/amd64"),
    }
)


def ingest(of, kind=b"layer", **fields):
    """A download's record."""
    name = kind + b"-" + of
    return Ingest(NS, name, b"moby/1/" + name, fields.get("expires"), fields.get("expected"))


def find(*records, documents=None, files=(), folders=(), owners=None, backends=None):
    """The pulls of a store of these records."""
    made = store(*records, files=files, owners=owners, backends=backends)
    for record, received, total in folders:
        name = sha256(record.backend_ref).hexdigest().encode()
        made.content.ingests.append(
            IngestDirectory(
                name, b"ingest/" + name, record.backend_ref, received, 8192, total, UnixNano(7), FINGERPRINT
            )
        )
    return find_pulls(*judge(made, NOW), DOCUMENTS if documents is None else documents)


def test_layers_of_one_pull():
    """Whole, partial, absent; unpacked by chain id; sizes from the manifest; the bytes that ending it frees."""
    half = ingest(TWO)
    [pull] = find(
        blob(MANIFEST, TOOLS),
        blob(CONFIG, TOOLS),
        blob(ONE, TOOLS),
        half,
        snapshot(DIFFS[0]),
        snapshot(CHAIN, DIFFS[0]),
        lease(b"a", ENDS, blobs=(MANIFEST, CONFIG, ONE), ingests=(half.name,), snapshots=(DIFFS[0], CHAIN)),
        files=(MANIFEST, CONFIG, ONE),
        folders=[(half, 1, 2)],
    )
    assert [(layer.digest, layer.size, layer.got, layer.state, layer.unpacked) for layer in pull.layers] == [
        (ONE, 3, 3, LayerState.WHOLE, True),
        (TWO, 3, 1, LayerState.PARTIAL, True),
        (THREE, 3, 0, LayerState.ABSENT, False),
    ]
    assert pull.targets == (MANIFEST,)
    assert pull.sources == (b"example.org/tools",)
    assert pull.platforms == (b"linux/amd64",)
    assert dict(pull.others) == {PulledPart.MANIFEST: 1, PulledPart.CONFIG: 1}
    assert pull.bytes == pull.held == 3 * 4096 + 8192
    assert pull.updated == 7


def test_a_pull_into_the_classic_store():
    """By the label that dockerd puts on its leases there: no layer comes to containerd, and none is called absent."""
    labels = {**ENDS, b"moby.lease/temporary": b"x"}
    records = blob(MANIFEST, TOOLS), blob(ONE), image(ONE)
    [pull] = find(*records, lease(b"a", labels, blobs=(MANIFEST,)), files=(MANIFEST, ONE))
    assert pull.downloads == Downloads()
    states = LayerState.EXISTING, LayerState.CLASSIC, LayerState.CLASSIC
    assert tuple(layer.state for layer in pull.layers) == states
    [pull] = find(*records, lease(b"a", ENDS, blobs=(MANIFEST,)), files=(MANIFEST, ONE))
    assert pull.downloads is None
    assert LayerState.CLASSIC not in {layer.state for layer in pull.layers}


def test_what_an_image_has_is_existing():
    """A layer of a tagged image is not freed with the pull, whether the lease names it or not."""
    records = [
        image(OTHER),
        blob(OTHER, {b"containerd.io/gc.ref.content.l.0": ONE, b"containerd.io/gc.ref.content.l.1": TWO}),
        *(blob(each, TOOLS) for each in (MANIFEST, ONE, TWO)),
        lease(b"a", ENDS, blobs=(MANIFEST, ONE)),
    ]
    [pull] = find(*records, files=(OTHER, MANIFEST, ONE, TWO))
    assert [layer.state for layer in pull.layers] == [LayerState.EXISTING, LayerState.EXISTING, LayerState.ABSENT]
    assert (pull.bytes, pull.held) == (4096, 8192)


def test_tries_of_the_same_pull_are_one():
    """Three leases of the same index are one pull: its bytes are what ending all of them frees; another is its own."""
    index = Documents({**DOCUMENTS.found, INDEX: Index((Descriptor(MANIFEST, platform=b"linux/arm64"),))})
    [pull, other] = find(
        *(blob(each, TOOLS) for each in (INDEX, MANIFEST, OTHER)),
        blob(THREE, {b"containerd.io/distribution.source.example.org": b"else,tools"}),
        lease(b"c", ENDS, blobs=(INDEX, MANIFEST, THREE), created=UnixNano(30)),
        lease(b"b", ENDED, blobs=(INDEX,), created=UnixNano(10)),
        lease(b"a", ENDS, ingests=(b"index-" + INDEX,), created=UnixNano(20)),
        ingest(INDEX, b"index"),
        lease(b"d", ENDS, blobs=(OTHER, CONFIG)),
        documents=index,
        files=(INDEX, MANIFEST, THREE, OTHER),
    )
    assert [holding.ref.key for holding in pull.leases] == [b"b", b"a", b"c"]
    assert pull.targets == (INDEX,)
    assert pull.sources == (b"example.org/tools",)
    assert pull.platforms == (b"linux/arm64",)
    assert pull.created == 10
    assert pull.bytes == 3 * 4096
    assert not pull.has_ended
    assert [holding.ref.key for holding in other.leases] == [b"d"]


def test_of_an_expired_lease_everything_is_free():
    """The bytes are told although the lease itself holds nothing any more."""
    [pull] = find(blob(MANIFEST, TOOLS), lease(b"a", ENDED, blobs=(MANIFEST,)), files=(MANIFEST,))
    assert pull.has_ended
    assert pull.leases[0].kind is LeaseClass.EXPIRED
    assert pull.leases[0].only == 0
    assert pull.bytes == 4096


def test_another_lease_keeps_what_both_hold():
    """What a second, different pull holds too is not freed by ending the first."""
    first, second = find(
        *(blob(each, TOOLS) for each in (MANIFEST, INDEX, ONE, TWO)),
        lease(b"a", ENDS, blobs=(MANIFEST, ONE, TWO)),
        lease(b"b", ENDS, blobs=(INDEX, ONE)),
        documents=Documents({**DOCUMENTS.found, INDEX: Index(())}),
        files=(MANIFEST, INDEX, ONE, TWO),
    )
    assert (first.bytes, second.bytes) == (2 * 4096, 4096)
    assert first.bytes == first.leases[0].only


@pytest.mark.parametrize(
    "held",
    [
        lease(b"a", {b"buildkit/lease.temporary": b""}, blobs=(OTHER,)),
        lease(b"a", ENDS, blobs=(CONFIG,)),
        lease(b"a", {**ENDS, b"containerd.io/gc.flat": b""}, blobs=(ONE,)),
        lease(b"0123456789abcdefghijklmno", {b"containerd.io/gc.flat": b""}, blobs=(ONE,)),
        lease(b"0123456789abcdefghijklmno-variants", blobs=(ONE,)),
        lease(b"ab" * 32, blobs=(ONE,)),
        lease(b"a", ENDS, ingests=(b"history-ref_x", b"tar-layer")),
        lease(b"a", ENDS, snapshots=(b"build-step",)),
    ],
    ids=["live", "unlabelled", "flat", "cache", "variants", "container", "writes", "snapshot"],
)
def test_other_leases_are_no_pulls(held):
    """A lease of live documents, of a build, of a container, of writes of another kind: none is listed."""
    records = [
        image(OTHER),
        *(blob(each, TOOLS) for each in (OTHER, ONE)),
        blob(CONFIG),
        Ingest(NS, b"history-ref_x", b"moby/1/h", None, None),
        snapshot(b"build-step"),
    ]
    owners = Owners(**{f"{kind}_changed": NOW for kind in ("containers", "images", "build_records", "build_history")})
    assert find(*records, held, files=(OTHER, ONE, CONFIG), owners=owners) == []


def test_an_unfinished_extraction_alone_is_a_pull():
    """A lease of nothing but an extract snapshot that no image has."""
    key = b"extract-1-x " + CHAIN
    [pull] = find(snapshot(key), lease(b"a", ENDS, snapshots=(key,)))
    assert dict(pull.others) == {PulledPart.EXTRACTING: 1}
    assert pull.layers == ()


def test_a_layer_that_comes_twice_is_one():
    """It is unpacked once it is so at both places."""
    twice = Documents(
        {MANIFEST: Manifest(Descriptor(CONFIG), (Descriptor(ONE), Descriptor(ONE))), CONFIG: Config(DIFFS[:2], b"")}
    )
    records = [blob(each, TOOLS) for each in (MANIFEST, CONFIG)]
    records += [snapshot(CHAIN), lease(b"a", ENDS, blobs=(MANIFEST, CONFIG))]
    [pull] = find(*records, documents=twice, files=(MANIFEST, CONFIG))
    assert [(layer.digest, layer.unpacked) for layer in pull.layers] == [(ONE, False)]
    [pull] = find(*records, snapshot(DIFFS[0]), documents=twice, files=(MANIFEST, CONFIG))
    assert [(layer.digest, layer.unpacked) for layer in pull.layers] == [(ONE, True)]


def test_a_config_of_another_length_is_not_used():
    """With more diff ids than layers nobody knows which is whose: nothing counts as unpacked."""
    longer = Documents({**DOCUMENTS.found, CONFIG: Config((*DIFFS, digest(14)), b"")})
    records = [
        *(blob(each, TOOLS) for each in (MANIFEST, CONFIG)),
        snapshot(DIFFS[0]),
        lease(b"a", ENDS, blobs=(MANIFEST, CONFIG)),
    ]
    [pull] = find(*records, files=(MANIFEST, CONFIG))
    assert [layer.unpacked for layer in pull.layers] == [True, False, False]
    [pull] = find(*records, documents=longer, files=(MANIFEST, CONFIG))
    assert [layer.unpacked for layer in pull.layers] == [False, False, False]


@pytest.mark.parametrize("kind", RowKind)
def test_only_a_committed_snapshot_is_unpacked(kind):
    """A row of another kind under a chain's name is somebody's work in progress."""
    name = NS + b"/1/" + DIFFS[0]
    path = b"io.containerd.snapshotter.v1.overlayfs"
    rows = {name: Row(name, 1, kind, b"", 5, 1, {})}
    entries = [SnapshotEntry(b"1", path + b"/snapshots/1", 1, FINGERPRINT, True, 5)]
    [pull] = find(
        *(blob(each, TOOLS) for each in (MANIFEST, CONFIG)),
        snapshot(DIFFS[0]),
        lease(b"a", ENDS, blobs=(MANIFEST, CONFIG)),
        files=(MANIFEST, CONFIG),
        backends={b"overlayfs": Backend(b"overlayfs", path, LayoutKind.OVERLAY, rows, 1, entries)},
    )
    assert pull.layers[0].unpacked == (kind is RowKind.COMMITTED)


@pytest.mark.parametrize(
    ("layout", "frees"), [(LayoutKind.OVERLAY, 4096), (LayoutKind.EROFS, 4096), (LayoutKind.FOREIGN, 0)]
)
def test_what_ending_frees_of_unpacked_layers(layout, frees):
    """Nothing is promised of a snapshotter whose layout is not known: its snapshots stay whatever ends."""
    name = NS + b"/1/" + DIFFS[0]
    path = b"io.containerd.snapshotter.v1.overlayfs"
    rows = {name: Row(name, 1, RowKind.COMMITTED, b"", 4096, 1, {})}
    entries = [SnapshotEntry(b"1", path + b"/snapshots/1", 1, FINGERPRINT, True, 4096)]
    made = lease(b"a", ENDS, blobs=(MANIFEST,), snapshots=(DIFFS[0],))
    backends = {b"overlayfs": Backend(b"overlayfs", path, layout, rows, 1, entries)}
    [pull] = find(blob(MANIFEST, TOOLS), snapshot(DIFFS[0]), made, backends=backends)
    assert pull.bytes == frees
    assert pull.held == 4096
    assert [holding.only for holding in pull.leases] == [frees]


def test_labels_tell_of_a_manifest_whose_file_is_gone():
    """Layers in the order of the labels' numbers, damage named, unpacked by the blobs' own labels."""
    labels = {b"containerd.io/gc.ref.content.l.%d" % number: each for number, each in ((10, THREE), (2, TWO), (0, ONE))}
    [pull] = find(
        blob(MANIFEST, {**TOOLS, **labels, b"containerd.io/gc.ref.content.config": CONFIG}),
        blob(ONE, {**TOOLS, b"containerd.io/uncompressed": DIFFS[0]}),
        blob(TWO, {**TOOLS, b"containerd.io/uncompressed": DIFFS[1]}),
        blob(CONFIG, TOOLS),
        snapshot(CHAIN),
        lease(b"a", ENDS, blobs=(MANIFEST, ONE, TWO, CONFIG)),
        documents=Documents(),
        files=(TWO,),
    )
    assert [(layer.digest, layer.state, layer.unpacked) for layer in pull.layers] == [
        (ONE, LayerState.DAMAGED, False),
        (TWO, LayerState.WHOLE, True),
        (THREE, LayerState.ABSENT, False),
    ]
    assert dict(pull.others) == {PulledPart.CONFIG: 1, PulledPart.DAMAGED: 2, PulledPart.MANIFEST: 1}
    assert pull.is_damaged


def test_downloads_without_a_manifest():
    """Layers whose manifest never came are listed by their downloads; a shared one is there already."""
    half, shared, gone = ingest(ONE), ingest(TWO, expected=TWO), ingest(THREE)
    [pull] = find(
        half, shared, gone,
        lease(b"a", ENDS, ingests=(half.name, shared.name, gone.name)),
        files=(TWO,), folders=[(half, 5, 9)],
    )  # fmt: skip
    assert [(layer.size, layer.got, layer.state) for layer in pull.layers] == [
        (9, 5, LayerState.PARTIAL),
        (3, 3, LayerState.EXISTING),
        (None, 0, LayerState.ABSENT),
    ]
    assert pull.targets == pull.sources == ()


def test_attestations_are_counted_and_not_unpacked():
    """BuildKit's attestation of a manifest adds no layer and no platform."""
    documents = {
        **DOCUMENTS.found,
        INDEX: Index((Descriptor(MANIFEST), Descriptor(OTHER, is_attestation=True, platform=b"unknown/unknown"))),
        OTHER: Manifest(None, (Descriptor(digest(99)),)),
    }
    [pull] = find(
        *(blob(each, TOOLS) for each in (INDEX, MANIFEST, OTHER, CONFIG)),
        lease(b"a", ENDS, blobs=(INDEX, MANIFEST, OTHER, CONFIG)),
        documents=Documents(documents),
        files=(INDEX, MANIFEST, OTHER, CONFIG),
    )
    assert len(pull.layers) == 3
    assert pull.platforms == (b"linux/amd64",)
    assert dict(pull.others) == {
        PulledPart.ATTESTATION: 1,
        PulledPart.CONFIG: 1,
        PulledPart.INDEX: 1,
        PulledPart.MANIFEST: 1,
    }


def test_only_blobs_of_pulls_are_read():
    """Each once, those that are there, and none of other leases."""
    made = store(
        *(blob(each, TOOLS) for each in (MANIFEST, ONE, TWO)),
        blob(CONFIG),
        lease(b"a", ENDS, blobs=(MANIFEST, ONE)),
        lease(b"b", ENDS, blobs=(MANIFEST, TWO)),
        lease(b"c", ENDS, blobs=(CONFIG,)),
        files=(MANIFEST, TWO, CONFIG),
    )
    assert [file.digest for file in list_pull_blobs(*judge(made, NOW))] == [MANIFEST, TWO]


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        (b"layer-" + ONE, (b"layer", b"", ONE)),
        (b"index-example.org/x@y:1@" + ONE, (b"index", b"example.org/x@y:1", ONE)),
        (b"layer-\n@" + ONE, (b"layer", b"\n", ONE)),
        (b"layer-" + ONE + b"\n", None),
        (b"layer-sha256:00", None),
        (b"upload-" + ONE, None),
        (b"tar-layer-" + ONE, None),
    ],
)
def test_names_of_downloads(name, parts):
    """Kind, name and digest as containerd joins them; nothing else counts."""
    assert split_download(name) == parts
