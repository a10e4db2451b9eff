"""What to delete, and what was done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Deletion(NamedTuple):
    """One key to delete, with its value or with the whole bucket it names.

    Naming a key twice is naming it once. A key inside a bucket that is deleted as well is deleted with it. A key that
    is not there, whose bucket is not there, or on whose path a value lies where a bucket should, is absent.
    """

    path: tuple[bytes, ...]
    """The names of the buckets from the root bucket down; empty for a key of the root bucket."""
    key: bytes


class Root(NamedTuple):
    """The root bucket's header."""

    pgid: int
    sequence: int


@dataclass(frozen=True, slots=True)
class Receipt:
    """What one commit did; enough to undo it for as long as nobody commits after it.

    All that :func:`bbolt_surgery.restore` needs are the integers and the two roots, so a receipt can be kept as JSON.
    The pages of the former tree are left as they were by the commit that gave this receipt, but not by the next one,
    whoever makes it: one receipt can be undone, the last.
    """

    txid_before: int
    txid_after: int
    """The same as ``txid_before`` where there was nothing to do, and so nothing was written."""
    root_before: Root
    root_after: Root
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
    """What was asked for and not there, each once, in order."""
