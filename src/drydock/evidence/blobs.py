"""Blob records as containerd writes them: most of all records, so each is read in as few steps as can be.

Source: containerd core/metadata/content.go, boltutil/helpers.go (v2.1). Whatever has anything to report is left to
:class:`drydock.evidence.record.Record`, which says what.
"""

from __future__ import annotations

from bbolt_reader import BoltError, Bucket
from drydock.evidence.encoding import Undecodable, binary_time, varint
from drydock.evidence.record import CONTENT_LABEL, NO_LABELS
from drydock.model.label_names import is_condition_of_nothing, may_be_the_collectors
from drydock.model.names import DIGEST, Digest, Kind, Ref, UnixNano
from drydock.model.records import Blob, Labels

_KEPT = 1024
_BLOB = Kind.BLOB
_is_digest = DIGEST.match
_NEW = tuple.__new__
"""Makes a named tuple without the Python call that its own class makes."""


class UsualBlobs:
    """Reads the blob records of one meta.db; words that many of them have are kept in memory once.

    Attributes:
        digests: every digest met, each by itself: a layer's is a key of its own, and in a label of each manifest that
            has it. All of them are valid.
        newest: the latest time of any record.
    """

    def __init__(self) -> None:
        self.digests: dict[bytes, Digest] = {}
        self.newest: UnixNano | None = None
        # Names of labels: a few, each on thousands of records.
        self._names: dict[bytes, bytes] = {}

    def digest(self, raw: bytes) -> Digest | None:
        """The digest that ``raw`` is; None where it is none. Each is checked once."""
        known = self.digests.get(raw)
        if known is None and _is_digest(raw):
            known = self.digests[raw] = Digest(raw)
        return known

    def read(self, namespace: bytes, key: bytes, bucket: Bucket) -> Blob | None:
        """A record without anything to report; None where there may be something."""
        try:
            fields = dict(bucket.items())
            field = fields.get
            raw_size, raw_created, raw_updated = field(b"size"), field(b"createdat"), field(b"updatedat")
            if type(raw_size) is not bytes or type(raw_created) is not bytes or type(raw_updated) is not bytes:
                return None
            labels: Labels | None = NO_LABELS
            if len(fields) != 3:
                in_labels = field(b"labels")
                if len(fields) != 4 or not isinstance(in_labels, Bucket):
                    return None
                labels = self._labels(in_labels)
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
        """The labels of a record; None where Record.labels has something to say."""
        labels: dict[bytes, bytes] = {}
        names, digests = self._names, self.digests
        for name, value in bucket.items():
            known = names.get(name)
            if known is None:
                if b"\0" in name or b"\xff" in name or may_be_the_collectors(name):
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
