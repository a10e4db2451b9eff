"""One containerd root as it was read: records, rows and data, and the records that own its leases."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from drydock.model.container_drops import ContainerFiles
from drydock.model.data import Backend, Content
from drydock.model.findings import Finding
from drydock.model.layer_store import LayerStore
from drydock.model.names import Digest, RawPath, UnixNano
from drydock.model.oci import Documents
from drydock.model.plugin_store import PluginStore
from drydock.model.policies import BlobCheck, SizeSource
from drydock.model.records import Metadata
from drydock.model.roots import Owners, Root
from drydock.model.store_drops import StoreContents


@dataclass(slots=True)
class Store:
    """Everything read of one root."""

    root: Root
    metadata: Metadata
    listed: Content | Callable[[], Content]
    """The files of the content store, or what gives them once they are listed: see :attr:`content`."""
    backends: dict[bytes, Backend]
    """By snapshotter name: one for every ``io.containerd.snapshotter.v1.*`` folder."""
    owners: Owners
    measured: SizeSource
    verified: BlobCheck
    wrong: frozenset[Digest] = frozenset()
    """Blobs whose bytes do not hash to their name; empty unless ``verified`` is DIGEST."""
    database_bytes: int = 0
    """Bytes of allocated blocks of meta.db and every metadata.db."""
    layer_stores: list[LayerStore] = field(default_factory=list)
    """Docker's classic layer stores of the data roots that this root is the first of."""
    plugin_stores: list[PluginStore] = field(default_factory=list)
    """Docker's plugins of the same data roots."""
    live: bool = False
    """Whether it was read while its engine may have been running."""
    contents: StoreContents = field(default_factory=StoreContents)
    """What only the drop of one of Docker's stores has to know; empty where none is dropped."""
    image_documents: Documents = field(default_factory=Documents)
    """What only a drop of images by label has to know: the documents of all images; empty without it."""
    container_files: ContainerFiles = field(default_factory=ContainerFiles)
    """What only the drop of containers has to know; empty where none is dropped."""
    build_stores: dict[RawPath, Store] = field(default_factory=dict)
    """What only the drop of build cache or history has to know, by data root: what dockerd's builder keeps in the
    classic mode, as the store of a worker. Empty without it; of a data root too of which not all could be read."""
    findings: list[Finding] = field(default_factory=list)
    """Findings about the database files; each part has its own findings."""

    @property
    def content(self) -> Content:
        """The files of the content store; waits until they are listed. Asked for first while the root is held."""
        if not isinstance(self.listed, Content):
            self.listed = self.listed()
        return self.listed

    def all_findings(self) -> list[Finding]:
        """The findings of the root and of every part."""
        found = [*self.findings, *self.metadata.findings, *self.content.findings]
        for backend in self.backends.values():
            found += backend.findings
        for layers in self.layer_stores:
            found += layers.findings
        for plugins in self.plugin_stores:
            found += plugins.findings
        return found + self.owners.findings

    def newest(self) -> UnixNano | None:
        """The latest time that any record or row carries."""
        times = [self.metadata.newest, *(backend.newest for backend in self.backends.values())]
        return max((time for time in times if time is not None), default=None)
