"""What to put in, and what a new bucket holds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple


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
