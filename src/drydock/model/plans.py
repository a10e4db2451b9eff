"""What is to be done, as values: a plan is frozen and ordered, and nothing in it is decided later."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from drydock.model.data import Fingerprint
from drydock.model.names import RawPath


class Target(enum.Enum):
    """What a removal is aimed at; the value is the kind that documents show."""

    BLOB = "blob"
    INGEST = "ingest"
    SNAPSHOT = "snapshot"


@dataclass(frozen=True, slots=True)
class Removal:
    """One file or directory to remove."""

    target: Target
    root: RawPath
    """Absolute path of the containerd root."""
    path: RawPath
    """Relative to the root."""
    expect: Fingerprint
    bytes: int
    """What removing it is expected to free."""
    why: str
    """One shown line."""


@dataclass(frozen=True, slots=True)
class Withheld:
    """Something that looks reclaimable and is kept, with the reason."""

    kind: str
    """``blob``, ``ingest`` or ``snapshot``."""
    id: str
    """Shown."""
    bytes: int
    reason: str


class Status(enum.Enum):
    """How an action ended."""

    DONE = "done"
    CHANGED = "changed since the plan"
    GONE = "already gone"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one action ended."""

    action: Removal
    status: Status
    detail: str = ""
    """One shown line; for FAILED what stands in the way, and what is left where."""
    freed: int = 0
    """Bytes of allocated blocks that went away."""
