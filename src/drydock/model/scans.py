"""The result of a scan of one root: the verdict, what may be removed, and what is withheld."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from drydock.model.data import Backend, Content
from drydock.model.disk_usage import PlaceUsage
from drydock.model.findings import Affects, Finding, FindingCode, Severity
from drydock.model.leases import LeaseClass
from drydock.model.objects import DataRootObject, State, StoreObject, Verdict
from drydock.model.plans import TREES, Plan, Withheld
from drydock.model.policies import SizeSource
from drydock.model.records import Metadata
from drydock.model.roots import Owners
from drydock.model.store import Store
from drydock.model.store_modes import StoreChoice
from drydock.model.text import shown

if TYPE_CHECKING:
    from drydock.model.inventories import Inventory
    from drydock.model.pulls import Pull


class Total(NamedTuple):
    """Objects of one state."""

    count: int  # type: ignore[assignment] # shadows tuple.count, which nobody asks a total for
    bytes: int


@dataclass(slots=True)
class Scan:
    """One root, judged."""

    verdict: Verdict
    plan: Plan
    """The plan that ``clean --apply`` would carry out now."""
    inventory: Inventory | None = None
    """What each image, container and lease holds; None if no report asks for it."""
    pulls: Sequence[Pull] = ()
    """The interrupted pulls."""
    freed_by_ending: dict[LeaseClass, int] = field(default_factory=dict)
    """Bytes that are freed in addition to the plan: when the temporary leases end, and when the ownerless ones end too;
    for each class that has leases."""
    places: list[PlaceUsage] = field(default_factory=list)
    """What the places take that this root is the first of: its data roots, or itself."""
    stores: list[StoreChoice] = field(default_factory=list)
    """Of each data root that this root is the first of: the image store that its dockerd uses."""
    lacks_room: list[str] = field(default_factory=list)
    """One shown line for each data root on whose disk the newest bytes of a log may not fit once more."""

    @property
    def live(self) -> bool:
        """Whether the root was read beside an engine that may have been running."""
        return self.verdict.store.live

    @property
    def complete(self) -> bool:
        """Whether everything could be read: the records, the rows and the data."""
        store = self.verdict.store
        return (
            store.metadata.complete
            and store.content.complete
            and all(backend.complete for backend in store.backends.values())
            and all(layers.complete for layers in store.layer_stores)
        )

    @property
    def is_blind(self) -> bool:
        """Whether something could not be read or understood, so that whatever depends on it is kept."""
        return self.unread() is not None

    @property
    def is_older(self) -> bool:
        """Whether a database is older than the data, so that a newer copy should be restored first."""
        return any(finding.code is FindingCode.OLDER_DATABASE for finding in self.verdict.findings)

    @property
    def withheld(self) -> tuple[Withheld, ...]:
        """Objects that look unused but are kept."""
        return self.plan.withheld

    def totals(self) -> dict[State, Total]:
        """Count and bytes of each state, including states without objects."""
        counts = dict.fromkeys(State, 0)
        sizes = dict.fromkeys(State, 0)
        counts[State.LIVE], sizes[State.LIVE] = self.verdict.objects.sum_usual()
        for found in self.verdict.objects.others():
            counts[found.state] += 1
            sizes[found.state] += found.allocated
        return {state: Total(counts[state], sizes[state]) for state in State}

    @property
    def is_estimate(self) -> bool:
        """Whether the bytes that can be freed are as containerd recorded them: hard links and holes may change them."""
        return self.verdict.store.measured is SizeSource.RECORDED and any(
            removal.target in TREES for removal in self.plan.removals
        )

    def reclaimable(self) -> Total:
        """The paths that can be removed now, and their bytes."""
        return Total(len(self.plan.removals), self.plan.bytes)

    def unreachable(self) -> Total:
        """What is recorded in meta.db and reached by nothing: the engine's own GC would free it."""
        found = [each.allocated for each in self._dropped_by_engine()]
        return Total(len(found), sum(found))

    def _dropped_by_engine(self) -> Iterator[StoreObject]:
        # dockerd never looks for unused parts of its classic layer store.
        return (
            found
            for found in self.verdict.objects.others()
            if found.state is State.UNREACHABLE and not isinstance(found, DataRootObject)
        )

    def freed_by_engine(self) -> Total:
        """The part of :meth:`reclaimable` that the engine's own GC would free."""
        paths = {found.path for found in self._dropped_by_engine()}
        sizes = [removal.bytes for removal in self.plan.removals if removal.path in paths]
        return Total(len(sizes), sum(sizes))

    def leased(self) -> dict[LeaseClass, Total]:
        """For each class of leases: how many there are, and the bytes that only leases hold.

        Bytes that leases of several classes hold are counted for the last of these classes, in the order of
        :class:`LeaseClass`: they are freed only when the leases of that class have ended.
        """
        kinds = {holding.ref: holding.kind for holding in self.verdict.leases}
        order = list(LeaseClass)
        sizes = dict.fromkeys(order, 0)
        for found in self.verdict.objects.others():
            if found.state is State.LEASED:
                sizes[max((kinds[ref] for ref in found.held_by), key=order.index)] += found.allocated
        sizes.update(self.freed_by_ending)
        counts = dict.fromkeys(order, 0)
        for holding in self.verdict.leases:
            if not holding.kind.is_owned:
                counts[holding.kind] += 1
        return {kind: Total(counts[kind], sizes[kind]) for kind in order if counts[kind] or sizes[kind]}

    def unread(self) -> str | None:
        """As :func:`unread_of`."""
        return unread_of(self.verdict)

    def exit_code(self) -> int:
        """The additive exit status (README.md): 1 reclaimable, 2 damage, 8 evidence that could not be read."""
        findings = self.verdict.findings
        code = 0 if self.plan.is_empty else 1
        code |= 2 if any(finding.severity is Severity.DAMAGE for finding in findings) else 0
        return code | (8 if self.is_blind else 0)


