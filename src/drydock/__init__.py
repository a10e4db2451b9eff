"""fsck for container storage: what every byte is there for, and what can be removed.

This is the library (docs/library.md): functions, the values that they take and return, and errors. A name is loaded
when it is first used, so that a start stays fast.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from drydock.library import (
        AnyPath,
        apply,
        clean,
        diff_container,
        explain,
        export_container,
        export_image,
        export_volume,
        ls,
        plan,
        pulls,
        read_plans,
        repair,
        request,
        runs,
        scan,
        undo,
        verify,
        write_plans,
    )
    from drydock.model.arguments import Moment, Name, Span
    from drydock.model.data import BlobFile, Fingerprint, IngestDirectory, Junk, SnapshotEntry
    from drydock.model.disk_usage import FileSystem, PlaceUsage, UsageCategory, UsageEntry
    from drydock.model.errors import ActionFailed, DiskFull, DrydockError, EvidenceUnreadable, InUse, Refused, Usage
    from drydock.model.explanations import Explanation
    from drydock.model.exports import Change, ChangeKind, Exported
    from drydock.model.findings import Affects, Finding, FindingCode, Place, Severity
    from drydock.model.inventories import Holder, Inventory, Link
    from drydock.model.leases import Holding, LeaseClass
    from drydock.model.listings import Listing, ListKind
    from drydock.model.names import Digest, Kind, RawPath, Ref, UnixNano
    from drydock.model.objects import ObjectKind, State, StoreObject, Verdict
    from drydock.model.plans import (
        Adoption,
        DatabaseFingerprint,
        FieldDrop,
        LeaseEnd,
        LeaseRecord,
        Outcome,
        Plan,
        RecordDrop,
        Removal,
        RowDrop,
        SnapshotRecord,
        Status,
        Target,
        Withheld,
    )
    from drydock.model.policies import BlobCheck, EndLeases, Policy, SizeSource
    from drydock.model.progress import Progress
    from drydock.model.pulls import Downloads, LayerState, Pull, PulledLayer, PulledPart, Pulls
    from drydock.model.records import Blob, Container, Image, Ingest, Lease, Metadata, Snapshot
    from drydock.model.repairs import Loss, Repair, Unadopted
    from drydock.model.roots import Engine, Root
    from drydock.model.runs import EditOutcome, PastRun, PastRuns, Run, RunEnd, UndoState
    from drydock.model.scans import Scan, Total
    from drydock.model.store import Store
    from drydock.model.text import shown, unshown
    from drydock.model.times import show_time
    from drydock.model.verifications import (
        Completeness,
        Coverage,
        Hit,
        ImageState,
        Platform,
        SecondReading,
        Verification,
    )
    from drydock.reclaim.plan_file import Request
    from drydock.version import __version__

__all__ = [
    "ActionFailed",
    "Adoption",
    "Affects",
    "AnyPath",
    "Blob",
    "BlobCheck",
    "BlobFile",
    "Change",
    "ChangeKind",
    "Completeness",
    "Container",
    "Coverage",
    "DatabaseFingerprint",
    "Digest",
    "DiskFull",
    "Downloads",
    "DrydockError",
    "EditOutcome",
    "EndLeases",
    "Engine",
    "EvidenceUnreadable",
    "Explanation",
    "Exported",
    "FieldDrop",
    "FileSystem",
    "Finding",
    "FindingCode",
    "Fingerprint",
    "Hit",
    "Holder",
    "Holding",
    "Image",
    "ImageState",
    "InUse",
    "Ingest",
    "IngestDirectory",
    "Inventory",
    "Junk",
    "Kind",
    "LayerState",
    "Lease",
    "LeaseClass",
    "LeaseEnd",
    "LeaseRecord",
    "Link",
    "ListKind",
    "Listing",
    "Loss",
    "Metadata",
    "Moment",
    "Name",
    "ObjectKind",
    "Outcome",
    "PastRun",
    "PastRuns",
    "Place",
    "PlaceUsage",
    "Plan",
    "Platform",
    "Policy",
    "Progress",
    "Pull",
    "PulledLayer",
    "PulledPart",
    "Pulls",
    "RawPath",
    "RecordDrop",
    "Ref",
    "Refused",
    "Removal",
    "Repair",
    "Request",
    "Root",
    "RowDrop",
    "Run",
    "RunEnd",
    "Scan",
    "SecondReading",
    "Severity",
    "SizeSource",
    "Snapshot",
    "SnapshotEntry",
    "SnapshotRecord",
    "Span",
    "State",
    "Status",
    "Store",
    "StoreObject",
    "Target",
    "Total",
    "Unadopted",
    "UndoState",
    "UnixNano",
    "Usage",
    "UsageCategory",
    "UsageEntry",
    "Verdict",
    "Verification",
    "Withheld",
    "__version__",
    "apply",
    "clean",
    "diff_container",
    "explain",
    "export_container",
    "export_image",
    "export_volume",
    "ls",
    "plan",
    "pulls",
    "read_plans",
    "repair",
    "request",
    "runs",
    "scan",
    "show_time",
    "shown",
    "undo",
    "unshown",
    "verify",
    "write_plans",
]

_HOMES: Final = {
    "model.data": (
        "BlobFile",
        "Fingerprint",
        "IngestDirectory",
        "Junk",
        "SnapshotEntry",
    ),
    "model.records": (
        "Blob",
        "Container",
        "Image",
        "Ingest",
        "Lease",
        "Metadata",
        "Snapshot",
    ),
    "model.roots": (
        "Engine",
        "Root",
    ),
    "model.store": ("Store",),
    "library": (
        "AnyPath",
        "apply",
        "clean",
        "diff_container",
        "explain",
        "export_container",
        "export_image",
        "export_volume",
        "ls",
        "plan",
        "pulls",
        "read_plans",
        "repair",
        "request",
        "runs",
        "scan",
        "undo",
        "verify",
        "write_plans",
    ),
    "model.arguments": (
        "Moment",
        "Name",
        "Span",
    ),
    "model.disk_usage": ("FileSystem", "PlaceUsage", "UsageCategory", "UsageEntry"),
    "model.errors": (
        "ActionFailed",
        "DiskFull",
        "DrydockError",
        "EvidenceUnreadable",
        "InUse",
        "Refused",
        "Usage",
    ),
    "model.explanations": ("Explanation",),
    "model.exports": (
        "Change",
        "ChangeKind",
        "Exported",
    ),
    "model.findings": ("Affects", "FindingCode", "Finding", "Place", "Severity"),
    "model.inventories": (
        "Holder",
        "Inventory",
        "Link",
    ),
    "model.leases": (
        "Holding",
        "LeaseClass",
    ),
    "model.listings": (
        "Listing",
        "ListKind",
    ),
    "model.names": (
        "Digest",
        "Kind",
        "RawPath",
        "Ref",
        "UnixNano",
    ),
    "model.objects": (
        "ObjectKind",
        "State",
        "StoreObject",
        "Verdict",
    ),
    "model.plans": (
        "Adoption",
        "FieldDrop",
        "LeaseEnd",
        "LeaseRecord",
        "Outcome",
        "Plan",
        "RecordDrop",
        "Removal",
        "RowDrop",
        "SnapshotRecord",
        "Status",
        "Target",
        "Withheld",
        "DatabaseFingerprint",
    ),
    "model.policies": (
        "BlobCheck",
        "EndLeases",
        "Policy",
        "SizeSource",
    ),
    "model.progress": ("Progress",),
    "model.pulls": (
        "Downloads",
        "LayerState",
        "Pull",
        "PulledLayer",
        "PulledPart",
        "Pulls",
    ),
    "model.repairs": (
        "Loss",
        "Repair",
        "Unadopted",
    ),
    "model.runs": (
        "EditOutcome",
        "PastRun",
        "PastRuns",
        "Run",
        "RunEnd",
        "UndoState",
    ),
    "model.scans": (
        "Scan",
        "Total",
    ),
    "model.text": (
        "shown",
        "unshown",
    ),
    "model.times": ("show_time",),
    "model.verifications": (
        "Completeness",
        "Coverage",
        "Hit",
        "ImageState",
        "Platform",
        "SecondReading",
        "Verification",
    ),
    "reclaim.plan_file": ("Request",),
    "version": ("__version__",),
}
_HOME: Final = {name: f"drydock.{home}" for home, names in _HOMES.items() for name in names}


if not TYPE_CHECKING:  # a checker would take every name for one that is there

    def __getattr__(name: str) -> Any:  # noqa: ANN401 - each name has its own type
        if name not in _HOME:
            raise AttributeError(f"module 'drydock' has no attribute {name!r}")
        return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return __all__
