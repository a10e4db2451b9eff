"""The documents of images: indexes, their manifests, and the configs of those."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from drydock.evidence.manifests import ALL_DOCUMENTS, read_documents
from drydock.model.data import BlobFile
from drydock.model.documents import Documents, Index, Manifest
from drydock.model.names import Digest, RawPath


def read_closure(root: RawPath, blobs: Mapping[Digest, BlobFile], targets: Iterable[Digest]) -> Documents:
    """Read every document that the targets lead to, as far as they are on disk; layers are not read.

    However deep indexes are nested: containerd pulls and collects them so (core/images/handlers.go Walk, v2.1).

    Args:
        root: absolute path of the containerd root.
        blobs: its blobs.
        targets: indexes or manifests.
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
