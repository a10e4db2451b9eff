"""What changed between two scans of one host: as the document ``drydock.compare/1``, and as text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from drydock.model.documents.compare import (
    AmountPart,
    ComparedKind,
    CompareDocument,
    ComparedPart,
    DifferenceKind,
    DifferencePart,
)
from drydock.model.documents.fleet import ReportedEntry, ReportedRoot, ReportedScan, ReportedUsage
from drydock.model.names import UnixNano
from drydock.model.objects import State
from drydock.model.text import printable
from drydock.model.times import parse_time, show_span
from drydock.report.wording import align, short_ids, show_bytes
from drydock.version import __version__

_ORDER: Final = {kind: place for place, kind in enumerate(ComparedKind)}
TITLES: Final = {
    ComparedKind.PULL: "Interrupted pulls",
    ComparedKind.IMAGE: "Images",
    ComparedKind.CONTAINER: "Containers",
    ComparedKind.LEASE: "Leases",
    ComparedKind.USAGE: "Volumes, logs, caches and other data",
    ComparedKind.OBJECT: "Blobs, ingests and snapshots",
    ComparedKind.FINDING: "Findings",
}
"""Heading of the changes of each kind."""
_NO_HOLDERS: Final = "{} lists no images and containers: scan with --holders to compare them"


class _Key(NamedTuple):
    kind: ComparedKind
    root: str
    namespace: str
    name: str
    what: tuple[str, ...] = ()
    """What else tells things of one name apart."""


class _Thing(NamedTuple):
    bytes: int | None
    state: str
    """State, class or severity."""


def compare_scans(old: ReportedScan, new: ReportedScan) -> CompareDocument:
    """What came, went, grew and changed between two scans.

    Args:
        old: the earlier one.
        new: the later one. A root that lies elsewhere than in ``old``, as below another mount point, is compared with
            the root of ``old`` whose path ends most alike.
    """
    moved = _pair_roots(old.roots, new.roots)
    before, after = dict(_things(old, moved)), dict(_things(new, {}))
    with_holders = [_has_holders(each) for each in (old, new)]
    used = {_relocated(each.path, moved): each.used for each in old.file_systems}
    differences = [
        _difference(key, before.get(key), after.get(key))
        for key in before.keys() | after.keys()
        if before.get(key) != after.get(key)
        # Without holders in one of the scans, every image would have come or gone.
        and (all(with_holders) or key.kind not in (ComparedKind.IMAGE, ComparedKind.CONTAINER))
    ]
    return CompareDocument(
        drydock=__version__,
        old=ComparedPart(printable(old.host or ""), _plain(old.now)),
        new=ComparedPart(printable(new.host or ""), _plain(new.now)),
        notes=list(_notes(old, new, with_holders)),
        states=_amounts(_by_state(old), _by_state(new), [state.value for state in State]),
        categories=_by_change(_amounts(_by_category(old), _by_category(new))),
        used=[
            AmountPart(printable(each.path), used[each.path], each.used)
            for each in new.file_systems
            if each.path in used
        ],
        differences=sorted(differences, key=lambda each: (_ORDER[each.kind], -_size(each), each.name, each.namespace)),
    )


def _plain(text: str | None) -> str | None:
    return None if text is None else printable(text)


def _notes(old: ReportedScan, new: ReportedScan, with_holders: Sequence[bool]) -> Iterator[str]:
    if old.host != new.host:
        yield f"the scans are of different hosts: {printable(old.host or '')} and {printable(new.host or '')}"
    then, now = _time(old), _time(new)
    if then is not None and now is not None and then > now:
        yield "the old scan was taken after the new one"
    for name, scan, has in zip(("the old scan", "the new scan"), (old, new), with_holders, strict=True):
        if not has and any(root.objects for root in scan.roots):
            yield _NO_HOLDERS.format(name)
    for name, scan in (("the old scan", old), ("the new scan", new)):
        if any(root.complete is False for root in scan.roots):
            yield f"{name} is not complete: something could not be read"


def _has_holders(scan: ReportedScan) -> bool:
    return any(root.holders for root in scan.roots) or not any(root.objects for root in scan.roots)


def _pair_roots(old: Sequence[ReportedRoot], new: Sequence[ReportedRoot]) -> dict[str, str]:
    """Where each root of the old scan is in the new one, as far as it moved: by equal paths, then by equal endings."""
    left = [root.path for root in new]
    moved: dict[str, str] = {}
    elsewhere = []
    for root in old:
        if root.path in left:
            left.remove(root.path)
        else:
            elsewhere.append(root.path)
    for path in elsewhere:
        best = max(left, key=lambda other: _common_ending(path, other), default=None)
        if best is not None and (_common_ending(path, best) or len(old) == len(new) == 1):
            moved[path] = best
            left.remove(best)
    return moved


def _common_ending(one: str, other: str) -> int:
    """How many of their last components two paths share."""
    count = 0
    for first, second in zip(reversed(one.split("/")), reversed(other.split("/")), strict=False):
        if first != second:
            break
        count += 1
    return count


def _relocated(path: str, moved: Mapping[str, str]) -> str:
    """A path of the old scan as it is in the new one, if the place of its root differs."""
    for root, place in moved.items():
        shared = _common_ending(root, place)
        if not shared:
            if path == root or path.startswith(root + "/"):
                return place + path[len(root) :]
            continue
        parts = root.split("/")
        top, new_top = "/".join(parts[:-shared]), "/".join(place.split("/")[:-shared])
        if path == top or path.startswith(top + "/"):
            return new_top + path[len(top) :]
    return path


def _things(scan: ReportedScan, moved: Mapping[str, str]) -> Iterator[tuple[_Key, _Thing]]:
    for root in scan.roots:
        place = moved.get(root.path, root.path)
        yield from _pulls(root, place)
        for holder in root.holders:
            if holder.kind in ("image", "container"):
                for name in holder.names or [holder.id or ""]:
                    key = _Key(ComparedKind(holder.kind), place, holder.namespace or "", name)
                    yield key, _Thing(holder.bytes, "")
        for lease in root.leases:
            if lease.pull is None:
                key = _Key(ComparedKind.LEASE, place, lease.namespace or "", lease.id or "")
                yield key, _Thing(lease.only_bytes, lease.class_ or "")
        for found in root.objects:
            yield _object_key(found, place), _Thing(found.bytes, found.state or "")
        for finding in root.findings:
            what = (finding.subject or "", finding.message or "")
            yield _Key(ComparedKind.FINDING, place, "", finding.code or "", what), _Thing(None, finding.severity or "")
    sums: dict[_Key, int | None] = {}
    for entry in scan.usage:
        key = _usage_key(entry, moved)
        sums[key] = None if entry.bytes is None else (sums.get(key) or 0) + entry.bytes
    for key, amount in sums.items():
        if amount is not None:
            yield key, _Thing(amount, "")


def _pulls(root: ReportedRoot, place: str) -> Iterator[tuple[_Key, _Thing]]:
    """The interrupted pulls: several tries of one have a lease each."""
    found: dict[_Key, tuple[int, set[str]]] = {}
    for lease in root.leases:
        if lease.pull is not None:
            key = _Key(ComparedKind.PULL, place, lease.namespace or "", lease.pull)
            amount, classes = found.get(key, (0, set()))
            found[key] = amount + (lease.only_bytes or 0), classes | {lease.class_ or ""}
    for key, (amount, classes) in found.items():
        yield key, _Thing(amount, ", ".join(sorted(classes)))


def _object_key(found: ReportedEntry, place: str) -> _Key:
    # Namespaces share a blob, and each has ingests and snapshots of its own.
    namespaces = "" if found.kind == "blob" else ", ".join(found.namespaces or ())
    what = (found.kind or "", found.snapshotter or "", "" if found.namespaces else found.path or "")
    return _Key(ComparedKind.OBJECT, place, namespaces, found.id or "", what)


def _usage_key(entry: ReportedUsage, moved: Mapping[str, str]) -> _Key:
    name = f"{entry.category} {entry.name}".rstrip()
    return _Key(ComparedKind.USAGE, "", "", name, (_relocated(entry.path, moved),))


def _difference(key: _Key, before: _Thing | None, after: _Thing | None) -> DifferencePart:
    old, new = (None if thing is None else thing.bytes for thing in (before, after))
    if before is None:
        change = DifferenceKind.CAME
    elif after is None:
        change = DifferenceKind.WENT
    elif old == new:
        change = DifferenceKind.CHANGED
    else:
        change = DifferenceKind.GREW if (new or 0) > (old or 0) else DifferenceKind.SHRANK
    states = [thing.state for thing in (before, after) if thing is not None and thing.state]
    return DifferencePart(
        kind=key.kind,
        change=change,
        root=printable(key.root),
        namespace=printable(key.namespace),
        name=printable(_named(key)),
        old_bytes=old,
        new_bytes=new,
        note=printable(" → ".join(dict.fromkeys(states)) + _about(key)),
    )


def _named(key: _Key) -> str:
    if key.kind is ComparedKind.OBJECT:
        kind, snapshotter, path = key.what
        return " ".join(filter(None, (kind, snapshotter, key.name or path)))
    return key.name


def _about(key: _Key) -> str:
    if key.kind is ComparedKind.FINDING:
        return f": {key.what[1]}"
    return key.what[0] if key.kind is ComparedKind.USAGE else ""


def _size(each: DifferencePart) -> int:
    """How many bytes it makes a difference of."""
    return abs((each.new_bytes or 0) - (each.old_bytes or 0))


def _by_state(scan: ReportedScan) -> dict[str, int | None]:
    sums: dict[str, int | None] = {}
    for root in scan.roots:
        for found in root.objects:
            if found.state:
                sums[found.state] = (sums.get(found.state) or 0) + (found.bytes or 0)
    return sums


def _by_category(scan: ReportedScan) -> dict[str, int | None]:
    """Bytes by category; None where an entry of it was not measured."""
    sums: dict[str, int | None] = {}
    for entry in scan.usage:
        known = sums.get(entry.category, 0)
        sums[entry.category] = None if known is None or entry.bytes is None else known + entry.bytes
    return sums


def _amounts(
    old: Mapping[str, int | None], new: Mapping[str, int | None], order: Iterable[str] | None = None
) -> list[AmountPart]:
    """Amounts by name. What one of two measured scans does not have is 0 bytes in it."""
    names = dict.fromkeys([*old, *new]) if order is None else [name for name in order if name in old or name in new]
    return [AmountPart(printable(name), old.get(name, 0), new.get(name, 0)) for name in names]


def _by_change(amounts: list[AmountPart]) -> list[AmountPart]:
    return sorted(amounts, key=lambda each: -abs((each.new_bytes or 0) - (each.old_bytes or 0)))


def comparison_lines(document: CompareDocument, top: int) -> Iterator[str]:
    """The comparison as text, in lines without line ends; names are not cut, digests are.

    Args:
        document: from :func:`compare_scans`.
        top: how many changes of each kind are listed.
    """
    yield f"{document.new.host or document.old.host}: {show_period(document)}"
    for note in document.notes:
        yield f"note: {note}"
    amounts = [
        *_amount_rows("in use below ", document.used),
        *_amount_rows("", document.states),
        *_amount_rows("", [each for each in document.categories if each.old_bytes != each.new_bytes]),
    ]
    if amounts:
        yield ""
        yield from align([("", "OLD", "NEW", "CHANGE"), *amounts], right=(1, 2, 3))
    for kind in ComparedKind:
        found = [each for each in document.differences if each.kind is kind]
        if not found:
            continue
        yield ""
        yield f"{TITLES[kind]}: {count_changes(found)}"
        yield from align([change_cells(each) for each in found[:top]], right=(1,), margin="  ")
        if len(found) > top:
            yield f"  … and {len(found) - top} more; --top {len(found)} lists them"
    if not document.differences:
        yield ""
        yield "Nothing changed."


def show_period(document: CompareDocument) -> str:
    """From when to when, as far as the scans say it."""
    then, now = _time(document.old), _time(document.new)
    if then is None or now is None:
        return "two scans, at least one of them without a time"
    return f"from {document.old.now} to {document.new.now} ({show_span(now - then)})"


def _time(scan: ReportedScan | ComparedPart) -> UnixNano | None:
    """When a scan was taken; None if it does not say it as a time."""
    return parse_time((scan.now or "").encode("utf-8", "replace"))


def _amount_rows(prefix: str, amounts: Sequence[AmountPart]) -> Iterator[tuple[str, ...]]:
    for each in amounts:
        shown = ("not measured" if size is None else show_bytes(size) for size in (each.old_bytes, each.new_bytes))
        yield (f"{prefix}{each.name}", *shown, show_change(each.old_bytes, each.new_bytes))


def show_change(old: int | None, new: int | None) -> str:
    """The difference of two amounts of bytes, with its sign; a dash where one was not measured."""
    if old is None or new is None:
        return "-"
    return "0 B" if old == new else f"{'+' if new > old else '-'}{show_bytes(abs(new - old))}"


def count_changes(found: Sequence[DifferencePart]) -> str:
    """How many came, went and so on."""
    counts = [(change, sum(each.change is change for each in found)) for change in DifferenceKind]
    return ", ".join(f"{count} {change.value}" for change, count in counts if count)


def change_cells(each: DifferencePart) -> tuple[str, ...]:
    """A change as the cells of a line: what happened, the bytes, the name, the note."""
    measured = each.old_bytes is not None or each.new_bytes is not None
    sizes = show_change(each.old_bytes or 0, each.new_bytes or 0) if measured else ""
    name = short_ids(each.name) + (f"  ({each.namespace})" if each.namespace else "")
    return each.change.value, sizes, name, each.note
