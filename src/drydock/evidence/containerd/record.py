"""One record of meta.db or metadata.db, which is a bucket: its decoded fields, and findings about them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from bbolt_reader import BoltError, Bucket, Leaf
from drydock.evidence.containerd.encoding import Undecodable, binary_time, uvarint, varint
from drydock.model import messages
from drydock.model.findings import Finding, FindingCode, Place
from drydock.model.label_names import is_condition_of_nothing, may_be_a_gc_label
from drydock.model.messages import Text
from drydock.model.names import RawPath, UnixNano, is_digest
from drydock.model.records import NO_LABELS, Labels
from drydock.model.text import shown

_LISTED = 1000
CONTENT_LABEL = b"containerd.io/gc.ref.content"
_NUL, _ONES = b"\0", b"\xff\xff"
"""Bytes that lost parts of a disk read as. No name contains them, because names reach containerd as UTF-8."""


class Ledger:
    """Collects findings about one database file, and whether anything in it was not read or not understood."""

    def __init__(self, file: RawPath) -> None:
        self.file = file
        self.findings: list[Finding] = []
        self.complete = True
        self.newest: UnixNano | None = None
        self._counts: dict[FindingCode, int] = {}

    def blind(self, text: Text, bucket: tuple[bytes, ...]) -> None:
        """Report something that was not read or not understood: whatever depends on it must be withheld."""
        self.complete = False
        self.damage(text, bucket)

    def damage(self, text: Text, bucket: tuple[bytes, ...]) -> None:
        """Report damage that removal does not depend on."""
        self._add(text.at(Place(self.file, bucket=bucket)))

    def entries(self, bucket: Bucket) -> Iterator[tuple[bytes, bytes | Bucket]]:
        """The entries of a bucket, up to the first page that cannot be read, which is reported."""
        try:
            yield from bucket.items()
        except BoltError as error:
            self._unread(bucket, error)

    def leaves(self, bucket: Bucket) -> Iterator[Leaf]:
        """The pages of a bucket, as :meth:`entries`."""
        try:
            yield from bucket.leaves()
        except BoltError as error:
            self._unread(bucket, error)

    def fields(self, bucket: Bucket) -> dict[bytes, bytes | Bucket]:
        """As :meth:`entries`, all at once."""
        fields: dict[bytes, bytes | Bucket] = {}
        try:
            for keys, values, _ in bucket.batches():
                fields.update(zip(keys, values, strict=True))
        except BoltError as error:
            self._unread(bucket, error)
        return fields

    def buckets(self, bucket: Bucket) -> Iterator[tuple[bytes, Bucket]]:
        """The sub-buckets of a bucket that may have nothing else."""
        for key, value in self.entries(bucket):
            below = self.below(bucket, key, value)
            if below is not None:
                yield key, below

    def below(self, bucket: Bucket, key: bytes, value: bytes | Bucket) -> Bucket | None:
        """An entry of a bucket that may have sub-buckets only; None if the entry is a key, which is reported."""
        if isinstance(value, bytes):
            self.blind(messages.KEY_AMONG_BUCKETS(bucket=bucket_name(bucket.path), key=key), bucket.path)
            return None
        if _NUL in key or _ONES in key:
            self.named(bucket, key)
        return value

    def keys(self, bucket: Bucket) -> Iterator[bytes]:
        """The keys of a bucket that is a set, whose values are empty."""
        for key, value in self.entries(bucket):
            if not isinstance(value, bytes):
                self.blind(messages.BUCKET_AMONG_KEYS(bucket=bucket_name(value.path)), value.path)
            else:
                if _NUL in key or _ONES in key:
                    self.named(bucket, key)
                yield key

    def named(self, bucket: Bucket, *words: bytes) -> None:
        """Report words in a bucket that were written over: the data that they named looks unnamed now."""
        for word in words:
            if _NUL in word or _ONES in word:
                self.blind(messages.OVERWRITTEN_NAME(bucket=bucket_name(bucket.path), name=word), bucket.path)

    def record(self, bucket: Bucket) -> Record:
        """The fields of a bucket that is one record."""
        return Record(self, bucket)

    def saw(self, time: UnixNano | None) -> None:
        """Keep the latest time met."""
        if time is not None and (self.newest is None or time > self.newest):
            self.newest = time

    def _unread(self, bucket: Bucket, error: BoltError) -> None:
        self.complete = False
        place = Place(self.file, error.page, error.offset, bucket.path)
        name = bucket_name(bucket.path)
        self._add(messages.UNREADABLE_PAGE(bucket=name, problem=str(error), file=self.file).at(place))

    def _add(self, finding: Finding) -> None:
        # A hostile file has a fault every few bytes: its findings must not take many times its size.
        count = self._counts[finding.code] = self._counts.get(finding.code, 0) + 1
        if count <= _LISTED:
            self.findings.append(finding)
        elif count == _LISTED + 1:
            more = messages.unlisted(finding.code)(file=self.file, limit=_LISTED)
            self.findings.append(more.at(Place(self.file), severity=finding.severity))


class Record:
    """The fields of one record. Each read takes a field out; :meth:`finish` reports those that nobody asked for."""

    __slots__ = ("_bucket", "_fields", "_ledger")

    def __init__(self, ledger: Ledger, bucket: Bucket) -> None:
        self._ledger = ledger
        self._bucket = bucket
        self._fields = ledger.fields(bucket)

    def raw(self, field: bytes) -> bytes | None:
        """The bytes of a field; None if there is no such field."""
        value = self._fields.pop(field, None)
        if value is None or isinstance(value, bytes):
            return value
        self._wrong(field, messages.FIELD_IS_BUCKET(field=self._name(field)))
        return None

    def text(self, field: bytes) -> bytes:
        """A field that is a string; empty if there is no such field."""
        text = self.raw(field) or b""
        if _NUL in text or _ONES in text:
            self._ledger.named(self._bucket, text)
        return text

    def skip(self, *fields: bytes) -> None:
        """Take out fields that are known and not needed."""
        for field in fields:
            self._fields.pop(field, None)

    def time(self, field: bytes) -> UnixNano | None:
        """A field that is a binary time; None if there is no such field, or it cannot be decoded."""
        raw = self.raw(field)
        if raw is None:
            return None
        try:
            time = binary_time(raw)
        except Undecodable as error:
            path = (*self._bucket.path, field)
            self._ledger.damage(messages.UNDECODABLE_TIME(field=bucket_name(path), problem=str(error)), path)
            return None
        self._ledger.saw(time)
        return time

    def signed(self, field: bytes) -> int | None:
        """A field that is a zigzag varint; None if there is no such field, or it cannot be decoded."""
        return self._number(field, varint)

    def size(self, field: bytes) -> int | None:
        """A field that is a zigzag varint of at least 0; None if there is no such field, or it is something else."""
        number = self.signed(field)
        if number is not None and number < 0:
            self._wrong(field, messages.FIELD_IS_NEGATIVE(field=self._name(field), number=number))
            return None
        return number

    def needed(self, field: bytes) -> bytes:
        """A string that every record of the kind has. If it is missing, the data that it named looks unnamed."""
        if not self._fields.get(field, b""):
            self._fields.pop(field, None)
            self._wrong(field, messages.FIELD_IS_EMPTY(field=self._name(field)))
            return b""
        return self.text(field)

    def written(self, field: bytes) -> bytes:
        """A string that every record of the kind has, empty or not."""
        if field not in self._fields:
            self._wrong(field, messages.FIELD_IS_MISSING(field=self._name(field)))
        return self.text(field)

    def unsigned(self, field: bytes) -> int | None:
        """A field that is an unsigned varint; None if there is no such field, or it cannot be decoded."""
        return self._number(field, uvarint)

    def bucket(self, field: bytes) -> Bucket | None:
        """A field that is a bucket."""
        value = self._fields.pop(field, None)
        if isinstance(value, bytes):
            self._wrong(field, messages.FIELD_IS_NO_BUCKET(field=self._name(field)))
            return None
        return value

    def labels(self, field: bytes = b"labels") -> Labels:
        """A field that is a bucket of strings; empty if there is no such field."""
        bucket = self.bucket(field)
        if bucket is None:
            return NO_LABELS
        labels: dict[bytes, bytes] = {}
        for key, value in self._ledger.entries(bucket):
            if isinstance(value, bytes):
                self._ledger.named(bucket, key, value)
                path = (*bucket.path, key)
                if may_be_a_gc_label(key) or is_condition_of_nothing(key, value):
                    self._ledger.blind(messages.UNKNOWN_LABEL(label=bucket_name(path)), path)
                if key.startswith(CONTENT_LABEL) and not is_digest(value):
                    name = bucket_name(path)
                    self._ledger.blind(messages.INVALID_DIGEST(bucket=name, value=value), bucket.path)
                labels[key] = value
            else:
                self._ledger.blind(messages.BUCKET_AMONG_LABELS(bucket=bucket_name(value.path)), value.path)
        return labels

    def keys(self, field: bytes) -> tuple[bytes, ...]:
        """The keys of a field that is a bucket used as a set."""
        bucket = self.bucket(field)
        return () if bucket is None else tuple(self._ledger.keys(bucket))

    def finish(self) -> None:
        """Report the fields nobody asked for: a newer containerd may keep references in them."""
        for field, value in self._fields.items():
            message = messages.UNKNOWN_KEY if isinstance(value, bytes) else messages.UNKNOWN_BUCKET
            path = (*self._bucket.path, field)
            self._ledger.blind(message(name=bucket_name(path)), path)

    def _number(self, field: bytes, decode: Callable[[bytes], int]) -> int | None:
        raw = self.raw(field)
        if raw is None:
            return None
        try:
            return decode(raw)
        except Undecodable as error:
            self._wrong(field, messages.UNDECODABLE(field=self._name(field), problem=str(error)))
            return None

    def _wrong(self, field: bytes, text: Text) -> None:
        # Without the field a reference may be lost, so what depends on it is withheld.
        self._ledger.blind(text, (*self._bucket.path, field))

    def _name(self, field: bytes) -> str:
        return bucket_name((*self._bucket.path, field))


def bucket_name(bucket: tuple[bytes, ...]) -> str:
    """The path of a bucket or of one of its fields, shown."""
    return "/".join(shown(part) for part in bucket) or "root bucket"
