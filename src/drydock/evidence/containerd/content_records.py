"""The bucket ``content`` of a namespace: records of blobs and of ingests.

Sources: containerd core/metadata/content.go, migrations.go migrateIngests (v2.1).
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from itertools import chain
from typing import NamedTuple

from bbolt_reader import BoltError, Bucket, Form, Leaf
from drydock.evidence.containerd.encoding import (
    MAX_VARINT,
    TIME_BYTES,
    Undecodable,
    binary_time,
    binary_times,
    varint,
)
from drydock.evidence.containerd.record import CONTENT_LABEL, Ledger, bucket_name
from drydock.model import messages
from drydock.model.label_names import is_condition_of_nothing, may_be_a_gc_label
from drydock.model.names import DIGEST, Digest, Kind, Ref, UnixNano, are_digests
from drydock.model.progress import Progress, counter
from drydock.model.records import Blob, BlobRecords, Ingest, Labels, Metadata

_KEPT = 1024
_is_digest = DIGEST.match
_FIELDS = (b"createdat", b"size", b"updatedat")
_LABELLED = (b"createdat", b"labels", b"size", b"updatedat")
"""The fields of a usual record, in the order of the file."""
_FORMS = {
    form.size: (form.unpack, form.fixed[0])
    for form in (Form.of(_FIELDS, (TIME_BYTES, size, TIME_BYTES)) for size in range(1, MAX_VARINT + 1))
}
"""How a usual record without labels lies in the file, by its bytes, which differ with the size: what takes it apart,
and the first of its fixed parts. The others are the names of its last fields."""


class UsualWords:
    """Digests and labels that have nothing to report. Equal words are one object, to save memory.

    Attributes:
        digests: every valid digest met, by its bytes: a layer's digest is a key, and is in a label of each manifest
            that has the layer.
    """

    def __init__(self) -> None:
        self.digests: dict[bytes, Digest] = {}
        # Names of labels are few, and thousands of records have each; the names of a record by how many they are.
        self._words: dict[bytes, bytes] = {}
        self._names: dict[int, tuple[bytes, ...]] = {}

    def digest(self, raw: bytes) -> Digest | None:
        """``raw`` as a digest; None if it is not valid. Each digest is checked once."""
        known = self.digests.get(raw)
        if known is None and _is_digest(raw):
            known = self.digests[raw] = Digest(raw)
        return known

    def labels(self, names: tuple[bytes, ...], values: Sequence[bytes]) -> Labels | None:
        """The labels of a record; None if Record.labels would report something."""
        known = self._names.get(len(names), ())
        if names != known:
            if any(b"\0" in name or b"\xff" in name or _needs_a_look(name) for name in names):
                return None
            # A hostile file may have any number of names.
            words = self._words if len(self._words) < _KEPT else dict(self._words)
            known = tuple([words.setdefault(name, name) for name in names])
            if len(names) < _KEPT:
                self._names[len(names)] = known
        digests: list[Digest | None] = list(map(self.digests.get, values))
        if None in digests and are_digests(values):
            digests = list(map(self.digests.setdefault, values, map(Digest, values)))
        if None not in digests:
            return dict(zip(known, digests, strict=True))  # type: ignore[arg-type] # as just asked
        labels: dict[bytes, bytes] = {}
        for name, value, digest in zip(known, values, digests, strict=True):
            if digest is not None:
                labels[name] = digest
            elif name.startswith(CONTENT_LABEL):
                if not _is_digest(value):
                    return None
                labels[name] = self.digests[value] = Digest(value)
            elif b"\0" in value or b"\xff" in value:
                return None
            else:
                labels[name] = value
        return labels


def _needs_a_look(name: bytes) -> bool:
    """Whether the GC may follow a label in a way that drydock does not know, or that depends on the label's value."""
    return may_be_a_gc_label(name) or is_condition_of_nothing(name, b"")


class _TakenApart(NamedTuple):
    """The records of one page."""

    leaf: Leaf
    parts: list[tuple[bytes, ...]]
    """Of each record the parts of its form, as if it had no labels."""
    labels: list[tuple[int, Labels]]
    """Of records that have any, with their numbers."""


