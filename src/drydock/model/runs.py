"""What a run did, as values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from drydock.model.names import RawPath
from drydock.model.plans import Outcome, Status


class EditOutcome(NamedTuple):
    """How the edit of one database ended."""

    path: RawPath
    """Absolute."""
    leases: int
    records: int
    """Records of blobs, ingests and snapshots; of a metadata.db, rows."""
    status: Status
    detail: str = ""
    """One shown line."""
    backup: RawPath | None = None
    """A copy from before the edit."""
    fields: int = 0
    """Keys that were deleted from records and rows that stay."""
    added: int = 0
    """Records that were created."""


@dataclass(slots=True)
class Run:
    """What a run did to one root."""

    root: RawPath
    journal: RawPath | None
    """None if the run did not begin; there is a warning then."""
    state: str
    """Why the journal is there; one shown line."""
    outcomes: list[Outcome] = field(default_factory=list)
    edits: list[EditOutcome] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    """Other errors; shown."""

    notes: list[str] = field(default_factory=list)
    """Other facts that the user should know; shown."""

    @property
    def failed(self) -> bool:
        """Whether something of the plan was not done."""
        done = (Status.DONE, Status.GONE)
        return (
            bool(self.warnings)
            or any(outcome.status not in done for outcome in self.outcomes)
            or any(edited.status is not Status.DONE for edited in self.edits)
        )

    @property
    def freed(self) -> int:
        """Bytes of allocated blocks that were freed."""
        return sum(outcome.freed for outcome in self.outcomes)
