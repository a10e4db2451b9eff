"""What a run did, as values."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import NamedTuple

from drydock.model.errors import EvidenceUnreadable
from drydock.model.names import RawPath
from drydock.model.plans import CompactionOutcome, CutOutcome, Outcome, RestoreOutcome, Status


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
    cuts: list[CutOutcome] = field(default_factory=list)
    """Logs that were cut."""
    restores: list[RestoreOutcome] = field(default_factory=list)
    """Layers that were unpacked again."""
    compactions: list[CompactionOutcome] = field(default_factory=list)
    """Databases that were compacted."""
    quarantine: RawPath | None = None
    """Where its data was moved to; None if it was deleted."""
    is_undo: bool = False
    """Whether it put back what another run did."""

    @property
    def failed(self) -> bool:
        """Whether something of the plan was not done."""
        done = (Status.DONE, Status.GONE)
        return (
            bool(self.warnings)
            or any(outcome.status not in done for outcome in self.outcomes)
            or any(edited.status is not Status.DONE for edited in self.edits)
            or any(each.status not in done for each in self.cuts)
            or any(each.status not in done for each in self.restores)
            or any(each.status not in done for each in self.compactions)
        )

    @property
    def freed(self) -> int:
        """Bytes of allocated blocks that were freed."""
        freed = (each.freed for part in (self.outcomes, self.cuts, self.compactions) for each in part)
        return sum(freed)


class RunEnd(enum.Enum):
    """Whether a past run ended, and how."""

    FINISHED = "finished"
    LATER = "finished later"
    """It was killed, and a later run or an undo did the rest."""
    UNFINISHED = "unfinished"
    RUNNING = "running"


class UndoState(enum.Enum):
    """Whether undo can put back all that a past run did."""

    POSSIBLE = "yes"
    IMPOSSIBLE = "no"
    UNDONE = "undone"
    NOTHING = "nothing to undo"


class PastRun(NamedTuple):
    """What the journal of a run tells, and what is left of the run on disk."""

    journal: RawPath
    root: RawPath
    """As it was called when the run began."""
    began: str
    """In UTC, as in RFC 3339; shown."""
    tool: str
    """Version of drydock; shown."""
    end: RunEnd
    finished: str | None
    """When, in UTC; shown. None if it did not finish."""
    deleted: int
    """Files and directories."""
    freed: int
    """Bytes of allocated blocks that the deletions freed."""
    moved: int
    """Files and directories that were moved to quarantine."""
    moved_bytes: int
    """Bytes that removing them would have freed."""
    edited: int
    """Edits of databases."""
    failed: int
    """Actions that were not done."""
    undo: UndoState
    reason: str
    """Why undo is impossible; one shown line, else empty."""
    databases: frozenset[RawPath] = frozenset()
    """The databases whose edit began; those of BuildKit are not below the root."""


class PastRuns(NamedTuple):
    """The runs that have a journal."""

    runs: list[PastRun]
    """The oldest first."""
    unread: list[str]
    """One shown line for each journal, and each place with journals, that could not be read."""

    def exit_code(self) -> int:
        """The additive exit status."""
        return EvidenceUnreadable.exit_code if self.unread else 0
