"""An image of the classic store as an archive, in the form that ``docker save`` gives it.

Its layers are the tars that they were made from, so that ``docker load`` gives the image the same id. Sources: moby
image/tarexport/save.go, v28.5; opencontainers image-spec v1.1, manifest.md.
"""

from __future__ import annotations

import hashlib
import json
import os

from drydock.evidence.docker.tar_split import LayerTar, UnusableTarSplit
from drydock.evidence.files.regular import open_below
from drydock.export.image import LAYOUT, MANIFEST, docker_manifest, index_document, member
from drydock.export.new_file import ExportFile
from drydock.export.pax_tar import Archive
from drydock.model.errors import EvidenceUnreadable
from drydock.model.layer_store import ClassicImage, LayerStore
from drydock.model.names import Digest, image_names
from drydock.model.text import shown

_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar"


def write_classic_image(store: LayerStore, image: ClassicImage, output: ExportFile) -> int:
    """Write an image of the classic store as an archive.

    Args:
        store: the store that it is in.
        image: one of its images.
        output: receives the archive.

    Returns:
        The number of blobs: manifest, config and layers.

    Raises:
        EvidenceUnreadable: the config or a layer is missing, cannot be read, or is not what its digest says.
        ActionFailed: from ``output``.
    """
    if image.problem:
        raise EvidenceUnreadable(f"{shown(image.id)}: {image.problem}")
    config = _read_config(store, image)
    layers = _open_layers(store, image)
    manifest = _manifest(image, len(config), {digest: layer.size for digest, layer in layers.items()})
    digest = Digest(b"sha256:" + hashlib.sha256(manifest).hexdigest().encode())
    names = tuple(name for name in image.names if b"@" not in name)
    output.expected = len(config) + len(manifest) + sum(layer.size for layer in layers.values())
    archive = Archive(output, _no_note)
    archive.add_bytes(b"oci-layout", LAYOUT)
    archive.add_bytes(b"index.json", index_document(tuple(map(_whole, names)), digest, MANIFEST, len(manifest)))
    archive.add_bytes(b"manifest.json", docker_manifest(names, image.id, image.diff_ids))
    archive.add_bytes(member(digest), manifest)
    archive.add_bytes(member(image.id), config)
    for diff_id, layer in layers.items():
        _write_layer(archive, diff_id, layer)
    archive.finish()
    return len(layers) + 2


def _read_config(store: LayerStore, image: ClassicImage) -> bytes:
    try:
        with os.fdopen(open_below(store.data, image.path), "rb") as file:
            config = file.read(image.size + 1)
    except OSError as error:
        raise EvidenceUnreadable(f"{shown(image.id)}: {error.strerror}") from error
    if hashlib.sha256(config).hexdigest().encode() != image.id.partition(b":")[2]:
        raise EvidenceUnreadable(f"{shown(image.id)}: its config does not match its id")
    return config


def _open_layers(store: LayerStore, image: ClassicImage) -> dict[Digest, LayerTar]:
    """The tar of each layer by diff id, the base first; a layer that the image has twice is there once."""
    found: dict[Digest, LayerTar] = {}
    for diff_id, chain_id in zip(image.diff_ids, image.chain, strict=True):
        if diff_id in found:
            continue
        layer = store.layers.get(chain_id)
        problem = "is missing: no record of it is in layerdb" if layer is None else layer.problem
        if layer is None or problem:
            raise EvidenceUnreadable(f"layer {shown(diff_id)}: {problem}")
        try:
            found[diff_id] = LayerTar(store.data, layer)
        except UnusableTarSplit as error:
            raise EvidenceUnreadable(f"layer {shown(diff_id)}: {error}") from error
    return found


def _manifest(image: ClassicImage, config: int, layers: dict[Digest, int]) -> bytes:
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST.decode(),
        "config": {"mediaType": _CONFIG, "digest": image.id.decode(), "size": config},
        "layers": [
            {"mediaType": _LAYER, "digest": digest.decode(), "size": layers[digest]} for digest in image.diff_ids
        ],
    }
    return json.dumps(document).encode()


def _write_layer(archive: Archive, diff_id: Digest, layer: LayerTar) -> None:
    hashed, written = hashlib.sha256(), 0
    archive.begin_file(member(diff_id), layer.size)
    try:
        for chunk in layer.chunks():
            hashed.update(chunk)
            written += len(chunk)
            archive.write(chunk)
    except UnusableTarSplit as error:
        raise EvidenceUnreadable(f"layer {shown(diff_id)}: {error}") from error
    if written != layer.size or b"sha256:" + hashed.hexdigest().encode() != diff_id:
        raise EvidenceUnreadable(f"layer {shown(diff_id)}: its files are not those that it was made of")
    archive.end_file()


def _whole(name: bytes) -> bytes:
    """A name with its domain, as containerd has it."""
    return [name, *image_names(name)][-1]


def _no_note(_: str) -> None:
    """Never called: no entry of the archive is a file on disk."""
