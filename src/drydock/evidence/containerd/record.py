"""One bucket of meta.db or metadata.db that stands for one thing: its fields, decoded, and what was wrong with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from bbolt_reader import BoltError, Bucket
from drydock.evidence.containerd.encoding import Undecodable, binary_time, uvarint, varint
from drydock.model.findings import Finding, Place, Severity
from drydock.model.label_names import is_condition_of_nothing, may_be_the_collectors
from drydock.model.names import RawPath, UnixNano, is_digest
from drydock.model.records import Labels
from drydock.model.text import quoted_path, shown

_LISTED = 1000
CONTENT_LABEL = b"containerd.io/gc.ref.content"
NO_LABELS: Labels = {}
"""Of the many records that have none."""
_NUL, _ONES = b"\0", b"\xff\xff"
"""What parts of a disk that were lost read as, and no name holds: names reach containerd as UTF-8."""


class Ledger:
    """Collects findings about one database file, and whether anything in it stayed unread or not understood."""

    def __init__(self, file: RawPath) -> None:
        self.file = file
        self.findings: list[Finding] = []
        self.complete = True
        self.newest: UnixNano | None = None
        self._counts: dict[str, int] = {}

    def blind(self, code: str, bucket: tuple[bytes, ...], message: str, severity: Severity = Severity.BLIND) -> None:
        """Say that something was not read or not understood: what depends on it must be withheld."""
        self.complete = False
        self._say(code, severity, bucket, message)

    def damage(self, code: str, bucket: tuple[bytes, ...], message: str, remedy: str = "") -> None:
        """Say that something is damaged which removal does not depend on."""
        self._say(code, Severity.DAMAGE, bucket, message, remedy)

    def entries(self, bucket: Bucket) -> Iterator[tuple[bytes, bytes | Bucket]]:
        """The entries of a bucket, as far as its pages can be read."""
        try:
            yield from bucket.items()
        except BoltError as error:
            self._unread(bucket, error)

    def fields(self, bucket: Bucket) -> dict[bytes, bytes | Bucket]:
        """The same, all at once."""
        fields: dict[bytes, bytes | Bucket] = {}
        try:
            for keys, values, _ in bucket.batches():
                fields.update(zip(keys, values, strict=True))
        except BoltError as error:
            self._unread(bucket, error)
        return fields

    def buckets(self, bucket: Bucket) -> Iterator[tuple[bytes, Bucket]]:
        """The sub-buckets of a bucket that should hold nothing else."""
        for key, value in self.entries(bucket):
            below = self.below(bucket, key, value)
            if below is not None:
                yield key, below

    def below(self, bucket: Bucket, key: bytes, value: bytes | Bucket) -> Bucket | None:
        """The sub-bucket that an entry of a bucket is which should hold nothing else; None where it is none."""
        if isinstance(value, bytes):
            self.blind("unknown-key", bucket.path, f"{_path(bucket.path)}: {shown(key)} is not a bucket")
            return None
        if _NUL in key or _ONES in key:
            self.named(bucket, key)
        return value

    def keys(self, bucket: Bucket) -> Iterator[bytes]:
        """The keys of a bucket that is a set: every value is empty."""
        for key, value in self.entries(bucket):
            if not isinstance(value, bytes):
                self.blind("unknown-bucket", value.path, f"{_path(value.path)}: a bucket where a key was expected")
            else:
                if _NUL in key or _ONES in key:
                    self.named(bucket, key)
                yield key

    def named(self, bucket: Bucket, *words: bytes) -> None:
        """Say where words in a bucket cannot be what was written: what they named looks unnamed now."""
        for word in words:
            if _NUL in word or _ONES in word:
                message = f"{_path(bucket.path)}: {shown(word)}: a name that was written over"
                self.blind("undecodable", bucket.path, message, Severity.DAMAGE)

    def record(self, bucket: Bucket) -> Record:
        """The fields of a bucket that stands for one thing."""
        return Record(self, bucket)

    def saw(self, time: UnixNano | None) -> None:
        """Keep the latest time met."""
        if time is not None and (self.newest is None or time > self.newest):
            self.newest = time

    def _unread(self, bucket: Bucket, error: BoltError) -> None:
        self.complete = False
        self._add(
            Finding(
                "unreadable-page",
                Severity.DAMAGE,
                f"{_path(bucket.path)}: {error}",
                Place(self.file, error.page, error.offset, bucket.path),
                remedy=f"drydock bolt check {quoted_path(self.file)}",
            )
        )

    def _say(self, code: str, severity: Severity, bucket: tuple[bytes, ...], message: str, remedy: str = "") -> None:
        self._add(Finding(code, severity, message, Place(self.file, bucket=bucket), remedy=remedy))

    def _add(self, finding: Finding) -> None:
        # Hostile files have a fault every few bytes; what they say must not take many times their size.
        count = self._counts[finding.code] = self._counts.get(finding.code, 0) + 1
        if count <= _LISTED:
            self.findings.append(finding)
        elif count == _LISTED + 1:
            message = f"{shown(self.file)}: more than {_LISTED} of {finding.code}; the rest is not listed"
            self.findings.append(Finding(finding.code, finding.severity, message, Place(self.file)))


class Record:
    """The fields of one record. Each read takes a field out; :meth:`finish` says what nobody asked for."""

    __slots__ = ("_bucket", "_fields", "_ledger")

    def __init__(self, ledger: Ledger, bucket: Bucket) -> None:
        self._ledger = ledger
        self._bucket = bucket
        self._fields = ledger.fields(bucket)

    def raw(self, field: bytes) -> bytes | None:
        """A field's bytes, or None where there is none."""
        value = self._fields.pop(field, None)
        if value is None or isinstance(value, bytes):
            return value
        self._wrong(field, "is a bucket")
        return None

    def text(self, field: bytes) -> bytes:
        """A field that is a string; empty where there is none."""
        text = self.raw(field) or b""
        if _NUL in text or _ONES in text:
            self._ledger.named(self._bucket, text)
        return text

    def skip(self, *fields: bytes) -> None:
        """Fields that are known and not needed."""
        for field in fields:
            self._fields.pop(field, None)

    def time(self, field: bytes) -> UnixNano | None:
        """A field that is a binary time; None where there is none or it cannot be decoded."""
        raw = self.raw(field)
        if raw is None:
            return None
        try:
            time = binary_time(raw)
        except Undecodable as error:
            self._ledger.damage("undecodable-time", (*self._bucket.path, field), self._about(field, str(error)))
            return None
        self._ledger.saw(time)
        return time

    def signed(self, field: bytes) -> int | None:
        """A field that is a zigzag varint; None where there is none or it cannot be decoded."""
        return self._number(field, varint)

    def size(self, field: bytes) -> int | None:
        """A field that is a zigzag varint and no less than zero; None where there is none or it is no such."""
        number = self.signed(field)
        if number is not None and number < 0:
            self._wrong(field, f"{number}, less than nothing")
            return None
        return number

    def needed(self, field: bytes) -> bytes:
        """A field that is a string and in every record of its kind: without it, what it names looks unnamed."""
        if not self._fields.get(field, b""):
            self._fields.pop(field, None)
            self._wrong(field, "is missing or empty")
            return b""
        return self.text(field)

    def written(self, field: bytes) -> bytes:
        """A field that is a string and written into every record of its kind, also where it is empty."""
        if field not in self._fields:
            self._wrong(field, "is missing")
        return self.text(field)

    def unsigned(self, field: bytes) -> int | None:
        """A field that is an unsigned varint; None where there is none or it cannot be decoded."""
        return self._number(field, uvarint)

    def bucket(self, field: bytes) -> Bucket | None:
        """A field that is a bucket."""
        value = self._fields.pop(field, None)
        if isinstance(value, bytes):
            self._wrong(field, "is not a bucket")
            return None
        return value

    def labels(self, field: bytes = b"labels") -> Labels:
        """A field that is a bucket of strings; empty where there is none."""
        bucket = self.bucket(field)
        if bucket is None:
            return NO_LABELS
        labels: dict[bytes, bytes] = {}
        for key, value in self._ledger.entries(bucket):
            if isinstance(value, bytes):
                self._ledger.named(bucket, key, value)
                if may_be_the_collectors(key) or is_condition_of_nothing(key, value):
                    message = (
                        f"{_path((*bucket.path, key))}: not a label that this version knows: it may keep something"
                    )
                    self._ledger.blind("unknown-label", (*bucket.path, key), message)
                if key.startswith(CONTENT_LABEL) and not is_digest(value):
                    message = f"{_path((*bucket.path, key))}: {shown(value)} is not a digest"
                    self._ledger.blind("invalid-digest", bucket.path, message, Severity.DAMAGE)
                labels[key] = value
            else:
                self._ledger.blind("unknown-bucket", value.path, f"{_path(value.path)}: a bucket among labels")
        return labels

    def keys(self, field: bytes) -> tuple[bytes, ...]:
        """A field that is a bucket used as a set."""
        bucket = self.bucket(field)
        return () if bucket is None else tuple(self._ledger.keys(bucket))

    def finish(self) -> None:
        """Report the fields nobody asked for: a newer containerd may keep references in them."""
        for field, value in self._fields.items():
            code = "unknown-key" if isinstance(value, bytes) else "unknown-bucket"
            self._ledger.blind(code, (*self._bucket.path, field), self._about(field, "not known to this version"))

    def _number(self, field: bytes, decode: Callable[[bytes], int]) -> int | None:
        raw = self.raw(field)
        if raw is None:
            return None
        try:
            return decode(raw)
        except Undecodable as error:
            self._wrong(field, str(error))
            return None

    def _wrong(self, field: bytes, what: str) -> None:
        # Reading on as if the field were absent could drop a reference, so whatever depends on it is withheld.
        bucket = (*self._bucket.path, field)
        self._ledger.blind("undecodable", bucket, self._about(field, what), Severity.DAMAGE)

    def _about(self, field: bytes, what: str) -> str:
        return f"{_path((*self._bucket.path, field))}: {what}"


def _path(bucket: tuple[bytes, ...]) -> str:
    return "/".join(shown(part) for part in bucket) or "(top)"
