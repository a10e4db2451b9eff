"""Docker's plugins of one data root as they were read: their records, and the blobs that these name.

Paths are relative to the data root. Source: moby plugin/manager.go, plugin/v2/plugin.go (v28.5).
"""

from dataclasses import dataclass, field
from typing import NamedTuple

from drydock.model.data import Fingerprint
from drydock.model.findings import Finding
from drydock.model.names import Digest, RawPath


class Plugin(NamedTuple):
    """A folder in ``plugins`` that has the name of a plugin's id."""

    id: bytes
    name: bytes
    """As ``docker plugin ls`` shows it; empty if its ``config.json`` cannot be read."""
    blobs: tuple[Digest, ...] = ()
    """Its config and its layers."""
    manifest: Digest | None = None
    """dockerd may drop the blob of its manifest when another plugin is removed (moby plugin/manager.go GC, v28.5)."""
    is_known: bool = True
    """False if its ``config.json`` cannot be read: it may name any blob."""


class PluginEntry(NamedTuple):
    """A blob in ``plugins/storage``, or what a removal, an upgrade or a download left."""

    name: bytes
    """Of a blob its digest."""
    path: RawPath
    fingerprint: Fingerprint
    allocated: int
    """Bytes of allocated blocks."""
    is_blob: bool


@dataclass(slots=True)
class PluginStore:
    """The plugins of one data root."""

    data: RawPath
    """Absolute path of the data root."""
    plugins: dict[bytes, Plugin] = field(default_factory=dict)
    """By id."""
    entries: list[PluginEntry] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    complete: bool = True
    """False if something could not be listed."""