class UsualBlobs:
    """Reads the blob records of one meta.db that have nothing unusual.

    Attributes:
        newest: the latest time of any record.
    """

    def __init__(self, words: UsualWords, found: BlobRecords) -> None:
        self.newest: UnixNano | None = None
        self._words = words
        self._found = found

    def take_apart(self, leaf: Leaf) -> _TakenApart | None:
        """The records of a page; None if there may be something to report about one of them."""
        parts: list[tuple[bytes, ...]] = []
        labels: list[tuple[int, Labels]] = []
        try:
            for index, inline in enumerate(leaf.inlines()):
                form = None if inline is None else _FORMS.get(len(inline))
                if form is not None:
                    unpack, first = form
                    part = unpack(inline)
                    if part[0] == first:
                        parts.append(part)
                        continue
                found = self._labelled(leaf.value(index))
                if found is None:
                    return None
                labels.append((index, found[0]))
                created, size, updated = found[1]
                parts.append((b"", created, _FIELDS[1], size, _FIELDS[2], updated))
        except BoltError:
            return None
        return _TakenApart(leaf, parts, labels)

    def _labelled(self, value: bytes | Bucket) -> tuple[Labels, Sequence[bytes]] | None:
        """The labels and the other fields of a record; None if there may be something to report."""
        if not isinstance(value, Bucket):
            return None
        formed = value.formed()
        if formed is None:
            return self._met_first(value)
        form, fields = formed
        if form.keys_of(fields) != _LABELLED:
            return None
        names = form.below[1]
        if names is None or form.below != (None, names, None, None):
            return None
        created, *values, size, updated = form.values_of(fields)
        labels = self._words.labels(names, values)
        return None if labels is None else (labels, (created, size, updated))

    def _met_first(self, record: Bucket) -> tuple[Labels, Sequence[bytes]] | None:
        """As :meth:`_labelled`, of a record before which too few like it were met."""
        names, entries = _entries(record)
        if names != _LABELLED:
            return None
        created, in_labels, size, updated = entries
        if not (isinstance(created, bytes) and isinstance(size, bytes) and isinstance(updated, bytes)):
            return None
        names, entries = _entries(in_labels) if isinstance(in_labels, Bucket) else ((), ())
        texts = [each for each in entries if isinstance(each, bytes)]
        labels = self._words.labels(names, texts) if names and len(texts) == len(names) else None
        return None if labels is None else (labels, (created, size, updated))

    def add(self, namespace: bytes, pages: Sequence[_TakenApart]) -> bool:
        """Add the records of pages, if all of them have nothing to report; else none of them.

        Args:
            namespace: of the records.
            pages: in the order of the file.

        Returns:
            Whether they were added.
        """
        keys = list(chain.from_iterable([page.leaf.keys for page in pages]))
        parts = list(chain.from_iterable([page.parts for page in pages]))
        if not parts or not are_digests(keys):
            return False
        _, raw_created, names, raw_sizes, others, raw_updated = zip(*parts, strict=True)
        if set(names) != {_FIELDS[1]} or set(others) != {_FIELDS[2]}:
            return False
        try:
            known = {raw: varint(raw) for raw in set(raw_sizes)}
            sizes = array("q", map(known.__getitem__, raw_sizes))
            created = array("q", binary_times(raw_created))
            # Both are of one moment until a label is changed.
            updated = created if raw_created == raw_updated else array("q", binary_times(raw_updated))
        except (Undecodable, OverflowError):
            return False
        if min(sizes) < 0:
            return False
        newest = max(created) if updated is created else max(*created, *updated)
        self.newest = UnixNano(newest if self.newest is None else max(newest, self.newest))
        first = len(self._found)
        for page in pages:
            for index, labels in page.labels:
                self._found.labels[first + index] = labels
            first += len(page.parts)
        raws: list[Digest] = keys  # type: ignore[assignment] # as was checked
        self._found.extend(namespace, map(self._words.digests.setdefault, keys, raws), sizes, created, updated)
        return True


def _entries(bucket: Bucket) -> tuple[tuple[bytes, ...], tuple[bytes | Bucket, ...]]:
    """The keys and values of a bucket."""
    both = [(keys, values) for keys, values, _ in bucket.batches()]
    return tuple(chain.from_iterable(keys for keys, _ in both)), tuple(chain.from_iterable(each for _, each in both))


_OFTEN = 1000
_LEGACY_SCHEMA = 1
"""The last schema version with ingests in the bucket ``ingest``."""


