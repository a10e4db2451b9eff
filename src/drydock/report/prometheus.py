"""A scan as metrics for node_exporter's textfile collector.

Format: Prometheus' text exposition format 0.0.4 (prometheus.io/docs/instrumenting/exposition_formats): one ``# HELP``
and ``# TYPE`` for each name, label values in double quotes with backslash, quote and line feed escaped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from drydock.model.disk_usage import FileSystem
from drydock.model.findings import Severity
from drydock.model.leases import LeaseClass
from drydock.model.names import UnixNano
from drydock.model.objects import State
from drydock.model.policies import SizeSource
from drydock.model.pulls import Pull
from drydock.model.scans import Scan
from drydock.model.text import shown
from drydock.model.times import age
from drydock.version import __version__

_SECOND = 1_000_000_000


class _Family(NamedTuple):
    name: str
    help: str


class _Sample(NamedTuple):
    family: str
    labels: dict[str, str]
    value: float


_FAMILIES = (
    _Family("drydock_info", "Version of drydock that made the scan."),
    _Family("drydock_scan_timestamp_seconds", "Time of the scan, in seconds since 1970."),
    _Family("drydock_scan_duration_seconds", "Duration of the scan."),
    _Family("drydock_complete", "1 if everything could be read, else 0."),
    _Family("drydock_live", "1 if the scan was made beside a running engine, else 0."),
    _Family("drydock_objects", "Blobs, ingests, snapshots and parts of Docker's layer store, by state."),
    _Family("drydock_object_bytes", "Bytes on disk of blobs, ingests and snapshots by state."),
    _Family(
        "drydock_namespace_objects",
        "Blobs, ingests and snapshots by state, counted in each namespace that records them.",
    ),
    _Family(
        "drydock_namespace_object_bytes",
        "Bytes on disk of blobs, ingests and snapshots by state, in each namespace that records them.",
    ),
    _Family(
        "drydock_usage_bytes",
        "Bytes on disk below a data root, or a containerd root outside one, by category; absent if not measured.",
    ),
    _Family("drydock_file_system_size_bytes", "Size of the file system that a data root or a containerd root is on."),
    _Family("drydock_file_system_used_bytes", "Bytes in use of that file system."),
    _Family("drydock_file_system_free_bytes", "Bytes of it that users other than root can still write."),
    _Family("drydock_file_system_inodes", "Inodes of it; absent if their number is not fixed."),
    _Family("drydock_file_system_free_inodes", "Free inodes of it; absent if their number is not fixed."),
    _Family("drydock_database_bytes", "Bytes of meta.db and of every metadata.db."),
    _Family("drydock_reclaimable_paths", "Files and directories that can be removed now."),
    _Family("drydock_reclaimable_bytes", "Bytes of the files and directories that can be removed now."),
    _Family("drydock_leases", "Leases by class."),
    _Family("drydock_lease_bytes", "Bytes that only leases hold, by class; each byte is counted once."),
    _Family("drydock_interrupted_pulls", "Interrupted pulls that still hold data."),
    _Family(
        "drydock_oldest_interrupted_pull_age_seconds", "Age of the oldest interrupted pull; absent if there is none."
    ),
    _Family("drydock_findings", "Findings by severity."),
)


def metric_lines(scans: Sequence[Scan], now: UnixNano, seconds: float) -> Iterator[str]:
    """Every metric, a line each, without line ends.

    Args:
        scans: made with their inventory.
        now: when the scans were made.
        seconds: how long the scan took.

    Raises:
        ValueError: a scan was made without its inventory.
    """
    samples = [
        _Sample("drydock_info", {"version": __version__}, 1),
        _Sample("drydock_scan_timestamp_seconds", {}, now / _SECOND),
        _Sample("drydock_scan_duration_seconds", {}, seconds),
    ]
    for scan in scans:
        samples += _root(scan)
    for family in _FAMILIES:
        of_family = [sample for sample in samples if sample.family == family.name]
        if not of_family:
            continue
        yield f"# HELP {family.name} {family.help}"
        yield f"# TYPE {family.name} gauge"
        for sample in of_family:
            labels = ",".join(f'{name}="{_escaped(value)}"' for name, value in sample.labels.items())
            yield f"{family.name}{{{labels}}} {sample.value!r}" if labels else f"{family.name} {sample.value!r}"


def _root(scan: Scan) -> Iterator[_Sample]:
    if scan.inventory is None:
        raise ValueError("metrics need scans made with their inventory")
    verdict, store = scan.verdict, scan.verdict.store
    root = {"root": shown(store.root.path)}
    yield _Sample("drydock_complete", root, int(scan.complete))
    yield _Sample("drydock_live", root, int(scan.live))
    for state, total in scan.totals().items():
        yield _Sample("drydock_objects", {**root, "state": state.value}, total.count)
        yield _Sample("drydock_object_bytes", {**root, "state": state.value}, total.bytes)
    yield from _namespaces(scan, root)
    yield _Sample("drydock_database_bytes", root, store.database_bytes)
    for place in scan.places:
        for category, size in place.totals(measured=store.measured is SizeSource.DISK).items():
            yield _Sample("drydock_usage_bytes", {"path": shown(place.path), "category": category.value}, size)
        if place.file_system is not None:
            yield from _file_system(place.file_system)
    free = scan.reclaimable()
    yield _Sample("drydock_reclaimable_paths", root, free.count)
    yield _Sample("drydock_reclaimable_bytes", root, free.bytes)
    leased, classes = scan.leased(), Counter(holding.kind for holding in verdict.leases)
    for kind in LeaseClass:
        yield _Sample("drydock_leases", {**root, "class": kind.value}, classes[kind])
        size = leased[kind].bytes if kind in leased else 0
        yield _Sample("drydock_lease_bytes", {**root, "class": kind.value}, size)
    yield from _pulls(scan.inventory.pulls, verdict.now, root)
    severities = Counter(finding.severity for finding in verdict.findings)
    for severity in Severity:
        yield _Sample("drydock_findings", {**root, "severity": severity.name.lower()}, severities[severity])


def _file_system(found: FileSystem) -> Iterator[_Sample]:
    path = {"path": shown(found.path)}
    yield _Sample("drydock_file_system_size_bytes", path, found.size)
    yield _Sample("drydock_file_system_used_bytes", path, found.used)
    yield _Sample("drydock_file_system_free_bytes", path, found.free)
    if found.inodes:
        yield _Sample("drydock_file_system_inodes", path, found.inodes)
        yield _Sample("drydock_file_system_free_inodes", path, found.inodes_free)


def _namespaces(scan: Scan, root: dict[str, str]) -> Iterator[_Sample]:
    counts: Counter[tuple[bytes, State]] = Counter()
    sizes: Counter[tuple[bytes, State]] = Counter()
    for found in scan.verdict.objects:
        for namespace in found.namespaces:
            counts[namespace, found.state] += 1
            sizes[namespace, found.state] += found.allocated
    # Every state of every namespace: a series with gaps cannot be compared over time.
    for namespace in sorted({*scan.verdict.store.metadata.namespaces, *(name for name, _ in counts)}):
        for state in State:
            labels = {**root, "namespace": shown(namespace), "state": state.value}
            yield _Sample("drydock_namespace_objects", labels, counts[namespace, state])
            yield _Sample("drydock_namespace_object_bytes", labels, sizes[namespace, state])


def _pulls(pulls: Sequence[Pull], now: UnixNano, root: dict[str, str]) -> Iterator[_Sample]:
    yield _Sample("drydock_interrupted_pulls", root, len(pulls))
    ages = [known for pull in pulls if (known := age(pull.created, now)) is not None]
    if ages:
        yield _Sample("drydock_oldest_interrupted_pull_age_seconds", root, max(ages) / _SECOND)


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
