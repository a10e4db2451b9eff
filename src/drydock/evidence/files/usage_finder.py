"""Finds the entry of the usage that one path belongs to, by the same readers that measure whole places."""

from __future__ import annotations

import os
from collections.abc import Iterable

from drydock.evidence.files.sizes import Measure
from drydock.evidence.files.usage_meter import UsageMeter
from drydock.model.disk_usage import UsageCategory, UsageEntry
from drydock.model.names import RawPath


class UsageFinder(UsageMeter):
    """A meter that measures nothing, and shows its readers only what leads to one path.

    Attributes:
        found: the entry that was met last, which is the one that the path belongs to; None if none was met.
    """

    def __init__(self, wanted: RawPath) -> None:
        """Find the entry of ``wanted``, an absolute path without symbolic links in front of its last part."""
        super().__init__(Measure())
        self.found: UsageEntry | None = None
        self._wanted = wanted

    def add(
        self,
        category: UsageCategory,
        path: RawPath,
        name: bytes = b"",
        size: int | None = None,  # noqa: ARG002 - a meter's
        note: str = "",
    ) -> None:
        """Keep the entry; ``size`` does not matter."""
        self.found = UsageEntry(category, name, path, None, note)

    def listed(self, category: UsageCategory, path: RawPath, descriptor: int) -> list[bytes]:  # noqa: ARG002 - a meter's
        """The only name in an open folder that leads to the path, if it is there."""
        above = path.rstrip(b"/") + b"/"
        part = self._wanted[len(above) :].partition(b"/")[0]
        if not part or not self._wanted.startswith(above):
            return []
        try:
            os.stat(part, dir_fd=descriptor, follow_symlinks=False)
        except OSError:
            return []
        return [part]

    def measure(
        self,
        parts: Iterable[tuple[bytes, UsageCategory, RawPath, bytes]],
        parent: int,  # noqa: ARG002 - a meter's
    ) -> None:
        """Keep the entry of the part that leads to the path."""
        for _, category, path, name in parts:
            self.add(category, path, name)
