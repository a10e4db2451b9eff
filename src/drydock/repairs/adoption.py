"""Whole blobs without a record that an image needs: found from what names them, down, and hashed.

What is put in is the record that containerd writes when a blob is committed (core/metadata/content.go commit, v2.1),
with the labels that a pull gives it for what it names (:func:`drydock.verdict.labels.child_labels`). The label that
says where it was pulled from, ``containerd.io/distribution.source.*``, is left out: nothing tells, and the next pull of
the image adds it (core/remotes/docker/handler.go AppendDistributionSourceLabel, v2.1). So is
``containerd.io/uncompressed``, which spares the engine to decompress a layer for its digest (images/diffid.go
GetDiffID, v1.6). A blob of which only another namespace has a record counts, as it does for a pull
(core/metadata/content.go Writer, v2.1, the shared policy).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import NamedTuple

from drydock.evidence.containerd.digests import hash_blobs
from drydock.evidence.containerd.manifests import ALL_DOCUMENTS, read_documents
from drydock.model.names import Digest, Kind, Ref, UnixNano
from drydock.model.oci import Descriptor, Document, list_children
from drydock.model.plans import Adoption
from drydock.model.progress import Progress, counter
from drydock.model.repairs import Adopted, Unadopted
from drydock.model.store import Store
from drydock.model.text import shown
from drydock.model.verifications import Completeness, ImageState
from drydock.verdict.judge import Reach, reach
from drydock.verdict.labels import child_labels, is_parent
from drydock.verdict.reach import mark

_DEEPEST = 8
"""Rounds, one for each document in another: index, manifest, config. Only a hostile store has many more."""


class _Named(NamedTuple):
    """What names a blob."""

    descriptor: Descriptor
    why: str
    """One shown line."""
    of_image: bool
    """Whether an image reaches what names it."""


def adopt(store: Store, now: UnixNano, made: UnixNano, progress: Progress | None = None) -> Adopted:
    """Find and hash the blobs that are to get a record back. The store then has these records, as if they were there.

    What has wrong bytes goes to ``store.wrong``, and is never adopted.

    Args:
        store: as read, from a database that can be edited.
        now: what expiries are compared with.
        made: the time of the records.
        progress: told of the bytes hashed.
    """
    return _Adopter(store, now, made, progress).adopt()


def made_whole(before: Iterable[ImageState], after: Iterable[ImageState]) -> Iterator[Ref]:
    """The images that have all of a platform that they had not."""

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
        """Go down, document by document, until nothing more is named."""
        for _ in range(_DEEPEST):
            reached = reach(self._store, self._now)
            refs = set(reached.refs())
            fresh = [self._adoption(ref, named) for ref, named in self._whole(self._named(reached, refs), refs)]
            if not fresh:
                break
            self._adoptions.update({adoption.ref: adoption for adoption in fresh})
            records = [*self._store.metadata.blobs, *(adoption.record() for adoption in fresh)]
            self._store.metadata = replace(self._store.metadata, blobs=records)
        left = (
            Unadopted(ref.namespace, shown(ref.key), why)
            for ref, why in self._left.items()
            if ref not in self._adoptions
        )
        return Adopted(tuple(self._adoptions.values()), tuple(left))

    def _named(self, reached: Reach, refs: set[Ref]) -> dict[Ref, list[_Named]]:
        """The blobs without a record that lie on disk, and what of what is reached in their namespace names them."""
        records, files = reached.graph.records, self._store.content.blobs
        named: dict[Ref, list[_Named]] = {}

        def name(namespace: bytes, descriptor: Descriptor, why: str, *, of_image: bool = True) -> None:
            ref = Ref(Kind.BLOB, namespace, descriptor.digest)
            if ref not in records and descriptor.digest in files:
                named.setdefault(ref, []).append(_Named(descriptor, why, of_image))

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
                    # What names it kept its record, so nothing was lost: a client left the attestation out.
                    continue
                name(ref.namespace, child, f"{shown(ref.key)} names it", of_image=ref in of_images)
        return named

    def _whole(self, named: dict[Ref, list[_Named]], refs: set[Ref]) -> Iterator[tuple[Ref, _Named]]:
        """Those that can be adopted now; of the others it is noted why not."""
        files = self._store.content.blobs
        wanted: dict[Ref, list[_Named]] = {}
        for ref, sources in named.items():
            has = files[Digest(ref.key)].size
            fitting = [each for each in sources if each.descriptor.size in (None, has)]
            if not fitting:
                self._left[ref] = f"{sources[0].why} with {sources[0].descriptor.size} bytes; the file has {has}"
            elif ref not in refs:
                # What only a lease holds without labels is BuildKit's, and meant so.
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
                self._left[ref] = f"{sources[0].why}, and its bytes do not hash to its digest"
            elif (source := self._fitting(digest, sources)) is None:
                fault = self._faults.get(digest, "it is not what its media type says")
                self._left[ref] = f"{sources[0].why}; {fault}"
            else:
                yield ref, source

    def _fitting(self, digest: Digest, sources: list[_Named]) -> _Named | None:
        """What calls a blob what it is: anybody's image may call it something else, which would cost it its labels."""
        others: list[_Named] = []
        for each in sources:
            media_type = each.descriptor.media_type
            if not is_parent(media_type):
                others.append(each)
            elif digest not in self._faults and child_labels(media_type, self._documents.get(digest)):
                return each
        return others[0] if others else None

    def _hash(self, digests: set[Digest]) -> dict[Digest, str]:
        """Hash what was not; gives those that could not be read, with the reason."""
        files = [self._store.content.blobs[digest] for digest in digests - self._right - self._store.wrong]
        step = counter(self._progress, "bytes hashed", sum(file.size for file in files))
        wrong, findings = hash_blobs(self._store.root.path, files, step)
        unread = {Digest(finding.subject.encode()): finding.message for finding in findings}
        self._store.wrong |= wrong
        self._right |= {file.digest for file in files} - wrong - unread.keys()
        return unread

    def _load(self, digests: Iterable[Digest]) -> None:
        """Read what documents there are among some blobs, each once."""
        blobs = self._store.content.blobs
        new = {digest: blobs[digest] for digest in digests if digest in blobs and digest not in self._read}
        self._read |= new.keys()
        documents = read_documents(self._store.root.path, new.values(), self._room)
        self._room -= documents.bytes
        self._documents.update(documents.found)
        self._faults.update({digest: finding.message for digest, finding in documents.findings.items()})

    def _adoption(self, ref: Ref, named: _Named) -> Adoption:
        file = self._store.content.blobs[Digest(ref.key)]
        labels = child_labels(named.descriptor.media_type, self._documents.get(file.digest))
        return Adoption(ref, file.path, file.fingerprint, tuple(sorted(labels.items())), self._made, named.why)
