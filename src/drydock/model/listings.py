"""Lists of the records of a store, like those of ``ctr`` and ``docker``."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from drydock.model.names import RawPath

Cell = str | int | bool | None | list[str] | dict[str, str]
"""One field of a row: texts are shown, sizes are bytes, times RFC 3339."""


class ListKind(enum.Enum):
    """A kind of list; the value is its word on the command line."""

    IMAGES = "images"
    CONTAINERS = "containers"
    SNAPSHOTS = "snapshots"
    LEASES = "leases"
    CONTENT = "content"
    INGESTS = "ingests"
    LAYERS = "layers"
    LOGS = "logs"
    VOLUMES = "volumes"

    @property
    def is_judged(self) -> bool:
        """Whether it lists objects of a containerd root; the others list what else is in a data root."""
        return self not in (ListKind.LOGS, ListKind.VOLUMES)


@dataclass(slots=True)
class Listing:
    """One list of one root."""

    root: RawPath
    """Absolute path of the containerd root."""
    kind: ListKind
    rows: list[dict[str, Cell]] = field(default_factory=list)
    """One for each record; an object without a record has no namespace. docs/export.md names the fields."""
    unread: str | None = None
    """Why not everything could be read, on one shown line: then there may be more than is listed."""

    def exit_code(self) -> int:
        """The additive exit status (README.md): 8 evidence that could not be read."""
        return 8 if self.unread else 0
