"""Who needs a record: the images and containers that reach it, by the names that people use."""

from __future__ import annotations

from collections.abc import Iterable

from drydock.model.leases import LeaseClass
from drydock.model.names import Kind, Ref
from drydock.model.objects import Verdict
from drydock.model.text import shown
from drydock.verdict.graph import visited
from drydock.verdict.judge import Reach
from drydock.verdict.reach import closure


class Dependants:
    """The graph of one root with its edges reversed."""

    def __init__(self, verdict: Verdict, reached: Reach) -> None:
        self._verdict = verdict
        self._reached = reached
        self._graph = reached.graph
        self._before: dict[Ref, set[Ref]] | None = None

    def of(self, refs: Iterable[Ref]) -> tuple[list[Ref], list[Ref]]:
        """The images and the containers that reach any of ``refs``; a container of dockerd is given by its lease."""
        starts = set(refs)
        if not starts:
            return [], []
        seen = closure(starts, self._sources())
        images = sorted(ref for ref in seen if ref.kind is Kind.IMAGE)
        return images, self.containers(seen)

    def _sources(self) -> dict[Ref, set[Ref]]:
        """The records that refer to each record; computed lazily, because a store without damage never needs them."""
        if self._before is None:
            self._before = {}
            for ref in self._graph.records:
                for target in self._graph.targets(ref):
                    self._before.setdefault(visited(target), set()).add(ref)
        return self._before

    def containers(self, refs: Iterable[Ref]) -> list[Ref]:
        """The containers among some records; the record and the lease of one container count once."""
        found: dict[tuple[bytes, bytes], Ref] = {}
        for ref in refs:
            is_lease = ref.kind is Kind.LEASE and self._reached.classes[ref].kind is LeaseClass.CONTAINER
            if ref.kind is Kind.CONTAINER or is_lease:
                found.setdefault((ref.namespace, ref.key), ref)
        return [found[key] for key in sorted(found)]

    def name(self, ref: Ref) -> str:
        """The name that people use, shown: an image's name, a Docker container's name, or else the id."""
        docker = self._verdict.store.owners.containers.get(ref.key)
        if ref.kind is not Kind.IMAGE and docker is not None and docker.name:
            return shown(docker.name.removeprefix(b"/"))
        return shown(ref.key)

    def label(self, ref: Ref) -> str:
        """Its name, with the namespace if another namespace has a record of that name."""
        same = (Ref(ref.kind, namespace, ref.key) for namespace in self._verdict.store.metadata.namespaces)
        alone = sum(each in self._graph.records for each in same) < 2
        return self.name(ref) if alone else f"{self.name(ref)} (namespace {shown(ref.namespace)})"
