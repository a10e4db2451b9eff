"""An image as an archive that ``docker load``, ``ctr images import`` and skopeo read: an OCI layout in a tar.

Sources: opencontainers image-spec v1.1, image-layout.md; containerd core/images/archive/exporter.go, importer.go
(v2.1); moby image/tarexport (v28.5) for manifest.json, which engines without the containerd image store need.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping

from drydock.evidence.files.regular import open_below
from drydock.export.new_file import ExportFile
from drydock.export.pax_tar import Archive
from drydock.model.data import BlobFile
from drydock.model.errors import EvidenceUnreadable, Usage
from drydock.model.exports import ChosenImage, Exported, Variant, Variants
from drydock.model.names import Digest, RawPath, is_digest
from drydock.model.text import shown
from drydock.verdict.platforms import matches

_CHUNK = 1 << 20
LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'
"""The file oci-layout of every archive."""
_INDEX = b"application/vnd.oci.image.index.v1+json"
MANIFEST = b"application/vnd.oci.image.manifest.v1+json"


def select_variants(
    found: Variants, lost: Mapping[Digest, str], platform: bytes | None, exported: Exported
) -> tuple[Variant, ...]:
    """Choose the platforms to write: the one that was asked for, or all that are complete.

    A platform that was never fetched is not damage: a remark names it, and it is left out.

    Args:
        found: the image by platform.
        lost: recorded blobs that cannot be read, with the reason.
        platform: the one that was asked for; None for all.
        exported: receives the platforms and the remarks.

    Raises:
        EvidenceUnreadable: a needed blob is missing; the message names it.
        Usage: the image is not for that platform.
    """
    images = [each for each in found.variants if not each.is_attestation]
    if not images:
        raise EvidenceUnreadable(f"{shown(found.target)}: {lost.get(found.target, 'is no image that can be read')}")
    if platform is not None:
        images = [each for each in images if matches(each.platform, platform)]
        if not images:
            has = (
                ", ".join(sorted({shown(each.platform) for each in found.variants if each.platform})) or "unknown ones"
            )
            raise Usage(f"the image is not for {shown(platform)}; it is for {has}")
    whole: list[Variant] = []
    for each in images:
        problem = _problem(each, lost)
        if problem is None:
            whole.append(each)
        elif platform is not None or len(images) == 1 or any(digest in lost for digest in each.blobs):
            raise EvidenceUnreadable(problem)
        else:
            exported.remarks.append(
                f"{shown(each.platform) or shown(each.manifest)}: not all of it was fetched, left out"
            )
    if not whole:
        raise EvidenceUnreadable(_problem(images[0], lost) or "no platform of it is complete")
    exported.platforms = tuple(dict.fromkeys(each.platform for each in whole))
    if platform is not None:
        # Only annotations of the index, which is left out, tell what an attestation is for.
        return tuple(whole[:1])
    attestations = [each for each in found.variants if each.is_attestation and _problem(each, lost) is None]
    return (*whole, *attestations)


def write_image(
    root: RawPath,
    blobs: Mapping[Digest, BlobFile],
    chosen: ChosenImage,
    output: ExportFile,
    *,
    found: Variants,
    selected: Iterable[Variant],
    alone: bool,
) -> int:
    """Write an image as an archive.

    Args:
        root: absolute path of the containerd root.
        blobs: the blobs on disk.
        chosen: the image and its names.
        output: receives the archive.
        found: the image by platform.
        selected: from :func:`select_variants`.
        alone: whether the names point to the manifest of the one platform, instead of to the index.

    Returns:
        The number of blobs.

    Raises:
        EvidenceUnreadable: a blob cannot be read, or has another digest or size than it should.
        ActionFailed: from ``output``.
    """
    variants = list(selected)
    wanted: dict[Digest, None] = {} if alone else dict.fromkeys(found.indexes)
    sizes = dict(found.sizes)
    for variant in variants:
        wanted.update(dict.fromkeys(variant.blobs))
        sizes.update(variant.sizes)
    target = variants[0].manifest if alone else chosen.target
    media_type = variants[0].media_type if alone and found.indexes else chosen.media_type
    if not media_type:
        media_type = _INDEX if target in found.indexes else MANIFEST
    names = tuple(name for name in chosen.names if _is_name_of(name, target))
    output.expected = sum(blobs[digest].size for digest in wanted)
    archive = Archive(output, _no_note)
    archive.add_bytes(b"oci-layout", LAYOUT)
    archive.add_bytes(b"index.json", index_document(names, target, media_type, blobs[target].size))
    best = _best([each for each in variants if not each.is_attestation])
    if best is not None and best.config is not None:
        archive.add_bytes(b"manifest.json", docker_manifest(names, best.config, best.layers))
    for digest in wanted:
        _write_blob(archive, root, blobs[digest], sizes.get(digest))
    archive.finish()
    return len(wanted)


def _problem(variant: Variant, lost: Mapping[Digest, str]) -> str | None:
    of = f"{shown(variant.platform)}: " if variant.platform else ""
    for digest in variant.blobs:
        if digest in lost:
            return f"{of}{shown(digest)}: {lost[digest]}"
    if variant.absent:
        return f"{of}{shown(variant.absent[0])}: is missing: it was never fetched, or it was dropped since"
    return None


def _is_name_of(name: bytes, target: Digest) -> bool:
    """Whether an archive can carry a name: no bare digest, and a name with a digest only for that digest.

    CRI records each image also under the digest of its config (containerd internal/cri/server/images/image_pull.go
    PullImage, v2.1); dockerd refuses that as a tag (moby reference/store.go addReference, v27).
    """
    return not is_digest(name) and (b"@" not in name or name.endswith(b"@" + target))


def index_document(names: tuple[bytes, ...], target: Digest, media_type: bytes, size: int) -> bytes:
    """The index.json of an archive: an entry for each name, or one without a name."""
    descriptor = {"mediaType": _text(media_type), "digest": _text(target), "size": size}
    entries: list[dict[str, object]] = []
    for name in names:
        annotations = {"io.containerd.image.name": _text(name)}
        tag = _tag(name)
        if tag:
            annotations["org.opencontainers.image.ref.name"] = _text(tag)
        entries.append({**descriptor, "annotations": annotations})
    document = {"schemaVersion": 2, "mediaType": _text(_INDEX), "manifests": entries or [descriptor]}
    return json.dumps(document).encode()


def docker_manifest(names: tuple[bytes, ...], config: Digest, layers: Iterable[Digest]) -> bytes:
    """The manifest.json of an archive, for engines without the containerd image store.

    Names without a tag are left out.

    Args:
        names: of the image.
        config: its id.
        layers: its layers, the base first.
    """
    entry = {
        "Config": member(config).decode(),
        "RepoTags": [_text(name) for name in names if _tag(name) and b"@" not in name],
        "Layers": [member(layer).decode() for layer in layers],
    }
    return json.dumps([entry]).encode()


def _best(variants: list[Variant]) -> Variant | None:
    """The platform for engines that keep only one: this machine's, else the first."""
    usable = [each for each in variants if each.config is not None]
    here = b"linux/" + os.fsencode(os.uname().machine)
    return next((each for each in usable if matches(each.platform, here)), usable[0] if usable else None)


