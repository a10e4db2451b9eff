"""Archives of images: their content for one platform and for all, and errors that end an export."""

import hashlib
import json
import os

import pytest
from tests.engines.images import Blob, Image, layer
from tests.support.adoptable import IMAGE, NAME, blob_path, lay_out, namespace, record, target
from tests.support.layouts import read_layout

from drydock import export_image
from drydock.evidence.containerd.content import read_content
from drydock.evidence.containerd.manifests import read_image_documents
from drydock.export.image import select_variants, write_image
from drydock.export.new_file import ExportFile
from drydock.model.errors import EvidenceUnreadable, Usage
from drydock.model.exports import ChosenImage, Exported
from drydock.model.names import Digest, RawPath
from drydock.verdict.platforms import find_variants, matches

CONTENT = "io.containerd.content.v1.content/blobs/sha256"
INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
DOCKER = "application/vnd.docker.distribution.manifest.v2+json"


class Blobs:
    """A content store that is made by hand."""

    def __init__(self, path):
        self.path = path
        (path / CONTENT).mkdir(parents=True)

    def add(self, data, kind="x", **more):
        """Add a blob, and give its descriptor."""
        raw = data if isinstance(data, bytes) else json.dumps(data).encode()
        value = hashlib.sha256(raw).hexdigest()
        (self.path / CONTENT / value).write_bytes(raw)
        return {"mediaType": kind, "digest": f"sha256:{value}", "size": len(raw), **more}

    def image(self, architecture, layers=2, kind=MANIFEST):
        """Add an image for one platform."""
        parts = [self.add(f"{architecture}{number}".encode() * 500, "layer") for number in range(layers)]
        config = self.add(
            {"os": "linux", "architecture": architecture, "rootfs": {"diff_ids": [part["digest"] for part in parts]}},
            "config",
        )
        platform = {"os": "linux", "architecture": architecture}
        return self.add({"mediaType": kind, "config": config, "layers": parts}, kind, platform=platform)

    def remove(self, descriptor):
        """Remove a blob."""
        self.file(descriptor).unlink()

    def file(self, descriptor):
        """The path of a blob."""
        return self.path / CONTENT / descriptor["digest"].partition(":")[2]

    def document(self, descriptor):
        """The document in a blob."""
        return json.loads(self.file(descriptor).read_bytes())


@pytest.fixture
def blobs(tmp_path):
    """A content store without blobs."""
    return Blobs(tmp_path / "store")


def export(blobs, target, tmp_path, *, platform=None, lost=None, names=(b"docker.io/library/x:1",)):
    """Export, and give the layout that was written, and the result."""
    root = RawPath(os.fsencode(blobs.path))
    files = read_content(root).blobs
    digest = Digest(target["digest"].encode())
    found = find_variants(digest, read_image_documents(root, files, [digest]), files)
    exported = Exported(root, "x")
    wrong = {Digest(each["digest"].encode()): "is wrong" for each in lost or ()}
    selected = select_variants(found, wrong, platform, exported)
    chosen = ChosenImage(digest, names, target["mediaType"].encode())
    with (tmp_path / "out.tar").open("wb") as file:
        alone = platform is not None or not found.indexes
        exported.count = write_image(
            root, files, chosen, ExportFile(file, "out"), found=found, selected=selected, alone=alone
        )
    layout = read_layout(tmp_path / "out.tar")
    assert exported.count == len(layout.blobs)
    return layout, exported


def test_one_manifest(blobs, tmp_path):
    """The archive has all blobs and nothing else, and the name as containerd, skopeo and old Docker read it."""
    blobs.add(b"not of this image")
    target = blobs.image("amd64", kind=DOCKER)
    layout, _ = export(blobs, target, tmp_path)
    assert set(layout.blobs) == layout.reached(target["digest"])
    assert len(layout.blobs) == 4
    assert layout.index["manifests"] == [
        {
            "mediaType": DOCKER,
            "digest": target["digest"],
            "size": target["size"],
            "annotations": {
                "io.containerd.image.name": "docker.io/library/x:1",
                "org.opencontainers.image.ref.name": "1",
            },
        }
    ]
    [entry] = layout.docker
    assert entry["RepoTags"] == ["docker.io/library/x:1"]
    assert [name.rpartition("/")[2] for name in entry["Layers"]] == [
        layer["digest"].partition(":")[2] for layer in blobs.document(target)["layers"]
    ]


def test_names_that_are_no_tags(blobs, tmp_path):
    """Several names, one by digest, and none: only a name with a tag has one in the archive."""
    target = blobs.image("amd64")
    names = (b"docker.io/library/x:1", b"localhost:5000/x@" + target["digest"].encode(), b"localhost:5000/y")
    layout, _ = export(blobs, target, tmp_path, names=names)
    said = [entry["annotations"] for entry in layout.index["manifests"]]
    assert [each["io.containerd.image.name"] for each in said] == [name.decode() for name in names]
    assert [each.get("org.opencontainers.image.ref.name") for each in said] == ["1", None, None]
    assert layout.docker[0]["RepoTags"] == ["docker.io/library/x:1"]
    layout, _ = export(blobs, target, tmp_path, names=())
    assert "annotations" not in layout.index["manifests"][0]
    assert layout.docker[0]["RepoTags"] == []