class ContentReader:
    """Adds the records of every namespace to one Metadata."""

    def __init__(self, ledger: Ledger, found: Metadata, progress: Progress | None) -> None:
        self._ledger = ledger
        self._found = found
        self.words = UsualWords()
        self._usual = UsualBlobs(self.words, found.blobs)
        self._progress = progress
        self._legacy: tuple[bytes, ...] | None = None

    def end(self) -> None:
        """Finish, once all namespaces and the schema version are read."""
        found = self._found
        found.digests = self.words.digests
        if self._legacy is not None and found.schema_version > _LEGACY_SCHEMA:
            # The migration of the schema removes this bucket, so no engine reads it.
            self._ledger.blind(messages.OLD_INGESTS(version=found.schema_version), self._legacy)

    def digest(self, raw: bytes, bucket: Bucket) -> Digest:
        """A digest that a record in ``bucket`` names; an invalid one is reported."""
        digest = self.words.digest(raw)
        if digest is None:
            # The damaged bytes may have named data, which looks unnamed now.
            self._ledger.blind(messages.INVALID_DIGEST(bucket=bucket_name(bucket.path), value=raw), bucket.path)
            return Digest(raw)
        return digest

    def read(self, namespace: bytes, bucket: Bucket) -> None:
        """Read the bucket ``content`` of a namespace."""
        content = self._ledger.record(bucket)
        blobs = content.bucket(b"blob")
        if blobs is not None:
            self._blobs(namespace, blobs)
        ingests = content.bucket(b"ingests")
        if ingests is not None:
            for key, value in self._ledger.buckets(ingests):
                self._ingest(namespace, key, value)
        # containerd 1.1 and earlier have keys with backend refs here, and no buckets (metadata/migrations.go
        # migrateIngests).
        legacy = content.bucket(b"ingest")
        if legacy is not None:
            for key, raw in self._ledger.entries(legacy):
                self._legacy = legacy.path
                if isinstance(raw, bytes):
                    if not raw:
                        self._ledger.blind(messages.INGEST_WITHOUT_DATA(ingest=key), (*legacy.path, key))
                    self._found.ingests.append(Ingest(namespace, key, raw, None, None))
                else:
                    path = raw.path
                    self._ledger.blind(messages.BUCKET_AMONG_OLD_INGESTS(bucket=bucket_name(path)), path)
        content.finish()

    def _blobs(self, namespace: bytes, bucket: Bucket) -> None:
        told = self._counter(bucket)
        pages: list[_TakenApart] = []
        number = seen = 0
        for leaf in self._ledger.leaves(bucket):
            number += len(leaf.keys)
            seen += 1
            page = self._usual.take_apart(leaf)
            if page is not None:
                pages.append(page)
            if page is None or number >= _OFTEN:
                self._add_usual(namespace, bucket, pages)
                pages, number = [], 0
                if told is not None:
                    told(seen)
                    seen = 0
            if page is None:
                self._one_by_one(namespace, bucket, leaf)
        self._add_usual(namespace, bucket, pages)
        if told is not None:
            told(seen)
        self._ledger.saw(self._usual.newest)

    def _counter(self, bucket: Bucket) -> Callable[[int], None] | None:
        """Counts the pages of a bucket that are read, for the progress."""
        if self._progress is None:
            return None
        try:
            return counter(self._progress, "pages of blob records read", bucket.count_leaves())
        except BoltError:  # reported when the page is read
            return None

    def _add_usual(self, namespace: bytes, bucket: Bucket, pages: Sequence[_TakenApart]) -> None:
        if self._usual.add(namespace, pages):
            return
        for page in pages:
            if not self._usual.add(namespace, (page,)):
                self._one_by_one(namespace, bucket, page.leaf)

    def _one_by_one(self, namespace: bytes, bucket: Bucket, leaf: Leaf) -> None:
        for index, key in enumerate(leaf.keys):
            below = self._ledger.below(bucket, key, leaf.value(index))
            if below is not None:
                self._blob(namespace, key, below)

    def _blob(self, namespace: bytes, key: bytes, bucket: Bucket) -> None:
        record = self._ledger.record(bucket)
        self._found.blobs.append(
            Blob(
                Ref(Kind.BLOB, namespace, self.digest(key, bucket)),
                record.size(b"size"),
                record.labels(),
                record.time(b"createdat"),
                record.time(b"updatedat"),
            )
        )
        record.finish()

    def _ingest(self, namespace: bytes, key: bytes, bucket: Bucket) -> None:
        record = self._ledger.record(bucket)
        # Every ingest has a ref, also one without a file of its own (core/metadata/content.go Writer, v2.1).
        backend_ref = record.needed(b"ref")
        expires, expected = self._expiry(record.raw(b"expireat"), key, bucket), record.text(b"expected")
        digest = self.digest(expected, bucket) if expected else None
        self._found.ingests.append(Ingest(namespace, key, backend_ref, expires, digest))
        record.finish()

    def _expiry(self, raw: bytes | None, key: bytes, bucket: Bucket) -> UnixNano | None:
        if raw is None:
            return None
        try:
            return binary_time(raw)
        except Undecodable as error:
            # containerd's own collection ends with an error here, so the ingest counts as one that never expires.
            path = (*bucket.path, b"expireat")
            self._ledger.damage(messages.UNDECODABLE_EXPIRY(ingest=key, problem=str(error)), path)
            return UnixNano(2**63 - 1)
