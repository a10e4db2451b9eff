"""What lies in the root of a BuildKit that runs by itself, by category. Nothing is judged here.

Sources: buildkit cmd/buildkitd/main.go (``buildkitd.lock``, ``cache.db``, ``history.db``, ``policy``),
worker/runc/runc.go NewWorkerOpt and worker/base/worker.go (the folder of a worker), v0.12 to v0.34.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from drydock.evidence.files.usage_meter import UsageMeter
from drydock.model.disk_usage import UsageCategory as Category
from drydock.model.names import RawPath

_HISTORY: Final = re.compile(rb"history\.db(\.bak)?")
_PARTS: Final = re.compile(rb"buildkitd\.lock|(cache|cache-debug|solver)\.db(\.bak)?|net|cni|policy")
_WORKER: Final = re.compile(rb"(runc|containerd)-.+", re.DOTALL)
_CACHE: Final = (b"content", b"snapshots")
WORKER_PARTS: Final = re.compile(
    rb"(containerdmeta|metadata|metadata_v2)\.db(\.bak)?|executor|net|cni|workerid|cachemounts"
)
"""What a worker has beside its content and its snapshots."""


def measure_builder(
    meter: UsageMeter,
    root: RawPath,
    descriptor: int,
    builder: bytes,
    other: tuple[Category, RawPath, bytes] | None = None,
    *,
    workers: Mapping[RawPath, Callable[[RawPath, int], None]] = MappingProxyType({}),
) -> None:
    """Add an entry for everything in a BuildKit root, without the root's folder itself.

    Args:
        meter: collects the entries.
        root: absolute path of the BuildKit root.
        descriptor: of the open root.
        builder: its name.
        other: the entry of what BuildKit does not make: category, path and name. None: it is unknown.
        workers: adds the entries in a worker that is judged, by the worker's absolute path.
    """
    _BuilderReader(meter, builder, other, workers).read(root, descriptor)


class _BuilderReader:
    """Adds the entries of one BuildKit root."""

    def __init__(
        self,
        meter: UsageMeter,
        builder: bytes,
        other: tuple[Category, RawPath, bytes] | None,
        workers: Mapping[RawPath, Callable[[RawPath, int], None]],
    ) -> None:
        self._meter = meter
        self._builder = builder
        self._other = other
        self._workers = workers

    def read(self, root: RawPath, descriptor: int) -> None:
        whole: list[tuple[bytes, Category, RawPath, bytes]] = []
        for name in self._meter.listed(Category.BUILDKIT, root, descriptor):
            path = RawPath(os.path.join(root, name))
            if _WORKER.fullmatch(name):
                self._worker(name, path, descriptor)
            elif _HISTORY.fullmatch(name):
                whole.append((name, Category.BUILD_HISTORY, path, self._builder))
            elif _PARTS.fullmatch(name):
                whole.append((name, Category.BUILDKIT, path, self._builder))
            else:
                whole.append((name, *self._of(path, name)))
        self._meter.measure(whole, descriptor)

    def _worker(self, name: bytes, path: RawPath, parent: int) -> None:
        meter = self._meter
        with meter.folder(Category.BUILDKIT, path, name, parent, into=(path, self._builder)) as inner:
            if inner is None:
                return
            if path in self._workers:
                self._workers[path](path, inner)
                return
            whole: list[tuple[bytes, Category, RawPath, bytes]] = []
            for each in meter.listed(Category.BUILDKIT, path, inner):
                below = RawPath(os.path.join(path, each))
                if each in _CACHE:
                    whole.append((each, Category.BUILD_CACHE, below, self._builder))
                elif WORKER_PARTS.fullmatch(each):
                    whole.append((each, Category.BUILDKIT, path, self._builder))
                else:
                    whole.append((each, *self._of(below, each)))
            meter.measure(whole, inner)

    def _of(self, path: RawPath, name: bytes) -> tuple[Category, RawPath, bytes]:
        return (Category.UNKNOWN, path, name) if self._other is None else self._other
