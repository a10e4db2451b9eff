"""The ``content`` of a namespace: records of blobs and of writes.

Sources: containerd core/metadata/content.go, migrations.go migrateIngests (v2.1).
"""

from __future__ import annotations

from collections.abc import Callable

from bbolt_reader import Bucket
from drydock.evidence.blobs import UsualBlobs
from drydock.evidence.encoding import Undecodable, binary_time
from drydock.evidence.record import Ledger
from drydock.model.findings import Severity
from drydock.model.names import Digest, Kind, Ref, UnixNano
from drydock.model.records import Blob, Ingest, Metadata
from drydock.model.text import shown

_OFTEN = 1000
_LEGACY_SCHEMA = 1
"""The last schema version with writes below ``ingest``."""


class ContentReader:
    """Adds the records of every namespace to one Metadata."""

    def __init__(self, ledger: Ledger, found: Metadata, progress: Callable[[int], None] | None) -> None:
        self._ledger = ledger
        self._found = found
        self._usual = UsualBlobs()
        self._progress = progress
        self._legacy: tuple[bytes, ...] | None = None

    def end(self) -> None:
        """Say what is known when all namespaces and the schema version were read."""
        found = self._found
        found.digests = self._usual.digests
        if self._legacy is not None and found.schema_version > _LEGACY_SCHEMA:
            # The migration removes them: no engine reads these.
            message = f"writes of schema 1 in a file of {found.schema_version}"
            self._ledger.blind("unknown-bucket", self._legacy, message)

    def digest(self, raw: bytes, bucket: Bucket) -> Digest:
        """A digest that a record in ``bucket`` names; one that is none is said."""
        digest = self._usual.digest(raw)
        if digest is None:
            # Bytes that were a digest once may name data that looks unnamed now.
            self._ledger.blind("invalid-digest", bucket.path, f"{shown(raw)} is not a digest", Severity.DAMAGE)
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
        # containerd 1.1 and earlier: ref to backend ref, no bucket of its own (metadata/migrations.go migrateIngests).
        legacy = content.bucket(b"ingest")
        if legacy is not None:
            for key, raw in self._ledger.entries(legacy):
                self._legacy = legacy.path
                if isinstance(raw, bytes):
                    if not raw:
                        message = f"ingest {shown(key)}: names no data"
                        self._ledger.blind("undecodable", (*legacy.path, key), message, Severity.DAMAGE)
                    self._found.ingests.append(Ingest(namespace, key, raw, None, None))
                else:
                    self._ledger.blind("unknown-bucket", raw.path, "a bucket among the ingests of schema 1")
        content.finish()

    def _blobs(self, namespace: bytes, bucket: Bucket) -> None:
        ledger, read, append = self._ledger, self._usual.read, self._found.blobs.append
        for number, (key, value) in enumerate(ledger.entries(bucket), 1):
            if self._progress is not None and not number % _OFTEN:
                self._progress(_OFTEN)
            blob = None if isinstance(value, bytes) else read(namespace, key, value)
            if blob is not None:
                append(blob)
            elif (below := ledger.below(bucket, key, value)) is not None:
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
        # Every ingest has a ref, one that has no file of its own too (core/metadata/content.go Writer, v2.1).
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
            self._ledger.damage(
                "undecodable-expiry",
                (*bucket.path, b"expireat"),
                f"ingest {shown(key)}: expireat: {error}; containerd collects nothing while this stands",
            )
            return UnixNano(2**63 - 1)