def test_names_that_are_digests(blobs, tmp_path):
    """CRI's record under the image's id is not a name in the archive, as dockerd refuses it; one by digest is."""
    target = blobs.image("amd64")
    config = blobs.document(target)["config"]["digest"].encode()
    names = (b"example.org/x:1", config, b"example.org/x@" + target["digest"].encode())
    layout, _ = export(blobs, target, tmp_path, names=names)
    said = [entry["annotations"]["io.containerd.image.name"] for entry in layout.index["manifests"]]
    assert said == [names[0].decode(), names[2].decode()]
    assert layout.docker[0]["RepoTags"] == ["example.org/x:1"]
    layout, _ = export(blobs, target, tmp_path, names=(config,))
    assert "annotations" not in layout.index["manifests"][0]
    assert layout.docker[0]["RepoTags"] == []


def test_a_name_by_the_digest_of_an_index(blobs, tmp_path):
    """The digest of the index is no name for the manifest of one platform, which replaces the index."""
    one, two = blobs.image("amd64"), blobs.image("arm64")
    target = blobs.add({"mediaType": INDEX, "manifests": [one, two]}, INDEX)
    names = (b"example.org/x:1", b"example.org/x@" + target["digest"].encode())
    layout, _ = export(blobs, target, tmp_path, names=names, platform=b"linux/amd64")
    [entry] = layout.index["manifests"]
    assert (entry["digest"], entry["annotations"]["io.containerd.image.name"]) == (one["digest"], "example.org/x:1")
    layout, _ = export(blobs, target, tmp_path, names=names)
    assert len(layout.index["manifests"]) == 2


@pytest.mark.parametrize("word", [IMAGE.config.digest, IMAGE.config.digest[7:19]])
def test_the_id_of_an_image(tmp_path, word):
    """An image id, as Docker shows it, is the digest of a config: the error names the image, if it is known."""
    root = lay_out(tmp_path / "root", {b"default": namespace()})
    with pytest.raises(Usage, match=r"sha256:[0-9a-f]{64}: is the id of an image .* name: example\.org/shop:1$"):
        export_image(word.encode(), RawPath(bytes(root)), output=RawPath(bytes(tmp_path / "out.tar")))
    root = lay_out(tmp_path / "bare", {b"default": {**namespace(), b"images": {}}})
    with pytest.raises(Usage, match="by the digest of its manifest; no name here leads to it"):
        export_image(word.encode(), RawPath(bytes(root)), output=RawPath(bytes(tmp_path / "out.tar")))
    assert not (tmp_path / "out.tar").exists()


def test_a_layer_is_no_image(tmp_path):
    """The digest of any other blob: the error does not say that it is missing."""
    root = lay_out(tmp_path / "root", {b"default": namespace()})
    with pytest.raises(EvidenceUnreadable, match="is no image that can be read"):
        export_image(IMAGE.layers[0].digest.encode(), RawPath(bytes(root)), output=RawPath(bytes(tmp_path / "out.tar")))


@pytest.mark.parametrize("nested", [False, True])
def test_a_manifest_that_cannot_be_read(tmp_path, nested):
    """A manifest of the right size with wrong bytes is damage, alone and below an index, and not called unfetched."""
    whole = Image((layer({"other": b"3" * 100}),))
    platforms = ({"os": "linux", "architecture": each} for each in ("amd64", "arm64"))
    parts = [
        each.manifest.descriptor(platform=platform) for each, platform in zip((IMAGE, whole), platforms, strict=True)
    ]
    index = Blob(INDEX, json.dumps({"mediaType": INDEX, "manifests": parts}).encode())
    made = (*IMAGE.blobs, *whole.blobs, index)
    records = {blob.digest.encode(): record(blob) for blob in made}
    space = {b"content": {b"blob": records}, b"images": {NAME: target(index if nested else IMAGE.manifest)}}
    root = lay_out(tmp_path / "root", {b"default": space}, made)
    where, output = RawPath(bytes(root)), RawPath(bytes(tmp_path / "out.tar"))
    file = blob_path(root, IMAGE.manifest)
    file.write_bytes(b"{" * len(IMAGE.manifest.data))
    with pytest.raises(EvidenceUnreadable, match=f"{IMAGE.manifest.digest}: its bytes do not match its digest"):
        export_image(NAME, where, output=output)
    assert not (tmp_path / "out.tar").exists()
    if nested:
        assert export_image(NAME, where, output=output, platform=b"linux/arm64").platforms == (b"linux/arm64",)


