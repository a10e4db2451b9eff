"""The bucket ``content`` of a namespace: records of blobs and of ingests.

Sources: containerd core/metadata/content.go, migrations.go migrateIngests (v2.1).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bbolt_reader import BoltError, Bucket
from drydock.evidence.containerd.encoding import Undecodable, binary_time, varint
from drydock.evidence.containerd.record import CONTENT_LABEL, NO_LABELS, Ledger, bucket_name
from drydock.model import messages
from drydock.model.label_names import is_condition_of_nothing, may_be_a_gc_label
from drydock.model.names import DIGEST, Digest, Kind, Ref, UnixNano
from drydock.model.records import Blob, Ingest, Labels, Metadata

_KEPT = 1024
_BLOB = Kind.BLOB
_is_digest = DIGEST.match
_FIELDS = (b"createdat", b"size", b"updatedat")
_LABELLED = (b"createdat", b"labels", b"size", b"updatedat")
"""The fields of a usual record, in the order of the file."""
_NEW = tuple.__new__
"""Makes a named tuple without calling the ``__new__`` of its class, which is Python code."""


class UsualBlobs:
    """Reads the blob records of one meta.db that have nothing unusual. Equal words are one object, to save memory.

    Attributes:
        digests: every valid digest met, by its bytes: a layer's digest is a key, and is in a label of each manifest
            that has the layer.
        newest: the latest time of any record.
    """

    def __init__(self) -> None:
        self.digests: dict[bytes, Digest] = {}
        self.newest: UnixNano | None = None
        # Names of labels are few, and thousands of records have each.
        self._names: dict[bytes, bytes] = {}

    def digest(self, raw: bytes) -> Digest | None:
        """``raw`` as a digest; None if it is not valid. Each digest is checked once."""
        known = self.digests.get(raw)
        if known is None and _is_digest(raw):
            known = self.digests[raw] = Digest(raw)
        return known

    def read(
        self, namespace: bytes, key: bytes, names: Sequence[bytes], fields: Sequence[bytes | Bucket]
    ) -> Blob | None:
        """A record with nothing to report; None if there may be something to report.

        Args:
            namespace: of the record.
            key: of the record.
            names: the keys in the record's bucket.
            fields: their values.
        """
        labels: Labels | None = NO_LABELS
        try:
            if names == _FIELDS:
                raw_created, raw_size, raw_updated = fields
            elif names == _LABELLED:
                raw_created, in_labels, raw_size, raw_updated = fields
                labels = self._labels(in_labels) if isinstance(in_labels, Bucket) else None
            else:
                return None
            if type(raw_size) is not bytes or type(raw_created) is not bytes or type(raw_updated) is not bytes:
                return None
            size, created = varint(raw_size), binary_time(raw_created)
            updated = created if raw_updated == raw_created else binary_time(raw_updated)
        except (BoltError, Undecodable):
            return None
        digest = self.digests.get(key) or self.digest(key)
        if digest is None or labels is None or size < 0:
            return None
        newest = self.newest
        if newest is None or updated > newest or created > newest:
            self.newest = max(created, updated)
        return _NEW(Blob, (_NEW(Ref, (_BLOB, namespace, digest)), size, labels, created, updated))

    def _labels(self, bucket: Bucket) -> Labels | None:
        """The labels of a record; None if Record.labels would report something."""
        labels: dict[bytes, bytes] = {}
        names, digests = self._names, self.digests
        for name, value in bucket.items():
            known = names.get(name)
            if known is None:
                if b"\0" in name or b"\xff" in name or may_be_a_gc_label(name):
                    return None
                known = names.setdefault(name, name) if len(names) < _KEPT else name
            if type(value) is not bytes:
                return None
            digest = digests.get(value)
            if digest is None:
                if name.startswith(CONTENT_LABEL):
                    if not _is_digest(value):
                        return None
                    digest = digests[value] = Digest(value)
                elif is_condition_of_nothing(name, value) or b"\0" in value or b"\xff" in value:
                    return None
            labels[known] = digest or value
        return labels


def _entries(value: bytes | Bucket) -> tuple[Sequence[bytes], Sequence[bytes | Bucket]]:
    """The keys and values of a bucket; none if it has more than a page of them, or cannot be read."""
    if isinstance(value, bytes):
        return (), ()
    try:
        batches = value.batches()
    except BoltError:
        return (), ()
    return batches[0][:2] if type(batches) is tuple else ((), ())


_OFTEN = 1000
_LEGACY_SCHEMA = 1
"""The last schema version with ingests in the bucket ``ingest``."""


class ContentReader:
    """Adds the records of every namespace to one Metadata."""

    def __init__(self, ledger: Ledger, found: Metadata, progress: Callable[[int], None] | None) -> None:
        self._ledger = ledger
        self._found = found
        self._usual = UsualBlobs()
        self._progress = progress
        self._legacy: tuple[bytes, ...] | None = None

    def end(self) -> None:
        """Finish, once all namespaces and the schema version are read."""
        found = self._found
        found.digests = self._usual.digests
        if self._legacy is not None and found.schema_version > _LEGACY_SCHEMA:
            # The migration of the schema removes this bucket, so no engine reads it.
            self._ledger.blind(messages.OLD_INGESTS(version=found.schema_version), self._legacy)

    def digest(self, raw: bytes, bucket: Bucket) -> Digest:
        """A digest that a record in ``bucket`` names; an invalid one is reported."""
        digest = self._usual.digest(raw)
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
        ledger, read, append = self._ledger, self._usual.read, self._found.blobs.append
        number = 0
        for leaf in ledger.leaves(bucket):
            for index, key, names, fields in leaf.records():
                number += 1
                if self._progress is not None and not number % _OFTEN:
                    self._progress(_OFTEN)
                value: bytes | Bucket = b""
                if not names:
                    value = leaf.value(index)
                    names, fields = _entries(value)  # noqa: PLW2901 - what it has, where records() does not say so
                blob = read(namespace, key, names, fields)
                if blob is not None:
                    append(blob)
                elif (below := ledger.below(bucket, key, value or leaf.value(index))) is not None:
                    self._blob(namespace, key, below)
        ledger.saw(self._usual.newest)

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