def unread_cause(metadata: Metadata) -> str | None:
    """Why not all of meta.db could be read, with its path, on one shown line; None if it was."""
    if metadata.complete:
        return None
    cause = next(map(_placed, _severe(metadata.findings)), "not everything could be read")
    path = shown(metadata.path)
    return cause if path in cause else f"{path}: {cause}"


def unread_of(verdict: Verdict) -> str | None:
    """Why something was not read or not understood, meta.db first, on one shown line; None if everything was."""
    store = verdict.store
    cause = unread_among(store, (store.content, *store.backends.values(), store.owners))
    return cause or next(map(_placed, _blind(verdict.findings)), None)


def unread_among(store: Store, parts: Iterable[Content | Backend | Owners]) -> str | None:
    """Why not all of meta.db and of ``parts`` was read or understood, on one shown line; None if it was."""
    cause = unread_cause(store.metadata)
    if cause is not None:
        return cause
    chosen = list(parts)
    for part in chosen:
        if not isinstance(part, Owners) and not part.complete:
            return next(map(_placed, _severe(part.findings)), "not everything was read")
    rows = any(isinstance(part, Backend) for part in chosen)
    found = [*_blind(store.metadata.findings)]
    found += _blind(each for each in store.findings if rows or not each.place.file.endswith(b"/metadata.db"))
    for part in chosen:
        # For a list of records it does not matter where snapshotters keep their data.
        found += (each for each in _blind(part.findings) if each.code.affects is not Affects.SNAPSHOT_DIRECTORIES)
    return _placed(found[0]) if found else None


def _blind(findings: Iterable[Finding]) -> Iterator[Finding]:
    return (finding for finding in findings if finding.severity is Severity.BLIND)


def _severe(findings: Iterable[Finding]) -> Iterator[Finding]:
    return (finding for finding in findings if finding.severity is not Severity.NOTE)


def _placed(finding: Finding) -> str:
    """The message of a finding, with the path of its file."""
    path = shown(finding.place.file)
    return finding.message if path in finding.message else f"{path}: {finding.message}"
