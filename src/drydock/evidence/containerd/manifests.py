"""The documents of images: indexes, manifests and configs."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NoReturn

from drydock.evidence.files.regular import open_below
from drydock.model import messages
from drydock.model.data import BlobFile
from drydock.model.findings import Place
from drydock.model.names import Digest, RawPath, hash_hex, is_digest
from drydock.model.oci import Config, Descriptor, Document, Documents, Index, Manifest, built_labels
from drydock.model.text import shown

# Registries need not take manifests of more than 4 MiB (distribution-spec v1.1, "Pushing Manifests").
_LIMIT = 8 << 20
ALL_DOCUMENTS = 256 << 20
"""The most bytes of documents that are read of one root."""
_LONGEST_NUMBER = 20
# A manifest of ten thousand layers has a tenth of this; each value takes some hundred bytes of memory.
_MOST_VALUES = 1_000_000
_LONGEST_STEP = 2000
_SPACE = b" \t\r\n"
_CHUNK = 1 << 20
_ATTESTATION = "attestation-manifest"


class _Unusable(Exception):
    """The bytes cannot be used as a document; the message says why and is fit to show."""


def read_documents(
    root: RawPath,
    blobs: Iterable[BlobFile],
    most: int = ALL_DOCUMENTS,
    progress: Callable[[int], None] | None = None,
) -> Documents:
    """Read the indexes, manifests and configs among some blobs.

    A blob that does not begin as a JSON object does is skipped: most blobs are layers.

    Args:
        root: absolute path of the containerd root.
        blobs: the blobs to look at.
        most: how many bytes of documents to read at most.
        progress: called with the number of blobs looked at since its last call.
    """
    documents = Documents()
    for blob in blobs:
        if progress is not None:
            progress(1)
        try:
            raw = _read(root, blob, min(most - documents.bytes, _LIMIT))
            if raw is None:
                continue
            documents.bytes += len(raw)
            _check(blob.digest, raw)
            document, problem = parse_document(raw)
        except (OSError, _Unusable) as error:
            document, problem = None, (error.strerror or "") if isinstance(error, OSError) else str(error)
        if document is not None:
            documents.found[blob.digest] = document
        if problem:
            place, digest = Place(RawPath(os.path.join(root, blob.path))), blob.digest
            finding = messages.UNREADABLE_DOCUMENT(digest=digest, problem=problem).at(place, digest)
            documents.findings[digest] = finding
    return documents


def parse_document(raw: bytes) -> tuple[Document | None, str]:
    """A document, and the problems that were found in it, in one line; empty if there are none.

    Args:
        raw: the bytes of the document. Whatever they are, no exception is raised.

    Returns:
        No document and no problem for a JSON object of another kind.
    """
    try:
        fields = _load(raw)
    except _Unusable as error:
        return None, str(error)
    if not isinstance(fields, dict):
        return None, "it is not a JSON object"
    if fields.get("manifests") is not None and fields.get("layers") is not None:
        # containerd refuses such a document too: engines disagree about its kind (CVE-2021-41190).
        return None, "it is an index and a manifest at once"
    problems: list[str] = []
    if "manifests" in fields:
        return Index(_descriptors(fields["manifests"], "manifests", problems)), "; ".join(problems)
    if "layers" in fields:
        config = _descriptors([fields["config"]] if "config" in fields else None, "config", problems)
        layers = _descriptors(fields["layers"], "layers", problems)
        return Manifest(config[0] if config else None, layers), "; ".join(problems)
    rootfs = fields.get("rootfs")
    if isinstance(rootfs, dict):
        diffs = _diff_ids(rootfs.get("diff_ids"), problems)
        steps = _steps(fields.get("history"), len(diffs))
        return Config(diffs, _platform(fields), steps, built_labels(fields)), "; ".join(problems)
    return None, ""


def _read(root: RawPath, blob: BlobFile, limit: int) -> bytes | None:
    """All bytes of a blob; None if it does not begin as a JSON object does."""
    descriptor = open_below(root, blob.path)
    try:
        head = os.read(descriptor, 64)
        if not head.lstrip(_SPACE).startswith(b"{"):
            return None
        if os.fstat(descriptor).st_size > limit:
            raise _Unusable(f"it looks like a document, but has more than {limit} bytes")
        chunks = [head]
        left = limit - len(head)
        while left > 0 and (chunk := os.read(descriptor, min(left, _CHUNK))):
            chunks.append(chunk)
            left -= len(chunk)
    finally:
        os.close(descriptor)
    return b"".join(chunks)


def _check(digest: Digest, raw: bytes) -> None:
    algorithm, _, wanted = digest.partition(b":")
    if hash_hex(raw, algorithm.decode()) != wanted:
        raise _Unusable("its bytes do not match its digest")


def _load(raw: bytes) -> Any:  # noqa: ANN401 - JSON is anything
    if raw.count(b",") + raw.count(b"[") + raw.count(b"{") > _MOST_VALUES:
        raise _Unusable(f"it has more than {_MOST_VALUES} values")
    try:
        # Go's decoder puts U+FFFD in place of bytes that are no UTF-8 too.
        return json.loads(raw.decode("utf-8", "replace"), parse_int=_integer, parse_constant=_refuse)
    except RecursionError:
        raise _Unusable("it is nested too deeply") from None
    except ValueError as error:
        raise _Unusable(f"it is not JSON: {shown(str(error).encode('utf-8', 'surrogatepass'))}") from None


def _integer(text: str) -> int | None:
    # Python needs quadratic time for long numbers, and no size is so long.
    return int(text) if len(text) <= _LONGEST_NUMBER else None


def _refuse(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


def _descriptors(entries: object, name: str, problems: list[str]) -> tuple[Descriptor, ...]:
    if entries is None:
        return ()
    if not isinstance(entries, list):
        problems.append(f"its {name} is not a list")
        return ()
    found = [_descriptor(entry) for entry in entries]
    unusable = found.count(None)
    if unusable:
        problems.append(f"{unusable} of its {name} have no valid digest")
    return tuple(descriptor for descriptor in found if descriptor is not None)


def _descriptor(entry: object) -> Descriptor | None:
    if not isinstance(entry, dict):
        return None
    digest = _text(entry.get("digest"))
    if not is_digest(digest):
        return None
    size = entry.get("size")
    platform, annotations = entry.get("platform"), entry.get("annotations")
    kind = annotations.get("vnd.docker.reference.type") if isinstance(annotations, dict) else None
    return Descriptor(
        Digest(digest),
        _text(entry.get("mediaType")),
        size if isinstance(size, int) and not isinstance(size, bool) and 0 <= size < 1 << 63 else None,
        _platform(platform) if isinstance(platform, dict) else b"",
        kind == _ATTESTATION,
    )


def _diff_ids(entries: object, problems: list[str]) -> tuple[Digest, ...]:
    if entries is None:
        return ()
    names = [_text(entry) for entry in entries] if isinstance(entries, list) else [b""]
    if not all(is_digest(name) for name in names):
        # Without one of them, all that follow would be those of other layers.
        problems.append("its diff_ids is not a list of digests")
        return ()
    return tuple(Digest(name) for name in names)


def _steps(history: object, layers: int) -> tuple[bytes, ...]:
    """``created_by`` of the entries that made a layer (image-spec v1.1, config.md, "history")."""
    entries = history if isinstance(history, list) else []
    made = [each for each in entries if isinstance(each, dict) and each.get("empty_layer") is not True]
    return tuple(_text(each.get("created_by"))[:_LONGEST_STEP] for each in made) if len(made) == layers else ()


def _platform(fields: dict[str, Any]) -> bytes:
    parts = [_text(fields.get(name)) for name in ("os", "architecture", "variant")]
    return b"/".join(part for part in parts if part)


def _text(value: object) -> bytes:
    # JSON can spell half of a surrogate pair.
    return value.encode("utf-8", "surrogatepass") if isinstance(value, str) else b""


def read_image_documents(root: RawPath, blobs: Mapping[Digest, BlobFile], targets: Iterable[Digest]) -> Documents:
    """Read every document on disk that the targets lead to; layers are not read.

    Indexes may be nested to any depth, as containerd pulls and collects them (core/images/handlers.go Walk, v2.1).

    Args:
        root: absolute path of the containerd root.
        blobs: the blobs of the root.
        targets: digests of indexes or manifests.
    """
    documents = Documents()
    seen: set[Digest] = set()
    level = list(dict.fromkeys(targets))
    while level := [digest for digest in level if digest in blobs and digest not in seen]:
        seen.update(level)
        read = read_documents(root, (blobs[digest] for digest in level), ALL_DOCUMENTS - documents.bytes)
        documents.bytes += read.bytes
        documents.found.update(read.found)
        documents.findings.update(read.findings)
        below: dict[Digest, None] = {}
        for document in read.found.values():
            if isinstance(document, Index):
                below.update(dict.fromkeys(child.digest for child in document.manifests))
            elif isinstance(document, Manifest) and document.config is not None:
                below[document.config.digest] = None
        level = list(below)
    return documents
