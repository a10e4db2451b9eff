"""meta.db: every record that containerd keeps, in schema versions 1 to 4.

Sources: containerd core/metadata/buckets.go, migrations.go (v2.1); metadata/sandbox.go (v1.7) for the sandboxes outside
``v1``. A key or bucket that is not of this schema makes the reading incomplete, and then nothing is removed.
"""

from __future__ import annotations

from bbolt_reader import BoltError, Bucket, Database
from drydock.evidence.containerd.content_records import ContentReader
from drydock.evidence.containerd.encoding import Undecodable, binary_time, varint
from drydock.evidence.containerd.record import Ledger, Record, bucket_name
from drydock.model import messages
from drydock.model.names import Digest, RawPath
from drydock.model.progress import Progress
from drydock.model.records import NO_LABELS, Container, Image, Lease, Metadata, Sandbox, Snapshot

_IMAGE = (b"createdat", b"target", b"updatedat")
_LABELLED_IMAGE = (b"createdat", b"labels", b"target", b"updatedat")
"""The fields of a usual record of an image, in the order of the file."""
_TARGET = (b"digest", b"mediatype", b"size")
"""Those of its target."""
NEWEST_SCHEMA = 4
"""The last schema version whose buckets are all known to this module (containerd 2.0 to 2.3)."""


def read_metadata(database: Database, path: RawPath, progress: Progress | None = None) -> Metadata:
    """Read all records of an open meta.db.

    Args:
        database: the open file.
        path: the name of the file in findings.
        progress: told how many of the pages with records of blobs are read.

    Returns:
        The records; ``complete`` is False if anything could not be read or understood.
    """
    return _MetadataReader(database, path, progress).read()


