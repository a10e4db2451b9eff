"""An archive of an image of the classic store, read by the standard library and by skopeo's rules of an OCI layout."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile

import pytest
from tests.support.classic_root import ClassicRoot

from drydock.evidence.docker.layer_store import read_layer_store
from drydock.export.classic_image import write_classic_image
from drydock.export.new_file import ExportFile
from drydock.model.errors import EvidenceUnreadable
from drydock.model.names import Digest, RawPath

EMPTY = bytes(1024)
"""A tar without entries."""


@pytest.fixture
def root(tmp_path):
    """A data root with a layer that is an empty tar, and an image that has it twice, with two names."""
    made = ClassicRoot(tmp_path / "data")
    diff = "sha256:" + hashlib.sha256(EMPTY).hexdigest()
    rootfs = {"type": "layers", "diff_ids": [diff, diff]}
    config = json.dumps({"os": "linux", "architecture": "arm64", "rootfs": rootfs})
    identity = hashlib.sha256(config.encode()).hexdigest()
    (made.image / "imagedb/content/sha256" / identity).write_text(config)
    made.names = {"app": {"app:1": "sha256:" + identity}, "h:5/app": {"h:5/app:1": "sha256:" + identity}}
    made.references()
    second = "sha256:" + hashlib.sha256(f"{diff} {diff}".encode()).hexdigest()
    segment = json.dumps({"type": 2, "payload": "A" * 1366 + "==", "position": 0})
    for chain, parent in ((diff, None), (second, diff)):
        folder = made.layerdb / "sha256" / chain.removeprefix("sha256:")
        folder.mkdir()
        cache = chain.removeprefix("sha256:")
        for name, text in {
            "cache-id": cache,
            "diff": diff,
            "size": "0",
            **({"parent": parent} if parent else {}),
        }.items():
            (folder / name).write_text(text)
        (folder / "tar-split.json.gz").write_bytes(gzip.compress(segment.encode() + b"\n"))
        made.directory(cache, (diff.removeprefix("sha256:"),) if parent else ())
    return made, Digest(f"sha256:{identity}".encode()), diff


def _write(root, identity):
    store = read_layer_store(RawPath(os.fsencode(root.data)), {})
    output = io.BytesIO()
    count = write_classic_image(store, store.images[identity], ExportFile(output, "a test"))
    return count, output.getvalue()


def test_the_archive(root):
    """Each blob is called by its digest, the layer is there once, and the names are whole in the index."""
    made, identity, diff = root
    count, raw = _write(made, identity)
    assert count == 3
    with tarfile.open(fileobj=io.BytesIO(raw)) as archive:
        files = {member.name: archive.extractfile(member).read() for member in archive}
    for name, data in files.items():
        if name.startswith("blobs/"):
            assert name == f"blobs/sha256/{hashlib.sha256(data).hexdigest()}"
    assert files[f"blobs/sha256/{diff.removeprefix('sha256:')}"] == EMPTY
    (entry,) = json.loads(files["manifest.json"])
    assert entry["Config"] == f"blobs/sha256/{identity.decode().removeprefix('sha256:')}"
    assert entry["RepoTags"] == ["app:1", "h:5/app:1"]
    assert len(entry["Layers"]) == 2
    index = json.loads(files["index.json"])
    names = [each["annotations"]["io.containerd.image.name"] for each in index["manifests"]]
    assert names == ["docker.io/library/app:1", "h:5/app:1"]
    manifest = json.loads(files["blobs/" + index["manifests"][0]["digest"].replace(":", "/")])
    assert manifest["config"]["digest"] == identity.decode()
    assert [each["digest"] for each in manifest["layers"]] == [diff, diff]
    assert {each["size"] for each in manifest["layers"]} == {1024}


@pytest.mark.parametrize("spoil", ["config", "record", "directory", "tar-split", "another tar"])
def test_what_is_wrong_ends_the_export(root, spoil):
    """The image's config, a record, a directory or a tar-split is missing or has changed: it is named."""
    made, identity, diff = root
    record = made.layerdb / "sha256" / diff.removeprefix("sha256:")
    if spoil == "config":
        (made.image / "imagedb/content/sha256" / identity.decode().removeprefix("sha256:")).write_text("{}")
    elif spoil == "record":
        (record / "diff").unlink()
    elif spoil == "directory":
        (made.overlay / (record / "cache-id").read_text()).rename(made.data / "away")
    elif spoil == "tar-split":
        (record / "tar-split.json.gz").unlink()
    else:
        (record / "tar-split.json.gz").write_bytes(gzip.compress(b'{"type": 2, "payload": "AAAA"}\n'))
    with pytest.raises(EvidenceUnreadable) as error:
        _write(made, identity)
    assert (identity if spoil == "config" else diff.encode()).decode() in str(error.value)
