"""WHERE at the end of a command that a report shows to be copied."""

from __future__ import annotations

from drydock.model.names import RawPath
from drydock.model.text import quoted_path


def target_of(where: RawPath | None) -> str:
    """What was looked at as a shell reads it, with a blank before it; empty for this host."""
    return "" if where is None else f" {quoted_path(where)}"
