"""What to change in a database, and what a commit did: deletions, insertions, and the receipt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

_NUMBERS: Final = (
    "txid_before",
    "txid_after",
    "root_before",
    "sequence_before",
    "root_after",
    "sequence_after",
    "hwm_before",
    "hwm_after",
    "pages_written",
    "grew_by",
)


class Deletion(NamedTuple):
    """One key to delete, with its value or with the whole bucket it names.

    A key that is named twice counts once. A key inside a bucket that is deleted too is deleted with it. A key is absent
    if it is missing, if its bucket is missing, or if a value has a name of its path.
    """

    path: tuple[bytes, ...]
    """The names of the buckets from the root bucket down; empty for a key of the root bucket."""
    key: bytes


@dataclass(slots=True)
class NewBucket:
    """A bucket to write."""

    sequence: int = 0
    entries: dict[bytes, bytes | NewBucket] = field(default_factory=dict)


class Insertion(NamedTuple):
    """One key to put in, with its value or with its whole bucket.

    Missing buckets on its path are made, as containerd makes them. Nothing is ever replaced: a key is present if it
    exists already, or if a value has a name of its path.
    """

    path: tuple[bytes, ...]
    """The names of the buckets from the root bucket down; empty for a key of the root bucket."""
    key: bytes
    value: bytes | NewBucket


class RootHeader(NamedTuple):
    """The header of the root bucket."""

    pgid: int
    sequence: int


class Receipt(NamedTuple):
    """What one commit did. It is enough to undo the commit, until the next commit of anybody.

    :meth:`numbers` is all that :func:`bbolt_surgery.restore` needs, in a form that can be kept as JSON. The commit of
    this receipt leaves the pages of the former tree as they were, but the next commit uses them. So only the last
    receipt can be undone.
    """

    txid_before: int
    txid_after: int
    """The same as ``txid_before`` if there was nothing to do, and so nothing was written."""
    root_before: RootHeader
    root_after: RootHeader
    hwm_before: int
    """The high-water mark: the first page that was never used."""
    hwm_after: int
    pages_written: int
    """How many places of one page size were written, without the meta."""
    grew_by: int
    """How many bytes the file is longer than before."""
    deleted: tuple[Deletion, ...] = ()
    """The deletions that were made, each once, in order."""
    absent: tuple[Deletion, ...] = ()
    """The deletions of keys that were absent, each once, in order."""
    inserted: tuple[Insertion, ...] = ()
    """The insertions that were made, in order."""
    present: tuple[Insertion, ...] = ()
    """The insertions of keys that were present, in order."""

    def numbers(self) -> dict[str, int]:
        """All numbers of the receipt, without the names of keys; :meth:`of_numbers` reads them back."""
        numbers = (
            self.txid_before,
            self.txid_after,
            *self.root_before,
            *self.root_after,
            self.hwm_before,
            self.hwm_after,
            self.pages_written,
            self.grew_by,
        )
        return dict(zip(_NUMBERS, numbers, strict=True))

    @classmethod
    def of_numbers(cls, numbers: Mapping[str, object]) -> Receipt:
        """A receipt without the names of keys, from the result of :meth:`numbers`.

        Raises:
            ValueError: a number is missing, or is no number.
        """
        found: dict[str, int] = {}
        for name in _NUMBERS:
            number = numbers.get(name)
            if not isinstance(number, int) or isinstance(number, bool) or number < 0:
                raise ValueError(f"{name} of a receipt is missing or no number")
            found[name] = number
        return cls(
            txid_before=found["txid_before"],
            txid_after=found["txid_after"],
            root_before=RootHeader(found["root_before"], found["sequence_before"]),
            root_after=RootHeader(found["root_after"], found["sequence_after"]),
            hwm_before=found["hwm_before"],
            hwm_after=found["hwm_after"],
            pages_written=found["pages_written"],
            grew_by=found["grew_by"],
        )
