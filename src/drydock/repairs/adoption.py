"""Adopting intact blobs without a record that an image needs: found from the image downwards, and hashed.

The record is the one that containerd writes when it commits a blob (core/metadata/content.go commit, v2.1), with the
labels that a pull adds for its children (:func:`drydock.model.oci.child_labels`). The label of its registry,
 ``containerd.io/distribution.source.*``, is left out: nothing here tells it, and the next pull of the image
adds it (core/remotes/docker/handler.go AppendDistributionSourceLabel, v2.1). So is
``containerd.io/uncompressed``, with which the engine need not decompress a layer for its digest (images/diffid.go
GetDiffID, v1.6). A blob with a record only in another namespace counts as well, as it does for a pull
(core/metadata/content.go Writer, v2.1, the shared policy).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import NamedTuple

from drydock.evidence.containerd.digests import hash_blobs
from drydock.evidence.containerd.manifests import ALL_DOCUMENTS, read_documents
from drydock.model.names import Digest, Kind, Ref, UnixNano
from drydock.model.oci import Descriptor, Document, child_labels, is_parent, list_children
from drydock.model.plans import Adoption
from drydock.model.progress import Progress, counter
from drydock.model.records import BlobRecords
from drydock.model.repairs import Adopted, Unadopted
from drydock.model.store import Store
from drydock.model.text import shown
from drydock.model.verifications import Completeness, ImageState
from drydock.verdict.judge import Reach, reach
from drydock.verdict.reach import mark

_DEEPEST = 8
"""Rounds, one for each level of documents: index, manifest, config. Only a hostile store has many more."""


class _NamedBlob(NamedTuple):
    """A blob with what names it."""

    descriptor: Descriptor
    why: str
    """What names it; one shown line."""
    of_image: bool
    """Whether an image reaches the document that names it."""


def adopt(store: Store, now: UnixNano, made: UnixNano, progress: Progress | None = None) -> Adopted:
    """Find and hash the blobs that get a record back, and put these records into ``store``.

    A blob with wrong bytes goes to ``store.wrong``, and is never adopted.

    Args:
        store: as read, from a database that can be edited.
        now: the time that expiries are compared with.
        made: the time of the records.
        progress: called with the bytes that were hashed.
    """
    return _Adopter(store, now, made, progress).adopt()


def made_whole(before: Iterable[ImageState], after: Iterable[ImageState]) -> Iterator[Ref]:
    """Find the images that have a complete platform which was incomplete before."""

    def complete(image: ImageState) -> set[Digest]:
        return {each.manifest for each in image.platforms if each.state is Completeness.COMPLETE}

    had = {(image.namespace, image.name): complete(image) for image in before}
    for image in after:
        if complete(image) - had[image.namespace, image.name]:
            yield Ref(Kind.IMAGE, image.namespace, image.name)


class _Adopter:
    def __init__(self, store: Store, now: UnixNano, made: UnixNano, progress: Progress | None) -> None:
        self._store = store
        self._now = now
        self._made = made
        self._progress = progress
        self._documents: dict[Digest, Document] = {}
        self._faults: dict[Digest, str] = {}
        self._room = ALL_DOCUMENTS
        self._read: set[Digest] = set()
        self._right: set[Digest] = set()
        self._adoptions: dict[Ref, Adoption] = {}
        self._left: dict[Ref, str] = {}

    def adopt(self) -> Adopted:
        """Go down, level by level, until no document names another blob."""
        for _ in range(_DEEPEST):
            reached = reach(self._store, self._now)
            refs = set(reached.refs())
            fresh = [self._adoption(ref, named) for ref, named in self._whole(self._named(reached, refs), refs)]
            if not fresh:
                break
            self._adoptions.update({adoption.ref: adoption for adoption in fresh})
            records = BlobRecords([*self._store.metadata.blobs, *(adoption.record() for adoption in fresh)])
            self._store.metadata = replace(self._store.metadata, blobs=records)
        left = (
            Unadopted(ref.namespace, shown(ref.key), why)
            for ref, why in self._left.items()
            if ref not in self._adoptions
        )
        return Adopted(tuple(self._adoptions.values()), tuple(left))

    def _named(self, reached: Reach, refs: set[Ref]) -> dict[Ref, list[_NamedBlob]]:
        """Find the blobs on disk without a record, and the images and reachable documents that name them."""
        records, files = reached.graph.records, self._store.content.blobs
        named: dict[Ref, list[_NamedBlob]] = {}

        def name(namespace: bytes, descriptor: Descriptor, why: str, *, of_image: bool = True) -> None:
            ref = Ref(Kind.BLOB, namespace, descriptor.digest)
            if ref not in records and descriptor.digest in files:
                named.setdefault(ref, []).append(_NamedBlob(descriptor, why, of_image))

        for image in self._store.metadata.images:
            target = Descriptor(image.target, image.media_type, image.target_size)
            name(image.namespace, target, f"image {shown(image.name)} names it")
        recorded = sorted(ref for ref in refs if ref.kind is Kind.BLOB and ref in records)
        self._load(Digest(ref.key) for ref in recorded)
        of_images = mark(reached.graph, [image.ref for image in self._store.metadata.images])
        attestations = {
            child.digest
            for document in self._documents.values()
            for child in list_children(document)
            if child.is_attestation
        }
        for ref in recorded:
            for child in list_children(self._documents.get(Digest(ref.key))):
                if ref not in self._adoptions and not attestations.isdisjoint((ref.key, child.digest)):
                    # The document that names it kept its record, so no record was lost: a client left it out.
                    continue
                name(ref.namespace, child, f"{shown(ref.key)} names it", of_image=ref in of_images)
        return named

    def _whole(self, named: dict[Ref, list[_NamedBlob]], refs: set[Ref]) -> Iterator[tuple[Ref, _NamedBlob]]:
        """Find those that can be adopted now, and note the reason for the others."""
        files = self._store.content.blobs
        wanted: dict[Ref, list[_NamedBlob]] = {}
        for ref, sources in named.items():
            has = files[Digest(ref.key)].size
            fitting = [each for each in sources if each.descriptor.size in (None, has)]
            if not fitting:
                self._left[ref] = f"{sources[0].why} with {sources[0].descriptor.size} bytes; the file has {has}"
            elif ref not in refs:
                # A blob that only a lease holds, without labels, is BuildKit's, which intends that.
                if not any(each.of_image for each in fitting):
                    continue
                self._left[ref] = f"{fitting[0].why}, and has no label for it: the engine would collect it at once"
            else:
                wanted[ref] = fitting
        unread = self._hash({Digest(ref.key) for ref in wanted})
        self._load(Digest(ref.key) for ref in wanted if ref.key in self._right)
        for ref, sources in wanted.items():
            digest = Digest(ref.key)
            if digest in unread:
                self._left[ref] = unread[digest]
            elif digest in self._store.wrong:
                self._left[ref] = f"{sources[0].why}, and its bytes do not match its digest"
            elif (source := self._fitting(digest, sources)) is None:
                fault = self._faults.get(digest, "it is not what its media type says")
                self._left[ref] = f"{sources[0].why}; {fault}"
            else:
                yield ref, source

    def _fitting(self, digest: Digest, sources: list[_NamedBlob]) -> _NamedBlob | None:
        """The descriptor with the blob's real type: an image may declare another, which costs it its labels."""
        others: list[_NamedBlob] = []
        for each in sources:
            media_type = each.descriptor.media_type
            if not is_parent(media_type):
                others.append(each)
            elif digest not in self._faults and child_labels(media_type, self._documents.get(digest)):
                return each
        return others[0] if others else None

    def _hash(self, digests: set[Digest]) -> dict[Digest, str]:
        """Hash the blobs that were not hashed yet; give those that could not be read, with the reason."""
        files = [self._store.content.blobs[digest] for digest in digests - self._right - self._store.wrong]
        step = counter(self._progress, "bytes hashed", sum(file.size for file in files))
        wrong, findings = hash_blobs(self._store.root.path, files, step)
        unread = {Digest(finding.subject.encode()): finding.message for finding in findings}
        self._store.wrong |= wrong
        self._right |= {file.digest for file in files} - wrong - unread.keys()
        return unread

    def _load(self, digests: Iterable[Digest]) -> None:
        """Read the documents among some blobs, each once."""
        blobs = self._store.content.blobs
        new = {digest: blobs[digest] for digest in digests if digest in blobs and digest not in self._read}
        self._read |= new.keys()
        documents = read_documents(self._store.root.path, new.values(), self._room)
        self._room -= documents.bytes
        self._documents.update(documents.found)
        self._faults.update({digest: finding.message for digest, finding in documents.findings.items()})

    def _adoption(self, ref: Ref, named: _NamedBlob) -> Adoption:
        file = self._store.content.blobs[Digest(ref.key)]
        labels = child_labels(named.descriptor.media_type, self._documents.get(file.digest))
        return Adoption(ref, file.path, file.fingerprint, tuple(sorted(labels.items())), self._made, named.why)