def test_every_platform(blobs, tmp_path):
    """An index of two platforms, one in a nested index, and an attestation: all under the digest of the index."""
    one, two = blobs.image("amd64"), blobs.image("arm64")
    attestation = blobs.image("unknown", 1)
    attestation["annotations"] = {"vnd.docker.reference.type": "attestation-manifest"}
    inner = blobs.add({"mediaType": INDEX, "manifests": [two]}, INDEX)
    target = blobs.add({"mediaType": INDEX, "manifests": [one, inner, attestation]}, INDEX)
    layout, exported = export(blobs, target, tmp_path)
    assert set(layout.blobs) == layout.reached(target["digest"])
    assert len(layout.blobs) == 2 + 4 + 4 + 3
    assert layout.index["manifests"][0]["digest"] == target["digest"]
    assert exported.platforms == (b"linux/amd64", b"linux/arm64")
    assert not exported.remarks


@pytest.mark.parametrize("absent", ["manifest", "layers"])
def test_a_platform_that_was_never_fetched(blobs, tmp_path, absent):
    """It is left out with a remark, as by docker save; with --platform the error names what is missing."""
    one, two = blobs.image("amd64"), blobs.image("arm64")
    target = blobs.add({"mediaType": INDEX, "manifests": [two, one]}, INDEX)
    layers = blobs.document(two)["layers"]
    gone = [two] if absent == "manifest" else layers
    for each in gone:
        blobs.remove(each)
    layout, exported = export(blobs, target, tmp_path)
    assert set(layout.blobs) == {target["digest"], *layout.reached(one["digest"])}
    assert exported.platforms == (b"linux/amd64",)
    assert exported.remarks == ["linux/arm64: not all of it was fetched, left out"]
    with pytest.raises(EvidenceUnreadable, match=gone[0]["digest"]):
        export(blobs, target, tmp_path, platform=b"linux/arm64")


def test_one_platform(blobs, tmp_path):
    """The name points to the manifest of that platform; damage of another platform does not matter."""
    one, two = blobs.image("amd64"), blobs.image("arm64")
    target = blobs.add({"mediaType": INDEX, "manifests": [two, one]}, INDEX)
    layout, exported = export(blobs, target, tmp_path, platform=b"linux/amd64", lost=[two])
    assert set(layout.blobs) == layout.reached(one["digest"])
    assert layout.index["manifests"][0]["digest"] == one["digest"]
    assert layout.index["manifests"][0]["mediaType"] == MANIFEST
    assert exported.platforms == (b"linux/amd64",)
    with pytest.raises(Usage, match="linux/amd64, linux/arm64"):
        export(blobs, target, tmp_path, platform=b"linux/s390x")


def test_a_lost_blob_is_named(blobs, tmp_path):
    """A recorded blob that is missing is damage, also if other platforms are complete."""
    one, two = blobs.image("amd64"), blobs.image("arm64")
    target = blobs.add({"mediaType": INDEX, "manifests": [one, two]}, INDEX)
    lost = blobs.document(two)["layers"][1]
    blobs.remove(lost)
    with pytest.raises(EvidenceUnreadable, match=lost["digest"]):
        export(blobs, target, tmp_path, lost=[lost])


@pytest.mark.parametrize("part", ["layer", "config", "manifest"])
@pytest.mark.parametrize("damage", ["flipped", "short", "long", "folder", "link"])
def test_a_wrong_blob_is_named(blobs, tmp_path, part, damage):
    """Wrong bytes, size or type: the error names the blob."""
    target = blobs.image("amd64")
    document = blobs.document(target)
    wrong = {"layer": document["layers"][1], "config": document["config"], "manifest": target}[part]
    file = blobs.file(wrong)
    data = file.read_bytes()
    file.unlink()
    if damage == "folder":
        file.mkdir()
    elif damage == "link":
        (tmp_path / "elsewhere").write_bytes(data)
        file.symlink_to(tmp_path / "elsewhere")
    else:
        file.write_bytes({"flipped": b"#" + data[1:], "short": data[:-1], "long": data + b" "}[damage])
    with pytest.raises(EvidenceUnreadable, match=wrong["digest"]):
        export(blobs, target, tmp_path)


@pytest.mark.parametrize(
    ("platform", "wanted", "same"),
    [
        (b"linux/arm64/v8", b"linux/arm64", True),
        (b"linux/arm64", b"linux/aarch64", True),
        (b"linux/arm/v7", b"linux/arm", True),
        (b"linux/arm/v6", b"linux/arm", False),
        (b"linux/amd64", b"linux/x86_64", True),
        (b"linux/amd64/v3", b"linux/amd64", False),
        (b"windows/amd64", b"linux/amd64", False),
        (b"", b"linux/amd64", False),
    ],
)
def test_platforms_that_are_the_same(platform, wanted, same):
    """The default variant of an architecture may be left out, and architectures have other names."""
    assert matches(platform, wanted) is same


def test_indexes_in_indexes(blobs, tmp_path):
    """Nested indexes, each beside a manifest: all are written, however deep."""
    inner = blobs.image("amd64")
    for depth in range(20):
        inner = blobs.add({"mediaType": INDEX, "manifests": [blobs.image(f"arm{depth}"), inner]}, INDEX)
    layout, exported = export(blobs, inner, tmp_path)
    assert set(layout.blobs) == layout.reached(inner["digest"])
    assert len(exported.platforms) == 21
    assert not exported.remarks
