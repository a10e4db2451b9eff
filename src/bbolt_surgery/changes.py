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

    Naming a key twice is naming it once. A key inside a bucket that is deleted as well is deleted with it. A key that
    is not there, whose bucket is not there, or on whose path a value lies where a bucket should, is absent.
    """

    path: tuple[bytes, ...]
    """The names of the buckets from the root bucket down; empty for a key of the root bucket."""
    key: bytes


@dataclass(slots=True)
class NewBucket:
    """A bucket to be written."""

    sequence: int = 0
    entries: dict[bytes, bytes | NewBucket] = field(default_factory=dict)


class Insertion(NamedTuple):
    """One key to put in, with its value, or with the whole bucket it is to name.

    Buckets on its path that are not there are made, as containerd makes them. What is there already is never
    replaced: a key that is taken, or on whose path a value lies where a bucket should, is present.
    """

    path: tuple[bytes, ...]
    """The names of the buckets from the root bucket down; empty for a key of the root bucket."""
    key: bytes
    value: bytes | NewBucket


class RootHeader(NamedTuple):
    """The root bucket's header."""

    pgid: int
    sequence: int


class Receipt(NamedTuple):
    """What one commit did; enough to undo it for as long as nobody commits after it.

    :meth:`numbers` is all that :func:`bbolt_surgery.restore` needs, in a form that can be kept as JSON.
    The pages of the former tree are left as they were by the commit that gave this receipt, but not by the next one,
    whoever makes it: one receipt can be undone, the last.
    """

    txid_before: int
    txid_after: int
    """The same as ``txid_before`` where there was nothing to do, and so nothing was written."""
    root_before: RootHeader
    root_after: RootHeader
    hwm_before: int
    """The high-water mark: pages from there on were never used."""
    hwm_after: int
    pages_written: int
    """Places of one page size each, without the meta."""
    grew_by: int
    """Bytes the file is longer than before."""
    deleted: tuple[Deletion, ...] = ()
    """What was there and is no more, each once, in order."""
    absent: tuple[Deletion, ...] = ()
    """What was to be deleted and was not there, each once, in order."""
    inserted: tuple[Insertion, ...] = ()
    """What was put in, in order."""
    present: tuple[Insertion, ...] = ()
    """What was to be put in, and something was there, in order."""

    def numbers(self) -> dict[str, int]:
        """Everything but the names, flat; :meth:`of_numbers` makes a receipt of it again."""
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
        """A receipt, without names, from what :meth:`numbers` gave.

        Raises:
            ValueError: one is missing, or no number.
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