class _MetadataReader:
    """Reads one meta.db into one Metadata."""

    def __init__(self, database: Database, path: RawPath, progress: Progress | None) -> None:
        self._root = database.root
        self._ledger = Ledger(path)
        self._found = Metadata(path, schema_version=0)
        self._content = ContentReader(self._ledger, self._found, progress)

    def read(self) -> Metadata:
        """Walk the file once."""
        found, ledger = self._found, self._ledger
        v1: Bucket | None = None
        for key, value in ledger.entries(self._root):
            if isinstance(value, bytes):
                ledger.blind(messages.KEY_OUTSIDE_BUCKETS(key=key), (key,))
            elif key == b"v1":
                v1 = value
            else:
                self._outside_v1(key, value)
        if v1 is None:
            ledger.blind(messages.EMPTY_DATABASE(), ())
        else:
            self._v1(v1)
        self._content.end()
        found.findings, found.complete, found.newest = ledger.findings, ledger.complete, ledger.newest
        return found

    def _v1(self, v1: Bucket) -> None:
        for key, value in self._ledger.entries(v1):
            if isinstance(value, bytes):
                self._version(key, value)
            else:
                self._namespace(key, value)

    def _version(self, key: bytes, value: bytes) -> None:
        ledger, path = self._ledger, (b"v1", key)
        if key != b"version":
            ledger.blind(messages.UNKNOWN_KEY(name=bucket_name(path)), path)
            return
        # containerd writes it with PutVarint. A version that cannot be read may be a newer one.
        try:
            version = varint(value)
        except Undecodable as error:
            ledger.blind(messages.UNDECODABLE(field=bucket_name(path), problem=str(error)), path)
            return
        if version < 0:
            ledger.blind(messages.FIELD_IS_NEGATIVE(field=bucket_name(path), number=version), path)
            return
        self._found.schema_version = version
        if self._found.schema_version > NEWEST_SCHEMA:
            ledger.blind(messages.NEWER_SCHEMA(version=version, newest=NEWEST_SCHEMA), path)

    def _namespace(self, name: bytes, bucket: Bucket) -> None:
        record = self._ledger.record(bucket)
        self._found.namespaces[name] = record.labels()
        readers = {
            b"images": self._image,
            b"containers": self._container,
            b"leases": self._lease,
            b"sandboxes": self._sandbox,
        }
        for field, read in readers.items():
            kind = record.bucket(field)
            if kind is not None:
                for key, value in self._ledger.buckets(kind):
                    read(name, key, value)
        snapshotters = record.bucket(b"snapshots")
        if snapshotters is not None:
            for snapshotter, snapshots in self._ledger.buckets(snapshotters):
                self._found.sequences[name, snapshotter] = snapshots.sequence
                for key, value in self._ledger.buckets(snapshots):
                    self._snapshot(name, snapshotter, key, value)
        content = record.bucket(b"content")
        if content is not None:
            self._content.read(name, content)
        record.finish()

    def _image(self, namespace: bytes, name: bytes, bucket: Bucket) -> None:
        usual = self._usual_image(namespace, name, bucket)
        if usual is not None:
            self._found.images.append(usual)
            return
        record = self._ledger.record(bucket)
        target = record.bucket(b"target")
        digest, media_type, size = Digest(b""), b"", None
        if target is None:
            # The blob that it named looks unnamed now.
            self._ledger.blind(messages.IMAGE_WITHOUT_TARGET(image=name), bucket.path)
        else:
            fields = self._ledger.record(target)
            digest = self._content.digest(fields.text(b"digest"), bucket)
            media_type, size = fields.text(b"mediatype"), fields.size(b"size")
            fields.finish()
        record.skip(b"annotations")
        self._found.images.append(
            Image(
                namespace,
                name,
                digest,
                media_type,
                size,
                record.labels(),
                record.time(b"createdat"),
                record.time(b"updatedat"),
            )
        )
        record.finish()

    def _usual_image(self, namespace: bytes, name: bytes, bucket: Bucket) -> Image | None:
        """An image's record that is like others; None if it may have something to report."""
        try:
            formed = bucket.formed()
        except BoltError:
            return None
        if formed is None:
            return None
        form, fields = formed
        labelled = form.keys_of(fields) == _LABELLED_IMAGE
        if not labelled and form.keys_of(fields) != _IMAGE:
            return None
        names = form.below[1] if labelled else ()
        if names is None or form.below != ((None, names) if labelled else (None,)) + (_TARGET, None):
            return None
        raw_created, *values, raw_digest, media_type, raw_size, raw_updated = form.values_of(fields)
        words = self._content.words
        labels = words.labels(names, values) if labelled else NO_LABELS
        digest = words.digest(raw_digest)
        if labels is None or digest is None or b"\0" in media_type or b"\xff" in media_type:
            return None
        try:
            created, size = binary_time(raw_created), varint(raw_size)
            updated = created if raw_updated == raw_created else binary_time(raw_updated)
        except Undecodable:
            return None
        if size < 0:
            return None
        self._ledger.saw(max(created, updated))
        return Image(namespace, name, digest, media_type, size, labels, created, updated)

    def _container(self, namespace: bytes, key: bytes, bucket: Bucket) -> None:
        record = self._ledger.record(bucket)
        record.skip(b"spec", b"extensions")
        self._found.containers.append(
            Container(
                namespace,
                key,
                record.text(b"image"),
                # Docker's containers have empty ones; containers.go writeContainer always writes both.
                record.written(b"snapshotter"),
                record.written(b"snapshotKey"),
                record.text(b"sandboxid"),
                self._runtime(record),
                record.labels(),
                record.time(b"createdat"),
                record.time(b"updatedat"),
            )
        )
        record.finish()

    def _snapshot(self, namespace: bytes, snapshotter: bytes, key: bytes, bucket: Bucket) -> None:
        record = self._ledger.record(bucket)
        self._found.snapshots.append(
            Snapshot(
                namespace,
                snapshotter,
                key,
                record.needed(b"name"),
                record.text(b"parent"),
                record.keys(b"children"),
                record.labels(),
                record.time(b"createdat"),
                record.time(b"updatedat"),
            )
        )
        record.finish()

    def _lease(self, namespace: bytes, key: bytes, bucket: Bucket) -> None:
        record = self._ledger.record(bucket)
        snapshots: list[tuple[bytes, bytes]] = []
        snapshotters = record.bucket(b"snapshots")
        if snapshotters is not None:
            for snapshotter, keys in self._ledger.buckets(snapshotters):
                snapshots.extend((snapshotter, snapshot) for snapshot in self._ledger.keys(keys))
        self._found.leases.append(
            Lease(
                namespace,
                key,
                record.labels(),
                tuple(self._content.digest(digest, bucket) for digest in record.keys(b"content")),
                record.keys(b"ingests"),
                record.keys(b"images"),
                tuple(snapshots),
                record.time(b"createdat"),
            )
        )
        record.finish()

    def _sandbox(self, namespace: bytes, key: bytes, bucket: Bucket, *, outside_v1: bool = False) -> None:
        record = self._ledger.record(bucket)
        record.skip(b"spec", b"extensions")
        self._found.sandboxes.append(
            Sandbox(
                namespace,
                key,
                record.text(b"sandboxer"),
                self._runtime(record),
                record.labels(),
                outside_v1,
                record.time(b"createdat"),
                record.time(b"updatedat"),
            )
        )
        record.finish()

    def _runtime(self, record: Record) -> bytes:
        runtime = record.bucket(b"runtime")
        if runtime is None:
            return b""
        fields = self._ledger.record(runtime)
        name = fields.text(b"name")
        fields.skip(b"options")
        fields.finish()
        return name

    def _outside_v1(self, namespace: bytes, bucket: Bucket) -> None:
        record = self._ledger.record(bucket)
        sandboxes = record.bucket(b"sandboxes")
        if sandboxes is not None:
            for key, value in self._ledger.buckets(sandboxes):
                self._sandbox(namespace, key, value, outside_v1=True)
        record.finish()