def _tag(name: bytes) -> bytes:
    last = name.rpartition(b"/")[2]
    return b"" if b"@" in last else last.partition(b":")[2]


def member(digest: Digest) -> bytes:
    """The name that a blob has in an archive."""
    algorithm, _, value = digest.partition(b":")
    return b"blobs/" + algorithm + b"/" + value


def _write_blob(archive: Archive, root: RawPath, blob: BlobFile, size: int | None) -> None:
    what = shown(blob.digest)
    try:
        data = open_below(root, blob.path)
    except OSError as error:
        raise EvidenceUnreadable(f"{what}: {error.strerror}") from error
    try:
        there = os.fstat(data).st_size
        if size is not None and size != there:
            raise EvidenceUnreadable(f"{what}: has {there} bytes; the document that names it says {size}")
        archive.begin_file(member(blob.digest), there)
        algorithm, _, wanted = blob.digest.partition(b":")
        hashed, left = hashlib.new(algorithm.decode()), there
        while left:
            try:
                chunk = os.read(data, min(left, _CHUNK))
            except OSError as error:
                raise EvidenceUnreadable(f"{what}: {error.strerror}") from error
            if not chunk:
                raise EvidenceUnreadable(f"{what}: ends {left} bytes early")
            hashed.update(chunk)
            archive.write(chunk)
            left -= len(chunk)
    finally:
        os.close(data)
    if hashed.hexdigest().encode() != wanted:
        raise EvidenceUnreadable(f"{what}: its bytes do not match its digest")
    archive.end_file()


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def _no_note(_: str) -> None:
    """Never called: an unreadable blob ends the export of an image."""
