"""Documents among blobs: what they say, and that nothing in them can hurt the reader."""

import hashlib
import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drydock.evidence.containerd import manifests
from drydock.evidence.containerd.manifests import parse_document, read_documents
from drydock.model.data import BlobFile, Fingerprint
from drydock.model.names import CONTENT, is_digest
from drydock.model.oci import Config, Descriptor, Index, Manifest

ONE, TWO = "sha256:" + "1" * 64, "sha512:" + "2" * 128
WORDS = ("manifests", "layers", "config", "rootfs", "diff_ids", "digest", "size", "mediaType", "platform", "os",
         "architecture", "variant", "annotations", "vnd.docker.reference.type")  # fmt: skip
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters())
    | st.sampled_from((ONE, TWO, "sha256:0", "attestation-manifest", "linux")),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=6),
    max_leaves=30,
)


@pytest.fixture
def place(tmp_path):
    """Gives a blob with some bytes, under a digest that fits or under another."""
    folder = tmp_path / os.fsdecode(CONTENT) / "blobs/sha256"
    folder.mkdir(parents=True)

    def put(raw, name=None):
        name = hashlib.sha256(raw).hexdigest() if name is None else name
        (folder / name).write_bytes(raw)
        return BlobFile.of(b"sha256:" + name.encode(), Fingerprint(0, 0, 0, len(raw), 0, 0), 0)

    return put


def test_index_manifest_and_config_say_what_they_say():
    """Digests, sizes, platforms and attestations arrive as written, in their order."""
    platform = {"os": "linux", "architecture": "arm", "variant": "v7"}
    index = {
        "manifests": [
            {"digest": ONE, "size": 5, "mediaType": "a/b", "platform": platform},
            {"digest": TWO, "annotations": {"vnd.docker.reference.type": "attestation-manifest"}},
        ]
    }  # fmt: skip
    assert _parse(index) == (
        Index((Descriptor(ONE.encode(), b"a/b", 5, b"linux/arm/v7"), Descriptor(TWO.encode(), is_attestation=True))),
        "",
    )
    manifest = {
        "config": {"digest": ONE, "size": 2},
        "layers": [{"digest": TWO, "size": 9}, {"digest": ONE, "size": 1}],
    }
    assert _parse(manifest) == (
        Manifest(
            Descriptor(ONE.encode(), size=2), (Descriptor(TWO.encode(), size=9), Descriptor(ONE.encode(), size=1))
        ),
        "",
    )
    config = {"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": [ONE, TWO]}}
    assert _parse(config) == (Config((ONE.encode(), TWO.encode()), b"linux/amd64"), "")
    history = [{"created_by": "RUN a"}, {"created_by": "ENV b", "empty_layer": True}, {"comment": "c"}]
    assert _parse(config | {"history": history})[0].steps == (b"RUN a", b"")
    for other in (history[:2], [*history, {}], [*history[:2], "COPY"], "RUN", None, {"created_by": "RUN a"}):
        assert _parse(config | {"history": other}) == (Config((ONE.encode(), TWO.encode()), b"linux/amd64"), "")
    assert _parse({"predicate": {}}) == (None, "")


@given(VALUES)
def test_no_json_raises(value):
    """Any JSON is a document of digests and sizes, or nothing."""
    document, problem = parse_document(json.dumps(value).encode())
    assert isinstance(problem, str)
    assert problem.isprintable()
    descriptors = {
        Index: lambda found: found.manifests,
        Manifest: lambda found: (*found.layers, *filter(None, [found.config])),
        Config: lambda found: tuple(Descriptor(each) for each in found.diff_ids),
        type(None): lambda _: (),
    }[type(document)](document)
    for each in descriptors:
        assert is_digest(each.digest)
        assert each.size is None or 0 <= each.size < 2**63


@given(st.binary())
def test_no_bytes_raise(raw):
    """Any bytes give a problem or nothing, never an exception."""
    _, problem = parse_document(b'{"layers":' + raw)
    assert problem.isprintable()


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"[" * 400_000 + b"]" * 400_000, "it is nested too deeply"),
        (b'{"layers":' + b"[" * 100_000, "it is nested too deeply"),
        (b"[" + b"0," * 1_000_001 + b"0]", "it has more than 1000000 values"),
        (b'{"layers": [], "manifests": []}', "it is an index and a manifest at once"),
        (b'{"layers": 3}', "its layers is not a list"),
        (b'{"rootfs": {"diff_ids": ["sha256:0"]}}', "its diff_ids is not a list of digests"),
        (b'{"layers": [{"digest": "sha256:0"}, 7]}', "2 of its layers have no valid digest"),
        (b'{"layers": [], "size": NaN}', "is not JSON"),
        (b"[]", "it is not a JSON object"),
    ],
)
def test_nonsense_is_named(raw, says):
    """Depth, masses and wrong types are told, and end quickly."""
    assert says in parse_document(raw)[1]


def test_long_numbers_are_no_sizes():
    """A number of a million digits takes no time, and is no size."""
    raw = b'{"layers": [{"digest": "%s", "size": %s}]}' % (ONE.encode(), b"9" * 1_000_000)
    assert parse_document(raw) == (Manifest(None, (Descriptor(ONE.encode()),)), "")


def test_blobs_are_read_where_they_begin_like_documents(place, tmp_path):
    """A layer is passed over in silence, and so is a FIFO's wait; a document is read."""
    good, layer = place(b' \n{"layers": []}'), place(b"\x1f\x8b{}")
    fifo = place(b"", "f" * 64)
    (tmp_path / fifo.path.decode()).unlink()
    os.mkfifo(tmp_path / fifo.path.decode())
    documents = read_documents(os.fsencode(tmp_path), [good, layer, fifo])
    assert documents.found == {good.digest: Manifest(None, ())}
    assert list(documents.findings) == [fifo.digest]


def test_what_does_not_hash_to_its_name_is_not_believed(place, tmp_path):
    """Bytes under another's digest give a finding, and no document."""
    wrong = place(b'{"layers": []}', "a" * 64)
    documents = read_documents(os.fsencode(tmp_path), [wrong])
    assert not documents.found
    assert "do not match" in documents.findings[wrong.digest].message
    assert documents.findings[wrong.digest].code == "unreadable-document"


def test_reading_ends_at_the_bounds(place, tmp_path, monkeypatch):
    """One document beyond the limit is refused, and so is what comes after the limit of all."""
    monkeypatch.setattr(manifests, "_LIMIT", 100)
    fits, long, late = (place(b'{"layers": []}' + b" " * count) for count in (86, 87, 40))
    documents = read_documents(os.fsencode(tmp_path), [long, fits, late], 150)
    assert set(documents.found) == {fits.digest}
    assert set(documents.findings) == {long.digest, late.digest}


def _parse(value):
    return parse_document(json.dumps(value).encode())
